//! What a choice is worth: the expected dollars until one job is done, if it
//! now starts, stays, moves, waits or goes on demand.
//!
//! A finite-horizon decision process over (steps to the deadline, slack, where
//! the job is, state of the spot market), solved backwards on a table. Spot
//! capacity comes and goes in spells whose hazard falls with their age; hazards
//! are fitted per zone with a pooled prior, forget with time, know the hour of
//! the day, and whether neighbours of the region are there (`hazard_model`). Zones
//! are told apart as long as the table stays small, and then pooled (`group`).
//! A last check that looks at nothing but arithmetic keeps the deadline: what
//! the table believes never decides whether a job is late.
//!
//! Units: a step is the caller's; work, slack and changeovers are in steps,
//! prices in dollars a step. Slack is the time to the deadline that is left over
//! after the work and one more changeover: while it is not negative, on-demand
//! capacity bought now still meets the deadline.

mod backward_induction;
mod believed;
mod decision;
mod group;
mod hazard_model;
mod process;
mod solve;
mod terms;
#[cfg(test)]
mod tests;
mod value_table;

pub(crate) use believed::{BelievedEpoch, BelievedZone};
pub use decision::{Action, DecisionEpoch, JobPosition, On, ZoneNow};
pub(crate) use group::MOST_GROUPS;
pub(crate) use hazard_model::Classes;
pub use hazard_model::age;
pub use process::Horizon;
pub use terms::{HorizonTerms, ObservedZone};

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
