//! The zones of one machine type, as our own launches and machines show them.

use super::belief::{Belief, Sight};
use super::group::ends_of_group;
use super::prior::StatedPrior;
use super::rates::{Count, Weights, hazards};
use crate::spot::horizon::{
    BelievedZone, Classes, Horizon, HorizonTerms, MOST_GROUPS, ObservedZone,
};

/// What was seen counts half after so many days.
const HALF_LIFE_DAYS: f64 = 3.0;
/// Expected ends that each level weighs. With less weight on the stated prior, two early
/// interruptions sent a job with little slack on demand, where it learnt nothing more. What a
/// class of age does in all zones is believed at once, as where everything is seen: gangs of
/// 16 lost every young spell.
const WEIGHTS: Weights = Weights { prior: 6.0, region: 3.0, zone: 3.0, class: 0.5 };

/// Fed step by step: [`pass`](Self::pass) when one begins, then [`see`](Self::see) for
/// whatever is seen in it.
#[derive(Clone, Debug)]
pub struct Estimator {
    prior: Vec<f64>,
    classes: Classes,
    step_seconds: f64,
    regions: Vec<usize>,
    beliefs: Vec<Belief>,
    /// By zone and class.
    counts: Vec<Vec<Count>>,
    /// By zone and class: chance of an end in a step.
    ends: Vec<Vec<f64>>,
    /// By step and zone.
    sights: Vec<Vec<Sight>>,
    half_life: f64,
}

impl Estimator {
    /// Nothing seen yet of zones in these regions ([`regions`](crate::horizon::regions)).
    pub fn new(regions: Vec<usize>, step_seconds: f64, prior: StatedPrior) -> Self {
        let classes = Classes::new(regions.len().min(MOST_GROUPS), step_seconds);
        let prior = prior.ends(&classes, step_seconds);
        let count = vec![Count::default(); classes.all()];
        Self {
            beliefs: vec![Belief::at_rest(&classes, &prior); regions.len()],
            counts: vec![count; regions.len()],
            ends: vec![prior.clone(); regions.len()],
            sights: Vec::new(),
            half_life: HALF_LIFE_DAYS * 86_400.0 / step_seconds,
            prior,
            classes,
            step_seconds,
            regions,
        }
    }

    /// Steps passed.
    pub fn steps(&self) -> usize {
        self.sights.len()
    }

    /// A step begins.
    pub fn pass(&mut self) {
        let fade = (-1.0 / self.half_life).exp2();
        for zone in 0..self.beliefs.len() {
            self.counts[zone].iter_mut().for_each(|count| *count = count.times(fade));
        }
        self.ends = hazards(&self.classes, &self.prior, &self.regions, &self.counts, WEIGHTS);
        for (belief, ends) in self.beliefs.iter_mut().zip(&self.ends) {
            belief.pass(&self.classes, ends);
        }
        self.sights.push(vec![Sight::Nothing; self.beliefs.len()]);
    }

    /// Something is seen of a zone in this step.
    pub fn see(&mut self, zone: usize, sight: Sight) {
        let (Some(up), Some(belief)) = (sight.up(), self.beliefs.get(zone)) else { return };
        if let (Some(was), None) = (belief.seen_before, belief.seen) {
            self.count(zone, was, up);
        }
        self.beliefs[zone].condition(&self.classes, up);
        let seen = self.sights.last_mut().and_then(|step| step.get_mut(zone));
        // That a machine went is more than that no other is to be had.
        if let Some(seen) = seen.filter(|seen| **seen != Sight::Taken) {
            *seen = sight;
        }
    }

    /// What was seen of a zone in a step, the first being 0.
    pub fn sight(&self, step: usize, zone: usize) -> Sight {
        self.sights.get(step).and_then(|step| step.get(zone)).copied().unwrap_or_default()
    }

    /// The chance that a zone has capacity now.
    pub fn chance_up(&self, zone: usize) -> f64 {
        let belief = self.beliefs.get(zone);
        belief.map_or(0.0, |belief| belief.now.iter().take(self.classes.up()).sum())
    }

    /// Expected ends an hour of a spell of this age, in steps.
    pub fn hazard_per_hour(&self, zone: usize, up: bool, age: usize) -> f64 {
        let end = self.ends.get(zone).map_or(0.0, |ends| ends[self.classes.of(up, age)]);
        end * 3_600.0 / self.step_seconds
    }

    /// Expected ends an hour of the capacity that a zone has, if it has any: of a new spell
    /// where it was just seen to have none.
    pub fn hazard_if_up(&self, zone: usize) -> f64 {
        let (Some(belief), Some(ends)) = (self.beliefs.get(zone), self.ends.get(zone)) else {
            return 0.0;
        };
        let up = || belief.now.iter().zip(ends).take(self.classes.up());
        let (there, ending) = up().fold((0.0, 0.0), |(there, ending), (chance, end)| {
            (there + chance, ending + chance * end)
        });
        match there > 0.0 {
            true => ending / there * 3_600.0 / self.step_seconds,
            false => self.hazard_per_hour(zone, true, 1),
        }
    }

    /// The zones as they are believed to be, at these prices in dollars a step.
    pub(crate) fn zones(&self, prices: &[f64]) -> Vec<BelievedZone> {
        let zones = prices.iter().zip(&self.beliefs).zip(&self.ends);
        zones
            .map(|((price, belief), ends)| BelievedZone {
                price: *price,
                chances: belief.now.clone(),
                ends: ends.clone(),
            })
            .collect()
    }

    /// The decision process with these hazards, for jobs with at most `steps` to their
    /// deadline and at most `spare` steps of slack.
    pub fn horizon(
        &self,
        prices: &[f64],
        terms: HorizonTerms,
        steps: usize,
        spare: f64,
    ) -> Horizon {
        let zones: Vec<ObservedZone<'_>> = prices
            .iter()
            .zip(&self.regions)
            .map(|(price, region)| ObservedZone { region: *region, price: *price, seen: &[] })
            .collect();
        Horizon::with_hazards(&zones, terms, steps, spare, self.steps(), |zones| self.group(zones))
    }

    /// Chances by class that a spell of a group of zones ends.
    pub(super) fn group(&self, zones: &[usize]) -> Vec<f64> {
        ends_of_group(zones, &self.classes, &self.ends, &self.sights, self.half_life)
    }

    /// Counts a step of a zone that was seen before it and after.
    fn count(&mut self, zone: usize, was: bool, up: bool) {
        let (ends, counts) = (&self.ends[zone], &mut self.counts[zone]);
        let before = self.beliefs[zone].before.iter().enumerate();
        let of_spell = before.filter(|(class, _)| self.classes.is_up(*class) == was);
        let ending: f64 = of_spell.clone().map(|(class, chance)| chance * ends[class]).sum();
        for (class, chance) in of_spell {
            // Which class it was that ended is not known either.
            let ended =
                if was == up || ending <= 0.0 { 0.0 } else { chance * ends[class] / ending };
            let count = Count { ends: ended, expected: chance * self.prior[class] };
            counts[class] = counts[class].plus(count);
        }
    }
}
