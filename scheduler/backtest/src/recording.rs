//! A recording as steps x zones, with an earlier one in front of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use spotwise_solver::replay::{RecordedMarket, RecordedStep, RecordedZone};

use super::error::BacktestError;
use super::index::{Entry, read_entry};
use spotwise_market::each_row;

/// A recording and the index that lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The table of rows.
    pub table: PathBuf,
    /// The index.
    pub index: PathBuf,
}

/// The rows of one machine type.
struct Recording {
    name: String,
    entry: Entry,
    zones: BTreeMap<String, Vec<Reading>>,
    types: std::collections::BTreeSet<String>,
}

/// The values in a zone from a second on.
#[derive(Clone, Copy)]
struct Reading {
    seconds: u64,
    available: u32,
    /// `None` if the recorded value cannot be a price.
    price_micros: Option<i64>,
}

/// Reads the market of one machine type in `zones`, in that order; all of its zones if none
/// are named. `history` ends where the market begins: its same zones and type count, in the
/// market's steps.
pub fn read_market(
    source: &Source,
    history: Option<&Source>,
    instance_type: &str,
    zones: &[String],
) -> Result<RecordedMarket, BacktestError> {
    let recording = Recording::read(source, instance_type)?;
    let on_demand = recording.on_demand(instance_type)?;
    let earlier = history.map(|history| Recording::read(history, instance_type)).transpose()?;
    let named = recording.choose(instance_type, zones)?;
    let step = recording.entry.step_seconds;
    let nodes = recording.entry.nodes_requested;
    let zones = named.into_iter().map(|name| {
        let mut quotes =
            earlier.as_ref().map_or_else(Vec::new, |past| past.before(&name, step, nodes));
        let before = quotes.len();
        let last = quotes.last().map_or(on_demand, |quote| quote.price_micros);
        quotes.extend(recording.own(&name, last));
        RecordedZone { name, before, quotes }
    });
    RecordedMarket::new(step, recording.entry.steps, on_demand, zones.collect())
        .map_err(|source| BacktestError::Market { market: recording.name.clone(), source })
}

impl Recording {
    fn read(source: &Source, instance_type: &str) -> Result<Self, BacktestError> {
        let entry = read_entry(&source.index, &source.table)?;
        let file = std::fs::File::open(&source.table)
            .map_err(|error| BacktestError::Read { path: source.table.clone(), source: error })?;
        let mut zones: BTreeMap<String, Vec<Reading>> = BTreeMap::new();
        let mut types = std::collections::BTreeSet::new();
        let shown = source.table.display().to_string();
        each_row(&shown, std::io::BufReader::new(file), |row, _| {
            if row.instance_type.as_str() == instance_type {
                let price_micros = row.price.map(spotwise_model::Price::micros_per_hour);
                let reading =
                    Reading { seconds: row.seconds, available: row.available, price_micros };
                zones.entry(row.zone.as_str().to_owned()).or_default().push(reading);
            }
            types.insert(row.instance_type.as_str().to_owned());
            Ok(())
        })?;
        Ok(Self { name: name_of(&source.table), entry, zones, types })
    }

    fn on_demand(&self, instance_type: &str) -> Result<i64, BacktestError> {
        let price = self.entry.on_demand.get(instance_type);
        let unknown = || BacktestError::UnknownType {
            market: self.name.clone(),
            instance_type: instance_type.to_owned(),
            known: list(self.types.iter().filter(|name| self.entry.on_demand.contains_key(*name))),
        };
        let price = price.filter(|_| !self.zones.is_empty()).ok_or_else(unknown)?;
        Ok(price.micros_per_hour())
    }

    /// The requested zones, or all: those of the index first.
    fn choose(&self, instance_type: &str, zones: &[String]) -> Result<Vec<String>, BacktestError> {
        let listed = || self.entry.zones.iter().filter(|zone| self.zones.contains_key(*zone));
        if zones.is_empty() {
            let others = self.zones.keys().filter(|zone| !self.entry.zones.contains(zone));
            return Ok(listed().chain(others).cloned().collect());
        }
        if let Some(zone) = zones.iter().find(|zone| !self.zones.contains_key(*zone)) {
            return Err(BacktestError::UnknownZone {
                market: self.name.clone(),
                instance_type: instance_type.to_owned(),
                zone: zone.clone(),
                known: list(self.zones.keys()),
            });
        }
        Ok(zones.to_vec())
    }

    /// A zone in its own steps; `last` is its price while none is known yet.
    fn own(&self, zone: &str, last: i64) -> Vec<RecordedStep> {
        let step = u64::from(self.entry.step_seconds);
        let times = (0..self.entry.steps as u64).map(|at| at * step);
        self.sample(zone, times, self.entry.nodes_requested, last)
    }

    /// A zone in steps of `step` seconds that end with this recording; empty if it is not
    /// recorded. A recording that asked for fewer machines than `nodes` counts as soon as
    /// it got what it asked for.
    fn before(&self, zone: &str, step: u32, nodes: u32) -> Vec<RecordedStep> {
        let Some(first) = self.zones.get(zone).and_then(|readings| readings.first()) else {
            return Vec::new();
        };
        let length = u64::from(self.entry.step_seconds) * self.entry.steps as u64;
        let step = u64::from(step);
        let times = (1..=length / step).rev().map(|back| length - back * step);
        let times = times.skip_while(|time| *time < first.seconds);
        let last = first.price_micros.unwrap_or(0);
        self.sample(zone, times, nodes.min(self.entry.nodes_requested), last)
    }

    /// A row holds until the next one; before the first, nothing is available.
    fn sample(
        &self,
        zone: &str,
        times: impl Iterator<Item = u64>,
        nodes: u32,
        mut price_micros: i64,
    ) -> Vec<RecordedStep> {
        let none = Vec::new();
        let mut readings = self.zones.get(zone).unwrap_or(&none).iter().peekable();
        let mut available = false;
        let quotes = times.map(|time| {
            while let Some(reading) = readings.next_if(|reading| reading.seconds <= time) {
                available = reading.available >= nodes;
                price_micros = reading.price_micros.unwrap_or(price_micros);
            }
            RecordedStep { available, price_micros }
        });
        quotes.collect()
    }
}

fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
