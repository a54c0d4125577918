//! The choice at one moment: every way to go on, with its expected dollars,
//! looking one step ahead with what is known of each zone, then into the table.

use super::hazard_model::level;
use super::process::Horizon;
use super::value_table::{AWAY, ON_DEMAND, SPOT};

/// A zone at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ZoneNow {
    /// Whether it is available.
    pub up: bool,
    /// Steps it has been so, including the present one: at least 1.
    pub age: usize,
    /// Dollars a step.
    pub price: f64,
}

/// Where a job may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// Nowhere.
    Nothing,
    /// On spot of the zone with this index.
    Spot(usize),
    /// On demand.
    OnDemand,
}

/// How a job stands when a step begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JobPosition {
    /// Steps to the deadline, this one included.
    pub steps: f64,
    /// Work left, in steps.
    pub work: f64,
    /// Remaining changeover on its current machine, in steps.
    pub changeover_left: f64,
    /// Where it is.
    pub on: On,
}

/// One way to go on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Action {
    /// Where to.
    pub to: On,
    /// Expected dollars until done.
    pub dollars: f64,
}

/// Dollars below which two ways are the same: the one named first is taken.
const SAME: f64 = 1e-9;

/// The market at one moment, and as it may be after one step.
#[derive(Clone, Debug)]
pub struct DecisionEpoch<'h> {
    horizon: &'h Horizon,
    zones: Vec<ZoneNow>,
    /// By group: classes after a step, with their chances.
    market: Vec<Vec<(usize, f64)>>,
    /// By group: how many neighbours are there.
    levels: Vec<usize>,
    part: usize,
}

impl Horizon {
    /// The process at the `now`-th step of the longest history; `zones` are those
    /// that it was solved for.
    pub fn at(&self, zones: Vec<ZoneNow>, now: usize) -> DecisionEpoch<'_> {
        DecisionEpoch::new(self, zones, now)
    }
}

impl<'h> DecisionEpoch<'h> {
    fn new(horizon: &'h Horizon, zones: Vec<ZoneNow>, now: usize) -> Self {
        let is_up = |zone: &usize| zones.get(*zone).is_some_and(|zone| zone.up);
        let any = |group: &usize| horizon.groups[*group].zones.iter().any(is_up);
        let levels = horizon
            .groups
            .iter()
            .map(|group| {
                level(group.peers.iter().filter(|peer| any(peer)).count(), group.peers.len())
            })
            .collect();
        let part = horizon.hazards.part_of_day(now);
        let mut epoch = Self { horizon, zones, market: Vec::new(), levels, part };
        epoch.market = (0..horizon.groups.len())
            .map(|group| {
                let (up, age) = epoch.best_of(group, None);
                epoch.after_step(group, up, age)
            })
            .collect();
        epoch
    }

    /// Every way to go on, staying first.
    pub fn actions(&self, position: JobPosition) -> Vec<Action> {
        let mut actions = Vec::with_capacity(self.zones.len() + 3);
        let mut add = |to| actions.push(Action { to, dollars: self.dollars(position, to) });
        let up = |zone: usize| self.zones.get(zone).is_some_and(|zone| zone.up);
        let stays = match position.on {
            On::Spot(zone) => up(zone),
            On::OnDemand => true,
            On::Nothing => false,
        };
        if stays {
            add(position.on);
        }
        add(On::Nothing);
        if position.on != On::OnDemand {
            add(On::OnDemand);
        }
        for zone in (0..self.zones.len()).filter(|zone| up(*zone)) {
            if position.on != On::Spot(zone) {
                add(On::Spot(zone));
            }
        }
        actions
    }

    /// The way with the least expected dollars, the first of equals.
    pub fn best(&self, position: JobPosition) -> On {
        let mut best: Option<Action> = None;
        for action in self.actions(position) {
            if best.is_none_or(|best| action.dollars < best.dollars - SAME) {
                best = Some(action);
            }
        }
        best.map_or(On::Nothing, |best| best.to)
    }

    /// Expected dollars until done if the job goes on this way; infinite if it cannot.
    pub fn dollars(&self, position: JobPosition, to: On) -> f64 {
        let Horizon { terms, table, .. } = self.horizon;
        let debt = if to == position.on { position.changeover_left } else { terms.changeover };
        let after = position.steps - 1.0;
        let slack = position.steps - position.work - terms.changeover;
        match to {
            On::Nothing => table.expected(after, slack - 1.0, &self.market, AWAY),
            On::OnDemand => {
                terms.on_demand + table.expected(after, slack - debt, &self.market, ON_DEMAND)
            }
            On::Spot(zone) => self.spot(zone, after, slack - debt),
        }
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
        let there = self.zones.get(zone).filter(|zone| zone.up);
        let (Some(here), Some(group)) = (there, self.horizon.group_of.get(zone).copied()) else {
            return f64::INFINITY;
        };
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
