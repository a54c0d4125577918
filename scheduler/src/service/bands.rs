//! How the classes compare with the operator's preferences, and what that costs per week.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_api::v1;
use spotwise_model::policy::Policy;
use spotwise_model::spec::Class;
use spotwise_model::time::{between, hours};
use spotwise_model::{Attempt, AttemptState, CapacityType, Money};
use spotwise_solver::ClassShare;

use spotwise_control::core::State;
use spotwise_control::view::shares::shares;

const HOURS_A_WEEK: f64 = 168.0;
/// If everything is expected to end at once, an hourly cost says nothing.
const LEAST_SPAN: Duration = Duration::from_secs(60);

/// The classes that have run within the policy's window, or are running now.
pub(super) fn bands(state: &State, policy: &Policy, now: Timestamp) -> Vec<v1::ClassBand> {
    let shares = shares(state, policy, now);
    let mut costs: BTreeMap<Class, Hourly> = BTreeMap::new();
    for attempt in state.attempts.values().filter(|attempt| attempt.state.is_live()) {
        if let Some(job) = state.jobs.get(&attempt.id.job) {
            costs.entry(job.spec.class).or_default().add(attempt);
        }
    }
    let band = |(class, share): (&Class, &ClassShare)| {
        band(*class, share, costs.get(class).copied().unwrap_or_default(), policy)
    };
    shares.iter().map(band).collect()
}

/// The preference for which an attempt pays more, as text; `None` if it pays no more.
pub(super) fn why_dearer(class: Class, attempt: &Attempt) -> Option<String> {
    let paid = attempt.why.policy_cost.band.saturating_add(attempt.why.policy_cost.pools);
    let what = if attempt.why.policy_cost.pools > attempt.why.policy_cost.band {
        format!("the wish for more pools for {}", class.name())
    } else {
        format!("the spot {} on {}", side(attempt), class.name())
    };
    (paid > Money::ZERO).then(|| format!("{} of it is for {what}", paid.human()))
}

/// A job that left spot for its band is kept from going above the ceiling.
const fn side(attempt: &Attempt) -> &'static str {
    match attempt.offer.market.capacity_type {
        CapacityType::Spot => "floor",
        CapacityType::OnDemand | CapacityType::Reserved => "ceiling",
    }
}

/// Extra dollars per hour that live jobs of a class pay.
#[derive(Clone, Copy, Default)]
struct Hourly {
    floor: f64,
    ceiling: f64,
    pools: f64,
    jobs: u32,
}

impl Hourly {
    /// Adds what was expected of an attempt when it was placed, by its hours.
    fn add(&mut self, attempt: &Attempt) {
        let begun = match &attempt.state {
            AttemptState::Planned { at } => at.market,
            AttemptState::Launching { since, .. } => since.market,
            AttemptState::Running { launched, .. } => launched.market,
            AttemptState::Ended { .. } | AttemptState::Settled { .. } => return,
        };
        let span = hours(between(begun, attempt.why.finish).max(LEAST_SPAN));
        let policy_cost = attempt.why.policy_cost;
        let band = policy_cost.band.dollars() / span;
        match side(attempt) {
            "floor" => self.floor += band,
            _ => self.ceiling += band,
        }
        self.pools += policy_cost.pools.dollars() / span;
        self.jobs += u32::from(policy_cost.band.saturating_add(policy_cost.pools) > Money::ZERO);
    }

    fn sum(self) -> f64 {
        self.floor + self.ceiling + self.pools
    }
}

fn band(class: Class, share: &ClassShare, cost: Hourly, policy: &Policy) -> v1::ClassBand {
    let band = policy.band(class);
    let pools = share.machines.values().filter(|count| **count > 0).count();
    let week = |hourly: f64| Money::estimate(hourly * HOURS_A_WEEK);
    let name = class.name();
    let costs = [
        (cost.floor, format!("the spot floor on {name}")),
        (cost.ceiling, format!("the spot ceiling on {name}")),
        (cost.pools, format!("the wish for {} pools for {name}", policy.least_pools)),
    ];
    // Below a cent a week there is nothing to tell.
    let costs = costs.into_iter().filter(|(hourly, _)| week(*hourly).micros() >= 10_000);
    let mut costs: Vec<String> = costs
        .map(|(hourly, what)| format!("{what} costs {} a week", week(hourly).human()))
        .collect();
    if let Some(last) = costs.last_mut() {
        let (jobs, pay) = if cost.jobs == 1 { ("job", "pays") } else { ("jobs", "pay") };
        let hourly = Money::estimate(cost.sum()).human();
        *last += &format!(
            ": {} live {jobs} {pay} {hourly} an hour more than without it, at the prices of \
             their placement",
            cost.jobs
        );
    }
    v1::ClassBand {
        class: name.to_owned(),
        spot_share: share.spot_share(),
        spot_floor: band.spot_floor,
        spot_ceiling: band.spot_ceiling,
        pools: u32::try_from(pools).unwrap_or(u32::MAX),
        least_pools: policy.least_pools,
        dearer_jobs: cost.jobs,
        floor_micros_per_week: week(cost.floor).micros(),
        ceiling_micros_per_week: week(cost.ceiling).micros(),
        pools_micros_per_week: week(cost.pools).micros(),
        costs,
    }
}

#[cfg(test)]
#[path = "bands_tests.rs"]
mod tests;
