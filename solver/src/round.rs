//! The one statement of the problem that greedy, the integer program, the
//! decomposition and the comparison of their answers share: what each job may
//! take, what that costs, and what leaving it waiting costs.
//!
//! A machine that is opened for a job is paid as a whole for as long as the
//! longest job on it is expected to stay; a job on a machine that others keep
//! running pays its share. So the idle part of a machine has its price, and
//! jobs of like length attract each other.
//!
//! A round of 100,000 jobs and 1,000 offers has 25 million pairs: a pair is 20
//! bytes here, and what an explanation needs is reckoned again for its job.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use spotwise_model::plan::Reservation;
use spotwise_model::{JobId, Share};

use crate::choice::appraise;
use crate::ends::Reach;
use crate::input::{PlanInput, PlanJob};
use crate::market::{Market, fraction};
use crate::parallel::in_chunks;
use crate::reserve::{Reserved, reserve};
use crate::scarcity::{self, Later, Scarcity};
use crate::twins::{Twins, twins};
use stake::{Stake, ask, wait_cost};

mod stake;

/// Lifetimes within this ratio count as one (as the longest of them).
const BUCKET_RATIO: f64 = 1.25;
/// Lifetimes that are told apart, from a second on: 1.25 to the 127th seconds
/// are 60,000 years.
const BUCKETS: usize = 128;
/// Least number of jobs that are worth a thread.
const LEAST_CHUNK: usize = 512;
/// Most chunks: each keeps the lifetimes that it saw.
const MOST_CHUNKS: usize = 16;

/// A job on an offer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pair {
    listing: u32,
    /// Where its lifetime is in a table of all lifetimes of all listings.
    cell: u32,
    /// Which of the listing's lifetimes its machines get, from the shortest.
    bucket: u16,
    /// Which of the job's shares it takes.
    kind: u16,
    /// Expected hours on the machines.
    hours: f32,
    /// Dollars beyond what the machines cost.
    extra: f32,
}

impl Pair {
    pub(crate) const fn listing(&self) -> usize {
        self.listing as usize
    }

    pub(crate) const fn cell(&self) -> usize {
        self.cell as usize
    }

    pub(crate) const fn bucket(&self) -> usize {
        self.bucket as usize
    }

    pub(crate) const fn kind(&self) -> usize {
        self.kind as usize
    }

    pub(crate) fn hours(&self) -> f64 {
        f64::from(self.hours)
    }

    pub(crate) fn extra(&self) -> f64 {
        f64::from(self.extra)
    }

    pub(crate) fn charge(&mut self, dollars: f64) {
        self.extra += dollars as f32;
    }
}

/// What a job takes of each machine of a group of listings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) group: usize,
    pub(crate) share: Share,
}

/// One job of the round.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) job: &'a PlanJob,
    /// Its place among the round's asks.
    pub(crate) number: usize,
    pub(crate) nodes: u32,
    /// The last moment at which on-demand still meets its deadline.
    pub(crate) latest_start: Timestamp,
    /// What it costs to leave it waiting although it has pairs, in dollars.
    pub(crate) wait: f64,
    pub(crate) kinds: Arc<[Kind]>,
    /// What it may take now and what is there, in the order of the listings.
    pub(crate) pairs: Arc<[Pair]>,
    /// Whether it has no pair because nothing that holds it is free, and not by choice.
    pub(crate) blocked: bool,
    /// Whether anything is better than waiting.
    pub(crate) must_go: bool,
    reach: Reach,
    /// Whether its pairs carry the operator's wishes.
    pub(crate) wished: bool,
    /// What it may take later.
    pub(crate) later: Later,
    stake: Stake,
}

/// A pair with what it takes, ready to be put on machines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    pub(crate) listing: usize,
    pub(crate) share: Share,
    pub(crate) bucket: usize,
    pub(crate) nodes: u32,
    pub(crate) hours: f64,
    pub(crate) extra: f64,
    /// Which ask it is of; none of them for a running job that moves.
    pub(crate) number: usize,
    /// Hours from now until it is gone at the latest; infinite where nobody knows.
    pub(crate) ends: f64,
    /// The same with a guess where nobody knows.
    pub(crate) expects: f64,
}

/// A round, ready to be decided.
#[derive(Debug)]
pub(crate) struct Round<'a> {
    pub(crate) input: &'a PlanInput,
    pub(crate) market: Market<'a>,
    pub(crate) asks: Vec<Ask<'a>>,
    /// Hours that a machine of each listing is kept, by bucket.
    pub(crate) lifetimes: Vec<Vec<f64>>,
    /// The fixed order of greedy: priority, then least slack, then id.
    pub(crate) order: Vec<usize>,
    /// What later machines cost; pairs and waits have it in them.
    pub(crate) scarcity: Scarcity,
    /// Which asks are alike.
    pub(crate) twins: Twins,
    /// Room that is kept for jobs that go before others.
    pub(crate) reserved: Reserved<'a>,
}

impl<'a> Round<'a> {
    pub(crate) fn new(input: &'a PlanInput) -> Self {
        Self::priced(input, &[], scarcity::price)
    }

    /// With room that is kept already, and with the prices of later machines that are
    /// given.
    pub(crate) fn priced(
        input: &'a PlanInput,
        kept: &[Reservation],
        price: impl Fn(&PlanInput, &Market<'_>, &[Ask<'_>]) -> Scarcity,
    ) -> Self {
        let market = Market::new(input);
        let mut seen = BTreeSet::new();
        let jobs: Vec<&PlanJob> = input.jobs.iter().filter(|job| seen.insert(job.id)).collect();
        let twins = twins(&jobs);
        let leads: Vec<&PlanJob> = twins.leads().filter_map(|at| jobs.get(at).copied()).collect();
        let (mut asks, longest) = value(&leads, input, &market);
        let lifetimes = settle_buckets(&mut asks, &longest);
        let scarcity = if twins.any() {
            price(input, &market, &twins.spread(&asks, &jobs))
        } else {
            price(input, &market, &asks)
        };
        let later = scarcity.prices();
        for (number, ask) in asks.iter_mut().enumerate() {
            if let Some(later) = later {
                later.charge(ask, &market);
            }
            ask.wait = wait_cost(ask, &market, &lifetimes, later);
            ask.number = number;
        }
        if twins.any() {
            asks = twins.spread(&asks, &jobs);
        }
        let mut order: Vec<usize> = (0..asks.len()).collect();
        order.sort_by_cached_key(|at| asks.get(*at).map(Ask::rank));
        let reserved = Reserved::default();
        let mut round = Self { input, market, asks, lifetimes, order, scarcity, twins, reserved };
        round.reserved = reserve(&round, kept);
        round
    }

    /// Hours that a machine of a listing is kept for a bucket.
    pub(crate) fn lifetime(&self, listing: usize, bucket: usize) -> f64 {
        self.lifetimes.get(listing).and_then(|l| l.get(bucket)).copied().unwrap_or(0.0)
    }

    /// Dollars of one node on a machine that others keep running.
    pub(crate) fn share_cost(&self, want: &Want) -> f64 {
        self.market.listings.get(want.listing).map_or(0.0, |listing| {
            listing.marginal(want.hours) * fraction(&want.share, &listing.offer.shape)
        })
    }

    /// Whether anything is better for an ask than to wait.
    pub(crate) fn must_go(&self, number: usize) -> bool {
        self.asks.get(number).is_some_and(|ask| ask.must_go)
    }

    /// Pairs of job and offer that can be chosen.
    pub(crate) fn pairs(&self) -> usize {
        self.asks.iter().map(|ask| ask.pairs.len()).sum()
    }
}

impl<'a> Ask<'a> {
    /// The same for a job that is like this one.
    pub(crate) fn of(&self, job: &'a PlanJob, number: usize) -> Self {
        Self {
            job,
            number,
            kinds: Arc::clone(&self.kinds),
            pairs: Arc::clone(&self.pairs),
            later: self.later.clone(),
            ..*self
        }
    }
}

impl Ask<'_> {
    /// Who has the lower one goes first: by priority, then least slack, then id.
    pub(crate) fn rank(&self) -> (Reverse<i32>, Timestamp, JobId) {
        (Reverse(self.job.spec.priority), self.latest_start, self.job.id)
    }

    /// How long it stays where it is expected to stay so many hours.
    pub(crate) const fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Dollars an hour of its machines, by its weight.
    pub(crate) const fn hourly(&self) -> f64 {
        self.stake.hourly
    }

    /// What a pair takes.
    pub(crate) fn want(&self, pair: &Pair) -> Want {
        Want {
            listing: pair.listing(),
            share: self.share(pair),
            bucket: pair.bucket(),
            nodes: self.nodes,
            hours: pair.hours(),
            extra: pair.extra(),
            number: self.number,
            ends: self.reach.ends(pair.hours()),
            expects: self.reach.expects(pair.hours()),
        }
    }

    /// What each node takes on a pair's machines.
    pub(crate) fn share(&self, pair: &Pair) -> Share {
        self.kinds.get(pair.kind()).map(|kind| kind.share).unwrap_or_default()
    }

    /// Whether it takes a slice of a GPU anywhere.
    pub(crate) fn takes_slice(&self) -> bool {
        self.kinds.iter().any(|kind| kind.share.mig.is_some())
    }

    /// Its pair with a listing.
    pub(crate) fn pair_on(&self, listing: usize) -> Option<&Pair> {
        self.pairs.get(self.pair_index(listing)?)
    }

    /// Where its pair with a listing is.
    pub(crate) fn pair_index(&self, listing: usize) -> Option<usize> {
        self.pairs.binary_search_by_key(&listing, Pair::listing).ok()
    }
}

/// The longest hours seen in each bucket of each listing; 0 where none is.
type Longest = Vec<[f32; BUCKETS]>;

fn value<'a>(
    jobs: &[&'a PlanJob],
    input: &'a PlanInput,
    market: &Market<'_>,
) -> (Vec<Ask<'a>>, Longest) {
    let none = || vec![[0.0_f32; BUCKETS]; market.listings.len()];
    let parts = in_chunks(jobs, LEAST_CHUNK.max(jobs.len().div_ceil(MOST_CHUNKS)), |_, jobs| {
        let mut longest = none();
        let asks: Vec<Ask<'a>> =
            jobs.iter().map(|job| ask(&appraise(job, input, market), market, input.now)).collect();
        for pair in asks.iter().flat_map(|ask| ask.pairs.iter()) {
            if let Some(life) =
                longest.get_mut(pair.listing()).and_then(|l| l.get_mut(pair.bucket()))
            {
                *life = life.max(pair.hours);
            }
        }
        (asks, longest)
    });
    let mut asks = Vec::with_capacity(jobs.len());
    let mut longest = none();
    for (part, lives) in parts {
        asks.extend(part);
        for (life, other) in longest.iter_mut().flatten().zip(lives.into_iter().flatten()) {
            *life = life.max(other);
        }
    }
    (asks, longest)
}

/// Numbers the buckets that are used from 0, and answers their lifetimes.
fn settle_buckets(asks: &mut [Ask<'_>], longest: &Longest) -> Vec<Vec<f64>> {
    let mut first = 0;
    let numbers: Vec<(u32, [u16; BUCKETS])> = longest
        .iter()
        .map(|lives| {
            let (start, mut next) = (first, 0);
            let numbers = lives.map(|life| {
                let number = next;
                next += u16::from(life > 0.0);
                number
            });
            first += u32::from(next);
            (start, numbers)
        })
        .collect();
    for pair in asks.iter_mut().flat_map(|ask| Arc::make_mut(&mut ask.pairs)) {
        let Some((start, numbers)) = numbers.get(pair.listing()) else { continue };
        pair.bucket = numbers.get(pair.bucket()).copied().unwrap_or(0);
        pair.cell = start + u32::from(pair.bucket);
    }
    longest
        .iter()
        .map(|lives| {
            lives.iter().filter(|life| **life > 0.0).map(|life| f64::from(*life)).collect()
        })
        .collect()
}
