//! A period's cost is what was consumed in it, and a closed period stays.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use spotwise_tests::Scheduler;

use super::names::run;

const LIMIT: Duration = Duration::from_secs(90);

/// What rounding may move of a machine's hour when it is settled: a micro-dollar a line.
const ROUNDING: i64 = 5;

/// An hour of the market is three seconds.
const ARGUMENTS: [&str; 4] = ["--market", "synthetic", "--speed", "1200"];

fn micros(row: &Value, name: &str) -> i64 {
    row[name].as_i64().unwrap_or_else(|| panic!("{name} of {row}"))
}

/// A report as JSON, proven to add up.
fn cost(scheduler: &Scheduler, arguments: &[&str]) -> Value {
    let line = [&["cost", "-o", "json"], arguments].concat();
    let (out, err, code) = run(scheduler, &line);
    assert_eq!(code, Some(0), "{out}{err}");
    let report: Value = serde_json::from_str(&out).expect("JSON");
    let rows = report["rows"].as_array().expect("rows");
    for name in ["total_micros", "settled_micros", "accrued_micros", "late_micros"] {
        let sum: i64 = rows.iter().map(|row| micros(row, name)).sum();
        assert_eq!(sum, micros(&report["total"], name), "{name}: {report}");
    }
    for row in rows {
        let parts = ["settled_micros", "accrued_micros", "late_micros"];
        let sum: i64 = parts.iter().map(|name| micros(row, name)).sum();
        assert_eq!(sum, micros(row, "total_micros"), "{row}");
    }
    report
}

/// The hours that are over in a report: what they cost.
fn over(report: &Value) -> BTreeMap<String, i64> {
    let now = report["as_of"].as_str().expect("a time");
    let rows = report["rows"].as_array().expect("rows").iter();
    let past = rows.filter(|row| row["period_until"].as_str().expect("a time") <= now);
    let named = |row: &Value| row["keys"][0].as_str().expect("an hour").to_owned();
    past.map(|row| (named(row), micros(row, "total_micros"))).collect()
}

/// Looks until a report shows what is wanted.
fn wait_for(scheduler: &Scheduler, wanted: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let report = cost(scheduler, &["--by", "hour"]);
        if wanted(&report) {
            return report;
        }
        assert!(begun.elapsed() < LIMIT, "not seen: {report}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_job_is_paid_in_the_hours_in_which_it_ran_and_hours_that_are_over_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let job = "name: long\nmodel: lm\ndeadline: 200h\ninterruptible: false\n\
        work: {duration: 3h}\nresources: {cpus: 0.1, memory: 32MB}\ncommand: [sleep, '600']\n";
    scheduler.submit(job, "long").expect("accepted");

    // While it runs: the hours that are over have their part, and none is settled.
    let during = wait_for(&scheduler, |report| over(report).len() >= 2);
    assert_eq!(micros(&during["total"], "settled_micros"), 0, "{during}");
    assert!(micros(&during["total"], "accrued_micros") > 0, "{during}");
    let open = during["rows"].as_array().expect("rows").iter().all(|row| row["closed"] == false);
    assert!(open, "not settled, so not closed: {during}");

    let (out, err, code) = run(&scheduler, &["cancel", "long", "--yes"]);
    assert_eq!(code, Some(0), "{out}{err}");
    let close = |report: &Value| report["rows"][0]["closed"] == true;
    let after = wait_for(&scheduler, close);
    let later = over(&after);
    for (hour, before) in over(&during) {
        let now = later.get(&hour).copied().unwrap_or_default();
        assert!((now - before).abs() <= ROUNDING, "{hour}: {before}, then {now}\n{after}");
    }
    let settled = over(&after).len();
    assert!(settled >= 2, "spread over its hours: {after}");
    assert_eq!(micros(&after["total"], "late_micros"), 0, "{after}");

    // However time is cut, the parts add up.
    let cut = during["as_of"].as_str().expect("a time");
    let part = |report: &Value| micros(&report["total"], "settled_micros");
    let begin = cost(&scheduler, &["--until", cut]);
    let end = cost(&scheduler, &["--since", cut]);
    let whole = cost(&scheduler, &[]);
    assert!(part(&begin) > 0 && part(&end) > 0);
    assert_eq!(part(&begin) + part(&end), part(&whole));
    assert_eq!(begin["total"]["closed"], true, "{begin}");
}

#[test]
fn days_and_hours_are_those_of_a_zone_that_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let job = "name: short\ndeadline: 200h\nwork: {duration: 1h}\n\
        resources: {cpus: 0.1, memory: 32MB}\ncommand: ['true']\n";
    scheduler.submit(job, "short").expect("accepted");
    wait_for(&scheduler, |report| !report["rows"].as_array().expect("rows").is_empty());
    let nepal = cost(&scheduler, &["--by", "hour", "--timezone", "Asia/Kathmandu"]);
    assert_eq!(nepal["timezone"], "Asia/Kathmandu");
    let hour = nepal["rows"][0]["keys"][0].as_str().expect("an hour");
    assert!(hour.ends_with(":00:00+05:45"), "{hour}");
    let table = run(&scheduler, &["cost", "--by", "day", "--timezone", "Asia/Kathmandu"]).0;
    assert!(table.contains("days and hours are those of Asia/Kathmandu"), "{table}");
    assert!(run(&scheduler, &["cost"]).0.contains("are those of UTC"));

    let days = cost(&scheduler, &["--since", "2026-03-08", "--timezone", "America/New_York"]);
    assert_eq!(days["since"], "2026-03-08T05:00:00Z", "a day begins where its people are");
    let rest = scheduler
        .call("GET", "/costs?since=2026-03-09&timezone=America/New_York&group_by=day", None)
        .expect("an answer");
    assert_eq!(rest.status, 200, "{}", rest.text);
    assert_eq!(rest.json().expect("JSON")["since"], "2026-03-09T04:00:00Z", "the clock changed");
    for (query, field) in [
        ("timezone=Mars/Olympus", "timezone"),
        ("since=2026-02-30", "since"),
        ("filter%5Bday%5D=2026-03-09", "filters"),
    ] {
        let refused = scheduler.call("GET", &format!("/costs?{query}"), None).expect("an answer");
        assert_eq!(refused.status, 400, "{query}: {}", refused.text);
        assert_eq!(refused.json().expect("JSON")["field"], field, "{}", refused.text);
    }
}
