//! One round: every phase once, in order, on the state in memory. The driver
//! runs it on real time and commits what it made; the simulator runs it on
//! virtual time.

use spotwise_model::id::PoolName;
use spotwise_model::{JobId, Now, Plan, WaitReason};
use spotwise_solver::PoolLimit;

use super::observe::Lead;
use super::{admit, commit, forecast, guard, launch, observe, offers, plan, pools, settle};
use crate::config::Config;
use crate::core::{Change, State};
use crate::market::Market;

/// What a round looks at beside the state.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Prices and availability.
    pub market: &'a Market,
    /// The pool that sells them.
    pub pool: &'a PoolName,
    /// What the pool has in all.
    pub total: &'a PoolLimit,
    /// The operator's choices.
    pub config: &'a Config,
}

/// A state, and the changes made to it in this round.
#[derive(Debug)]
pub struct Draft<'a> {
    /// The working state: changed at once, seen by nobody before the commit.
    pub state: &'a mut State,
    /// What to commit, in order.
    pub changes: Vec<Change>,
}

impl Draft<'_> {
    /// Takes changes in.
    pub fn take(&mut self, made: Vec<Change>) {
        for mut change in made {
            self.state.apply(&mut change);
            self.changes.push(change);
        }
    }
}

/// Why a job that waits for room in its pool would wait for ever.
fn for_ever(state: &State, job: JobId, reason: &WaitReason) -> Option<String> {
    let job = state.jobs.get(&job).filter(|_| matches!(reason, WaitReason::PoolFull { .. }))?;
    pools::too_small(&state.seen.pool_totals, &job.spec.resources)
}

/// Runs every phase. True where the market's free capacity has changed.
pub fn run(draft: &mut Draft<'_>, plan: Option<Plan>, around: Surroundings<'_>, now: Now) -> bool {
    let Surroundings { market, pool, total, config } = around;
    let quotes = market.quotes(now.market);
    let available = offers::available_spot(pool, &quotes);
    draft.take(observe::observe(draft.state, config, now));
    let lead =
        Lead { wall: config.notice_lead, market: config.notice_lead.saturating_mul(config.speed) };
    draft.take(observe::reclaim(draft.state, |key| available.get(key).copied(), lead, now));
    draft.take(guard::release(draft.state, config, now));
    draft.take(commit::commit(draft.state, market, now));
    draft.take(settle::settle(draft.state, market, &config.policy, now));
    draft.take(settle::free_holds(draft.state, market, &config.policy, now));
    let bounded = draft.state.jobs.values().any(guard::is_bounded);
    let accrued = bounded.then(|| settle::accrued(draft.state, market, &config.policy, now));
    if let Some(accrued) = &accrued {
        draft.take(guard::guard(draft.state, accrued, config, now));
    }
    draft.take(admit::admit(draft.state, now));

    // After what was freed above, before what is bought below.
    let offers = offers::offers(draft.state, pool, quotes, config.policy.changeover);
    let free = |offers: &[spotwise_model::Offer]| -> Vec<u32> {
        offers.iter().map(|offer| offer.free).collect()
    };
    let moved = free(&offers) != free(&draft.state.seen.offers);
    draft.state.seen.offers = offers;
    draft.state.seen.pool_totals = vec![total.clone()];
    let seen = &mut draft.state.seen;
    let known = std::mem::take(&mut seen.forecasts);
    let changeover = config.policy.changeover;
    seen.forecasts =
        forecast::look(known, &seen.offers, market, &available, changeover, now.market);

    if let Some(mut plan) = plan {
        for (id, reason) in &mut plan.waits {
            if let Some(detail) = for_ever(draft.state, *id, reason) {
                *reason = WaitReason::Unschedulable { detail };
            }
        }
        draft.take(plan::accept(draft.state, &plan, now));
        draft.state.seen.waits.extend(plan.waits);
    }
    draft.take(launch::launch(draft.state, now));
    if let Some(accrued) = &accrued {
        // What was placed just now is told too.
        draft.take(guard::fuses(draft.state, accrued, config, now));
    }
    moved
}
