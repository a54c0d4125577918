//! Budgets that end at the worst moment: nobody leads, or the machine is on
//! notice.

use crate::chaos::faults::{FaultCounters, Kind};
use crate::chaos::runner::{judge, replay};
use crate::chaos::scenario::Scenario;

/// Worlds with these kinds until `what` has happened `times` times. None may break
/// a promise, the strictest of which is here: nobody spends more than his budget.
fn worlds(base: u64, nodes: usize, kinds: &[Kind], what: &str, times: u64) -> FaultCounters {
    let mut all = FaultCounters::default();
    for seed in base..base + 60 {
        let kinds = kinds.iter().copied().collect();
        let scenario = Scenario { seed, days: 12, submissions: 40, kinds, nodes };
        let (broken, fired, tally) = judge(&scenario);
        assert_eq!(broken, None, "seed {seed}: {}", replay(&scenario));
        assert_eq!(tally.overrun, 0, "seed {seed}");
        all.add(&fired);
        if all.of(what) >= times {
            return all;
        }
    }
    panic!("{what} came only {} times", all.of(what));
}

#[test]
fn a_budget_that_ends_while_nobody_leads_is_not_exceeded() {
    let away = [Kind::AwayAtTheEnd];
    worlds(3_000, 1, &away, "money_over_while_nobody_led", 5);
}

/// Prices jump, workers die, machines go, two schedulers take turns.
#[test]
fn a_budget_that_ends_while_nobody_leads_and_all_goes_wrong_is_not_exceeded() {
    let kinds = [
        Kind::AwayAtTheEnd,
        Kind::PriceJump,
        Kind::ProcessDeath,
        Kind::NoticeTwice,
        Kind::MassReclaim,
        Kind::LateReport,
        Kind::Partition,
        Kind::PartitionOneWay,
        Kind::CrashBeforeCommit,
        Kind::CommitAnswerLost,
    ];
    worlds(3_100, 2, &kinds, "money_over_while_nobody_led", 5);
}
