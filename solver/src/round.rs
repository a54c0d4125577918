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

use std::collections::BTreeSet;

use jiff::Timestamp;
use spotwise_model::Share;
use spotwise_model::time::hours;

use crate::bands::{extra_of, is_wished};
use crate::choice::{Case, LEAST_WAIT, MUST_GO_HOURS, appraise, hourly, options, weight};
use crate::input::{PlanInput, PlanJob};
use crate::market::{Listing, Market, fraction};
use crate::parallel::in_chunks;
use crate::scarcity::{self, Later, LaterPrices, Scarcity};
use crate::value::{Estimate, Standing};

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
    pub(crate) nodes: u32,
    /// The last moment at which on-demand still meets its deadline.
    pub(crate) latest_start: Timestamp,
    /// What it costs to leave it waiting although it has pairs, in dollars.
    pub(crate) wait: f64,
    pub(crate) kinds: Box<[Kind]>,
    /// What it may take now and what is there, in the order of the listings.
    pub(crate) pairs: Box<[Pair]>,
    /// Whether its pairs carry the operator's wishes.
    pub(crate) wished: bool,
    /// What it may take later.
    pub(crate) later: Later,
    stake: Stake,
}

/// What waiting costs a job, before the lifetimes of machines are known.
#[derive(Clone, Copy, Debug)]
struct Stake {
    must_go: bool,
    /// Whether it waits for spot where it gets none, rather than go on demand now.
    may_wait: bool,
    /// Dollars of its way out on on-demand.
    way_out: f64,
    /// The most that the operator's wishes cost it.
    wishes: f64,
    /// Dollars an hour of its machines, by its weight.
    hourly: f64,
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
}

impl<'a> Round<'a> {
    pub(crate) fn new(input: &'a PlanInput) -> Self {
        Self::priced(input, scarcity::price)
    }

    /// With the prices of later machines that are given.
    pub(crate) fn priced(
        input: &'a PlanInput,
        price: impl Fn(&PlanInput, &Market<'_>, &[Ask<'_>]) -> Scarcity,
    ) -> Self {
        let market = Market::new(input);
        let mut seen = BTreeSet::new();
        let jobs: Vec<&PlanJob> = input.jobs.iter().filter(|job| seen.insert(job.id)).collect();
        let (mut asks, longest) = value(&jobs, input, &market);
        let lifetimes = settle_buckets(&mut asks, &longest);
        let scarcity = price(input, &market, &asks);
        let later = scarcity.prices();
        for ask in &mut asks {
            if let Some(later) = later {
                later.charge(ask, &market);
            }
            ask.wait = wait_cost(ask, &market, &lifetimes, later);
        }
        let mut order: Vec<usize> = (0..asks.len()).collect();
        order.sort_by_cached_key(|at| {
            asks.get(*at)
                .map(|ask| (std::cmp::Reverse(ask.job.spec.priority), ask.latest_start, ask.job.id))
        });
        Self { input, market, asks, lifetimes, order, scarcity }
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

    /// Pairs of job and offer that can be chosen.
    pub(crate) fn pairs(&self) -> usize {
        self.asks.iter().map(|ask| ask.pairs.len()).sum()
    }
}

impl Ask<'_> {
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
        for pair in asks.iter().flat_map(|ask| &ask.pairs) {
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

/// Keeps of a valued job what deciding needs.
fn ask<'a>(case: &Case<'a>, market: &Market<'_>, now: Timestamp) -> Ask<'a> {
    let listings = &market.listings;
    let mut kinds: Vec<Kind> = Vec::new();
    let options = options(case, listings);
    let mut pairs = Vec::with_capacity(options.len());
    pairs.extend(options.iter().filter_map(|(estimate, lateness)| {
        let group = listings.get(estimate.listing)?.group;
        let kind = Kind { group, share: estimate.share };
        let at = kinds.iter().position(|known| *known == kind).unwrap_or_else(|| {
            kinds.push(kind);
            kinds.len() - 1
        });
        let seconds = estimate.occupied.as_secs_f64().max(1.0);
        // At least 0; what is beyond the last bucket is in it.
        let bucket = ((seconds.ln() / BUCKET_RATIO.ln()) as usize).min(BUCKETS - 1);
        Some(Pair {
            listing: u32::try_from(estimate.listing).ok()?,
            cell: 0,
            bucket: u16::try_from(bucket).ok()?,
            kind: u16::try_from(at).ok()?,
            hours: (hours(estimate.occupied) as f32).max(f32::MIN_POSITIVE),
            extra: *lateness as f32,
        })
    }));
    let first = options.first().map(|(estimate, _)| *estimate);
    // Waiting carries the most that a wish costs: wishes never make a job wait.
    let wishes = options.iter().map(|(e, _)| extra_of(case, e, listings)).fold(0.0, f64::max);
    Ask {
        job: case.job,
        nodes: case.nodes,
        latest_start: case.latest_start(),
        wait: 0.0,
        kinds: kinds.into(),
        pairs: pairs.into(),
        wished: is_wished(case),
        later: Later::of(case, market, now),
        stake: Stake {
            must_go: case.must_go(),
            may_wait: may_wait(case, &options, listings),
            wishes,
            way_out: case.net.as_ref().map_or(0.0, |net| net.bought) + wishes,
            hourly: hourly(case, first, listings) * weight(case.job),
        },
    }
}

/// A job behind its pace that may go on demand now does, where it gets no spot.
fn may_wait(case: &Case<'_>, options: &[(&Estimate, f64)], listings: &[Listing<'_>]) -> bool {
    let stays = |e: &Estimate| listings.get(e.listing).is_some_and(|l| !l.is_spot());
    case.standing == Standing::Ahead || !options.iter().any(|(e, _)| stays(e))
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
    for pair in asks.iter_mut().flat_map(|ask| &mut ask.pairs) {
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

/// What leaving a job waiting costs: its way out on on-demand, and more the
/// more it matters. A job that must go gains by anything that it may take;
/// another takes nothing dearer than its way out. Where there is no choice,
/// waiting is no one's fault and costs nothing. Where later machines have prices, a
/// job that can wait for them loses no more than its cheapest later start.
fn wait_cost(
    ask: &Ask<'_>,
    market: &Market<'_>,
    lifetimes: &[Vec<f64>],
    later: Option<&LaterPrices>,
) -> f64 {
    if ask.pairs.is_empty() {
        return 0.0;
    }
    let life = |pair: &Pair| {
        let lives = lifetimes.get(pair.listing());
        lives.and_then(|lives| lives.get(pair.bucket())).copied().unwrap_or(0.0)
    };
    let dearest = ask.pairs.iter().map(|pair| {
        let machine = market.listings.get(pair.listing()).map_or(0.0, |l| l.marginal(life(pair)));
        pair.extra() + machine * f64::from(ask.nodes)
    });
    let dearest = dearest.fold(0.0, f64::max);
    let Stake { must_go, may_wait, way_out, wishes, hourly } = ask.stake;
    if must_go {
        return dearest + hourly * MUST_GO_HOURS + LEAST_WAIT;
    }
    // As much longer as its bucket makes any of its choices.
    let longer = ask
        .pairs
        .iter()
        .map(|pair| life(pair) / pair.hours().max(f64::MIN_POSITIVE))
        .filter(|ratio| *ratio <= BUCKET_RATIO)
        .fold(1.0, f64::max);
    let out = way_out * longer;
    let starts = later.filter(|_| may_wait);
    let starts = starts.and_then(|later| later.later_start(ask.nodes, &ask.later));
    // A machine that nobody else wants is taken, whatever later ones may cost.
    let waits = starts.map_or(out, |dollars| ((dollars + wishes) * longer).max(dearest).min(out));
    waits + hourly + LEAST_WAIT
}
