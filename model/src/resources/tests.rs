//! Nothing is taken twice, and what is refused changes nothing.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::mig::MigLayout;

fn a100x2() -> NodeShape {
    NodeShape {
        accelerator: Some(Accelerator::new("A100")),
        gpus: 2,
        gpu_memory_mib: 40_960,
        cpu_milli: 16_000,
        memory_mib: 65_536,
    }
}

#[test]
fn a_machine_is_never_overfilled() {
    let mut free = Free::new(&a100x2());
    let one = Share { gpus: 1, cpu_milli: 4_000, memory_mib: 1_024, ..Share::default() };
    assert!(free.take(&one));
    assert!(free.take(&one));
    assert!(!free.take(&one), "no third GPU");
    assert_eq!(free.cpu_milli(), 8_000);
}

fn slice(profile: MigProfile) -> Share {
    Share { mig: Some(profile), cpu_milli: 100, ..Share::default() }
}

fn even(layout: MigLayout) -> i64 {
    layout.stranded().into()
}

/// A cost that makes no sense.
fn odd(layout: MigLayout, salt: u32) -> i64 {
    i64::from((layout.memory_mask() * 37 + layout.compute_slices() * 11) * (salt + 1) % 13)
}

/// 4g, 2g and 1g make a GPU, in whatever order they come.
#[test]
fn slices_of_several_profiles_share_a_gpu_in_any_order() {
    let [a, b, c] = [MigProfile::G4, MigProfile::G2, MigProfile::G1].map(slice);
    for order in [[a, b, c], [a, c, b], [b, a, c], [b, c, a], [c, a, b], [c, b, a]] {
        let mut free = Free::new(&a100x2());
        assert!(order.iter().all(|share| free.take(share)));
        assert_eq!(free.untouched_gpus(), 1);
        let slots = Free::new(&a100x2()).assign_slots(&order, &even).expect("they fit");
        let mut seated = Free::new(&a100x2());
        assert!(order.iter().zip(slots).all(|(share, slot)| seated.take_at(share, slot)));
        assert_eq!(seated.untouched_gpus(), 1);
        assert_eq!(seated.layouts().next().expect("cut").1.to_string(), "1g@6 2g@4 4g@0");
    }
}

#[test]
fn what_runs_keeps_its_seat_and_the_plan_goes_around_it() {
    let mut free = Free::new(&NodeShape { gpus: 1, ..a100x2() });
    assert!(free.take_at(&slice(MigProfile::G1), Some(GpuSlot { gpu: 0, start: 0 })));
    let before = free.clone();
    assert!(!free.take(&slice(MigProfile::G4)), "its half is not free");
    assert_eq!(free, before);
    let plan = [MigProfile::G1, MigProfile::G2, MigProfile::G3].map(slice);
    assert!(plan.iter().all(|share| free.clone().take(share)));
    let slots = free.assign_slots(&plan, &even).expect("together");
    let starts: Vec<u8> = slots.into_iter().map(|slot| slot.expect("a slice").start).collect();
    assert_eq!(starts, [1, 2, 4]);
    assert_eq!(free.assign_slots(&[slice(MigProfile::G1)], &even), None, "full");
}

#[test]
fn slices_of_one_profile_open_a_gpu_only_when_the_last_is_full() {
    for profile in MigProfile::ALL {
        let mut free = Free::new(&a100x2());
        let most = profile.max_per_gpu();
        for n in 1..=2 * most {
            assert!(free.take(&slice(profile)), "{profile} {n}");
            assert_eq!(free.untouched_gpus(), u64::from(2 - n.div_ceil(most)), "{profile} {n}");
        }
        assert!(!free.take(&slice(profile)), "{profile}");
    }
}

#[test]
fn a_whole_gpu_and_slices_do_not_share_a_gpu() {
    let mut free = Free::new(&a100x2());
    let whole = Share { gpus: 1, ..Share::default() };
    assert!(free.take(&slice(MigProfile::G1)));
    assert!(free.take(&whole));
    assert!(!free.take(&whole), "one GPU carries a slice");
    for _ in 0..6 {
        assert!(free.take(&slice(MigProfile::G1)));
    }
    assert!(!free.take(&slice(MigProfile::G1)), "the other GPU is taken whole");
}

#[test]
fn a_seat_is_taken_once_and_layouts_may_mix_profiles() {
    let mut free = Free::new(&a100x2());
    let at = |gpu, start| Some(GpuSlot { gpu, start });
    assert!(free.take_at(&slice(MigProfile::G4), at(1, 0)));
    assert!(free.take_at(&slice(MigProfile::G3), at(1, 4)));
    let before = free.clone();
    assert!(!free.take_at(&slice(MigProfile::G1), at(1, 6)), "taken");
    assert!(!free.take_at(&slice(MigProfile::G2), at(0, 6)), "2g does not start at 6");
    assert!(!free.take_at(&slice(MigProfile::G1), at(2, 0)), "there is no third GPU");
    assert!(!free.take_at(&slice(MigProfile::G1), None), "a slice needs a slot");
    assert_eq!(free, before);
    assert!(free.take(&Share { gpus: 1, ..Share::default() }), "GPU 0 is whole");
}

fn soft(sharing: SoftSharing) -> Share {
    Share { shared: Some(sharing.of(Some(&Accelerator::new("A100")))), ..Share::default() }
}

#[test]
fn jobs_share_a_gpu_by_memory_up_to_all_of_it() {
    let mps = |memory_mib| soft(SoftSharing::Mps { memory_mib });
    let mut free = Free::new(&a100x2());
    assert!(free.take(&mps(20_480)));
    assert!(free.take(&mps(20_480)));
    assert_eq!(free.untouched_gpus(), 1, "both on one GPU");
    assert!(!free.take(&Share { gpus: 2, ..Share::default() }));
    assert!(free.take(&mps(30_000)));
    assert!(!free.take(&mps(20_480)), "10,960 MiB left on the second");
    assert!(!free.take(&mps(1)), "of another size");
    let second = Some(GpuSlot { gpu: 1, start: 0 });
    assert!(free.take_at(&mps(10_960), second), "legal where the slot is known");
    assert!(!free.take_at(&mps(1), second));
    assert!(!Free::new(&a100x2()).take(&mps(40_961)));
}

#[test]
fn turns_are_taken_by_so_many_jobs_that_agree_on_the_number() {
    let mut free = Free::new(&a100x2());
    let turns = |jobs| soft(SoftSharing::TimeSlicing { jobs });
    for _ in 0..3 {
        assert!(free.take(&turns(3)));
    }
    assert_eq!(free.untouched_gpus(), 1);
    assert!(free.take(&turns(2)), "on the other GPU");
    assert!(!free.take(&turns(3)));
    assert!(free.take(&turns(2)));
    assert!(!free.take(&turns(2)));
}

#[test]
fn a_gpu_is_parted_in_one_way() {
    let ways = [
        slice(MigProfile::G1),
        soft(SoftSharing::Mps { memory_mib: 1 }),
        soft(SoftSharing::TimeSlicing { jobs: 9 }),
    ];
    for first in ways {
        for second in ways.into_iter().filter(|way| *way != first) {
            let mut one = Free::new(&NodeShape { gpus: 1, ..a100x2() });
            assert!(one.take(&first));
            assert!(!one.take(&second));
            assert!(one.take(&first));
        }
    }
    let both = Share { mig: Some(MigProfile::G1), ..ways[1] };
    assert!(!Free::new(&a100x2()).take(&both), "a job takes one kind of part");
}

#[test]
fn parts_are_reckoned_by_the_memory_of_the_machine() {
    let large = NodeShape { gpu_memory_mib: 81_920, ..a100x2() };
    let half = soft(SoftSharing::Mps { memory_mib: 20_480 });
    assert_eq!(half.gpu_units(&a100x2()), GPU_UNITS / 2);
    assert_eq!(half.gpu_units(&large), GPU_UNITS / 4, "though half is charged");
    let unknown = NodeShape { gpu_memory_mib: 0, ..a100x2() };
    assert_eq!(half.gpu_units(&unknown), GPU_UNITS);
    assert_eq!(soft(SoftSharing::TimeSlicing { jobs: 3 }).gpu_units(&large), GPU_UNITS / 3);
    assert_eq!(slice(MigProfile::G1).gpu_units(&large), GPU_UNITS / 7);
    let mut free = Free::new(&large);
    assert!(free.take(&half) && free.take(&slice(MigProfile::G3)));
    assert_eq!(free.gpu_units(), GPU_UNITS / 4 * 3 + GPU_UNITS / 7 * 4);
}

/// A share that was stored before sharing existed.
#[test]
fn a_share_of_an_older_version_is_read() {
    let old = r#"{"gpus":2,"mig":null,"cpu_milli":5,"memory_mib":6}"#;
    let read: Share = serde_json::from_str(old).expect("a share");
    assert_eq!(read, Share { gpus: 2, cpu_milli: 5, memory_mib: 6, ..Share::default() });
    assert_eq!(serde_json::to_string(&read).expect("plain data"), old);
}

fn any_share() -> impl Strategy<Value = Share> {
    prop_oneof![
        (0..3_u32).prop_map(|gpus| Share { gpus, ..Share::default() }),
        prop::sample::select(MigProfile::ALL.to_vec()).prop_map(slice),
        prop::sample::select(MigProfile::ALL.to_vec()).prop_map(slice),
        prop::sample::select(vec![1_u64, 9_000, 15_000, 20_480, 45_000])
            .prop_map(|memory_mib| soft(SoftSharing::Mps { memory_mib })),
        (1..4_u32).prop_map(|jobs| soft(SoftSharing::TimeSlicing { jobs })),
    ]
}

proptest! {
    /// Greedy, the program and the audit take the shares of a machine in orders of
    /// their own.
    #[test]
    fn what_fits_does_not_depend_on_the_order(
        shares in prop::collection::vec(any_share(), 0..14),
        turn in 0..14_usize,
    ) {
        let holds = |shares: &[Share]| {
            let mut free = Free::new(&NodeShape { gpus: 5, ..a100x2() });
            shares.iter().all(|share| free.take(share))
        };
        let mut other = shares.clone();
        other.rotate_left(turn % shares.len().max(1));
        prop_assert_eq!(holds(&shares), holds(&other));
        other.reverse();
        prop_assert_eq!(holds(&shares), holds(&other));
        other.sort_unstable();
        prop_assert_eq!(holds(&shares), holds(&other));
    }

    /// Next to what is running at any slots: what is taken one by one gets legal slots
    /// together, and GPUs stay as whole as they seemed.
    #[test]
    fn what_fits_gets_seats(
        running in prop::collection::vec((any_share(), 0..3_u32, 0..8_u8), 0..8),
        shares in prop::collection::vec(any_share(), 0..12),
        salt in 0..9_u32,
    ) {
        let mut free = Free::new(&NodeShape { gpus: 3, ..a100x2() });
        for (share, gpu, start) in running {
            let _ = free.take_at(&share, Some(GpuSlot { gpu, start }));
        }
        let mut planned = free.clone();
        let taken: Vec<Share> = shares.into_iter().filter(|share| planned.take(share)).collect();
        let mut seated = free.clone();
        let slots = seated.assign_slots(&taken, &|layout| odd(layout, salt));
        prop_assert!(slots.is_some(), "{taken:?} beside {free:?}");
        let mut replayed = free;
        for (share, slot) in taken.iter().zip(slots.into_iter().flatten()) {
            prop_assert_eq!(slot.is_some(), share.takes_part());
            prop_assert!(replayed.take_at(share, slot));
        }
        prop_assert_eq!(replayed.untouched_gpus(), planned.untouched_gpus());
        prop_assert_eq!(seated, replayed);
    }

    /// What is taken of a machine never exceeds what was left of it, by any measure, next
    /// to whatever is running.
    #[test]
    fn measures_left_bound_what_still_fits(
        running in prop::collection::vec((any_share(), 0..3_u32, 0..8_u8), 0..8),
        shares in prop::collection::vec(any_share(), 0..30),
        gpu_memory_mib in prop::sample::select(vec![0_u64, 20_481, 40_960, 81_919]),
    ) {
        let shape = NodeShape { gpus: 3, gpu_memory_mib, ..a100x2() };
        let mut free = Free::new(&shape);
        prop_assert_eq!(free.gpu_measures(), [3 * GPU_UNITS; MEASURES]);
        for (share, gpu, start) in running {
            let _ = free.take_at(&share, Some(GpuSlot { gpu, start }));
        }
        let mut left = Vec::new();
        for share in shares {
            left.push(free.gpu_measures());
            if free.take(&share) {
                let took = share.gpu_measures(&shape);
                // An earlier figure bounds all that came after it.
                for before in left.iter_mut() {
                    for (before, took) in before.iter_mut().zip(took) {
                        prop_assert!(*before >= took, "{share:?} takes {took} of {before}");
                        *before -= took;
                    }
                }
            }
        }
    }

    /// Whatever is taken, at a slot of its own choice or at any other, each
    /// GPU carries one kind of part within its bounds, or is whole.
    #[test]
    fn no_gpu_is_taken_twice(
        takes in prop::collection::vec(
            (any_share(), prop::option::of((0..4_u32, 0..8_u8))), 0..40,
        ),
    ) {
        let mut free = Free::new(&NodeShape { gpus: 3, ..a100x2() });
        let (mut whole, mut parts) = (0, Vec::new());
        for (share, at) in takes {
            let slot = match at {
                Some((gpu, start)) => Some(GpuSlot { gpu, start }),
                None => free.slot_for(&share),
            };
            let before = free.clone();
            if !free.take_at(&share, slot) {
                prop_assert_eq!(&free, &before, "a refusal changes nothing");
                continue;
            }
            whole += share.gpus;
            if share.gpus == 0 && (share.mig.is_some() || share.shared.is_some()) {
                parts.push((slot.expect("a part has a slot"), share));
            }
            let parted: BTreeSet<u32> = parts.iter().map(|(slot, _)| slot.gpu).collect();
            prop_assert!(whole as usize + parted.len() <= 3);
            for gpu in parted {
                let on = || parts.iter().filter(|(slot, _)| slot.gpu == gpu);
                let sharing = || on().filter_map(|(_, share)| Some(share.shared?.sharing));
                let compute: u32 =
                    on().filter_map(|(_, s)| Some(s.mig?.compute_slices())).sum();
                let memory: u64 = sharing()
                    .map(|s| if let SoftSharing::Mps { memory_mib } = s { memory_mib } else { 0 })
                    .sum();
                let turns: Vec<u32> = sharing()
                    .filter_map(|s| match s {
                        SoftSharing::TimeSlicing { jobs } => Some(jobs),
                        SoftSharing::Mps { .. } => None,
                    })
                    .collect();
                let kinds = u32::from(compute > 0) + u32::from(memory > 0) + u32::from(!turns.is_empty());
                prop_assert_eq!(kinds, 1);
                prop_assert!(compute <= 7 && memory <= 40_960);
                prop_assert!(turns.iter().all(|jobs| *jobs as usize >= turns.len()));
            }
        }
    }
}
