//! What a choice is worth: the expected dollars until one job is done, if it
//! now starts, stays, moves, waits or goes on demand.
//!
//! A finite-horizon decision process over (steps to the deadline, slack, where
//! the job is, state of the spot market), solved backwards on a table. Spot
//! capacity comes and goes in spells whose hazard falls with their age; hazards
//! are fitted per zone with a pooled prior, forget with time, know the hour of
//! the day, and whether neighbours of the region are there ([`hazard`]). Zones
//! are told apart as long as the table stays small, and then pooled ([`group`]).
//! A last check that looks at nothing but arithmetic keeps the deadline: what
//! the table believes never decides whether a job is late.
//!
//! Units: a step is the caller's; work, slack and changeovers are in steps,
//! prices in dollars a step. Slack is the time to the deadline that is left over
//! after the work and one more changeover: while it is not negative, on-demand
//! capacity bought now still meets the deadline.

mod choose;
mod group;
mod hazard;
mod table;
#[cfg(test)]
mod tests;

pub use choose::{Asked, Way, Spot};
use group::Group;
use hazard::Hazards;
use table::Table;

/// Hazards are fitted and the table is solved again after so many hours.
const REFIT_HOURS: f64 = 3.0;

/// A zone of the spot market, as far as it is known now.
#[derive(Clone, Debug)]
pub struct Zone<'a> {
    /// Zones of the same region come and go together.
    pub region: usize,
    /// Dollars a step, now.
    pub price: f64,
    /// Whether it was available, one a step; the last one is the present step.
    pub seen: &'a [bool],
}

/// What does not change while a job runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// Seconds of a step.
    pub step_seconds: f64,
    /// Dollars a step on demand.
    pub on_demand: f64,
    /// What each start spends without progress, in steps.
    pub changeover: f64,
}

/// The decision process of one machine type in one set of zones, as known at
/// one moment.
#[derive(Clone, Debug)]
pub struct Horizon {
    terms: Terms,
    groups: Vec<Group>,
    /// The group of each zone.
    group_of: Vec<usize>,
    hazards: Hazards,
    table: Table,
    /// Length of history that it was fitted to, in steps.
    fitted_at: usize,
}

impl Horizon {
    /// Fits the hazards to what has been seen and solves the process for jobs
    /// with at most so many steps to their deadline and so much slack. The
    /// histories are of one length; a zone that has not been watched that long
    /// counts as gone before.
    pub fn solve(zones: &[Zone<'_>], terms: Terms, steps: usize, slack: f64) -> Self {
        let fitted_at = zones.iter().map(|zone| zone.seen.len()).max().unwrap_or(0);
        let (groups, group_of) = group::pool(zones, terms.on_demand);
        let hazards = Hazards::fit(&groups, terms.step_seconds);
        let table = Table::solve(&groups, &hazards, terms, fitted_at, steps, slack);
        Self { terms, groups, group_of, hazards, table, fitted_at }
    }

    /// Whether so much has happened since that it should be solved again.
    pub fn is_stale(&self, now: usize) -> bool {
        let age = now.saturating_sub(self.fitted_at) as f64 * self.terms.step_seconds;
        age >= REFIT_HOURS * 3_600.0
    }
}
