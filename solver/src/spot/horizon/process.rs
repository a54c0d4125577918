//! The decision process, fitted and solved.

use super::group::{Group, pool};
use super::hazard_model::{Classes, HazardModel};
use super::terms::{HorizonTerms, ObservedZone};
use super::value_table::ValueTable;

/// The decision process of one machine type in one set of zones, fitted to what
/// was known at one moment.
#[derive(Clone, Debug)]
pub struct Horizon {
    pub(super) terms: HorizonTerms,
    pub(super) groups: Vec<Group>,
    /// The group of each zone.
    pub(super) group_of: Vec<usize>,
    pub(super) hazards: HazardModel,
    pub(super) table: ValueTable,
    /// Length of the longest history that it was fitted to, in steps.
    fitted_at: usize,
}

impl Horizon {
    /// Fits the hazards to the observed histories and solves the process for jobs with at
    /// most `steps` to their deadline and at most `spare` steps of slack.
    pub fn solve(
        zones: &[ObservedZone<'_>],
        terms: HorizonTerms,
        steps: usize,
        spare: f64,
    ) -> Self {
        let fitted_at = zones.iter().map(|zone| zone.seen.len()).max().unwrap_or(0);
        let (groups, group_of) = pool(zones, terms.on_demand);
        let hazards = HazardModel::fit(&groups, terms.step_seconds);
        let table = ValueTable::solve(&groups, &hazards, terms, fitted_at, steps, spare);
        Self { terms, groups, group_of, hazards, table, fitted_at }
    }

    /// Solves the process with hazards that come from elsewhere: `ends` says, of a group of
    /// zones, the chance by class that a spell ends in a step. What the zones have seen is
    /// not looked at.
    pub(crate) fn with_hazards(
        zones: &[ObservedZone<'_>],
        terms: HorizonTerms,
        steps: usize,
        spare: f64,
        now: usize,
        ends: impl Fn(&[usize]) -> Vec<f64>,
    ) -> Self {
        let (groups, group_of) = pool(zones, terms.on_demand);
        let ends: Vec<Vec<f64>> = groups.iter().map(|group| ends(&group.zones)).collect();
        let classes = Classes::new(groups.len(), terms.step_seconds);
        let hazards = HazardModel::given(classes, terms.step_seconds, &ends);
        let table = ValueTable::solve(&groups, &hazards, terms, now, steps, spare);
        Self { terms, groups, group_of, hazards, table, fitted_at: now }
    }

    /// Hours since it was fitted, at the `now`-th step of the longest history.
    pub fn hours_old(&self, now: usize) -> f64 {
        now.saturating_sub(self.fitted_at) as f64 * self.terms.step_seconds / 3_600.0
    }
}
