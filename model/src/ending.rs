//! What the end of an attempt means: the table of decision 21.
//!
//! Four things count: what was ordered, what the command did and whether it had been told
//! by then, how far the job itself says it is, and what it has saved. An exit code alone is
//! not enough: trainers that are stopped return 0, 1, 75 or 143 as they please.

use crate::outcome::{CommandEnd, EXIT_REQUEUE, Exit, Outcome, Told};
use crate::progress::Progress;
use crate::stop::{StopOrder, StopReason};
use crate::time::Now;

/// How far the job itself says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It reports no step, or no known total.
    Nothing,
    /// Fewer steps than the total.
    Part,
    /// All of them.
    Whole,
}

impl Said {
    /// What this progress says. A share that nobody has reported does not count.
    pub const fn of(progress: &Progress) -> Self {
        match (progress.step, progress.total_steps) {
            (Some(step), Some(total)) if total > 0 && step >= total => Self::Whole,
            (Some(_), Some(total)) if total > 0 => Self::Part,
            _ => Self::Nothing,
        }
    }
}

/// What an attempt has left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// How far its job says it is.
    pub said: Said,
    /// Whether it has saved a checkpoint since the order was given.
    pub saved: bool,
}

/// How an attempt ended when every command's end is known: no rank speaks for the others.
///
/// It succeeded if all of them did. If nobody had told any of them to stop, the first
/// failure counts; if one member's failure broke the gang, that one does.
pub fn outcome(order: Option<StopOrder>, ends: &[CommandEnd], left: Left) -> Outcome {
    let ordered = order.map(|order| order.reason);
    let all = ends.iter().map(|end| (end.at, of_one(ordered, end.exit, told(order, end), left)));
    let all: Vec<(Now, Outcome)> = all.collect();
    let failures = all.iter().filter(|(_, one)| matches!(one, Outcome::Failed { .. }));
    let first_failure = failures.min_by_key(|(at, _)| at.wall).map(|(_, one)| one);
    let stopped = || all.iter().map(|(_, one)| one).find(|one| is_stop(one));
    let others = || all.iter().map(|(_, one)| one).find(|one| **one != Outcome::Succeeded);
    let decides = match ordered {
        Some(StopReason::GangBroken) => first_failure.or_else(stopped),
        _ => stopped().or(first_failure),
    };
    decides.or_else(others).cloned().unwrap_or(Outcome::Succeeded)
}

/// How an attempt ended when the end of some of its commands is unknown: according to what
/// was ordered, if anything was.
pub fn unheard(order: Option<StopOrder>, outcome: Outcome) -> Outcome {
    match (order, outcome) {
        // What its commands said decides: `outcome` has weighed the order.
        (_, said @ (Outcome::Succeeded | Outcome::Failed { .. } | Outcome::Requeued)) => said,
        (Some(order), _) => stopped(Some(order.reason)),
        (None, outcome) => outcome,
    }
}

/// The table, for one command.
fn of_one(ordered: Option<StopReason>, exit: Exit, told: Told, left: Left) -> Outcome {
    match (exit, told) {
        (Exit::Code(0), Told::Nothing) => Outcome::Succeeded,
        (Exit::Code(0), Told::Notice) => match left {
            Left { said: Said::Whole, .. } | Left { said: Said::Nothing, saved: false } => {
                Outcome::Succeeded
            }
            Left { said: Said::Part, .. } | Left { said: Said::Nothing, saved: true } => {
                stopped(ordered)
            }
        },
        (Exit::Code(0), Told::Stop | Told::Unknown) => match left.said {
            Said::Whole => Outcome::Succeeded,
            Said::Part | Said::Nothing => stopped(ordered),
        },
        (Exit::Code(EXIT_REQUEUE), Told::Nothing) => {
            ordered.map_or(Outcome::Requeued, |reason| stopped(Some(reason)))
        }
        (_, Told::Nothing) => match ordered {
            None | Some(StopReason::GangBroken) => Outcome::Failed { exit },
            // A machine that goes takes commands with it in any way.
            Some(reason) => stopped(Some(reason)),
        },
        (_, Told::Notice | Told::Stop | Told::Unknown) => stopped(ordered),
    }
}

/// Told to stop by us, or, if we ordered nothing, by its machine, which ends the worker.
const fn stopped(ordered: Option<StopReason>) -> Outcome {
    match ordered {
        None | Some(StopReason::Interrupted) => Outcome::Interrupted,
        Some(reason) => Outcome::Stopped { reason },
    }
}

const fn is_stop(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Interrupted | Outcome::Stopped { .. })
}

/// If a worker does not say, its command is taken to have been told whatever had been
/// ordered before its end was reported.
fn told(order: Option<StopOrder>, end: &CommandEnd) -> Told {
    match (end.told, order) {
        (Told::Unknown, Some(order)) if end.at.wall > order.at.wall => Told::Stop,
        (Told::Unknown, _) => Told::Nothing,
        (told, _) => told,
    }
}

#[cfg(test)]
#[path = "ending_tests.rs"]
mod tests;
