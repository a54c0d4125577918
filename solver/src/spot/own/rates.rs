//! Hazards as factors on a prior: Gamma-Poisson means, each level drawn towards the one
//! above it.

use crate::spot::horizon::Classes;

use super::prior::SUREST;

/// Ends seen, and ends that the prior expected meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Count {
    pub(super) ends: f64,
    pub(super) expected: f64,
}

impl Count {
    pub(super) fn plus(self, other: Self) -> Self {
        Self { ends: self.ends + other.ends, expected: self.expected + other.expected }
    }

    pub(super) fn times(self, factor: f64) -> Self {
        Self { ends: self.ends * factor, expected: self.expected * factor }
    }

    /// The mean of the factor after this, where before it was Gamma with mean `prior` and
    /// the weight of so many ends of a spell under the stated hazards.
    pub(super) fn drawn_to(self, prior: f64, weight: f64) -> f64 {
        (self.ends + weight * prior) / (self.expected + weight)
    }
}

/// How many expected ends each level weighs against the one below it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Weights {
    /// The stated prior against all that was seen.
    pub(super) prior: f64,
    /// All zones against those of one region.
    pub(super) region: f64,
    /// A region against one zone.
    pub(super) zone: f64,
    /// A class of age against all of them.
    pub(super) class: f64,
}

pub(super) fn sum(counts: impl IntoIterator<Item = Count>) -> Count {
    counts.into_iter().fold(Count::default(), Count::plus)
}

/// Hazards of every zone by class: the prior's, times the zone's factor, times what the
/// class does in all zones. Spells that are up and those that are down have factors apart.
pub(super) fn hazards(
    classes: &Classes,
    prior: &[f64],
    regions: &[usize],
    counts: &[Vec<Count>],
    weights: Weights,
) -> Vec<Vec<f64>> {
    let mut ends = vec![prior.to_vec(); counts.len()];
    for side in [0..classes.up(), classes.up()..classes.all()] {
        let of_zone = |zone: usize| sum(counts[zone][side.clone()].iter().copied());
        let all = sum((0..counts.len()).map(of_zone)).drawn_to(1.0, weights.prior);
        for class in side.clone() {
            let of_class = sum(counts.iter().map(|zone| zone[class]));
            let against = Count { expected: of_class.expected * all, ..of_class };
            let factor = against.drawn_to(1.0, weights.class);
            for zone in &mut ends {
                zone[class] *= factor;
            }
        }
        for (zone, region) in regions.iter().enumerate().take(counts.len()) {
            let alike = (0..counts.len()).filter(|other| regions.get(*other) == Some(region));
            let region = sum(alike.map(of_zone)).drawn_to(all, weights.region);
            let factor = of_zone(zone).drawn_to(region, weights.zone);
            for class in side.clone() {
                ends[zone][class] = (ends[zone][class] * factor).min(SUREST);
            }
        }
    }
    ends
}
