//! Machine time that classes of jobs have been charged for, hour by hour: the
//! past part of their spot shares.

use std::collections::BTreeMap;

use jiff::Timestamp;
use spotwise_model::ledger::LineKind;
use spotwise_model::policy::MOST_BAND_WINDOW;
use spotwise_model::spec::Class;
use spotwise_model::{CapacityType, LedgerEntry, Price};

const HOUR: i64 = 3_600;

/// Machine time by hour (market time) and class. Hours too old for any policy to need are
/// dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassHours {
    hours: BTreeMap<i64, BTreeMap<Class, MachineTime>>,
}

/// Thousandths of a machine-second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MachineTime {
    /// On spot.
    pub spot: u64,
    /// On demand.
    pub on_demand: u64,
}

impl ClassHours {
    /// Adds what a class is charged for on a machine with that on-demand price. Its part of
    /// the machine is its part of that price; a machine that is free on demand has no price
    /// for a band to act on, and counts for nothing.
    pub fn add(&mut self, class: Class, entry: &LedgerEntry, on_demand: Price) {
        let used = matches!(entry.kind, LineKind::Startup | LineKind::Compute | LineKind::LostWork);
        let (from, to) = (entry.from.as_second(), entry.to.as_second());
        let hourly = i128::from(on_demand.micros_per_hour());
        if !used || from >= to || hourly <= 0 {
            return;
        }
        let whole = i128::from(entry.on_demand_amount.micros()) * 3_600_000 / hourly;
        let last = to.div_euclid(HOUR);
        let first = from.div_euclid(HOUR).max(last - most_hours());
        for hour in first..=last {
            let (start, end) = (from.max(hour * HOUR), to.min((hour + 1) * HOUR));
            let part = whole * i128::from(end - start) / i128::from(to - from);
            let part = u64::try_from(part).unwrap_or(0);
            if part == 0 {
                continue;
            }
            let time = self.hours.entry(hour).or_default().entry(class).or_default();
            match entry.offer.market.capacity_type {
                CapacityType::Spot => time.spot += part,
                CapacityType::OnDemand => time.on_demand += part,
                CapacityType::Reserved => {}
            }
        }
        if let (Some(oldest), Some(newest)) =
            (self.hours.keys().next().copied(), self.hours.keys().next_back().copied())
            && oldest < newest - most_hours()
        {
            self.hours = self.hours.split_off(&(newest - most_hours()));
        }
    }

    /// What each class has been charged for since a moment, to the hour.
    pub fn since(&self, from: Timestamp) -> BTreeMap<Class, MachineTime> {
        let mut sums: BTreeMap<Class, MachineTime> = BTreeMap::new();
        let first = from.as_second().div_euclid(HOUR);
        for (class, time) in self.hours.range(first..).flat_map(|(_, classes)| classes) {
            let sum = sums.entry(*class).or_default();
            sum.spot += time.spot;
            sum.on_demand += time.on_demand;
        }
        sums
    }
}

fn most_hours() -> i64 {
    i64::try_from(MOST_BAND_WINDOW.as_secs()).unwrap_or(i64::MAX) / HOUR
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use spotwise_model::id::{InstanceType, PoolName, Zone};
    use spotwise_model::{AttemptId, InstanceId, JobId, Money, OfferKey};

    use super::*;

    const DAY: i64 = 86_400;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Half of a machine of two dollars an hour.
    fn half(kind: LineKind, capacity_type: CapacityType, from: i64, to: i64) -> LedgerEntry {
        LedgerEntry {
            instance: InstanceId(1),
            sequence: 0,
            attempt: Some(AttemptId { job: JobId(1), number: 1 }),
            kind,
            offer: OfferKey::recorded(
                PoolName::new("local"),
                Zone::new("a"),
                InstanceType::new("p3.2xlarge"),
                capacity_type,
            ),
            from: at(from),
            to: at(to),
            price: Price::from_micros_per_hour(600_000),
            amount: Money::ZERO,
            on_demand_amount: Money::from_micros((to - from) * 1_000_000 / HOUR),
            method: String::new(),
            dimensions: BTreeMap::new(),
            provider: None,
            category: Default::default(),
            gpu_millionths: 0,
            booked: None,
        }
    }

    fn add(hours: &mut ClassHours, kind: LineKind, capacity: CapacityType, from: i64, to: i64) {
        let price = Price::from_micros_per_hour(2_000_000);
        hours.add(Class::Training, &half(kind, capacity, from, to), price);
    }

    #[test]
    fn charges_count_by_the_part_of_the_machine_and_by_the_hour() {
        let mut hours = ClassHours::default();
        add(&mut hours, LineKind::Startup, CapacityType::Spot, 0, 1_800);
        add(&mut hours, LineKind::Compute, CapacityType::Spot, 1_800, 3 * HOUR);
        add(&mut hours, LineKind::LostWork, CapacityType::OnDemand, 2 * HOUR, 3 * HOUR);
        for kind in [LineKind::Idle, LineKind::Waiver, LineKind::Storage, LineKind::Network] {
            add(&mut hours, kind, CapacityType::Spot, 0, HOUR);
        }
        add(&mut hours, LineKind::Compute, CapacityType::Reserved, 0, HOUR);
        let of = |from| hours.since(at(from)).get(&Class::Training).copied().unwrap_or_default();
        // Half a machine for three hours and for one.
        assert_eq!(of(0), MachineTime { spot: 5_400_000, on_demand: 1_800_000 });
        assert_eq!(of(2 * HOUR), MachineTime { spot: 1_800_000, on_demand: 1_800_000 });
        assert_eq!(of(4 * HOUR), MachineTime::default());
    }

    #[test]
    fn what_no_policy_asks_for_is_forgotten_and_free_machines_count_nothing() {
        let mut hours = ClassHours::default();
        add(&mut hours, LineKind::Compute, CapacityType::Spot, 0, HOUR);
        add(&mut hours, LineKind::Compute, CapacityType::Spot, 40 * DAY, 40 * DAY + HOUR);
        assert_eq!(hours.since(at(0))[&Class::Training].spot, 1_800_000);
        add(&mut hours, LineKind::Compute, CapacityType::Spot, 0, 400 * DAY);
        assert!(hours.hours.len() as i64 <= most_hours() + 1);
        let mut none = ClassHours::default();
        let entry = half(LineKind::Compute, CapacityType::Spot, 0, HOUR);
        none.add(Class::Training, &entry, Price::ZERO);
        assert_eq!(none, ClassHours::default());
    }
}
