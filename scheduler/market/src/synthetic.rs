//! An artificial market, drawn from a seed, that behaves like the recorded one.
//!
//! Fitted to the recorded market of 2023-02-15 (p3.2xlarge, nine zones,
//! 22.7 days, 966 spells with and 966 without capacity; andylizf/
//! skynomad-artifact, Apache-2.0). Over all zones it had spells with capacity of
//! 2.83 h on average (median 0.54 h), without of 2.25 h (0.54 h), and capacity
//! 55.7 % of the time; a price changed 2.05 times a day by 0.3 % (median).
//!
//! Each zone alternates between the two kinds of spell with lengths drawn from lognormal
//! distributions, as heavy-tailed as the recorded ones. The recorded zones differ far more
//! from each other than the spells within one: hence one profile per recorded zone, dealt
//! to the zones anew for each machine type.

use std::time::Duration;

use jiff::Timestamp;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use spotwise_model::id::{InstanceType, Zone};
use spotwise_model::{Price, time};

use super::catalog::{Catalog, MachineType};
use super::error::{FilePosition, MarketError};
use super::quote::{MarketSeries, Row};
use super::series::Market;

/// The most machines of a type that a zone has: what the recording of 2023-08-27 asked for.
pub const MOST_MACHINES: u32 = 16;

/// What to generate.
#[derive(Clone, Debug, PartialEq)]
pub struct SyntheticOptions {
    /// The same seed and start give the same market.
    pub seed: u64,
    /// When it begins.
    pub start: Timestamp,
    /// Its length in days, from 1 to 400.
    pub days: u32,
    /// By what factor spells are shorter than recorded: 1 is as recorded; from 0.01 to
    /// 1,000.
    pub turbulence: f64,
    /// Zones of the catalogue; all if empty.
    pub zones: Vec<Zone>,
    /// Machine types of the catalogue; all if empty.
    pub types: Vec<InstanceType>,
}

impl SyntheticOptions {
    /// Thirty days of everything in the catalogue, as turbulent as recorded.
    pub const fn new(seed: u64, start: Timestamp) -> Self {
        Self { seed, start, days: 30, turbulence: 1.0, zones: Vec::new(), types: Vec::new() }
    }
}

/// Generates a market. What happens in a zone and type does not depend on which others were
/// requested.
pub fn synthetic(options: &SyntheticOptions, catalog: &Catalog) -> Result<Market, MarketError> {
    check(options, catalog)?;
    let types: Vec<&MachineType> =
        catalog.types().filter(|kind| chosen(&options.types, &kind.name)).collect();
    let mut all_series = Vec::new();
    for machine in types {
        let profiles = deal(options.seed, machine);
        for (zone, profile) in catalog.zones().iter().zip(profiles.iter().cycle()) {
            if chosen(&options.zones, zone) {
                all_series.push(MarketSeries {
                    zone: zone.clone(),
                    instance_type: machine.name.clone(),
                    shape: machine.shape.clone(),
                    on_demand: machine.on_demand,
                    rows: rows(options, machine, zone, profile),
                });
            }
        }
    }
    let nothing = MarketError::Empty { file: "the catalogue".to_owned(), detail: "" };
    Market::new(all_series, Some(moment(options.start, length(options)))).ok_or(nothing)
}

fn chosen<T: PartialEq>(wanted: &[T], item: &T) -> bool {
    wanted.is_empty() || wanted.contains(item)
}

fn check(options: &SyntheticOptions, catalog: &Catalog) -> Result<(), MarketError> {
    let wrong = |field, problem: &str| MarketError::Option { field, problem: problem.to_owned() };
    if !(1..=400).contains(&options.days) {
        return Err(wrong("days", "must be from 1 to 400"));
    }
    if !(0.01..=1_000.0).contains(&options.turbulence) {
        return Err(wrong("turbulence", "must be from 0.01 to 1000"));
    }
    for (place, zone) in options.zones.iter().enumerate() {
        if !catalog.zones().contains(zone) {
            let problem = format!(
                "names `{zone}` (entry {}), which the catalogue does not have; it has {}",
                place + 1,
                names(catalog.zones())
            );
            return Err(MarketError::Option { field: "zones", problem });
        }
    }
    for (place, name) in options.types.iter().enumerate() {
        catalog.machine_type(name).map_err(|source| MarketError::Type {
            file: "the synthetic market".to_owned(),
            place: FilePosition::Entry(place + 1),
            column: "types",
            source,
        })?;
    }
    Ok(())
}

fn names(zones: &[Zone]) -> String {
    zones.iter().map(Zone::as_str).collect::<Vec<_>>().join(", ")
}

/// How one recorded zone behaved.
#[derive(Clone, Copy, Debug)]
struct Profile {
    up: Spell,
    down: Spell,
    /// Its mean spot price as a fraction of on-demand.
    fraction: f64,
}

/// A lognormal length: mean in seconds and standard deviation of the logarithm.
#[derive(Clone, Copy, Debug)]
struct Spell {
    mean: f64,
    sigma: f64,
}

const fn profile(up: (f64, f64), down: (f64, f64), fraction: f64) -> Profile {
    Profile {
        up: Spell { mean: up.0, sigma: up.1 },
        down: Spell { mean: down.0, sigma: down.1 },
        fraction,
    }
}

/// Fitted by matching the mean length and the mean logarithm of the length.
const PROFILES: [Profile; 9] = [
    profile((2_443.0, 1.06), (19_422.0, 1.79), 0.547), // us-east-1a
    profile((3_721.0, 1.21), (7_531.0, 1.35), 0.398),  // us-east-1c
    profile((4_285.0, 1.23), (8_505.0, 1.45), 0.384),  // us-east-1d
    profile((6_021.0, 1.35), (8_431.0, 1.46), 0.393),  // us-east-1f
    profile((22_551.0, 1.63), (9_149.0, 1.40), 0.300), // us-east-2a
    profile((11_646.0, 1.48), (7_814.0, 1.28), 0.303), // us-east-2b
    profile((18_122.0, 1.73), (3_514.0, 1.11), 0.300), // us-west-2a
    profile((27_885.0, 1.80), (4_954.0, 1.15), 0.300), // us-west-2b
    profile((16_228.0, 1.68), (3_461.0, 1.13), 0.300), // us-west-2c
];

/// Mean of the fractions above.
const MEAN_FRACTION: f64 = 0.358;

/// Time between price changes: 2.05 a day and zone.
const PRICE_GAP: f64 = 86_400.0 / 2.05;
/// Standard deviation of one change of the logarithm of the price.
const PRICE_MOVE: f64 = 0.0068;
/// What is left of a deviation after one change. With the move above, prices
/// stay within 1.6 % of their level; recorded: 0 to 6 %, median 1.7 %.
const PRICE_MEMORY: f64 = 0.9;
/// Spot is never quoted below this fraction of on-demand here.
const PRICE_FLOOR: f64 = 0.05;

/// Time between changes of the number of machines while there are some, and how often all
/// of them are available: recording of 2023-08-27 (39 min, 80 %; the rest is spread
/// evenly).
const MACHINES_GAP: f64 = 0.644 * 3_600.0;
const ALL_MACHINES: f64 = 0.8;

/// No spell is shorter: a probe of the recorded markets took minutes.
const SHORTEST_SPELL: f64 = 60.0;
/// Drawn and discarded, so that the first spells are cut like the recorded ones.
const BURN_IN_SECONDS: i64 = 5 * 86_400;

/// The profiles in the order in which a machine type's zones get them.
fn deal(seed: u64, machine: &MachineType) -> [Profile; 9] {
    let mut profiles = PROFILES;
    let mut rng = stream(seed, machine.name.as_str());
    for last in (1..profiles.len()).rev() {
        profiles.swap(last, rng.random_range(0..=last));
    }
    profiles
}

/// A separate generator for every name, so that leaving one out changes no other.
fn stream(seed: u64, name: &str) -> ChaCha8Rng {
    // FNV-1a, 64 bits.
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(hash);
    rng
}

fn length(options: &SyntheticOptions) -> i64 {
    i64::from(options.days) * 86_400
}

fn moment(start: Timestamp, seconds: i64) -> Timestamp {
    time::after(start, Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

fn rows(
    options: &SyntheticOptions,
    machine: &MachineType,
    zone: &Zone,
    profile: &Profile,
) -> Vec<Row> {
    let mut rng = stream(options.seed, &format!("{}/{zone}", machine.name));
    let length = length(options);
    let machines = machines(profile, options.turbulence, length, &mut rng);
    let prices = prices(machine, profile, length, &mut rng);
    let mut times: Vec<i64> =
        machines.iter().map(|step| step.0).chain(prices.iter().map(|step| step.0)).collect();
    times.sort_unstable();
    times.dedup();
    times
        .into_iter()
        .filter_map(|at| {
            let available = *value_at(&machines, at)?;
            let price = Some(*value_at(&prices, at)?);
            Some(Row { at: moment(options.start, at), available, price })
        })
        .collect()
}

fn value_at<T>(steps: &[(i64, T)], at: i64) -> Option<&T> {
    let after = steps.partition_point(|step| step.0 <= at);
    after.checked_sub(1).and_then(|index| steps.get(index)).map(|step| &step.1)
}

/// Number of machines over time, from second 0 to `length`.
fn machines(
    profile: &Profile,
    turbulence: f64,
    length: i64,
    rng: &mut ChaCha8Rng,
) -> Vec<(i64, u32)> {
    let mut steps = Vec::new();
    let mut up = rng.random_bool(profile.up.mean / (profile.up.mean + profile.down.mean));
    let mut at = -BURN_IN_SECONDS;
    while at < length {
        let spell = if up { profile.up } else { profile.down };
        let end = at + whole_seconds(spell.draw(rng) / turbulence);
        let mut from = at;
        while from < end {
            steps.push((from, if up { some_machines(rng) } else { 0 }));
            from = if up { from + whole_seconds(exponential(MACHINES_GAP, rng)) } else { end };
        }
        (at, up) = (end, !up);
    }
    from_zero(steps, length)
}

fn some_machines(rng: &mut ChaCha8Rng) -> u32 {
    if rng.random_bool(ALL_MACHINES) { MOST_MACHINES } else { rng.random_range(1..MOST_MACHINES) }
}

/// The spot price over time, from second 0 to `length`.
fn prices(
    machine: &MachineType,
    profile: &Profile,
    length: i64,
    rng: &mut ChaCha8Rng,
) -> Vec<(i64, Price)> {
    let on_demand = machine.on_demand.micros_per_hour() as f64;
    let level = on_demand * machine.spot_fraction * profile.fraction / MEAN_FRACTION;
    let mut steps = Vec::new();
    let mut deviation = 0.0;
    let mut at = -BURN_IN_SECONDS;
    while at < length {
        let price = (level * f64::exp(deviation)).clamp(on_demand * PRICE_FLOOR, on_demand);
        // Spot is quoted in hundredths of a cent.
        let micros = ((price / 100.0).round() * 100.0).max(100.0) as i64;
        steps.push((at, Price::from_micros_per_hour(micros)));
        deviation = deviation * PRICE_MEMORY + PRICE_MOVE * normal(rng);
        at += whole_seconds(exponential(PRICE_GAP, rng));
    }
    from_zero(steps, length)
}

/// Keeps what lies in `0..length`; what was in force at 0 starts there.
fn from_zero<T: PartialEq>(steps: Vec<(i64, T)>, length: i64) -> Vec<(i64, T)> {
    let mut kept: Vec<(i64, T)> = Vec::new();
    for (at, value) in steps.into_iter().filter(|(at, _)| *at < length) {
        match kept.last_mut() {
            Some(last) if at <= 0 => *last = (0, value),
            Some(last) if last.1 == value => {}
            _ => kept.push((at.max(0), value)),
        }
    }
    kept
}

impl Spell {
    fn draw(self, rng: &mut ChaCha8Rng) -> f64 {
        let mu = self.mean.ln() - self.sigma * self.sigma / 2.0;
        f64::exp(mu + self.sigma * normal(rng))
    }
}

fn whole_seconds(seconds: f64) -> i64 {
    seconds.max(SHORTEST_SPELL).round() as i64
}

fn exponential(mean: f64, rng: &mut ChaCha8Rng) -> f64 {
    -mean * (1.0 - rng.random::<f64>()).ln()
}

/// Standard normal, after Box and Muller.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

#[cfg(test)]
#[path = "synthetic_tests.rs"]
mod tests;
