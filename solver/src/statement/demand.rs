//! What each job of a round may take, what that costs, and what deciding needs of
//! it beside.
//!
//! A round of 100,000 jobs and 1,000 offers has 25 million candidates: a candidate is 20
//! bytes here, and what an explanation needs is computed again for its job.

use std::cmp::Reverse;
use std::sync::Arc;

use jiff::Timestamp;
use spotwise_model::time::hours;
use spotwise_model::{JobId, Share};

use crate::parallel::in_chunks;
use crate::statement::choice::{JobEvaluation, evaluate, hourly, options, weight};
use crate::statement::ends::{StayBound, stay_bound};
use crate::statement::input::{PlanInput, PlanJob};
use crate::statement::later::LaterOptions;
use crate::statement::market::{Listing, Market};
use crate::statement::value::{DeadlineStatus, Estimate, affordable, kind_allows};

/// Lifetimes within this ratio count as one (as the longest of them).
pub(crate) const BUCKET_RATIO: f64 = 1.25;

/// Lifetimes that are told apart, from a second on: 1.25 to the 127th seconds
/// are 60,000 years.
const BUCKETS: usize = 128;

/// Least number of jobs that are worth a thread.
const LEAST_CHUNK: usize = 512;

/// Most chunks: each keeps the lifetimes that it saw.
const MOST_CHUNKS: usize = 16;

/// A job on an offer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
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

impl Candidate {
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
pub(crate) struct JobDemand<'a> {
    pub(crate) job: &'a PlanJob,
    /// Its place among the demands of the round.
    pub(crate) number: usize,
    pub(crate) nodes: u32,
    /// The last moment at which on-demand still meets its deadline.
    pub(crate) latest_start: Timestamp,
    /// What it costs to leave it waiting although it has candidates, in dollars.
    pub(crate) wait: f64,
    pub(crate) kinds: Arc<[Kind]>,
    /// What it may take now and what is there, in the order of the listings.
    pub(crate) candidates: Arc<[Candidate]>,
    /// Whether it has no candidate because nothing that holds it is free, and not by choice.
    pub(crate) blocked: bool,
    /// Whether anything is better than waiting.
    pub(crate) must_go: bool,
    stay_bound: StayBound,
    /// Whether its candidates carry the policy prices.
    pub(crate) surcharged: bool,
    /// What it may take later.
    pub(crate) later: LaterOptions,
    pub(crate) wait_terms: WaitTerms,
}

/// What waiting costs a job, before the lifetimes of machines are known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitTerms {
    pub(crate) must_go: bool,
    /// Whether it waits for spot where it gets none, rather than go on demand now.
    pub(crate) may_wait: bool,
    /// Dollars of its way out on on-demand.
    pub(crate) way_out: f64,
    /// The most that the policy prices cost it.
    pub(crate) surcharge: f64,
    /// Dollars an hour of its machines, by its weight.
    pub(crate) hourly: f64,
}

/// A candidate with what it takes, ready to be put on machines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) listing: usize,
    pub(crate) share: Share,
    pub(crate) bucket: usize,
    pub(crate) nodes: u32,
    pub(crate) hours: f64,
    pub(crate) extra: f64,
    /// Which demand it is of; none of them for a running job that moves.
    pub(crate) number: usize,
    /// Hours from now until it is gone at the latest; infinite if unknown.
    pub(crate) ends: f64,
    /// The same, with a guess where it is unknown.
    pub(crate) expects: f64,
}

impl<'a> JobDemand<'a> {
    /// The same for a job that is like this one.
    pub(crate) fn of(&self, job: &'a PlanJob, number: usize) -> Self {
        Self {
            job,
            number,
            kinds: Arc::clone(&self.kinds),
            candidates: Arc::clone(&self.candidates),
            later: self.later.clone(),
            ..*self
        }
    }
}

impl JobDemand<'_> {
    /// Who has the lower one goes first: by priority, then least slack, then id.
    pub(crate) fn rank(&self) -> (Reverse<i32>, Timestamp, JobId) {
        (Reverse(self.job.spec.priority), self.latest_start, self.job.id)
    }

    /// How long it stays where it is expected to stay this many hours.
    pub(crate) const fn stay_bound(&self) -> &StayBound {
        &self.stay_bound
    }

    /// Dollars an hour of its machines, by its weight.
    pub(crate) const fn hourly(&self) -> f64 {
        self.wait_terms.hourly
    }

    /// What a candidate takes.
    pub(crate) fn request(&self, candidate: &Candidate) -> Request {
        Request {
            listing: candidate.listing(),
            share: self.share(candidate),
            bucket: candidate.bucket(),
            nodes: self.nodes,
            hours: candidate.hours(),
            extra: candidate.extra(),
            number: self.number,
            ends: self.stay_bound.ends(candidate.hours()),
            expects: self.stay_bound.expects(candidate.hours()),
        }
    }

    /// What each node takes on a candidate's machines.
    pub(crate) fn share(&self, candidate: &Candidate) -> Share {
        self.kinds.get(candidate.kind()).map(|kind| kind.share).unwrap_or_default()
    }

    /// Whether it takes a slice of a GPU anywhere.
    pub(crate) fn takes_slice(&self) -> bool {
        self.kinds.iter().any(|kind| kind.share.mig.is_some())
    }

    /// Its candidate with a listing.
    pub(crate) fn candidate_on(&self, listing: usize) -> Option<&Candidate> {
        self.candidates.get(self.candidate_index(listing)?)
    }

    /// Where its candidate with a listing is.
    pub(crate) fn candidate_index(&self, listing: usize) -> Option<usize> {
        self.candidates.binary_search_by_key(&listing, Candidate::listing).ok()
    }
}

/// The longest hours seen in each bucket of each listing; 0 where none is.
pub(crate) type Longest = Vec<[f32; BUCKETS]>;

pub(crate) fn value<'a>(
    jobs: &[&'a PlanJob],
    input: &'a PlanInput,
    market: &Market<'_>,
) -> (Vec<JobDemand<'a>>, Longest) {
    let none = || vec![[0.0_f32; BUCKETS]; market.listings.len()];
    let parts = in_chunks(jobs, LEAST_CHUNK.max(jobs.len().div_ceil(MOST_CHUNKS)), |_, jobs| {
        let mut longest = none();
        let demands: Vec<JobDemand<'a>> = jobs
            .iter()
            .map(|job| demand(&evaluate(job, input, market), market, input.now))
            .collect();
        for candidate in demands.iter().flat_map(|demand| demand.candidates.iter()) {
            if let Some(life) =
                longest.get_mut(candidate.listing()).and_then(|l| l.get_mut(candidate.bucket()))
            {
                *life = life.max(candidate.hours);
            }
        }
        (demands, longest)
    });
    let mut demands = Vec::with_capacity(jobs.len());
    let mut longest = none();
    for (part, lives) in parts {
        demands.extend(part);
        for (life, other) in longest.iter_mut().flatten().zip(lives.into_iter().flatten()) {
            *life = life.max(other);
        }
    }
    (demands, longest)
}

/// Keeps of a valued job what deciding needs.
fn demand<'a>(
    evaluation: &JobEvaluation<'a>,
    market: &Market<'_>,
    now: Timestamp,
) -> JobDemand<'a> {
    let listings = &market.listings;
    let mut kinds: Vec<Kind> = Vec::new();
    let options = options(evaluation, listings);
    let mut candidates = Vec::with_capacity(options.len());
    candidates.extend(options.iter().filter_map(|(estimate, lateness)| {
        let group = listings.get(estimate.listing)?.group;
        let kind = Kind { group, share: estimate.share };
        let at = kinds.iter().position(|known| *known == kind).unwrap_or_else(|| {
            kinds.push(kind);
            kinds.len() - 1
        });
        let seconds = estimate.occupied.as_secs_f64().max(1.0);
        // At least 0; what is beyond the last bucket is in it.
        let bucket = ((seconds.ln() / BUCKET_RATIO.ln()) as usize).min(BUCKETS - 1);
        Some(Candidate {
            listing: u32::try_from(estimate.listing).ok()?,
            cell: 0,
            bucket: u16::try_from(bucket).ok()?,
            kind: u16::try_from(at).ok()?,
            hours: (hours(estimate.occupied) as f32).max(f32::MIN_POSITIVE),
            extra: *lateness as f32,
        })
    }));
    let first = options.first().map(|(estimate, _)| *estimate);
    // Waiting carries the most that a surcharge costs: surcharges never make a job wait.
    let surcharge =
        options.iter().map(|(e, _)| evaluation.surcharge_of(e, listings)).fold(0.0, f64::max);
    let longest = evaluation.estimates.iter().filter_map(|e| listings.get(e.listing));
    let longest = longest.map(|listing| listing.changeover).max().unwrap_or_default();
    JobDemand {
        job: evaluation.job,
        number: 0,
        nodes: evaluation.nodes,
        latest_start: evaluation.latest_start(),
        wait: 0.0,
        kinds: kinds.into(),
        blocked: candidates.is_empty() && is_blocked(evaluation, listings),
        candidates: candidates.into(),
        must_go: evaluation.must_go(),
        stay_bound: stay_bound(evaluation.job, longest),
        surcharged: evaluation.carries_surcharges(),
        later: LaterOptions::of(evaluation, market, now),
        wait_terms: WaitTerms {
            must_go: evaluation.must_go(),
            may_wait: may_wait(evaluation, &options, listings),
            surcharge,
            way_out: evaluation.fallback.as_ref().map_or(0.0, |fallback| fallback.bought)
                + surcharge,
            hourly: hourly(evaluation, first, listings) * weight(evaluation.job),
        },
    }
}

/// Whether machines hold a job and none of them is free.
fn is_blocked(evaluation: &JobEvaluation<'_>, listings: &[Listing<'_>]) -> bool {
    let mut suitable =
        evaluation.estimates.iter().filter_map(|e| Some((e, listings.get(e.listing)?)));
    let mut suits = false;
    let free = suitable.any(|(e, listing)| {
        let takes = kind_allows(evaluation.job, listing) && affordable(evaluation.job, e);
        suits |= takes;
        takes && listing.has_room(&e.share, evaluation.nodes)
    });
    suits && !free
}

/// A job behind its pace that may go on demand now does, where it gets no spot.
fn may_wait(
    evaluation: &JobEvaluation<'_>,
    options: &[(&Estimate, f64)],
    listings: &[Listing<'_>],
) -> bool {
    let stays = |e: &Estimate| listings.get(e.listing).is_some_and(|l| !l.is_spot());
    evaluation.deadline_status == DeadlineStatus::Ahead || !options.iter().any(|(e, _)| stays(e))
}

/// Numbers the buckets that are used from 0, and answers their lifetimes.
pub(crate) fn settle_buckets(demands: &mut [JobDemand<'_>], longest: &Longest) -> Vec<Vec<f64>> {
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
    for candidate in demands.iter_mut().flat_map(|demand| Arc::make_mut(&mut demand.candidates)) {
        let Some((start, numbers)) = numbers.get(candidate.listing()) else { continue };
        candidate.bucket = numbers.get(candidate.bucket()).copied().unwrap_or(0);
        candidate.cell = start + u32::from(candidate.bucket);
    }
    longest
        .iter()
        .map(|lives| {
            lives.iter().filter(|life| **life > 0.0).map(|life| f64::from(*life)).collect()
        })
        .collect()
}
