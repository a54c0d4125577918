//! Running jobs that go on better elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use spotwise_model::attempt::Progress;
use spotwise_model::gpu::MIG_MEMORY_SLICES;
use spotwise_model::plan::PlacementRule;
use spotwise_model::resources::{Free, GpuSlot};
use spotwise_model::time::{after, between, hours};
use spotwise_model::{CapacityType, JobId};

use crate::answer::band_report::MoveSurcharge;
use crate::room::machines::Room;
use crate::statement::choice::listing_of;
use crate::statement::demand::Request;
use crate::statement::input::{PlanJob, RunningJob};
use crate::statement::market::Listing;
use crate::statement::round::Round;
use crate::statement::value::{
    Estimate, OnDemandFallback, affordable, estimate, fallback, nodes, pace_lead,
};

/// A move back to spot has to save this part of what is left to pay.
const LEAST_SAVING: f64 = 0.25;
/// And a move from spot to spot this part. A running machine is older, and safer,
/// than the hazard of its offer says.
const LEAST_SAVING_OF_SPOT: f64 = 0.15;

/// The jobs to stop, checkpointed, because they are at risk where they are or
/// much cheaper elsewhere. Only into what `room`, after the round's placements,
/// still has; each move takes its part of it. The machines that a job leaves are in use of
/// the limits until they have ended.
pub(crate) fn moves(round: &Round<'_>, room: &mut Room<'_, '_>) -> BTreeMap<JobId, PlacementRule> {
    let mut moves = BTreeMap::new();
    for running in round.input.running.iter().filter(|running| !running.stopping) {
        let found = match running.offer.market.capacity_type {
            CapacityType::Spot => to_safety(round, running)
                .map(|to| (to, PlacementRule::SafetyNet))
                .or_else(|| cheaper(round, room, running)),
            CapacityType::OnDemand => cheaper(round, room, running),
            CapacityType::Reserved => None,
        };
        let Some((estimate, rule)) = found else { continue };
        let to = request(running, &estimate);
        if let Some(fit) = room.fit(&to) {
            room.take(&to, &fit);
            moves.insert(running.job.id, rule);
        }
    }
    moves
}

/// What a job takes with it: all of its progress, checkpointed, or nothing but
/// what it has saved.
fn carried(running: &RunningJob) -> &Progress {
    if running.job.spec.resumable() { &running.progress } else { &running.job.saved }
}

fn estimates(round: &Round<'_>, running: &RunningJob) -> Vec<Estimate> {
    let listings = round.market.listings.iter().enumerate();
    let nodes = nodes(&running.job);
    listings
        .filter(|(_, listing)| listing.ever_allows(nodes))
        .filter_map(|(at, l)| estimate(&running.job, carried(running), at, l, round.input.now))
        .collect()
}

fn request(running: &RunningJob, e: &Estimate) -> Request {
    Request {
        listing: e.listing,
        share: e.share,
        bucket: 0,
        nodes: nodes(&running.job),
        hours: hours(e.occupied),
        extra: 0.0,
        number: usize::MAX,
        ends: f64::INFINITY,
        expects: f64::INFINITY,
    }
}

fn net_of(
    round: &Round<'_>,
    running: &RunningJob,
    estimates: &[Estimate],
) -> Option<OnDemandFallback> {
    fallback(&running.job, estimates, &round.market.listings, &round.input.policy)
}

/// Where a job on spot has to go. A running job keeps its distance to the
/// deadline, and a notice lets it save what it has done: it stays while an
/// interruption this moment would still leave on-demand in time. (A job that
/// cannot resume has everything at stake.) The fallback of a start asks for one
/// changeover more, so what is moved does not go back to spot. Where moving
/// would be late already, staying is its one chance.
fn to_safety(round: &Round<'_>, running: &RunningJob) -> Option<Estimate> {
    let (job, now) = (&running.job, round.input.now);
    let fallback = net_of(round, running, &estimates(round, running))?;
    let target = round.market.listings.get(fallback.estimate.listing)?;
    let kept = carried(running).left_of(job.duration(target.offer.shape.accelerator.as_ref()));
    let after_a_loss =
        kept.saturating_add(fallback.changeover).saturating_add(round.input.policy.deadline_margin);
    let safe = after(now, after_a_loss) <= job.deadline;
    let here = round.input.offers.iter().find(|offer| offer.key == running.offer);
    let left = running
        .progress
        .left_of(job.duration(here.and_then(|offer| offer.shape.accelerator.as_ref())));
    // Done before on-demand would be up.
    let nearly_done = left <= fallback.changeover && after(now, left) <= job.deadline;
    (fallback.meets && !safe && !nearly_done).then_some(fallback.estimate)
}

/// Where a job should go that runs on dearer machines, spot or paid already: with
/// hysteresis, so that it does not pay changeovers to and fro. It is computed as it will be
/// when it starts again: with the operator's policy prices for its class on both sides,
/// and with whole machines, since it may find none that runs already.
fn cheaper(
    round: &Round<'_>,
    room: &Room<'_, '_>,
    running: &RunningJob,
) -> Option<(Estimate, PlacementRule)> {
    let (job, now) = (&running.job, round.input.now);
    if !job.spec.interruptible || !job.spec.resumable() {
        return None;
    }
    let estimates = estimates(round, running);
    let fallback = net_of(round, running, &estimates)?;
    let (at, here) = listing_of(&round.market, &running.offer)?;
    let surcharges = MoveSurcharge::new(round, running);
    let staying =
        stay(round, running, estimates.iter().find(|e| e.listing == at)?, here, &surcharges);
    let best = estimates
        .iter()
        .filter(|e| e.listing != at)
        .filter(|e| {
            round.market.listings.get(e.listing).is_some_and(|l| l.is_spot() || l.is_reserved())
        })
        .filter(|e| affordable(job, e))
        .filter(|e| room.fit(&request(running, e)).is_some())
        .map(|e| (e, going(round, running, e, &surcharges)))
        .min_by(|(_, a), (_, b)| a.total_cmp(b));
    let (best, going) = best?;
    let there = round.market.listings.get(best.listing)?;
    let two = there.changeover.max(here.changeover).saturating_mul(2);
    let settled = between(running.since, now) >= two;
    let slack = fallback.meets && after(now, there.changeover) <= fallback.latest_start;
    if !settled || !slack || going >= staying.dollars {
        return None;
    }
    let saves = |part: f64| {
        let saving = staying.dollars - going;
        saving > part * staying.dollars && saving > staying.hourly * hours(two)
    };
    let goes = if here.is_spot() || there.is_reserved() {
        saves(LEAST_SAVING_OF_SPOT)
    } else {
        let time_left = (job.deadline > now).then(|| between(now, job.deadline));
        match round.market.outlook(&there.offer.key, nodes(job)).zip(time_left) {
            Some((outlook, time)) => outlook.goes_back(&there.offer.key, best.left, time),
            // Uniform Progress with hysteresis: ahead of the pace of two changeovers on.
            None => saves(LEAST_SAVING) && pace_lead(job, &running.progress, after(now, two)) > 0.0,
        }
    };
    let rule =
        if there.is_reserved() { PlacementRule::AlreadyPaid } else { PlacementRule::Cheapest };
    goes.then(|| (best.clone(), rule))
}

/// What it costs a job to go on where it is.
struct Staying {
    /// Of its machines, an hour.
    hourly: f64,
    /// Until it is done, with its class's surcharge.
    dollars: f64,
}

/// Alone on its machines it pays for all of them, beside others for its part.
/// Its data is there already.
fn stay(
    round: &Round<'_>,
    running: &RunningJob,
    e: &Estimate,
    here: &Listing<'_>,
    surcharges: &MoveSurcharge<'_>,
) -> Staying {
    let all = if is_beside_others(round, running, e, here) { e.dollars } else { e.alone };
    let hourly = (all - e.transfer) / hours(e.occupied).max(f64::MIN_POSITIVE);
    // It is up already.
    let span = e.occupied.saturating_sub(here.changeover);
    let surcharged = surcharges.stay(e.listing) * machine_hours(&running.job, e, span);
    let again = e.transfer - e.first_transfer;
    Staying { hourly, dollars: hourly * hours(span) + again + surcharged }
}

/// Whole machines, its data, and its checkpoint from where it is.
fn going(
    round: &Round<'_>,
    running: &RunningJob,
    e: &Estimate,
    surcharges: &MoveSurcharge<'_>,
) -> f64 {
    let job = &running.job;
    let saved = job.spec.checkpoint.as_ref().and_then(|checkpoint| checkpoint.bytes);
    let there = round.market.listings.get(e.listing).zip(saved);
    let taken =
        there.map_or(0.0, |(there, bytes)| there.fetch(running.offer.market.zone.region(), bytes));
    e.alone + taken + surcharges.go(e.listing) * machine_hours(job, e, e.occupied)
}

/// Whether its machines have other work too.
fn is_beside_others(
    round: &Round<'_>,
    running: &RunningJob,
    e: &Estimate,
    here: &Listing<'_>,
) -> bool {
    let shape = &here.offer.shape;
    let starts = MIG_MEMORY_SLICES as u8;
    let assignments =
        (0..shape.gpus).flat_map(|gpu| (0..starts).map(move |start| GpuSlot { gpu, start }));
    // Wherever its part of a GPU is.
    let assignments =
        || assignments.clone().map(Some).filter(|_| e.share.takes_part()).chain([None]);
    let alone = |assignment| {
        let mut alone = Free::new(shape);
        alone.take_at(&e.share, assignment).then_some(alone)
    };
    let alone: Vec<Free> = assignments().filter_map(alone).collect();
    let mut own = round.input.instances.iter().filter(|i| running.instances.contains(&i.id));
    !alone.is_empty() && own.any(|instance| !alone.contains(&instance.free))
}

/// Hours of whole machines that a job takes in a span.
fn machine_hours(job: &PlanJob, e: &Estimate, span: Duration) -> f64 {
    hours(span) * f64::from(nodes(job)) * e.fraction
}

#[cfg(test)]
mod tests;
