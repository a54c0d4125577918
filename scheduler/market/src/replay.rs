//! Recorded markets: our table of seconds, and the response of AWS's
//! `describe-spot-price-history`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use spotwise_model::id::{InstanceType, Zone};
use spotwise_model::{Price, time};

use super::catalog::{Catalog, is_name};
use super::error::{FilePosition, MarketError, Problem, excerpt};
use super::quote::{MarketSeries, Row};
use super::series::Market;

/// Machines assumed to be free if a history has only prices.
pub const ASSUMED_AVAILABLE: u32 = 8;

/// The columns of a recording, in any order.
pub const COLUMNS: [&str; 5] =
    ["seconds", "zone", "instance_type", "available", "spot_usd_per_hour"];

/// The longest recording, in seconds: ten years.
const MAX_SECONDS: u64 = 10 * 366 * 86_400;
const MAX_AVAILABLE: u64 = 1_000_000;

/// What `index.json` says about the recording next to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IndexEntry {
    /// When second 0 was.
    pub start: Option<Timestamp>,
    /// How long it is.
    pub length: Option<Duration>,
    /// On-demand prices, which take precedence over the catalogue's.
    pub on_demand: BTreeMap<InstanceType, Price>,
}

/// Reads a recorded market and the `index.json` next to it, if any. `start` is when its
/// second 0 was; without it the index says.
pub fn read_recording(
    path: &Path,
    start: Option<Timestamp>,
    catalog: &Catalog,
) -> Result<Market, MarketError> {
    let index = read_index(path)?;
    let file = open(path)?;
    recording(&path.display().to_string(), file, start, &index, catalog)
}

/// Reads a recorded market from its text; `name` names it in errors.
pub fn recording(
    name: &str,
    text: impl Read,
    start: Option<Timestamp>,
    index: &IndexEntry,
    catalog: &Catalog,
) -> Result<Market, MarketError> {
    let no_start = || MarketError::NoStart { file: name.to_owned() };
    let start = start.or(index.start).ok_or_else(no_start)?;
    let mut builder = SeriesBuilder::new(name, catalog, &index.on_demand);
    each_row(name, text, |row, place| {
        let at = time::after(start, Duration::from_secs(row.seconds));
        let key = (row.zone, row.instance_type);
        let row = Row { at, available: row.available, price: row.price };
        builder.push(key, row, place, "instance_type")
    })?;
    builder.market(index.length.map(|length| time::after(start, length)), "")
}

/// Reads the rows of a recording one by one; those of one zone and type must be in
/// chronological order.
pub fn each_row(
    name: &str,
    text: impl Read,
    mut take: impl FnMut(RecordedRow, FilePosition) -> Result<(), MarketError>,
) -> Result<(), MarketError> {
    let mut previous: BTreeMap<(Zone, InstanceType), u64> = BTreeMap::new();
    let mut table = csv::Reader::from_reader(text);
    let malformed = |source| MarketError::Csv { file: name.to_owned(), source };
    let columns = columns(name, table.headers().map_err(malformed)?)?;
    for record in table.records() {
        let record = record.map_err(malformed)?;
        let place = FilePosition::Line(record.position().map_or(0, csv::Position::line));
        let row = RecordedRow::read(&record, &columns)
            .map_err(|(column, problem)| value(name, place, column, problem))?;
        let key = (row.zone.clone(), row.instance_type.clone());
        if let Some(before) = previous.insert(key, row.seconds)
            && before >= row.seconds
        {
            let problem = Problem::OutOfOrder { seconds: row.seconds, previous: before };
            return Err(value(name, place, "seconds", problem));
        }
        take(row, place)?;
    }
    Ok(())
}

/// Reads the response of `aws ec2 describe-spot-price-history`. It says nothing about
/// availability: [`ASSUMED_AVAILABLE`] machines are assumed to be free from the first price
/// of each zone and type on.
pub fn read_price_history(path: &Path, catalog: &Catalog) -> Result<Market, MarketError> {
    price_history(&path.display().to_string(), open(path)?, catalog)
}

/// Reads a price history from its text; `name` names it in errors.
pub fn price_history(
    name: &str,
    text: impl Read,
    catalog: &Catalog,
) -> Result<Market, MarketError> {
    let history: History = serde_json::from_reader(std::io::BufReader::new(text))
        .map_err(|source| MarketError::Json { file: name.to_owned(), source })?;
    let on_demand = BTreeMap::new();
    let mut builder = SeriesBuilder::new(name, catalog, &on_demand);
    // Newest first in the answer.
    for (number, entry) in history.entries.iter().enumerate().rev() {
        if !entry.product.starts_with(LINUX) {
            continue;
        }
        let place = FilePosition::Entry(number + 1);
        let fail = |(column, problem)| value(name, place, column, problem);
        let zone = name_of("AvailabilityZone", &entry.zone).map_err(fail)?;
        let instance_type = name_of("InstanceType", &entry.instance_type).map_err(fail)?;
        let price = read_price("SpotPrice", &entry.price).map_err(fail)?;
        let at = entry.timestamp.parse().map_err(|_| {
            fail(("Timestamp", Problem::NotTime { text: excerpt(&entry.timestamp) }))
        })?;
        let key = (Zone::new(zone), InstanceType::new(instance_type));
        let row = Row { at, available: ASSUMED_AVAILABLE, price };
        builder.push(key, row, place, "InstanceType")?;
    }
    builder.market(None, " of `Linux/UNIX`")
}

/// `Linux/UNIX`, and `Linux/UNIX (Amazon VPC)` for old accounts.
const LINUX: &str = "Linux/UNIX";

#[derive(Deserialize)]
struct History {
    #[serde(rename = "SpotPriceHistory")]
    entries: Vec<HistoryEntry>,
}

#[derive(Deserialize)]
struct HistoryEntry {
    #[serde(rename = "AvailabilityZone")]
    zone: String,
    #[serde(rename = "InstanceType")]
    instance_type: String,
    #[serde(rename = "ProductDescription")]
    product: String,
    #[serde(rename = "SpotPrice")]
    price: String,
    #[serde(rename = "Timestamp")]
    timestamp: String,
}

/// The rows of a market while it is being read.
struct SeriesBuilder<'a> {
    file: &'a str,
    catalog: &'a Catalog,
    on_demand: &'a BTreeMap<InstanceType, Price>,
    list: BTreeMap<(Zone, InstanceType), MarketSeries>,
}

impl<'a> SeriesBuilder<'a> {
    fn new(
        file: &'a str,
        catalog: &'a Catalog,
        on_demand: &'a BTreeMap<InstanceType, Price>,
    ) -> Self {
        Self { file, catalog, on_demand, list: BTreeMap::new() }
    }

    fn push(
        &mut self,
        key: (Zone, InstanceType),
        row: Row,
        place: FilePosition,
        column: &'static str,
    ) -> Result<(), MarketError> {
        if let Some(series) = self.list.get_mut(&key) {
            series.rows.push(row);
            return Ok(());
        }
        let (zone, instance_type) = key.clone();
        let machine = self.catalog.machine_type(&instance_type).map_err(|source| {
            MarketError::Type { file: self.file.to_owned(), place, column, source }
        })?;
        let on_demand = self.on_demand.get(&instance_type).copied().unwrap_or(machine.on_demand);
        let shape = machine.shape.clone();
        let series = MarketSeries { zone, instance_type, shape, on_demand, rows: vec![row] };
        self.list.insert(key, series);
        Ok(())
    }

    fn market(self, end: Option<Timestamp>, detail: &'static str) -> Result<Market, MarketError> {
        Market::new(self.list.into_values().collect(), end)
            .ok_or_else(|| MarketError::Empty { file: self.file.to_owned(), detail })
    }
}

/// The position of every column of [`COLUMNS`], in that order.
fn columns(file: &str, header: &csv::StringRecord) -> Result<[usize; 5], MarketError> {
    let mut places = [0; 5];
    for (place, column) in places.iter_mut().zip(COLUMNS) {
        *place = header
            .iter()
            .position(|name| name.trim() == column)
            .ok_or_else(|| value(file, FilePosition::Line(1), column, Problem::MissingColumn))?;
    }
    Ok(places)
}

/// A row of a recording.
pub struct RecordedRow {
    /// Since the recording's start.
    pub seconds: u64,
    /// The zone of the machines.
    pub zone: Zone,
    /// The type of the machines.
    pub instance_type: InstanceType,
    /// Available instances.
    pub available: u32,
    /// `None` if the value cannot be a price.
    pub price: Option<Price>,
}

type Wrong = (&'static str, Problem);

impl RecordedRow {
    fn read(record: &csv::StringRecord, columns: &[usize; 5]) -> Result<Self, Wrong> {
        let [seconds, zone, instance_type, available, price] =
            columns.map(|column| record.get(column).unwrap_or_default().trim());
        let available = whole("available", available, MAX_AVAILABLE)?;
        Ok(Self {
            seconds: whole("seconds", seconds, MAX_SECONDS)?,
            zone: Zone::new(name_of("zone", zone)?),
            instance_type: InstanceType::new(name_of("instance_type", instance_type)?),
            available: u32::try_from(available).unwrap_or(u32::MAX),
            price: read_price("spot_usd_per_hour", price)?,
        })
    }
}

fn whole(column: &'static str, text: &str, max: u64) -> Result<u64, Wrong> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits
        .then(|| text.parse().ok())
        .flatten()
        .filter(|number| *number <= max)
        .ok_or_else(|| (column, Problem::NotWhole { text: excerpt(text), max }))
}

fn name_of<'a>(column: &'static str, text: &'a str) -> Result<&'a str, Wrong> {
    let wrong = || (column, Problem::NotName { text: excerpt(text) });
    is_name(text).then_some(text).ok_or_else(wrong)
}

/// A price, or `None` if the text is a number that cannot be a price: the market then keeps
/// the last good one. Anything that is not a number is an error.
fn read_price(column: &'static str, text: &str) -> Result<Option<Price>, Wrong> {
    if let Ok(price) = text.parse::<Price>() {
        return Ok(Some(price).filter(|price| *price > Price::ZERO));
    }
    let dollars: f64 =
        text.parse().map_err(|_| (column, Problem::NotPrice { text: excerpt(text) }))?;
    // Finer than a micro-dollar, or in another notation.
    let micros = (dollars * 1e6).round();
    Ok((1.0..=1e13).contains(&micros).then(|| Price::from_micros_per_hour(micros as i64)))
}

fn value(file: &str, place: FilePosition, column: &'static str, problem: Problem) -> MarketError {
    MarketError::Value { file: file.to_owned(), place, column, problem }
}

fn open(path: &Path) -> Result<std::fs::File, MarketError> {
    std::fs::File::open(path).map_err(|source| MarketError::Read { path: path.to_owned(), source })
}

/// What the `index.json` next to a recording says about it; empty if there is none, or if
/// it does not list the file.
fn read_index(recording: &Path) -> Result<IndexEntry, MarketError> {
    #[derive(Deserialize)]
    struct Entry {
        file: String,
        start_date: Option<String>,
        step_seconds: Option<u32>,
        steps: Option<u32>,
        #[serde(default)]
        instance_types: BTreeMap<InstanceType, serde_json::Number>,
    }
    let path = recording.with_file_name("index.json");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(IndexEntry::default());
        }
        Err(source) => return Err(MarketError::Read { path, source }),
    };
    let file = path.display().to_string();
    let entries: Vec<Entry> = serde_json::from_str(&text)
        .map_err(|source| MarketError::Json { file: file.clone(), source })?;
    let name = recording.file_name().and_then(|name| name.to_str());
    let found = entries.iter().enumerate().find(|(_, entry)| Some(entry.file.as_str()) == name);
    let Some((number, entry)) = found else { return Ok(IndexEntry::default()) };
    let fail = |(column, problem)| value(&file, FilePosition::Entry(number + 1), column, problem);
    let mut index = IndexEntry::default();
    if let Some(text) = &entry.start_date {
        index.start = Some(midnight(text).map_err(fail)?);
    }
    if let (Some(step), Some(steps)) = (entry.step_seconds, entry.steps) {
        let seconds = u64::from(step).saturating_mul(u64::from(steps)).min(MAX_SECONDS);
        index.length = Some(Duration::from_secs(seconds));
    }
    for (instance_type, number) in &entry.instance_types {
        let text = number.to_string();
        let price = read_price("instance_types", &text).map_err(fail)?;
        let wrong = || fail(("instance_types", Problem::NotPrice { text: excerpt(&text) }));
        index.on_demand.insert(instance_type.clone(), price.ok_or_else(wrong)?);
    }
    Ok(index)
}

/// The first moment of a day in UTC.
fn midnight(text: &str) -> Result<Timestamp, Wrong> {
    let wrong = || ("start_date", Problem::NotDate { text: excerpt(text) });
    let date: jiff::civil::Date = text.parse().map_err(|_| wrong())?;
    date.to_zoned(TimeZone::UTC).map(|day| day.timestamp()).map_err(|_| wrong())
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
