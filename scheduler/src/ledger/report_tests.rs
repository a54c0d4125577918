use spotwise_model::id::{InstanceType, PoolName, Zone};
use spotwise_model::{CapacityType, InstanceId, OfferKey, Price};

use super::*;

fn entry(
    owner: Option<(u64, u32)>,
    kind: LineKind,
    amount: i64,
    tags: &[(&str, &str)],
) -> LedgerEntry {
    LedgerEntry {
        instance: InstanceId(1),
        sequence: 0,
        attempt: owner.map(|(job, number)| AttemptId { job: JobId(job), number }),
        kind,
        offer: OfferKey {
            pool: PoolName::new("local"),
            zone: Zone::new("us-east-1a"),
            instance_type: InstanceType::new("p3.2xlarge"),
            capacity_type: CapacityType::Spot,
        },
        from: Timestamp::from_second(0).unwrap(),
        to: Timestamp::from_second(60).unwrap(),
        price: Price::ZERO,
        amount: Money::from_micros(amount),
        on_demand_amount: Money::from_micros(if kind == LineKind::Waiver { 0 } else { amount * 3 }),
        method: "test".to_owned(),
        dimensions: tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    }
}

fn entries() -> Vec<LedgerEntry> {
    use LineKind::{Compute, Idle, LostWork, Startup, Waiver};
    let resnet = [("model", "resnet"), ("team", "vision")];
    let bert = [("model", "bert")];
    vec![
        entry(Some((1, 1)), Startup, 10, &resnet),
        entry(Some((1, 1)), Compute, 100, &resnet),
        entry(Some((1, 1)), LostWork, 30, &resnet),
        entry(Some((1, 2)), Startup, 11, &resnet),
        entry(Some((1, 2)), Compute, 200, &resnet),
        entry(Some((2, 1)), Compute, 7, &bert),
        entry(Some((2, 1)), Waiver, -7, &bert),
        entry(None, Idle, 5, &[]),
        entry(None, Waiver, -5, &[]),
    ]
}

fn micros(money: Money) -> i64 {
    money.micros()
}

#[test]
fn every_view_adds_up() {
    let report = CostReport::new(&entries());
    assert_eq!(report.check(), Ok(()));
    assert_eq!(micros(report.total.paid), 351);
    assert_eq!(micros(report.total.on_demand), 3 * 363);
    assert_eq!(micros(report.total.saved), 3 * 363 - 351);
    assert_eq!(micros(report.idle.paid), 0);
    assert_eq!(micros(report.idle.of(LineKind::Idle)), 5);
    let jobs: Vec<_> = report.jobs.iter().map(|job| (job.job.0, micros(job.totals.paid))).collect();
    assert_eq!(jobs, [(1, 351), (2, 0)]);
    let attempts: Vec<_> = report.jobs[0].attempts.iter().map(|a| micros(a.totals.paid)).collect();
    assert_eq!(attempts, [140, 211]);
}

#[test]
fn dimensions_show_who_has_none() {
    let report = CostReport::new(&entries());
    let rows = |name| -> Vec<(Option<String>, i64)> {
        let cost = report.by(name).unwrap();
        cost.rows.iter().map(|row| (row.value.clone(), micros(row.totals.on_demand))).collect()
    };
    assert_eq!(rows("model"), [(Some("bert".into()), 21), (Some("resnet".into()), 3 * 351)]);
    assert_eq!(rows("team"), [(None, 21), (Some("vision".into()), 3 * 351)]);
    assert!(report.by("cost-centre").is_none());
}

#[test]
fn interruptions_have_a_price() {
    let cost = CostReport::new(&entries()).interruptions;
    let figures = [cost.lost_work, cost.restarts, cost.waived, cost.net].map(micros);
    assert_eq!(figures, [30, 11, -12, 29], "the first startup is not a restart");
}

#[test]
fn a_report_that_does_not_add_up_is_found() {
    let sound = CostReport::new(&entries());
    let one = Money::from_micros(1);
    let broken: [fn(&mut CostReport, Money); 6] = [
        |report, one| report.total.paid += one,
        |report, one| report.total.on_demand += one,
        |report, one| report.idle.on_demand += one,
        |report, one| report.jobs[1].totals.paid += one,
        |report, one| report.jobs[0].attempts[1].totals.paid += one,
        |report, one| report.dimensions[1].rows[0].totals.paid += one,
    ];
    for (number, damage) in broken.into_iter().enumerate() {
        let mut report = sound.clone();
        damage(&mut report, one);
        assert!(report.check().is_err(), "{number}");
    }
}

#[test]
fn a_report_travels_as_json() {
    let report = CostReport::new(&entries());
    let text = serde_json::to_string(&report).unwrap();
    assert!(text.contains(r#""by_kind":{"compute":307"#), "{text}");
    assert_eq!(serde_json::from_str::<CostReport>(&text).unwrap(), report);
}

#[test]
fn nothing_costs_nothing() {
    assert_eq!(CostReport::new(&[]).check(), Ok(()));
}
