//! What holds whatever is asked and whatever goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use spotwise_model::id::ProviderId;
use spotwise_model::{CapacityType, InstanceId, MarketKey};

use crate::fixture::{TestMarket, US, at, market, on_demand, pool, seconds, spec, spot};
use crate::{
    Action, Behaviour, CloudEvent, CloudMarket, CloudSpec, Delivery, Fault, ForeignTenant,
    Happening, LaunchRequest, Machine, SimulatedCloud, Spread,
};

/// Everything goes wrong, and somebody else is there.
fn rough() -> CloudSpec {
    let tenant = ForeignTenant {
        every: Spread::seconds(60, 900, 7_200),
        keeps: Spread::seconds(60, 1_800, 20_000),
        markets: vec![spot(), on_demand()],
        install: "theirs".to_owned(),
        pool: pool(),
    };
    spec(Behaviour { foreign_tenant: Some(tenant), page_size: 2, ..Behaviour::rough() })
}

/// Supply that comes and goes every quarter of an hour.
fn restless(until: i64) -> TestMarket {
    let wave = |shift: i64| {
        let steps = (0..=until / 900).map(move |step| (step + shift) * 7 % 5);
        (0..).step_by(900).zip(steps.map(|machines| u32::try_from(machines).unwrap())).collect()
    };
    TestMarket {
        supply: markets().into_iter().zip((0..).map(wave)).collect(),
        dearer_from: Some(until / 2),
    }
}

fn markets() -> [MarketKey; 3] {
    let spot_in = |zone, name| market(zone, name, CapacityType::Spot);
    [spot(), spot_in("us-east-1b", "p3.2xlarge"), spot_in("us-east-1a", "g5.xlarge")]
}

fn rough_cloud(seed: u64, until: i64) -> SimulatedCloud {
    SimulatedCloud::new(rough(), Arc::new(restless(until)), seed, at(0))
}

/// What a caller does next, and how many seconds after the last.
#[derive(Clone, Debug)]
enum Step {
    Launch {
        market: usize,
        token: u8,
    },
    /// The machine of that number among all that are there.
    Terminate {
        machine: usize,
    },
    List,
    Quotas,
    Advance,
}

fn steps(length: usize) -> impl Strategy<Value = Vec<(i64, Step)>> {
    let step = prop_oneof![
        4 => (0..4_usize, any::<u8>()).prop_map(|(market, token)| Step::Launch { market, token }),
        2 => any::<usize>().prop_map(|machine| Step::Terminate { machine }),
        2 => Just(Step::List),
        1 => Just(Step::Quotas),
        1 => Just(Step::Advance),
    ];
    let pause = prop_oneof![3 => 0..5_i64, 3 => 0..600_i64, 1 => 0..10_000_i64];
    prop::collection::vec((pause, step), 0..length)
}

fn ask(token: u8, market: usize) -> LaunchRequest {
    let market = markets().get(market).cloned().unwrap_or_else(on_demand);
    let instance = InstanceId(u64::from(token) + 1);
    LaunchRequest {
        token: token.to_string(),
        install: US.to_owned(),
        pool: pool(),
        instance,
        market,
    }
}

/// A whole listing, pages asked for again until they come; `None` if that takes too long.
fn whole_listing(cloud: &mut SimulatedCloud, at: Timestamp) -> Option<BTreeSet<ProviderId>> {
    let (mut all, mut next) = (BTreeSet::new(), None);
    for _ in 0..60 {
        if let Ok(page) = cloud.list(US, &pool(), next, at).outcome {
            for id in page.machines.into_keys() {
                assert!(all.insert(id), "twice in one listing");
            }
            next = page.next;
            if next.is_none() {
                return Some(all);
            }
        }
    }
    None
}

fn check(cloud: &SimulatedCloud) {
    for change in cloud.quota_history().iter().filter(|change| change.launched) {
        assert!(change.usage.used <= change.usage.of, "{change:?}");
    }
    let now = cloud.now();
    let lines = cloud.meter(now);
    let machines: BTreeSet<_> = lines.iter().map(|line| &line.machine).collect();
    assert_eq!((machines.len(), lines.len()), (cloud.machines().len(), machines.len()));
    for (line, machine) in lines.iter().zip(cloud.machines()) {
        assert!(line.from.as_second() == machine.launched.as_second() && line.seconds() >= 60);
        assert_eq!(line.ended_by, machine.stopped.map(|stop| stop.by()));
        let life = [Some(machine.launched), machine.booted, machine.registered]
            .into_iter()
            .chain([machine.stopped.map(|stop| stop.at), machine.terminated]);
        assert!(life.flatten().is_sorted(), "{machine:?}");
    }
}

/// No more spot machines go on than the market has: the others are being taken back.
fn check_supply(cloud: &SimulatedCloud, market: &TestMarket) {
    for key in markets() {
        let goes_on = |machine: &&Machine| {
            machine.market == key && machine.reclaim_at.is_none() && machine.stopped.is_none()
        };
        let held = cloud.machines().iter().filter(goes_on).count();
        let available = market.available(&key, cloud.now());
        assert!(held as u64 <= u64::from(available), "{held} of {available}: {key}");
    }
}

/// Each token's machine, by zone: never two.
type Tokens = BTreeMap<(String, String), ProviderId>;

fn take(cloud: &mut SimulatedCloud, tokens: &mut Tokens, now: i64, step: &Step) {
    match step {
        Step::Launch { market, token } => {
            let request = ask(*token, *market);
            let call = cloud.launch(&request, at(now));
            if let Delivery::Answered { at: answered } = call.delivery {
                assert!(answered >= at(now));
            }
            if let Ok(launched) = call.outcome {
                let key = (request.market.zone.to_string(), request.token);
                let first = tokens.entry(key).or_insert_with(|| launched.machine.clone());
                assert_eq!(*first, launched.machine);
            }
        }
        Step::Terminate { machine } => {
            let ours = cloud.machines().iter().filter(|machine| !machine.foreign);
            let ours: Vec<_> = ours.map(|machine| machine.id.clone()).collect();
            if let Some(id) = ours.get(machine % ours.len().max(1)) {
                let _ = cloud.terminate(US, id, at(now));
            }
        }
        Step::List => {
            let window = cloud.spec().behaviour.consistency_window;
            let Some(listed) = whole_listing(cloud, at(now)) else { return };
            for machine in cloud.machines() {
                let ours = machine.mark.as_ref().is_some_and(|mark| mark.install == US);
                let old = spotwise_model::time::after(machine.launched, window) <= at(now);
                if listed.contains(&machine.id) {
                    assert!(ours, "{machine:?}");
                } else if ours && old {
                    assert!(machine.terminated.is_some(), "{machine:?}");
                }
            }
        }
        Step::Quotas => {
            let _ = cloud.quotas(at(now));
        }
        Step::Advance => {
            cloud.advance(at(now));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn promises_hold_whatever_is_asked(seed in any::<u64>(), steps in steps(120)) {
        let (mut cloud, supply) = (rough_cloud(seed, 400_000), restless(400_000));
        let (mut tokens, mut now) = (Tokens::new(), 0);
        for (pause, step) in &steps {
            now += pause;
            take(&mut cloud, &mut tokens, now, step);
            check_supply(&cloud, &supply);
        }
        check(&cloud);
        prop_assert!(cloud.violations().is_empty());
        // A bucket gives no more than it held and what has come in since.
        let (taken, bucket) = (cloud.calls(Action::Launch).taken, cloud.spec().buckets.launch);
        let most = u64::from(bucket.capacity) + now.unsigned_abs() * u64::from(bucket.per_second);
        prop_assert!(taken <= most);
    }

    #[test]
    fn the_same_seed_and_calls_have_the_same_history_however_often_somebody_looks(
        seed in any::<u64>(),
        steps in steps(60),
    ) {
        let run = |looks: i64| {
            let mut cloud = rough_cloud(seed, 400_000);
            let (mut told, mut answers, mut now) = (Vec::new(), Vec::new(), 0);
            for (pause, step) in &steps {
                for look in 1..=looks {
                    told.extend(cloud.advance(at(now + pause * look / (looks + 1))));
                }
                now += pause;
                if let Step::Launch { market, token } = step {
                    answers.push(cloud.launch(&ask(*token, *market), at(now)));
                }
            }
            told.extend(cloud.advance(at(now + 100_000)));
            (told, answers, cloud.meter(at(now)))
        };
        prop_assert_eq!(run(0), run(3));
    }
}

/// A month of a caller who wants so many machines, looks at all every ten minutes, ends one
/// now and then, and changes its mind at once about every fifth.
fn a_month(seed: u64, wanted: usize) -> (SimulatedCloud, Vec<CloudEvent>) {
    const MONTH: i64 = 30 * 86_400;
    let mut cloud = rough_cloud(seed, MONTH);
    let mut told = Vec::new();
    for step in 0..MONTH / 600 {
        let now = at(step * 600);
        told.extend(cloud.advance(now));
        let _ = cloud.quotas(now);
        whole_listing(&mut cloud, now);
        let ours = |machine: &&Machine| !machine.foreign && machine.stopped.is_none();
        let newest = cloud.machines().iter().rev().take(200).filter(ours);
        let open: Vec<_> = newest.map(|machine| machine.id.clone()).collect();
        if step % 3 == 0
            && let Some(oldest) = open.last()
        {
            let _ = cloud.terminate(US, oldest, now);
        }
        if open.len() >= wanted {
            continue;
        }
        let key = markets()[usize::try_from(step % 3).unwrap()].clone();
        let request = LaunchRequest { token: step.to_string(), market: key, ..ask(0, 0) };
        let launched = cloud.launch(&request, now).outcome;
        if step % 5 == 0
            && let Ok(launched) = launched
        {
            let _ = cloud.terminate(US, &launched.machine, now);
        }
    }
    (cloud, told)
}

#[test]
fn every_fault_strikes_in_a_rough_month() {
    let (cloud, told) = a_month(1, 4);
    for fault in Fault::ALL {
        assert!(cloud.fired(fault) > 0, "{fault:?} never struck");
    }
    check(&cloud);
    assert!(cloud.violations().is_empty() && told.is_sorted_by_key(|event| event.at));
    let rumours = told.iter().filter(|event| event.what == Happening::RebalanceRecommended).count();
    assert_eq!(rumours as u64, cloud.fired(Fault::RebalanceOnly));
}

#[test]
fn other_seeds_have_other_histories_and_the_same_seed_the_same() {
    let month = |seed| a_month(seed, 2).1;
    assert_eq!(month(1), month(1));
    assert_ne!(month(1), month(2));
}

#[test]
fn hundreds_of_machines_are_served_without_a_look_at_each() {
    let behaviour = Behaviour { boot: Spread::exactly(seconds(30)), ..Behaviour::default() };
    let mut spec = spec(behaviour);
    spec.quotas.clear();
    let mut cloud = SimulatedCloud::new(spec, Arc::new(restless(0)), 1, at(0));
    for number in 0..500_u32 {
        let key = market(&format!("us-east-1{number}"), "g5.xlarge", CapacityType::OnDemand);
        let request = LaunchRequest { token: number.to_string(), market: key, ..ask(0, 0) };
        cloud.launch(&request, at(i64::from(number))).outcome.unwrap();
    }
    // Nothing is due after they have registered: a month is one step.
    let events = cloud.advance(at(30 * 86_400));
    assert_eq!((events.len(), cloud.next_event()), (1_000, None));
}
