use jiff::Timestamp;

use super::*;

const REASONS: [StopReason; 6] = [
    StopReason::Cancelled,
    StopReason::Budget,
    StopReason::TimedOut,
    StopReason::Moved,
    StopReason::Interrupted,
    StopReason::GangBroken,
];
const EXITS: [Exit; 8] = [
    Exit::Code(0),
    Exit::Code(1),
    Exit::Code(EXIT_REQUEUE),
    Exit::Code(143),
    Exit::Code(137),
    Exit::Signal(15),
    Exit::Signal(9),
    Exit::Signal(11),
];
const SAID: [Said; 3] = [Said::Nothing, Said::Part, Said::Whole];

fn now(second: i64) -> Now {
    let t = Timestamp::from_second(second).unwrap();
    Now { market: t, wall: t }
}

fn order(reason: StopReason) -> StopOrder {
    StopOrder { reason, at: now(10), reclaim_wall: None }
}

/// What the end of a single command at second 20 means.
fn single(ordered: Option<StopReason>, exit: Exit, told: Told, said: Said, saved: bool) -> Outcome {
    let end = CommandEnd { at: now(20), exit, told };
    outcome(ordered.map(order), &[end], Left { said, saved })
}

/// Every cell for one order and one thing that was told: the same outcome whatever the
/// exit, the progress and the checkpoints are, except where noted.
fn cells(ordered: Option<StopReason>, told: Told, expected: impl Fn(Exit, Said, bool) -> Outcome) {
    for exit in EXITS {
        for said in SAID {
            for saved in [false, true] {
                assert_eq!(
                    single(ordered, exit, told, said, saved),
                    expected(exit, said, saved),
                    "ordered {ordered:?}, {exit:?}, told {told:?}, said {said:?}, saved {saved}"
                );
            }
        }
    }
}

fn by_order(reason: StopReason) -> Outcome {
    match reason {
        StopReason::Interrupted => Outcome::Interrupted,
        reason => Outcome::Stopped { reason },
    }
}

#[test]
fn what_nobody_ordered_is_what_the_command_says() {
    for told in [Told::Nothing, Told::Unknown] {
        cells(None, told, |exit, _, _| match exit {
            Exit::Code(0) => Outcome::Succeeded,
            Exit::Code(EXIT_REQUEUE) => Outcome::Requeued,
            exit => Outcome::Failed { exit },
        });
    }
}

#[test]
fn a_stop_that_was_delivered_is_a_stop_unless_all_the_work_is_done() {
    for reason in REASONS {
        for told in [Told::Stop, Told::Unknown] {
            cells(Some(reason), told, |exit, said, _| match (exit, said) {
                (Exit::Code(0), Said::Whole) => Outcome::Succeeded,
                _ => by_order(reason),
            });
        }
    }
}

#[test]
fn a_worker_that_its_machine_ends_is_an_interruption() {
    for told in [Told::Stop, Told::Notice] {
        cells(None, told, |exit, said, saved| match (exit, said, told) {
            (Exit::Code(0), Said::Whole, _) => Outcome::Succeeded,
            (Exit::Code(0), Said::Nothing, Told::Notice) if !saved => Outcome::Succeeded,
            _ => Outcome::Interrupted,
        });
    }
}

#[test]
fn what_ended_by_itself_before_the_stop_was_delivered_did() {
    for reason in REASONS {
        cells(Some(reason), Told::Nothing, |exit, _, _| match (exit, reason) {
            (Exit::Code(0), _) => Outcome::Succeeded,
            (Exit::Code(EXIT_REQUEUE), _) => by_order(reason),
            (exit, StopReason::GangBroken) => Outcome::Failed { exit },
            _ => by_order(reason),
        });
    }
}

/// Between the notice and SIGTERM a command that returns 0 may have finished, or may have
/// saved and left: what it reports and saves tells which.
#[test]
fn after_a_notice_an_exit_of_0_is_believed_where_nothing_speaks_against_it() {
    for reason in REASONS {
        cells(Some(reason), Told::Notice, |exit, said, saved| match (exit, said, saved) {
            (Exit::Code(0), Said::Whole, _) | (Exit::Code(0), Said::Nothing, false) => {
                Outcome::Succeeded
            }
            _ => by_order(reason),
        });
    }
}

#[test]
fn a_worker_of_before_has_delivered_what_was_ordered_before_its_word() {
    let left = Left { said: Said::Nothing, saved: false };
    let heard = |second| {
        let end = CommandEnd { at: now(second), exit: Exit::Code(0), told: Told::Unknown };
        outcome(Some(order(StopReason::Cancelled)), &[end], left)
    };
    assert_eq!(heard(10), Outcome::Succeeded, "no answer had carried the order");
    assert_eq!(heard(11), by_order(StopReason::Cancelled));
}

fn gang(ordered: Option<StopReason>, ends: &[(i64, Exit, Told)], said: Said) -> Outcome {
    let end = |(at, exit, told): &(i64, Exit, Told)| CommandEnd {
        at: now(*at),
        exit: *exit,
        told: *told,
    };
    let ends: Vec<CommandEnd> = ends.iter().map(end).collect();
    outcome(ordered.map(order), &ends, Left { said, saved: false })
}

#[test]
fn no_rank_speaks_for_the_others() {
    const OK: Exit = Exit::Code(0);
    const TERM: Exit = Exit::Signal(15);
    let (nothing, stop) = (Told::Nothing, Told::Stop);
    let interrupted = Some(StopReason::Interrupted);
    let cases = [
        (None, vec![(5, OK, nothing), (6, OK, nothing)], Outcome::Succeeded),
        (None, vec![(5, OK, nothing), (6, Exit::Code(EXIT_REQUEUE), nothing)], Outcome::Requeued),
        // One had ended before, the rest was told: the attempt was interrupted.
        (interrupted, vec![(5, OK, nothing), (12, OK, stop)], Outcome::Interrupted),
        (interrupted, vec![(12, OK, stop), (12, TERM, stop)], Outcome::Interrupted),
        // What fails since its peer was stopped does not fail by itself.
        (interrupted, vec![(12, TERM, stop), (13, Exit::Code(1), nothing)], Outcome::Interrupted),
        (None, vec![(12, TERM, stop), (13, Exit::Code(1), nothing)], Outcome::Interrupted),
    ];
    for (ordered, ends, expected) in cases {
        assert_eq!(gang(ordered, &ends, Said::Part), expected, "{ordered:?} {ends:?}");
    }
    let all_stopped = [(12, OK, stop), (12, OK, stop)];
    assert_eq!(gang(interrupted, &all_stopped, Said::Whole), Outcome::Succeeded);
    let one_died = [(12, OK, stop), (12, TERM, stop)];
    assert_eq!(gang(interrupted, &one_died, Said::Whole), Outcome::Interrupted);
}

#[test]
fn the_failure_that_broke_a_gang_counts_and_what_followed_does_not() {
    let broken = Some(StopReason::GangBroken);
    for told in [Told::Stop, Told::Unknown] {
        let ends = [(9, Exit::Code(3), Told::Nothing), (12, Exit::Signal(15), told)];
        assert_eq!(gang(broken, &ends, Said::Part), Outcome::Failed { exit: Exit::Code(3) });
        // A member's machine went; how the rest ends that was told to is no failure.
        let ends = [(10, Exit::Code(EXIT_REQUEUE), Told::Unknown), (12, Exit::Code(1), told)];
        assert_eq!(gang(broken, &ends, Said::Part), by_order(StopReason::GangBroken));
    }
    let both = [(9, Exit::Code(4), Told::Nothing), (8, Exit::Code(3), Told::Nothing)];
    assert_eq!(gang(broken, &both, Said::Part), Outcome::Failed { exit: Exit::Code(3) });
}

#[test]
fn what_nobody_heard_of_is_what_was_ordered() {
    let error = || Outcome::LaunchFailed { error: "no such program".to_owned() };
    let moved = Outcome::Stopped { reason: StopReason::Moved };
    for unsaid in [Outcome::Lost, error(), Outcome::Interrupted, moved] {
        assert_eq!(unheard(None, unsaid.clone()), unsaid);
        for reason in REASONS {
            assert_eq!(unheard(Some(order(reason)), unsaid.clone()), by_order(reason));
        }
    }
    let failed = Outcome::Failed { exit: Exit::Code(1) };
    for said in [Outcome::Succeeded, Outcome::Requeued, failed] {
        for order in REASONS.map(order) {
            assert_eq!(unheard(Some(order), said.clone()), said, "weighed already");
        }
    }
}

#[test]
fn only_steps_of_a_total_say_how_far_a_job_is() {
    let progress = |step, total_steps| Progress { done_ppm: 0, step, total_steps };
    for (step, total, said) in [
        (None, None, Said::Nothing),
        (None, Some(10), Said::Nothing),
        (Some(5), None, Said::Nothing),
        (Some(0), Some(0), Said::Nothing),
        (Some(0), Some(10), Said::Part),
        (Some(9), Some(10), Said::Part),
        (Some(10), Some(10), Said::Whole),
        (Some(11), Some(10), Said::Whole),
    ] {
        assert_eq!(Said::of(&progress(step, total)), said, "{step:?} of {total:?}");
    }
}
