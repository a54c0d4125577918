use spotwise_model::id::{InstanceType, PoolName, Zone};
use spotwise_model::{CapacityType, OfferKey, Price};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn entry(job: u64, kind: LineKind, micros: i64, team: &str) -> LedgerEntry {
    LedgerEntry {
        instance: InstanceId(1),
        sequence: 0,
        attempt: (job > 0).then_some(AttemptId { job: JobId(job), number: 1 }),
        kind,
        offer: OfferKey {
            pool: PoolName::new("local"),
            zone: Zone::new("us-east-1a"),
            instance_type: InstanceType::new("p3.2xlarge"),
            capacity_type: CapacityType::Spot,
        },
        from: at(0),
        to: at(60),
        price: Price::ZERO,
        amount: Money::from_micros(micros),
        on_demand_amount: Money::from_micros(micros * 3),
        method: "test".to_owned(),
        dimensions: BTreeMap::from([("Team".to_owned(), team.to_owned())]),
    }
}

#[test]
fn rows_add_up_to_the_total_by_any_dimension() {
    let entries = [
        entry(1, LineKind::Compute, 100, "ml"),
        entry(1, LineKind::Waiver, -30, "ml"),
        entry(2, LineKind::Compute, 41, "web"),
        entry(0, LineKind::Idle, 7, ""),
    ];
    for group_by in [&["Team"][..], &["job", "kind"], &["zone"], &["nothing"], &[]] {
        let group_by: Vec<String> = group_by.iter().map(ToString::to_string).collect();
        let (rows, total) = add_up(&entries, &group_by).unwrap();
        assert_eq!(total.total_micros, 118);
        assert_eq!(rows.iter().map(|row| row.total_micros).sum::<i64>(), 118, "{group_by:?}");
        assert_eq!(rows.iter().map(|row| row.waiver_micros).sum::<i64>(), -30);
        assert_eq!(total.on_demand_micros, 354);
    }
    let (rows, _) = add_up(&entries, &["Team".to_owned()]).unwrap();
    let keys: Vec<&str> = rows.iter().map(|row| row.keys[0].as_str()).collect();
    assert_eq!(keys, ["ml", "web", ""], "dearest first");
}

#[test]
fn shares_of_one_machine_count_its_time_once() {
    let one = InstanceId(1);
    let used = vec![(one, at(0), at(60)), (one, at(0), at(60)), (one, at(30), at(90))];
    assert_eq!(machine_seconds(used.clone()), 90);
    let two = used.into_iter().chain([(InstanceId(2), at(0), at(10))]).collect();
    assert_eq!(machine_seconds(two), 100);
}

#[test]
fn filters_compare_literally() {
    let charge = entry(1, LineKind::Compute, 1, "ml");
    let with = |name: &str, value: &str| {
        let filters = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        passes(&filters, |name| value_of(&charge, name))
    };
    assert!(with("Team", "ml") && with("job", "j1") && with("capacity_type", "spot"));
    assert!(!with("Team", "m%") && !with("Team", "' OR 1=1--") && !with("Owner", "me"));
}

#[test]
fn a_period_that_ends_before_it_begins_is_refused() {
    let query = v1::CostQuery {
        since: "2026-03-02T00:00:00Z".to_owned(),
        until: "2026-03-01T00:00:00Z".to_owned(),
        ..v1::CostQuery::default()
    };
    assert_eq!(check(&query).unwrap_err().field(), "until");
    let twice = v1::CostQuery { group_by: vec!["job".into(), "job".into()], ..Default::default() };
    assert_eq!(check(&twice).unwrap_err().field(), "group_by");
}

#[test]
fn a_row_has_a_quote_where_all_its_jobs_are_done_and_quoted() {
    let entries = [
        entry(1, LineKind::Compute, 100, "ml"),
        entry(2, LineKind::Compute, 41, "ml"),
        entry(3, LineKind::Compute, 7, "web"),
        entry(0, LineKind::Idle, 7, ""),
    ];
    let quoted = BTreeMap::from([1, 2].map(|id| (JobId(id), Money::from_micros(60))));
    let by = |names: &[&str]| {
        let group_by: Vec<String> = names.iter().map(ToString::to_string).collect();
        let (mut rows, _) = add_up(&entries, &group_by).unwrap();
        quote_rows(&mut rows, &entries, &group_by, &quoted);
        rows.into_iter().map(|row| (row.keys.join("/"), row.quoted_micros)).collect::<Vec<_>>()
    };
    let named = |rows: &[(&str, i64)]| -> Vec<(String, i64)> {
        rows.iter().map(|(name, quoted)| ((*name).to_owned(), *quoted)).collect()
    };
    assert_eq!(by(&["Team"]), named(&[("ml", 120), ("", 0), ("web", 0)]));
    assert_eq!(by(&["job"]), named(&[("j1", 60), ("j2", 60), ("", 0), ("j3", 0)]));
    assert_eq!(by(&[]), named(&[("", 0)]), "one of them is not known");
}

#[test]
fn a_report_that_cuts_jobs_has_no_quotes() {
    let query = |by: &str| v1::CostQuery { group_by: vec![by.to_owned()], ..Default::default() };
    assert!(whole_jobs(&query("model")) && whole_jobs(&query("Team")));
    for by in ["kind", "zone", "attempt", "capacity_type"] {
        assert!(!whole_jobs(&query(by)), "{by}");
    }
    let since = "2023-02-14T00:00:00Z".to_owned();
    assert!(!whole_jobs(&v1::CostQuery { since, ..query("model") }));
}

#[test]
fn the_quality_of_quotes_is_told_by_ranks() {
    let of = |ratios: &[f64]| {
        let quality = quality(ratios.to_vec());
        (quality.jobs, quality.median_ratio, quality.p90_ratio)
    };
    assert_eq!(of(&[]), (0, 0.0, 0.0));
    assert_eq!(of(&[1.5]), (1, 1.5, 1.5));
    let ten: Vec<f64> = (1..=10).rev().map(f64::from).collect();
    assert_eq!(of(&ten), (10, 5.0, 9.0));
}
