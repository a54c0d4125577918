use spotwise_model::NodeShape;

use super::*;
use crate::{MarketSeries, Row};

const GOOD: &str = "- name: research-a
  instance_type: p3.2xlarge
  zone: us-east-1a
  machines: 2
  usd_per_hour: 1.92
  from: 2026-08-01T00:00:00Z
  until: 2027-08-01T00:00:00Z
";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn market() -> Market {
    let series = MarketSeries {
        zone: Zone::new("us-east-1a"),
        instance_type: InstanceType::new("p3.2xlarge"),
        shape: NodeShape::default(),
        on_demand: Price::from_micros_per_hour(3_060_000),
        rows: vec![Row { at: at(0), available: 1, price: Some(Price::from_micros_per_hour(1)) }],
    };
    Market::new(vec![series], None).unwrap()
}

fn read(text: &str) -> Result<(Vec<Commitment>, Vec<String>), String> {
    let declared = parse("c.yaml", text).map_err(|error| error.to_string())?;
    declared.on(&market()).map_err(|error| error.to_string())
}

#[test]
fn a_commitment_is_read_as_it_is_written() {
    let (list, warnings) = read(GOOD).unwrap();
    assert_eq!((list.len(), warnings.len()), (1, 0));
    assert_eq!((list[0].name.as_str(), list[0].machines), ("research-a", 2));
    assert_eq!(list[0].price.micros_per_hour(), 1_920_000);
    assert_eq!(list[0].until.to_string(), "2027-08-01T00:00:00Z");
    assert_eq!(read("[]").unwrap().0, []);
}

#[test]
fn one_that_is_dearer_than_on_demand_is_warned_of() {
    let (list, warnings) = read(&GOOD.replace("1.92", "3.07")).unwrap();
    assert_eq!(list.len(), 1);
    assert!(warnings[0].contains("line 5") && warnings[0].contains("3.06"), "{warnings:?}");
}

#[test]
fn mistakes_name_the_line_the_field_and_the_remedy() {
    let with = |from: &str, to: &str| GOOD.replace(from, to);
    let long = "x".repeat(64);
    for (text, says) in [
        (
            with("p3.2xlarge", "p9.huge"),
            "line 2, `instance_type` of `research-a`: the market has no machine type `p9.huge`; it has p3.2xlarge",
        ),
        (
            with("us-east-1a", "mars-1a"),
            "line 3, `zone` of `research-a`: the market has no p3.2xlarge in zone `mars-1a`; it has it in us-east-1a",
        ),
        (with("machines: 2", "machines: 0"), "line 4, `machines` of `research-a`: 0 is not from 1"),
        (with("machines: 2", "machines: -1"), "line 4"),
        (with("machines: 2", "machines: 99999999999"), "line 4"),
        (with("machines: 2", "machines: two"), "line 4"),
        (with("1.92", "-1"), "line 5, `usd_per_hour`"),
        (with("1.92", ".nan"), "line 5, `usd_per_hour`"),
        (with("1.92", ".inf"), "line 5, `usd_per_hour`"),
        (with("1.92", "1e400"), "line 5, `usd_per_hour`"),
        (
            with("1.92", "9999999"),
            "line 5, `usd_per_hour` of `research-a`: 9999999.000000 is not from 0 to",
        ),
        (with("1.92", "1,92"), "line 5, `usd_per_hour` of `research-a`: `1,92` is not a price"),
        (
            with("2026-08-01T00:00:00Z", "tomorrow"),
            "line 6, `from` of `research-a`: `tomorrow` is not a time",
        ),
        (with("2027-08-01T00:00:00Z", "2027-08-01"), "line 7, `until`"),
        (
            with("2027-08-01T00:00:00Z", "2026-08-01T00:00:00Z"),
            "line 7, `until` of `research-a`: 2026-08-01T00:00:00Z is not after",
        ),
        (with("research-a", "\"\""), "line 1, `name`"),
        (with("research-a", "a b"), "line 1, `name`"),
        (with("research-a", &long), "line 1, `name`"),
        (format!("{GOOD}{GOOD}"), "line 8, `name` of `research-a`: stands in line 1 already"),
        (with("zone:", "zones:"), "zones"),
        (with("  machines: 2\n", ""), "machines"),
        (format!("{GOOD}  machines: 3\n"), "machines"),
        ("name: a\n".to_owned(), "c.yaml: "),
        ("- 1\n".to_owned(), "c.yaml: "),
        ("- [".to_owned(), "c.yaml: "),
        ("\u{0}".to_owned(), "c.yaml: "),
    ] {
        let message = read(&text).expect_err(&text);
        assert!(message.contains(says), "{message} should say {says}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn the_example_is_read_on_the_market_that_is_built_in() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/operator/commitments.yaml");
    let options = crate::SyntheticOptions { days: 2, ..crate::SyntheticOptions::new(7, at(0)) };
    let market = crate::synthetic(&options, &crate::Catalog::built_in()).unwrap();
    let (list, warnings) = read_commitments(Path::new(path)).unwrap().on(&market).unwrap();
    assert_eq!((list.len(), warnings), (2, vec![]));
}

fn commitment(name: &str, machines: u32, from: i64, until: i64) -> Commitment {
    Commitment {
        name: name.to_owned(),
        instance_type: InstanceType::new("p3.2xlarge"),
        zone: Zone::new("us-east-1a"),
        machines,
        price: Price::from_micros_per_hour(1_000_000),
        from: at(from),
        until: at(until),
    }
}

#[test]
fn what_has_begun_is_kept_and_what_is_past_never_changes() {
    let (a, b) = (commitment("a", 2, 0, 1_000), commitment("b", 1, 500, 900));
    let first = keep(Vec::new(), &[a.clone(), b.clone()], at(100));
    assert_eq!(first, [commitment("a", 2, 100, 1_000), b.clone()], "counted from when it is known");
    assert_eq!(keep(first.clone(), &[a.clone(), b.clone()], at(200)), first);
    // Renewed: the same one goes on.
    let renewed = keep(first.clone(), &[commitment("a", 2, 0, 2_000), b.clone()], at(200));
    assert_eq!(renewed, [commitment("a", 2, 100, 2_000), b]);
    // Fewer machines: the old one ends, the new one begins; what never began is gone.
    let fewer = keep(first.clone(), &[commitment("a", 1, 0, 1_000)], at(200));
    assert_eq!(fewer, [commitment("a", 2, 100, 200), commitment("a", 1, 200, 1_000)]);
    assert_eq!(keep(first, &[], at(600)).len(), 2, "both are remembered");
    assert_eq!(keep(vec![commitment("a", 2, 0, 500)], &[a], at(600))[1].from, at(600));
}
