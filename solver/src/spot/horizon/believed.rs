//! The choice where the state of a zone is believed, not seen: the expectation over the
//! belief, one step ahead, then into the table. Beside it, `decision` knows every zone.

use super::decision::{JobPosition, On};
use super::hazard_model::Classes;
use super::process::Horizon;
use super::value_table::{AWAY, ON_DEMAND, SPOT};

/// A zone as it is believed to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BelievedZone {
    /// Dollars a step.
    pub(crate) price: f64,
    /// Chance of each class of spell; they add up to 1.
    pub(crate) chances: Vec<f64>,
    /// Chance, by class, that a spell of it ends in a step.
    pub(crate) ends: Vec<f64>,
}

impl BelievedZone {
    /// The chance that it has capacity.
    pub(crate) fn up(&self, classes: &Classes) -> f64 {
        self.chances.iter().take(classes.up()).sum()
    }

    /// The classes one step later.
    fn later(&self, classes: &Classes) -> Vec<f64> {
        classes.later(&self.chances, &self.ends)
    }
}

/// The believed market at one moment.
#[derive(Clone, Debug)]
pub(crate) struct BelievedEpoch<'h> {
    horizon: &'h Horizon,
    zones: Vec<BelievedZone>,
    /// By zone: its classes after a step.
    later: Vec<Vec<f64>>,
    /// By group: classes after a step, with their chances.
    market: Vec<Vec<(usize, f64)>>,
}

impl Horizon {
    /// The process with such beliefs of its zones.
    pub(crate) fn believing(&self, zones: Vec<BelievedZone>) -> BelievedEpoch<'_> {
        let classes = &self.hazards.classes;
        let later = zones.iter().map(|zone| zone.later(classes)).collect();
        let mut epoch = BelievedEpoch { horizon: self, zones, later, market: Vec::new() };
        epoch.market = (0..self.groups.len()).map(|group| epoch.group(group, None)).collect();
        epoch
    }
}

impl BelievedEpoch<'_> {
    /// Expected dollars until done if the job goes on this way. To spot: if it is there.
    pub(crate) fn dollars(&self, position: JobPosition, to: On) -> f64 {
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

    /// Expected dollars of this step on spot of a zone, which is there, and of what comes after.
    fn spot(&self, zone: usize, after: f64, slack: f64) -> f64 {
        let group = self.horizon.group_of.get(zone).copied();
        let (Some(here), Some(group)) = (self.zones.get(zone), group) else { return f64::INFINITY };
        let table = &self.horizon.table;
        let classes = &self.horizon.hazards.classes;
        let there = here.up(classes);
        if there <= 0.0 {
            return f64::INFINITY;
        }
        let up =
            |class: usize, chance: &f64| if classes.is_up(class) { chance / there } else { 0.0 };
        let now: Vec<f64> = here.chances.iter().enumerate().map(|(c, p)| up(c, p)).collect();
        let later = classes.later(&now, &here.ends);
        let (kept, lost) = later.split_at(classes.up());
        let end: f64 = lost.iter().sum();
        let mut market = self.market.clone();
        market[group] = kept.iter().copied().enumerate().collect();
        let kept = table.expected(after, slack, &market, SPOT + group);
        let others = self.group(group, Some(zone)).into_iter();
        market[group] = others.map(|(class, chance)| (class, chance * end)).collect();
        here.price + kept + table.expected(after, slack, &market, AWAY)
    }

    /// The classes of a group after a step, zones taken as independent: it is there if one
    /// is, and as long gone as the last one to go. `without` one, which has just been lost.
    fn group(&self, group: usize, without: Option<usize>) -> Vec<(usize, f64)> {
        let classes = &self.horizon.hazards.classes;
        let ups = classes.up();
        let zones = self.horizon.groups[group].zones.iter().filter(|zone| Some(**zone) != without);
        let zones: Vec<&Vec<f64>> = zones.filter_map(|zone| self.later.get(*zone)).collect();
        let down = |zone: &&Vec<f64>| zone[ups..].iter().sum::<f64>();
        let none: f64 = zones.iter().map(down).product();
        let up: Vec<f64> =
            (0..ups).map(|class| zones.iter().map(|zone| zone[class]).sum()).collect();
        let of_all = up.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let mut chances: Vec<(usize, f64)> =
            up.iter().enumerate().map(|(c, p)| (c, p / of_all * (1.0 - none))).collect();
        if without.is_some() {
            chances.push((ups, none));
            return chances;
        }
        // Longer gone than a class: all of them are.
        let longer = |class: usize| -> f64 {
            zones.iter().map(|zone| zone[class..].iter().sum::<f64>()).product()
        };
        for class in ups..classes.all() {
            chances.push((
                class,
                longer(class) - if class + 1 < classes.all() { longer(class + 1) } else { 0.0 },
            ));
        }
        chances
    }
}
