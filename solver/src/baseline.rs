//! Two schedulers to compare with, each a function from a round to a plan that
//! passes [`check`](crate::check()): every job for itself, in the order of
//! submission, on machines of its own.
//!
//! [`greedy`] takes the cheapest spot that is free, otherwise waits,
//! and goes on demand when its deadline asks for it. [`uniform_progress`] also
//! buys on demand while a job is behind the even pace of its deadline, and goes
//! back to spot once it is ahead by two changeovers (Wu et al., NSDI '24).

use std::collections::BTreeMap;
use std::time::Duration;

use spotwise_model::id::PoolName;
use spotwise_model::plan::{PlacementReason, PlacementRule, PolicyCost, Target, WaitReason};
use spotwise_model::resources::Free;
use spotwise_model::time::{after, between};
use spotwise_model::{CapacityType, Money, Offer, OfferKey, Placement, Plan, Share};

use crate::statement::input::{MachineLimit, PlanInput, PlanJob, PoolLimit, RunningJob};

/// Cheapest free spot, else wait; on demand when the deadline asks for it.
pub fn greedy(input: &PlanInput) -> Plan {
    decide(input, Pace::None)
}

/// As [`greedy`], and on demand while behind the pace of the deadline.
pub fn uniform_progress(input: &PlanInput) -> Plan {
    decide(input, Pace::Uniform)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    None,
    Uniform,
}

fn decide(input: &PlanInput, pace: Pace) -> Plan {
    let mut remaining = Remaining::new(input);
    let mut plan = Plan::empty();
    let mut waiting: Vec<&PlanJob> = input.jobs.iter().collect();
    waiting.sort_by_key(|job| (job.submitted, job.id));
    for job in waiting {
        let (wish, rule) = wish(input, job, pace);
        match wish.iter().find_map(|kind| remaining.place(input, job, *kind, rule)) {
            Some(placement) => plan.placements.push(placement),
            None => {
                plan.waits.insert(job.id, remaining.why_not(input, job, &wish));
            }
        }
    }
    let mut running: Vec<&RunningJob> = input.running.iter().filter(|job| !job.stopping).collect();
    running.sort_by_key(|running| (running.job.submitted, running.job.id));
    for running in running {
        if let Some(rule) = leaves(input, running, pace, &mut remaining) {
            plan.moves.insert(running.job.id, rule);
        }
    }
    plan.purchases = remaining.bought;
    plan
}

/// The kinds of capacity a waiting job takes, best first, and the reason.
fn wish(input: &PlanInput, job: &PlanJob, pace: Pace) -> (Vec<CapacityType>, PlacementRule) {
    use CapacityType::{OnDemand, Reserved, Spot};
    if !job.spec.interruptible {
        return (vec![Reserved, OnDemand], PlacementRule::NotInterruptible);
    }
    if is_tight(input, job, left(job), 2) {
        return (vec![Reserved, OnDemand, Spot], PlacementRule::SafetyNet);
    }
    if pace == Pace::Uniform && is_behind(input, job) {
        return (vec![Reserved, Spot, OnDemand], PlacementRule::BehindPace);
    }
    (vec![Reserved, Spot], PlacementRule::Cheapest)
}

/// Whether a running job goes elsewhere. A spot machine that makes progress is
/// never left.
fn leaves(
    input: &PlanInput,
    running: &RunningJob,
    pace: Pace,
    remaining: &mut Remaining<'_>,
) -> Option<PlacementRule> {
    let job = &running.job;
    let whole = job.duration(remaining.accelerator(&running.offer));
    let left = running.progress.left_of(whole);
    match running.offer.market.capacity_type {
        CapacityType::Spot => {
            let starting = between(running.since, input.now) < changeover(input);
            let lost = starting && is_tight(input, job, left, 1);
            let free = lost && remaining.fits(input, job, CapacityType::OnDemand).is_some();
            free.then_some(PlacementRule::SafetyNet)
        }
        CapacityType::OnDemand if pace == Pace::Uniform && job.spec.interruptible => {
            let ahead = is_ahead(input, running, 2) && !is_tight(input, job, left, 2);
            let offer = ahead.then(|| remaining.fits(input, job, CapacityType::Spot)).flatten()?;
            // What it goes to is not there for the next one.
            remaining.reserve(&offer, job);
            Some(PlacementRule::Cheapest)
        }
        _ => None,
    }
}

fn changeover(input: &PlanInput) -> Duration {
    input.policy.changeover
}

/// What is left of a job that starts from its checkpoint, on any machine.
fn left(job: &PlanJob) -> Duration {
    job.saved.left_of(job.longest())
}

/// Whether the work and so many starts fill all the time to the deadline.
fn is_tight(input: &PlanInput, job: &PlanJob, left: Duration, starts: u32) -> bool {
    let starts = changeover(input).saturating_mul(starts);
    let need = left.saturating_add(starts).saturating_add(input.policy.deadline_margin);
    need >= between(input.now, job.deadline)
}

/// The share of the work that an even pace has done by so much later than now.
fn even_pace(input: &PlanInput, job: &PlanJob, later: Duration) -> f64 {
    let whole = between(job.submitted, job.deadline).as_secs_f64();
    let passed = between(job.submitted, input.now).saturating_add(later).as_secs_f64();
    if whole > 0.0 { passed / whole } else { 1.0 }
}

fn is_behind(input: &PlanInput, job: &PlanJob) -> bool {
    f64::from(job.saved.done_ppm) / 1e6 < even_pace(input, job, Duration::ZERO)
}

fn is_ahead(input: &PlanInput, running: &RunningJob, starts: u32) -> bool {
    let later = changeover(input).saturating_mul(starts);
    f64::from(running.progress.done_ppm) / 1e6 > even_pace(input, &running.job, later)
}

/// What is still to be had in this round.
struct Remaining<'a> {
    offers: BTreeMap<&'a OfferKey, &'a Offer>,
    bought: BTreeMap<OfferKey, u32>,
    /// Kept for jobs that are being moved.
    reserved: BTreeMap<OfferKey, u32>,
    limits: BTreeMap<PoolName, PoolLimit>,
    /// What machines may take, and what is left of it.
    machine_limits: Vec<(&'a MachineLimit, u64)>,
}

impl<'a> Remaining<'a> {
    fn new(input: &'a PlanInput) -> Self {
        let mut offers = BTreeMap::new();
        let mut limits = BTreeMap::new();
        for offer in &input.offers {
            offers.entry(&offer.key).or_insert(offer);
        }
        for limit in &input.limits {
            limits.entry(limit.pool.clone()).or_insert_with(|| limit.clone());
        }
        let machine_limits = input.machine_limits.iter();
        let machine_limits = machine_limits.map(|limit| (limit, limit.state.left())).collect();
        let (bought, reserved) = (BTreeMap::new(), BTreeMap::new());
        Self { offers, bought, reserved, limits, machine_limits }
    }

    fn accelerator(&self, key: &OfferKey) -> Option<&'a spotwise_model::id::Accelerator> {
        self.offers.get(key).and_then(|offer| offer.shape.accelerator.as_ref())
    }

    fn free(&self, offer: &Offer) -> u32 {
        let taken = |list: &BTreeMap<OfferKey, u32>| list.get(&offer.key).copied().unwrap_or(0);
        offer
            .free
            .machines()
            .saturating_sub(taken(&self.bought))
            .saturating_sub(taken(&self.reserved))
    }

    /// The cheapest offer of a kind with a machine for every node of the job;
    /// the first in the order of keys of equals.
    fn fits(
        &self,
        input: &PlanInput,
        job: &PlanJob,
        kind: CapacityType,
    ) -> Option<(&'a Offer, Share)> {
        let offers = self
            .offers
            .values()
            .filter(|offer| offer.key.market.capacity_type == kind && job.may_use(&offer.key));
        let fitting = offers.filter_map(|offer| {
            let share = job.share_on(offer.shape.accelerator.as_ref())?;
            let fits = self.free(offer) >= nodes(job)
                && self.allows(&offer.key, nodes(job))
                && Free::new(&offer.shape).take(&share)
                && self.pool_holds(&offer.key.pool, &share, nodes(job))
                && job.budget_left.is_none_or(|left| expected(input, job, offer) <= left);
            fits.then_some((*offer, share))
        });
        fitting.min_by_key(|(offer, _)| offer.price)
    }

    /// Whether the limits allow so many machines more.
    fn allows(&self, offer: &OfferKey, machines: u32) -> bool {
        let takes = |limit: &MachineLimit| limit.takes.get(offer).copied().unwrap_or(0);
        let mut limits = self.machine_limits.iter();
        limits.all(|(limit, left)| takes(limit).saturating_mul(u64::from(machines)) <= *left)
    }

    fn take(&mut self, offer: &OfferKey, machines: u32) {
        for (limit, left) in &mut self.machine_limits {
            let takes = limit.takes.get(offer).copied().unwrap_or(0);
            *left = left.saturating_sub(takes.saturating_mul(u64::from(machines)));
        }
    }

    fn pool_holds(&self, pool: &PoolName, share: &Share, nodes: u32) -> bool {
        let nodes = u64::from(nodes);
        // A part counts as a whole GPU here: a baseline shares no GPUs.
        let gpus = u64::from(share.gpus) + u64::from(share.takes_part());
        self.limits.get(pool).is_none_or(|limit| {
            limit.cpu_milli >= share.cpu_milli.saturating_mul(nodes)
                && limit.memory_mib >= share.memory_mib.saturating_mul(nodes)
                && limit.gpus.is_none_or(|have| u64::from(have) >= gpus.saturating_mul(nodes))
        })
    }

    fn place(
        &mut self,
        input: &PlanInput,
        job: &PlanJob,
        kind: CapacityType,
        rule: PlacementRule,
    ) -> Option<Placement> {
        let (offer, share) = self.fits(input, job, kind)?;
        let count = nodes(job);
        if let Some(limit) = self.limits.get_mut(&offer.key.pool) {
            limit.cpu_milli -= share.cpu_milli * u64::from(count);
            limit.memory_mib -= share.memory_mib * u64::from(count);
            let gpus = share.gpus + u32::from(share.takes_part());
            limit.gpus = limit.gpus.map(|have| have - gpus * count);
        }
        self.take(&offer.key, count);
        let bought = self.bought.entry(offer.key.clone()).or_insert(0);
        let first = *bought;
        *bought += count;
        let last = *bought;
        Some(Placement {
            job: job.id,
            offer: offer.key.clone(),
            share,
            targets: (first..last).map(Target::New).collect(),
            why: why(input, job, offer, rule),
        })
    }

    fn reserve(&mut self, (offer, _): &(&Offer, Share), job: &PlanJob) {
        *self.reserved.entry(offer.key.clone()).or_insert(0) += nodes(job);
        self.take(&offer.key, nodes(job));
    }

    fn why_not(&self, input: &PlanInput, job: &PlanJob, wish: &[CapacityType]) -> WaitReason {
        let wished = self.offers.values().filter(|offer| {
            wish.contains(&offer.key.market.capacity_type) && job.may_use(&offer.key)
        });
        let holding: Vec<&&Offer> = wished
            .filter(|offer| {
                let share = job.share_on(offer.shape.accelerator.as_ref());
                share.is_some_and(|share| Free::new(&offer.shape).take(&share))
            })
            .collect();
        let cheapest = holding.iter().map(|offer| expected(input, job, offer)).min();
        match (cheapest, job.budget_left) {
            (None, _) => {
                WaitReason::Unschedulable { detail: "no machine of the market holds it".to_owned() }
            }
            (Some(needs), Some(left)) if needs > left => WaitReason::OverBudget { needs, left },
            _ => WaitReason::NoCapacity {
                suitable_offers: u32::try_from(holding.len()).unwrap_or(u32::MAX),
            },
        }
    }
}

fn nodes(job: &PlanJob) -> u32 {
    job.spec.resources.nodes.max(1)
}

/// A start and the work left, on as many machines as the job has nodes.
fn occupied(input: &PlanInput, job: &PlanJob, offer: &Offer) -> Duration {
    let whole = job.duration(offer.shape.accelerator.as_ref());
    job.saved.left_of(whole).saturating_add(changeover(input))
}

fn expected(input: &PlanInput, job: &PlanJob, offer: &Offer) -> Money {
    let hours = spotwise_model::time::hours(occupied(input, job, offer));
    Money::estimate(offer.price.dollars_per_hour() * hours * f64::from(nodes(job)))
}

fn why(input: &PlanInput, job: &PlanJob, offer: &Offer, rule: PlacementRule) -> PlacementReason {
    let finish = after(input.now, occupied(input, job, offer));
    PlacementReason {
        rule,
        expected_cost: expected(input, job, offer),
        finish,
        slack: between(finish, job.deadline),
        policy_cost: PolicyCost::default(),
        transfer: Money::ZERO,
        alternatives: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
