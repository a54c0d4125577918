//! How likely a spell ends in its next step: by its age, by whether its
//! neighbours are there, and by the hour of the day.
//!
//! Lifetimes are heavy-tailed: on the recorded markets a spell of hours has a
//! tenth of the hazard of a young one. A zone that stands alone in its region
//! has four times the hazard of one whose neighbours are there.

use super::group::Group;

/// Ages, in minutes, at which the class of a spell changes, by the number of
/// groups: with one there is room for more classes.
const AGES_ALONE: [f64; 5] = [10.0, 20.0, 40.0, 100.0, 325.0];
const AGES_PAIRED: [f64; 3] = [13.0, 40.0, 160.0];
/// How many of the neighbours are there: none, up to half, more, or no
/// neighbours at all.
pub(super) const LEVELS: usize = 4;
/// The prior weighs as much as this many ends of spells.
const PRIOR_ENDS: f64 = 3.0;
/// What was seen counts half after so many days.
const HALF_LIFE_DAYS: f64 = 3.0;
/// Parts of the day, two hours each.
const DAY_PARTS: usize = 12;
/// Ends of spells that the prior of an even day weighs.
const EVEN_DAY: f64 = 10.0;
/// No spell is believed to end more surely than this.
const SUREST: f64 = 0.9;

/// Classes of a zone: up by age, then down by age.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Classes {
    /// Last ages of all but the last class, in steps.
    ages: Vec<usize>,
}

impl Classes {
    /// For so many groups and steps of so many seconds.
    pub(crate) fn new(groups: usize, step_seconds: f64) -> Self {
        let minutes: &[f64] = if groups > 1 { &AGES_PAIRED } else { &AGES_ALONE };
        let steps = |minutes: &f64| ((minutes * 60.0 / step_seconds).round() as usize).max(1);
        let mut ages: Vec<usize> = minutes.iter().map(steps).collect();
        ages.dedup();
        Self { ages }
    }

    /// Classes of spells that are up.
    pub(crate) fn up(&self) -> usize {
        self.ages.len() + 1
    }

    /// All classes.
    pub(crate) fn all(&self) -> usize {
        2 * self.up()
    }

    pub(crate) fn is_up(&self, class: usize) -> bool {
        class < self.up()
    }

    /// The class of a spell in its `age`-th step, the first being 1.
    pub(crate) fn of(&self, up: bool, age: usize) -> usize {
        let class = self.ages.partition_point(|last| *last < age);
        if up { class } else { self.up() + class }
    }

    /// Mean steps that a spell spends in a class before the next one; none in
    /// the last.
    pub(crate) fn length(&self, class: usize) -> Option<usize> {
        let at = class % self.up();
        let before = at.checked_sub(1).map_or(0, |before| self.ages[before]);
        self.ages.get(at).map(|last| last - before)
    }

    /// Chances of the classes one step after these, given by class the chance that a spell
    /// ends: it ends, or ages into its next class after that class's mean length.
    pub(crate) fn later(&self, chances: &[f64], ends: &[f64]) -> Vec<f64> {
        let mut later = vec![0.0; self.all()];
        for (class, (chance, end)) in chances.iter().zip(ends).enumerate() {
            let ages = self.length(class).map_or(0.0, |length| 1.0 / length as f64);
            later[self.of(!self.is_up(class), 1)] += chance * end;
            later[class] += chance * (1.0 - end) * (1.0 - ages);
            if ages > 0.0 {
                later[class + 1] += chance * (1.0 - end) * ages;
            }
        }
        later
    }

    /// Prior hazard of a class, ends an hour, before anything is seen: falls
    /// with age as a heavy tail does, in the size of the recorded markets.
    pub(crate) fn prior_per_hour(&self, class: usize, step_seconds: f64) -> f64 {
        let at = class % self.up();
        let before = at.checked_sub(1).map_or(0, |before| self.ages[before]);
        let hours = before as f64 * step_seconds / 3_600.0;
        0.4 / (hours + 0.3)
    }
}

/// Fitted hazards of the groups.
#[derive(Clone, Debug)]
pub(super) struct HazardModel {
    pub(super) classes: Classes,
    step_seconds: f64,
    /// By group, class and level: chance of an end in a step.
    ends: Vec<Vec<[f64; LEVELS]>>,
    /// By group, up or down, and part of the day: a factor.
    day: Vec<[Vec<f64>; 2]>,
}

/// Ends seen, and steps in which one could have been.
type Count = (f64, f64);

impl HazardModel {
    /// Fits them to what the groups have seen.
    pub(super) fn fit(groups: &[Group], step_seconds: f64) -> Self {
        let classes = Classes::new(groups.len(), step_seconds);
        let counts: Vec<Vec<[Count; LEVELS]>> =
            (0..groups.len()).map(|group| count(groups, group, &classes, step_seconds)).collect();
        let ends = (0..groups.len())
            .map(|group| {
                (0..classes.all())
                    .map(|class| {
                        let prior = classes.prior_per_hour(class, step_seconds);
                        shrunk(&counts, group, class, prior * step_seconds / 3_600.0)
                    })
                    .collect()
            })
            .collect();
        let even = vec![[vec![1.0; DAY_PARTS], vec![1.0; DAY_PARTS]]; groups.len()];
        let mut fitted = Self { classes, step_seconds, ends, day: even };
        fitted.day = fitted.day_factors(groups);
        fitted
    }

    /// Hazards that are given: by group and class, the chance of an end in a step, whatever
    /// the hour and the neighbours.
    pub(super) fn given(classes: Classes, step_seconds: f64, ends: &[Vec<f64>]) -> Self {
        let alike = |end: &f64| [end.min(SUREST); LEVELS];
        let ends: Vec<Vec<[f64; LEVELS]>> =
            ends.iter().map(|group| group.iter().map(alike).collect()).collect();
        let even = vec![[vec![1.0; DAY_PARTS], vec![1.0; DAY_PARTS]]; ends.len()];
        Self { classes, step_seconds, ends, day: even }
    }

    /// The part of the day of a step.
    pub(super) fn part_of_day(&self, step: usize) -> usize {
        let days = step as f64 * self.step_seconds / 86_400.0;
        ((days.fract() * DAY_PARTS as f64) as usize).min(DAY_PARTS - 1)
    }

    /// Parts of a day.
    pub(super) fn parts(&self) -> usize {
        DAY_PARTS
    }

    /// Chance that a spell of a class ends with the next step.
    pub(super) fn end(&self, group: usize, class: usize, level: usize, part: usize) -> f64 {
        let side = usize::from(!self.classes.is_up(class));
        (self.ends[group][class][level] * self.day[group][side][part]).min(SUREST)
    }

    /// How much more often spells end in each part of the day than their age
    /// lets expect: of the group's regions, and of the group itself.
    fn day_factors(&self, groups: &[Group]) -> Vec<[Vec<f64>; 2]> {
        let counts: Vec<[Vec<Count>; 2]> =
            (0..groups.len()).map(|group| self.count_by_part(groups, group)).collect();
        let factors = |group: usize, side: usize| -> Vec<f64> {
            let own = smooth(&counts[group][side]);
            let alike = (0..groups.len()).filter(|o| groups[*o].regions == groups[group].regions);
            let mut region = vec![(0.0, 0.0); DAY_PARTS];
            for other in alike {
                for (sum, part) in region.iter_mut().zip(smooth(&counts[other][side])) {
                    *sum = add(*sum, part);
                }
            }
            own.iter()
                .zip(&region)
                .map(|(own, region)| {
                    shrunk_factor(*own, shrunk_factor(*region, 1.0, EVEN_DAY), EVEN_DAY)
                })
                .collect()
        };
        (0..groups.len()).map(|group| [factors(group, 0), factors(group, 1)]).collect()
    }

    /// Ends seen and expected, by up or down and part of the day.
    fn count_by_part(&self, groups: &[Group], group: usize) -> [Vec<Count>; 2] {
        let mut counts = [vec![(0.0, 0.0); DAY_PARTS], vec![(0.0, 0.0); DAY_PARTS]];
        walk(groups, group, &self.classes, |step, class, level, ended| {
            let side = usize::from(!self.classes.is_up(class));
            let part = &mut counts[side][self.part_of_day(step)];
            *part = add(*part, (f64::from(ended), self.ends[group][class][level]));
        });
        counts
    }
}

/// The level of a number of neighbours that are there.
pub(super) fn level(there: usize, of: usize) -> usize {
    match (there, of) {
        (_, 0) => 3,
        (0, _) => 0,
        _ if 2 * there <= of => 1,
        _ => 2,
    }
}

/// The age of the spell that a history ends with, in steps: at least 1.
pub fn age(seen: &[bool]) -> usize {
    let last = seen.last().copied().unwrap_or(false);
    seen.iter().rev().take_while(|there| **there == last).count().max(1)
}

/// Calls `each` with every step from the group's second on: the class and level
/// before it, and whether the spell ended with it.
fn walk(
    groups: &[Group],
    group: usize,
    classes: &Classes,
    mut each: impl FnMut(usize, usize, usize, bool),
) {
    let seen = &groups[group].seen;
    let peers = &groups[group].peers;
    // Histories end together.
    let there = |peer: usize, back: usize| {
        let seen = &groups[peer].seen;
        seen.len().checked_sub(back).and_then(|at| seen.get(at)).copied().unwrap_or(false)
    };
    // Steps are counted from the start of the longest history.
    let longest = groups.iter().map(|group| group.seen.len()).max().unwrap_or(0);
    let missing = longest - seen.len();
    let mut age = 1;
    for step in 1..seen.len() {
        let up = peers.iter().filter(|peer| there(**peer, seen.len() - step + 1)).count();
        let class = classes.of(seen[step - 1], age);
        let ended = seen[step] != seen[step - 1];
        each(missing + step, class, level(up, peers.len()), ended);
        age = if ended { 1 } else { age + 1 };
    }
}

fn count(
    groups: &[Group],
    group: usize,
    classes: &Classes,
    step_seconds: f64,
) -> Vec<[Count; LEVELS]> {
    let steps = groups.iter().map(|group| group.seen.len()).max().unwrap_or(0);
    let half_life = HALF_LIFE_DAYS * 86_400.0 / step_seconds;
    let mut counts = vec![[(0.0, 0.0); LEVELS]; classes.all()];
    walk(groups, group, classes, |step, class, level, ended| {
        let weight = (-((steps - step) as f64) / half_life).exp2();
        let count = &mut counts[class][level];
        *count = add(*count, (weight * f64::from(ended), weight));
    });
    counts
}

/// A group's own rate, drawn towards its rate over all levels times what the
/// level does to all groups, which are drawn towards all groups, which are drawn
/// towards `prior`: Gamma-Poisson means, each prior worth [`PRIOR_ENDS`] ends.
fn shrunk(
    counts: &[Vec<[Count; LEVELS]>],
    group: usize,
    class: usize,
    prior: f64,
) -> [f64; LEVELS] {
    let sum = |counts: &mut dyn Iterator<Item = Count>| counts.fold((0.0, 0.0), add);
    let pooled = sum(&mut counts.iter().flat_map(|of| of[class]));
    let pooled = (pooled.0 + 0.5) / (pooled.1 + 0.5 / prior);
    let own = shrunk_rate(sum(&mut counts[group][class].into_iter()), pooled);
    std::array::from_fn(|level| {
        let of_level = sum(&mut counts.iter().map(|of| of[class][level]));
        let effect = shrunk_rate(of_level, pooled) / pooled;
        shrunk_rate(counts[group][class][level], own * effect).min(SUREST)
    })
}

fn shrunk_rate(count: Count, prior: f64) -> f64 {
    (count.0 + PRIOR_ENDS) / (count.1 + PRIOR_ENDS / prior)
}

/// Ends seen over ends expected, drawn towards a believed factor.
fn shrunk_factor(count: Count, factor: f64, weight: f64) -> f64 {
    (count.0 + weight * factor) / (count.1 + weight)
}

fn add(a: Count, b: Count) -> Count {
    (a.0 + b.0, a.1 + b.1)
}

/// Each part with half of its neighbours, round the clock.
fn smooth(parts: &[Count]) -> Vec<Count> {
    let n = parts.len();
    (0..n)
        .map(|at| {
            let (before, after) = (parts[(at + n - 1) % n], parts[(at + 1) % n]);
            let (own, sides) = (parts[at], add(before, after));
            (own.0 + 0.5 * sides.0, own.1 + 0.5 * sides.1)
        })
        .collect()
}
