use spotwise_model::CapacityType;

use super::*;
use crate::test_data::recorded;

const TABLE: &str = "\
seconds,zone,instance_type,available,spot_usd_per_hour
0,us-east-1a,p3.2xlarge,0,1.6703
0,us-east-2a,p3.2xlarge,1,0.918
195,us-east-1a,p3.2xlarge,1,1.6703
390,us-east-1a,p3.2xlarge,1,1.5
";

fn start() -> Timestamp {
    "2023-02-15T00:00:00Z".parse().unwrap()
}

fn after(seconds: u64) -> Timestamp {
    time::after(start(), Duration::from_secs(seconds))
}

fn read(table: &str) -> Result<Market, MarketError> {
    let catalog = Catalog::built_in();
    recording("a.csv", table.as_bytes(), Some(start()), &IndexEntry::default(), &catalog)
}

fn spot(market: &Market, zone: &str, seconds: u64) -> (u32, i64) {
    let kind = InstanceType::new("p3.2xlarge");
    let quote = market.quote(&Zone::new(zone), &kind, CapacityType::Spot, after(seconds)).unwrap();
    (quote.available, quote.price.micros_per_hour())
}

#[test]
fn a_recording_is_read() {
    let market = read(TABLE).unwrap();
    assert_eq!(spot(&market, "us-east-1a", 194), (0, 1_670_300));
    assert_eq!(spot(&market, "us-east-1a", 195), (1, 1_670_300));
    assert_eq!(spot(&market, "us-east-1a", 390), (1, 1_500_000));
    assert_eq!(spot(&market, "us-east-2a", 390), (1, 918_000));
    assert_eq!((market.start(), market.end()), (start(), after(390)));
    let quotes = market.quotes(start());
    assert_eq!(quotes.len(), 4);
    assert_eq!(quotes[0].on_demand.micros_per_hour(), 3_060_000);
    assert_eq!(quotes[0].shape.gpus, 1);
}

#[test]
fn a_bad_value_is_located() {
    for (from, to, line, column) in [
        ("195,us-east-1a", "x,us-east-1a", 4, "seconds"),
        ("195,us-east-1a", "-1,us-east-1a", 4, "seconds"),
        ("195,us-east-1a", "0,us-east-1a", 4, "seconds"),
        ("195,us-east-1a", "99999999999,us-east-1a", 4, "seconds"),
        ("us-east-2a", "", 3, "zone"),
        ("us-east-2a", "\u{202e}1a-tsae-su", 3, "zone"),
        ("p3.2xlarge,1,0.918", "p3.2xlarge,one,0.918", 3, "available"),
        ("0.918", "cheap", 3, "spot_usd_per_hour"),
        ("0.918", "", 3, "spot_usd_per_hour"),
        ("seconds", "minutes", 1, "seconds"),
    ] {
        let error = read(&TABLE.replacen(from, to, 1)).unwrap_err();
        let MarketError::Value { place, column: named, .. } = &error else { panic!("{error:?}") };
        assert_eq!((*place, *named), (FilePosition::Line(line), column), "{from} -> {to}");
    }
}

#[test]
fn an_unknown_type_is_refused_with_its_line() {
    let error = read(&TABLE.replacen("p3.2xlarge,1,0.918", "x1.huge,1,0.918", 1)).unwrap_err();
    let MarketError::Type { place: FilePosition::Line(3), source, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(source.instance_type, InstanceType::new("x1.huge"));
}

#[test]
fn a_number_that_is_no_price_raises_an_alarm() {
    for bad in ["0", "-1", "NaN", "inf", "1e30", "918", "0.0000001"] {
        let table = TABLE.replace("1.5\n", &format!("{bad}\n"));
        let market = read(&table.replace("0.918", "0.5")).unwrap();
        let expected = if bad == "918" { 918_000_000 } else { 1_670_300 };
        assert_eq!(spot(&market, "us-east-1a", 390).1, expected, "{bad}");
        assert_eq!(market.anomalies().len(), usize::from(bad != "918"), "{bad}");
    }
}

#[test]
fn a_recording_needs_rows_and_a_start() {
    let header = TABLE.lines().next().unwrap();
    assert!(matches!(read(header), Err(MarketError::Empty { .. })));
    assert!(matches!(read(""), Err(MarketError::Value { .. })));
    assert!(matches!(read(&format!("{header}\n1,2\n")), Err(MarketError::Csv { .. })));
    let catalog = Catalog::built_in();
    let nothing = IndexEntry::default();
    let error = recording("a.csv", TABLE.as_bytes(), None, &nothing, &catalog).unwrap_err();
    assert!(error.to_string().contains("start_date"), "{error}");
}

#[test]
fn the_index_beside_a_recording_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    std::fs::write(&path, TABLE).unwrap();
    let index = r#"[{"file": "other.csv"}, {"file": "a.csv", "start_date": "2023-02-15",
        "step_seconds": 195, "steps": 10, "instance_types": {"p3.2xlarge": 4.06}, "more": 1}]"#;
    std::fs::write(folder.path().join("index.json"), index).unwrap();
    let market = read_recording(&path, None, &Catalog::built_in()).unwrap();
    assert_eq!((market.start(), market.end()), (start(), after(1_950)));
    assert_eq!(market.quotes(start())[0].on_demand.micros_per_hour(), 4_060_000);

    let bad = index.replace("2023-02-15", "15.2.2023");
    std::fs::write(folder.path().join("index.json"), bad).unwrap();
    let error = read_recording(&path, None, &Catalog::built_in()).unwrap_err();
    assert!(error.to_string().contains("entry 2, `start_date`"), "{error}");
}

const HISTORY: &str = r#"{"SpotPriceHistory": [
 {"AvailabilityZone": "us-east-1a", "AvailabilityZoneId": "use1-az1", "InstanceType": "p3.2xlarge",
  "ProductDescription": "Linux/UNIX", "SpotPrice": "0.920000", "Timestamp": "2023-02-15T02:00:00+00:00"},
 {"AvailabilityZone": "us-east-1a", "InstanceType": "p3.2xlarge",
  "ProductDescription": "Windows", "SpotPrice": "2.5", "Timestamp": "2023-02-15T01:30:00Z"},
 {"AvailabilityZone": "us-east-1a", "InstanceType": "p3.2xlarge",
  "ProductDescription": "Linux/UNIX", "SpotPrice": "0.918000", "Timestamp": "2023-02-15T00:00:00.000Z"}
]}"#;

#[test]
fn a_price_history_of_aws_is_read() {
    let catalog = Catalog::built_in();
    let market = price_history("h.json", HISTORY.as_bytes(), &catalog).unwrap();
    assert_eq!(spot(&market, "us-east-1a", 5_400), (ASSUMED_AVAILABLE, 918_000));
    assert_eq!(spot(&market, "us-east-1a", 7_200), (ASSUMED_AVAILABLE, 920_000));
    assert_eq!(market.start(), start());

    let none = HISTORY.replace("Linux/UNIX", "SUSE Linux");
    let error = price_history("h.json", none.as_bytes(), &catalog).unwrap_err();
    assert!(matches!(error, MarketError::Empty { .. }), "{error}");
    for (from, to, entry, column) in [
        ("0.920000", "free", 1, "SpotPrice"),
        ("2023-02-15T00:00:00.000Z", "yesterday", 3, "Timestamp"),
    ] {
        let text = HISTORY.replace(from, to);
        let error = price_history("h.json", text.as_bytes(), &catalog).unwrap_err();
        let MarketError::Value { place, column: named, .. } = &error else { panic!("{error:?}") };
        assert_eq!((*place, *named), (FilePosition::Entry(entry), column));
    }
    let error = price_history("h.json", "[]".as_bytes(), &catalog).unwrap_err();
    assert!(matches!(error, MarketError::Json { .. }), "{error}");
}

#[test]
fn every_recorded_market_is_read() {
    let Some(folder) = recorded("spot") else { return };
    let mut read = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !(name.starts_with("aws-") && name.ends_with(".csv")) {
            continue;
        }
        let market = read_recording(&path, None, &Catalog::built_in()).unwrap();
        assert!(market.anomalies().is_empty(), "{name}: {:?}", market.anomalies());
        assert!(time::between(market.start(), market.end()) > Duration::from_secs(5 * 86_400));
        assert!(market.quotes(market.start()).len() >= 6, "{name}");
        read += 1;
    }
    assert!(read >= 4, "only {read} recordings");
}
