//! One round: every phase once, in order, on the state in memory. The driver runs it in
//! real time and commits what it produced; the simulator runs it in virtual time.

use std::collections::BTreeMap;
use std::time::Duration;

use spotwise_model::{AttemptState, JobId, MarketKey, Now, Plan, Supply, WaitReason};

use super::{
    admit, commitments, deadlines, fill, forecast, gpu_slots, guard, launch, machines, observe,
    plan, settle,
};
use crate::config::Config;
use crate::core::availability_history::Step;
use crate::core::prices::PriceQuestion;
use crate::core::{Change, State, beliefs};
use crate::view::{accrued, offers, pools};
use spotwise_market::{Market, MarketQuote, PriceAnswer};

/// The inputs of a round besides the state.
#[derive(Clone, Copy, Debug)]
pub struct RoundInputs<'a> {
    /// Prices and availability.
    pub market: &'a Market,
    /// The operator's settings.
    pub config: &'a Config,
}

/// What has arrived since the round before.
#[derive(Debug, Default)]
pub struct Received {
    /// A plan that is ready.
    pub plan: Option<Plan>,
    /// What the price feed answers; `None` as long as it is silent.
    pub prices: Option<PriceAnswer>,
}

/// Asks a market for its prices, as [`Received::prices`].
pub fn ask_prices(state: &State, market: &Market, now: Now) -> PriceAnswer {
    let PriceQuestion { since, all } = state.prices.question(state.oldest_launch());
    market.prices_since(since, all, now.market)
}

/// A state, and the changes made to it in this round.
#[derive(Debug)]
pub struct WorkingState<'a> {
    /// The working state: changed at once, visible to nobody before the commit.
    pub state: &'a mut State,
    /// What to commit, in order.
    pub changes: Vec<Change>,
}

impl WorkingState<'_> {
    /// Applies changes.
    pub fn take(&mut self, made: Vec<Change>) {
        for mut change in made {
            self.state.apply(&mut change);
            self.changes.push(change);
        }
    }
}

/// Why a job that waits for room in its pool would wait indefinitely.
fn for_ever(state: &State, job: JobId, reason: &WaitReason) -> Option<String> {
    let job = state.jobs.get(&job).filter(|_| matches!(reason, WaitReason::PoolFull { .. }))?;
    pools::too_small(&state.pools, &job.spec.resources)
}

/// In a fast replay rounds are far apart in market time: a pause of this length in wall
/// time is not a gap.
const WALL_GAP_TOLERANCE: Duration = Duration::from_secs(5);

/// Records what the spot markets have, whether or not there are jobs.
fn observe_market(
    working: &mut WorkingState<'_>,
    available: &BTreeMap<MarketKey, u32>,
    config: &Config,
    now: Now,
) {
    let availability = &mut working.state.availability;
    let step = availability.observe(
        available,
        WALL_GAP_TOLERANCE.saturating_mul(config.speed),
        now.market,
    );
    let written = availability.write(now);
    if step == Step::Back {
        working.state.seen.forecasts.clear();
    }
    working
        .take(written.into_iter().map(|update| Change::Availability(Box::new(update))).collect());
}

/// What machines cost is reckoned from what was heard, and from nothing else.
fn hear_prices(working: &mut WorkingState<'_>, answer: Option<PriceAnswer>, now: Now) {
    let oldest = working.state.oldest_launch();
    let prices = &mut working.state.prices;
    if let Some(answer) = answer {
        prices.hear(answer, now.market);
    }
    let written = prices.write(oldest, now);
    working.take(written.into_iter().map(|update| Change::Prices(Box::new(update))).collect());
}

/// What is believed of markets that show nothing of what they have.
fn believe(state: &mut State, quotes: &[MarketQuote], now: Now) {
    let known = std::mem::take(&mut state.seen.beliefs);
    let from = (&state.own_log, &state.pools);
    state.seen.beliefs = beliefs::refresh(known, from, quotes, now.market);
}

/// Updates the forecasts, and fits those that are due unless that is done outside the
/// rounds.
fn refresh_forecasts(
    state: &mut State,
    market: &Market,
    available: &BTreeMap<MarketKey, u32>,
    config: &Config,
    now: Now,
) {
    state.seen.forecast_requests.retain(|asked| asked.until > now.wall);
    let known = std::mem::take(&mut state.seen.forecasts);
    state.seen.forecasts = forecast::refresh(known, state, market, available, now.market);
    let changeover = config.policy.changeover;
    while !state.seen.fits_beside
        && let Some(fit) = forecast::due(state, market, available, changeover, now.market)
        && forecast::take(&mut state.seen.forecasts, fit.run(), now.market)
    {}
}

/// What idle machines can hope for is what came before.
fn note_arrivals(state: &mut State, placed: &[Change], now: Now) {
    for change in placed {
        if let Change::Attempt(attempt) = change
            && matches!(attempt.state, AttemptState::Planned { .. })
        {
            let offer = &attempt.offer;
            let kind = offer.market.instance_type.clone();
            state.seen.arrivals.note(offer.pool.clone(), kind, now.market);
        }
    }
}

/// One step, in a span of its own.
fn within<T>(phase: &'static str, step: impl FnOnce() -> T) -> T {
    tracing::debug_span!("phase", phase).in_scope(step)
}

/// Runs every phase. True if the market's free capacity has changed.
pub fn run(
    working: &mut WorkingState<'_>,
    Received { plan, prices }: Received,
    inputs: RoundInputs<'_>,
    now: Now,
) -> bool {
    let RoundInputs { market, config } = inputs;
    hear_prices(working, prices, now);
    let quotes = working.state.prices.priced(market.quotes(now.market), now.market);
    let available = offers::available_spot(working.state, &quotes);
    observe_market(working, &available, config, now);
    working.take(gpu_slots::backfill(working.state));
    working.take(within("machines", || machines::machines(working.state, market, now)));
    working.take(within("observe", || observe::observe(working.state, config, now)));
    working.take(within("reclaim", || {
        observe::reclaim(working.state, |key| available.get(key).copied(), config.speed, now)
    }));
    working.take(within("release", || guard::release(working.state, config, now)));
    working.take(within("commit", || commitments::apply(working.state, market, now)));
    working.take(within("settle", || settle::settle(working.state, &config.policy, now)));
    working.take(within("free_holds", || settle::free_holds(working.state, &config.policy, now)));
    let bounded = working.state.jobs.values().any(guard::is_bounded);
    let accrued = bounded.then(|| accrued::accrued(working.state, &config.policy, now));
    if let Some(accrued) = &accrued {
        working.take(within("guard", || guard::guard(working.state, accrued, config, now)));
    }
    working.take(within("admit", || admit::admit(working.state, now)));
    working.take(within("deadlines", || {
        deadlines::deadlines(working.state, config.policy.changeover, now)
    }));

    // After what was freed above, before what is bought below.
    let changeover = config.policy.changeover;
    within("beliefs", || believe(working.state, &quotes, now));
    let offers =
        within("offers", || offers::offers(working.state, &quotes, changeover, now.market));
    let free = |offers: &[spotwise_model::Offer]| -> Vec<Supply> {
        offers.iter().map(|offer| offer.free).collect()
    };
    let moved = free(&offers) != free(&working.state.seen.offers);
    working.state.seen.offers = offers;
    within("forecast", || refresh_forecasts(working.state, market, &available, config, now));

    if let Some(mut plan) = plan {
        for (id, reason) in &mut plan.waits {
            if let Some(detail) = for_ever(working.state, *id, reason) {
                *reason = WaitReason::Unschedulable { detail };
            }
        }
        let placed = within("accept", || plan::accept(working.state, &plan, now));
        note_arrivals(working.state, &placed, now);
        working.take(placed);
        working.state.seen.waits.extend(plan.waits);
        working.state.seen.reservations = plan.reservations;
    }
    // Nothing has come free, and nobody has come, where nothing has changed.
    if working.state.seen.plans_beside && (moved || working.changes.iter().any(Change::is_news)) {
        let filled = within("fill", || fill::fill(working.state, config, now));
        let placed = filled.map(|plan| plan::accept(working.state, &plan, now)).unwrap_or_default();
        let attempts = placed.iter().filter(|change| matches!(change, Change::Attempt(_)));
        working.state.seen.counts.filled += attempts.count() as u64;
        note_arrivals(working.state, &placed, now);
        working.take(placed);
    }
    working.take(within("launch", || launch::launch(working.state, now)));
    if let Some(accrued) = &accrued {
        // What was placed just now is told too.
        working.take(within("fuses", || guard::cutoffs(working.state, accrued, config, now)));
    }
    moved
}
