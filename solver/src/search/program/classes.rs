//! Jobs that the program cannot tell apart.

use std::collections::BTreeMap;

use spotwise_model::Share;
use spotwise_model::sharing::SoftSharing;

use crate::statement::round::Round;

/// Jobs that differ in nothing that the program sees.
pub(super) struct Class {
    pub(super) members: Vec<usize>,
}

impl Class {
    pub(super) fn lead(&self) -> usize {
        self.members.first().copied().unwrap_or(usize::MAX)
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }
}

/// Groups the demands that have any candidate, members in the round's order.
pub(super) fn classes(round: &Round<'_>) -> Vec<Class> {
    let mut by_key: BTreeMap<Vec<u64>, Vec<usize>> = BTreeMap::new();
    for at in &round.order {
        let Some(demand) = round.demands.get(*at).filter(|demand| !demand.candidates.is_empty())
        else {
            continue;
        };
        let mut key = vec![u64::from(demand.nodes), demand.wait.to_bits()];
        // Whoever has room of its own is one of a kind; others are told apart by how long
        // they stay.
        if let Some(first) = demand.candidates.first().filter(|_| !round.reserved.kept.is_empty()) {
            let own = round.reserved.of(*at).map_or(0, |kept| kept.number as u64 + 1);
            key.extend([
                own,
                demand.request(first).ends.to_bits(),
                demand.request(first).expects.to_bits(),
            ]);
        }
        for candidate in demand.candidates.iter() {
            let share = demand.share(candidate);
            key.extend([candidate.cell() as u64, candidate.extra().to_bits()]);
            key.extend([share.gpus.into(), share.cpu_milli, share.memory_mib]);
            key.extend(part_key(&share));
            key.push(candidate.hours().to_bits());
        }
        by_key.entry(key).or_default().push(*at);
    }
    by_key.into_values().map(|members| Class { members }).collect()
}

/// What tells parts of a GPU apart. Two profiles, or two kinds of sharing, may
/// take as much and still not fit the same running machines.
fn part_key(share: &Share) -> [u64; 3] {
    let (kind, amount) = match share.shared.map(|shared| shared.sharing) {
        None => (0, 0),
        Some(SoftSharing::Mps { memory_mib }) => (1, memory_mib),
        Some(SoftSharing::TimeSlicing { jobs }) => (2, jobs.into()),
    };
    [share.mig.map_or(0, |profile| profile.index() as u64 + 1), kind, amount]
}
