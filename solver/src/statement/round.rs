//! The one statement of the problem that greedy, the integer program, the
//! decomposition and the comparison of their answers share: what each job may
//! take, what that costs, and what leaving it waiting costs.
//!
//! A machine that is opened for a job is paid as a whole for as long as the
//! longest job on it is expected to stay; a job on a machine that others keep
//! running pays its share. So the idle part of a machine has its price, and
//! jobs of like length attract each other.

use std::collections::BTreeSet;

use crate::statement::choice::{LEAST_WAIT, MUST_GO_HOURS};
use crate::statement::demand::{
    BUCKET_RATIO, Candidate, JobDemand, Request, WaitTerms, settle_buckets, value,
};
use crate::statement::identical::{IdenticalJobs, find_identical};
use crate::statement::input::{PlanInput, PlanJob};
use crate::statement::market::{Market, fraction};
use crate::statement::reserved::Reserved;
use crate::statement::scarcity::{LaterPrices, Scarcity};

/// A round, ready to be decided.
#[derive(Debug)]
pub(crate) struct Round<'a> {
    pub(crate) input: &'a PlanInput,
    pub(crate) market: Market<'a>,
    pub(crate) demands: Vec<JobDemand<'a>>,
    /// Hours that a machine of each listing is kept, by bucket.
    pub(crate) lifetimes: Vec<Vec<f64>>,
    /// The fixed order of greedy: priority, then least slack, then id.
    pub(crate) order: Vec<usize>,
    /// What later machines cost; candidates and waits have it in them.
    pub(crate) scarcity: Scarcity,
    /// Which demands are alike.
    pub(crate) identical: IdenticalJobs,
    /// Room that is kept for jobs that go before others.
    pub(crate) reserved: Reserved<'a>,
}

impl<'a> Round<'a> {
    /// With the prices of later machines that are given. Nothing is reserved in it yet.
    pub(crate) fn unreserved(
        input: &'a PlanInput,
        price: impl Fn(&PlanInput, &Market<'_>, &[JobDemand<'_>]) -> Scarcity,
    ) -> Self {
        let market = Market::new(input);
        let mut seen = BTreeSet::new();
        let jobs: Vec<&PlanJob> = input.jobs.iter().filter(|job| seen.insert(job.id)).collect();
        let identical = find_identical(&jobs);
        let leads: Vec<&PlanJob> =
            identical.leads().filter_map(|at| jobs.get(at).copied()).collect();
        let (mut demands, longest) = value(&leads, input, &market);
        let lifetimes = settle_buckets(&mut demands, &longest);
        let scarcity = if identical.any() {
            price(input, &market, &identical.spread(&demands, &jobs))
        } else {
            price(input, &market, &demands)
        };
        let later = scarcity.prices();
        for (number, demand) in demands.iter_mut().enumerate() {
            if let Some(later) = later {
                later.charge(demand, &market);
            }
            demand.wait = wait_cost(demand, &market, &lifetimes, later);
            demand.number = number;
        }
        if identical.any() {
            demands = identical.spread(&demands, &jobs);
        }
        let mut order: Vec<usize> = (0..demands.len()).collect();
        order.sort_by_cached_key(|at| demands.get(*at).map(JobDemand::rank));
        let reserved = Reserved::default();
        Self { input, market, demands, lifetimes, order, scarcity, identical, reserved }
    }

    /// Hours that a machine of a listing is kept for a bucket.
    pub(crate) fn lifetime(&self, listing: usize, bucket: usize) -> f64 {
        self.lifetimes.get(listing).and_then(|l| l.get(bucket)).copied().unwrap_or(0.0)
    }

    /// Dollars of one node on a machine that others keep running.
    pub(crate) fn share_cost(&self, request: &Request) -> f64 {
        self.market.listings.get(request.listing).map_or(0.0, |listing| {
            listing.marginal(request.hours) * fraction(&request.share, &listing.offer.shape)
        })
    }

    /// Whether anything is better for a demand than to wait.
    pub(crate) fn must_go(&self, number: usize) -> bool {
        self.demands.get(number).is_some_and(|demand| demand.must_go)
    }

    /// Pairs of job and offer that can be chosen.
    pub(crate) fn candidates(&self) -> usize {
        self.demands.iter().map(|demand| demand.candidates.len()).sum()
    }
}

/// What leaving a job waiting costs: its way out on on-demand, and more the
/// more it matters. A job that must go gains by anything that it may take;
/// another takes nothing dearer than its way out. Where there is no choice,
/// waiting is no one's fault and costs nothing. Where later machines have prices, a
/// job that can wait for them loses no more than its cheapest later start.
fn wait_cost(
    demand: &JobDemand<'_>,
    market: &Market<'_>,
    lifetimes: &[Vec<f64>],
    later: Option<&LaterPrices>,
) -> f64 {
    if demand.candidates.is_empty() {
        return 0.0;
    }
    let life = |candidate: &Candidate| {
        let lives = lifetimes.get(candidate.listing());
        lives.and_then(|lives| lives.get(candidate.bucket())).copied().unwrap_or(0.0)
    };
    let dearest = demand.candidates.iter().map(|candidate| {
        let machine =
            market.listings.get(candidate.listing()).map_or(0.0, |l| l.marginal(life(candidate)));
        candidate.extra() + machine * f64::from(demand.nodes)
    });
    let dearest = dearest.fold(0.0, f64::max);
    let WaitTerms { must_go, may_wait, way_out, surcharge, hourly } = demand.wait_terms;
    if must_go {
        return dearest + hourly * MUST_GO_HOURS + LEAST_WAIT;
    }
    // As much longer as its bucket makes any of its choices.
    let longer = demand
        .candidates
        .iter()
        .map(|candidate| life(candidate) / candidate.hours().max(f64::MIN_POSITIVE))
        .filter(|ratio| *ratio <= BUCKET_RATIO)
        .fold(1.0, f64::max);
    let out = way_out * longer;
    let starts = later.filter(|_| may_wait);
    let starts = starts.and_then(|later| later.later_start(demand.nodes, &demand.later));
    // A machine that nobody else wants is taken, whatever later ones may cost.
    let waits =
        starts.map_or(out, |dollars| ((dollars + surcharge) * longer).max(dearest).min(out));
    waits + hourly + LEAST_WAIT
}
