//! Audits any plan, wherever it comes from, with arithmetic of its own: it
//! shares nothing with what makes plans but the vocabulary.

use std::collections::{BTreeMap, BTreeSet};

use spotwise_model::gpu::MigProfile;
use spotwise_model::mig::{MEASURES, fit_afresh};
use spotwise_model::plan::Target;
use spotwise_model::resources::{Free, GPU_UNITS};
use spotwise_model::sharing::SoftSharing;
use spotwise_model::time::hours;
use spotwise_model::{
    CapacityType, InstanceId, JobId, Money, NodeShape, Offer, OfferKey, Placement, Plan, Share,
};

use super::reserved::check_reserved;
use super::violation::Violation;
use crate::statement::input::{PlanInput, PlanJob};

/// Checks a plan against what it was made from.
///
/// # Errors
///
/// Everything that is wrong with it, in a fixed order.
pub fn check(input: &PlanInput, plan: &Plan) -> Result<(), Vec<Violation>> {
    let mut wrong = Vec::new();
    let mut offers: BTreeMap<&OfferKey, &Offer> = BTreeMap::new();
    for offer in &input.offers {
        offers.entry(&offer.key).or_insert(offer);
    }
    let mut jobs: BTreeMap<JobId, &PlanJob> = BTreeMap::new();
    for job in &input.jobs {
        jobs.entry(job.id).or_insert(job);
    }
    check_once(&jobs, plan, &mut wrong);
    for placement in &plan.placements {
        let Some(job) = jobs.get(&placement.job) else { continue };
        match offers.get(&placement.offer) {
            Some(offer) => check_placement(job, offer, placement, &mut wrong),
            None => wrong.push(Violation::UnknownOffer(placement.offer.clone())),
        }
    }
    check_purchases(&offers, plan, &mut wrong);
    check_machines(input, &offers, plan, &mut wrong);
    check_pools(input, &offers, plan, &mut wrong);
    check_limits(input, plan, &mut wrong);
    check_reserved(input, (&offers, &jobs), plan, &mut wrong);
    let movable: BTreeSet<JobId> =
        input.running.iter().filter(|r| !r.stopping).map(|r| r.job.id).collect();
    let wrong_moves = plan.moves.keys().filter(|id| !movable.contains(*id));
    wrong.extend(wrong_moves.map(|id| Violation::WrongMove(*id)));
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

fn check_once(jobs: &BTreeMap<JobId, &PlanJob>, plan: &Plan, wrong: &mut Vec<Violation>) {
    let mut times: BTreeMap<JobId, usize> = jobs.keys().map(|id| (*id, 0)).collect();
    for id in plan.placements.iter().map(|placement| &placement.job).chain(plan.waits.keys()) {
        match times.get_mut(id) {
            Some(times) => *times += 1,
            None => wrong.push(Violation::UnknownJob(*id)),
        }
    }
    let not_once = times.into_iter().filter(|(_, times)| *times != 1);
    wrong.extend(not_once.map(|(job, times)| Violation::NotOnce { job, times }));
}

fn check_placement(
    job: &PlanJob,
    offer: &Offer,
    placement: &Placement,
    wrong: &mut Vec<Violation>,
) {
    if !job.may_use(&offer.key) {
        wrong.push(Violation::BarredPool(job.id));
    }
    if job.share_on(offer.shape.accelerator.as_ref()) != Some(placement.share) {
        wrong.push(Violation::WrongShare(job.id));
    }
    let nodes = job.spec.resources.nodes.max(1);
    if placement.targets.len() != nodes as usize {
        let targets = placement.targets.len();
        wrong.push(Violation::WrongNodes { job: job.id, targets, nodes });
    }
    if placement.targets.iter().collect::<BTreeSet<_>>().len() != placement.targets.len() {
        wrong.push(Violation::SharedTarget(job.id));
    }
    if offer.key.market.capacity_type == CapacityType::Spot && !job.spec.interruptible {
        wrong.push(Violation::NotInterruptible(job.id));
    }
    if let Some(left) = job.budget_left {
        // Undisturbed work alone, so less than any honest expectation.
        let work = job.saved.left_of(job.duration(offer.shape.accelerator.as_ref()));
        // A committed machine may be billed on demand for some of it.
        let reserved = offer.key.market.capacity_type == CapacityType::Reserved;
        let price = if reserved { offer.price.min(offer.on_demand) } else { offer.price };
        let machines = price.dollars_per_hour() * hours(work) * f64::from(nodes);
        let least = Money::estimate(machines * dominant_part(&placement.share, &offer.shape));
        if least > left || placement.why.expected_cost > left {
            wrong.push(Violation::OverBudget(job.id));
        }
    }
}

/// The largest part that a share takes of any resource of a machine.
fn dominant_part(share: &Share, shape: &NodeShape) -> f64 {
    let gpus = share.gpu_units(shape) as f64 / GPU_UNITS as f64;
    let parts = [
        (gpus, f64::from(shape.gpus)),
        (share.cpu_milli as f64, shape.cpu_milli as f64),
        (share.memory_mib as f64, shape.memory_mib as f64),
    ];
    parts.into_iter().filter(|(_, of)| *of > 0.0).map(|(take, of)| take / of).fold(0.0, f64::max)
}

fn check_purchases(offers: &BTreeMap<&OfferKey, &Offer>, plan: &Plan, wrong: &mut Vec<Violation>) {
    for (key, bought) in &plan.purchases {
        match offers.get(key) {
            None => wrong.push(Violation::UnknownOffer(key.clone())),
            Some(offer) if *bought > offer.free.machines() => wrong.push(Violation::NotFree {
                offer: key.clone(),
                bought: *bought,
                free: offer.free.machines(),
            }),
            Some(_) => {}
        }
    }
}

/// Every machine exists and holds what is put on it.
fn check_machines(
    input: &PlanInput,
    offers: &BTreeMap<&OfferKey, &Offer>,
    plan: &Plan,
    wrong: &mut Vec<Violation>,
) {
    let mut there: BTreeMap<InstanceId, (&OfferKey, &Free)> = BTreeMap::new();
    for instance in &input.instances {
        there.entry(instance.id).or_insert((&instance.offer, &instance.free));
    }
    let mut on: BTreeMap<(&OfferKey, Target), Vec<&Share>> = BTreeMap::new();
    for placement in &plan.placements {
        for target in &placement.targets {
            let bought = plan.purchases.get(&placement.offer).copied().unwrap_or(0);
            if let Target::New(index) = target
                && *index >= bought
            {
                let (job, offer) = (placement.job, placement.offer.clone());
                wrong.push(Violation::NotBought { job, offer, index: *index });
            }
            if let Target::Existing(id) = target
                && there.get(id).is_none_or(|(offer, _)| **offer != placement.offer)
            {
                wrong.push(Violation::WrongInstance { job: placement.job, instance: *id });
            }
            on.entry((&placement.offer, *target)).or_default().push(&placement.share);
        }
    }
    for ((key, target), shares) in on {
        let holds = match target {
            Target::New(_) => {
                offers.get(key).is_none_or(|offer| new_machine_holds(&offer.shape, &shares))
            }
            Target::Existing(id) => {
                there.get(&id).is_none_or(|(_, free)| used_machine_holds(free, &shares))
            }
        };
        if !holds {
            wrong.push(Violation::Overfilled { offer: key.clone(), target });
        }
    }
}

/// Beside what runs each part of a GPU needs a slot of its own: slots are given to
/// all of them and then taken one by one.
fn used_machine_holds(free: &Free, shares: &[&Share]) -> bool {
    let shares: Vec<Share> = shares.iter().map(|share| **share).collect();
    let mut left = free.clone();
    let slots = free.clone().assign_slots(&shares, &|_| 0);
    slots.is_some_and(|slots| {
        shares.iter().zip(slots).all(|(share, slot)| left.take_at(share, slot))
    })
}

/// Whole GPUs, those that are cut and those that are shared are each other's
/// rest. Slices of all profiles fit together where a layout has them; a GPU is
/// shared in one way, by parts of one size.
fn new_machine_holds(shape: &NodeShape, shares: &[&Share]) -> bool {
    let sum = |take: fn(&Share) -> u64| shares.iter().map(|s| u128::from(take(s))).sum::<u128>();
    let slices = MigProfile::ALL.map(|profile| {
        let alike = shares.iter().filter(|share| share.mig == Some(profile)).count();
        u32::try_from(alike).unwrap_or(u32::MAX)
    });
    let gpus = sum(|share| share.gpus.into()).checked_add(shared_gpus(shape, shares));
    let left = gpus.and_then(|gpus| u128::from(shape.gpus).checked_sub(gpus));
    let left = left.and_then(|left| u32::try_from(left).ok());
    let two_ways = |share: &Share| share.mig.is_some() && share.shared.is_some();
    left.is_some_and(|left| fit_afresh(slices, left))
        && !shares.iter().any(|share| two_ways(share))
        && sum(|share| share.cpu_milli) <= u128::from(shape.cpu_milli)
        && sum(|share| share.memory_mib) <= u128::from(shape.memory_mib)
}

/// GPUs that softly shared parts need: each kind and size its own, filled by the
/// memory of a GPU or by the number of turns. No machine has so many where a part
/// is more than a GPU.
fn shared_gpus(shape: &NodeShape, shares: &[&Share]) -> u128 {
    let mut alike: BTreeMap<SoftSharing, u128> = BTreeMap::new();
    for shared in shares.iter().filter_map(|share| share.shared) {
        *alike.entry(shared.sharing).or_insert(0) += 1;
    }
    let gpus = alike.into_iter().map(|(sharing, jobs)| {
        let places = match sharing {
            SoftSharing::Mps { memory_mib: 0 } => return 1,
            SoftSharing::Mps { memory_mib } => shape.gpu_memory_mib / memory_mib,
            SoftSharing::TimeSlicing { jobs } => u64::from(jobs),
        };
        if places == 0 { u128::MAX } else { jobs.div_ceil(u128::from(places)) }
    });
    gpus.fold(0, u128::saturating_add)
}

fn check_pools(
    input: &PlanInput,
    offers: &BTreeMap<&OfferKey, &Offer>,
    plan: &Plan,
    wrong: &mut Vec<Violation>,
) {
    let mut seen = BTreeSet::new();
    for limit in input.limits.iter().filter(|limit| seen.insert(&limit.pool)) {
        let (mut cpu, mut memory, mut gpu_units) = (0_u128, 0_u128, [0_u128; MEASURES]);
        for placement in plan.placements.iter().filter(|p| p.offer.pool == limit.pool) {
            let nodes = placement.targets.len() as u128;
            cpu += u128::from(placement.share.cpu_milli) * nodes;
            memory += u128::from(placement.share.memory_mib) * nodes;
            // An offer that is unknown is a violation of its own.
            let shape = offers.get(&placement.offer).map(|offer| &offer.shape);
            let units = shape.map(|shape| placement.share.gpu_measures(shape));
            let sums = gpu_units.iter_mut().zip(units.into_iter().flatten());
            sums.for_each(|(sum, units)| *sum += u128::from(units) * nodes);
        }
        let mut short = |resource| {
            wrong.push(Violation::PoolLimit { pool: limit.pool.clone(), resource });
        };
        if cpu > u128::from(limit.cpu_milli) {
            short("cpus");
        }
        if memory > u128::from(limit.memory_mib) {
            short("memory");
        }
        let gpus_left = limit.gpus.map(|gpus| u128::from(gpus) * u128::from(GPU_UNITS));
        if gpus_left.is_some_and(|left| gpu_units.iter().any(|units| *units > left)) {
            short("gpus");
        }
    }
}

/// Whatever is bought counts, whether a job is on it or not.
fn check_limits(input: &PlanInput, plan: &Plan, wrong: &mut Vec<Violation>) {
    for limit in &input.machine_limits {
        let bought = plan.purchases.iter().filter_map(|(key, bought)| {
            Some(u128::from(*limit.takes.get(key)?) * u128::from(*bought))
        });
        let (takes, left) = (bought.sum(), limit.state.of.saturating_sub(limit.state.used));
        if takes > u128::from(left) {
            wrong.push(Violation::MachineLimit { limit: limit.state.key.clone(), takes, left });
        }
    }
}

#[cfg(test)]
mod tests;
