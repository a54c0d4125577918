//! The simulated cloud: workers by name, lies, and a meter of its own.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use spotwise_control::WorkerId;
use spotwise_model::instance::EndedBy;
use spotwise_model::{
    AttemptId, CapacityType, CoveredSpan, Instance, InstanceId, InstanceState, OfferKey,
};

use super::simulated_market::SimulatedMarket;
use super::time::Ms;
use super::worker::{Pid, Worker};

/// How far a time in the books may lie from the cloud's own: a leader may be
/// stopped for as long as its lease between its decision and its commit.
const CLOSE: i64 = 4;

/// What the pool has been told, and what it does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cloud {
    pub(crate) workers: BTreeMap<Pid, Worker>,
    /// By name: the token of a launch.
    pub(crate) named: BTreeMap<WorkerId, Pid>,
    /// Of another installation.
    pub(crate) foreign: BTreeMap<Pid, WorkerId>,
    pub(crate) machines: BTreeMap<InstanceId, Machine>,
    /// Attempts that ran and that the store has lost.
    pub(crate) forgotten: BTreeSet<AttemptId>,
    last: Pid,
    pub(crate) throttled_until: Ms,
    pub(crate) empty_until: Ms,
    pub(crate) blind_until: Ms,
    /// Deaths from that time on are not shown while the list lags.
    pub(crate) blind_since: Ms,
    pub(crate) kills_late_until: Ms,
}

/// A machine as the cloud sees it.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    offer: OfferKey,
    /// The second at which it was bought.
    since: i64,
    /// What commitments pay of it.
    coverage: Vec<CoveredSpan>,
    pub(crate) reclaim_at: Option<Timestamp>,
    pub(crate) closed: Option<(i64, EndedBy)>,
}

impl Cloud {
    pub(crate) fn next_pid(&mut self) -> Pid {
        self.last += 1;
        self.last
    }

    pub(crate) fn by_name(&self, place: WorkerId) -> Option<&Worker> {
        self.workers.get(self.named.get(&place)?)
    }

    /// Takes note of what was committed about a machine, by the cloud's clock.
    pub(crate) fn follow(&mut self, machine: &Instance, now: Timestamp) -> Result<(), String> {
        let (id, now) = (machine.id, now.as_second());
        if let Some(known) = self.machines.get_mut(&id) {
            is_told_in_time(&known.coverage, &machine.coverage, now)
                .map_err(|what| format!("{id}: {what}"))?;
            let again = known.coverage != machine.coverage || known.offer != machine.offer;
            known.coverage.clone_from(&machine.coverage);
            known.offer.clone_from(&machine.offer);
            if again && !machine.ended() {
                return Ok(());
            }
        }
        match machine.state {
            InstanceState::Registered { since } => {
                let since = since.as_second();
                if (since - now).abs() > CLOSE {
                    return Err(format!("{id} is bought at {now} and booked from {since}"));
                }
                let offer = machine.offer.clone();
                let coverage = machine.coverage.clone();
                is_told_in_time(&[], &coverage, now).map_err(|what| format!("{id}: {what}"))?;
                let bought = Machine { offer, since, coverage, reclaim_at: None, closed: None };
                if self.machines.insert(id, bought).is_some() {
                    return Err(format!("{id} is bought twice"));
                }
            }
            InstanceState::Noticed { reclaim_at, .. } => {
                let known = self.machines.get_mut(&id).ok_or(format!("{id} was never bought"))?;
                known.reclaim_at = Some(reclaim_at);
            }
            InstanceState::Requested { .. }
            | InstanceState::Booting { .. }
            | InstanceState::Draining { .. }
            | InstanceState::Terminating { .. } => {
                return Err(format!("{id} is {} in a pool of slots", machine.state.name()));
            }
            InstanceState::Gone { since, at, by, settled, .. } => {
                let known = self.machines.get_mut(&id).ok_or(format!("{id} was never bought"))?;
                let at = at.as_second();
                match known.closed {
                    Some(closed) if closed == (at, by) => {}
                    Some(closed) => {
                        return Err(format!("{id} ended {closed:?} and then {at} {by:?}"));
                    }
                    None if settled => {}
                    None => {}
                }
                if known.closed.is_none() {
                    let mine = match by {
                        EndedBy::Provider => {
                            known.reclaim_at.map_or(i64::MIN, Timestamp::as_second)
                        }
                        EndedBy::Us => now,
                    };
                    if (at - mine).abs() > CLOSE
                        || since.map(Timestamp::as_second) != Some(known.since)
                    {
                        return Err(format!("{id} ends at {mine} and is booked to {at} {by:?}"));
                    }
                    known.closed = Some((at, by));
                }
            }
        }
        Ok(())
    }

    /// What the provider bills for a machine that is gone: micro-dollars. EC2's
    /// rules: whole seconds, a minute at least, and nothing for a spot machine
    /// that the provider takes back within its first hour.
    pub(crate) fn bill(&self, id: InstanceId, market: &SimulatedMarket) -> Option<i64> {
        let machine = self.machines.get(&id)?;
        let (at, by) = machine.closed?;
        let spot = machine.offer.market.capacity_type == CapacityType::Spot;
        if spot && by == EndedBy::Provider && at - machine.since < 3_600 {
            return Some(0);
        }
        if machine.coverage.iter().any(CoveredSpan::pays) {
            return Some(market.bill_with(&machine.offer, &machine.coverage, machine.since, at));
        }
        Some(market.bill_beyond(&machine.offer, machine.since, at, at.max(machine.since + 60)))
    }

    /// What is wrong with the way commitments pay: more machines than there are,
    /// others than it is for, another time or price.
    pub(crate) fn misused(&self, market: &SimulatedMarket) -> Option<String> {
        for commitment in &market.commitments {
            let paid = |machine: &Machine| {
                let of = machine.coverage.iter().filter(|s| s.commitment == commitment.name);
                let end = machine.closed.map_or(i64::MAX, |(at, _)| at);
                let span = |s: &CoveredSpan| (s.from.as_second(), s.until.as_second().min(end));
                of.map(span).filter(|(from, to)| from < to).collect::<Vec<_>>()
            };
            let mut changes: Vec<(i64, i64)> = Vec::new();
            for (id, machine) in &self.machines {
                for (from, to) in paid(machine) {
                    changes.extend([(from, 1), (to, -1)]);
                    let inside =
                        commitment.from.as_second() <= from && to <= commitment.until.as_second();
                    let fits = machine.offer.market.zone == commitment.zone
                        && machine.offer.market.instance_type == commitment.instance_type
                        && machine.coverage.iter().all(|covered| {
                            covered.commitment != commitment.name
                                || covered.price == commitment.price
                        });
                    if !inside || !fits {
                        return Some(format!("{id} is not what `{}` pays for", commitment.name));
                    }
                }
            }
            // What ends at a second makes room for what begins in it.
            changes.sort_unstable();
            let mut used = 0;
            for (second, change) in changes {
                used += change;
                if used > i64::from(commitment.machines) {
                    return Some(format!("`{}` pays for {used} at {second}", commitment.name));
                }
            }
        }
        None
    }

    /// Whether the list shows that a worker is gone.
    pub(crate) fn shows(&self, now: Ms, died_at: Ms) -> bool {
        now >= self.blind_until || died_at < self.blind_since
    }

    /// Every worker of an attempt, dead or alive.
    pub(crate) fn of_attempt(&self, attempt: AttemptId) -> Vec<Pid> {
        let of = self.workers.iter().filter(|(_, worker)| worker.place.attempt == attempt);
        of.map(|(pid, _)| *pid).collect()
    }
}

/// Stints begin when they are committed, and what is past stays as it was.
fn is_told_in_time(known: &[CoveredSpan], told: &[CoveredSpan], now: i64) -> Result<(), String> {
    for (index, covered) in told.iter().enumerate() {
        let before = known.get(index);
        let (from, until) = (covered.from.as_second(), covered.until.as_second());
        let fine = match before {
            Some(before) => {
                before.from == covered.from
                    && before.price == covered.price
                    && (before.until == covered.until || until >= now - CLOSE)
            }
            None => (from - now).abs() <= CLOSE,
        };
        if !fine {
            return Err(format!("its covered span {covered:?} was {before:?} at {now}"));
        }
    }
    if told.len() < known.len() { Err("a covered span was forgotten".to_owned()) } else { Ok(()) }
}
