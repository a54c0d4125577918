use spotwise_model::id::{InstanceType, PoolName, Zone};
use spotwise_model::{AttemptId, CapacityType, OfferKey, Price};

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
        offer: OfferKey::recorded(
            PoolName::new("local"),
            Zone::new("us-east-1a"),
            InstanceType::new("p3.2xlarge"),
            CapacityType::Spot,
        ),
        from: at(0),
        to: at(60),
        price: Price::ZERO,
        amount: Money::from_micros(micros),
        on_demand_amount: Money::from_micros(micros * 3),
        method: "test".to_owned(),
        dimensions: BTreeMap::from([("Team".to_owned(), team.to_owned())]),
        provider: None,
        category: Default::default(),
        gpu_millionths: 0,
        booked: None,
    }
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
    let known = BTreeMap::from([1, 2].map(|id| (JobId(id), Money::from_micros(60))));
    let by = |names: &[&str]| {
        let group_by: Vec<String> = names.iter().map(ToString::to_string).collect();
        let scope = Scope {
            group_by: &group_by,
            since: None,
            until: None,
            zone: &TimeZone::UTC,
            now: at(60),
        };
        let rows = add_up(&entries, &[], &scope).unwrap().rows;
        let row = |row: &Row| (row.keys.join("/"), quoted(&row.jobs, &known));
        rows.iter().map(row).collect::<Vec<_>>()
    };
    let named = |rows: &[(&str, i64)]| -> Vec<(String, i64)> {
        rows.iter().map(|(name, quoted)| ((*name).to_owned(), *quoted)).collect()
    };
    assert_eq!(by(&["Team"]), named(&[("ml", 120), ("", 0), ("web", 0)]));
    assert_eq!(by(&["job"]), named(&[("j1", 60), ("j2", 60), ("", 0), ("j3", 0)]));
    assert_eq!(by(&[]), named(&[("", 0)]), "one of them is not known");
}

#[test]
fn a_tag_that_no_charge_has_is_told() {
    let entries = [entry(1, LineKind::Compute, 100, "ml")];
    let warned = |names: &[&str], filters: &[(&str, &str)]| {
        let query = v1::CostQuery {
            group_by: names.iter().map(ToString::to_string).collect(),
            filters: filters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..Default::default()
        };
        unknown_labels(&query, entries.iter())
    };
    let hint = "no charge here has the tag `team`; did you mean `Team`?";
    assert_eq!(warned(&["team"], &[]), [hint]);
    assert_eq!(warned(&["Team", "model", "day", "job", "kind", "commitment"], &[]), [""; 0]);
    assert_eq!(warned(&[], &[("team", "ml")]), [hint]);
    assert_eq!(warned(&["owner"], &[]), ["no charge here has the tag `owner`"]);
    let near = "no charge here has the tag `instancetype`; did you mean `instance_type`?";
    assert_eq!(warned(&["instancetype"], &[]), [near]);
    let query = v1::CostQuery { group_by: vec!["team".to_owned()], ..Default::default() };
    assert_eq!(unknown_labels(&query, [].iter()), [""; 0], "where there are no charges");
}

#[test]
fn bounds_are_times_or_days_of_the_zone() {
    let read = |text: &str, zone: &str| {
        let zone = super::zone(zone).unwrap();
        let bound = bound("since", text, &zone);
        bound.map(|time| time.map(|time| time.to_string())).map_err(|e| e.field().to_owned())
    };
    let some = |text: &str| Ok(Some(text.to_owned()));
    assert_eq!(read("", ""), Ok(None));
    assert_eq!(read("2026-03-07", ""), some("2026-03-07T00:00:00Z"));
    assert_eq!(read("2026-03-07T10:00", ""), some("2026-03-07T10:00:00Z"));
    assert_eq!(read("2026-03-07T10:00:00+02:00", ""), some("2026-03-07T08:00:00Z"));
    assert_eq!(read("2026-03-07", "America/New_York"), some("2026-03-07T05:00:00Z"));
    assert_eq!(read("2026-03-09", "America/New_York"), some("2026-03-09T04:00:00Z"));
    for bad in ["yesterday", "2026-02-30", "2026-3-7", "7 March", "2026-03-07x", "202603-07", "5"] {
        assert_eq!(read(bad, ""), Err("since".to_owned()), "{bad}");
    }
    for bad in ["Mars/Olympus", "../../etc/passwd", "+02:00", "EST5EDT,M3.2.0,M11.1.0"] {
        assert_eq!(super::zone(bad).unwrap_err().field(), "timezone", "{bad}");
    }
    let filters = BTreeMap::from([("day".to_owned(), "2026-03-07".to_owned())]);
    let query = v1::CostQuery { filters, ..Default::default() };
    assert_eq!(check(&query).unwrap_err().field(), "filters");
}

#[test]
fn a_report_that_cuts_jobs_has_no_quotes() {
    let query = |by: &str| v1::CostQuery { group_by: vec![by.to_owned()], ..Default::default() };
    assert!(whole_jobs(&query("model")) && whole_jobs(&query("Team")));
    for by in ["kind", "zone", "attempt", "capacity_type", "day"] {
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
