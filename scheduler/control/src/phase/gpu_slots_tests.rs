use std::collections::BTreeMap;

use spotwise_model::gpu::MigProfile;
use spotwise_model::id::Accelerator;
use spotwise_model::plan::{PlacementReason, PlacementRule, PolicyCost, Target};
use spotwise_model::spec::GpuRequest;
use spotwise_model::{
    AttemptState, CapacityType, Job, JobId, Money, NodeShape, Offer, Placement, Plan,
};

use super::*;
use crate::fixture::{at, attempt, job, machine, now, state_of};
use crate::phase::plan::accept;
use crate::view::free::free_of;

fn h100(id: u64, gpus: u32) -> Instance {
    let shape = NodeShape {
        accelerator: Some(Accelerator::new("H100")),
        gpus,
        gpu_memory_mib: 81_920,
        cpu_milli: 64_000,
        memory_mib: 1_000_000,
    };
    Instance { shape, ..machine(id, "a", CapacityType::OnDemand) }
}

fn slice(profile: MigProfile) -> Share {
    Share { mig: Some(profile), cpu_milli: 100, ..Share::default() }
}

/// An attempt at job `id` that runs on these machines; `slots` as stored.
fn running(id: u64, on: &[&Instance], profile: MigProfile, slots: &[GpuSlot]) -> Attempt {
    let state = AttemptState::Running { placed: None, launched: now(0), since: now(0) };
    let share = slice(profile);
    Attempt { share, slots: slots.to_vec(), ..attempt(id, on, 0, state) }
}

fn asks(id: u64, profile: MigProfile) -> Job {
    let mut job = job(id, "dev");
    let spec = std::sync::Arc::make_mut(&mut job.spec);
    spec.resources.gpus = GpuRequest::Slice { profile, accelerator: None };
    job
}

fn placement(id: u64, instance: &Instance, target: Target, profile: MigProfile) -> Placement {
    let why = PlacementReason {
        rule: PlacementRule::Cheapest,
        expected_cost: Money::ZERO,
        finish: at(9),
        slack: std::time::Duration::ZERO,
        policy_cost: PolicyCost::default(),
        transfer: Money::ZERO,
        alternatives: Vec::new(),
    };
    let offer = instance.offer.clone();
    Placement { job: JobId(id), offer, share: slice(profile), targets: vec![target], why }
}

/// What the attempts of accepted placements got, by job.
fn slots_of(changes: &[Change]) -> BTreeMap<u64, Vec<String>> {
    let attempt = |change: &Change| match change {
        Change::Attempt(attempt) => {
            let slots = attempt.slots.iter().map(GpuSlot::to_string).collect();
            Some((attempt.id.job.0, slots))
        }
        _ => None,
    };
    changes.iter().filter_map(attempt).collect()
}

fn offer(of: &Instance, free: u32) -> Offer {
    Offer {
        key: of.offer.clone(),
        shape: of.shape.clone(),
        price: of.launch_price,
        on_demand: of.on_demand,
        free: free.into(),
        spell_since: at(0),
        hazard_per_hour: 0.0,
        changeover: std::time::Duration::ZERO,
        paid_for: Vec::new(),
    }
}

const PROFILES: [MigProfile; 3] = [MigProfile::G1, MigProfile::G2, MigProfile::G4];

/// In every order: a 1g that came first at the wrong place would shut the 4g out.
#[test]
fn a_plan_gives_slices_of_one_gpu_their_seats_together() {
    let kind = h100(99, 1);
    for turn in 0..3 {
        let mut state = state_of((1..=3).map(|id| job(id, "dev").into()).collect());
        state.seen.offers = vec![offer(&kind, 1)];
        let mut profiles = PROFILES;
        profiles.rotate_left(turn);
        let placements = (1..).zip(profiles);
        let placements = placements.map(|(id, p)| placement(id, &kind, Target::New(0), p));
        let plan = Plan { placements: placements.collect(), ..Plan::empty() };
        let changes = accept(&state, &plan, now(1));
        let slots = slots_of(&changes);
        let expected = (1..).zip(profiles).map(|(id, profile)| match profile {
            MigProfile::G4 => (id, vec!["0.0".to_owned()]),
            MigProfile::G2 => (id, vec!["0.4".to_owned()]),
            _ => (id, vec!["0.6".to_owned()]),
        });
        assert_eq!(slots, expected.collect());
        let told = changes.iter().any(|change| match change {
            Change::Event(event) => event.message.contains(", GPU 0.4: "),
            _ => false,
        });
        assert!(told, "the event says where");
    }
}

#[test]
fn what_runs_keeps_its_seat_when_its_neighbour_ends() {
    let one = h100(1, 1);
    let slot = |start| [GpuSlot { gpu: 0, start }];
    let first = running(1, &[&one], MigProfile::G1, &slot(0));
    let second = running(2, &[&one], MigProfile::G1, &slot(1));
    let mut state = state_of(vec![
        job(1, "dev").into(),
        job(2, "dev").into(),
        job(3, "dev").into(),
        one.clone().into(),
        first.clone().into(),
        second.into(),
    ]);
    let ended = first.state.clone().end(now(1), spotwise_model::Outcome::Succeeded).unwrap();
    state.apply(&mut first.with_state(ended).into());
    let layout = |state: &State| free_of(state, &one).layouts().next().map(|(_, l)| l.to_string());
    assert_eq!(layout(&state).as_deref(), Some("1g@1"));
    let to = |profile| Plan {
        placements: vec![placement(3, &one, Target::Existing(one.id), profile)],
        ..Plan::empty()
    };
    assert_eq!(slots_of(&accept(&state, &to(MigProfile::G4), now(2))), BTreeMap::new());
    let slots = slots_of(&accept(&state, &to(MigProfile::G3), now(2)));
    assert_eq!(slots, BTreeMap::from([(3, vec!["0.4".to_owned()])]));
}

/// Parts that were stored before slots were are seated beside those that have
/// one, and so for good.
#[test]
fn attempts_of_before_get_their_seats_once() {
    let [one, two] = [h100(1, 1), h100(2, 1)];
    let slot = [GpuSlot { gpu: 0, start: 6 }];
    let mut state = state_of(vec![
        one.clone().into(),
        two.clone().into(),
        running(1, &[&one], MigProfile::G1, &[]).into(),
        running(2, &[&one, &two], MigProfile::G1, &[]).into(),
        running(3, &[&one], MigProfile::G1, &slot).into(),
        attempt(4, &[&two], 1, AttemptState::Planned { at: now(0) }).into(),
    ]);
    let before = free_of(&state, &one);
    let backfilled = backfill(&state);
    let slots = slots_of(&backfilled);
    assert_eq!(slots.keys().copied().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(slots[&2].len(), 2, "one a machine");
    for mut change in backfilled {
        state.apply(&mut change);
    }
    assert_eq!(free_of(&state, &one), before, "where they were taken to be");
    assert_eq!(backfill(&state), Vec::<Change>::new(), "once");
}

/// A document of an attempt that was written before there were slots.
#[test]
fn an_attempt_of_an_older_version_is_read() {
    let one = h100(1, 1);
    let attempt = running(1, &[&one], MigProfile::G1, &[GpuSlot { gpu: 0, start: 6 }]);
    let mut row = serde_json::to_value(&attempt).unwrap();
    assert!(row.as_object_mut().unwrap().remove("seats").is_some());
    let read: Attempt = serde_json::from_value(row).unwrap();
    assert_eq!(read, Attempt { slots: Vec::new(), ..attempt });
}

#[test]
fn demand_counts_the_slices_of_jobs_that_are_not_over() {
    let mut over = asks(3, MigProfile::G7);
    over.state = spotwise_model::JobState::Cancelled {
        at: at(0),
        why: spotwise_model::job::CancelReason::Owner,
    };
    let jobs = [asks(1, MigProfile::G2), asks(2, MigProfile::G2), over, job(4, "dev")];
    let state = state_of(jobs.into_iter().map(Change::from).collect());
    assert_eq!(demand(&state), [1, 1, 3, 1, 1, 1]);
}
