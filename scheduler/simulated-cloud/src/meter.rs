//! The provider's own meter: written apart from any ledger, to check them by.

use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::id::ProviderId;
use spotwise_model::instance::EndedBy;
use spotwise_model::{CapacityType, MarketKey, Money};

use crate::machine::{Machine, Mark};
use crate::market::CloudMarket;
use crate::spec::Billing;

/// What one machine costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterLine {
    /// The machine.
    pub machine: ProviderId,
    /// Whose it is; `None` for one that carries no mark.
    pub mark: Option<Mark>,
    /// What it is.
    pub market: MarketKey,
    /// The first second that is billed.
    pub from: Timestamp,
    /// The end of the last; for a machine that goes on, as if it ended now.
    pub to: Timestamp,
    /// Who ended it; `None` while it goes on.
    pub ended_by: Option<EndedBy>,
    /// Whether it is free, because the provider took it back early.
    pub waived: bool,
    /// What is owed for it.
    pub amount: Money,
}

impl MeterLine {
    /// Whole seconds that are billed.
    pub fn seconds(&self) -> u64 {
        u64::try_from(self.to.as_second() - self.from.as_second()).unwrap_or(0)
    }

    /// Whole seconds from launch until the machine stopped, or until `now`; billed from
    /// launch, registered or not.
    pub(crate) fn of(
        machine: &Machine,
        billing: &Billing,
        market: &dyn CloudMarket,
        now: Timestamp,
    ) -> Option<Self> {
        if machine.launched > now {
            return None;
        }
        let stop = machine.stopped.filter(|stop| stop.at <= now);
        let ended_by = stop.map(|stop| stop.by());
        let from = machine.launched.as_second();
        let lived = stop.map_or(now, |stop| stop.at).as_second().max(from);
        let to = lived.max(from.saturating_add(seconds(billing.minimum)));
        let waived = machine.market.capacity_type == CapacityType::Spot
            && ended_by == Some(EndedBy::Provider)
            && lived - from < seconds(billing.waiver);
        let moment = |second| Timestamp::from_second(second).unwrap_or(Timestamp::MAX);
        let (from, lived, to) = (moment(from), moment(lived), moment(to));
        let amount = match waived {
            true => Money::ZERO,
            false => market.charge(&machine.market, from, lived, to),
        };
        let (machine, mark, market) =
            (machine.id.clone(), machine.mark.clone(), machine.market.clone());
        Some(Self { machine, mark, market, from, to, ended_by, waived, amount })
    }
}

fn seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}
