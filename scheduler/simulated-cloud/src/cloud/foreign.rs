//! Somebody else in the account.

use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::id::ProviderId;
use spotwise_model::{InstanceId, MarketKey};

use super::SimulatedCloud;
use super::life::Due;
use crate::error::CloudError;
use crate::fault::Fault;
use crate::machine::Mark;

impl SimulatedCloud {
    /// Lets the foreign tenant open a machine now and close it after `keeps`. It carries the
    /// given mark, if any, which should not be a caller's.
    ///
    /// # Errors
    ///
    /// No capacity, quota used up, or not sold: the tenant has the same account.
    pub fn open_foreign(
        &mut self,
        market: &MarketKey,
        mark: Option<Mark>,
        keeps: Duration,
        at: Timestamp,
    ) -> Result<ProviderId, CloudError> {
        self.settle(at);
        self.open_for_tenant(market, mark, keeps)
    }

    fn open_for_tenant(
        &mut self,
        market: &MarketKey,
        mark: Option<Mark>,
        keeps: Duration,
    ) -> Result<ProviderId, CloudError> {
        self.sold(market)?;
        self.room_in_quota(market)?;
        self.room_in_market(market)?;
        let number = self.open_machine(market, mark, true);
        self.faults.count(Fault::ForeignMachine);
        let boot = self.spec.behaviour.boot;
        let boots_in = self.dice.span(&boot);
        self.arrange_in(boots_in, Due::Boots { number, register: None });
        self.arrange_in(keeps, Due::ForeignCloses { number });
        let machine = self.machines.get(number).ok_or(CloudError::InternalError)?;
        Ok(machine.id.clone())
    }

    pub(super) fn expect_foreign_tenant(&mut self) {
        let Some(tenant) = &self.spec.behaviour.foreign_tenant else { return };
        let span = self.dice.span(&tenant.every);
        // Nobody opens machines without end in no time.
        self.arrange_in(span.max(Duration::from_secs(1)), Due::ForeignOpens);
    }

    /// Opens one if there is room, and expects the next.
    pub(super) fn foreign_tenant_opens(&mut self) {
        let Some(tenant) = &self.spec.behaviour.foreign_tenant else { return };
        let market = tenant.markets.get(self.dice.index(tenant.markets.len())).cloned();
        let keeps = self.dice.span(&tenant.keeps);
        let instance = InstanceId(u64::try_from(self.machines.len()).unwrap_or(0) + 1);
        let token = format!("theirs-{instance}");
        let mark =
            Mark { install: tenant.install.clone(), pool: tenant.pool.clone(), instance, token };
        let mark = self.dice.hits(500_000).then_some(mark);
        if let Some(market) = market {
            // Without room there is no machine; the tenant tries again later.
            let _ = self.open_for_tenant(&market, mark, keeps);
        }
        self.expect_foreign_tenant();
    }
}
