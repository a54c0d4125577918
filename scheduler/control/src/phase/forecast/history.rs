//! What a forecast is fitted to: what this scheduler has observed of the zones and, for the
//! time before that, the market's recording.
//!
//! All zones are sampled at the same moments, one per step back from now, as the state of
//! one zone says something about the others. A moment that was not observed is left out for
//! all zones, along with enough others that whole days are left out: the hours of the day
//! stay in place. Nothing is substituted for what was not observed. Keeping only the spells
//! present on both sides of a gap would mean keeping only the spells that last.

use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::MarketKey;
use spotwise_solver::forecast::TrainingWindow;

use super::STEP;
use crate::core::AvailabilityHistory;
use crate::core::availability_history::RETENTION;
use spotwise_market::Market;

const DAY: Duration = Duration::from_secs(86_400);

/// Whether there were enough machines, zone by zone.
#[derive(Debug)]
pub(super) struct History {
    /// When the first step would have begun without gaps.
    pub(super) first: Timestamp,
    /// One entry per step, the last one now. A zone first observed later than others begins
    /// later.
    pub(super) zones: Vec<Vec<bool>>,
    /// How much history there is.
    pub(super) training: TrainingWindow,
}

impl History {
    /// The history of these markets, for jobs with this many nodes.
    pub(super) fn of(
        availability: &AvailabilityHistory,
        market: &Market,
        keys: &[&MarketKey],
        nodes: u32,
        now: Timestamp,
    ) -> Self {
        let moments = moments(availability, market, now);
        let zones: Vec<Vec<bool>> = keys
            .iter()
            .map(|key| {
                let counts =
                    moments.iter().map_while(|at| machines(availability, market, key, *at));
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

/// The moments at which the zones are sampled, latest first.
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

/// Machines of a market at one of those moments; `None` if unknown.
fn machines(
    availability: &AvailabilityHistory,
    market: &Market,
    key: &MarketKey,
    at: Timestamp,
) -> Option<u32> {
    availability.machines(key, at).or_else(|| {
        is_before(availability, key, at)
            .then(|| market.machines(&key.zone, &key.instance_type, at))
            .flatten()
    })
}

/// Whether that was before the first observation, which found the market.
fn is_before(availability: &AvailabilityHistory, key: &MarketKey, at: Timestamp) -> bool {
    match (availability.start(), availability.first(key)) {
        (Some(start), Some(first)) => at < start && first == start,
        (Some(start), None) => at < start,
        (None, _) => true,
    }
}

/// Since when a market has had machines for this many nodes, or too few: as far as it was
/// observed without a gap, and the market's recording before that. At most a day: no hazard
/// needs more.
pub(super) fn since(
    availability: &AvailabilityHistory,
    market: &Market,
    key: &MarketKey,
    nodes: u32,
    now: Timestamp,
) -> Timestamp {
    let earliest = now.checked_sub(DAY).unwrap_or(now);
    let (own, start) = (availability.since(key, nodes, earliest), availability.start());
    match own {
        Some(own) if Some(own) != start || own <= earliest => own,
        _ => {
            let (zone, kind) = (&key.zone, &key.instance_type);
            let there = availability.machines(key, now);
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

/// The time between consecutive moments of a history.
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
