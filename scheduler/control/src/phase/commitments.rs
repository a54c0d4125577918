//! Which machines commitments pay for: starts and ends their covered spans.

use std::collections::BTreeMap;

use jiff::Timestamp;
use spotwise_model::{CapacityType, Commitment, CoveredSpan, Instance, Now};

use crate::core::due::Due;
use crate::core::{Change, State};
use spotwise_market::Market;

/// Ends the covered spans of commitments that have ended or are no longer declared, extends
/// those of renewed ones, and lets what is left pay for machines that run on demand: as
/// with reserved instances, whatever matches is paid for. What lies before `now` is never
/// paid for differently.
pub fn apply(state: &State, market: &Market, now: Now) -> Vec<Change> {
    if market.commitments().is_empty() && !state.instances.values().any(is_paid_for) {
        return Vec::new();
    }
    let now = now.market;
    let active = |c: &&Commitment| c.is_active(now);
    let mut left: BTreeMap<&str, (&Commitment, u32)> = market
        .commitments()
        .iter()
        .filter(active)
        .map(|commitment| (commitment.name.as_str(), (commitment, commitment.machines)))
        .collect();
    let mut changes = Vec::new();
    let mut bought: Vec<Instance> = Vec::new();
    for instance in state.instances.values().filter(|instance| !instance.ends()) {
        let Some(until) =
            instance.covered().map(|covered| paid_until(instance, covered, &mut left, now))
        else {
            bought.push(instance.clone());
            continue;
        };
        let after = instance.clone().paid_until(until, now);
        if after.covered().is_none() {
            bought.push(after);
        } else if after != *instance {
            changes.push(after.into());
        }
    }
    for instance in bought {
        let after = begin(instance, &mut left, now);
        if state.instances.get(&after.id) != Some(&after) {
            changes.push(after.into());
        }
    }
    changes
}

/// When a commitment that pays for a machine ends; declared ones are changes of the market.
pub fn due(state: &State, due: &mut Due) {
    let paid = state.instances.values().filter(|instance| is_paid_for(instance));
    due.market(paid.filter_map(Instance::covered).map(|covered| covered.until));
}

fn is_paid_for(instance: &Instance) -> bool {
    !instance.ended() && instance.covered().is_some()
}

/// Until when its commitment pays for a machine; `now` if it does not.
fn paid_until(
    instance: &Instance,
    covered: &CoveredSpan,
    left: &mut BTreeMap<&str, (&Commitment, u32)>,
    now: Timestamp,
) -> Timestamp {
    // Past its end nothing is drawn out: that time is billed on demand.
    if covered.until <= now {
        return now;
    }
    match left.get_mut(covered.commitment.as_str()) {
        Some((commitment, machines))
            if *machines > 0 && commitment.price == covered.price && pays(commitment, instance) =>
        {
            *machines -= 1;
            commitment.until
        }
        _ => now,
    }
}

fn pays(commitment: &Commitment, instance: &Instance) -> bool {
    commitment.instance_type == instance.offer.market.instance_type
        && commitment.zone == instance.offer.market.zone
}

/// Assigns an on-demand machine to what is left of the longest-lasting commitment, if any
/// has anything left for it.
fn begin(
    instance: Instance,
    left: &mut BTreeMap<&str, (&Commitment, u32)>,
    now: Timestamp,
) -> Instance {
    let on_demand =
        instance.offer.market.capacity_type == CapacityType::OnDemand && instance.accepts_work();
    let open = left
        .values_mut()
        .filter(|(commitment, machines)| on_demand && *machines > 0 && pays(commitment, &instance));
    // Of two that last as long the first by name.
    let best = open.reduce(|best, other| if other.0.until > best.0.until { other } else { best });
    match best {
        Some((commitment, machines)) => {
            *machines -= 1;
            instance.with_coverage(CoveredSpan {
                commitment: commitment.name.clone(),
                price: commitment.price,
                from: now,
                until: commitment.until,
            })
        }
        None => instance,
    }
}

#[cfg(test)]
#[path = "commitments_tests.rs"]
mod tests;
