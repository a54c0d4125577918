//! The slices on each machine, by the words of the rules alone: where an instance
//! may start, that no memory slice is in two of them, and seven compute slices.

use std::collections::{BTreeMap, BTreeSet};

use spotwise_control::core::Change;
use spotwise_model::gpu::MigProfile;
use spotwise_model::{Attempt, InstanceId};

use super::super::sim::Sim;

/// Memory slices, compute slices, and starts of a profile, as NVIDIA's tables say.
const fn rule(profile: MigProfile) -> (u8, u32, &'static [u8]) {
    match profile {
        MigProfile::G1 => (1, 1, &[0, 1, 2, 3, 4, 5, 6]),
        MigProfile::G1Double => (2, 1, &[0, 2, 4, 6]),
        MigProfile::G2 => (2, 2, &[0, 2, 4]),
        MigProfile::G3 => (4, 3, &[0, 4]),
        MigProfile::G4 => (4, 4, &[0]),
        MigProfile::G7 => (8, 7, &[0]),
    }
}

impl Sim {
    /// After a round was written.
    pub(super) fn check_layouts(&mut self, changes: &[Change]) {
        let touched: BTreeSet<InstanceId> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Attempt(attempt) if attempt.share.mig.is_some() => Some(attempt),
                _ => None,
            })
            .flat_map(|attempt| attempt.instances.iter().copied())
            .collect();
        let mut broken = Vec::new();
        for machine in touched {
            let attempts = self.store.tables.attempts.values();
            let on_it: Vec<&Attempt> =
                attempts.filter(|a| a.state.is_live() && a.instances.contains(&machine)).collect();
            match layout(machine, &on_it) {
                Ok(profiles) => self.tally.mixed += u64::from(profiles > 1),
                Err(what) => broken.push(format!("{machine}: {what}")),
            }
        }
        for what in broken {
            self.fail(what);
        }
    }
}

/// How many profiles share a GPU of a machine, at most; or what is not legal.
fn layout(machine: InstanceId, attempts: &[&Attempt]) -> Result<usize, String> {
    let mut memory = BTreeSet::new();
    let mut compute: BTreeMap<u32, u32> = BTreeMap::new();
    let mut profiles: BTreeMap<u32, BTreeSet<MigProfile>> = BTreeMap::new();
    for attempt in attempts {
        let Some(profile) = attempt.share.mig else { continue };
        let rank = attempt.instances.iter().position(|id| *id == machine);
        let slot = rank.and_then(|rank| attempt.slots.get(rank));
        let Some(slot) = slot else { return Err(format!("{} has no slot", attempt.id)) };
        let (slices, computes, starts) = rule(profile);
        if !starts.contains(&slot.start) {
            return Err(format!("{} cannot start at {slot}", attempt.id));
        }
        for slice in slot.start..slot.start + slices {
            if !memory.insert((slot.gpu, slice)) {
                return Err(format!("{} is at {slot}, where another is", attempt.id));
            }
        }
        let sum = compute.entry(slot.gpu).or_default();
        *sum += computes;
        if *sum > 7 {
            return Err(format!("{sum} compute slices of GPU {} are taken", slot.gpu));
        }
        profiles.entry(slot.gpu).or_default().insert(profile);
    }
    Ok(profiles.values().map(BTreeSet::len).max().unwrap_or(0))
}
