//! Worlds that once broke a promise. Each stays, with its story, although what happens in
//! the world of a seed has changed with the simulator since.

use crate::chaos::runner::judge;
use crate::chaos::scenario::Scenario;

/// Seed, days, and what was wrong.
const STORIES: &[(u64, u64, &str)] = &[
    (1, 30, "a pool without capacity used up the retries of the job"),
    (32, 30, "a job placed on a machine that was there before paid from the machine's purchase"),
    (25, 30, "a stop for the budget came a second too late: 54 micro-dollars too much"),
    (27, 30, "one machine of a gang went, and the next attempt began while the others still ran"),
    (44, 30, "a move that a worker did not hear of was taken for done before its lease was over"),
    (1071, 30, "how a gang's member ended that was told to stop counted as an error of the job"),
    (1048, 30, "a budget ended while no scheduler led, and the worker did not know"),
    (1161, 30, "the same: 194,557 micro-dollars in five minutes"),
    (1389, 30, "the same, by a commit that failed: 582 micro-dollars"),
    (1517, 30, "a machine on notice was not stopped when the budget ended before it went"),
    (1229, 30, "a key that was used meanwhile ended the scheduler"),
];

#[test]
fn what_was_broken_once_stays_whole() {
    for (seed, days, story) in STORIES {
        let (broken, ..) = judge(&Scenario::of(*seed, *days));
        assert_eq!(broken, None, "seed {seed}: {story}");
    }
}

#[test]
fn one_seed_is_one_history_of_everything() {
    let history = |seed| {
        let (broken, fired, tally) = judge(&Scenario::of(seed, 5));
        (broken, fired.0, tally.rounds, tally.charged)
    };
    assert_eq!(history(7), history(7));
    assert_ne!(history(7), history(8));
}
