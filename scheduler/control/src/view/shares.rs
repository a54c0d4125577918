//! What each class of jobs runs on, and has recently run on: compared with the operator's
//! bands.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use spotwise_model::id::{InstanceType, Zone};
use spotwise_model::policy::Policy;
use spotwise_model::spec::Class;
use spotwise_model::time::{between, hours};
use spotwise_model::{Attempt, AttemptState, CapacityType, Instance, InstanceId, InstanceState};
use spotwise_solver::ClassShare;

use crate::core::State;
use crate::ledger::{machine_weight, share_weight};

/// The classes that ran within the policy's window or are running now. What is settled
/// comes from ledger entries since this scheduler started: after a restart the window fills
/// anew.
pub fn shares(state: &State, policy: &Policy, now: Timestamp) -> BTreeMap<Class, ClassShare> {
    let begin = window_begin(policy, now);
    let mut shares: BTreeMap<Class, ClassShare> = BTreeMap::new();
    for (class, time) in state.seen.class_hours.since(begin) {
        let share = shares.entry(class).or_default();
        share.spot_hours += time.spot as f64 / 3_600_000.0;
        share.on_demand_hours += time.on_demand as f64 / 3_600_000.0;
    }
    let mut pools: BTreeMap<(Class, Zone, InstanceType), BTreeSet<InstanceId>> = BTreeMap::new();
    for attempt in state.attempts.values() {
        let Some(job) = state.jobs.get(&attempt.id.job) else { continue };
        let class = job.spec.class;
        for machine in attempt.instances.iter().filter_map(|id| state.instances.get(id)) {
            if matches!(machine.state, InstanceState::Gone { settled: true, .. }) {
                continue;
            }
            let ran = hours(unsettled(attempt, begin, now)) * part(attempt, machine);
            let share = shares.entry(class).or_default();
            match machine.offer.market.capacity_type {
                CapacityType::Spot => share.spot_hours += ran,
                CapacityType::OnDemand => share.on_demand_hours += ran,
                CapacityType::Reserved => {}
            }
            if attempt.state.is_live() {
                let offer = &machine.offer;
                let pool = (class, offer.market.zone.clone(), offer.market.instance_type.clone());
                pools.entry(pool).or_default().insert(machine.id);
            }
        }
    }
    for ((class, zone, instance_type), machines) in pools {
        let count = u32::try_from(machines.len()).unwrap_or(u32::MAX);
        shares.entry(class).or_default().machines.insert((zone, instance_type), count);
    }
    shares
}

fn window_begin(policy: &Policy, now: Timestamp) -> Timestamp {
    let window = jiff::SignedDuration::try_from(policy.band_window);
    spotwise_model::time::add(now, -window.unwrap_or(jiff::SignedDuration::MAX))
}

/// How long an attempt had its machines within the window. One stored before that was
/// recorded counts from its start.
fn unsettled(attempt: &Attempt, begin: Timestamp, now: Timestamp) -> std::time::Duration {
    let (from, to) = match &attempt.state {
        AttemptState::Planned { at: placed }
        | AttemptState::Launching { since: placed, .. }
        | AttemptState::Running { launched: placed, .. } => (placed.market, now),
        AttemptState::Ended { placed, started, at, .. } => {
            (placed.or(*started).unwrap_or(*at).market, at.market)
        }
        AttemptState::Settled { .. } => return std::time::Duration::ZERO,
    };
    between(from.max(begin), to)
}

/// The part of the machine that it is charged for.
fn part(attempt: &Attempt, machine: &Instance) -> f64 {
    let whole = machine_weight(&machine.shape);
    if whole == 0 { 1.0 } else { share_weight(&attempt.share) as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use spotwise_model::attempt::Certainty;
    use spotwise_model::instance::EndedBy;
    use spotwise_model::ledger::LineKind;
    use spotwise_model::{LedgerEntry, Money, Outcome};

    use super::*;
    use crate::core::Change;
    use crate::fixture::{at, attempt, job, machine, now, state_of};

    #[test]
    fn live_ended_and_settled_time_counts_once() {
        let policy = Policy::default();
        let spot = [machine(1, "a", CapacityType::Spot), machine(2, "b", CapacityType::Spot)];
        let [one, two] = &spot;
        let dear = machine(3, "a", CapacityType::OnDemand);
        let paid = machine(4, "c", CapacityType::Reserved);
        let ran = |launched, since| AttemptState::Running {
            placed: None,
            launched: now(launched),
            since: now(since),
        };
        let mut state = state_of(vec![
            job(1, "training").into(),
            job(2, "training").into(),
            job(3, "dev").into(),
            job(4, "dev").into(),
            one.clone().into(),
            two.clone().into(),
            dear.clone().into(),
            paid.clone().into(),
            attempt(1, &[one, two], 8, ran(2, 3)).into(),
            attempt(2, &[&dear], 2, ran(0, 1)).into(),
            attempt(3, &[one], 0, AttemptState::Planned { at: now(4) }).into(),
            attempt(
                4,
                &[&paid],
                8,
                AttemptState::Launching {
                    placed: None,
                    since: now(0),
                    certainty: Certainty::Known,
                },
            )
            .into(),
        ]);
        let found = shares(&state, &policy, at(4));
        let training = &found[&Class::Training];
        assert!((training.spot_hours - 4.0).abs() < 1e-9, "two machines for two hours");
        assert!((training.on_demand_hours - 1.0).abs() < 1e-9, "a quarter for four hours");
        let pool = |zone: &str| (Zone::new(zone), InstanceType::new("m"));
        assert_eq!(training.machines, BTreeMap::from([(pool("a"), 2), (pool("b"), 1)]));
        let dev = &found[&Class::Dev];
        assert_eq!((dev.spot_hours, dev.on_demand_hours), (0.0, 0.0));
        assert_eq!(dev.machines, BTreeMap::from([(pool("a"), 1), (pool("c"), 1)]));

        // The on-demand one ends at 4 h, and is settled.
        let mut ended = attempt(2, &[&dear], 2, ran(0, 1));
        ended.state = ended.state.end(now(4), Outcome::Succeeded).unwrap();
        state.apply(&mut ended.clone().into());
        let unsettled = shares(&state, &policy, at(6))[&Class::Training].clone();
        assert!((unsettled.on_demand_hours - 1.0).abs() < 1e-9, "with its startup, 0 h to 4 h");
        assert_eq!(unsettled.machines, BTreeMap::from([(pool("a"), 1), (pool("b"), 1)]));
        let entry = LedgerEntry {
            instance: dear.id,
            sequence: 0,
            attempt: Some(ended.id),
            kind: LineKind::Compute,
            offer: dear.offer.clone(),
            from: at(0),
            to: at(4),
            price: dear.on_demand,
            amount: Money::from_micros(1_000_000),
            on_demand_amount: Money::from_micros(1_000_000),
            method: "m/1".to_owned(),
            dimensions: BTreeMap::new(),
            provider: None,
            category: Default::default(),
            gpu_millionths: 0,
            booked: None,
        };
        state.apply(&mut Change::Ledger(vec![entry]));
        state.apply(&mut dear.clone().end(at(4), EndedBy::Us).unwrap().settle().unwrap().into());
        for _ in 0..2 {
            let settled = shares(&state, &policy, at(6))[&Class::Training].clone();
            assert!((settled.on_demand_hours - 1.0).abs() < 1e-6, "{settled:?}");
            assert!((settled.spot_hours - 8.0).abs() < 1e-9, "{settled:?}");
            ended.state = ended.state.clone().settle().unwrap_or(ended.state);
            state.apply(&mut ended.clone().into());
            state.forget_settled();
        }
    }

    #[test]
    fn what_lies_before_the_window_is_left_out() {
        let one = machine(1, "a", CapacityType::Spot);
        let state = state_of(vec![
            job(1, "inference").into(),
            one.clone().into(),
            attempt(
                1,
                &[&one],
                8,
                AttemptState::Running { placed: None, launched: now(0), since: now(0) },
            )
            .into(),
        ]);
        let policy = Policy { band_window: Duration::from_secs(2 * 3_600), ..Policy::default() };
        let found = shares(&state, &policy, at(10));
        assert!((found[&Class::Inference].spot_hours - 2.0).abs() < 1e-9);
        assert!(shares(&State::default(), &policy, at(10)).is_empty());
    }
}
