//! What one job may take later: the kinds of machines, and by when.

use jiff::Timestamp;
use spotwise_model::time::{between, hours};

use crate::statement::choice::JobEvaluation;
use crate::statement::market::{KINDS, Market};
use crate::statement::prices::{PLAIN, parts, takes, whole};
use crate::statement::value::{DeadlineStatus, affordable, kind_allows};

/// What a job may take later, and by when it has to have it.
#[derive(Clone, Debug, Default)]
pub(crate) struct LaterOptions {
    /// Hours from now to its latest start on demand.
    pub(crate) until: f32,
    /// Hours from now to its deadline.
    pub(crate) due: f32,
    /// What it may take, the quickest of each kind of machine.
    pub(crate) options: Box<[LaterOption]>,
}

/// A kind of machine for a job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaterOption {
    pub(crate) kind: u32,
    /// On its machines until it is done.
    pub(crate) hours: f32,
    /// The part of a machine that a node takes, by the resource that it takes
    /// most of.
    pub(crate) fraction: f32,
    /// The same for each resource.
    pub(crate) parts: [f32; PLAIN],
}

impl LaterOption {
    pub(crate) const fn is_spot(&self) -> bool {
        (self.kind as usize).is_multiple_of(KINDS)
    }

    /// Machines of each resource for all nodes.
    pub(crate) fn parts(&self, nodes: u32) -> [f64; PLAIN] {
        self.parts.map(|part| f64::from(part) * f64::from(nodes))
    }
}

impl LaterOptions {
    /// What a valued job may take later. One whose deadline asks for on-demand
    /// takes nothing else any more.
    pub(crate) fn of(evaluation: &JobEvaluation<'_>, market: &Market<'_>, now: Timestamp) -> Self {
        let steady_only = evaluation.deadline_status == DeadlineStatus::SafetyNet;
        let mut options: Vec<LaterOption> = Vec::new();
        for estimate in &evaluation.estimates {
            let Some(listing) = market.listings.get(estimate.listing) else { continue };
            let allowed = kind_allows(evaluation.job, listing)
                && affordable(evaluation.job, estimate)
                && !(steady_only && listing.is_spot());
            let Ok(kind) = u32::try_from(listing.kind()) else { continue };
            if !allowed {
                continue;
            }
            let hours = hours(estimate.occupied) as f32;
            match options.iter_mut().find(|option| option.kind == kind) {
                Some(option) => option.hours = option.hours.min(hours),
                None => {
                    let taken = takes(&estimate.share, &listing.offer.shape);
                    let parts = parts(taken, whole(listing)).map(|part| part.min(1.0) as f32);
                    let fraction = estimate.fraction as f32;
                    options.push(LaterOption { kind, hours, fraction, parts });
                }
            }
        }
        let from_now = |time| hours(between(now, time)) as f32;
        let least = options.iter().map(|option| option.hours).fold(f32::INFINITY, f32::min);
        Self {
            until: if evaluation.latest_start() > now {
                from_now(evaluation.latest_start())
            } else {
                0.0
            },
            // A late job is done as soon as can be.
            due: if evaluation.job.deadline > now {
                from_now(evaluation.job.deadline)
            } else {
                0.0
            }
            .max(if least.is_finite() { least } else { 0.0 }),
            options: options.into(),
        }
    }
}
