//! The index of recordings: what a table of rows does not say about itself.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use spotwise_model::Price;

use super::error::BacktestError;

/// The longest recording, in steps.
const MOST_STEPS: u64 = 5_000_000;
/// The longest step, in seconds: a day.
const LONGEST_STEP: u64 = 86_400;
const MOST_NODES: u64 = 100_000;

/// What the index says about one recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Seconds per step.
    pub step_seconds: u32,
    /// How many steps it has.
    pub steps: usize,
    /// Its zones, in the order of the index.
    pub zones: Vec<String>,
    /// On-demand price of each machine type.
    pub on_demand: BTreeMap<String, Price>,
    /// Instances requested at once: fewer than that count as none.
    pub nodes_requested: u32,
    /// When it began.
    pub start: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Raw {
    file: String,
    step_seconds: u64,
    steps: u64,
    #[serde(default)]
    zones: Vec<String>,
    instance_types: BTreeMap<String, serde_json::Number>,
    #[serde(default = "one")]
    nodes_requested: u64,
    start_date: Option<String>,
}

fn one() -> u64 {
    1
}

/// Reads the entry of `recording`, found by the file's name.
pub fn read_entry(index: &Path, recording: &Path) -> Result<Entry, BacktestError> {
    let text = std::fs::read_to_string(index)
        .map_err(|source| BacktestError::Read { path: index.to_owned(), source })?;
    let file = recording.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    entry(index, &text, &file)
}

/// Finds the entry of `file` in the text of an index.
fn entry(index: &Path, text: &str, file: &str) -> Result<Entry, BacktestError> {
    let entries: Vec<Raw> = serde_json::from_str(text)
        .map_err(|source| BacktestError::Index { path: index.to_owned(), source })?;
    let names: Vec<&str> = entries.iter().map(|entry| entry.file.as_str()).collect();
    let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let path = index.to_owned();
    let missing = BacktestError::NotInIndex { path, file: file.to_owned(), known };
    let raw = entries.into_iter().find(|entry| entry.file == file).ok_or(missing)?;
    check(&raw).map_err(|(field, problem)| BacktestError::IndexValue {
        path: index.to_owned(),
        file: file.to_owned(),
        field,
        problem,
    })
}

fn check(raw: &Raw) -> Result<Entry, (&'static str, String)> {
    let within = |field, value: u64, most: u64| {
        let wrong = || (field, format!("{value} is not a whole number from 1 to {most}"));
        (1..=most).contains(&value).then_some(value).ok_or_else(wrong)
    };
    let mut on_demand = BTreeMap::new();
    for (name, number) in &raw.instance_types {
        let wrong = || ("instance_types", format!("{name}: {number} is not a price above zero"));
        let price: Price = number.to_string().parse().map_err(|_| wrong())?;
        if price == Price::ZERO {
            return Err(wrong());
        }
        on_demand.insert(name.clone(), price);
    }
    Ok(Entry {
        step_seconds: within("step_seconds", raw.step_seconds, LONGEST_STEP)? as u32,
        steps: within("steps", raw.steps, MOST_STEPS)? as usize,
        zones: raw.zones.clone(),
        on_demand,
        nodes_requested: within("nodes_requested", raw.nodes_requested, MOST_NODES)? as u32,
        start: raw.start_date.as_deref().map(midnight).transpose()?,
    })
}

/// The first moment of a day in UTC.
fn midnight(text: &str) -> Result<Timestamp, (&'static str, String)> {
    let wrong = |_| ("start_date", format!("`{text}` is not a date such as 2023-02-15"));
    let date: jiff::civil::Date = text.parse().map_err(wrong)?;
    date.to_zoned(TimeZone::UTC).map(|day| day.timestamp()).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"file": "m.csv", "step_seconds": 600, "steps": 10,
        "instance_types": {"p3.2xlarge": 3.06}, "start_date": "2023-02-15"}"#;

    fn read(text: &str) -> Result<Entry, String> {
        entry(Path::new("index.json"), &format!("[{text}]"), "m.csv").map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let entry = read(GOOD).unwrap();
        assert_eq!((entry.step_seconds, entry.steps, entry.nodes_requested), (600, 10, 1));
        assert_eq!(entry.on_demand["p3.2xlarge"], Price::from_micros_per_hour(3_060_000));
        assert_eq!(entry.start, "2023-02-15T00:00:00Z".parse().ok());
    }

    #[test]
    fn wrong_values_are_named() {
        for (from, to, field) in [
            ("600", "0", "`step_seconds`"),
            ("600", "-5", "not an index"),
            (": 10,", ": 0,", "`steps`"),
            (": 10,", ": 9000000000,", "`steps`"),
            ("3.06", "0", "`instance_types`"),
            ("3.06", "-3", "`instance_types`"),
            ("2023-02-15", "soon", "`start_date`"),
            ("m.csv", "n.csv", "no entry for m.csv; it has n.csv"),
            ("\"steps\": 10,", "", "not an index"),
        ] {
            let error = read(&GOOD.replace(from, to)).unwrap_err();
            assert!(error.contains(field), "{to}: {error}");
        }
    }
}
