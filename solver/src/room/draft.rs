//! A round's answer before it is explained, and what it costs.

use std::collections::BTreeMap;

use spotwise_model::plan::Target;

use crate::statement::market::Listing;
use crate::statement::round::Round;

/// Where a job goes: which of its candidates, and the machine of each node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) candidate: usize,
    pub(crate) targets: Vec<Target>,
}

/// A round's answer before it is explained: one entry per demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) assignments: Vec<Option<Assignment>>,
}

impl Draft {
    /// Everybody waits.
    pub(crate) fn empty(round: &Round<'_>) -> Self {
        Self { assignments: vec![None; round.demands.len()] }
    }
}

/// The i-th machine opened: idle ones first, they are up already.
pub(crate) fn opened_target(listing: &Listing<'_>, i: usize) -> Option<Target> {
    match listing.idle.get(i) {
        Some(id) => Some(Target::Existing(*id)),
        None => u32::try_from(i - listing.idle.len()).ok().map(Target::New),
    }
}

/// What a draft costs: opened machines as long as their longest job stays,
/// shares of running ones, lateness, and waiting.
pub(crate) fn objective(round: &Round<'_>, draft: &Draft) -> f64 {
    let mut machines: BTreeMap<(usize, Target), usize> = BTreeMap::new();
    let mut total = 0.0;
    for (demand, assignment) in round.demands.iter().zip(&draft.assignments) {
        let candidate =
            assignment.as_ref().and_then(|assignment| demand.candidates.get(assignment.candidate));
        let (Some(candidate), Some(assignment)) = (candidate, assignment) else {
            total += demand.wait;
            continue;
        };
        total += candidate.extra();
        for target in &assignment.targets {
            if is_used(round, candidate.listing(), target) {
                total += round.share_cost(&demand.request(candidate));
            } else {
                let bucket =
                    machines.entry((candidate.listing(), *target)).or_insert(candidate.bucket());
                *bucket = (*bucket).max(candidate.bucket());
            }
        }
    }
    let lives = machines.iter().map(|((at, _), bucket)| {
        let life = round.lifetime(*at, *bucket);
        round.market.listings.get(*at).map_or(0.0, |listing| listing.marginal(life))
    });
    total + lives.sum::<f64>()
}

/// Whether a target has work of others on it already.
pub(crate) fn is_used(round: &Round<'_>, at: usize, target: &Target) -> bool {
    match target {
        Target::New(_) => false,
        Target::Existing(id) => round
            .market
            .listings
            .get(at)
            .is_some_and(|listing| listing.used.iter().any(|(used, _)| used == id)),
    }
}
