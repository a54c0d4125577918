//! When what runs, and what starts, is expected to be gone. Room is reserved by the one,
//! and lent out by the other.

use std::collections::BTreeMap;
use std::time::Duration;

use spotwise_model::spec::Work;
use spotwise_model::time::{between, hours};
use spotwise_model::{InstanceId, Offer, OfferKey, Share};

use crate::statement::input::{PlanInput, PlanJob, RunningJob};
use crate::statement::market::changeover;
use crate::statement::value::HORIZON;

/// A job is gone within this multiple of its expected duration: an assumption about nine of
/// ten jobs whose duration somebody has stated or measured.
pub(crate) const LATEST: f64 = 1.2;
/// An attempt that has outlived its expectation goes on for this part of the time that it
/// has run.
const OVERRUN: f64 = 0.1;
/// Two times that are no further apart are one, in hours: a second.
pub(crate) const SAME: f64 = 1.0 / 3_600.0;

/// What bounds a job's stay on its machines.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StayBound {
    /// Whether somebody has stated or measured its duration.
    stated: bool,
    /// Hours to the end of its timeout, changeover included.
    timeout: Option<f64>,
}

/// What bounds a job's stay where it takes at most `changeover` to begin.
pub(crate) fn stay_bound(job: &PlanJob, changeover: Duration) -> StayBound {
    let timeout = job.spec.timeout.map(|timeout| hours(timeout.saturating_add(changeover)));
    StayBound { stated: is_stated(job), timeout }
}

impl StayBound {
    /// Hours from now until a job is gone at the latest that is expected to stay that long;
    /// infinite if unknown.
    pub(crate) fn ends(&self, expected: f64) -> f64 {
        let expected = expected.min(hours(HORIZON));
        let stated = if self.stated { expected * LATEST } else { f64::INFINITY };
        self.timeout.map_or(stated, |timeout| timeout.min(stated))
    }

    /// The same, with a guess where it is unknown.
    pub(crate) fn expects(&self, expected: f64) -> f64 {
        let expected = expected.min(hours(HORIZON));
        (expected * LATEST).min(self.timeout.unwrap_or(f64::INFINITY))
    }
}

/// Whether somebody has stated or measured how long a job takes.
fn is_stated(job: &PlanJob) -> bool {
    !job.measured.is_empty()
        || match &job.spec.work {
            Work::Unknown => false,
            Work::Duration { default, by_accelerator } => {
                default.is_some() || !by_accelerator.is_empty()
            }
            Work::Steps { steps_per_hour, by_accelerator, .. } => {
                steps_per_hour.is_some() || !by_accelerator.is_empty()
            }
        }
}

/// A running job that leaves its room.
#[derive(Clone, Debug)]
pub(crate) struct Leaving<'a> {
    pub(crate) running: &'a RunningJob,
    /// What its machines are of.
    pub(crate) offer: &'a Offer,
    /// What it takes of each of its machines.
    pub(crate) share: Share,
    /// Machines that it is on.
    pub(crate) nodes: u32,
    /// Hours from now.
    pub(crate) at: f64,
}

impl Leaving<'_> {
    pub(crate) fn is_on(&self, machine: InstanceId) -> bool {
        self.running.instances.contains(&machine)
    }
}

/// All that runs on offers that are known, the first to end first.
pub(crate) fn leaving(input: &PlanInput) -> Vec<Leaving<'_>> {
    let mut offers: BTreeMap<&OfferKey, &Offer> = BTreeMap::new();
    for offer in &input.offers {
        offers.entry(&offer.key).or_insert(offer);
    }
    let one = |running| {
        let running: &RunningJob = running;
        let offer: &Offer = offers.get(&running.offer)?;
        let share = running.job.share_on(offer.shape.accelerator.as_ref())?;
        let nodes = u32::try_from(running.instances.len()).unwrap_or(u32::MAX);
        let starts = match running.job.worker_array {
            // Most go on where another one was.
            Some(_) => Duration::ZERO,
            None => changeover(offer, &input.policy),
        };
        let whole = running.job.duration(offer.shape.accelerator.as_ref());
        let at = hours(left(running, whole, starts, between(running.since, input.now)));
        Some(Leaving { running, offer, share, nodes, at })
    };
    let mut all: Vec<Leaving<'_>> = input.running.iter().filter_map(one).collect();
    all.sort_by(|a, b| a.at.total_cmp(&b.at).then(a.running.job.id.cmp(&b.running.job.id)));
    all
}

/// How much longer a running job is expected to stay.
fn left(running: &RunningJob, whole: Duration, starts: Duration, elapsed: Duration) -> Duration {
    if running.stopping {
        return running.job.spec.checkpoint.as_ref().map_or(Duration::ZERO, |c| c.grace);
    }
    // Who says nothing of its progress is expected to work as long as expected.
    let by_clock = whole.saturating_sub(elapsed.saturating_sub(starts));
    let told = running.progress.done_ppm > 0;
    let work = if told { running.progress.left_of(whole) } else { by_clock };
    let expected = work.saturating_add(starts.saturating_sub(elapsed));
    let overrun = elapsed.mul_f64(OVERRUN).max(Duration::from_secs(1));
    let expected = expected.max(overrun);
    let timeout = running.job.spec.timeout;
    timeout.map_or(expected, |timeout| {
        let ends = timeout.saturating_add(starts).saturating_sub(elapsed);
        expected.min(ends.max(Duration::from_secs(1)))
    })
}
