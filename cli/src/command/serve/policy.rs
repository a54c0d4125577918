//! The operator's settings as a file.
//!
//! ```yaml
//! changeover: 5m
//! deadline_margin: 5m
//! interruption_waiver: 1h
//! minimum_billed: 60s
//! bands:                  # parts of a class's machine-hours that run on spot
//!   training: {spot_floor: 0.8, spot_ceiling: 0.9}
//!   critical: {spot_ceiling: 0.3}
//! band_window: 7d
//! band_price_share: 0.05  # of the on-demand price, outside of a band
//! least_pools: 3          # zones and machine types that a class runs on
//! pool_price_share: 0.02  # of the on-demand price, on the fullest of too few
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use spotwise_model::policy::Policy;
use spotwise_model::spec::Class;
use spotwise_model::time::parse_duration;

use crate::config::yaml_error;
use crate::exit::Failure;

/// What the file may say; what it does not say stays as it is.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    changeover: Option<Span>,
    deadline_margin: Option<Span>,
    interruption_waiver: Option<Span>,
    minimum_billed: Option<Span>,
    bands: BTreeMap<Class, BandFile>,
    band_window: Option<Span>,
    band_price_share: Option<f64>,
    least_pools: Option<u32>,
    pool_price_share: Option<f64>,
}

/// A band; what it does not say stays as it is.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct BandFile {
    spot_floor: Option<f64>,
    spot_ceiling: Option<f64>,
}

struct Span(Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        parse_duration(&String::deserialize(d)?).map(Self).map_err(de::Error::custom)
    }
}

/// Reads the operator's settings.
pub(super) fn read(path: &Path) -> Result<Policy, Failure> {
    read_over(path, Policy::default())
}

/// Reads the operator's settings; what the file does not say is as in `policy`.
pub(in crate::command) fn read_over(path: &Path, policy: Policy) -> Result<Policy, Failure> {
    let fail = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    parse(&text, policy).map_err(fail)
}

fn parse(text: &str, mut policy: Policy) -> Result<Policy, String> {
    let file: File = serde_saphyr::from_str(text).map_err(|error| yaml_error(&error))?;
    for (field, value) in [
        (&mut policy.changeover, file.changeover),
        (&mut policy.deadline_margin, file.deadline_margin),
        (&mut policy.interruption_waiver, file.interruption_waiver),
        (&mut policy.minimum_billed, file.minimum_billed),
        (&mut policy.band_window, file.band_window),
    ] {
        if let Some(Span(span)) = value {
            *field = span;
        }
    }
    for (class, said) in file.bands {
        let mut band = policy.band(class);
        band.spot_floor = said.spot_floor.unwrap_or(band.spot_floor);
        band.spot_ceiling = said.spot_ceiling.unwrap_or(band.spot_ceiling);
        policy.bands.insert(class, band);
    }
    policy.band_price_share = file.band_price_share.unwrap_or(policy.band_price_share);
    policy.least_pools = file.least_pools.unwrap_or(policy.least_pools);
    policy.pool_price_share = file.pool_price_share.unwrap_or(policy.pool_price_share);
    policy.validate().map_err(|error| error.to_string())?;
    Ok(policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_stays() {
        let policy = parse("changeover: 2m\n", Policy::default()).unwrap();
        assert_eq!(policy.changeover, Duration::from_secs(120));
        assert_eq!(policy.minimum_billed, Policy::default().minimum_billed);
    }

    #[test]
    fn a_band_is_read_in_part_or_in_whole() {
        let text =
            "bands: {dev: {spot_floor: 0.5}, critical: {spot_floor: 0.1, spot_ceiling: 0}}\n";
        let error = parse(text, Policy::default()).unwrap_err();
        assert!(error.contains("bands.critical") && error.contains("0.1"), "{error}");
        let text = "bands:\n  dev: {spot_floor: 0.5}\nband_window: 2d\nband_price_share: 0\n\
                    least_pools: 1\npool_price_share: 0.1\n";
        let policy = parse(text, Policy::default()).unwrap();
        let dev = policy.band(Class::Dev);
        assert_eq!((dev.spot_floor, dev.spot_ceiling), (0.5, 1.0));
        assert_eq!(policy.band(Class::Training), Policy::default().band(Class::Training));
        assert_eq!(policy.band_window, Duration::from_secs(2 * 86_400));
        assert_eq!(policy.least_pools, 1);
        assert_eq!((policy.band_price_share, policy.pool_price_share), (0.0, 0.1));
    }

    #[test]
    fn mistakes_in_bands_name_the_field() {
        for (text, named) in [
            ("bands: {dev: {spot_floor: 1.5}}\n", "bands.dev.spot_floor"),
            ("bands: {dev: {spot_ceiling: .nan}}\n", "bands.dev.spot_ceiling"),
            ("bands: {dev: {spot_ceiling: 0.5}}\n", "bands.dev"),
            ("bands: {dev: {ceiling: 0.5}}\n", "ceiling"),
            ("bands: {prod: {spot_ceiling: 0.5}}\n", "prod"),
            ("band_window: 32d\n", "band_window"),
            ("band_price_share: -1\n", "band_price_share"),
            ("pool_price_share: .inf\n", "pool_price_share"),
            ("least_pools: many\n", "line 1"),
        ] {
            let message = parse(text, Policy::default()).unwrap_err();
            assert_eq!(message.lines().count(), 1, "{message}");
            assert!(message.contains(named), "{message} should name {named}");
        }
    }

    #[test]
    fn mistakes_are_one_line() {
        for text in ["changover: 2m\n", "changeover: fast\n", "- 1\n"] {
            let message = parse(text, Policy::default()).unwrap_err();
            assert_eq!(message.lines().count(), 1, "{message}");
        }
        assert!(parse("changover: 2m\n", Policy::default()).unwrap_err().contains("changover"));
    }
}
