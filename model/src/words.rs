//! Typed reasons as sentences with figures. Times are RFC 3339 in UTC.

use std::fmt;

use crate::dependency::{Condition, Unmet};
use crate::instance::{DrainCause, GivenBackFor};
use crate::job::{CancelReason, FailReason, HoldReason};
use crate::limit::{LimitKey, LimitUse};
use crate::reason::{PlacementReason, PlacementRule, RejectionReason};
use crate::time::human;
use crate::{JobId, WaitReason};

/// Jobs named in a sentence; any more are counted.
const NAMED: usize = 5;

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitReason::Queued => f.write_str("queued for the next planning round"),
            WaitReason::Dependencies { jobs, on } => {
                f.write_str(&needs(jobs, |job| on.get(&job).copied().unwrap_or_default()))
            }
            WaitReason::Frozen(freeze) => f.write_str(&freeze.words()),
            WaitReason::Backoff { until, fruitless: 0 } => {
                write!(f, "failed before, tried again at {until}")
            }
            WaitReason::Backoff { until, fruitless } => write!(
                f,
                "waits until {until}, after {} in a row that saved nothing new (exit code 75)",
                attempts(*fruitless)
            ),
            WaitReason::FormerWorkers { until } => write!(
                f,
                "the database was restored from a backup, and workers of before may run until {until}"
            ),
            WaitReason::Unschedulable { detail } => write!(f, "no machine holds it: {detail}"),
            WaitReason::NoCapacity { suitable_offers } => {
                write!(f, "no capacity is free; offers that would hold it: {suitable_offers}")
            }
            WaitReason::PoolFull { resource } => write!(f, "the pool has no {resource} left"),
            WaitReason::LimitReached { limit, needs, next_end } => {
                f.write_str(&limit.reached(*needs))?;
                if let Some(end) = next_end {
                    write!(f, "; the next machine ends about {end}")?;
                }
                f.write_str(way_on(limit))
            }
            WaitReason::CheaperLater { now, later, latest_start } => write!(
                f,
                "spot is worth waiting for: {} expected, {} to go on now; starts by {latest_start} at the latest",
                later.human(),
                now.human()
            ),
            WaitReason::OverBudget { needs, left } => {
                write!(f, "its budget has {} left, going on needs {}", left.human(), needs.human())
            }
            WaitReason::ArrayLimit { max_parallel } => {
                write!(f, "its array runs {max_parallel} elements at most at once")
            }
            WaitReason::Reserved { start, behind } => {
                write!(f, "room is being kept for it: expected start {start}{}", ends(behind))
            }
            WaitReason::RoomKept { job, priority, deadline, start } => write!(
                f,
                "room is reserved for {job} (priority {priority}, deadline {deadline}), which is expected \
                 to start at {start}"
            ),
            WaitReason::Outbid => f.write_str("other jobs were worth more in this round"),
        }
    }
}

impl fmt::Display for DrainCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DrainCause::Operator => "its operator has drained it",
            DrainCause::PoolLeaves => "its pool is gone from the pools file",
        })
    }
}

impl fmt::Display for GivenBackFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GivenBackFor::Unused => "nobody used it, and nobody was expected in time",
            GivenBackFor::Drained => "it was drained, and was empty",
            GivenBackFor::Late => "it did not come in time",
            GivenBackFor::Orphan => "it carries our mark, and nobody asked for it",
        })
    }
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HoldReason::Budget { budget, committed } => write!(
                f,
                "its budget of {} does not pay for going on: {} spent",
                budget.human(),
                committed.human()
            ),
            HoldReason::Approval => f.write_str("somebody has to approve it"),
        }
    }
}

impl fmt::Display for FailReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The failure that is one more than allowed is the last.
            FailReason::Errors { errors, last } => write!(
                f,
                "failed {}, with {} allowed; last with {last}",
                times(*errors),
                retries(errors.saturating_sub(1))
            ),
            FailReason::Interruptions { interruptions } => write!(
                f,
                "interrupted {}, with {} allowed",
                times(*interruptions),
                retries(interruptions.saturating_sub(1))
            ),
            FailReason::NothingNew { attempts: count } => write!(
                f,
                "given up: {} in a row asked to be run again (exit code 75) and had saved nothing \
                 new; before exit code 75 save a checkpoint and report a higher step, and return 0 \
                 when all is done",
                attempts(*count)
            ),
            FailReason::TimedOut => f.write_str("ran longer than its timeout"),
            FailReason::Dependency { job } => {
                write!(f, "{job}, which it waits for, did not succeed")
            }
        }
    }
}

impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CancelReason::Owner => f.write_str("cancelled by its owner"),
            CancelReason::Unmet(why) => why.fmt(f),
        }
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unmet { job, on, ended } = self;
        let only = match on {
            Condition::Succeeded => "it was to run only after the success of that job",
            Condition::Failed => "it was to run only after a failure of that job",
            Condition::Ended => "it was to run after that job",
        };
        write!(f, "{job} {}, and {only}", ended.words())
    }
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

impl fmt::Display for PlacementReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; {} expected, done by {}, {} of slack",
            self.rule,
            self.expected_cost.human(),
            self.finish,
            human(self.slack)
        )
    }
}

impl fmt::Display for PlacementRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PlacementRule::Cheapest => "the lowest expected cost of all that was free",
            PlacementRule::SafetyNet => {
                "the safety net: the deadline leaves no room for another interruption, so on-demand"
            }
            PlacementRule::BehindPace => {
                "behind the pace that its deadline asks for and no spot was free"
            }
            PlacementRule::NotInterruptible => "it may not be interrupted",
            PlacementRule::AlreadyPaid => "the machine is paid for already",
        })
    }
}

impl fmt::Display for RejectionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RejectionReason::Dearer => "costs more",
            RejectionReason::Later => "finishes later, when it is late already",
            RejectionReason::NotFree => "none is free",
            RejectionReason::DeadlineRisk => "spot would put the deadline at risk",
            RejectionReason::NotInterruptible => "the job may not be interrupted",
            RejectionReason::Taken => "other jobs took what was free",
            RejectionReason::LimitReached => "a limit on open machines is used up",
            RejectionReason::OverLimit => "its machines alone are more than a limit allows",
            RejectionReason::OverBudget => "the budget does not hold it",
            RejectionReason::SpotBand => "costs no more, but its class is outside its spot band",
            RejectionReason::TooFewPools => "costs no more, but most of its class runs there",
        })
    }
}

/// Who can do something about a limit that is used up; nobody about a market.
const fn way_on(limit: &LimitUse) -> &'static str {
    match limit.key {
        LimitKey::Quota { .. } => "; asking the provider for more is free",
        LimitKey::Market(_) => "",
        LimitKey::PoolMachines { .. } | LimitKey::PoolGpus { .. } | LimitKey::PoolSpend { .. } => {
            "; its owner may raise it in the pools file"
        }
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

/// `, when j3 and j4 end`; empty for no jobs.
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
    use crate::id::{Account, InstanceType, PoolName, Region, Zone};
    use crate::{CapacityType, MarketKey, Money};
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn reserved_room_is_told_to_both_sides() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let start = at("2026-03-01T14:52:00Z");
        let kept = |behind: &[u64]| {
            let behind = behind.iter().copied().map(JobId).collect();
            WaitReason::Reserved { start, behind }.to_string()
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
            other.to_string(),
            "room is reserved for j7 (priority 100, deadline 2026-03-01T15:04:00Z), which is \
             expected to start at 2026-03-01T14:52:00Z"
        );
    }

    #[test]
    fn a_limit_that_is_used_up_is_named_with_its_figures_and_who_may_raise_it() {
        let quota = LimitKey::Quota {
            account: Account::new("a1"),
            region: Region::new("us-east-1"),
            family: "G and VT".to_owned(),
            capacity_type: CapacityType::Spot,
        };
        let pool = || PoolName::new("gpus");
        let text = |key, (used, of), needs, next_end| {
            let limit = LimitUse { key, used, of };
            WaitReason::LimitReached { limit, needs, next_end }.to_string()
        };
        let end = "2026-03-01T14:10:00Z".parse().ok();
        assert_eq!(
            text(quota.clone(), (96, 96), 8, end),
            "account a1's quota for spot G and VT in us-east-1 is used up, 96 of 96 vCPUs, and one \
             more machine takes 8; the next machine ends about 2026-03-01T14:10:00Z; asking the \
             provider for more is free"
        );
        assert_eq!(
            text(quota, (80, 96), 8, None),
            "account a1's quota for spot G and VT in us-east-1 leaves too little for all its \
             machines, 80 of 96 vCPUs are used, and each machine takes 8; asking the provider for \
             more is free"
        );
        let market =
            MarketKey::recorded(Zone::new("z1"), InstanceType::new("g"), CapacityType::Spot);
        assert_eq!(
            text(LimitKey::Market(market), (4, 4), 1, None),
            "what the market has of spot g in z1 is used up by our machines, 4 of 4 machines"
        );
        assert_eq!(
            text(LimitKey::PoolSpend { pool: pool() }, (3_060_000, 5_000_000), 2_500_000, None),
            "pool `gpus`'s limit of cost per hour is used up, $3.06 of $5.00 an hour, and one more \
             machine takes $2.50; its owner may raise it in the pools file"
        );
        assert_eq!(
            text(LimitKey::PoolMachines { pool: pool() }, (2, 1), 1, None),
            "pool `gpus`'s limit of machines is used up, 2 of 1 machines, and one more machine \
             takes 1; its owner may raise it in the pools file"
        );
    }

    #[test]
    fn reasons_carry_their_figures() {
        let reason = WaitReason::OverBudget {
            needs: Money::from_micros(12_340_000),
            left: Money::from_micros(1_000_000),
        };
        assert_eq!(reason.to_string(), "its budget has $1.00 left, going on needs $12.34");
    }

    #[test]
    fn retries_are_told_with_what_was_allowed() {
        let failed =
            |errors| FailReason::Errors { errors, last: "exit code 3".to_owned() }.to_string();
        assert_eq!(failed(1), "failed once, with no retry allowed; last with exit code 3");
        assert_eq!(failed(2), "failed twice, with 1 retry allowed; last with exit code 3");
        assert_eq!(failed(4), "failed 4 times, with 3 retries allowed; last with exit code 3");
        let interrupted = FailReason::Interruptions { interruptions: 3 }.to_string();
        assert_eq!(interrupted, "interrupted 3 times, with 2 retries allowed");
    }

    #[test]
    fn long_lists_are_counted() {
        let needs = |on: Condition| WaitReason::needs((1..=8).map(|job| (JobId(job), on)));
        let text = needs(Condition::Succeeded).to_string();
        assert_eq!(text, "j1, j2, j3, j4, j5 and 3 more must succeed first");
        let text = WaitReason::needs([
            (JobId(1), Condition::Failed),
            (JobId(2), Condition::Succeeded),
            (JobId(3), Condition::Ended),
        ])
        .to_string();
        assert_eq!(text, "j2 must succeed first; j1 must fail first; j3 must end first");
    }
}
