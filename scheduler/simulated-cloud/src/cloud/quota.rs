//! The account's quotas, and what counts against them.

use jiff::Timestamp;
use spotwise_model::limit::{LimitKey, LimitUse};
use spotwise_model::{CapacityType, MarketKey};

use super::SimulatedCloud;
use super::calls::Kind;
use crate::call::Call;
use crate::error::CloudError;
use crate::fault::Fault;
use crate::outage::Subject;
use crate::spec::QuotaSpec;
use crate::throttle::Action;

/// A quota's use after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaUse {
    /// When it changed.
    pub at: Timestamp,
    /// Whether a machine was launched; otherwise one stopped counting.
    pub launched: bool,
    /// How much is used since, and of what: a quota that is cut may be below its use, but
    /// nothing is launched then.
    pub usage: LimitUse,
}

const QUOTAS: Kind = Kind { action: Action::Quotas, never_arrived: None, answer_lost: None };

impl SimulatedCloud {
    /// The account's quotas with their use: machines of others count, and so do those that
    /// were just terminated.
    ///
    /// # Errors
    ///
    /// As every call: throttled, expired credentials, unreachable.
    pub fn quotas(&mut self, at: Timestamp) -> Call<Result<Vec<LimitUse>, CloudError>> {
        self.call(&QUOTAS, &Subject::default(), at, |cloud| Ok(cloud.quota_use()))
    }

    pub(super) fn limit_use(&self, index: usize) -> Option<LimitUse> {
        let cut = self.faults.goes_on(Fault::QuotaCut, &Subject::default(), self.now);
        self.limit_use_if(index, cut)
    }

    fn limit_use_if(&self, index: usize, cut: bool) -> Option<LimitUse> {
        let (spec, used) = (self.spec.quotas.get(index)?, *self.quota_used.get(index)?);
        let key = LimitKey::Quota {
            account: self.spec.account.clone(),
            region: self.spec.region.clone(),
            family: spec.family.clone(),
            capacity_type: spec.capacity_type,
        };
        let percent = if cut { self.spec.behaviour.cut_quota_percent.min(100) } else { 100 };
        let of = u128::from(spec.vcpus) * u128::from(percent) / 100;
        Some(LimitUse { key, used, of: u64::try_from(of).unwrap_or(u64::MAX) })
    }

    /// Whether the account may have one more; quotas may be cut just now.
    pub(super) fn room_in_quota(&mut self, market: &MarketKey) -> Result<(), CloudError> {
        let Some(index) = self.quota_of(market) else { return Ok(()) };
        let cut = self.strikes(Fault::QuotaCut, &Subject::default());
        match self.limit_use_if(index, cut) {
            Some(usage) if usage.left() < self.vcpus(market) => {
                let quota = usage.key;
                Err(match market.capacity_type {
                    CapacityType::Spot => CloudError::MaxSpotInstanceCountExceeded { quota },
                    _ => CloudError::VcpuLimitExceeded { quota },
                })
            }
            _ => Ok(()),
        }
    }

    /// Counts a machine that was launched.
    pub(super) fn use_quota(&mut self, market: &MarketKey) {
        let vcpus = self.vcpus(market);
        self.change_quota(market, true, |used| used.saturating_add(vcpus));
    }

    /// Counts a machine no more.
    pub(super) fn free_quota(&mut self, market: &MarketKey) {
        let vcpus = self.vcpus(market);
        self.change_quota(market, false, |used| used.saturating_sub(vcpus));
    }

    fn change_quota(&mut self, market: &MarketKey, launched: bool, change: impl Fn(u64) -> u64) {
        let Some(index) = self.quota_of(market) else { return };
        if let Some(used) = self.quota_used.get_mut(index) {
            *used = change(*used);
        }
        let usage = self.limit_use(index);
        self.quota_history.extend(usage.map(|usage| QuotaUse { at: self.now, launched, usage }));
    }

    fn vcpus(&self, market: &MarketKey) -> u64 {
        self.spec.vcpus.get(&market.instance_type).copied().unwrap_or(0)
    }

    /// The place of the first quota that counts such machines.
    fn quota_of(&self, market: &MarketKey) -> Option<usize> {
        let counts = |quota: &QuotaSpec| quota.counts(&market.instance_type, market.capacity_type);
        self.spec.quotas.iter().position(counts)
    }
}
