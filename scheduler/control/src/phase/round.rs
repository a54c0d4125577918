//! One round: every phase once, in order, on the state in memory. The driver
//! runs it on real time and commits what it made; the simulator runs it on
//! virtual time.

use std::collections::BTreeMap;
use std::time::Duration;

use spotwise_model::id::PoolName;
use spotwise_model::{JobId, Now, OfferKey, Plan, WaitReason};
use spotwise_solver::PoolLimit;

use super::observe::Lead;
use super::{
    admit, commit, deadlines, fill, forecast, guard, launch, observe, plan, seats, settle,
};
use crate::config::Config;
use crate::core::spells::Step;
use crate::core::{Change, State};
use crate::view::{accrued, offers, pools};
use spotwise_market::Market;

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

/// In a fast replay rounds lie far apart in market time: a pause of this wall
/// time is none.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes note of what the spot markets have, jobs or no jobs.
fn watch(draft: &mut Draft<'_>, available: &BTreeMap<OfferKey, u32>, config: &Config, now: Now) {
    let spells = &mut draft.state.spells;
    let step = spells.look(available, PATIENCE.saturating_mul(config.speed), now.market);
    let written = spells.write(now);
    if step == Step::Back {
        draft.state.seen.forecasts.clear();
    }
    draft.take(written.into_iter().map(|watched| Change::Watched(Box::new(watched))).collect());
}

/// Brings the forecasts up to date, and fits those that are due unless that is done
/// beside the rounds.
fn expect(
    state: &mut State,
    market: &Market,
    available: &BTreeMap<OfferKey, u32>,
    config: &Config,
    now: Now,
) {
    state.seen.asked.retain(|asked| asked.until > now.wall);
    let known = std::mem::take(&mut state.seen.forecasts);
    state.seen.forecasts = forecast::look(known, state, market, available, now.market);
    let changeover = config.policy.changeover;
    while !state.seen.fits_beside
        && let Some(fit) = forecast::due(state, market, available, changeover, now.market)
        && forecast::take(&mut state.seen.forecasts, fit.run(), now.market)
    {}
}

/// One step, in a span of its own.
fn within<T>(phase: &'static str, step: impl FnOnce() -> T) -> T {
    tracing::debug_span!("phase", phase).in_scope(step)
}

/// Runs every phase. True where the market's free capacity has changed.
pub fn run(draft: &mut Draft<'_>, plan: Option<Plan>, around: Surroundings<'_>, now: Now) -> bool {
    let Surroundings { market, pool, total, config } = around;
    let quotes = market.quotes(now.market);
    let available = offers::available_spot(pool, &quotes);
    watch(draft, &available, config, now);
    draft.take(seats::adopt(draft.state));
    draft.take(within("observe", || observe::observe(draft.state, config, now)));
    let lead =
        Lead { wall: config.notice_lead, market: config.notice_lead.saturating_mul(config.speed) };
    draft.take(within("reclaim", || {
        observe::reclaim(draft.state, |key| available.get(key).copied(), lead, now)
    }));
    draft.take(within("release", || guard::release(draft.state, config, now)));
    draft.take(within("commit", || commit::commit(draft.state, market, now)));
    draft.take(within("settle", || settle::settle(draft.state, market, &config.policy, now)));
    draft.take(within("free_holds", || {
        settle::free_holds(draft.state, market, &config.policy, now)
    }));
    let bounded = draft.state.jobs.values().any(guard::is_bounded);
    let accrued = bounded.then(|| accrued::accrued(draft.state, market, &config.policy, now));
    if let Some(accrued) = &accrued {
        draft.take(within("guard", || guard::guard(draft.state, accrued, config, now)));
    }
    draft.take(within("admit", || admit::admit(draft.state, now)));
    draft.take(within("deadlines", || {
        deadlines::deadlines(draft.state, config.policy.changeover, now)
    }));

    // After what was freed above, before what is bought below.
    let changeover = config.policy.changeover;
    let offers = within("offers", || offers::offers(draft.state, pool, quotes, changeover));
    let free = |offers: &[spotwise_model::Offer]| -> Vec<u32> {
        offers.iter().map(|offer| offer.free).collect()
    };
    let moved = free(&offers) != free(&draft.state.seen.offers);
    draft.state.seen.offers = offers;
    draft.state.seen.pool_totals = vec![total.clone()];
    within("forecast", || expect(draft.state, market, &available, config, now));

    if let Some(mut plan) = plan {
        for (id, reason) in &mut plan.waits {
            if let Some(detail) = for_ever(draft.state, *id, reason) {
                *reason = WaitReason::Unschedulable { detail };
            }
        }
        draft.take(within("accept", || plan::accept(draft.state, &plan, now)));
        draft.state.seen.waits.extend(plan.waits);
        draft.state.seen.reservations = plan.reservations;
    }
    // Nothing has come free, and nobody has come, where nothing has changed.
    if draft.state.seen.plans_beside && (moved || draft.changes.iter().any(Change::is_news)) {
        let filled = within("fill", || fill::fill(draft.state, pool, config, now));
        let placed = filled.map(|plan| plan::accept(draft.state, &plan, now)).unwrap_or_default();
        let attempts = placed.iter().filter(|change| matches!(change, Change::Attempt(_)));
        draft.state.seen.counts.filled += attempts.count() as u64;
        draft.take(placed);
    }
    draft.take(within("launch", || launch::launch(draft.state, now)));
    if let Some(accrued) = &accrued {
        // What was placed just now is told too.
        draft.take(within("fuses", || guard::fuses(draft.state, accrued, config, now)));
    }
    moved
}
