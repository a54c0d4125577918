//! What one job may take in this round (the spot policy), and what that is
//! worth.

use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::time::{between, hours};
use spotwise_model::{CapacityType, OfferKey};

use crate::statement::input::{PlanInput, PlanJob};
use crate::statement::market::{Listing, Market};
use crate::statement::value::{
    DeadlineStatus, Estimate, OnDemandFallback, affordable, deadline_status, estimate_of, fallback,
    kind_allows, need, nodes,
};

/// One hour late costs as much as this many hours of machines: lateness first,
/// money second.
const LATENESS_HOURS: f64 = 100.0;
/// Waiting costs a job that must go as much as this many hours of machines.
pub(crate) const MUST_GO_HOURS: f64 = 10.0;
/// Keeps a start at no price better than waiting.
pub(crate) const LEAST_WAIT: f64 = 0.001;

/// An offer that a job may take now.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub(crate) estimate: Estimate,
    /// Dollars beyond its machines': see [`options`].
    pub(crate) extra: f64,
}

/// One job of the round.
#[derive(Debug)]
pub(crate) struct JobEvaluation<'a> {
    pub(crate) job: &'a PlanJob,
    pub(crate) nodes: u32,
    /// Every offer whose machines hold it.
    pub(crate) estimates: Vec<Estimate>,
    /// The same where a limit never allows its machines.
    pub(crate) never_allowed: Vec<Estimate>,
    pub(crate) fallback: Option<OnDemandFallback>,
    pub(crate) deadline_status: DeadlineStatus,
    /// From now to its deadline; `None` if that is past.
    pub(crate) time_left: Option<Duration>,
    /// What it may take now and what is there.
    pub(crate) choices: Vec<Choice>,
}

impl JobEvaluation<'_> {
    /// The last moment at which on-demand still meets the deadline; the
    /// deadline itself where there is no on-demand.
    pub(crate) fn latest_start(&self) -> Timestamp {
        self.fallback.as_ref().map_or(self.job.deadline, |fallback| fallback.latest_start)
    }

    /// Whether anything is better than waiting.
    pub(crate) fn must_go(&self) -> bool {
        matches!(self.deadline_status, DeadlineStatus::Late | DeadlineStatus::SafetyNet)
            || !self.job.spec.interruptible
            || self.fallback.is_none()
    }

    /// Whether a job's choices carry its class's surcharges: a late one takes the
    /// earliest finish.
    pub(crate) fn carries_surcharges(&self) -> bool {
        self.deadline_status != DeadlineStatus::Late
    }

    /// Dollars of the class's surcharges on a choice: by the machine-hours that it takes.
    pub(crate) fn surcharge_of(&self, e: &Estimate, listings: &[Listing<'_>]) -> f64 {
        if !self.carries_surcharges() {
            return 0.0;
        }
        let extra = listings.get(e.listing).map_or(0.0, |l| l.surcharge(self.job.spec.class).sum());
        extra * hours(e.occupied) * f64::from(self.nodes) * e.fraction
    }
}

/// Values one job on everything and keeps what it may take.
pub(crate) fn evaluate_with_choices<'a>(
    job: &'a PlanJob,
    input: &PlanInput,
    market: &Market<'_>,
) -> JobEvaluation<'a> {
    let mut evaluation = evaluate(job, input, market);
    let options = options(&evaluation, &market.listings).into_iter();
    evaluation.choices = options.map(|(e, extra)| Choice { estimate: e.clone(), extra }).collect();
    evaluation
}

/// Values one job on everything; what it may take of it is left open.
pub(crate) fn evaluate<'a>(
    job: &'a PlanJob,
    input: &PlanInput,
    market: &Market<'_>,
) -> JobEvaluation<'a> {
    let listings = &market.listings;
    // By listing: an estimate is too large to be sorted by moving it about.
    let mut places: Vec<Option<Estimate>> = vec![None; listings.len()];
    let mut never_allowed = Vec::new();
    let nodes = nodes(job);
    for group in &market.groups {
        let mut members = group.iter().filter_map(|at| Some((*at, listings.get(*at)?))).peekable();
        let first = members.peek().map(|(_, first)| &first.offer.shape);
        if let Some(need) = first.and_then(|shape| need(job, &job.saved, shape)) {
            for (at, listing) in members.filter(|(_, it)| job.may_use(&it.offer.key)) {
                let estimate =
                    estimate_of(job, &need, (at, listing), market.start(job, at), input.now);
                match places.get_mut(at).filter(|_| listing.ever_allows(nodes)) {
                    Some(place) => *place = Some(estimate),
                    None => never_allowed.push(estimate),
                }
            }
        }
    }
    let estimates: Vec<Estimate> = places.into_iter().flatten().collect();
    let fallback = fallback(job, &estimates, listings, &input.policy);
    let in_the_past = job.deadline < input.now;
    let time_left = (!in_the_past).then(|| between(input.now, job.deadline));
    let deadline_status = DeadlineStatus::Ahead;
    let mut evaluation = JobEvaluation {
        job,
        nodes,
        estimates,
        never_allowed,
        fallback,
        deadline_status,
        time_left,
        choices: Vec::new(),
    };
    evaluation.deadline_status = deadline_status_of(&evaluation, market, input.now);
    evaluation
}

/// How the deadline stands. A job that keeps its progress goes on demand when a
/// forecast values that below waiting for spot; without a forecast, and for a
/// job that starts over, the even pace of the deadline decides.
fn deadline_status_of(
    evaluation: &JobEvaluation<'_>,
    market: &Market<'_>,
    now: Timestamp,
) -> DeadlineStatus {
    let by_pace = deadline_status(evaluation.job, evaluation.fallback.as_ref(), now);
    let spec = &evaluation.job.spec;
    let open = matches!(by_pace, DeadlineStatus::Ahead | DeadlineStatus::Behind)
        && evaluation.fallback.is_some();
    if !open || market.outlooks.is_empty() || !spec.interruptible || !spec.resumable() {
        return by_pace;
    }
    let goes = cheapest_spot(evaluation, &market.listings).and_then(|spot| {
        let offer = &market.listings.get(spot.listing)?.offer.key;
        Some(
            market
                .outlook(offer, evaluation.nodes)?
                .goes_on_demand(spot.left, evaluation.time_left?),
        )
    });
    match goes {
        Some(true) => DeadlineStatus::Behind,
        Some(false) => DeadlineStatus::Ahead,
        None => by_pace,
    }
}

/// What a valued job may take now: each with the dollars for finishing later
/// than it could, for the operator's policy prices for its class, and for moving its data.
pub(crate) fn options<'e>(
    evaluation: &'e JobEvaluation<'_>,
    listings: &[Listing<'_>],
) -> Vec<(&'e Estimate, f64)> {
    let allowed = allowed(evaluation, listings);
    let lateness = lateness(evaluation, &allowed, listings);
    let extra = |e: &Estimate| lateness(e) + evaluation.surcharge_of(e, listings) + e.transfer;
    allowed.into_iter().map(|e| (e, extra(e))).collect()
}

/// The spot policy: the estimates that a job may take now, of those that are
/// there and that its budget holds.
fn allowed<'e>(evaluation: &'e JobEvaluation<'_>, listings: &[Listing<'_>]) -> Vec<&'e Estimate> {
    let kind = |e: &Estimate| listings.get(e.listing).map(|l| l.offer.key.market.capacity_type);
    let possible: Vec<&Estimate> = evaluation
        .estimates
        .iter()
        .filter(|e| {
            listings.get(e.listing).is_some_and(|listing| {
                kind_allows(evaluation.job, listing)
                    && affordable(evaluation.job, e)
                    && listing.has_room(&e.share, evaluation.nodes)
            })
        })
        .collect();
    let spot = |e: &Estimate| kind(e) == Some(CapacityType::Spot);
    let steady = |e: &Estimate| !spot(e) && e.finish <= evaluation.job.deadline;
    let in_time = |e: &Estimate| spot(e) && spot_meets(evaluation, e, listings);
    match evaluation.deadline_status {
        DeadlineStatus::Late => possible,
        // Spot is better than nothing while no on-demand is free.
        DeadlineStatus::SafetyNet if !possible.iter().any(|e| steady(e)) => possible,
        DeadlineStatus::SafetyNet => possible.into_iter().filter(|e| steady(e)).collect(),
        DeadlineStatus::Behind if evaluation.fallback.is_none() => possible,
        DeadlineStatus::Behind => {
            possible.into_iter().filter(|e| in_time(e) || steady(e)).collect()
        }
        DeadlineStatus::Ahead => {
            let later = cheapest_spot(evaluation, listings);
            // With the class's surcharges or without them: they refuse nothing.
            let with_surcharge = |e: &Estimate| e.alone + evaluation.surcharge_of(e, listings);
            let is_later = |e: &Estimate| {
                later.is_some_and(|later| {
                    e.alone > later.alone && with_surcharge(e) > with_surcharge(later)
                })
            };
            let now_or_never = |e: &Estimate| {
                kind(e) == Some(CapacityType::Reserved)
                    || !evaluation.job.spec.interruptible
                    || !is_later(e)
            };
            possible.into_iter().filter(|e| in_time(e) || (steady(e) && now_or_never(e))).collect()
        }
    }
}

/// The cheapest spot that holds the job and could meet its deadline, free now
/// or not.
pub(crate) fn cheapest_spot<'e>(
    evaluation: &'e JobEvaluation<'_>,
    listings: &[Listing<'_>],
) -> Option<&'e Estimate> {
    evaluation
        .estimates
        .iter()
        .filter(|e| {
            listings.get(e.listing).is_some_and(|l| l.is_spot() && kind_allows(evaluation.job, l))
                && affordable(evaluation.job, e)
                && spot_meets(evaluation, e, listings)
        })
        .min_by(|a, b| a.alone.total_cmp(&b.alone))
}

/// Whether undisturbed spot would be in time: a slower accelerator may not be.
fn spot_meets(evaluation: &JobEvaluation<'_>, e: &Estimate, listings: &[Listing<'_>]) -> bool {
    let changeover = listings.get(e.listing).map_or(Duration::ZERO, |l| l.changeover);
    evaluation.time_left.is_some_and(|left| e.left.saturating_add(changeover) <= left)
}

/// Prices lateness beyond the earliest finish that there is, where the deadline
/// is at stake.
fn lateness(
    evaluation: &JobEvaluation<'_>,
    allowed: &[&Estimate],
    listings: &[Listing<'_>],
) -> impl Fn(&Estimate) -> f64 + use<> {
    let at_stake =
        matches!(evaluation.deadline_status, DeadlineStatus::Late | DeadlineStatus::SafetyNet);
    let earliest = allowed.iter().map(|e| e.finish).min().unwrap_or(evaluation.job.deadline);
    let due = earliest.max(evaluation.job.deadline);
    let rate = LATENESS_HOURS
        * weight(evaluation.job)
        * hourly(evaluation, allowed.first().copied(), listings);
    move |e| if at_stake { hours(between(due, e.finish)) * rate } else { 0.0 }
}

/// What an hour of the job's machines costs: at its fallback's price where there is
/// one. At least a cent, so that lateness counts on free capacity too.
pub(crate) fn hourly(
    evaluation: &JobEvaluation<'_>,
    first: Option<&Estimate>,
    listings: &[Listing<'_>],
) -> f64 {
    evaluation
        .fallback
        .as_ref()
        .map(|fallback| &fallback.estimate)
        .or(first)
        .and_then(|e| listings.get(e.listing).map(|l| (e, l)))
        .map_or(0.0, |(e, l)| {
            l.offer.price.dollars_per_hour() * e.fraction * f64::from(evaluation.nodes)
        })
        .max(0.01)
}

/// 1 at priority 0, doubled every 25: from 1/16 to 16.
pub(crate) fn weight(job: &PlanJob) -> f64 {
    (f64::from(job.spec.priority.clamp(-100, 100)) / 25.0).exp2()
}

/// Finds an offer by its name.
pub(crate) fn listing_of<'m, 'a>(
    market: &'m Market<'a>,
    key: &OfferKey,
) -> Option<(usize, &'m Listing<'a>)> {
    market.listings.iter().enumerate().find(|(_, listing)| listing.offer.key == *key)
}
