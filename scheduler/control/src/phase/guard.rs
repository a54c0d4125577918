//! Stops what must not continue: exhausted budgets, timeouts, broken gangs, unused
//! machines.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::attempt::{BudgetCutoff, Exit, NodeReport, StopOrder, StopReason, Told};
use spotwise_model::instance::{EndedBy, GivenBackFor};
use spotwise_model::time::{after, between};
use spotwise_model::{Attempt, AttemptId, Instance, InstanceState, Job, Money, Now, Price};

use super::attempt_end::{self, EXIT_REQUEUE};
use super::keep;
use super::observe::BUDGET_STOP_MARGIN;
use super::settle::ROUNDING;
use crate::config::{Config, LEASE_MARGIN};
use crate::core::due::Due;
use crate::core::{Change, State};
use crate::view::accrued::{accrued, owed_for_ends};

/// By the next round at the latest this much more is spent (wall time): market
/// time moves in whole seconds.
const NEXT_LOOK: Duration = Duration::from_secs(1);
/// The longest that money is taken to last: ten years.
const MOST_SECONDS: u64 = 315_360_000;
/// Workers are told of more time only in steps of at least this length (wall time).
const LEAST_GAIN: Duration = Duration::from_secs(5);

/// Orders attempts to stop that are over budget or over time, or whose gang is broken, and
/// makes those with a less urgent order end sooner. `accrued` is what each unsettled
/// attempt has cost so far.
pub fn guard(
    state: &State,
    accrued: &BTreeMap<AttemptId, Money>,
    config: &Config,
    now: Now,
) -> Vec<Change> {
    let live = state.attempts.values().filter(|attempt| attempt.state.is_live());
    live.filter_map(|attempt| {
        let job = state.jobs.get(&attempt.id.job)?;
        let (reason, words) = offence(state, job, attempt, accrued, config, now)?;
        let order = StopOrder { reason, at: now, reclaim_wall: None };
        Some(attempt_end::order_stop(attempt, order, &words))
    })
    .flatten()
    .collect()
}

/// The first reason to end it that is more urgent than the order it may have.
fn offence(
    state: &State,
    job: &Job,
    attempt: &Attempt,
    accrued: &BTreeMap<AttemptId, Money>,
    config: &Config,
    now: Now,
) -> Option<(StopReason, String)> {
    let news = |reason: StopReason| {
        attempt.stop.is_none_or(|standing| reason.overrides(standing.reason)).then_some(reason)
    };
    if let (Some(timeout), Some(started)) = (job.spec.timeout, attempt.state.started())
        && between(started.market, now.market) >= timeout
        && let Some(reason) = news(StopReason::TimedOut)
    {
        let words =
            format!("it has run for its timeout of {}", spotwise_model::time::human(timeout));
        return Some((reason, words));
    }
    if attempt.nodes.len() > 1
        && attempt.nodes.iter().any(breaks_gang)
        && let Some(reason) = news(StopReason::GangBroken)
    {
        return Some((reason, "a member of its gang failed or was stopped".to_owned()));
    }
    let reason = news(StopReason::Budget)?;
    let budget = job.spec.budget?;
    let stopping = cost_of_stopping(state, job, attempt, config, now);
    let used = job.spent + running(state, job, accrued, now);
    let over = used + stopping >= budget && !costs_nothing(state, attempt, config);
    over.then(|| {
        let words = format!(
            "its budget of {} is used up: {} spent, {} to stop it cleanly",
            budget.human(),
            used.human(),
            stopping.human()
        );
        (reason, words)
    })
}

/// What a job has used of its budget and needs to stop its live attempt cleanly: no smaller
/// budget can be kept.
pub fn least_budget(
    state: &State,
    job: &Job,
    accrued: &BTreeMap<AttemptId, Money>,
    config: &Config,
    now: Now,
) -> Money {
    let stopping = state
        .live_attempt(job.id)
        .map_or(Money::ZERO, |live| cost_of_stopping(state, job, live, config, now));
    // What is asked for now may be said a moment later.
    job.spent + running(state, job, accrued, now) + stopping + stopping
}

/// Whether the rest of its gang waits for it in vain: it failed, or its machine has stopped
/// it.
const fn breaks_gang(node: &NodeReport) -> bool {
    match node.exited {
        Some((_, Exit::Code(0 | EXIT_REQUEUE))) => matches!(node.told, Told::Stop),
        Some(_) => true,
        None => false,
    }
}

/// The unsettled cost of all attempts of a job, and what the ends of their machines may add.
fn running(state: &State, job: &Job, accrued: &BTreeMap<AttemptId, Money>, now: Now) -> Money {
    let of = |attempt: &Attempt| {
        let so_far = accrued.get(&attempt.id).copied().unwrap_or_default();
        so_far + owed_for_ends(state, attempt, now.market)
    };
    state.attempts_of(job.id).map(of).sum()
}

/// The most that the attempt costs from the order to its end, at the current price of its
/// machines (or that at launch, if the offer is gone).
fn cost_of_stopping(
    state: &State,
    job: &Job,
    attempt: &Attempt,
    config: &Config,
    now: Now,
) -> Money {
    let market = (longest_ending(job, config) + NEXT_LOOK).saturating_mul(config.speed)
        + termination(state, attempt);
    let paid = paid_until(state, attempt).is_some_and(|until| until > after(now.market, market));
    let price = if paid { price(state, attempt) } else { bought(state, attempt) };
    price.charge(market.as_secs())
}

/// From when its machines are given back to the end of their bill (market time).
fn termination(state: &State, attempt: &Attempt) -> Duration {
    state.pools.get(&attempt.offer.pool).map_or(Duration::ZERO, |pool| pool.times.termination)
}

/// From the first signal to stop for the budget to the end (wall time).
fn longest_ending(job: &Job, config: &Config) -> Duration {
    let grace = job.spec.checkpoint.as_ref().map_or(config.default_grace, |c| c.grace);
    grace + BUDGET_STOP_MARGIN
}

fn machines<'s>(state: &'s State, attempt: &Attempt) -> impl Iterator<Item = &'s Instance> {
    attempt.instances.iter().filter_map(|id| state.instances.get(id))
}

/// What all machines of an attempt are billed now.
fn price(state: &State, attempt: &Attempt) -> Price {
    let now = |machine: &Instance| machine.covered().map(|covered| covered.price);
    sum(state, attempt, now)
}

/// The same once no commitment pays for any of them.
fn bought(state: &State, attempt: &Attempt) -> Price {
    sum(state, attempt, |_| None)
}

fn sum(state: &State, attempt: &Attempt, paid: impl Fn(&Instance) -> Option<Price>) -> Price {
    let of = |machine: &Instance| {
        let offer = || state.seen.offers.iter().find(|offer| offer.key == machine.offer);
        let itself = || match machine.coverage.is_empty() {
            true => offer().map_or(machine.launch_price, |offer| offer.price),
            false => machine.on_demand,
        };
        paid(machine).unwrap_or_else(itself).micros_per_hour()
    };
    let prices = machines(state, attempt).map(of);
    Price::from_micros_per_hour(prices.fold(0, i64::saturating_add))
}

/// When the first of its machines is billed on demand again; `None` if no commitment pays
/// for any.
fn paid_until(state: &State, attempt: &Attempt) -> Option<Timestamp> {
    machines(state, attempt).filter_map(Instance::covered).map(|covered| covered.until).min()
}

/// Sets for every live attempt of a job with a budget how long its money lasts if nobody
/// leads from now on: its workers then stop by themselves. It costs as much as a stop that
/// the next round would order.
pub fn cutoffs(
    state: &State,
    accrued: &BTreeMap<AttemptId, Money>,
    config: &Config,
    now: Now,
) -> Vec<Change> {
    let live = state.attempts.values().filter(|attempt| attempt.state.is_live());
    live.filter_map(|attempt| {
        let job = state.jobs.get(&attempt.id.job)?;
        let cutoff = cutoff(state, job, attempt, accrued, config, now)?;
        let news = attempt.cutoff.is_none_or(|standing| is_news(standing, cutoff, now));
        news.then(|| Attempt { cutoff: Some(cutoff), ..attempt.clone() }.into())
    })
    .collect()
}

fn cutoff(
    state: &State,
    job: &Job,
    attempt: &Attempt,
    accrued: &BTreeMap<AttemptId, Money>,
    config: &Config,
    now: Now,
) -> Option<BudgetCutoff> {
    let budget = job.spec.budget?;
    let speed = config.speed.max(1);
    if costs_nothing(state, attempt, config) {
        // Its provider ends it, and for nothing.
        let reclaim = attempt.stop.and_then(|order| order.reclaim_wall)?;
        let wall = after(reclaim, LEASE_MARGIN);
        let left = between(now.wall, wall).saturating_mul(speed);
        return Some(BudgetCutoff {
            stop_at: wall,
            gone_by: Now { wall, market: after(now.market, left) },
        });
    }
    let ending = longest_ending(job, config);
    let machines = i64::try_from(attempt.instances.len()).ok()?;
    let left = budget - job.spent - running(state, job, accrued, now);
    let left = left.micros().saturating_sub(machines.saturating_mul(ROUNDING));
    let lasts = Duration::from_secs(lasts(state, attempt, left, now).min(MOST_SECONDS));
    let ending_market = ending.saturating_mul(speed);
    // Its machines cost something until they are gone.
    let lasts = lasts.saturating_sub(ending_market + termination(state, attempt));
    let stop_at = after(now.wall, lasts / speed);
    let gone_by = Now {
        wall: after(stop_at, ending),
        market: after(now.market, lasts.saturating_add(ending_market)),
    };
    Some(BudgetCutoff { stop_at, gone_by })
}

/// Seconds of market time that this many micro-dollars last: at today's price while
/// commitments pay, on demand beyond that.
fn lasts(state: &State, attempt: &Attempt, left: i64, now: Now) -> u64 {
    let seconds = |left: i64, price: Price| {
        let seconds = i128::from(left) * 3_600 / i128::from(price.micros_per_hour().max(1));
        u64::try_from(seconds).unwrap_or(0)
    };
    let first = seconds(left, price(state, attempt));
    match paid_until(state, attempt).map(|until| between(now.market, until).as_secs()) {
        Some(paid) if paid < first => {
            let spent = price(state, attempt).charge(paid).micros();
            paid.saturating_add(seconds(left.saturating_sub(spent), bought(state, attempt)))
        }
        _ => first,
    }
}

/// Whether workers are told of it. Less time, at once: its price has risen. More time (it
/// fell, or others pay their part of the machine) before the old cutoff has passed, and not
/// with every round. A cutoff that has passed stays as it is: what it has stopped does not
/// continue.
fn is_news(standing: BudgetCutoff, cutoff: BudgetCutoff, now: Now) -> bool {
    let left = between(now.wall, standing.stop_at);
    let gained = between(standing.stop_at, cutoff.stop_at);
    !left.is_zero() && (cutoff.stop_at < standing.stop_at || gained > left / 2 + LEAST_GAIN)
}

/// When [`guard`] and [`cutoffs`] have something to do, if prices stay as they are. For
/// budgets that is never later than needed: the nearer the limit, the more often.
pub fn due(state: &State, config: &Config, due: &mut Due) {
    let now = due.now();
    let live = || state.attempts.values().filter(|attempt| attempt.state.is_live());
    let job_of = |attempt: &Attempt| state.jobs.get(&attempt.id.job);
    for attempt in live() {
        let timeout = job_of(attempt).and_then(|job| job.spec.timeout);
        let started = attempt.state.started().map(|at| at.market);
        due.market(timeout.zip(started).map(|(timeout, started)| after(started, timeout)));
    }
    let budgeted = |attempt: &&Attempt| job_of(attempt).is_some_and(|j| j.spec.budget.is_some());
    if !live().any(|attempt| budgeted(&attempt)) {
        return;
    }
    let accrued = accrued(state, &config.policy, now);
    for attempt in live().filter(budgeted) {
        let Some(job) = job_of(attempt) else { continue };
        due.market(over_budget_at(state, job, attempt, &accrued, config, now));
        let cutoff = cutoff(state, job, attempt, &accrued, config, now);
        due.wall(
            cutoff
                .zip(attempt.cutoff)
                .and_then(|(cutoff, standing)| news_at(standing, cutoff, now)),
        );
    }
}

/// Up to when an attempt is certainly within its budget, if prices stay as they are, and a
/// moment at which they change. Others may pay their part of the machine: the rest of the
/// way is looked at again.
fn over_budget_at(
    state: &State,
    job: &Job,
    attempt: &Attempt,
    accrued: &BTreeMap<AttemptId, Money>,
    config: &Config,
    now: Now,
) -> Vec<Timestamp> {
    let Some(budget) = job.spec.budget else { return Vec::new() };
    if attempt.stop.is_some_and(|order| !StopReason::Budget.overrides(order.reason)) {
        return Vec::new();
    }
    let stopping = cost_of_stopping(state, job, attempt, config, now);
    let left = budget - job.spent - running(state, job, accrued, now) - stopping;
    let machines = i64::try_from(attempt.instances.len()).unwrap_or(i64::MAX);
    let left = left.micros().saturating_sub(machines.saturating_mul(ROUNDING)).max(0);
    let price = price(state, attempt).micros_per_hour().max(1);
    let seconds = i128::from(left) * 3_600 / i128::from(price) * 9 / 10;
    let seconds = u64::try_from(seconds).unwrap_or(0).clamp(1, MOST_SECONDS);
    let reach = (longest_ending(job, config) + NEXT_LOOK).saturating_mul(config.speed)
        + termination(state, attempt);
    let dearer = paid_until(state, attempt).and_then(|until| until.checked_sub(reach).ok());
    [Some(after(now.market, Duration::from_secs(seconds))), dearer].into_iter().flatten().collect()
}

/// When the gain of a cutoff may be worth reporting at the earliest: while its time passes,
/// and more is gained where others pay their part of the machine. `None` once it has
/// passed.
fn news_at(standing: BudgetCutoff, cutoff: BudgetCutoff, now: Now) -> Option<Timestamp> {
    let left = Some(between(now.wall, standing.stop_at)).filter(|left| !left.is_zero())?;
    let gained = between(standing.stop_at, cutoff.stop_at);
    let open = (left + LEAST_GAIN * 2).saturating_sub(gained * 2);
    Some(after(now.wall, (open / 3).max(Duration::from_millis(100))))
}

/// Whether its provider takes all of its machines back within their free first
/// time.
fn costs_nothing(state: &State, attempt: &Attempt, config: &Config) -> bool {
    let mut machines = attempt.instances.iter().filter_map(|id| state.instances.get(id));
    !attempt.instances.is_empty() && machines.all(|machine| is_left_to_provider(machine, config))
}

/// A machine that the provider takes back within its free initial period is left to it: the
/// provider's interruption makes it free, ours would not.
fn is_left_to_provider(instance: &Instance, config: &Config) -> bool {
    match instance.state {
        InstanceState::Noticed { since, reclaim_at, .. } => {
            between(since, reclaim_at) < config.policy.interruption_waiver
        }
        _ => false,
    }
}

/// Gives back machines that nobody uses any more. It looks at the current state, not at what
/// ended: two jobs on one machine may end in the same round. Where machines are gone the
/// moment they are given back, they are.
pub fn release(state: &State, config: &Config, now: Now) -> Vec<Change> {
    let idle = state.instances.values().filter(|instance| {
        !is_left_to_provider(instance, config)
            && !state.attempts_on(instance.id).any(|attempt| attempt.state.is_live())
    });
    let released = idle.filter_map(|instance| {
        let pool = state.pool_of(instance)?;
        let machine = instance.clone();
        match machine.state {
            _ if pool.features.instant => machine.end(now.market, EndedBy::Us).ok(),
            InstanceState::Draining { .. } => machine.give_back(now, GivenBackFor::Drained).ok(),
            _ if keep::is_kept(state, instance, pool, now) => None,
            _ => machine.give_back(now, GivenBackFor::Unused).ok(),
        }
    });
    released.map(Change::from).collect()
}

/// Whether a job has a limit that must be watched while it runs.
pub fn is_bounded(job: &Job) -> bool {
    job.spec.budget.is_some() || job.spec.timeout.is_some() || job.spec.resources.nodes > 1
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
