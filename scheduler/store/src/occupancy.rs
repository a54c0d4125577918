//! Audits of machines: no two live attempts have the same part of one, and together they
//! take no more than it has.

use std::collections::BTreeMap;

use spotwise_model::resources::Free;
use spotwise_model::{Attempt, Instance, InstanceId};

/// The live machines, filled as their attempts come.
#[derive(Debug, Default)]
pub(super) struct Machines {
    free: BTreeMap<InstanceId, Free>,
}

impl Machines {
    pub(super) fn add(&mut self, instance: &Instance) {
        if !instance.ended() {
            self.free.insert(instance.id, Free::new(&instance.shape));
        }
    }

    /// Puts an attempt on its machines; returns what is wrong with that. A part of a GPU
    /// that was stored before slots existed, and has none yet, is left out.
    pub(super) fn put(&mut self, attempt: &Attempt) -> Option<String> {
        let (live, share) = (attempt.state.is_live(), &attempt.share);
        if !live || share.takes_part() && attempt.slots.is_empty() {
            return None;
        }
        if share.takes_part() && attempt.slots.len() != attempt.instances.len() {
            return Some("it has not one seat for each of its machines".to_owned());
        }
        for (rank, machine) in attempt.instances.iter().enumerate() {
            let slot = attempt.slots.get(rank).copied();
            let Some(free) = self.free.get_mut(machine) else { continue };
            if !free.take_at(share, slot) {
                let slot = slot.map_or_else(String::new, |slot| format!(", GPU {slot}"));
                return Some(format!(
                    "what it takes of {machine}{slot} is not there or another live attempt has it"
                ));
            }
        }
        None
    }
}
