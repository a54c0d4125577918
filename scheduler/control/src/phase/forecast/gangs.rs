//! The numbers of machines that queued jobs need at once, and those that somebody asks
//! about.

use std::collections::BTreeMap;

use spotwise_model::resources::Free;
use spotwise_model::{JobSpec, JobState, NodeShape};

use crate::core::State;

/// This many sizes are forecast exactly. Further ones are rounded up to powers of two: a
/// larger gang is harder to place, so that no gang is promised more spot than it will find.
const EXACT: usize = 4;
/// Kinds of jobs considered for each size; beyond that it is wanted everywhere.
const KINDS: usize = 8;

/// Jobs by their number of nodes, one for each kind of machine that they ask for.
#[derive(Debug, Default)]
pub(super) struct Gangs<'a> {
    by_size: BTreeMap<u32, Vec<&'a JobSpec>>,
}

impl<'a> Gangs<'a> {
    /// Those of the waiting or running jobs to which a forecast matters.
    pub(super) fn of(state: &'a State) -> Self {
        let mut gangs = Self::default();
        let open =
            |state: &JobState| matches!(state, JobState::Waiting { .. } | JobState::Active { .. });
        let jobs = state.jobs.values().filter(|job| open(&job.state)).map(|job| &*job.spec);
        let asked = state.seen.forecast_requests.iter().map(|asked| &*asked.spec);
        for spec in jobs.chain(asked).filter(|spec| speaks_to(spec)) {
            gangs.add(spec.resources.nodes, spec);
        }
        if gangs.by_size.len() > EXACT {
            let exact = std::mem::take(&mut gangs.by_size);
            for (nodes, kinds) in exact {
                let nodes = nodes.checked_next_power_of_two().unwrap_or(nodes);
                kinds.into_iter().for_each(|spec| gangs.add(nodes, spec));
            }
        }
        gangs
    }

    fn add(&mut self, nodes: u32, spec: &'a JobSpec) {
        let kinds = self.by_size.entry(nodes).or_default();
        let alike = |known: &&JobSpec| {
            let (a, b) = (&known.resources, &spec.resources);
            (a.cpu_milli, a.memory_mib, &a.gpus) == (b.cpu_milli, b.memory_mib, &b.gpus)
        };
        if kinds.len() < KINDS && !kinds.iter().any(alike) {
            kinds.push(spec);
        }
    }

    /// Whether nobody asks for any.
    pub(super) fn is_empty(&self) -> bool {
        self.by_size.is_empty()
    }

    /// The sizes requested for machines of a shape.
    pub(super) fn sizes(&self, shape: &NodeShape) -> Vec<u32> {
        let holds = |spec: &&JobSpec| {
            let share = spec.share_on(shape.accelerator.as_ref());
            share.is_some_and(|share| Free::new(shape).take(&share))
        };
        let wanted = self
            .by_size
            .iter()
            .filter(|(_, kinds)| kinds.len() >= KINDS || kinds.iter().any(holds));
        wanted.map(|(nodes, _)| *nodes).collect()
    }
}

/// Whether a forecast matters to such a job: it may be interrupted, and keeps what it has
/// done.
pub fn speaks_to(spec: &JobSpec) -> bool {
    spec.interruptible && spec.resumable()
}
