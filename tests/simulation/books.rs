//! What a world has cost and what happened in it, judged apart from the ledger's
//! own code.

use std::collections::BTreeMap;
use std::time::Duration;

use spotwise_model::instance::EndedBy;
use spotwise_model::ledger::LineKind;
use spotwise_model::time::{after, between};
use spotwise_model::{
    CapacityType, CoveredSpan, Instance, InstanceId, InstanceState, JobId, JobState, Money, Outcome,
};

use crate::world::World;

impl World {
    /// The ledger against a meter of its own: whole seconds times the price in
    /// force, as exact fractions.
    pub(crate) fn check_books(&self) {
        let mut booked: BTreeMap<InstanceId, Money> = BTreeMap::new();
        let mut keys = std::collections::BTreeSet::new();
        for entry in &self.committed.ledger {
            assert!(keys.insert((entry.instance, entry.sequence)), "charged twice");
            *booked.entry(entry.instance).or_default() += entry.amount;
        }
        for instance in self.committed.instances.values() {
            let InstanceState::Gone { settled: true, .. } = instance.state else { continue };
            let (exact, rounding) = self.meter(instance);
            let booked = booked.remove(&instance.id).unwrap_or_default().micros();
            let difference = (i128::from(booked) * 3_600 - exact).abs();
            assert!(
                difference <= rounding * 3_600,
                "{}: booked {booked}, metered {exact}/3600",
                instance.id
            );
        }
        assert!(booked.is_empty(), "charges for machines that never were: {booked:?}");
        for job in self.committed.jobs.values() {
            assert_eq!(job.spent, self.spent_on(job.id), "{}", job.id);
        }
    }

    /// Micro-dollar-seconds per hour, and how often the ledger may have rounded.
    fn meter(&self, instance: &Instance) -> (i128, i128) {
        let InstanceState::Gone { since: Some(since), at, by, .. } = instance.state else {
            panic!("only ended machines are metered")
        };
        let offer = &instance.offer;
        let spot = offer.market.capacity_type == CapacityType::Spot;
        if spot && by == EndedBy::Provider && between(since, at) < Duration::from_secs(3_600) {
            return (0, 0);
        }
        if instance.coverage.iter().any(CoveredSpan::pays) {
            return committed(instance, since.as_second(), at.as_second());
        }
        let end = at.max(after(since, Duration::from_secs(60)));
        let mut segments = self.market.segments(
            &offer.market.zone,
            &offer.market.instance_type,
            offer.market.capacity_type,
            since,
            at.max(after(since, Duration::from_secs(1))),
        );
        if let Some(last) = segments.last_mut() {
            last.to = end;
        }
        let cost = segments.iter().map(|segment| {
            let seconds = segment.to.as_second() - segment.from.as_second();
            i128::from(segment.price.micros_per_hour()) * i128::from(seconds)
        });
        // Rounded once a segment and line of a job's life.
        (cost.sum(), segments.len() as i128 * 4 + 4)
    }

    pub(crate) fn spent_on(&self, job: JobId) -> Money {
        self.committed
            .ledger
            .iter()
            .filter(|entry| entry.job() == Some(job))
            .map(|e| e.amount)
            .sum()
    }

    /// The events of one job, in words.
    pub(crate) fn history_of(&self, job: JobId) -> Vec<&str> {
        let name = format!(" {job} ");
        self.committed
            .history
            .iter()
            .map(String::as_str)
            .filter(|line| line.contains(&name))
            .collect()
    }

    /// How often what happened.
    pub(crate) fn happened(&self) -> BTreeMap<&'static str, u64> {
        let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
        let mut count =
            |what, happened: bool| *counts.entry(what).or_default() += u64::from(happened);
        for job in self.committed.jobs.values() {
            count("succeeded", matches!(job.state, JobState::Succeeded { .. }));
            count("cancelled", matches!(job.state, JobState::Cancelled { .. }));
        }
        for attempt in self.committed.attempts.values() {
            let outcome = attempt.state.outcome();
            count("interrupted", outcome == Some(&Outcome::Interrupted));
            count("lost", outcome == Some(&Outcome::Lost));
            count("resumed", attempt.restore.is_some());
            count("on-demand", attempt.offer.market.capacity_type == CapacityType::OnDemand);
        }
        for entry in &self.committed.ledger {
            count("waived", entry.kind == LineKind::Waiver);
            count("committed", entry.offer.market.capacity_type == CapacityType::Reserved);
        }
        counts
    }
}

/// The same of a machine that commitments have paid for a while: second by second,
/// without a minimum.
fn committed(instance: &Instance, since: i64, at: i64) -> (i128, i128) {
    let price = |second: i64| {
        let paid = |covered: &&CoveredSpan| {
            (covered.from.as_second()..covered.until.as_second()).contains(&second)
        };
        let covered = instance.coverage.iter().find(paid);
        covered.map_or(instance.on_demand, |covered| covered.price).micros_per_hour()
    };
    let cost = (since..at).map(|second| i128::from(price(second))).sum();
    (cost, instance.coverage.len() as i128 * 12 + 8)
}
