//! What is believed of a market before anything is seen.

use std::fmt;

use super::belief::long_run;
use crate::spot::horizon::Classes;

/// A stated belief of the hazards of a machine type's spells, before any observation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum StatedPrior {
    /// Hazards of the size of the recorded markets, falling with age as a heavy tail does:
    /// 0.4 / (age + 0.3 h) an hour, for spells with capacity and without.
    #[default]
    Recorded,
    /// Machines of the type are interrupted once in so many hours of running on the mean,
    /// and capacity that is gone stays away for so many.
    MeanHours {
        /// Of a machine.
        up: f64,
        /// Without capacity.
        down: f64,
    },
    /// Of AWS's spot advisor: the share of machines interrupted in a month, per cent, from
    /// and to. Capacity that is gone is believed to come back as on the recorded markets.
    Advisor {
        /// At least.
        from: u8,
        /// At most; none for the last bucket, "more than".
        to: Option<u8>,
    },
}

/// Hours of a month, 365.25 days / 12.
const MONTH_HOURS: f64 = 730.5;
/// Hazards are not believed further than this from those of the recorded markets, either way.
const FARTHEST: f64 = 1e4;

impl StatedPrior {
    /// The bucket of two in which a number of hours lies, by its geometric middle: what a
    /// published figure of a type would say, and no more.
    pub fn bucket(hours: f64) -> f64 {
        (hours.max(0.1).log2().floor() + 0.5).exp2()
    }

    /// Mean hours between interruptions of a machine, as far as the prior states them.
    pub fn mean_hours(self) -> Option<f64> {
        match self {
            Self::Recorded => None,
            Self::MeanHours { up, .. } => Some(up),
            Self::Advisor { from, to } => {
                // An open bucket is taken as wide as the one before it.
                let to = to.unwrap_or(from.saturating_add(5));
                let share = (f64::from(from) + f64::from(to)) / 200.0;
                Some(MONTH_HOURS / -(1.0 - share.clamp(1e-3, 0.99)).ln())
            }
        }
    }

    /// Chance, by class, that a spell ends in a step.
    pub(super) fn ends(self, classes: &Classes, step_seconds: f64) -> Vec<f64> {
        let step_hours = step_seconds / 3_600.0;
        let shape: Vec<f64> = (0..classes.all())
            .map(|class| classes.prior_per_hour(class, step_seconds) * step_hours)
            .collect();
        let down = match self {
            Self::MeanHours { down, .. } => Some(down),
            Self::Recorded | Self::Advisor { .. } => None,
        };
        let steps = |hours: Option<f64>| hours.map(|hours| hours / step_hours);
        let scaled = |up, mean| scale(classes, &shape, up, mean);
        let (ups, downs) = (scaled(true, steps(self.mean_hours())), scaled(false, steps(down)));
        let end = |(class, end): (usize, &f64)| {
            (end * if classes.is_up(class) { ups } else { downs }).min(SUREST)
        };
        shape.iter().enumerate().map(end).collect()
    }
}

/// No spell is believed to end more surely than this in a step.
pub(super) const SUREST: f64 = 0.9;

/// The factor on hazards that makes their spells last `mean` steps, found by halving.
fn scale(classes: &Classes, shape: &[f64], up: bool, mean: Option<f64>) -> f64 {
    let Some(mean) = mean else { return 1.0 };
    let (mut low, mut high) = (FARTHEST.recip().ln(), FARTHEST.ln());
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if mean_steps(classes, shape, up, middle.exp()) > mean {
            low = middle;
        } else {
            high = middle;
        }
    }
    ((low + high) / 2.0).exp()
}

/// Mean steps of a spell with these hazards times a factor.
fn mean_steps(classes: &Classes, shape: &[f64], up: bool, factor: f64) -> f64 {
    let ends: Vec<f64> = shape.iter().map(|end| (end * factor).min(SUREST)).collect();
    let share = long_run(classes, &ends);
    let side = |(class, _): &(usize, &f64)| classes.is_up(*class) == up;
    let time: f64 = share.iter().enumerate().filter(side).map(|(_, share)| share).sum();
    let over: f64 =
        share.iter().enumerate().filter(side).map(|(class, share)| share * ends[class]).sum();
    time / over.max(f64::MIN_POSITIVE)
}

impl fmt::Display for StatedPrior {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recorded => f.write_str("as recorded markets of 2022 and 2023"),
            Self::MeanHours { up, .. } => write!(f, "one interruption in {up:.1} h"),
            Self::Advisor { from, to: Some(to) } => write!(f, "{from}-{to} % a month"),
            Self::Advisor { from, to: None } => write!(f, "more than {from} % a month"),
        }
    }
}
