//! A recording as a market for many: a fixed number of machines per zone while there is
//! capacity.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::CapacityType;
use spotwise_model::id::{InstanceType, Zone};
use spotwise_model::time::after;

use super::error::BacktestError;
use super::index::{Entry, read_entry};
use super::jobs::Stage;
use super::measure::OnDemand;
use super::recording::Source;
use spotwise_market::{Catalog, Market, MarketError, MarketSeries, Row, each_row};

/// The part of a recording that is offered.
#[derive(Clone, Debug, PartialEq)]
pub struct SharedMarketOptions {
    /// The recording.
    pub source: Source,
    /// Machine types; all if none is named.
    pub types: Vec<String>,
    /// Zones; all if none is named.
    pub zones: Vec<String>,
    /// Spot machines of each type in a zone while the recording had any.
    pub capacity: u32,
    /// On-demand machines of each type in a zone; the market's own number if not given.
    pub on_demand_capacity: Option<u32>,
}

/// Reads it; a recording without a start begins with the year 2000.
pub(super) fn read(
    options: &SharedMarketOptions,
    catalog: &Catalog,
) -> Result<Market, BacktestError> {
    if options.capacity == 0 {
        let (range, value) = ("a number of at least 1".to_owned(), "0".to_owned());
        return Err(BacktestError::Range { what: "capacity", range, value });
    }
    let Source { table, index } = &options.source;
    let entry = read_entry(index, table)?;
    let file = std::fs::File::open(table)
        .map_err(|source| BacktestError::Read { path: table.clone(), source })?;
    let start = entry.start.unwrap_or(YEAR_2000);
    let mut found = Found { options, entry: &entry, catalog, start, all_series: BTreeMap::new() };
    let name = table.display().to_string();
    each_row(&name, std::io::BufReader::new(file), |row, place| {
        let at = after(start, Duration::from_secs(row.seconds));
        let available = if row.available >= entry.nodes_requested { options.capacity } else { 0 };
        let wanted = Row { at, available, price: row.price };
        found.take(&name, place, (row.zone, row.instance_type), wanted)
    })?;
    let all_series = found.all_series;
    check_names(options, &name, &all_series)?;
    let length = u64::from(entry.step_seconds).saturating_mul(entry.steps as u64);
    let end = after(start, Duration::from_secs(length));
    let nothing = || MarketError::Empty { file: name.clone(), detail: " of these types and zones" };
    let market =
        Market::new(all_series.into_values().flatten().collect(), Some(end)).ok_or_else(nothing)?;
    Ok(match options.on_demand_capacity {
        Some(machines) => market.with_on_demand(machines),
        None => market,
    })
}

/// 2000-01-01.
const YEAR_2000: Timestamp = Timestamp::constant(946_684_800, 0);

/// Every zone and type of the file; `None` if not requested.
type SeriesByMarket = BTreeMap<(Zone, InstanceType), Option<MarketSeries>>;

struct Found<'a> {
    options: &'a SharedMarketOptions,
    entry: &'a Entry,
    catalog: &'a Catalog,
    start: Timestamp,
    all_series: SeriesByMarket,
}

impl Found<'_> {
    fn take(
        &mut self,
        file: &str,
        place: spotwise_market::FilePosition,
        key: (Zone, InstanceType),
        row: Row,
    ) -> Result<(), MarketError> {
        if let Some(known) = self.all_series.get_mut(&key) {
            if let Some(series) = known {
                series.rows.push(row);
            }
            return Ok(());
        }
        let (zone, instance_type) = key.clone();
        let named = |list: &[String], name: &str| list.is_empty() || list.iter().any(|n| n == name);
        let wanted = named(&self.options.types, instance_type.as_str())
            && named(&self.options.zones, zone.as_str());
        let series = if wanted {
            let machine = self.catalog.machine_type(&instance_type).map_err(|source| {
                let column = "instance_type";
                MarketError::Type { file: file.to_owned(), place, column, source }
            })?;
            let on_demand = self.entry.on_demand.get(instance_type.as_str()).copied();
            let on_demand = on_demand.unwrap_or(machine.on_demand);
            let shape = machine.shape.clone();
            // Nothing can be had before the first row.
            let before = (row.at > self.start).then_some(Row {
                at: self.start,
                available: 0,
                price: row.price,
            });
            let rows = before.into_iter().chain([row]).collect();
            Some(MarketSeries { zone, instance_type, shape, on_demand, rows })
        } else {
            None
        };
        self.all_series.insert(key, series);
        Ok(())
    }
}

fn check_names(
    options: &SharedMarketOptions,
    market: &str,
    all_series: &SeriesByMarket,
) -> Result<(), BacktestError> {
    let zones: Vec<&str> = distinct(all_series.keys().map(|(zone, _)| zone.as_str()));
    let types: Vec<&str> = distinct(all_series.keys().map(|(_, name)| name.as_str()));
    if let Some(unknown) = options.types.iter().find(|name| !types.contains(&name.as_str())) {
        return Err(BacktestError::UnknownType {
            market: market.to_owned(),
            instance_type: unknown.clone(),
            known: types.join(", "),
        });
    }
    if let Some(unknown) = options.zones.iter().find(|name| !zones.contains(&name.as_str())) {
        return Err(BacktestError::UnknownZone {
            market: market.to_owned(),
            instance_type: types.join(" or "),
            zone: unknown.clone(),
            known: zones.join(", "),
        });
    }
    Ok(())
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    names.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// The machine with the most GPUs, in which those of a trace are counted, and the market's
/// time.
pub(super) fn stage(market: &Market) -> Stage {
    let shapes = market.quotes(market.start()).into_iter().map(|quote| quote.shape);
    let shape = shapes.max_by_key(|shape| shape.gpus).unwrap_or_default();
    Stage { start: market.start(), end: market.end(), shape }
}

/// What machines cost on demand.
pub(super) fn on_demand(market: &Market) -> Vec<OnDemand> {
    let quotes = market.quotes(market.start()).into_iter();
    let quotes = quotes.filter(|quote| quote.capacity_type == CapacityType::OnDemand);
    let machine = |quote: spotwise_market::MarketQuote| OnDemand {
        dollars_per_hour: quote.price.dollars_per_hour(),
        shape: quote.shape,
    };
    quotes.map(machine).collect()
}
