//! What a scheduler knows of its market survives it.

use jiff::Timestamp;
use spotwise_control::Config;
use spotwise_control::core::State;
use spotwise_control::core::state::Asked;
use spotwise_control::phase::round::{self, Draft, Surroundings};
use spotwise_market::{Listing, Market, Row};
use spotwise_model::id::{InstanceType, PoolName, Zone as ZoneName};
use spotwise_model::spec::{Format, parse};
use spotwise_model::{NodeShape, Now, Price};
use spotwise_solver::PoolLimit;

use crate::{Round, Store};

/// Of a forecast.
const STEP: std::time::Duration = std::time::Duration::from_secs(900);
const DAY: i64 = 1_440;

fn minute(minute: i64) -> Timestamp {
    Timestamp::from_second(1_700_006_400 + minute * 60).unwrap()
}

/// Zones with their machines from some minutes on.
fn market(zones: &[(&str, Vec<(i64, u32)>)]) -> Market {
    let listing = |(zone, rows): &(&str, Vec<(i64, u32)>)| Listing {
        zone: ZoneName::new(zone),
        instance_type: InstanceType::new("p3.2xlarge"),
        shape: NodeShape { cpu_milli: 8_000, memory_mib: 32_768, ..NodeShape::default() },
        on_demand: Price::from_micros_per_hour(3_060_000),
        rows: rows
            .iter()
            .map(|(at, available)| Row {
                at: minute(*at),
                available: *available,
                price: Some(Price::from_micros_per_hour(900_000)),
            })
            .collect(),
    };
    Market::new(zones.iter().map(listing).collect(), None).unwrap()
}

fn pool() -> PoolName {
    PoolName::new("local")
}

fn total() -> PoolLimit {
    let lots = u64::MAX / 2;
    PoolLimit { pool: pool(), cpu_milli: lots, memory_mib: lots, gpus: None }
}

/// Comes and goes; a third of the time there are fewer machines than four.
fn lively() -> Vec<(i64, u32)> {
    (0..400).map(|n| (n * 95 + n * n % 40, [5, 0, 2, 7, 0, 3][n as usize % 6])).collect()
}

/// As above but from one minute to another, where it is always the same.
fn changed(from: i64, to: i64) -> Vec<(i64, u32)> {
    let rows = lively();
    let back = rows.iter().rev().find(|(at, _)| *at <= to).unwrap().1;
    let outside = rows.iter().copied().filter(|(at, _)| !(from..=to).contains(at));
    let mut rows: Vec<_> = outside.chain([(from, 1), (to, back)]).collect();
    rows.sort_unstable();
    rows
}

/// Somebody asks what a job with one node would cost.
fn ask(state: &mut State) {
    let (spec, until) = (spec("asked", 1).into(), Timestamp::MAX);
    state.seen.asked = vec![Asked { spec, until }];
}

fn submission(name: &str, nodes: u32) -> spotwise_model::spec::Submission {
    let text = format!(
        "name: {name}\ncommand: [train]\nresources: {{cpus: 8, memory: 16GB, nodes: {nodes}}}\n\
         work: {{duration: 4h}}\ndeadline: 20h\ncheckpoint: {{interval: 10m, grace: 30s}}\n"
    );
    parse(text.as_bytes(), Format::Yaml).unwrap()
}

fn spec(name: &str, nodes: u32) -> spotwise_model::JobSpec {
    submission(name, nodes).jobs.remove(0)
}

/// A scheduler on a store. Each of its rounds is committed as the loop does it.
struct Led {
    store: Store,
    epoch: crate::Epoch,
    round: u64,
    state: State,
}

impl Led {
    async fn begin(path: &std::path::Path) -> Self {
        let store = Store::open(path).await.unwrap();
        let epoch = store.lead("test", minute(0)).await.unwrap();
        let loaded = store.load().await.unwrap();
        let round = loaded.last_round;
        let mut state = loaded.into_state();
        ask(&mut state);
        Self { store, epoch, round, state }
    }

    async fn run(&mut self, market: &Market, from: i64, until: i64) {
        let config = Config::default();
        let (pool, total) = (pool(), total());
        let around = Surroundings { market, pool: &pool, total: &total, config: &config };
        for at in (from..=until).step_by(5).map(minute) {
            let mut draft = Draft { state: &mut self.state, changes: Vec::new() };
            round::run(&mut draft, None, around, Now { market: at, wall: at });
            let changes = draft.changes;
            assert!(changes.iter().all(|change| !change.is_news()), "nobody asks for anything");
            if !changes.is_empty() {
                self.round += 1;
                let round = Round { epoch: self.epoch, id: self.round, changes: &changes };
                self.store.commit(&round).await.unwrap();
            }
        }
    }
}

/// Without a job, too, and without a recorded past.
#[tokio::test]
async fn a_scheduler_that_was_killed_forecasts_what_one_that_ran_through_does() {
    let zones = [("us-east-1a", lively()), ("us-east-1b", changed(1_000, 4_000))];
    let market = market(&zones);
    let folder = tempfile::tempdir().unwrap();
    let now = 5 * DAY;
    let mut through = Led::begin(&folder.path().join("through.db")).await;
    through.run(&market, DAY, now).await;
    let path = folder.path().join("killed.db");
    let mut killed = Led::begin(&path).await;
    for (from, until) in [(DAY, 2 * DAY), (2 * DAY + 5, 4 * DAY - 65), (4 * DAY - 60, now - 395)] {
        killed.run(&market, from, until).await;
        // Nothing is closed or said good-bye to.
        drop(killed);
        killed = Led::begin(&path).await;
        assert!(killed.state.seen.forecasts.is_empty());
    }
    killed.run(&market, now - 390, now).await;
    assert_eq!(killed.state.spells.watches().count(), 1);
    // Both fit anew, to what they have seen until now.
    for led in [&mut through, &mut killed] {
        led.state.seen.forecasts.clear();
        led.run(&market, now, now).await;
    }
    let text = |led: &Led| format!("{:?}", led.state.seen.forecasts);
    assert!(!through.state.seen.forecasts.is_empty());
    assert!(text(&through) == text(&killed), "the same, table and all");
    let sight = through.state.seen.forecasts[0].sight;
    assert_eq!((sight.span, sight.own), (STEP * (5 * 96), STEP * (4 * 96)));
    assert!(sight.spells > 60, "{sight:?}");
}
