//! What a round does with slices of several profiles.

use std::time::Duration;

use spotwise_model::gpu::MigProfile;
use spotwise_model::id::Accelerator;
use spotwise_model::plan::Method;
use spotwise_model::resources::GpuSlot;
use spotwise_model::spec::GpuRequest;
use spotwise_model::{Measured, Plan};

use crate::tests::fixture::{HOUR, gpu_offer, input, instance, job, spec};
use crate::{PlanInput, PlanJob, check, plan};

fn decide(input: &PlanInput) -> Plan {
    let (plan, report) = plan(input);
    assert!(report.checked);
    assert_eq!(check(input, &plan), Ok(()));
    plan
}

/// One job for each of these slices of an H100, an hour each.
fn slices(profiles: &[MigProfile]) -> Vec<PlanJob> {
    let one = |(id, profile): (u64, &MigProfile)| {
        let mut slice = spec(HOUR);
        slice.resources.cpu_milli = 100;
        slice.resources.gpus = GpuRequest::Slice { profile: *profile, accelerator: None };
        job(id, slice, 0, 2)
    };
    (1..).zip(profiles).map(one).collect()
}

/// With one profile a machine these were three machines.
#[test]
fn slices_of_three_profiles_share_one_gpu() {
    let jobs = slices(&[MigProfile::G1, MigProfile::G2, MigProfile::G4]);
    let (plan, report) = plan(&input(vec![gpu_offer("a", "H100", 1, 4.0)], jobs));
    assert_eq!(plan.purchases.values().sum::<u32>(), 1);
    assert_eq!(plan.placements.len(), 3);
    assert_eq!(report.method, Method::Proven { gap: 0.0 });
}

/// By compute slices and by memory the second GPU would hold all of it.
#[test]
fn a_gpu_has_one_half_for_a_4g() {
    let jobs = slices(&[MigProfile::G4, MigProfile::G4, MigProfile::G3, MigProfile::G3]);
    let plan = decide(&input(vec![gpu_offer("a", "H100", 1, 4.0)], jobs));
    assert_eq!(plan.purchases.values().sum::<u32>(), 2);
    let jobs = slices(&[MigProfile::G4, MigProfile::G4, MigProfile::G4]);
    let plan = decide(&input(vec![gpu_offer("a", "H100", 1, 4.0)], jobs));
    assert_eq!(plan.purchases.values().sum::<u32>(), 3);
}

/// A 1g runs in the left half of the machine's GPU: 3g, 2g and another 1g go
/// beside it, a 4g does not.
#[test]
fn slices_go_beside_what_runs_where_it_is() {
    let offer = gpu_offer("a", "H100", 1, 4.0);
    let mut machine = instance(7, &offer, 0);
    let share = slices(&[MigProfile::G1])[0].share_on(offer.shape.accelerator.as_ref());
    let slot = Some(GpuSlot { gpu: 0, start: 3 });
    assert!(machine.free.take_at(&share.unwrap(), slot));
    let bought = |profiles: &[MigProfile]| {
        let mut round = input(vec![offer.clone()], slices(profiles));
        round.instances = vec![machine.clone()];
        let plan = decide(&round);
        assert_eq!(plan.placements.len(), profiles.len());
        plan.purchases.values().sum::<u32>()
    };
    assert_eq!(bought(&[MigProfile::G3, MigProfile::G2, MigProfile::G1]), 0);
    assert_eq!(bought(&[MigProfile::G4]), 1);
}

/// Too many of different lengths for the integer program.
#[test]
fn many_slices_share_gpus_in_a_large_round() {
    const PROFILES: [MigProfile; 5] =
        [MigProfile::G1, MigProfile::G1Double, MigProfile::G2, MigProfile::G3, MigProfile::G4];
    let mut offer = gpu_offer("a", "H100", 2, 8.0);
    offer.free = 500.into();
    let bought = |profiles: &[MigProfile], each: usize| {
        let all: Vec<MigProfile> =
            profiles.iter().copied().cycle().take(each * profiles.len()).collect();
        let mut jobs = slices(&all);
        for (job, minutes) in jobs.iter_mut().zip(0..) {
            job.measured = Measured::once(
                Some(&Accelerator::new("H100")),
                Duration::from_secs(HOUR + 7 * minutes),
            );
        }
        let mut round = input(vec![offer.clone()], jobs);
        round.time_limit = Duration::from_secs(2);
        let plan = decide(&round);
        assert_eq!(plan.placements.len(), round.jobs.len());
        plan.purchases.values().sum::<u32>()
    };
    let apart: u32 = PROFILES.iter().map(|profile| bought(&[*profile], 48)).sum();
    let together = bought(&PROFILES, 48);
    // By memory slices no fewer than 39 machines hold them.
    assert!((39..=42).contains(&together) && apart >= 53, "{together} together, {apart} apart");
}
