//! What is already paid for: how well it is used, and what a job on it is told.

use std::collections::BTreeMap;

use jiff::Timestamp;
use spotwise_api::convert::{alternative, time_text};
use spotwise_api::v1;
use spotwise_model::commitment::DIMENSION;
use spotwise_model::plan::{Alternative, RejectionReason};
use spotwise_model::{
    Attempt, CapacityType, Commitment, Instance, InstanceId, InstanceState, LedgerEntry, Offer,
    OfferKey, Price,
};

use super::live::LiveSnapshot;
use super::{Service, ServiceError};
use spotwise_control::view::offers::in_use;
use spotwise_store::LedgerFilter;

/// A span of a machine's life, in seconds.
type Span = (InstanceId, i64, i64);

impl Service {
    /// The commitments that pay now or will, with the machines that use them.
    pub(super) fn commitments(&self, live: &LiveSnapshot) -> Vec<v1::CommitmentView> {
        let used = in_use(&live.state);
        let declared = self.parts.market.commitments().iter();
        let now = live.now.market;
        let view = |commitment: &Commitment| v1::CommitmentView {
            name: commitment.name.clone(),
            instance_type: commitment.instance_type.to_string(),
            zone: commitment.zone.to_string(),
            machines: commitment.machines,
            in_use: match commitment.is_active(now) {
                true => used.get(commitment.name.as_str()).copied().unwrap_or(0),
                false => 0,
            },
            price_micros_per_hour: commitment.price.micros_per_hour(),
            from: time_text(commitment.from),
            until: time_text(commitment.until),
        };
        declared.filter(|commitment| commitment.until > now).map(view).collect()
    }

    /// How well each commitment was used within a period, up to now. `live` is from before
    /// this call: what has ended since is then in the ledger, and counts once.
    pub(super) async fn use_of_commitments(
        &self,
        period: &LedgerFilter,
        live: &LiveSnapshot,
    ) -> Result<Vec<v1::CommitmentUse>, ServiceError> {
        let commitments = self.parts.market.commitments();
        let now = live.now.market;
        let (from, to) = (
            period.since.unwrap_or(Timestamp::MIN),
            period.until.map_or(now, |until| until.min(now)),
        );
        let begun = |commitment: &Commitment| commitment.machine_seconds(from, to) > 0;
        if !commitments.iter().any(begun) {
            return Ok(Vec::new());
        }
        // A charge may reach into the period from before it.
        let before = LedgerFilter { until: Some(to), ..LedgerFilter::default() };
        let entries = self.parts.store.ledger(&before).await?;
        let used = used(&entries, live.state.instances.values(), now);
        let none = Vec::new();
        let report = |commitment: &Commitment| {
            let spans = used.get(commitment.name.as_str()).unwrap_or(&none);
            utilisation(commitment, spans, (from, to))
        };
        Ok(commitments.iter().filter(|commitment| begun(commitment)).map(report).collect())
    }
}

/// When machines were paid for by each commitment: from the ledger, and for machines not in
/// it yet.
fn used<'a>(
    entries: &'a [LedgerEntry],
    instances: impl Iterator<Item = &'a Instance>,
    now: Timestamp,
) -> BTreeMap<&'a str, Vec<Span>> {
    let mut used: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
    for entry in entries.iter().filter(|e| e.offer.market.capacity_type == CapacityType::Reserved) {
        if let Some(name) = entry.dimensions.get(DIMENSION) {
            let span = (entry.instance, entry.from.as_second(), entry.to.as_second());
            used.entry(name).or_default().push(span);
        }
    }
    for instance in instances {
        let end = match instance.state {
            InstanceState::Gone { settled: true, .. } => continue,
            InstanceState::Gone { at, .. } => at,
            _ => now,
        };
        for covered in &instance.coverage {
            let span = (instance.id, covered.from.as_second(), covered.until.min(end).as_second());
            used.entry(&covered.commitment).or_default().push(span);
        }
    }
    used
}

/// The used and unused part of a commitment within a period; both are exact to the
/// machine-second, and their dollars add up to the total commitment.
fn utilisation(
    commitment: &Commitment,
    spans: &[Span],
    (from, to): (Timestamp, Timestamp),
) -> v1::CommitmentUse {
    let committed = commitment.machine_seconds(from, to);
    let from = commitment.from.max(from).as_second();
    let to = commitment.until.min(to).as_second();
    let used = seconds(spans, from, to).min(committed);
    let all = commitment.price.charge(committed);
    let unused = commitment.price.charge(committed - used);
    v1::CommitmentUse {
        name: commitment.name.clone(),
        instance_type: commitment.instance_type.to_string(),
        zone: commitment.zone.to_string(),
        machines: commitment.machines,
        committed_seconds: committed,
        used_seconds: used,
        committed_micros: all.micros(),
        used_micros: (all - unused).micros(),
        unused_micros: unused.micros(),
    }
}

/// Machine-seconds within `from` to `to`; several charges of one machine and time
/// count once.
fn seconds(spans: &[Span], from: i64, to: i64) -> u64 {
    let clip = |span: &Span| (span.0, span.1.max(from), span.2.min(to));
    let mut spans: Vec<Span> = spans.iter().map(clip).filter(|span| span.1 < span.2).collect();
    spans.sort_unstable();
    let mut sum = 0;
    let mut reached: Option<(InstanceId, i64)> = None;
    for (instance, begin, end) in spans {
        let before = reached.filter(|(same, _)| *same == instance).map_or(i64::MIN, |last| last.1);
        sum += u64::try_from(end - begin.max(before)).unwrap_or(0);
        reached = Some((instance, end.max(before)));
    }
    sum
}

/// What a job on committed machines is told; `None` on others.
pub(super) fn why_paid(attempt: &Attempt, live: &LiveSnapshot) -> Option<String> {
    let machines = || attempt.instances.iter().filter_map(|id| live.state.instances.get(id));
    let over = |machine: &&Instance| machine.covered().is_none() && !machine.coverage.is_empty();
    if let Some((machine, covered)) =
        machines().find(over).and_then(|machine| Some((machine, machine.coverage.last()?)))
    {
        return Some(format!(
            "commitment {} paid for it until {}; it goes on on demand at {}",
            covered.commitment,
            time_text(covered.until),
            hourly(machine.on_demand)
        ));
    }
    let (covered, on_demand) = machines()
        .filter_map(|machine| Some((machine.covered()?, machine.on_demand)))
        .min_by_key(|(covered, _)| covered.until)?;
    Some(format!(
        "already paid for (commitment {} until {}): uses it instead of on-demand {}; it is charged \
         its effective {}",
        covered.commitment,
        time_text(covered.until),
        hourly(on_demand),
        hourly(covered.price)
    ))
}

/// The same for an offer that a job would take; empty for bought capacity.
pub(super) fn paid_offer(offers: &[Offer], key: &OfferKey) -> String {
    let found = offers.iter().find(|offer| offer.key == *key);
    let Some((offer, paid)) = found.and_then(|offer| {
        let free = offer.paid_for.iter().find(|paid| paid.free > 0);
        Some((offer, free.or(offer.paid_for.first())?))
    }) else {
        return String::new();
    };
    format!(
        " (already paid for, commitment {} until {}: instead of on-demand {})",
        paid.commitment,
        time_text(paid.until),
        hourly(offer.on_demand)
    )
}

pub(super) fn is_reserved(offer: &OfferKey) -> bool {
    offer.market.capacity_type == CapacityType::Reserved
}

/// An alternative for a job: next to what is already paid for, its cost is not more or
/// less.
pub(super) fn beside(other: &Alternative, is_paid: bool) -> v1::Alternative {
    let mut shown = alternative(other);
    if is_paid && other.why_not == Some(RejectionReason::Dearer) {
        "would be paid on top".clone_into(&mut shown.why_not);
    }
    shown
}

fn hourly(price: Price) -> String {
    format!("{}/h", spotwise_model::Money::from_micros(price.micros_per_hour()).human())
}

#[cfg(test)]
#[path = "commitments_tests.rs"]
mod tests;
