//! One account: its quotas, and how its cloud behaves.

use std::collections::{BTreeMap, BTreeSet};

use super::cloud::CloudOptions;
use super::document::{AccountDocument, CloudDocument, QuotaDocument};
use super::fields::Problems;
use crate::id::{Account, Region};
use crate::pool::Quota;
use crate::spec::closest;
use crate::spec::error::{Problem, shown};

/// The regions in which pools of each account buy.
pub(super) type Bought = BTreeMap<String, BTreeSet<Region>>;

/// One account; `bought` says where its pools buy, if all of them could be read.
pub(super) fn read_account(
    document: AccountDocument,
    bought: Option<&Bought>,
    problems: &mut Problems,
) -> Option<(Account, Vec<Quota>, CloudOptions)> {
    let name = document.name.given()?;
    let regions = bought.map(|bought| bought.get(&name.0).cloned().unwrap_or_default());
    if regions.as_ref().is_some_and(BTreeSet::is_empty) {
        let message =
            format!("no pool buys with {}; remove it, or name it in a pool", shown(&name.0));
        problems.add(Problem::new("unused_account", message).key("name"));
        return None;
    }
    let account = Account::new(&name.0);
    let (mut quotas, mut keys) = (Vec::new(), BTreeSet::new());
    for (index, quota) in document.quotas.given().unwrap_or_default().into_iter().enumerate() {
        let Some(quota) = quota.and_then(|quota| read_quota(&account, quota)) else { continue };
        problems.under("quotas", |problems| {
            problems.item(index, |problems| {
                region_is_used(&quota.region, regions.as_ref(), problems);
                if !keys.insert(quota.key()) {
                    let message = "the quota of this region, family and capacity stands above \
                                   already; keep one of the two";
                    problems.add(Problem::new("duplicate_quota", message));
                }
            });
        });
        quotas.push(quota);
    }
    let cloud = document.simulated.given().map(cloud).unwrap_or_default();
    Some((account, quotas, cloud))
}

fn read_quota(account: &Account, document: QuotaDocument) -> Option<Quota> {
    Some(Quota {
        account: account.clone(),
        region: document.region.given()?,
        family: document.family.given()?.0,
        types: document.types.given()?.set(),
        capacity_type: document.capacity.given()?.0,
        vcpus: document.vcpus.given()?.0,
    })
}

/// A quota that limits nothing is probably meant for another region.
fn region_is_used(region: &Region, used: Option<&BTreeSet<Region>>, problems: &mut Problems) {
    let Some(used) = used.filter(|used| !used.contains(region)) else { return };
    let remedy = closest(region.as_str(), used.iter().map(Region::as_str))
        .map_or_else(|| "remove the quota".to_owned(), |near| format!("did you mean `{near}`?"));
    let message = format!("no pool of this account buys in {region}; {remedy}");
    problems.add(Problem::new("unused_quota", message).key("region"));
}

fn cloud(document: CloudDocument) -> CloudOptions {
    let usual = CloudOptions::default();
    let rate = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    CloudOptions {
        seed: document.seed.given().map_or(usual.seed, |n| n.0),
        boot: document.boot.given().unwrap_or(usual.boot),
        registration: document.registration.given().unwrap_or(usual.registration),
        terminate: document.terminate.given().unwrap_or(usual.terminate),
        answers: document.answers.given().unwrap_or(usual.answers),
        calls_per_second: document
            .calls_per_second
            .given()
            .map_or(usual.calls_per_second, |n| rate(n.0)),
        call_burst: document.call_burst.given().map_or(usual.call_burst, |n| rate(n.0)),
        list_lag: document.list_lag.given().unwrap_or(usual.list_lag),
        no_capacity: document.no_capacity.given().unwrap_or(usual.no_capacity),
        never_registers: document.never_registers.given().unwrap_or(usual.never_registers),
        lost_answers: document.lost_answers.given().unwrap_or(usual.lost_answers),
        no_notice: document.no_notice.given().unwrap_or(usual.no_notice),
        rebalance_rumours: document.rebalance_rumours.given().unwrap_or(usual.rebalance_rumours),
        foreign_vcpus: document.foreign_vcpus.given().map_or(usual.foreign_vcpus, |n| n.0),
    }
}
