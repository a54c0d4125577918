//! When the next round has something to do, if nothing is received until then. Each phase
//! states it next to what it does; what it does because of a message, or of an earlier
//! phase, needs no time of its own.

use spotwise_model::Now;

use super::{admit, commitments, deadlines, guard, keep, machines, observe, settle};
use crate::config::Config;
use crate::core::State;
use crate::core::due::Due;
use spotwise_market::Market;

/// The earliest moment after the look at `now` at which a round may change
/// something. A round that has changed something itself is followed by another.
pub fn next(state: &State, market: &Market, config: &Config, now: Now) -> Due {
    let mut due = Due::after(now);
    due.market(market.next_change(now.market));
    state.availability.due(&mut due);
    state.prices.due(&mut due);
    if state.jobs.values().any(|job| !job.state.is_terminal()) {
        state.seen.beliefs.due(&mut due);
    }
    observe::due(state, config, &mut due);
    machines::due(state, &mut due);
    settle::due(state, &mut due);
    keep::due(state, &mut due);
    commitments::due(state, &mut due);
    guard::due(state, config, &mut due);
    admit::due(state, &mut due);
    deadlines::due(state, config.policy.changeover, &mut due);
    due.wall(state.seen.forecast_requests.iter().map(|asked| asked.until));
    due
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use spotwise_model::id::{InstanceType, PoolName, Zone};
    use spotwise_model::time::{TimeScale, after};
    use spotwise_model::{NodeShape, Price};
    use spotwise_solver::PoolLimit;

    use super::*;
    use crate::core::availability_history::{GAP_TOLERANCE, ObservationWindow};
    use crate::world::World;
    use spotwise_market::{MarketSeries, Row};

    fn minute(minute: i64) -> Timestamp {
        Timestamp::from_second(1_700_006_400 + minute * 60).unwrap()
    }

    /// Machines that come and go by the minute, with an hour in which nothing does.
    fn world() -> World {
        let quiet = 200..260;
        let rows = (0..400).filter(|at| !quiet.contains(at) && (at * at + at / 7) % 5 < 2);
        let rows = rows.map(|at| Row {
            at: minute(at),
            available: u32::try_from(at % 4).unwrap(),
            price: Some(Price::from_micros_per_hour(900_000 + at * 10)),
        });
        let series = MarketSeries {
            zone: Zone::new("us-east-1a"),
            instance_type: InstanceType::new("p3.2xlarge"),
            shape: NodeShape { cpu_milli: 8_000, memory_mib: 32_768, ..NodeShape::default() },
            on_demand: Price::from_micros_per_hour(3_060_000),
            rows: rows.collect(),
        };
        let market = Market::new(vec![series], None).unwrap();
        let config = Config::default();
        let (pool, lots) = (PoolName::new("local"), u64::MAX / 2);
        let total = PoolLimit { pool, cpu_milli: lots, memory_mib: lots, gpus: None };
        World::new(market, config, &total, minute(0))
    }

    #[test]
    fn who_sleeps_until_something_is_due_sees_what_who_never_sleeps_sees() {
        let end = minute(600);
        let (mut awake, mut sleeper) = (world(), world());
        let mut looks = 0;
        while awake.now < end {
            awake.round(None);
            awake.now = after(awake.now, Duration::from_secs(10));
            looks += 1;
        }
        let mut longest = Duration::ZERO;
        while sleeper.now < end {
            sleeper.round(None);
            looks -= 1;
            let due = next(&sleeper.state, &sleeper.market, &sleeper.config, sleeper.clock());
            let due = due.earliest(TimeScale::real(sleeper.now)).expect("it is on watch");
            longest = longest.max(spotwise_model::time::between(sleeper.now, due));
            sleeper.now = due;
        }
        assert!(looks > 3_000, "it looked {looks} times less");
        let seen = |world: &World| world.state.availability.rows().collect::<Vec<_>>();
        assert_eq!(seen(&sleeper), seen(&awake));
        // No sleep is a gap, and the store hears so in time.
        assert!(longest < GAP_TOLERANCE, "{longest:?}");
        let windows: Vec<ObservationWindow> = sleeper.state.availability.windows().collect();
        assert_eq!((windows.len(), windows[0].from), (1, minute(0)));
        assert!(after(windows[0].until, longest) >= end);
    }
}
