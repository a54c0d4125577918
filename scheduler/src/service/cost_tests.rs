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
