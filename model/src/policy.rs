//! What the operator sets: class priors, default changeover, safety margins,
//! and how much of each class runs on spot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::egress::Egress;
use crate::spec::Class;

/// The longest [`Policy::band_window`]: a month. The scheduler keeps no longer history.
pub const MOST_BAND_WINDOW: Duration = Duration::from_secs(31 * 86_400);

/// The operator's settings that affect choices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Time from launch to the first useful step if an offer does not say.
    pub changeover: Duration,
    /// Kept free before the latest start on on-demand, on top of two
    /// changeovers: it covers the length of a planning round.
    pub deadline_margin: Duration,
    /// A spot machine taken back by its provider within this time is free.
    pub interruption_waiver: Duration,
    /// The shortest time that the provider bills.
    pub minimum_billed: Duration,
    /// The bands that the spot shares of classes are kept within; an unlisted class has its
    /// default ([`Band::of`]).
    pub bands: BTreeMap<Class, Band>,
    /// A class's spot share is computed over its machine-hours in this window.
    pub band_window: Duration,
    /// What a machine-hour on the wrong side of a band costs a choice, as a fraction of the
    /// offer's on-demand price; 0 for no bands.
    pub band_price_share: f64,
    /// A class runs on at least this many pools (zone and machine type), if that costs
    /// little; 0 or 1 for anywhere.
    pub least_pools: u32,
    /// What one more machine-hour on the fullest pool of a class with too few pools costs a
    /// choice, as a fraction of the offer's on-demand price.
    pub pool_price_share: f64,
    /// The cost of moving data between regions: from a price table, not from the settings.
    #[serde(skip)]
    pub egress: Arc<Egress>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            changeover: Duration::from_secs(300),
            deadline_margin: Duration::from_secs(300),
            interruption_waiver: Duration::from_secs(3_600),
            minimum_billed: Duration::from_secs(60),
            bands: Class::ALL.into_iter().map(|class| (class, Band::of(class))).collect(),
            band_window: Duration::from_secs(7 * 86_400),
            band_price_share: 0.05,
            least_pools: 3,
            pool_price_share: 0.02,
            egress: Arc::default(),
        }
    }
}

/// The fraction of a class's machine-hours that runs on spot, 0 to 1. A soft preference:
/// outside it choices carry a price, and nothing is ever refused or delayed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Band {
    /// At least this much.
    pub spot_floor: f64,
    /// At most this much.
    pub spot_ceiling: f64,
}

impl Band {
    /// The default for a class: work that can restart runs on spot, work that must not wait
    /// does not.
    pub const fn of(class: Class) -> Self {
        let (spot_floor, spot_ceiling) = match class {
            Class::Training => (0.8, 0.9),
            Class::Inference => (0.6, 0.7),
            Class::Dev => (0.95, 1.0),
            Class::Critical => (0.0, 0.3),
        };
        Self { spot_floor, spot_ceiling }
    }
}

/// A setting that makes no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPolicy {
    /// A fraction that is not between 0 and 1.
    #[error("`{field}` is {value}: give a part from 0 to 1, such as 0.8")]
    NotAPart {
        /// The setting.
        field: String,
        /// Its value.
        value: f64,
    },
    /// An empty band.
    #[error(
        "`bands.{class}` has its spot_floor {floor} above its spot_ceiling {ceiling}: \
         lower the floor or raise the ceiling"
    )]
    EmptyBand {
        /// The class.
        class: &'static str,
        /// The floor.
        floor: f64,
        /// The ceiling.
        ceiling: f64,
    },
    /// A window that is empty or longer than the history kept.
    #[error("`band_window` is {}: give more than nothing and at most 31d", crate::time::human(*window))]
    BadWindow {
        /// Its value.
        window: Duration,
    },
}

impl Policy {
    /// The band of a class.
    pub fn band(&self, class: Class) -> Band {
        self.bands.get(&class).copied().unwrap_or_else(|| Band::of(class))
    }

    /// Checks that every setting makes sense.
    ///
    /// # Errors
    ///
    /// The first setting that does not, with its allowed values.
    pub fn validate(&self) -> Result<(), InvalidPolicy> {
        for (class, band) in &self.bands {
            let class = class.name();
            part(&format!("bands.{class}.spot_floor"), band.spot_floor)?;
            part(&format!("bands.{class}.spot_ceiling"), band.spot_ceiling)?;
            if band.spot_floor > band.spot_ceiling {
                let (floor, ceiling) = (band.spot_floor, band.spot_ceiling);
                return Err(InvalidPolicy::EmptyBand { class, floor, ceiling });
            }
        }
        part("band_price_share", self.band_price_share)?;
        part("pool_price_share", self.pool_price_share)?;
        if self.band_window.is_zero() || self.band_window > MOST_BAND_WINDOW {
            return Err(InvalidPolicy::BadWindow { window: self.band_window });
        }
        Ok(())
    }
}

/// NaN is not a fraction either.
fn part(field: &str, value: f64) -> Result<(), InvalidPolicy> {
    if (0.0..=1.0).contains(&value) {
        Ok(())
    } else {
        Err(InvalidPolicy::NotAPart { field: field.to_owned(), value })
    }
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 4] = [Self::Training, Self::Inference, Self::Dev, Self::Critical];

    /// Expected duration of a job that does not state one, until progress has been
    /// reported. Our own choice: it only has to be the right order of magnitude.
    pub const fn prior_duration(self) -> Duration {
        Duration::from_secs(match self {
            Self::Training => 4 * 3_600,
            Self::Critical => 2 * 3_600,
            Self::Inference | Self::Dev => 3_600,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut Policy)) -> Result<(), InvalidPolicy> {
        let mut policy = Policy::default();
        change(&mut policy);
        policy.validate()
    }

    fn banded(spot_floor: f64, spot_ceiling: f64) -> Result<(), InvalidPolicy> {
        with(|p| {
            p.bands.insert(Class::Dev, Band { spot_floor, spot_ceiling });
        })
    }

    #[test]
    fn the_defaults_make_sense_and_cover_every_class() {
        let policy = Policy::default();
        assert_eq!(policy.validate(), Ok(()));
        assert_eq!(policy.bands.len(), Class::ALL.len());
        let bare = Policy { bands: BTreeMap::new(), ..policy.clone() };
        for class in Class::ALL {
            assert_eq!(bare.band(class), policy.band(class));
        }
    }

    #[test]
    fn a_setting_that_makes_no_sense_is_named() {
        assert_eq!(banded(0.0, 0.0), Ok(()));
        assert_eq!(banded(1.0, 1.0), Ok(()));
        for (wrong, field) in [
            (banded(-0.1, 0.5), "bands.dev.spot_floor"),
            (banded(f64::NAN, 0.5), "bands.dev.spot_floor"),
            (banded(0.5, 1.1), "bands.dev.spot_ceiling"),
            (banded(0.5, f64::NAN), "bands.dev.spot_ceiling"),
            (banded(0.6, 0.5), "bands.dev"),
            (with(|p| p.band_price_share = f64::NAN), "band_price_share"),
            (with(|p| p.band_price_share = 1.5), "band_price_share"),
            (with(|p| p.pool_price_share = -0.01), "pool_price_share"),
            (with(|p| p.band_window = Duration::ZERO), "band_window"),
            (with(|p| p.band_window = MOST_BAND_WINDOW * 2), "band_window"),
        ] {
            let message = wrong.unwrap_err().to_string();
            assert!(message.contains(&format!("`{field}`")), "{message} should name {field}");
        }
    }

    #[test]
    fn what_a_document_does_not_say_is_the_default_and_nothing_unknown_passes() {
        let policy: Policy = serde_json::from_str(r#"{"least_pools": 1}"#).unwrap();
        assert_eq!(policy, Policy { least_pools: 1, ..Policy::default() });
        let error = serde_json::from_str::<Policy>(r#"{"least_pool": 1}"#).unwrap_err();
        assert!(error.to_string().contains("least_pool"), "{error}");
        let band = r#"{"bands": {"dev": {"spot_floor": 0.5, "spot_top": 1.0}}}"#;
        assert!(serde_json::from_str::<Policy>(band).unwrap_err().to_string().contains("spot_top"));
        let text = serde_json::to_string(&Policy::default()).unwrap();
        assert_eq!(serde_json::from_str::<Policy>(&text).unwrap(), Policy::default());
    }
}
