//! What one job costs on one offer, from now until it is done, and how its
//! deadline stands.

use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::attempt::Progress;
use spotwise_model::policy::Policy;
use spotwise_model::time::{after, between, hours, whole_second};
use spotwise_model::{CapacityType, Money, NodeShape, Share};

use crate::statement::input::PlanJob;
use crate::statement::market::{Listing, fraction};

/// Expectations end here, ten years on: hopeless is hopeless, and figures stay
/// in the range in which the solver can compare them.
pub(crate) const HORIZON: Duration = Duration::from_secs(10 * 366 * 86_400);

/// One job on one offer, begun now.
#[derive(Clone, Debug)]
pub(crate) struct Estimate {
    /// Index of the offer's listing.
    pub(crate) listing: usize,
    /// What each node takes.
    pub(crate) share: Share,
    /// The part of one machine that each node takes.
    pub(crate) fraction: f64,
    /// Work left on that accelerator, undisturbed.
    pub(crate) left: Duration,
    /// Expected time on the machines: changeovers, work, and work lost.
    pub(crate) occupied: Duration,
    /// What the job is expected to be charged, in dollars; with `transfer`.
    pub(crate) dollars: f64,
    /// Dollars if it had its machines to itself, nothing for reserved ones; with
    /// `transfer`.
    pub(crate) alone: f64,
    /// The same with what is paid already at its effective price: what the ledger
    /// will say.
    pub(crate) bill: f64,
    /// Dollars for bringing its data there at each expected start.
    pub(crate) transfer: f64,
    /// The same for the first start alone.
    pub(crate) first_transfer: f64,
    /// Expected end of the work.
    pub(crate) finish: Timestamp,
}

impl Estimate {
    /// What its owner is told and its budget has to hold: machines taken alone,
    /// since what idles beside a job is that job's cost.
    pub(crate) fn cost(&self) -> Money {
        Money::estimate(self.bill)
    }
}

/// Number of machines that a job runs on.
pub(crate) fn nodes(job: &PlanJob) -> u32 {
    job.spec.resources.nodes.max(1)
}

/// What a job takes and has left to do on machines of one shape: the same on
/// every offer of it.
pub(crate) struct Need {
    share: Share,
    fraction: f64,
    left: Duration,
    rework: Duration,
}

/// `None` if no machine of that shape holds the job.
pub(crate) fn need(job: &PlanJob, progress: &Progress, shape: &NodeShape) -> Option<Need> {
    let share = job.share_on(shape.accelerator.as_ref())?;
    if !shape.holds(&share) {
        return None;
    }
    let whole = job.duration(shape.accelerator.as_ref());
    let left = progress.left_of(whole);
    Some(Need { share, fraction: fraction(&share, shape), left, rework: rework(job, whole, left) })
}

/// Values `job` on a listing, begun now from `progress`; `None` if no machine
/// of it holds the job.
pub(crate) fn estimate(
    job: &PlanJob,
    progress: &Progress,
    at: usize,
    listing: &Listing<'_>,
    now: Timestamp,
) -> Option<Estimate> {
    let need = need(job, progress, &listing.offer.shape)?;
    Some(estimate_of(job, &need, (at, listing), listing.changeover, now))
}

/// The same for what it is known to need there, and how long it takes to begin.
pub(crate) fn estimate_of(
    job: &PlanJob,
    need: &Need,
    (at, listing): (usize, &Listing<'_>),
    start: Duration,
    now: Timestamp,
) -> Estimate {
    let left = need.left;
    let interruptions = expected_interruptions(job, listing, left);
    let lost = need.rework.saturating_add(listing.changeover);
    let occupied =
        left.saturating_add(start).saturating_add(stretched(lost, interruptions)).min(HORIZON);
    let machines = f64::from(nodes(job));
    let data = job.spec.data.as_ref();
    let first_transfer = data.map_or(0.0, |data| listing.fetch(&data.region, data.bytes));
    let transfer = first_transfer * (1.0 + interruptions);
    Estimate {
        listing: at,
        share: need.share,
        fraction: need.fraction,
        left,
        occupied,
        dollars: listing.billed(hours(occupied)) * machines * need.fraction + transfer,
        alone: listing.marginal(hours(occupied)) * machines + transfer,
        bill: listing.billed(hours(occupied)) * machines + transfer,
        transfer,
        first_transfer,
        finish: whole_second(after(now, occupied)),
    }
}

/// A gang is interrupted when any of its machines is.
pub(crate) fn expected_interruptions(job: &PlanJob, listing: &Listing<'_>, left: Duration) -> f64 {
    if !listing.is_spot() {
        return 0.0;
    }
    listing.offer.hazard_per_hour * f64::from(nodes(job)) * hours(left)
}

/// Work expected to be lost by one interruption: half a checkpoint interval,
/// or half of everything done so far where nothing is saved.
pub(crate) fn rework(job: &PlanJob, whole: Duration, left: Duration) -> Duration {
    match &job.spec.checkpoint {
        Some(checkpoint) if checkpoint.resumable => checkpoint.interval.min(left) / 2,
        _ => whole / 2,
    }
}

/// `span` times a factor that is not negative, staying in range.
pub(crate) fn stretched(span: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(span.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

/// How a job's deadline stands: it decides which offers it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeadlineStatus {
    /// No on-demand capacity can meet the deadline any more: the earliest
    /// finish first, money second.
    Late,
    /// The safety net: only capacity that stays.
    SafetyNet,
    /// Behind the pace that the deadline asks for: spot, else on-demand.
    Behind,
    /// Ahead of the pace: spot, or wait for it.
    Ahead,
}

/// The on-demand way to the end that protects a deadline.
#[derive(Clone, Debug)]
pub(crate) struct OnDemandFallback {
    /// The cheapest on-demand or reserved capacity that holds the job and meets
    /// its deadline, else the fastest; what is free before what is not.
    pub(crate) estimate: Estimate,
    /// The changeover of that capacity.
    pub(crate) changeover: Duration,
    /// The last moment to begin there with room for a lost start: deadline less
    /// work left, two changeovers and the policy's margin.
    pub(crate) latest_start: Timestamp,
    /// Whether it can meet the deadline.
    pub(crate) meets: bool,
    /// Dollars of the same without what is paid already: one committed machine
    /// cannot be the way out of every job that it holds.
    pub(crate) bought: f64,
}

impl OnDemandFallback {
    /// Dollars of its machines: without moving data.
    pub(crate) const fn machines(&self) -> f64 {
        self.estimate.bill - self.estimate.transfer
    }
}

/// Finds the fallback among a job's estimates. Those that its budget does not hold
/// are no fallback.
pub(crate) fn fallback(
    job: &PlanJob,
    estimates: &[Estimate],
    listings: &[Listing<'_>],
    policy: &Policy,
) -> Option<OnDemandFallback> {
    let rank = |estimate: &&Estimate| {
        let meets = estimate.finish <= job.deadline;
        let free = listings
            .get(estimate.listing)
            .is_some_and(|listing| listing.has_room(&estimate.share, nodes(job)));
        // Among those that are late the fastest, among those in time, and those that are
        // as fast, the cheapest.
        let seconds = if meets { 0.0 } else { estimate.occupied.as_secs_f64() };
        (!meets, !free, seconds, estimate.alone, estimate.listing)
    };
    let steady = || {
        let stays = |e: &&Estimate| listings.get(e.listing).is_some_and(|l| !l.is_spot());
        estimates.iter().filter(stays).filter(|e| affordable(job, e))
    };
    let first = |a: &&Estimate, b: &&Estimate| {
        let (a, b) = (rank(a), rank(b));
        let cost = || a.3.total_cmp(&b.3).then(a.4.cmp(&b.4));
        (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)).then_with(cost)
    };
    let best = steady().min_by(first)?;
    let paid = |e: &&Estimate| listings.get(e.listing).is_some_and(Listing::is_reserved);
    let bought = steady().filter(|e| !paid(e)).min_by(first).unwrap_or(best).alone;
    let changeover = listings.get(best.listing).map_or(policy.changeover, |l| l.changeover);
    let need = best
        .left
        .saturating_add(changeover.saturating_mul(2))
        .saturating_add(policy.deadline_margin);
    Some(OnDemandFallback {
        changeover,
        latest_start: before(job.deadline, need),
        meets: best.finish <= job.deadline,
        bought,
        estimate: best.clone(),
    })
}

/// Whether the job's budget holds that choice.
pub(crate) fn affordable(job: &PlanJob, estimate: &Estimate) -> bool {
    job.budget_left.is_none_or(|left| estimate.cost() <= left)
}

/// Where the job stands at `now`. Without a fallback nothing can protect the
/// deadline, and waiting for better capacity has only the pace to go by.
pub(crate) fn deadline_status(
    job: &PlanJob,
    fallback: Option<&OnDemandFallback>,
    now: Timestamp,
) -> DeadlineStatus {
    let Some(fallback) = fallback else { return DeadlineStatus::Behind };
    if !fallback.meets {
        DeadlineStatus::Late
    } else if now > fallback.latest_start {
        DeadlineStatus::SafetyNet
    } else if pace_lead(job, &job.saved, now) < 0.0 {
        DeadlineStatus::Behind
    } else {
        DeadlineStatus::Ahead
    }
}

/// Uniform Progress: work done `p = C0 - C` against the even pace
/// `e = t * C0 / R0`, where `C0` is the whole work, `C` what is left, `t` the
/// time since submission and `R0` the time from submission to deadline
/// (Wu et al., "Can't Be Late", NSDI 2024). The answer is `(p - e) / C0` at
/// `now`: above zero ahead of the pace, below it behind.
pub(crate) fn pace_lead(job: &PlanJob, progress: &Progress, now: Timestamp) -> f64 {
    let window = between(job.submitted, job.deadline).as_secs_f64();
    let due = if window > 0.0 { between(job.submitted, now).as_secs_f64() / window } else { 1.0 };
    f64::from(progress.done_ppm) / f64::from(Progress::WHOLE) - due.min(1.0)
}

/// `time - span`, staying inside the years that a timestamp can hold.
pub(crate) fn before(time: Timestamp, span: Duration) -> Timestamp {
    let span = jiff::SignedDuration::try_from(span).unwrap_or(jiff::SignedDuration::MAX);
    spotwise_model::time::add(time, -span)
}

/// Whether a listing takes back what it gives.
pub(crate) fn kind_allows(job: &PlanJob, listing: &Listing<'_>) -> bool {
    job.spec.interruptible || listing.offer.key.market.capacity_type != CapacityType::Spot
}
