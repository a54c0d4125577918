//! Jobs that a limit on machines holds up: which one, by how much, and until when.

use spotwise_model::WaitReason;
use spotwise_model::limit::LimitUse;

use crate::reserve::time_of;
use crate::room::machines::Room;
use crate::statement::choice::JobEvaluation;
use crate::statement::demand::JobDemand;
use crate::statement::ends::leaving;
use crate::statement::limits::Taking;
use crate::statement::market::Market;
use crate::statement::round::Round;
use crate::statement::value::{Estimate, affordable, kind_allows};

/// When the first machine that counts against each limit is expected to end, in hours from
/// now; nothing where there are no limits.
pub(crate) struct LimitEnds(Vec<Option<f64>>);

impl LimitEnds {
    /// With what the whole plan leaves.
    pub(crate) fn new(round: &Round<'_>, room: &Room<'_, '_>) -> Self {
        if round.market.machine_limits.is_empty() {
            return Self(Vec::new());
        }
        let known = &round.reserved.leaving;
        Self(if known.is_empty() {
            room.limit_ends(&leaving(round.input))
        } else {
            room.limit_ends(known)
        })
    }
}

/// For a job that nothing holds from the start: the limit that keeps its cheapest offer from
/// being there, where a limit alone does.
pub(crate) fn none_allowed(
    round: &Round<'_>,
    room: &Room<'_, '_>,
    ends: &LimitEnds,
    evaluation: &JobEvaluation<'_>,
) -> Option<WaitReason> {
    let market = &round.market;
    if market.machine_limits.is_empty() {
        return None;
    }
    let suits = |e: &&Estimate| {
        market.listings.get(e.listing).is_some_and(|listing| kind_allows(evaluation.job, listing))
            && affordable(evaluation.job, e)
    };
    let held = |e: &Estimate| market.held_back(e.listing, &e.share, evaluation.nodes);
    let suitable = evaluation.estimates.iter().filter(suits);
    cheapest(suitable.filter_map(|e| Some((e, held(e)?)))).map(|by| reached(round, room, ends, by))
}

/// The same for a job that others leave nothing: the limit that they use up.
pub(crate) fn none_left(
    round: &Round<'_>,
    room: &Room<'_, '_>,
    ends: &LimitEnds,
    (demand, evaluation): (&JobDemand<'_>, &JobEvaluation<'_>),
) -> Option<WaitReason> {
    if round.market.machine_limits.is_empty() {
        return None;
    }
    let held = |e: &Estimate| {
        let candidate = demand.candidate_on(e.listing)?;
        room.held_back(&demand.request(candidate))
    };
    let estimates = evaluation.estimates.iter();
    cheapest(estimates.filter_map(|e| Some((e, held(e)?)))).map(|by| reached(round, room, ends, by))
}

fn cheapest<'e>(held: impl Iterator<Item = (&'e Estimate, Taking)>) -> Option<Taking> {
    held.min_by(|(a, _), (b, _)| a.alone.total_cmp(&b.alone)).map(|(_, by)| by)
}

fn reached(round: &Round<'_>, room: &Room<'_, '_>, ends: &LimitEnds, by: Taking) -> WaitReason {
    let next_end = ends.0.get(by.limit).copied().flatten().map(|hour| time_of(round, hour));
    match round.market.machine_limits.get(by.limit) {
        Some(limit) => {
            let bought = limit.state.left().saturating_sub(room.left_of(by.limit));
            let used = limit.state.used.saturating_add(bought);
            let limit = LimitUse { used, ..limit.state.clone() };
            WaitReason::LimitReached { limit, needs: by.takes, next_end }
        }
        None => WaitReason::Outbid,
    }
}

/// That a limit never allows the machines that a job needs, in words: of its cheapest offer.
/// `None` where no limit is to blame.
pub(crate) fn never_allowed(market: &Market<'_>, evaluation: &JobEvaluation<'_>) -> Option<String> {
    let suits = |e: &&Estimate| {
        market.listings.get(e.listing).is_some_and(|listing| kind_allows(evaluation.job, listing))
    };
    let estimates = evaluation.never_allowed.iter().filter(suits);
    let e = estimates.min_by(|a, b| a.alone.total_cmp(&b.alone))?;
    let takings = market.listings.get(e.listing)?.takings.iter();
    let limits = takings.filter_map(|by| Some((&market.machine_limits.get(by.limit)?.state, by)));
    let (limit, by) = limits.min_by_key(|(limit, by)| limit.of / by.takes)?;
    Some(limit.never_allows(evaluation.nodes, by.takes))
}
