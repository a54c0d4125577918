use spotwise_model::id::{InstanceType, Zone};
use spotwise_model::{Money, Price};

use super::*;
use crate::service::testing::Bench;
use spotwise_control::fixture::{at, machine};

fn commitment(machines: u32) -> Commitment {
    Commitment {
        name: "research-a".to_owned(),
        instance_type: InstanceType::new("m"),
        zone: Zone::new("a"),
        machines,
        price: Price::from_micros_per_hour(1_000_000),
        from: at(0),
        until: at(10),
    }
}

fn entry(instance: u64, from: i64, to: i64) -> LedgerEntry {
    let machine = machine(instance, "a", CapacityType::Reserved);
    LedgerEntry {
        instance: machine.id,
        sequence: 0,
        attempt: None,
        kind: spotwise_model::ledger::LineKind::Compute,
        offer: machine.offer,
        from: at(from),
        to: at(to),
        price: Price::ZERO,
        amount: Money::ZERO,
        on_demand_amount: Money::ZERO,
        method: String::new(),
        dimensions: BTreeMap::from([(DIMENSION.to_owned(), "research-a".to_owned())]),
        provider: None,
        category: Default::default(),
        gpu_millionths: 0,
        booked: None,
    }
}

#[test]
fn used_and_unused_hours_are_those_of_the_period() {
    let live = machine(7, "a", CapacityType::OnDemand).with_coverage(spotwise_model::CoveredSpan {
        commitment: "research-a".to_owned(),
        price: Price::ZERO,
        from: at(3),
        until: at(10),
    });
    // Two jobs side by side on one machine, another machine, and one that lives.
    let entries = [entry(1, 0, 2), entry(1, 1, 4), entry(2, 0, 1)];
    let spans = used(&entries, std::iter::once(&live), at(8));
    let of = |from, to| {
        let row = utilisation(&commitment(2), &spans["research-a"], (at(from), at(to)));
        assert_eq!(row.used_micros + row.unused_micros, row.committed_micros);
        (row.committed_seconds / 3_600, row.used_seconds / 3_600, row.unused_micros / 1_000_000)
    };
    assert_eq!(of(0, 8), (16, 4 + 1 + 5, 6));
    assert_eq!(of(0, 4), (8, 4 + 1 + 1, 2), "cut where the period ends");
    assert_eq!(of(4, 8), (8, 4, 4));
    assert_eq!(of(20, 30), (0, 0, 0));
}

#[test]
fn a_job_is_told_what_pays_for_its_machine() {
    let key = machine(1, "a", CapacityType::Reserved).offer;
    let offer = Offer {
        key: key.clone(),
        shape: spotwise_model::NodeShape::default(),
        price: Price::from_micros_per_hour(1_920_000),
        on_demand: Price::from_micros_per_hour(3_060_000),
        free: 1.into(),
        spell_since: at(0),
        hazard_per_hour: 0.0,
        changeover: std::time::Duration::ZERO,
        paid_for: vec![spotwise_model::PaidFor {
            commitment: "research-a".to_owned(),
            price: Price::from_micros_per_hour(1_920_000),
            until: at(9),
            free: 1,
        }],
    };
    let text = paid_offer(std::slice::from_ref(&offer), &key);
    assert!(text.contains("commitment research-a") && text.contains("on-demand $3.06/h"), "{text}");
    assert_eq!(paid_offer(&[], &key), "");
    let view = spotwise_api::convert::offer_view(&offer, 1);
    assert_eq!((view.commitment.as_str(), view.capacity_type.as_str()), ("research-a", "reserved"));
    assert_eq!(view.paid_until, time_text(at(9)));
}

#[test]
fn more_use_than_was_committed_is_never_a_negative_rest() {
    let entries = [entry(1, 0, 5), entry(2, 0, 5)];
    let spans = used(&entries, std::iter::empty(), at(5));
    let row = utilisation(&commitment(1), &spans["research-a"], (at(0), at(5)));
    assert_eq!((row.used_seconds, row.unused_micros), (5 * 3_600, 0));
}

#[tokio::test]
async fn a_report_has_a_line_of_its_own_for_unused_hours() {
    let now: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
    let hours = |hours| spotwise_model::time::add(now, jiff::SignedDuration::from_hours(hours));
    let paid = Commitment {
        instance_type: InstanceType::new("p3.2xlarge"),
        zone: Zone::new("us-east-1a"),
        from: hours(-4),
        until: hours(4),
        ..commitment(2)
    };
    let bench = Bench::with_commitments(vec![paid]).await;
    let report = bench.service.cost(v1::CostQuery::default()).await.unwrap();
    let row = &report.commitments[0];
    assert_eq!((row.committed_seconds, row.used_seconds), (8 * 3_600, 0));
    assert_eq!(report.unused_commitments_micros, 8_000_000);
    assert_eq!(report.total.unwrap().total_micros, 0, "no job caused it");
    let since = hours(-1).to_string();
    let hour = v1::CostQuery { since, ..v1::CostQuery::default() };
    let report = bench.service.cost(hour).await.unwrap();
    assert_eq!(report.unused_commitments_micros, 2_000_000);
    let filters = BTreeMap::from([("Team".to_owned(), "ml".to_owned())]);
    let of_team = v1::CostQuery { filters, ..v1::CostQuery::default() };
    let report = bench.service.cost(of_team).await.unwrap();
    assert_eq!((report.commitments.len(), report.unused_commitments_micros), (0, 0));
    let info = bench.service.info().await.unwrap();
    assert_eq!((info.commitments[0].machines, info.commitments[0].in_use), (2, 0));
}
