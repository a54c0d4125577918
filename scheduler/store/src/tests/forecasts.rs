//! What a scheduler knows of its market survives it.

use spotwise_control::Config;
use spotwise_control::core::State;
use spotwise_control::fixture::spot::*;
use spotwise_control::phase::forecast::STEP;
use spotwise_control::phase::round::{self, Received, RoundInputs, WorkingState};
use spotwise_market::Market;
use spotwise_model::{Now, PoolSet};

use crate::{Round, Store};

/// A scheduler on a store. Each of its rounds is committed as in the loop.
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
        state.pools = PoolSet::of([spotwise_control::fixture::local_pool()]);
        ask(&mut state);
        Self { store, epoch, round, state }
    }

    async fn run(&mut self, market: &Market, from: i64, until: i64) {
        let config = Config::default();
        let inputs = RoundInputs { market, config: &config };
        for at in (from..=until).step_by(5).map(minute) {
            let now = Now { market: at, wall: at };
            let prices = Some(round::ask_prices(&self.state, market, now));
            let mut working = WorkingState { state: &mut self.state, changes: Vec::new() };
            round::run(&mut working, Received { plan: None, prices }, inputs, now);
            let changes = working.changes;
            assert!(changes.iter().all(|change| !change.is_news()), "nobody asks for anything");
            if !changes.is_empty() {
                self.round += 1;
                let round = Round { epoch: self.epoch, id: self.round, changes: &changes };
                self.store.commit(&round).await.unwrap();
            }
        }
    }
}

/// Also without a job, and without a recorded past.
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
    assert_eq!(killed.state.availability.windows().count(), 1);
    // Both fit anew, to what they have seen until now.
    for led in [&mut through, &mut killed] {
        led.state.seen.forecasts.clear();
        led.run(&market, now, now).await;
    }
    let text = |led: &Led| format!("{:?}", led.state.seen.forecasts);
    assert!(!through.state.seen.forecasts.is_empty());
    assert!(text(&through) == text(&killed), "the same, table and all");
    let training = through.state.seen.forecasts[0].training;
    assert_eq!((training.span, training.own), (STEP * (5 * 96), STEP * (4 * 96)));
    assert!(training.spells > 60, "{training:?}");
}
