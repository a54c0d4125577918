//! Limits on machines that are open at once: quotas of accounts, what one market has for
//! several pools, what pools' owners allow.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use spotwise_model::limit::{LimitKey, LimitUse};
use spotwise_model::pool::{Quota, vcpus};
use spotwise_model::{Instance, MarketKey, NodeShape, Offer, OfferKey, Pool, Supply};

use spotwise_solver::MachineLimit;

use crate::core::State;

/// Every limit that bears on the offers of this moment.
pub fn limits(state: &State, now: Timestamp) -> Vec<MachineLimit> {
    let offers = &state.seen.offers;
    let mut limits: Vec<MachineLimit> =
        state.pools.quotas.iter().map(|quota| of_quota(state, quota, offers, now)).collect();
    for pool in state.pools.pools.values() {
        limits.extend(of_pool(state, pool, offers));
    }
    limits.extend(shared_markets(offers));
    limits.retain(|limit| !limit.takes.is_empty());
    limits
}

/// What the machines of a pool count against, with its use, whatever is offered now: the
/// pool's own limits, then the quotas of its account.
pub fn of_one_pool(state: &State, pool: &Pool, now: Timestamp) -> Vec<LimitUse> {
    let own = of_pool(state, pool, &[]);
    let quotas = state.pools.quotas.iter().filter(|quota| quota.bears_on(pool));
    let quotas = quotas.map(|quota| of_quota(state, quota, &[], now));
    own.into_iter().chain(quotas).map(|limit| limit.state).collect()
}

/// Open machines that count against a quota, in vCPUs: all that may exist.
pub fn quota_used(state: &State, quota: &Quota) -> u64 {
    let counts = |machine: &&Instance| !machine.ended() && quota.counts(&machine.offer.market);
    state.instances.values().filter(counts).map(|machine| vcpus(&machine.shape)).sum()
}

fn of_quota(state: &State, quota: &Quota, offers: &[Offer], now: Timestamp) -> MachineLimit {
    let ours = quota_used(state, quota);
    let key = quota.key();
    // Refused at some use of ours, others have the rest.
    let of = match state.seen.refusals.known_full_at(&key, now) {
        Some(full_at) => quota.vcpus.min(full_at.max(ours)),
        None => quota.vcpus,
    };
    let takes = takes(offers, |offer| quota.counts(&offer.key.market), vcpus);
    MachineLimit { state: LimitUse { key, used: ours, of }, takes }
}

fn of_pool(state: &State, pool: &Pool, offers: &[Offer]) -> Vec<MachineLimit> {
    let open = || {
        let of_pool = |machine: &&Instance| !machine.ended() && machine.offer.pool == pool.name;
        state.instances.values().filter(of_pool)
    };
    let ours = |offer: &Offer| offer.key.pool == pool.name;
    let (limits, name) = (&pool.limits, || pool.name.clone());
    let machines = limits.machines.map(|most| MachineLimit {
        state: LimitUse {
            key: LimitKey::PoolMachines { pool: name() },
            used: open().count() as u64,
            of: most.into(),
        },
        takes: takes(offers, ours, |_| 1),
    });
    let gpus = limits.gpus.map(|most| MachineLimit {
        state: LimitUse {
            key: LimitKey::PoolGpus { pool: name() },
            used: open().map(|machine| u64::from(machine.shape.gpus)).sum(),
            of: most.into(),
        },
        takes: takes(offers, ours, |shape| shape.gpus.into()),
    });
    let spend = limits.price_per_hour.map(|most| {
        let micros =
            |price: spotwise_model::Price| u64::try_from(price.micros_per_hour()).unwrap_or(0);
        let at_launch = open().map(|machine| micros(machine.launch_price));
        let priced = offers.iter().filter(|offer| ours(offer));
        MachineLimit {
            state: LimitUse {
                key: LimitKey::PoolSpend { pool: name() },
                used: at_launch.sum(),
                of: micros(most),
            },
            takes: priced.map(|offer| (offer.key.clone(), micros(offer.price))).collect(),
        }
    });
    [machines, gpus, spend].into_iter().flatten().collect()
}

/// What a market has left, where several pools buy on it: they may not take it twice.
fn shared_markets(offers: &[Offer]) -> Vec<MachineLimit> {
    let mut by_market: BTreeMap<&MarketKey, BTreeSet<&OfferKey>> = BTreeMap::new();
    let mut free: BTreeMap<&MarketKey, Supply> = BTreeMap::new();
    for offer in offers {
        by_market.entry(&offer.key.market).or_default().insert(&offer.key);
        free.insert(&offer.key.market, offer.free);
    }
    let shared = by_market.into_iter().filter(|(_, keys)| keys.len() > 1);
    shared
        .map(|(market, keys)| MachineLimit {
            state: LimitUse {
                key: LimitKey::Market(market.clone()),
                used: 0,
                of: free[market].machines().into(),
            },
            takes: keys.into_iter().map(|key| (key.clone(), 1)).collect(),
        })
        .collect()
}

fn takes(
    offers: &[Offer],
    counts: impl Fn(&Offer) -> bool,
    units: impl Fn(&NodeShape) -> u64,
) -> BTreeMap<OfferKey, u64> {
    let counted = offers.iter().filter(|offer| counts(offer));
    let counted = counted.map(|offer| (offer.key.clone(), units(&offer.shape)));
    counted.filter(|(_, units)| *units > 0).collect()
}

#[cfg(test)]
mod tests {
    use spotwise_model::CapacityType;
    use spotwise_model::id::{InstanceType, Region};

    use super::*;
    use crate::fixture::{at, local_pool, machine, state_of};

    /// A provider refuses for its quota at some use of ours: others use the rest.
    #[test]
    fn what_a_refusal_tells_of_a_quota_is_believed_for_a_while() {
        let one = machine(1, "a", CapacityType::Spot);
        let quota = Quota {
            account: one.offer.market.account.clone(),
            region: one.offer.market.region.clone(),
            family: "P".to_owned(),
            types: BTreeSet::from([one.offer.market.instance_type.clone()]),
            capacity_type: CapacityType::Spot,
            vcpus: 64,
        };
        let mut state = state_of(vec![one.into()]);
        let limit = |state: &State, seconds| {
            let now = spotwise_model::time::after(at(0), std::time::Duration::from_secs(seconds));
            let LimitUse { used, of, .. } = of_quota(state, &quota, &[], now).state;
            (used, of)
        };
        assert_eq!(limit(&state, 0), (8, 64));
        state.seen.refusals.quota_full(quota.key(), 8, at(0));
        assert_eq!(limit(&state, 599), (8, 8));
        assert_eq!(limit(&state, 600), (8, 64), "it is tried again");
    }

    #[test]
    fn a_quota_bears_on_the_pools_that_may_buy_what_it_counts() {
        let quota = |types: &[&str], capacity_type| Quota {
            account: spotwise_model::id::Account::local(),
            region: Region::new("us-east-1"),
            family: "G".to_owned(),
            types: types.iter().map(InstanceType::new).collect(),
            capacity_type,
            vcpus: 64,
        };
        let spot = |types: &[&str]| quota(types, CapacityType::Spot);
        let mut pool = local_pool();
        assert!(spot(&["g4dn."]).bears_on(&pool), "it buys everything");
        pool.sells.types = BTreeSet::from([InstanceType::new("g4dn.xlarge")]);
        assert!(spot(&["g4dn."]).bears_on(&pool) && !spot(&["p3."]).bears_on(&pool));
        pool.sells.types = BTreeSet::from([InstanceType::new("p3.")]);
        assert!(spot(&["p3.2xlarge"]).bears_on(&pool), "a family that holds the type");
        pool.sells.capacity_types = BTreeSet::from([CapacityType::Reserved]);
        assert!(!spot(&["p3."]).bears_on(&pool));
        assert!(quota(&["p3."], CapacityType::OnDemand).bears_on(&pool));
        pool.sells.region = Some(Region::new("us-west-2"));
        assert!(!quota(&["p3."], CapacityType::OnDemand).bears_on(&pool));
    }
}
