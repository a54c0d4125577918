//! Machines and limits as rows.

use std::collections::BTreeMap;

use jiff::Timestamp;
use spotwise_model::instance::EndedBy;
use spotwise_model::limit::{LimitKey, LimitUse};
use spotwise_model::{AttemptId, Instance, InstanceState, Money, Price};

use super::{optional_time_text, time_text};
use crate::v1;

/// What is known of a machine beyond its row.
#[derive(Clone, Debug, Default)]
pub struct MachineFigures {
    /// What it costs an hour now.
    pub price: Price,
    /// What it has cost so far, by who pays: nobody pays for time that nobody used.
    pub shares: BTreeMap<Option<AttemptId>, Money>,
    /// Live attempts on it.
    pub attempts: Vec<AttemptId>,
}

/// A machine's row.
pub fn machine_view(machine: &Instance, figures: &MachineFigures) -> v1::MachineView {
    let (market, shape) = (&machine.offer.market, &machine.shape);
    let (cause, reason) = why_it_goes(machine);
    let share = |(attempt, amount): (&Option<AttemptId>, &Money)| v1::MachineShare {
        attempt: attempt.map(|attempt| attempt.to_string()).unwrap_or_default(),
        micros: amount.micros(),
    };
    let (ended, reclaim_at) = match machine.state {
        InstanceState::Gone { at, .. } => (Some(at), None),
        InstanceState::Noticed { reclaim_at, .. } => (None, Some(reclaim_at)),
        _ => (None, None),
    };
    v1::MachineView {
        id: machine.id.to_string(),
        pool: machine.offer.pool.to_string(),
        provider_id: machine.provider.as_ref().map(ToString::to_string).unwrap_or_default(),
        instance_type: market.instance_type.to_string(),
        zone: market.zone.to_string(),
        capacity_type: market.capacity_type.to_string(),
        accelerator: shape.accelerator.as_ref().map(ToString::to_string).unwrap_or_default(),
        gpus: shape.gpus,
        cpus: shape.cpu_milli as f64 / 1_000.0,
        memory_mib: shape.memory_mib,
        state: machine.state.name().to_owned(),
        since: time_text(state_since(&machine.state)),
        billed_since: optional_time_text(machine.since()),
        ended: optional_time_text(ended),
        reclaim_at: optional_time_text(reclaim_at),
        price_micros_per_hour: figures.price.micros_per_hour(),
        accrued_micros: figures.shares.values().copied().sum::<Money>().micros(),
        shares: figures.shares.iter().map(share).collect(),
        attempts: figures.attempts.iter().map(ToString::to_string).collect(),
        cause: cause.to_owned(),
        reason,
        commitment: machine.covered().map(|it| it.commitment.clone()).unwrap_or_default(),
    }
}

/// When a state began; for one that is registered, from when it is billed.
const fn state_since(state: &InstanceState) -> Timestamp {
    match state {
        InstanceState::Requested { at, .. } | InstanceState::Terminating { at, .. } => at.market,
        InstanceState::Booting { since, .. } | InstanceState::Registered { since } => *since,
        InstanceState::Noticed { at, .. }
        | InstanceState::Draining { at, .. }
        | InstanceState::Gone { at, .. } => *at,
    }
}

/// Why a machine goes, as a word and in words; empty for one that stays.
fn why_it_goes(machine: &Instance) -> (&'static str, String) {
    match machine.state {
        InstanceState::Requested { .. }
        | InstanceState::Booting { .. }
        | InstanceState::Registered { .. } => ("", String::new()),
        InstanceState::Noticed { reclaim_at, .. } => {
            ("notice", format!("its provider takes it back at {}", time_text(reclaim_at)))
        }
        InstanceState::Draining { cause, .. } => (cause.name(), cause.to_string()),
        InstanceState::Terminating { cause, .. } => (cause.name(), cause.to_string()),
        InstanceState::Gone { since: None, .. } => ("us", "it never existed".to_owned()),
        InstanceState::Gone { by: EndedBy::Us, .. } => ("us", "given back".to_owned()),
        InstanceState::Gone { by: EndedBy::Provider, .. } => {
            ("provider", "its provider took it back".to_owned())
        }
    }
}

/// A limit with its use; `declared` is what its owner has stated, if that differs.
pub fn limit_view(limit: &LimitUse, declared: Option<u64>) -> v1::LimitView {
    let kind = match limit.key {
        LimitKey::Quota { .. } => "quota",
        LimitKey::Market(_) => "market",
        LimitKey::PoolMachines { .. } => "machines",
        LimitKey::PoolGpus { .. } => "gpus",
        LimitKey::PoolSpend { .. } => "price",
    };
    v1::LimitView {
        kind: kind.to_owned(),
        name: limit.key.to_string(),
        unit: limit.key.unit().to_owned(),
        used: limit.used,
        of: limit.of,
        declared: declared.unwrap_or(limit.of),
    }
}

#[cfg(test)]
mod tests {
    use spotwise_model::id::{InstanceType, PoolName, Zone};
    use spotwise_model::instance::DrainCause;
    use spotwise_model::{CapacityType, InstanceId, JobId, NodeShape, OfferKey};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_row_says_who_pays_and_why_it_goes() {
        let machine = Instance {
            id: InstanceId(5),
            offer: OfferKey::recorded(
                PoolName::new("cloud"),
                Zone::new("us-east-1a"),
                InstanceType::new("p3.2xlarge"),
                CapacityType::Spot,
            ),
            shape: NodeShape::default(),
            launch_price: Price::ZERO,
            on_demand: Price::ZERO,
            state: InstanceState::Registered { since: at(0) },
            coverage: Vec::new(),
            provider: None,
            token: None,
        };
        let attempt = AttemptId { job: JobId(17), number: 1 };
        let figures = MachineFigures {
            shares: [(None, Money::from_micros(3)), (Some(attempt), Money::from_micros(4))].into(),
            ..MachineFigures::default()
        };
        let row = machine_view(&machine, &figures);
        assert_eq!((row.id.as_str(), row.accrued_micros, row.cause.as_str()), ("i5", 7, ""));
        assert_eq!((row.shares[0].attempt.as_str(), row.shares[1].attempt.as_str()), ("", "j17.1"));
        let drained = machine.drain(at(60), DrainCause::PoolLeaves).unwrap();
        let row = machine_view(&drained, &figures);
        assert_eq!((row.state.as_str(), row.cause.as_str()), ("draining", "pool-leaves"));
        assert_eq!(
            (row.since.as_str(), row.billed_since.as_str()),
            ("1970-01-01T00:01:00Z", "1970-01-01T00:00:00Z")
        );
        let gone = drained.end(at(90), EndedBy::Provider).unwrap();
        let row = machine_view(&gone, &figures);
        assert_eq!((row.cause.as_str(), row.ended.as_str()), ("provider", "1970-01-01T00:01:30Z"));
    }
}
