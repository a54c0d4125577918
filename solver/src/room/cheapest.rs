//! The cheapest place for one job in the room that is left.

use super::machines::Room;
use super::slot::Fit;
use crate::statement::demand::{JobDemand, Request};

/// What a job finds.
pub(crate) enum Found {
    /// The cheapest of its candidates that fits and is better than waiting.
    Best(usize, Request, Fit),
    /// What may fit is no better than waiting.
    Dearer,
    /// Nothing fits.
    Nothing,
}

/// Looks for a job's place.
pub(crate) fn cheapest(demand: &JobDemand<'_>, room: &Room<'_, '_>) -> Found {
    let mut best: Option<(usize, Request, Fit)> = None;
    let mut dearer = false;
    for (index, candidate) in demand.candidates.iter().enumerate() {
        let bar = best.as_ref().map_or(demand.wait, |(.., fit)| fit.cost);
        if candidate.extra() >= bar {
            dearer = true;
            continue;
        }
        let request = demand.request(candidate);
        match room.fit(&request) {
            Some(fit) if fit.cost < bar => best = Some((index, request, fit)),
            Some(_) => dearer = true,
            None => {}
        }
    }
    match best {
        Some((candidate, request, fit)) => Found::Best(candidate, request, fit),
        None if dearer => Found::Dearer,
        None => Found::Nothing,
    }
}
