use proptest::prelude::*;
use spotwise_model::id::{InstanceType, PoolName, Zone};
use spotwise_model::{AttemptId, CapacityType, InstanceId, OfferKey, Price};

use super::*;

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A charge of ten minutes on machine 1.
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
        offer: OfferKey::recorded(
            PoolName::new("local"),
            Zone::new("us-east-1a"),
            InstanceType::new("p3.2xlarge"),
            CapacityType::Spot,
        ),
        from: at(0),
        to: at(600),
        price: Price::ZERO,
        amount: Money::from_micros(amount),
        on_demand_amount: Money::from_micros(if kind == LineKind::Waiver { 0 } else { amount * 3 }),
        method: "test".to_owned(),
        dimensions: tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        provider: None,
        category: Default::default(),
        gpu_millionths: 0,
        booked: None,
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

fn names(group_by: &[&str]) -> Vec<String> {
    group_by.iter().map(ToString::to_string).collect()
}

fn report_of(
    settled: &[LedgerEntry],
    accrued: &[LedgerEntry],
    group_by: &[&str],
    (since, until): (Option<i64>, Option<i64>),
    now: i64,
) -> CostReport {
    let group_by = names(group_by);
    let scope = Scope {
        group_by: &group_by,
        since: since.map(at),
        until: until.map(at),
        zone: &TimeZone::UTC,
        now: at(now),
    };
    let report = CostReport::new(settled, accrued, &scope, 100_000).unwrap();
    assert_eq!(report.check(), Ok(()));
    report
}

fn totals(report: &CostReport) -> Vec<(String, i64)> {
    report.rows.iter().map(|row| (row.keys.join("/"), row.sums.total.micros())).collect()
}

fn owned(rows: &[(&str, i64)]) -> Vec<(String, i64)> {
    rows.iter().map(|(name, micros)| ((*name).to_owned(), *micros)).collect()
}

#[test]
fn every_view_adds_up() {
    for by in [&["model"][..], &["team"], &["job", "kind"], &["attempt"], &["nothing"], &[]] {
        let report = report_of(&entries(), &entries(), by, (None, None), 600);
        let sums = &report.total.sums;
        assert_eq!((sums.total.micros(), sums.on_demand.micros()), (702, 6 * 363), "{by:?}");
        assert_eq!((sums.settled.micros(), sums.accrued.micros()), (351, 351));
    }
    let report = report_of(&entries(), &[], &["model"], (None, None), 600);
    assert_eq!(totals(&report), owned(&[("resnet", 351), ("", 0), ("bert", 0)]));
    let jobs = report.rows[0].jobs.iter().copied().collect::<Vec<_>>();
    assert_eq!(jobs, [Some(JobId(1))]);
}

#[test]
fn a_job_is_spread_over_the_hours_in_which_it_ran() {
    // From 02:32 to 04:37, 125 minutes at three dollars an hour.
    let (begin, end) = (2 * 3_600 + 32 * 60, 4 * 3_600 + 37 * 60);
    let mut ran = entry(Some((1, 1)), LineKind::Compute, 6_250_000, &[]);
    (ran.from, ran.to) = (at(begin), at(end));
    let hours = |settled: &[LedgerEntry], accrued: &[LedgerEntry], now| {
        let report = report_of(settled, accrued, &["hour"], (None, None), now);
        let row = |row: &Row| (row.keys[0].clone(), row.sums.total.micros(), row.closed);
        report.rows.iter().map(row).collect::<Vec<_>>()
    };
    let row =
        |hour: u32, micros, closed| (format!("1970-01-01T{hour:02}:00:00+00:00"), micros, closed);
    let done = [row(2, 1_400_000, true), row(3, 3_000_000, true), row(4, 1_850_000, false)];
    assert_eq!(hours(&[ran.clone()], &[], end), done, "the hour of its end is not over");
    // While it runs it accrues up to now, and hours that are over are as later.
    let now = 3 * 3_600 + 30 * 60;
    (ran.to, ran.amount) = (at(now), Money::from_micros(2_900_000));
    let open = [row(2, 1_400_000, false), row(3, 1_500_000, false)];
    assert_eq!(hours(&[], &[ran], now), open);
}

#[test]
fn what_is_given_back_after_the_end_of_a_period_is_late() {
    let mut used = entry(Some((1, 1)), LineKind::Compute, 700_000, &[]);
    (used.from, used.to) = (at(3_000), at(4_200));
    let mut back = used.clone();
    (back.kind, back.amount, back.booked) = (LineKind::Waiver, -used.amount, Some(at(4_200)));
    let entries = [used, back];
    let report = report_of(&entries, &[], &["hour"], (None, None), 9_000);
    let row = |row: &Row| {
        let sums = &row.sums;
        [sums.settled, sums.late, sums.total].map(Money::micros)
    };
    let rows: Vec<_> = report.rows.iter().map(row).collect();
    assert_eq!(rows, [[350_000, -350_000, 0], [0, 0, 0]], "the second hour was not over");
    let day = report_of(&entries, &[], &["day"], (None, None), 9_000);
    assert_eq!(row(&day.rows[0]), [0, 0, 0]);
    let first = report_of(&entries, &[], &[], (None, Some(3_600)), 9_000);
    assert_eq!(row(&first.total), [350_000, -350_000, 0]);
    assert!(first.total.closed && !day.total.closed);
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
fn a_report_that_does_not_add_up_is_found() {
    let sound = report_of(&entries(), &[], &["model"], (None, None), 0);
    let one = Money::from_micros(1);
    let broken: [fn(&mut CostReport, Money); 6] = [
        |report, one| report.total.sums.total += one,
        |report, one| report.total.sums.on_demand += one,
        |report, one| report.rows[0].sums.total += one,
        |report, one| report.rows[1].sums.settled += one,
        |report, one| report.rows[1].sums.on_demand += one,
        |report, one| *report.rows[0].sums.by_kind.entry(LineKind::Idle).or_default() += one,
    ];
    for (number, damage) in broken.into_iter().enumerate() {
        let mut report = sound.clone();
        damage(&mut report, one);
        assert!(report.check().is_err(), "{number}");
    }
}

#[test]
fn too_many_rows_are_refused() {
    let mut long = entry(None, LineKind::Idle, 1, &[]);
    long.to = at(48 * 3_600);
    let group_by = names(&["hour"]);
    let scope =
        Scope { group_by: &group_by, since: None, until: None, zone: &TimeZone::UTC, now: at(0) };
    assert_eq!(CostReport::new(&[long.clone()], &[], &scope, 47), Err(TooManyRows(47)));
    assert_eq!(CostReport::new(&[long], &[], &scope, 48).unwrap().rows.len(), 48);
}

#[test]
fn nothing_costs_nothing() {
    assert_eq!(report_of(&[], &[], &["hour"], (None, None), 0), CostReport::default());
}

fn any_charge() -> impl Strategy<Value = (LedgerEntry, bool)> {
    let kinds = prop::sample::select(LineKind::ALL.to_vec());
    let length = prop_oneof![0..4_i64, 0..4_000_i64, 0..400_000_i64];
    let money = (-5_000_000..5_000_000_i64, 0..9_000_000_i64);
    (kinds, 0..200_000_i64, length, money, any::<bool>(), 0..900_000_i64).prop_map(
        |(kind, from, length, (amount, on_demand), open, booked)| {
            let mut charge = entry(Some((1, 1)), kind, amount, &[("team", "a")]);
            (charge.from, charge.to) = (at(from), at(from + length));
            charge.on_demand_amount = Money::from_micros(on_demand);
            charge.booked = (!open).then(|| at(booked));
            (charge, open)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// However time is cut, by whatever dimension, the parts add up to the whole.
    #[test]
    fn parts_add_up_at_any_cut(
        charges in prop::collection::vec(any_charge(), 1..8),
        cuts in prop::collection::btree_set(0..700_000_i64, 0..6),
        now in 0..900_000_i64,
    ) {
        let of = |open: bool| -> Vec<LedgerEntry> {
            charges.iter().filter(|(_, o)| *o == open).map(|(charge, _)| charge.clone()).collect()
        };
        let (settled, accrued) = (of(false), of(true));
        let sum = |of: fn(&LedgerEntry) -> Money| charges.iter().map(|(c, _)| of(c)).sum::<Money>();
        let whole = (sum(|c| c.amount), sum(|c| c.on_demand_amount));
        for by in [&["hour"][..], &["day", "kind"], &["month"], &["team"], &[]] {
            let report = report_of(&settled, &accrued, by, (None, None), now);
            prop_assert_eq!((report.total.sums.total, report.total.sums.on_demand), whole);
        }
        let begins = std::iter::once(None).chain(cuts.iter().copied().map(Some));
        let ends = cuts.iter().copied().map(Some).chain([None]);
        let parts = begins.zip(ends).map(|period| {
            let report = report_of(&settled, &accrued, &["hour"], period, now);
            (report.total.sums.total, report.total.sums.on_demand)
        });
        let parts: Vec<_> = parts.collect();
        prop_assert_eq!(parts.iter().map(|part| part.0).sum::<Money>(), whole.0);
        prop_assert_eq!(parts.iter().map(|part| part.1).sum::<Money>(), whole.1);
    }
}
