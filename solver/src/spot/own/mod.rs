//! What is believed of spot markets that nobody shows us: from refusals of our own
//! launches and the fates of our own machines alone.
//!
//! A zone is up or down, in spells whose hazard falls with their age; the classes of age
//! and the shape of the prior are those of [`horizon`](super::horizon). Two things are
//! estimated:
//!
//! - **Hazards** ([`Estimator`]): a factor on the stated prior, by Gamma-Poisson means
//!   (Gelman et al., *Bayesian Data Analysis*, 3rd ed., section 2.6): ends seen over ends
//!   expected, a zone drawn towards its region, that towards all zones of the type, those
//!   towards the prior ([`StatedPrior`]). What was seen counts half after three days.
//! - **Whether a zone has capacity now**: a hidden Markov filter over its classes. What was
//!   granted or held is up, what was refused or taken is down; what nobody looks at drifts
//!   back to the long-run share, at the pace of the hazards.
//!
//! Units: steps are the caller's, rates are an hour, chances a step.

mod belief;
mod estimator;
mod group;
mod log;
mod prior;
mod rates;
#[cfg(test)]
mod tests;
mod words;

pub use belief::Sight;
pub use estimator::Estimator;
pub use log::{End, Launch, OwnMachine, OwnMarket, estimate};
pub use prior::StatedPrior;
pub use words::RestsOn;
