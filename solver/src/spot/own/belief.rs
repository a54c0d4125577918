//! What is believed of one zone, step by step.

use crate::spot::horizon::Classes;

/// What we saw of a zone in a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sight {
    /// Nothing: no machine of ours was there, and no launch was tried.
    #[default]
    Nothing,
    /// A machine of ours is there, or was just granted.
    Held,
    /// A machine of ours was taken back.
    Taken,
    /// A launch was refused.
    Refused,
}

impl Sight {
    /// Whether the zone has capacity, if that was seen.
    pub fn up(self) -> Option<bool> {
        match self {
            Self::Nothing => None,
            Self::Held => Some(true),
            Self::Taken | Self::Refused => Some(false),
        }
    }
}

/// The classes in which a zone may be, and what was seen last.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Belief {
    /// Chance of each class in the present step.
    pub(super) now: Vec<f64>,
    /// The same a step ago, and what was seen then.
    pub(super) before: Vec<f64>,
    pub(super) seen_before: Option<bool>,
    pub(super) seen: Option<bool>,
}

impl Belief {
    /// The long run of these hazards: nothing has been seen.
    pub(super) fn at_rest(classes: &Classes, ends: &[f64]) -> Self {
        let now = long_run(classes, ends);
        Self { before: now.clone(), now, seen_before: None, seen: None }
    }

    /// A step passes.
    pub(super) fn pass(&mut self, classes: &Classes, ends: &[f64]) {
        let later = classes.later(&self.now, ends);
        self.before = std::mem::replace(&mut self.now, later);
        self.seen_before = self.seen.take();
    }

    /// It is seen to be there, or not.
    pub(super) fn condition(&mut self, classes: &Classes, up: bool) {
        let fits = |class: usize| classes.is_up(class) == up;
        let sum: f64 = self.now.iter().enumerate().filter(|(c, _)| fits(*c)).map(|(_, p)| p).sum();
        for (class, chance) in self.now.iter_mut().enumerate() {
            *chance = if fits(class) && sum > 0.0 { *chance / sum } else { 0.0 };
        }
        if sum <= 0.0 {
            self.now[classes.of(up, 1)] = 1.0;
        }
        self.seen = Some(up);
    }
}

/// The share of time that a zone with these hazards is in each class: each spell passes
/// through its classes one after the other, and ends in one of them.
pub(super) fn long_run(classes: &Classes, ends: &[f64]) -> Vec<f64> {
    let mut steps = Vec::with_capacity(classes.all());
    let mut reached = 1.0;
    for (class, end) in ends.iter().enumerate().take(classes.all()) {
        if class == classes.up() {
            reached = 1.0;
        }
        let ages = classes.length(class).map_or(0.0, |length| 1.0 / length as f64);
        let leaves = (end + ages * (1.0 - end)).max(f64::MIN_POSITIVE);
        steps.push(reached / leaves);
        reached *= ages * (1.0 - end) / leaves;
    }
    let all: f64 = steps.iter().sum();
    steps.iter().map(|steps| steps / all).collect()
}
