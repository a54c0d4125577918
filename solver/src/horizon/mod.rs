//! What a choice is worth: the expected dollars until one job is done, if it
//! now starts, stays, moves, waits or goes on demand.
//!
//! A finite-horizon decision process over (steps to the deadline, slack, where
//! the job is, state of the spot market), solved backwards on a table. Spot
//! capacity comes and goes in spells whose hazard falls with their age; hazards
//! are fitted per zone with a pooled prior, forget with time, know the hour of
//! the day, and whether neighbours of the region are there (`hazard`). Zones
//! are told apart as long as the table stays small, and then pooled (`group`).
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
mod sweep;
mod table;
#[cfg(test)]
mod tests;

pub use choose::{Moment, On, Stand, Way, ZoneNow};
use group::Group;
use hazard::Hazards;
pub use hazard::age;
use table::Table;

/// A zone of the spot market, as far as it is known.
#[derive(Clone, Debug)]
pub struct Zone<'a> {
    /// Zones of the same region come and go together ([`regions`]).
    pub region: usize,
    /// Dollars a step, now.
    pub price: f64,
    /// Whether it was available, one a step; the last one is the present step.
    /// Histories end together, and may begin at different times.
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

/// The decision process of one machine type in one set of zones, fitted to what
/// was known at one moment.
#[derive(Clone, Debug)]
pub struct Horizon {
    terms: Terms,
    groups: Vec<Group>,
    /// The group of each zone.
    group_of: Vec<usize>,
    hazards: Hazards,
    table: Table,
    /// Length of the longest history that it was fitted to, in steps.
    fitted_at: usize,
}

impl Horizon {
    /// Fits the hazards to what has been seen and solves the process for jobs
    /// with at most so many steps to their deadline and so much of them to spare.
    pub fn solve(zones: &[Zone<'_>], terms: Terms, steps: usize, spare: f64) -> Self {
        let fitted_at = zones.iter().map(|zone| zone.seen.len()).max().unwrap_or(0);
        let (groups, group_of) = group::pool(zones, terms.on_demand);
        let hazards = Hazards::fit(&groups, terms.step_seconds);
        let table = Table::solve(&groups, &hazards, terms, fitted_at, steps, spare);
        Self { terms, groups, group_of, hazards, table, fitted_at }
    }

    /// Hours since it was fitted, at the `now`-th step of the longest history.
    pub fn hours_old(&self, now: usize) -> f64 {
        now.saturating_sub(self.fitted_at) as f64 * self.terms.step_seconds / 3_600.0
    }

    /// The process at the `now`-th step of the longest history; `zones` are those
    /// that it was solved for.
    pub fn at(&self, zones: Vec<ZoneNow>, now: usize) -> Moment<'_> {
        Moment::new(self, zones, now)
    }
}

/// Numbers the regions of zones: the zone's name less its last letters.
pub fn regions<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<usize> {
    let mut known: Vec<&str> = Vec::new();
    let region = |name: &'a str| name.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let mut number = |name| {
        let region = region(name);
        let found = known.iter().position(|one| *one == region);
        found.unwrap_or_else(|| {
            known.push(region);
            known.len() - 1
        })
    };
    names.into_iter().map(&mut number).collect()
}
