//! What a job would cost and when it would be done, were it alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::quote::{Quote, Quoted, Spread, Start};
use spotwise_model::time::{after, between, hours, whole_second};
use spotwise_model::{CapacityType, JobId, Money, Placement};

use crate::answer::explain::{alternatives, unschedulable};
use crate::answer::limit_reached::never_allowed;
use crate::audit::reserved::{Stay, takes_kept};
use crate::parallel::in_chunks;
use crate::room::pools::Need;
use crate::statement::choice::{Choice, JobEvaluation, cheapest_spot, evaluate_with_choices};
use crate::statement::demand::JobDemand;
use crate::statement::input::{PlanInput, PlanJob};
use crate::statement::market::{Listing, Market};
use crate::statement::round::Round;
use crate::statement::value::{
    Estimate, OnDemandFallback, expected_interruptions, kind_allows, rework, stretched,
};

/// How many other offers a quote names.
const ALTERNATIVES: usize = 3;
/// The span of which a quote tells the worth.
const TWO_HOURS: Duration = Duration::from_secs(7_200);
/// Jobs that wait and are quoted in one plan: on 1,000 offers well below a second.
const MOST_WAITING: usize = 2_000;
/// Least number of jobs that are worth a thread.
const LEAST_CHUNK: usize = 64;
/// The standard normal's 90 % point, for many interruptions.
const NORMAL_P90: f64 = 1.2816;

/// Forecasts one job on the input's market, as it stands, without the input's
/// other jobs. Interruptions come as a Poisson process of the offer's hazard;
/// where they would cost the deadline, on-demand takes over at its latest start.
pub fn quote(input: &PlanInput, job: &PlanJob) -> Quote {
    let market = Market::new(input);
    let evaluation = evaluate_with_choices(job, input, &market);
    let (chosen, mut quote) = figures(&evaluation, &market, input);
    let others = alternatives(&market, &evaluation, chosen, input.now, |_| None);
    quote.alternatives = others.into_iter().take(ALTERNATIVES).collect();
    if quote.offer.is_none() {
        let never = never_allowed(&market, &evaluation);
        let why = never.unwrap_or_else(|| unschedulable(&evaluation, &input.offers));
        quote.unschedulable = Some(why);
    }
    quote
}

/// Quotes for the jobs of a round that have none yet: all that it places, and of
/// those that wait so many that a flood of jobs does not hold up the plan. The
/// others wait for the next plan, which is their first look at the market too.
pub(crate) fn first_quotes(round: &Round<'_>, placements: &[Placement]) -> BTreeMap<JobId, Quoted> {
    quotes(round, placements, MOST_WAITING)
}

/// The same for those alone that are placed.
pub(crate) fn quotes_of_placed(
    round: &Round<'_>,
    placements: &[Placement],
) -> BTreeMap<JobId, Quoted> {
    quotes(round, placements, 0)
}

fn quotes(
    round: &Round<'_>,
    placements: &[Placement],
    most_waiting: usize,
) -> BTreeMap<JobId, Quoted> {
    let placed: BTreeSet<JobId> = placements.iter().map(|placement| placement.job).collect();
    let fresh = || round.demands.iter().filter(|demand| !demand.job.quoted);
    let mut demands: Vec<&JobDemand<'_>> =
        fresh().filter(|demand| placed.contains(&demand.job.id)).collect();
    demands.extend(fresh().filter(|demand| !placed.contains(&demand.job.id)).take(most_waiting));
    let now = round.input.now;
    let quoted = in_chunks(&demands, LEAST_CHUNK, |_, demands| {
        // Like jobs are quoted alike.
        let mut last: Option<(usize, Option<Quoted>)> = None;
        let quoted = demands.iter().filter_map(|demand| {
            let class = round.identical.class_of(demand.number);
            let quoted = match last {
                Some((of, quoted)) if of == class => quoted,
                _ => {
                    let evaluation = evaluate_with_choices(demand.job, round.input, &round.market);
                    figures(&evaluation, &round.market, round.input).1.keep(now)
                }
            };
            last = Some((class, quoted));
            Some((demand.job.id, quoted?))
        });
        quoted.collect::<Vec<_>>()
    });
    quoted.into_iter().flatten().collect()
}

/// The figures of a quote, and what it would run on.
fn figures<'c>(
    evaluation: &'c JobEvaluation<'_>,
    market: &Market<'_>,
    input: &PlanInput,
) -> (Option<&'c Estimate>, Quote) {
    let now = input.now;
    let (chosen, start) = choose(evaluation, market, input);
    let is_bought = |e: &&Estimate| {
        listing(market, e).is_some_and(|listing| !listing.is_spot() && !listing.is_reserved())
    };
    let fallback =
        evaluation.fallback.as_ref().map(|fallback| &fallback.estimate).filter(is_bought);
    let on_demand = fallback.or_else(|| cheapest(evaluation.estimates.iter().filter(is_bought)));
    let deadline = evaluation.job.deadline;
    let nothing = Spread { p50: Money::ZERO, p90: Money::ZERO };
    let mut quote = Quote {
        expected_cost: Money::ZERO,
        cost: nothing,
        machines: (Money::ZERO, nothing),
        finish: Spread { p50: deadline, p90: deadline },
        deadline,
        offer: None,
        start,
        transfer: Money::ZERO,
        interruptions: 0.0,
        spot_share: 0.0,
        on_demand_cost: on_demand.map(Estimate::cost),
        two_more_hours: more_time(evaluation, market, TWO_HOURS),
        alternatives: Vec::new(),
        unschedulable: None,
    };
    if let Some((e, listing)) = chosen.and_then(|e| Some((e, listing(market, e)?))) {
        forecast(evaluation, e, (listing, market), now, &mut quote);
    }
    (chosen, quote)
}

/// What this much more time would save a job that can make use of it.
fn more_time(evaluation: &JobEvaluation<'_>, market: &Market<'_>, more: Duration) -> Option<Money> {
    let spec = &evaluation.job.spec;
    if !spec.interruptible || !spec.resumable() || !evaluation.fallback.as_ref()?.meets {
        return None;
    }
    let spot = cheapest_spot(evaluation, &market.listings)?;
    let outlook = market.outlook(&listing(market, spot)?.offer.key, evaluation.nodes)?;
    let of_machine = outlook.saved_by(spot.left, evaluation.time_left?, more);
    Some(Money::estimate(of_machine * f64::from(evaluation.nodes)))
}

fn listing<'m, 'a>(market: &'m Market<'a>, e: &Estimate) -> Option<&'m Listing<'a>> {
    market.listings.get(e.listing)
}

fn cheapest<'e>(estimates: impl Iterator<Item = &'e Estimate>) -> Option<&'e Estimate> {
    estimates.min_by(|a, b| a.alone.total_cmp(&b.alone))
}

/// What the job would take: the best that it may take now, else spot that it
/// waits for, else the cheapest that holds it.
fn choose<'c>(
    evaluation: &'c JobEvaluation<'_>,
    market: &Market<'_>,
    input: &PlanInput,
) -> (Option<&'c Estimate>, Start) {
    let best = evaluation.choices.iter().min_by(|a, b| all_of(a).total_cmp(&all_of(b)));
    if let Some(best) = best {
        let fits = has_room(evaluation, &best.estimate, market, input);
        return (Some(&best.estimate), if fits { Start::Now } else { Start::WhenFree });
    }
    let spot = cheapest_spot(evaluation, &market.listings);
    if let (Some(spot), Some(fallback)) = (spot, &evaluation.fallback)
        && fallback.meets
    {
        return (Some(spot), Start::Later { latest: fallback.latest_start });
    }
    let suitable = evaluation
        .estimates
        .iter()
        .filter(|e| listing(market, e).is_some_and(|listing| kind_allows(evaluation.job, listing)));
    (cheapest(suitable), Start::WhenFree)
}

/// Whether a choice fits what its pool has left, beside the room that is kept there for
/// others.
fn has_room(
    evaluation: &JobEvaluation<'_>,
    e: &Estimate,
    market: &Market<'_>,
    input: &PlanInput,
) -> bool {
    let Some(listing) = listing(market, e) else { return false };
    let offer = listing.offer;
    let need = Need::of(&e.share, &offer.shape, evaluation.nodes);
    let limit = market.limits.get(&offer.key.pool);
    limit.is_none_or(|limit| Need::left(limit).short(&need).is_none())
        && (input.reservations.is_empty()
            || !takes_kept(input, evaluation.job, &Stay::of(input, evaluation.job, offer, e.share)))
}

/// Moving its data is in both.
fn all_of(choice: &Choice) -> f64 {
    choice.extra + choice.estimate.alone - choice.estimate.transfer
}

fn forecast(
    evaluation: &JobEvaluation<'_>,
    e: &Estimate,
    (listing, market): (&Listing<'_>, &Market<'_>),
    now: Timestamp,
    quote: &mut Quote,
) {
    let job = evaluation.job;
    let expected = expected_interruptions(job, listing, e.left);
    let whole = job.duration(listing.offer.shape.accelerator.as_ref());
    let each = rework(job, whole, e.left).saturating_add(listing.changeover);
    let billed = |hours: f64| listing.billed(hours) * f64::from(evaluation.nodes);
    let fallback =
        evaluation.fallback.as_ref().filter(|fallback| fallback.meets && listing.is_spot());
    let outcome = |interruptions: f64| {
        let span = e
            .left
            .saturating_add(listing.changeover)
            .saturating_add(stretched(each, interruptions));
        with_fallback(job.deadline, now, span, billed, fallback)
    };
    let (most, usual) = (poisson(expected, 0.9), poisson(expected, 0.5));
    let (mut p50, mut p90) = (outcome(usual), outcome(most));
    let (mut mean, _) = with_fallback(job.deadline, now, e.occupied, billed, fallback);
    let mut on_spot = 1.0;
    // A start that waits may never get its spot: then on-demand does it all.
    if let (Start::Later { latest }, Some(fallback)) = (quote.start, fallback) {
        let done = after(latest, fallback.estimate.left.saturating_add(fallback.changeover));
        p90 = (p90.0.max(fallback.machines()), p90.1.max(done));
        on_spot = chance_of_spot(evaluation, e, (listing, market), (mean, fallback.machines()));
        mean = on_spot * mean + (1.0 - on_spot) * fallback.machines();
        if on_spot < 0.5 {
            p50 = (fallback.machines(), done);
        }
    }
    let moved = |interruptions: f64| e.first_transfer * (1.0 + interruptions);
    let p90 = (p90.0.max(p50.0), p90.1);
    let spread = |usual: f64, most: f64| Spread {
        p50: Money::estimate(p50.0 + usual),
        p90: Money::estimate(p90.0 + most),
    };
    quote.expected_cost = Money::estimate(mean + e.transfer);
    let of_net = fallback.map_or(0.0, |fallback| fallback.estimate.transfer);
    quote.cost = spread(moved(usual), moved(most).max(of_net));
    quote.machines = (Money::estimate(mean), spread(0.0, 0.0));
    quote.transfer = Money::estimate(moved(usual));
    quote.finish = Spread { p50: p50.1, p90: p90.1.max(p50.1) };
    quote.offer = Some(listing.offer.key.clone());
    quote.spot_share = match listing.offer.key.market.capacity_type {
        CapacityType::Spot => on_spot * spot_share(job.deadline, now, e.occupied, fallback),
        CapacityType::OnDemand | CapacityType::Reserved => 0.0,
    };
    quote.interruptions = expected * quote.spot_share;
}

/// How likely a job that waits for spot gets it, by the forecast of the market:
/// what that expects lies between the dollars of spot and those of on-demand. 1
/// where nothing is known.
fn chance_of_spot(
    evaluation: &JobEvaluation<'_>,
    e: &Estimate,
    (listing, market): (&Listing<'_>, &Market<'_>),
    (spot, on_demand): (f64, f64),
) -> f64 {
    let spec = &evaluation.job.spec;
    let known = spec.interruptible && spec.resumable() && spot < on_demand;
    let outlook = known.then(|| market.outlook(&listing.offer.key, evaluation.nodes)).flatten();
    let expected = outlook.zip(evaluation.time_left).map_or(spot, |(outlook, time_left)| {
        outlook.expected(e.left, time_left) * f64::from(evaluation.nodes)
    });
    let chance = (on_demand - expected) / (on_demand - spot);
    if chance.is_finite() { chance.clamp(0.0, 1.0) } else { 1.0 }
}

/// Dollars and finish of a span on spot; where it would be late, on-demand
/// takes over at its latest start and, at worst, does all of what was left.
fn with_fallback(
    deadline: Timestamp,
    now: Timestamp,
    span: Duration,
    billed: impl Fn(f64) -> f64,
    fallback: Option<&OnDemandFallback>,
) -> (f64, Timestamp) {
    let finish = whole_second(after(now, span));
    match fallback {
        Some(fallback) if finish > deadline => {
            let spot = billed(hours(between(now, fallback.latest_start)));
            (spot + fallback.machines(), deadline)
        }
        _ => (billed(hours(span)), finish),
    }
}

fn spot_share(
    deadline: Timestamp,
    now: Timestamp,
    span: Duration,
    fallback: Option<&OnDemandFallback>,
) -> f64 {
    match fallback {
        Some(fallback) if after(now, span) > deadline => {
            let spot = hours(between(now, fallback.latest_start));
            let all = spot + hours(fallback.estimate.occupied);
            if all > 0.0 { spot / all } else { 0.0 }
        }
        _ => 1.0,
    }
}

/// The least number of events that a Poisson process of this mean stays within
/// with the chance `level`.
fn poisson(mean: f64, level: f64) -> f64 {
    // The sum below needs exp(-mean) above zero; so many events are normal.
    if mean > 500.0 {
        let beyond = if level > 0.5 { NORMAL_P90 * mean.sqrt() } else { 0.0 };
        return (mean + beyond).round();
    }
    let (mut count, mut chance) = (0.0, (-mean).exp());
    let mut within = chance;
    while within < level && count < 1_000.0 {
        count += 1.0;
        chance *= mean / count;
        within += chance;
    }
    count
}

#[cfg(test)]
mod tests;
