//! Zones pooled into few groups, so that the state of all of them fits a table.

use super::terms::ObservedZone;

/// How many groups are told apart. Each multiplies the table by its classes;
/// three or four gained nothing on the recorded markets (decision 9).
pub(crate) const MOST_GROUPS: usize = 2;
/// Zones of two regions are as far apart as this share of the on-demand price.
const REGION_DISTANCE: f64 = 0.02;
/// Each zone of a group makes it as much less willing to take another.
const SIZE_DISTANCE: f64 = 0.01;

/// Zones that the table takes for one: what a job sees that takes any of them.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// Indexes of its zones.
    pub(super) zones: Vec<usize>,
    /// Mean price, dollars a step.
    pub(super) price: f64,
    /// Sorted.
    pub(super) regions: Vec<usize>,
    /// Whether a job that takes any of the zones and keeps it until it is lost
    /// had one, step by step.
    pub(super) seen: Vec<bool>,
    /// Groups that share a region with it.
    pub(super) peers: Vec<usize>,
}

/// Pools the nearest zones, by price and region, until few groups are left.
/// Answers them, and the group of each zone.
pub(super) fn pool(zones: &[ObservedZone<'_>], on_demand: f64) -> (Vec<Group>, Vec<usize>) {
    let mut sets: Vec<Vec<usize>> = (0..zones.len()).map(|zone| vec![zone]).collect();
    while sets.len() > MOST_GROUPS {
        let Some((a, b)) = nearest(zones, &sets, on_demand) else { break };
        let taken = sets.remove(b);
        sets[a].extend(taken);
        sets[a].sort_unstable();
    }
    let mut group_of = vec![0; zones.len()];
    for (group, set) in sets.iter().enumerate() {
        for zone in set {
            group_of[*zone] = group;
        }
    }
    let mut groups: Vec<Group> = sets.into_iter().map(|set| group(zones, set)).collect();
    for at in 0..groups.len() {
        let share = |other: &Group| other.regions.iter().any(|r| groups[at].regions.contains(r));
        let peers = (0..groups.len()).filter(|other| *other != at && share(&groups[*other]));
        groups[at].peers = peers.collect();
    }
    (groups, group_of)
}

/// The two sets that are nearest to each other, the first of equals; the first
/// index is the lower one.
fn nearest(
    zones: &[ObservedZone<'_>],
    sets: &[Vec<usize>],
    on_demand: f64,
) -> Option<(usize, usize)> {
    let mut best: Option<(f64, usize, usize)> = None;
    for a in 0..sets.len() {
        for b in a + 1..sets.len() {
            let apart = (price(zones, &sets[a]) - price(zones, &sets[b])).abs();
            let region = |set: &[usize]| set.first().map(|zone| zones[*zone].region);
            let far = if region(&sets[a]) == region(&sets[b]) { 0.0 } else { REGION_DISTANCE };
            let size = SIZE_DISTANCE * (sets[a].len() + sets[b].len()) as f64;
            let distance = apart / on_demand.max(f64::MIN_POSITIVE) + far + size;
            if best.is_none_or(|(least, ..)| distance < least) {
                best = Some((distance, a, b));
            }
        }
    }
    best.map(|(_, a, b)| (a, b))
}

fn price(zones: &[ObservedZone<'_>], set: &[usize]) -> f64 {
    set.iter().map(|zone| zones[*zone].price).sum::<f64>() / set.len().max(1) as f64
}

fn group(zones: &[ObservedZone<'_>], set: Vec<usize>) -> Group {
    let mut regions: Vec<usize> = set.iter().map(|zone| zones[*zone].region).collect();
    regions.sort_unstable();
    regions.dedup();
    let seen = match set.as_slice() {
        [one] => zones[*one].seen.to_vec(),
        _ => held(zones, &set),
    };
    Group { price: price(zones, &set), regions, seen, peers: Vec::new(), zones: set }
}

/// What a job sees that takes the cheapest zone of the set that is there and
/// keeps it: a loss is a step without, even where another zone is there.
fn held(zones: &[ObservedZone<'_>], set: &[usize]) -> Vec<bool> {
    let steps = set.iter().map(|zone| zones[*zone].seen.len()).max().unwrap_or(0);
    // Histories end together; a shorter one begins later.
    let there = |zone: usize, step: usize| {
        let seen = zones[zone].seen;
        let missing = steps - seen.len();
        step >= missing && seen[step - missing]
    };
    let mut on: Option<usize> = None;
    (0..steps)
        .map(|step| {
            if let Some(zone) = on.take() {
                if there(zone, step) {
                    on = Some(zone);
                    return true;
                }
                return false;
            }
            let free = set.iter().copied().filter(|zone| there(*zone, step));
            on = free.min_by(|a, b| zones[*a].price.total_cmp(&zones[*b].price).then(a.cmp(b)));
            on.is_some()
        })
        .collect()
}
