//! How long a group of zones lasts and stays away for a job that takes any of them and
//! keeps it until it is lost.

use super::belief::{Sight, long_run};
use super::prior::SUREST;
use super::rates::{Count, sum};
use crate::spot::horizon::Classes;

/// Expected ends that zones taken as independent weigh against what a group was seen to do.
const GROUP_ENDS: f64 = 3.0;

/// Chances by class that a spell of a group ends in a step: `ends` are those of all zones,
/// `sights` what was seen of them, by step. A spell that is up is that of the zone held; one
/// that is down ends when any zone is there.
pub(super) fn ends_of_group(
    zones: &[usize],
    classes: &Classes,
    ends: &[Vec<f64>],
    sights: &[Vec<Sight>],
    half_life: f64,
) -> Vec<f64> {
    if let [alone] = zones {
        return ends.get(*alone).cloned().unwrap_or_default();
    }
    let zones_ends: Vec<&[f64]> = zones.iter().map(|zone| ends[*zone].as_slice()).collect();
    let mean = |class: usize| {
        zones_ends.iter().map(|ends| ends[class]).sum::<f64>() / zones.len().max(1) as f64
    };
    let mut of_group: Vec<f64> = (0..classes.up()).map(mean).collect();
    let back = (classes.up()..classes.all()).map(|class| any_back(&zones_ends, classes, class));
    of_group.extend(back);
    correct(&mut of_group, zones, classes, sights, half_life);
    of_group
}

/// Chance that one of the zones is back in a step, all being gone for as long and
/// independent of each other.
fn any_back(zones: &[&[f64]], classes: &Classes, class: usize) -> f64 {
    let none: f64 = zones.iter().map(|ends| 1.0 - ends[class]).product();
    if class > classes.up() {
        return (1.0 - none).min(SUREST);
    }
    // The first class begins where one was lost: that another is there shows with the next
    // step, and if none is, one has to come back. The class has the same chance in each of
    // its steps.
    let up = |ends: &&[f64]| long_run(classes, ends).iter().take(classes.up()).sum::<f64>();
    let all_gone: f64 = zones.iter().map(|ends| 1.0 - up(ends)).product();
    let others_gone = all_gone.powf(1.0 - 1.0 / zones.len().max(1) as f64);
    let length = classes.length(class).unwrap_or(1) as f64;
    let never = others_gone * none.powf(length - 1.0);
    (1.0 - never.powf(1.0 / length)).min(SUREST)
}

/// Draws how soon a group is back to what was seen of it: when we lost a machine of it or
/// were refused all that we tried, and when the next was granted.
fn correct(
    ends: &mut [f64],
    zones: &[usize],
    classes: &Classes,
    sights: &[Vec<Sight>],
    half_life: f64,
) {
    let mut counts = vec![Count::default(); classes.all()];
    let mut last: Option<(bool, usize)> = None;
    for (step, sights_now) in sights.iter().enumerate() {
        let seen = group_sight(zones, sights_now);
        if let (Some((false, age)), Some(up)) = (last, seen) {
            let class = classes.of(false, age);
            let weight = (-((sights.len() - step) as f64) / half_life).exp2();
            let count = Count { ends: f64::from(up), expected: ends[class] };
            counts[class] = counts[class].plus(count.times(weight));
        }
        last = seen.map(|up| match last {
            Some((same, age)) if same == up => (up, age + 1),
            _ => (up, 1),
        });
    }
    let down = classes.up()..classes.all();
    let all = sum(counts[down.clone()].iter().copied()).drawn_to(1.0, GROUP_ENDS);
    for class in down {
        ends[class] = (ends[class] * counts[class].drawn_to(all, GROUP_ENDS)).min(SUREST);
    }
}

/// What a step showed of a group: a machine lost is a step without, even where another
/// was granted.
fn group_sight(zones: &[usize], sights: &[Sight]) -> Option<bool> {
    let any = |sight: Sight| zones.iter().any(|zone| sights.get(*zone) == Some(&sight));
    if any(Sight::Taken) {
        return Some(false);
    }
    any(Sight::Held).then_some(true).or(any(Sight::Refused).then_some(false))
}
