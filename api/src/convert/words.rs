//! Typed reasons as sentences with figures.

use spotwise_model::dependency::{Condition, Unmet};
use spotwise_model::job::{CancelReason, FailReason, HoldReason};
use spotwise_model::plan::{Rule, Why, WhyNot};
use spotwise_model::time::human;
use spotwise_model::{JobId, WaitReason};

use super::time_text;

/// Jobs named in a sentence; more are counted.
const NAMED: usize = 5;

/// What a waiting job waits for.
pub fn wait_reason(reason: &WaitReason) -> String {
    match reason {
        WaitReason::Queued => "queued for the next planning round".to_owned(),
        WaitReason::Dependencies { jobs, on } => {
            needs(jobs, |job| on.get(&job).copied().unwrap_or_default())
        }
        WaitReason::Backoff { until, fruitless: 0 } => {
            format!("failed before, tried again at {}", time_text(*until))
        }
        WaitReason::Backoff { until, fruitless } => format!(
            "waits until {}, after {} in a row that saved nothing new (exit code 75)",
            time_text(*until),
            attempts(*fruitless)
        ),
        WaitReason::FormerWorkers { until } => format!(
            "the database was restored from a backup, and workers of before may run until {}",
            time_text(*until)
        ),
        WaitReason::Unschedulable { detail } => format!("no machine holds it: {detail}"),
        WaitReason::NoCapacity { suitable_offers } => {
            format!("no capacity is free; offers that would hold it: {suitable_offers}")
        }
        WaitReason::PoolFull { resource } => format!("the pool has no {resource} left"),
        WaitReason::CheaperLater { now, later, latest_start } => format!(
            "spot is worth waiting for: {} expected, {} to go on now; starts by {} at the latest",
            later.human(),
            now.human(),
            time_text(*latest_start)
        ),
        WaitReason::OverBudget { needs, left } => {
            format!("its budget has {} left, going on needs {}", left.human(), needs.human())
        }
        WaitReason::ArrayLimit { max_parallel } => {
            format!("its array runs {max_parallel} elements at most at once")
        }
        WaitReason::Reserved { start, behind } => {
            format!(
                "room is being kept for it: expected start {}{}",
                time_text(*start),
                ends(behind)
            )
        }
        WaitReason::RoomKept { job, priority, deadline, start } => format!(
            "room is reserved for {job} (priority {priority}, deadline {}), which is expected to \
             start at {}",
            time_text(*deadline),
            time_text(*start)
        ),
        WaitReason::Outbid => "other jobs were worth more in this round".to_owned(),
    }
}

/// Why a job is held.
pub fn hold_reason(reason: &HoldReason) -> String {
    match reason {
        HoldReason::Budget { budget, committed } => format!(
            "its budget of {} does not pay for going on: {} spent",
            budget.human(),
            committed.human()
        ),
        HoldReason::Approval => "somebody has to approve it".to_owned(),
    }
}

/// Why a job was given up.
pub fn fail_reason(reason: &FailReason) -> String {
    match reason {
        // The failure that is one more than allowed is the last.
        FailReason::Errors { errors, last } => format!(
            "failed {}, with {} allowed; last with {last}",
            times(*errors),
            retries(errors.saturating_sub(1))
        ),
        FailReason::Interruptions { interruptions } => format!(
            "interrupted {}, with {} allowed",
            times(*interruptions),
            retries(interruptions.saturating_sub(1))
        ),
        FailReason::NothingNew { attempts: count } => format!(
            "given up: {} in a row asked to be run again (exit code 75) and had saved nothing \
             new; before exit code 75 save a checkpoint and report a higher step, and return 0 \
             when all is done",
            attempts(*count)
        ),
        FailReason::TimedOut => "ran longer than its timeout".to_owned(),
        FailReason::Dependency { job } => format!("{job}, which it waits for, did not succeed"),
    }
}

/// Why a job was cancelled.
pub fn cancel_reason(reason: &CancelReason) -> String {
    match reason {
        CancelReason::Owner => "cancelled by its owner".to_owned(),
        CancelReason::Unmet(why) => unmet(why),
    }
}

/// What a job waited for in vain.
pub fn unmet(why: &Unmet) -> String {
    let Unmet { job, on, ended } = why;
    let only = match on {
        Condition::Succeeded => "it was to run only after the success of that job",
        Condition::Failed => "it was to run only after a failure of that job",
        Condition::Ended => "it was to run after that job",
    };
    format!("{job} {}, and {only}", ended.words())
}

/// `j1, j2 must succeed first; j3 must fail first`.
fn needs(jobs: &[JobId], on: impl Fn(JobId) -> Condition) -> String {
    let verbs = [
        (Condition::Succeeded, "must succeed first"),
        (Condition::Failed, "must fail first"),
        (Condition::Ended, "must end first"),
    ];
    let parts = verbs.into_iter().filter_map(|(condition, verb)| {
        let named: Vec<JobId> = jobs.iter().copied().filter(|id| on(*id) == condition).collect();
        (!named.is_empty()).then(|| format!("{} {verb}", list(&named)))
    });
    parts.collect::<Vec<_>>().join("; ")
}

/// Why a placed job is where it is.
pub fn why(why: &Why) -> String {
    format!(
        "{}; {} expected, done by {}, {} of slack",
        rule(why.rule),
        why.expected_cost.human(),
        time_text(why.finish),
        human(why.slack)
    )
}

/// What decided a placement.
pub const fn rule(rule: Rule) -> &'static str {
    match rule {
        Rule::Cheapest => "the lowest expected cost of all that was free",
        Rule::SafetyNet => {
            "the safety net: the deadline leaves no room for another interruption, so on-demand"
        }
        Rule::BehindPace => "behind the pace that its deadline asks for and no spot was free",
        Rule::NotInterruptible => "it may not be interrupted",
        Rule::AlreadyPaid => "the machine is paid for already",
    }
}

/// Why an offer was not taken.
pub const fn why_not(reason: &WhyNot) -> &'static str {
    match reason {
        WhyNot::Dearer => "costs more",
        WhyNot::Later => "finishes later, when it is late already",
        WhyNot::NotFree => "none is free",
        WhyNot::DeadlineRisk => "spot would put the deadline at risk",
        WhyNot::NotInterruptible => "the job may not be interrupted",
        WhyNot::Taken => "other jobs took what was free",
        WhyNot::OverBudget => "the budget does not hold it",
        WhyNot::SpotBand => "costs no more, but its class is outside its spot band",
        WhyNot::TooFewPools => "costs no more, but most of its class runs there",
    }
}

fn times(n: u32) -> String {
    match n {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        n => format!("{n} times"),
    }
}

fn retries(n: u32) -> String {
    match n {
        0 => "no retry".to_owned(),
        1 => "1 retry".to_owned(),
        n => format!("{n} retries"),
    }
}

fn attempts(count: u32) -> String {
    if count == 1 { "1 attempt".to_owned() } else { format!("{count} attempts") }
}

fn list(jobs: &[JobId]) -> String {
    let named: Vec<String> = jobs.iter().take(NAMED).map(ToString::to_string).collect();
    match jobs.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// `, when j3 and j4 end`; nothing of nobody.
fn ends(jobs: &[JobId]) -> String {
    let named: Vec<String> = jobs.iter().take(NAMED).map(ToString::to_string).collect();
    match named.as_slice() {
        [] => String::new(),
        [one] => format!(", when {one} ends"),
        [first @ .., last] => format!(", when {} and {last} end", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use spotwise_model::Money;

    use super::*;

    #[test]
    fn reserved_room_is_told_to_both_sides() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let start = at("2026-03-01T14:52:00Z");
        let kept = |behind: &[u64]| {
            let behind = behind.iter().copied().map(JobId).collect();
            wait_reason(&WaitReason::Reserved { start, behind })
        };
        let text = "room is being kept for it: expected start 2026-03-01T14:52:00Z";
        assert_eq!(kept(&[]), text);
        assert_eq!(kept(&[3]), format!("{text}, when j3 ends"));
        assert_eq!(kept(&[3, 4, 9]), format!("{text}, when j3, j4 and j9 end"));
        let other = WaitReason::RoomKept {
            job: JobId(7),
            priority: 100,
            deadline: at("2026-03-01T15:04:00Z"),
            start,
        };
        assert_eq!(
            wait_reason(&other),
            "room is reserved for j7 (priority 100, deadline 2026-03-01T15:04:00Z), which is \
             expected to start at 2026-03-01T14:52:00Z"
        );
    }

    #[test]
    fn reasons_carry_their_figures() {
        let reason = WaitReason::OverBudget {
            needs: Money::from_micros(12_340_000),
            left: Money::from_micros(1_000_000),
        };
        assert_eq!(wait_reason(&reason), "its budget has $1.00 left, going on needs $12.34");
    }

    #[test]
    fn retries_are_told_with_what_was_allowed() {
        let failed =
            |errors| fail_reason(&FailReason::Errors { errors, last: "exit code 3".to_owned() });
        assert_eq!(failed(1), "failed once, with no retry allowed; last with exit code 3");
        assert_eq!(failed(2), "failed twice, with 1 retry allowed; last with exit code 3");
        assert_eq!(failed(4), "failed 4 times, with 3 retries allowed; last with exit code 3");
        let interrupted = fail_reason(&FailReason::Interruptions { interruptions: 3 });
        assert_eq!(interrupted, "interrupted 3 times, with 2 retries allowed");
    }

    #[test]
    fn long_lists_are_counted() {
        let needs = |on: Condition| WaitReason::needs((1..=8).map(|job| (JobId(job), on)));
        let text = wait_reason(&needs(Condition::Succeeded));
        assert_eq!(text, "j1, j2, j3, j4, j5 and 3 more must succeed first");
        let text = wait_reason(&WaitReason::needs([
            (JobId(1), Condition::Failed),
            (JobId(2), Condition::Succeeded),
            (JobId(3), Condition::Ended),
        ]));
        assert_eq!(text, "j2 must succeed first; j1 must fail first; j3 must end first");
    }
}
