//! Whether a plan leaves the room that it says it keeps: with arithmetic of its own, by the
//! same expectations of when what runs and what starts is gone.

use std::collections::{BTreeMap, BTreeSet};

use spotwise_model::plan::{Reservation, Target};
use spotwise_model::resources::GPU_UNITS;
use spotwise_model::time::{between, hours};
use spotwise_model::{InstanceId, NodeShape, Offer, OfferKey, Plan, Share};

use super::violation::Violation;
use crate::statement::ends::{Leaving, SAME, leaving, stay_bound};
use crate::statement::input::{MachineLimit, PlanInput, PlanJob};
use crate::statement::market::changeover;

/// GPUs by compute slices, CPU and memory.
type Amounts = [i128; 3];

/// A placement, or what might be one, until it is gone.
pub(crate) struct Stay<'s> {
    pub(crate) offer: &'s Offer,
    pub(crate) share: Share,
    pub(crate) nodes: usize,
    /// Hours from now; infinite if unknown.
    pub(crate) ends: f64,
    /// The same, with a guess where it is unknown.
    pub(crate) expects: f64,
    targets: &'s [Target],
}

impl<'s> Stay<'s> {
    /// Of a job on an offer.
    pub(crate) fn of(input: &PlanInput, job: &PlanJob, offer: &'s Offer, share: Share) -> Self {
        let starts = changeover(offer, &input.policy);
        let left = job.saved.left_of(job.duration(offer.shape.accelerator.as_ref()));
        let expected = hours(left.saturating_add(starts));
        let stay_bound = stay_bound(job, starts);
        Self {
            offer,
            share,
            nodes: job.spec.resources.nodes.max(1) as usize,
            ends: stay_bound.ends(expected),
            expects: stay_bound.expects(expected),
            targets: &[],
        }
    }

    fn lasts(&self, kept: &Reservation, from: f64) -> bool {
        let ends = if kept.by_choice { self.expects } else { self.ends };
        ends > from + 2.0 * SAME
    }
}

/// Every job that is placed leaves the room that is kept for others.
pub(super) fn check_reserved(
    input: &PlanInput,
    (offers, jobs): (&BTreeMap<&OfferKey, &Offer>, &BTreeMap<spotwise_model::JobId, &PlanJob>),
    plan: &Plan,
    wrong: &mut Vec<Violation>,
) {
    if plan.reservations.is_empty() {
        return;
    }
    let placed: BTreeSet<_> = plan.placements.iter().map(|placement| placement.job).collect();
    let mut stays: Vec<Stay<'_>> = Vec::with_capacity(plan.placements.len());
    for placement in &plan.placements {
        if let (Some(job), Some(offer)) = (jobs.get(&placement.job), offers.get(&placement.offer)) {
            let stay = Stay::of(input, job, offer, placement.share);
            stays.push(Stay { targets: &placement.targets, ..stay });
        }
    }
    let leaving = leaving(input);
    for kept in &plan.reservations {
        let Some(offer) = offers.get(&kept.offer) else {
            wrong.push(Violation::UnknownOffer(kept.offer.clone()));
            continue;
        };
        let from = hours(between(input.now, kept.start));
        let late: Vec<&Stay<'_>> = stays.iter().filter(|stay| stay.lasts(kept, from)).collect();
        let others = &plan.reservations;
        let taken = takes_pool(input, &leaving, others, kept, &late)
            || takes_machine(input, &leaving, (kept, offer), &late)
            || takes_fresh(input, plan, (kept, offer), &late)
            || takes_limits(input, plan, kept, &late);
        if placed.contains(&kept.job) || taken {
            wrong.push(Violation::TakesReserved(kept.job));
        }
    }
}

/// Whether a stay of its own takes room that is kept in pools for others.
pub(crate) fn takes_kept(input: &PlanInput, job: &PlanJob, stay: &Stay<'_>) -> bool {
    let others = input.reservations.iter().filter(|kept| kept.job != job.id);
    let others: Vec<Reservation> = others.cloned().collect();
    let leaving = leaving(input);
    others.iter().any(|kept| {
        let from = hours(between(input.now, kept.start));
        stay.lasts(kept, from) && takes_pool(input, &leaving, &others, kept, &[stay])
    })
}

fn takes_pool(
    input: &PlanInput,
    leaving: &[Leaving<'_>],
    others: &[Reservation],
    kept: &Reservation,
    late: &[&Stay<'_>],
) -> bool {
    let pool = &kept.offer.pool;
    let Some(limit) = input.limits.iter().find(|limit| limit.pool == *pool) else { return false };
    let shape = |key: &OfferKey| input.offers.iter().find(|o| o.key == *key).map(|o| &o.shape);
    let mut here = late.iter().filter(|stay| stay.offer.key.pool == *pool).peekable();
    if here.peek().is_none() {
        return false;
    }
    let from = hours(between(input.now, kept.start));
    let gpus = limit.gpus.map_or(i128::MAX / 2, |gpus| i128::from(gpus) * i128::from(GPU_UNITS));
    let mut left = [gpus, i128::from(limit.cpu_milli), i128::from(limit.memory_mib)];
    let mut add = |amounts: Amounts, sign: i128| {
        left.iter_mut().zip(amounts).for_each(|(left, one)| *left += sign * one);
    };
    let gone =
        |leaving: &&Leaving<'_>| leaving.offer.key.pool == *pool && leaving.at <= from + 2.0 * SAME;
    for gone in leaving.iter().filter(gone) {
        add(amounts(&gone.share, &gone.offer.shape, gone.nodes as usize), 1);
    }
    let active = |other: &&Reservation| {
        other.offer.pool == *pool
            && other.start <= kept.start
            && other.end.is_none_or(|end| hours(between(kept.start, end)) > 2.0 * SAME)
    };
    for other in others.iter().filter(active) {
        if let Some(shape) = shape(&other.offer) {
            add(amounts(&other.share, shape, other.nodes as usize), -1);
        }
    }
    for stay in here {
        add(amounts(&stay.share, &stay.offer.shape, stay.nodes), -1);
    }
    left.into_iter().any(|left| left < 0)
}

fn amounts(share: &Share, shape: &NodeShape, nodes: usize) -> Amounts {
    let one = [share.gpu_units(shape), share.cpu_milli, share.memory_mib];
    one.map(|one| i128::from(one) * nodes as i128)
}

/// Whether a machine that is kept holds less than the job needs of it.
fn takes_machine(
    input: &PlanInput,
    leaving: &[Leaving<'_>],
    (kept, offer): (&Reservation, &Offer),
    late: &[&Stay<'_>],
) -> bool {
    let from = hours(between(input.now, kept.start));
    let is_on =
        |stay: &&&Stay<'_>, machine: InstanceId| stay.targets.contains(&Target::Existing(machine));
    kept.machines.iter().any(|machine| {
        let on_it: Vec<_> = late.iter().filter(|stay| is_on(stay, *machine)).collect();
        let Some(there) = input.instances.iter().find(|i| i.id == *machine) else { return false };
        if on_it.is_empty() {
            return false;
        }
        let mut cpu = i128::from(there.free.cpu_milli());
        let mut memory = i128::from(there.free.memory_mib());
        for gone in leaving.iter().filter(|l| l.is_on(*machine) && l.at <= from + 2.0 * SAME) {
            cpu += i128::from(gone.share.cpu_milli);
            memory += i128::from(gone.share.memory_mib);
        }
        cpu = cpu.min(i128::from(offer.shape.cpu_milli));
        memory = memory.min(i128::from(offer.shape.memory_mib));
        for share in on_it.iter().map(|stay| &stay.share).chain([&kept.share]) {
            cpu -= i128::from(share.cpu_milli);
            memory -= i128::from(share.memory_mib);
        }
        cpu < 0 || memory < 0
    })
}

/// Whether fewer machines can be opened than are kept.
fn takes_fresh(
    input: &PlanInput,
    plan: &Plan,
    (kept, offer): (&Reservation, &Offer),
    late: &[&Stay<'_>],
) -> bool {
    if kept.fresh == 0 {
        return false;
    }
    let idle = idle_machines(input, offer);
    let opens = |target: &&Target| match target {
        Target::New(_) => true,
        Target::Existing(id) => idle.contains(id),
    };
    let here = late.iter().filter(|stay| stay.offer.key == offer.key);
    let opened: BTreeSet<&Target> = here.flat_map(|stay| stay.targets).filter(opens).collect();
    let same = |other: &&Reservation| other.offer == kept.offer && other.start <= kept.start;
    let reserved: usize =
        plan.reservations.iter().filter(same).map(|other| other.fresh as usize).sum();
    !opened.is_empty() && opened.len() + reserved > idle.len() + offer.free.machines() as usize
}

/// Machines of an offer with nothing on them.
fn idle_machines(input: &PlanInput, offer: &Offer) -> BTreeSet<InstanceId> {
    let empty = spotwise_model::resources::Free::new(&offer.shape);
    let idle = input.instances.iter().filter(|i| i.offer == offer.key && i.free == empty);
    idle.map(|i| i.id).collect()
}

/// Whether new machines that stay take of a limit what machines that are kept, and are
/// neither open nor idle, need of it.
fn takes_limits(input: &PlanInput, plan: &Plan, kept: &Reservation, late: &[&Stay<'_>]) -> bool {
    if kept.fresh == 0 {
        return false;
    }
    let over = |limit: &MachineLimit| {
        let needs = |key: &OfferKey, takes: u64| {
            let offer = input.offers.iter().find(|offer| offer.key == *key)?;
            let idle = idle_machines(input, offer);
            let here = late.iter().filter(|stay| stay.offer.key == *key);
            let targets: BTreeSet<&Target> = here.flat_map(|stay| stay.targets).collect();
            let bought = targets.iter().filter(|t| matches!(t, Target::New(_))).count();
            let old =
                |target: &&&Target| matches!(target, Target::Existing(id) if idle.contains(id));
            let same = |other: &&Reservation| other.offer == *key && other.start <= kept.start;
            let reserved: usize =
                plan.reservations.iter().filter(same).map(|other| other.fresh as usize).sum();
            let all = targets.iter().filter(old).count() + bought + reserved;
            let machines = bought.max(all.saturating_sub(idle.len()));
            Some((bought, u128::from(takes) * machines as u128))
        };
        let counted = limit.takes.iter().filter(|(_, takes)| **takes > 0);
        let each = counted.filter_map(|(key, takes)| needs(key, *takes));
        let (bought, all) = each.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        bought > 0 && all > u128::from(limit.state.of.saturating_sub(limit.state.used))
    };
    let counts = |limit: &&MachineLimit| limit.takes.get(&kept.offer).is_some_and(|t| *t > 0);
    input.machine_limits.iter().filter(counts).any(over)
}
