//! From the operator's words on a simulated cloud to its specification.

use std::collections::BTreeMap;

use spotwise_market::Market;
use spotwise_model::id::{Account, InstanceType, Region};
use spotwise_model::pool::{Quota, vcpus};
use spotwise_model::pools_file::{self, CloudOptions, TimeRange};
use spotwise_model::{CapacityType, PoolSet};
use spotwise_simulated_cloud::{
    Behaviour, Bucket, Buckets, Chance, CloudSpec, Fault, QuotaSpec, Spread,
};

/// The account of a region, selling what the market has.
pub(in super::super) fn cloud_spec(
    account: &Account,
    region: &Region,
    pools: &PoolSet,
    options: &CloudOptions,
    market: &Market,
) -> CloudSpec {
    let of_account = |quota: &&Quota| quota.account == *account && quota.region == *region;
    CloudSpec {
        account: account.clone(),
        region: region.clone(),
        vcpus: sold(market),
        quotas: pools
            .quotas
            .iter()
            .filter(of_account)
            .map(|quota| QuotaSpec {
                family: quota.family.clone(),
                prefixes: quota.types.iter().map(|name| name.as_str().to_owned()).collect(),
                capacity_type: quota.capacity_type,
                // What somebody else uses is not ours.
                vcpus: quota.vcpus.saturating_sub(options.foreign_vcpus),
            })
            .collect(),
        buckets: buckets(options),
        billing: spotwise_simulated_cloud::Billing::default(),
        behaviour: behaviour(options, pools, account),
    }
}

fn sold(market: &Market) -> BTreeMap<InstanceType, u64> {
    let at = market.start();
    let shape = |(zone, name): (spotwise_model::id::Zone, InstanceType)| {
        let quote = market.quote(&zone, &name, CapacityType::OnDemand, at)?;
        Some((name, vcpus(&quote.shape)))
    };
    market.places().into_iter().filter_map(shape).collect()
}

fn buckets(options: &CloudOptions) -> Buckets {
    let bucket = Bucket { capacity: options.call_burst, per_second: options.calls_per_second };
    Buckets { launch: bucket, terminate: bucket, list: bucket, quotas: bucket }
}

fn behaviour(options: &CloudOptions, pools: &PoolSet, account: &Account) -> Behaviour {
    let mut of_account = pools.pools.values().filter(|pool| pool.account == *account);
    let notice_lead = of_account.next().map(|pool| pool.features.notice_lead);
    let mut behaviour = Behaviour {
        answer: spread(options.answers),
        boot: spread(options.boot),
        register: spread(options.registration),
        terminate: spread(options.terminate),
        list_lag: options.list_lag.most,
        ..Behaviour::default()
    };
    behaviour.notice_lead = notice_lead.unwrap_or(behaviour.notice_lead);
    let chances = [
        (Fault::PartialCapacity, options.no_capacity),
        (Fault::NeverRegisters, options.never_registers),
        (Fault::LaunchAnswerLost, options.lost_answers),
        (Fault::TerminateAnswerLost, options.lost_answers),
        (Fault::NoticeMissing, options.no_notice),
        (Fault::RebalanceOnly, options.rebalance_rumours),
    ];
    let chance = |chance: pools_file::Chance| Chance {
        per_million: chance.millionths(),
        lasts: std::time::Duration::ZERO,
    };
    behaviour.chances = chances
        .into_iter()
        .filter(|(_, it)| *it > pools_file::Chance::NEVER)
        .map(|(fault, it)| (fault, chance(it)))
        .collect();
    behaviour
}

fn spread(range: TimeRange) -> Spread {
    Spread { min: range.least, median: (range.least + range.most) / 2, max: range.most }
}
