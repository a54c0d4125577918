//! The machines that there are to be had over time, and what they cost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use spotwise_model::time::{between, hours};
use spotwise_model::{InstanceId, OfferKey};

use crate::statement::input::{PlanInput, RunningJob};
use crate::statement::later::{LaterOption, LaterOptions};
use crate::statement::market::{KINDS, Market};
use crate::statement::prices::{PLAIN, left_of, parts, takes, whole};

/// Machines of one kind: those of a group of listings on spot, or those of it
/// that stay.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Supply {
    /// All that the market gives now, ours included.
    machines: f64,
    /// The most of them on one offer: a gang's nodes go to one.
    pub(super) largest: f64,
    /// What is free of each resource now, in machines.
    pub(super) free: [f64; PLAIN],
    /// Dollars an hour of a machine, on average over the machines.
    pub(super) price: f64,
    /// What runs on them: until when, in hours from now, and how much of them.
    held: Vec<(f64, [f64; PLAIN])>,
}

impl Supply {
    /// Machines of each resource that are not held, on average from one hour
    /// from now to another.
    pub(super) fn between(&self, start: f64, end: f64) -> [f64; PLAIN] {
        let mut left = [self.machines; PLAIN];
        for (until, parts) in &self.held {
            let part = ((until - start) / (end - start)).clamp(0.0, 1.0);
            left.iter_mut().zip(parts).for_each(|(left, held)| *left -= held * part);
        }
        left.map(|left| left.max(0.0))
    }
}

impl LaterOptions {
    /// The ways that have an offer with machines for all nodes.
    pub(super) fn options_in<'l>(
        &'l self,
        supplies: &'l [Supply],
        nodes: u32,
    ) -> impl Iterator<Item = (&'l Supply, &'l LaterOption)> {
        let supply = move |option: &LaterOption| supplies.get(option.kind as usize);
        let options = self.options.iter().filter_map(move |option| Some((supply(option)?, option)));
        options.filter(move |(supply, _)| supply.largest >= f64::from(nodes))
    }
}

/// Every kind of machine of a market. What is there now is expected to stay: a
/// zone that is lost is as likely as one that comes back.
pub(super) fn supplies(input: &PlanInput, market: &Market<'_>) -> Vec<Supply> {
    let mut supplies = vec![Supply::default(); KINDS * market.groups.len()];
    let mut named = vec![(0.0, 0.0); supplies.len()];
    let mut held: BTreeMap<&OfferKey, BTreeSet<InstanceId>> = BTreeMap::new();
    for running in &input.running {
        held.entry(&running.offer).or_default().extend(&running.instances);
    }
    for listing in &market.listings {
        let kind = listing.kind();
        let mut ours = held.remove(&listing.offer.key).unwrap_or_default();
        ours.extend(listing.used.iter().map(|(id, _)| *id).chain(listing.idle.iter().copied()));
        // Beyond what the limits ever allow there is nothing to come.
        let most = listing.most_ever().saturating_sub(ours.len() as u64);
        let new = u64::from(listing.offer.free.machines()).min(most);
        let machines = ours.len() as f64 + new as f64;
        let (Some(supply), Some(named)) = (supplies.get_mut(kind), named.get_mut(kind)) else {
            continue;
        };
        supply.machines += machines;
        supply.largest = supply.largest.max(machines);
        let hourly = listing.marginal(1.0);
        supply.price += machines * hourly;
        *named = (named.0 + hourly, named.1 + 1.0);
        let openable = listing.openable() as f64;
        supply.free.iter_mut().for_each(|free| *free += openable);
        for (_, left) in &listing.used {
            let left = parts(left_of::<PLAIN>(left), whole(listing)).map(|part| part.min(1.0));
            supply.free.iter_mut().zip(left).for_each(|(free, left)| *free += left);
        }
    }
    for (supply, (sum, count)) in supplies.iter_mut().zip(named) {
        // Where nothing is there, as if each listing had one.
        let (sum, count) =
            if supply.machines > 0.0 { (supply.price, supply.machines) } else { (sum, count) };
        supply.price = if count > 0.0 { sum / count } else { 0.0 };
    }
    for running in &input.running {
        hold(running, input, market, &mut supplies);
    }
    supplies
}

/// What a running job holds, until it is done or stopped.
fn hold(
    running: &RunningJob,
    input: &PlanInput,
    market: &Market<'_>,
    supplies: &mut [Supply],
) -> Option<()> {
    let mut listings = market.listings.iter();
    let listing = listings.find(|listing| listing.offer.key == running.offer)?;
    let shape = &listing.offer.shape;
    let share = running.job.share_on(shape.accelerator.as_ref())?;
    let whole_work = running.job.duration(shape.accelerator.as_ref());
    let starts = match running.job.worker_array {
        Some(_) => Duration::ZERO,
        None => listing.changeover.saturating_sub(between(running.since, input.now)),
    };
    let left = running.progress.left_of(whole_work).saturating_add(starts);
    let until = if running.stopping { 0.0 } else { hours(left) };
    let nodes = running.instances.len() as f64;
    let parts = parts(takes(&share, shape), whole(listing)).map(|part| part.min(1.0) * nodes);
    supplies.get_mut(listing.kind())?.held.push((until, parts));
    Some(())
}
