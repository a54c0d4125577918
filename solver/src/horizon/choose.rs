//! The choice now: every way to go on, with its expected dollars, looking one
//! step ahead with what is known of each zone and then into the table.

use super::hazard::{age, level};
use super::table::{AWAY, ON_DEMAND, SPOT};
use super::{Horizon, Zone};

/// Where a job may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// Nowhere.
    Away,
    /// On spot of the zone with this index.
    Zone(usize),
    /// On demand.
    OnDemand,
}

/// What is asked: how a job stands when a step begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asked {
    /// Steps to the deadline, this one included.
    pub steps: f64,
    /// Work left, in steps.
    pub work: f64,
    /// What is left of the changeover where it is, in steps.
    pub changeover_left: f64,
    /// Where it is.
    pub on: Spot,
}

/// One way to go on, and what it is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Way {
    /// Where.
    pub to: Spot,
    /// Expected dollars until done.
    pub dollars: f64,
}

/// Dollars below which two ways are the same: the one named first is taken.
const SAME: f64 = 1e-9;

impl Horizon {
    /// Every way to go on from the present step, staying first. `zones` are those
    /// that it was solved for, as they are now.
    pub fn options(&self, zones: &[Zone<'_>], asked: Asked) -> Vec<Way> {
        let now = Now::new(self, zones);
        let mut options = Vec::with_capacity(zones.len() + 3);
        let mut add = |to, dollars| options.push(Way { to, dollars });
        let after = asked.steps - 1.0;
        let slack = |debt: f64| asked.steps - asked.work - debt - self.terms.changeover;
        let start = slack(self.terms.changeover);
        let stay = slack(asked.changeover_left);
        let on_demand = |slack| {
            self.terms.on_demand + self.table.expected(after, slack, &now.market, ON_DEMAND)
        };
        let is_there = |zone: usize| now.zones.get(zone).is_some_and(|zone| zone.up);
        match asked.on {
            Spot::Zone(zone) if is_there(zone) => add(asked.on, now.spot(zone, after, stay)),
            Spot::OnDemand => add(asked.on, on_demand(stay)),
            Spot::Zone(_) | Spot::Away => {}
        }
        add(Spot::Away, self.table.expected(after, slack(0.0) - 1.0, &now.market, AWAY));
        if asked.on != Spot::OnDemand {
            add(Spot::OnDemand, on_demand(start));
        }
        for zone in (0..zones.len()).filter(|zone| is_there(*zone)) {
            if asked.on != Spot::Zone(zone) {
                add(Spot::Zone(zone), now.spot(zone, after, start));
            }
        }
        options
    }

    /// The way with the least expected dollars, the first of equals.
    pub fn best(&self, zones: &[Zone<'_>], asked: Asked) -> Spot {
        let mut best: Option<Way> = None;
        for option in self.options(zones, asked) {
            if best.is_none_or(|best| option.dollars < best.dollars - SAME) {
                best = Some(option);
            }
        }
        best.map_or(Spot::Away, |best| best.to)
    }
}

/// One zone now.
struct ZoneNow {
    up: bool,
    age: usize,
    price: f64,
}

/// The market now, and as it may be after one step.
struct Now<'h> {
    horizon: &'h Horizon,
    zones: Vec<ZoneNow>,
    /// By group: classes after a step, with their chances.
    market: Vec<Vec<(usize, f64)>>,
    /// By group: how many neighbours are there.
    levels: Vec<usize>,
    part: usize,
}

impl<'h> Now<'h> {
    fn new(horizon: &'h Horizon, zones: &[Zone<'_>]) -> Self {
        let steps = zones.iter().map(|zone| zone.seen.len()).max().unwrap_or(0);
        let zones: Vec<ZoneNow> = zones
            .iter()
            .map(|zone| ZoneNow {
                up: zone.seen.last().copied().unwrap_or(false),
                age: age(zone.seen),
                price: zone.price,
            })
            .collect();
        let any = |group: usize| {
            let mut of = horizon.groups.get(group).into_iter().flat_map(|group| &group.zones);
            of.any(|zone| zones.get(*zone).is_some_and(|zone| zone.up))
        };
        let levels = horizon
            .groups
            .iter()
            .map(|group| {
                let there = group.peers.iter().filter(|peer| any(**peer)).count();
                level(there, group.peers.len())
            })
            .collect();
        let part = horizon.hazards.part_of_day(steps);
        let mut now = Self { horizon, zones, market: Vec::new(), levels, part };
        now.market = (0..horizon.groups.len())
            .map(|group| {
                let (up, age) = now.best_of(group, None);
                now.after_step(group, up, age)
            })
            .collect();
        now
    }

    /// The state of a group as its oldest zone that is there has it; `without`
    /// one of them, which has just been lost.
    fn best_of(&self, group: usize, without: Option<usize>) -> (bool, usize) {
        let zones = &self.horizon.groups[group].zones;
        let others = zones.iter().filter(|zone| Some(**zone) != without);
        let up = others.filter_map(|zone| self.zones.get(*zone)).filter(|zone| zone.up);
        match up.map(|zone| zone.age).max() {
            Some(age) => (true, age),
            None if without.is_some() => (false, 1),
            None => {
                let ages = zones.iter().filter_map(|zone| self.zones.get(*zone)).map(|z| z.age);
                (false, ages.min().unwrap_or(1))
            }
        }
    }

    fn end(&self, group: usize, up: bool, age: usize) -> f64 {
        let class = self.horizon.hazards.classes.of(up, age);
        self.horizon.hazards.end(group, class, self.levels[group], self.part)
    }

    fn after_step(&self, group: usize, up: bool, age: usize) -> Vec<(usize, f64)> {
        let classes = &self.horizon.hazards.classes;
        let end = self.end(group, up, age);
        vec![(classes.of(up, age + 1), 1.0 - end), (classes.of(!up, 1), end)]
    }

    /// Expected dollars of this step on spot of a zone and of what comes after.
    fn spot(&self, zone: usize, after: f64, slack: f64) -> f64 {
        let Some(here) = self.zones.get(zone) else { return f64::INFINITY };
        let group = self.horizon.group_of.get(zone).copied().unwrap_or(0);
        let table = &self.horizon.table;
        let classes = &self.horizon.hazards.classes;
        let end = self.end(group, true, here.age);
        let mut market = self.market.clone();
        market[group] = vec![(classes.of(true, here.age + 1), 1.0 - end)];
        let kept = table.expected(after, slack, &market, SPOT + group);
        let (up, age) = self.best_of(group, Some(zone));
        market[group] = if up {
            let others = self.after_step(group, up, age).into_iter();
            others.map(|(class, chance)| (class, chance * end)).collect()
        } else {
            vec![(classes.of(false, 1), end)]
        };
        here.price + kept + table.expected(after, slack, &market, AWAY)
    }
}
