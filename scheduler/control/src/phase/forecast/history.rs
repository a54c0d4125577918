//! What a forecast is fitted to: what this scheduler has seen of the zones and,
//! from before it first looked, what the market's recording says.
//!
//! All zones are looked at at the same moments, one a step back from now, as the
//! state of one zone says something of the others. A moment at which nobody looked
//! is left out for all zones, and with it so much more that whole days are left
//! out: the hours of the day stay where they are. Nothing takes the place of what
//! was not seen. To keep the spells that are there on both sides of a gap, and only
//! those, would be to see only the spells that last.

use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::OfferKey;
use spotwise_solver::forecast::TrainingWindow;

use super::STEP;
use crate::core::AvailabilityHistory;
use crate::core::availability_history::RETENTION;
use spotwise_market::Market;

const DAY: Duration = Duration::from_secs(86_400);

/// Whether there were machines enough, zone by zone.
#[derive(Debug)]
pub(super) struct History {
    /// When the first step began, were there no gaps.
    pub(super) first: Timestamp,
    /// One a step, the last one now. A zone that was seen later than others begins
    /// later.
    pub(super) zones: Vec<Vec<bool>>,
    /// How much there is of it.
    pub(super) training: TrainingWindow,
}

impl History {
    /// Of these offers, for jobs with so many nodes.
    pub(super) fn of(
        availability: &AvailabilityHistory,
        market: &Market,
        offers: &[&OfferKey],
        nodes: u32,
        now: Timestamp,
    ) -> Self {
        let moments = moments(availability, market, now);
        let zones: Vec<Vec<bool>> = offers
            .iter()
            .map(|offer| {
                let counts =
                    moments.iter().map_while(|at| machines(availability, market, offer, *at));
                let mut seen: Vec<bool> = counts.map(|machines| machines >= nodes).collect();
                seen.reverse();
                seen
            })
            .collect();
        let steps = |moments: usize| {
            STEP.saturating_mul(u32::try_from(moments.saturating_sub(1)).unwrap_or(u32::MAX))
        };
        let longest = steps(zones.iter().map(Vec::len).max().unwrap_or(0));
        let own = moments.iter().filter(|at| availability.is_observed(**at)).count();
        let training = TrainingWindow {
            span: longest,
            own: steps(own).min(longest),
            spells: zones.iter().map(|seen| runs(seen)).sum(),
        };
        Self { first: now.checked_sub(longest).unwrap_or(now), zones, training }
    }
}

fn runs(seen: &[bool]) -> usize {
    seen.chunk_by(|a, b| a == b).count()
}

/// The moments at which the zones are looked at, the latest first.
fn moments(availability: &AvailabilityHistory, market: &Market, now: Timestamp) -> Vec<Timestamp> {
    let begin = availability.start();
    let known = |at: Timestamp| match begin {
        Some(begin) if at >= begin => availability.is_observed(at),
        Some(_) | None => at >= market.start(),
    };
    let oldest = now.checked_sub(RETENTION).unwrap_or(Timestamp::MIN);
    let mut moments = Vec::new();
    let mut next = Some(now);
    while let Some(at) = next.filter(|at| *at >= oldest) {
        let back = if known(at) {
            moments.push(at);
            STEP
        } else {
            DAY
        };
        next = at.checked_sub(back).ok();
    }
    moments
}

/// Machines of an offer at a moment of those; none where that is not known.
fn machines(
    availability: &AvailabilityHistory,
    market: &Market,
    offer: &OfferKey,
    at: Timestamp,
) -> Option<u32> {
    availability.machines(offer, at).or_else(|| {
        is_before(availability, offer, at)
            .then(|| market.machines(&offer.zone, &offer.instance_type, at))
            .flatten()
    })
}

/// Whether that was before the first look, which found the offer there.
fn is_before(availability: &AvailabilityHistory, offer: &OfferKey, at: Timestamp) -> bool {
    match (availability.start(), availability.first(offer)) {
        (Some(start), Some(first)) => at < start && first == start,
        (Some(start), None) => at < start,
        (None, _) => true,
    }
}

/// Since when an offer has machines for so many nodes, or has too few: as far as
/// it was watched without a gap, and the market's recording before that. A day at
/// most: no hazard asks for more.
pub(super) fn since(
    availability: &AvailabilityHistory,
    market: &Market,
    offer: &OfferKey,
    nodes: u32,
    now: Timestamp,
) -> Timestamp {
    let earliest = now.checked_sub(DAY).unwrap_or(now);
    let (own, start) = (availability.since(offer, nodes, earliest), availability.start());
    match own {
        Some(own) if Some(own) != start || own <= earliest => own,
        _ => {
            let (zone, kind) = (&offer.zone, &offer.instance_type);
            let there = availability.machines(offer, now);
            let before = start.and_then(|start| start.checked_sub(Duration::from_secs(1)).ok());
            let same = before.and_then(|before| {
                let machines = market.machines(zone, kind, before)?;
                ((machines >= nodes) == (there? >= nodes)).then_some(before)
            });
            let since = same.and_then(|at| market.since(zone, kind, nodes, (earliest, at)));
            since.or(own).unwrap_or(now)
        }
    }
}

/// The time between two moments of a history that follow each other.
#[cfg(test)]
pub(super) fn pauses(
    availability: &AvailabilityHistory,
    market: &Market,
    now: Timestamp,
) -> Vec<Duration> {
    let moments = moments(availability, market, now);
    let pause = |pair: &[Timestamp]| spotwise_model::time::between(pair[1], pair[0]);
    moments.windows(2).map(pause).collect()
}
