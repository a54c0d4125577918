//! Every way to put jobs on machines: what there is to prove of small rounds.

use std::collections::BTreeSet;

use spotwise_model::mig::MEASURES;
use spotwise_model::plan::Target;
use spotwise_model::resources::{Free, GPU_UNITS};

use crate::room::draft::{Assignment, Draft, objective};
use crate::statement::round::Round;

/// Every way to put every node on every machine.
pub(crate) struct Brute {
    machines: Vec<Vec<(Target, Free)>>,
    draft: Draft,
    best: f64,
}

impl Brute {
    pub(crate) fn new(round: &Round<'_>) -> Self {
        let machines = round.market.listings.iter().map(|listing| {
            let used = listing.used.iter().map(|(id, free)| (Target::Existing(*id), free.clone()));
            let idle = listing.idle.iter().map(|id| Target::Existing(*id));
            let fresh = (0..listing.offer.free.machines()).map(Target::New);
            let empty = idle.chain(fresh).map(|t| (t, Free::new(&listing.offer.shape)));
            used.chain(empty).collect()
        });
        let draft = Draft::empty(round);
        Self { machines: machines.collect(), draft, best: f64::INFINITY }
    }

    pub(crate) fn best(mut self, round: &Round<'_>) -> f64 {
        self.job(round, 0);
        self.best
    }

    fn job(&mut self, round: &Round<'_>, at: usize) {
        let Some(demand) = round.demands.get(at) else {
            if pools_hold(round, &self.draft) && limits_hold(round, &self.draft) {
                self.best = self.best.min(objective(round, &self.draft));
            }
            return;
        };
        self.job(round, at + 1);
        for candidate in 0..demand.candidates.len() {
            self.node(round, at, candidate, &mut Vec::new(), 0);
        }
    }

    fn node(
        &mut self,
        round: &Round<'_>,
        at: usize,
        candidate: usize,
        targets: &mut Vec<Target>,
        from: usize,
    ) {
        let demand = &round.demands[at];
        if targets.len() == demand.nodes as usize {
            self.draft.assignments[at] = Some(Assignment { candidate, targets: targets.clone() });
            self.job(round, at + 1);
            self.draft.assignments[at] = None;
            return;
        }
        let request = demand.request(&demand.candidates[candidate]);
        let mut fresh_tried = false;
        for machine in from..self.machines[request.listing].len() {
            let (target, before) = self.machines[request.listing][machine].clone();
            let fresh = matches!(target, Target::New(_))
                && before == Free::new(&round.market.listings[request.listing].offer.shape);
            // Empty new machines are alike; a gang's nodes go in their order.
            if fresh && fresh_tried {
                break;
            }
            fresh_tried |= fresh;
            let mut after = before.clone();
            if after.take(&request.share) {
                self.machines[request.listing][machine].1 = after;
                targets.push(target);
                self.node(round, at, candidate, targets, machine + 1);
                targets.pop();
                self.machines[request.listing][machine].1 = before;
            }
        }
    }
}

fn pools_hold(round: &Round<'_>, draft: &Draft) -> bool {
    round.market.limits.iter().all(|(name, limit)| {
        let (mut cpu, mut memory, mut gpus) = (0, 0, [0; MEASURES]);
        for (demand, assignment) in round.demands.iter().zip(&draft.assignments) {
            let Some(assignment) = assignment else { continue };
            let e = demand.request(&demand.candidates[assignment.candidate]);
            let offer = round.market.listings[e.listing].offer;
            if offer.key.pool == **name {
                cpu += e.share.cpu_milli * u64::from(demand.nodes);
                memory += e.share.memory_mib * u64::from(demand.nodes);
                let units = e.share.gpu_measures(&offer.shape);
                gpus.iter_mut()
                    .zip(units)
                    .for_each(|(sum, one)| *sum += one * u64::from(demand.nodes));
            }
        }
        cpu <= limit.cpu_milli
            && memory <= limit.memory_mib
            && limit
                .gpus
                .is_none_or(|left| gpus.iter().all(|sum| *sum <= u64::from(left) * GPU_UNITS))
    })
}

fn limits_hold(round: &Round<'_>, draft: &Draft) -> bool {
    let mut bought = BTreeSet::new();
    for (demand, assignment) in round.demands.iter().zip(&draft.assignments) {
        let Some(assignment) = assignment else { continue };
        let at = demand.candidates[assignment.candidate].listing();
        let new = assignment.targets.iter().filter(|t| matches!(t, Target::New(_)));
        bought.extend(new.map(|target| (&round.market.listings[at].offer.key, *target)));
    }
    round.input.machine_limits.iter().all(|limit| {
        let takes = bought.iter().map(|(key, _)| limit.takes.get(key).copied().unwrap_or(0));
        takes.sum::<u64>() <= limit.state.left()
    })
}
