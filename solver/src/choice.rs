//! What each job may take in this round (the spot policy), what that is worth,
//! and what waiting costs: the one statement of the problem that greedy, the
//! integer program and the comparison of their answers share.
//!
//! A machine that is opened for a job is paid as a whole for as long as the
//! longest job on it is expected to stay; a job on a machine that others keep
//! running pays its share. So the idle part of a machine has its price, and
//! jobs of like length attract each other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::time::{after, between, hours};
use spotwise_model::{CapacityType, OfferKey};

use crate::input::{PlanInput, PlanJob};
use crate::market::{Listing, Market};
use crate::value::{
    Estimate, Net, Standing, affordable, estimate, kind_allows, net, nodes, standing,
};

/// Lifetimes within this ratio count as one (as the longest of them).
const BUCKET_RATIO: f64 = 1.25;
/// One hour late costs as much as this many hours of machines: lateness first,
/// money second.
const LATENESS_HOURS: f64 = 100.0;
/// Waiting costs a job that must go as much as this many hours of machines.
const MUST_GO_HOURS: f64 = 10.0;
/// Keeps a start at no price better than waiting.
const LEAST_WAIT: f64 = 0.001;

/// An offer that a job may take now.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub(crate) estimate: Estimate,
    /// Which of the listing's lifetimes its machines get, from the shortest.
    pub(crate) bucket: usize,
    /// Dollars for finishing later than it could.
    pub(crate) lateness: f64,
}

/// One job of the round.
#[derive(Debug)]
pub(crate) struct Case<'a> {
    pub(crate) job: &'a PlanJob,
    pub(crate) nodes: u32,
    /// Every offer whose machines hold it.
    pub(crate) estimates: Vec<Estimate>,
    pub(crate) net: Option<Net>,
    pub(crate) standing: Standing,
    /// What it may take now and what is there.
    pub(crate) choices: Vec<Choice>,
    /// What it costs to leave it waiting although it has choices, in dollars.
    pub(crate) wait: f64,
}

/// A round, ready to be decided.
#[derive(Debug)]
pub(crate) struct Round<'a> {
    pub(crate) input: &'a PlanInput,
    pub(crate) market: Market<'a>,
    pub(crate) cases: Vec<Case<'a>>,
    /// Hours that a machine of each listing is kept, by bucket.
    pub(crate) lifetimes: Vec<Vec<f64>>,
    /// The fixed order of greedy: priority, then least slack, then id.
    pub(crate) order: Vec<usize>,
}

impl<'a> Round<'a> {
    pub(crate) fn new(input: &'a PlanInput) -> Self {
        let market = Market::new(input);
        let mut seen = BTreeSet::new();
        let mut cases: Vec<Case<'a>> = input
            .jobs
            .iter()
            .filter(|job| seen.insert(job.id))
            .map(|job| assess(job, input, &market))
            .collect();
        let lifetimes = bucket_lifetimes(&mut cases, market.listings.len());
        for case in &mut cases {
            case.wait = wait_cost(case, &market, &lifetimes);
        }
        let mut order: Vec<usize> = (0..cases.len()).collect();
        order.sort_by_key(|at| {
            cases.get(*at).map(|case| {
                (std::cmp::Reverse(case.job.spec.priority), case.latest_start(), case.job.id)
            })
        });
        Self { input, market, cases, lifetimes, order }
    }

    /// Hours that a machine of a listing is kept for a bucket.
    pub(crate) fn lifetime(&self, listing: usize, bucket: usize) -> f64 {
        self.lifetimes.get(listing).and_then(|l| l.get(bucket)).copied().unwrap_or(0.0)
    }

    /// Dollars of one node on a machine that others keep running.
    pub(crate) fn share_cost(&self, choice: &Choice) -> f64 {
        let price = self.market.listings.get(choice.estimate.listing);
        price.map_or(0.0, Listing::marginal_price)
            * hours(choice.estimate.occupied)
            * choice.estimate.fraction
    }
}

impl Case<'_> {
    /// The last moment at which on-demand still meets the deadline; the
    /// deadline itself where there is no on-demand.
    pub(crate) fn latest_start(&self) -> Timestamp {
        self.net.as_ref().map_or(self.job.deadline, |net| net.latest_start)
    }

    /// Whether anything is better than waiting.
    pub(crate) fn must_go(&self) -> bool {
        matches!(self.standing, Standing::Late | Standing::Net)
            || !self.job.spec.interruptible
            || self.net.is_none()
    }
}

/// Values one job on everything and keeps what it may take.
pub(crate) fn assess<'a>(job: &'a PlanJob, input: &PlanInput, market: &Market<'_>) -> Case<'a> {
    let listings = &market.listings;
    let estimates: Vec<Estimate> = listings
        .iter()
        .enumerate()
        .filter_map(|(at, listing)| estimate(job, &job.saved, at, listing, input.now))
        .collect();
    let net = net(job, &estimates, listings, &input.policy);
    let standing = standing(job, net.as_ref(), input.now);
    let mut case =
        Case { job, nodes: nodes(job), estimates, net, standing, choices: Vec::new(), wait: 0.0 };
    let allowed = allowed(&case, listings, input.now);
    case.choices = with_lateness(&case, &allowed, listings);
    case
}

/// The spot policy: the estimates that a job may take now, of those that are
/// there and that its budget holds.
fn allowed<'e>(case: &'e Case<'_>, listings: &[Listing<'_>], now: Timestamp) -> Vec<&'e Estimate> {
    let kind = |e: &Estimate| listings.get(e.listing).map(|l| l.offer.key.capacity_type);
    let possible: Vec<&Estimate> = case
        .estimates
        .iter()
        .filter(|e| {
            listings.get(e.listing).is_some_and(|listing| {
                kind_allows(case.job, listing)
                    && affordable(case.job, e)
                    && listing.has_room(&e.share, case.nodes)
            })
        })
        .collect();
    let spot = |e: &Estimate| kind(e) == Some(CapacityType::Spot);
    let steady = |e: &Estimate| !spot(e) && e.finish <= case.job.deadline;
    let in_time = |e: &Estimate| spot(e) && spot_meets(case, e, listings, now);
    match case.standing {
        Standing::Late => possible,
        // Spot is better than nothing while no on-demand is free.
        Standing::Net if !possible.iter().any(|e| steady(e)) => possible,
        Standing::Net => possible.into_iter().filter(|e| steady(e)).collect(),
        Standing::Behind if case.net.is_none() => possible,
        Standing::Behind => possible.into_iter().filter(|e| in_time(e) || steady(e)).collect(),
        Standing::Ahead => {
            let later = cheapest_spot(case, listings, now).map_or(f64::INFINITY, |e| e.alone);
            let now_or_never = |e: &Estimate| {
                kind(e) == Some(CapacityType::Reserved)
                    || !case.job.spec.interruptible
                    || e.alone <= later
            };
            possible.into_iter().filter(|e| in_time(e) || (steady(e) && now_or_never(e))).collect()
        }
    }
}

/// The cheapest spot that holds the job and could meet its deadline, free now
/// or not.
pub(crate) fn cheapest_spot<'e>(
    case: &'e Case<'_>,
    listings: &[Listing<'_>],
    now: Timestamp,
) -> Option<&'e Estimate> {
    case.estimates
        .iter()
        .filter(|e| {
            listings.get(e.listing).is_some_and(|l| l.is_spot() && kind_allows(case.job, l))
                && affordable(case.job, e)
                && spot_meets(case, e, listings, now)
        })
        .min_by(|a, b| a.alone.total_cmp(&b.alone))
}

/// Whether undisturbed spot would be in time: a slower accelerator may not be.
fn spot_meets(case: &Case<'_>, e: &Estimate, listings: &[Listing<'_>], now: Timestamp) -> bool {
    let changeover = listings.get(e.listing).map_or(Duration::ZERO, |l| l.changeover);
    after(now, e.left.saturating_add(changeover)) <= case.job.deadline
}

/// Prices lateness beyond the earliest finish that there is, where the deadline
/// is at stake.
fn with_lateness(case: &Case<'_>, allowed: &[&Estimate], listings: &[Listing<'_>]) -> Vec<Choice> {
    let at_stake = matches!(case.standing, Standing::Late | Standing::Net);
    let earliest = allowed.iter().map(|e| e.finish).min().unwrap_or(case.job.deadline);
    let due = earliest.max(case.job.deadline);
    let rate = LATENESS_HOURS * weight(case.job) * hourly(case, allowed.first().copied(), listings);
    allowed
        .iter()
        .map(|e| Choice {
            lateness: if at_stake { hours(between(due, e.finish)) * rate } else { 0.0 },
            bucket: 0,
            estimate: (*e).clone(),
        })
        .collect()
}

/// What an hour of the job's machines costs: at its net's price where there is
/// one. At least a cent, so that lateness counts on free capacity too.
fn hourly(case: &Case<'_>, first: Option<&Estimate>, listings: &[Listing<'_>]) -> f64 {
    case.net
        .as_ref()
        .map(|net| &net.estimate)
        .or(first)
        .and_then(|e| listings.get(e.listing).map(|l| (e, l)))
        .map_or(0.0, |(e, l)| l.offer.price.dollars_per_hour() * e.fraction * f64::from(case.nodes))
        .max(0.01)
}

/// 1 at priority 0, doubled every 25: from 1/16 to 16.
fn weight(job: &PlanJob) -> f64 {
    (f64::from(job.spec.priority.clamp(-100, 100)) / 25.0).exp2()
}

/// What leaving a job waiting costs: its way out on on-demand, and more the
/// more it matters. A job that must go gains by anything that it may take;
/// another takes nothing dearer than its way out. Where there is no choice,
/// waiting is no one's fault and costs nothing.
fn wait_cost(case: &Case<'_>, market: &Market<'_>, lifetimes: &[Vec<f64>]) -> f64 {
    if case.choices.is_empty() {
        return 0.0;
    }
    let listings = &market.listings;
    let first = case.choices.first().map(|choice| &choice.estimate);
    let hourly = hourly(case, first, listings) * weight(case.job);
    let life = |choice: &Choice| {
        let lives = lifetimes.get(choice.estimate.listing);
        lives.and_then(|lives| lives.get(choice.bucket)).copied().unwrap_or(0.0)
    };
    if case.must_go() {
        let dearest = case.choices.iter().map(|choice| {
            let listing = listings.get(choice.estimate.listing);
            let machines = listing.map_or(0.0, Listing::marginal_price) * f64::from(case.nodes);
            choice.lateness + machines * life(choice)
        });
        return dearest.fold(0.0, f64::max) + hourly * MUST_GO_HOURS + LEAST_WAIT;
    }
    // As much longer as its bucket makes any of its choices.
    let longer = case
        .choices
        .iter()
        .map(|choice| life(choice) / hours(choice.estimate.occupied).max(f64::MIN_POSITIVE))
        .filter(|ratio| *ratio <= BUCKET_RATIO)
        .fold(1.0, f64::max);
    let way_out = case.net.as_ref().map_or(0.0, |net| net.estimate.alone * longer);
    way_out + hourly + LEAST_WAIT
}

/// Sorts the choices of each listing into lifetimes and answers those, in hours.
fn bucket_lifetimes(cases: &mut [Case<'_>], listings: usize) -> Vec<Vec<f64>> {
    let key =
        |e: &Estimate| (e.occupied.as_secs_f64().max(1.0).ln() / BUCKET_RATIO.ln()).floor() as i64;
    let mut longest: Vec<BTreeMap<i64, f64>> = vec![BTreeMap::new(); listings];
    for choice in cases.iter().flat_map(|case| &case.choices) {
        if let Some(buckets) = longest.get_mut(choice.estimate.listing) {
            let life = buckets.entry(key(&choice.estimate)).or_insert(0.0);
            *life = life.max(hours(choice.estimate.occupied));
        }
    }
    for choice in cases.iter_mut().flat_map(|case| &mut case.choices) {
        let buckets = longest.get(choice.estimate.listing);
        choice.bucket = buckets.map_or(0, |b| b.range(..key(&choice.estimate)).count());
    }
    longest.into_iter().map(|buckets| buckets.into_values().collect()).collect()
}

/// Finds an offer by its name.
pub(crate) fn listing_of<'m, 'a>(
    market: &'m Market<'a>,
    key: &OfferKey,
) -> Option<(usize, &'m Listing<'a>)> {
    market.listings.iter().enumerate().find(|(_, listing)| listing.offer.key == *key)
}
