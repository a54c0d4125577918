//! Whether an idle machine is kept for work that may come, or given back.
//!
//! Kept, it costs its price. What it saves is the boot of a machine for the next job that
//! would take it: the price of the minutes in which that one boots, and of the work that an
//! interruption meanwhile would cost the job. As in ski rental with known arrivals (Karlin,
//! Manasse, McGeoch, Owicki, 1994: competitive randomized algorithms for nonuniform
//! problems), with a memoryless arrival the choice is the same at every moment: it is kept
//! exactly while the expected saving per hour exceeds the price of an hour.

use std::time::Duration;

use spotwise_model::Price;
use spotwise_model::time::hours;

/// What is known of an idle machine and of the work that might use it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IdleMachine {
    /// What it costs an hour.
    pub price: Price,
    /// How long another one takes to boot.
    pub boot: Duration,
    /// Interruptions per hour of a machine of its market.
    pub hazard_per_hour: f64,
    /// Jobs that wait now and that it holds.
    pub waiting: u32,
    /// Such jobs per hour that are expected to come.
    pub arrivals_per_hour: f64,
    /// Idle machines of its kind, this one included: an arrival takes one of them.
    pub alike: u32,
    /// For how long it has been idle.
    pub idle: Duration,
    /// The longest that its pool keeps any.
    pub limit: Duration,
}

/// What becomes of an idle machine, with the figures in dollars per hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KeepOrGiveBack {
    /// Whether it is kept.
    pub keep: bool,
    /// What keeping it is expected to save.
    pub saves_per_hour: f64,
    /// What it costs.
    pub costs_per_hour: f64,
}

/// Decides.
pub fn keep_or_give_back(machine: &IdleMachine) -> KeepOrGiveBack {
    let costs_per_hour = machine.price.micros_per_hour() as f64 / 1e6;
    let arrivals = machine.arrivals_per_hour / f64::from(machine.alike.max(1));
    // The hazard of a boot is work lost before it began: the boot again.
    let boot = hours(machine.boot);
    let saves_per_hour = arrivals * costs_per_hour * boot * (1.0 + machine.hazard_per_hour * boot);
    let within = machine.idle < machine.limit;
    let wanted = machine.waiting >= machine.alike.max(1);
    KeepOrGiveBack {
        keep: within && (wanted || saves_per_hour > costs_per_hour),
        saves_per_hour,
        costs_per_hour,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle() -> IdleMachine {
        IdleMachine {
            price: Price::from_micros_per_hour(1_000_000),
            boot: Duration::from_secs(360),
            hazard_per_hour: 0.0,
            waiting: 0,
            arrivals_per_hour: 0.0,
            alike: 1,
            idle: Duration::from_secs(60),
            limit: Duration::from_secs(1_800),
        }
    }

    #[test]
    fn it_is_kept_while_the_expected_saving_exceeds_its_price() {
        let of =
            |arrivals_per_hour| keep_or_give_back(&IdleMachine { arrivals_per_hour, ..idle() });
        assert!(!of(0.0).keep);
        // A tenth of an hour of boot is saved by each: eleven arrivals are worth it.
        assert!(!of(9.0).keep && of(11.0).keep);
        assert!((of(11.0).saves_per_hour - 1.1).abs() < 1e-9);
        let two = IdleMachine { arrivals_per_hour: 11.0, alike: 2, ..idle() };
        assert!(!keep_or_give_back(&two).keep, "only one of them will be used");
    }

    #[test]
    fn work_that_waits_keeps_as_many_as_it_takes_and_no_longer_than_the_limit() {
        assert!(keep_or_give_back(&IdleMachine { waiting: 1, ..idle() }).keep);
        assert!(!keep_or_give_back(&IdleMachine { waiting: 1, alike: 2, ..idle() }).keep);
        let long = IdleMachine { waiting: 1, idle: Duration::from_secs(1_800), ..idle() };
        assert!(!keep_or_give_back(&long).keep);
    }
}
