//! What the process is told: the zones of a market, and what does not change.

/// A zone of the spot market, as far as it is known.
#[derive(Clone, Debug)]
pub struct ObservedZone<'a> {
    /// Zones of the same region come and go together ([`regions`](super::regions)).
    pub region: usize,
    /// Dollars a step, now.
    pub price: f64,
    /// Whether it was available, one a step; the last one is the present step.
    /// Histories end together, and may begin at different times.
    pub seen: &'a [bool],
}

/// What does not change while a job runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HorizonTerms {
    /// Seconds of a step.
    pub step_seconds: f64,
    /// Dollars a step on demand.
    pub on_demand: f64,
    /// What each start spends without progress, in steps.
    pub changeover: f64,
}
