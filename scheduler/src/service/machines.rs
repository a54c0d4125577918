//! Machines: listed, explained, drained. Only those are known here whose charges are not
//! settled; what the others cost is in the ledger.

use std::collections::BTreeMap;

use spotwise_api::convert::{MachineFigures, machine_view, time_text};
use spotwise_api::v1;
use spotwise_control::Command;
use spotwise_control::core::State;
use spotwise_control::view::accrued::accrued_entries;
use spotwise_control::view::machines::{MachineOutlook, outlook, price_now, prices};
use spotwise_model::freeze::Freeze;
use spotwise_model::id::PoolName;
use spotwise_model::{Instance, InstanceId, Money, Now};
use spotwise_solver::keep::{IdleMachine, KeepOrGiveBack};

use super::machine_words::{details, drained, headline};
use super::names::{machine_id, no_such_machine, no_such_pool, pool_name};
use super::{ServiceError, Session, limits};
use spotwise_model::access::Action;

/// The longest reason of a freeze, in characters.
const LONGEST_REASON: usize = 200;

/// Said where machines that are gone were asked for.
const NOT_LISTED: &str = "machines whose charges are settled are not listed; `spotwise cost` has \
                          what they cost";

/// Some machines, and what their rows are made of.
struct MachineSnapshot {
    /// In the order of the answer.
    ids: Vec<InstanceId>,
    state: State,
    now: Now,
}

impl Session {
    /// Machines that are not settled, newest first.
    pub async fn list_machines(
        &self,
        request: v1::ListMachinesRequest,
    ) -> Result<v1::ListMachinesResponse, ServiceError> {
        self.may(Action::ViewCapacity)?;
        limits::machine_states(&request.states)?;
        let pool = pool_name(&request.pool)?;
        let size = limits::page_size(request.page_size)?;
        let before = limits::read_page_token(&request.page_token)?;
        let (all, states) = (request.all, request.states);
        let shows_gone = all || states.iter().any(|name| name == "gone");
        let rows = usize::try_from(size).unwrap_or(usize::MAX);
        let ask = move |state: &State, now: Now| -> Result<MachineSnapshot, PoolName> {
            let is_unknown = |name: &&PoolName| {
                state.pools.get(name).is_none()
                    && !state.instances.values().any(|machine| machine.offer.pool == **name)
            };
            if let Some(unknown) = pool.as_ref().filter(is_unknown) {
                return Err(unknown.clone());
            }
            let wanted = |machine: &&Instance| {
                let state = machine.state.name();
                let of_state = match states.is_empty() {
                    true => all || !machine.ended(),
                    false => states.iter().any(|wanted| wanted == state),
                };
                of_state
                    && state != "settled"
                    && pool.as_ref().is_none_or(|pool| *pool == machine.offer.pool)
                    && before.is_none_or(|before| machine.id.0 < before)
            };
            let found = state.instances.values().rev().filter(wanted).take(rows + 1);
            Ok(snapshot(state, found.map(|machine| machine.id).collect(), now))
        };
        let asked = self.parts.handle.ask(ask).await?;
        let mut found = asked.map_err(|unknown| no_such_pool(&unknown))?;
        let more = found.ids.len() > rows;
        found.ids.truncate(rows);
        let last = found.ids.last().filter(|_| more);
        Ok(v1::ListMachinesResponse {
            next_page_token: last.map(|last| limits::page_token(last.0)).unwrap_or_default(),
            machines: self.machine_rows(&found),
            note: if shows_gone { NOT_LISTED.to_owned() } else { String::new() },
        })
    }

    /// What a machine costs, who is on it, and why it is kept or given back.
    pub async fn explain_machine(
        &self,
        request: v1::ExplainMachineRequest,
    ) -> Result<v1::ExplainMachineResponse, ServiceError> {
        self.may_to_all(Action::ViewCapacity)?;
        let id = machine_id(&request.machine)?;
        let (found, machine, outlook) = self.looked_at(id).await?;
        let figures = self.figures_of(&found).remove(&id).unwrap_or_default();
        Ok(v1::ExplainMachineResponse {
            headline: headline(&machine, &outlook, found.now.market),
            details: details(&machine, &figures, &outlook, found.now),
            keep: outlook.hopes.map(|(idle, choice)| keep_figures(&idle, &choice)),
            machine: Some(machine_view(&machine, &figures)),
        })
    }

    /// No new work for a machine; it is given back when it is empty.
    pub async fn drain_machine(
        &self,
        request: v1::DrainMachineRequest,
    ) -> Result<v1::DrainMachineResponse, ServiceError> {
        self.may_to_all(Action::DrainMachines)?;
        let id = machine_id(&request.machine)?;
        // Whether it is there is looked at first, for the words.
        self.looked_at(id).await?;
        self.command(Command::DrainMachine { machine: id }).await?;
        let (found, machine, outlook) = self.looked_at(id).await?;
        let figures = self.figures_of(&found).remove(&id).unwrap_or_default();
        let note = drained(&machine, &outlook);
        Ok(v1::DrainMachineResponse { machine: Some(machine_view(&machine, &figures)), note })
    }

    /// Stops all buying, or lets it go on.
    pub async fn set_freeze(
        &self,
        request: v1::SetFreezeRequest,
    ) -> Result<v1::FreezeView, ServiceError> {
        self.may_to_all(Action::FreezeBuying)?;
        if request.reason.chars().count() > LONGEST_REASON {
            let message = "at most 200 characters";
            return Err(ServiceError::invalid("too_long", "reason", message));
        }
        limits::text("reason", &request.reason)?;
        let (by, since) = (self.asker().caller.subject.clone(), crate::clock::now());
        let wanted = request.frozen.then_some(Freeze { by, since, reason: request.reason });
        self.command(Command::SetFreeze(wanted)).await?;
        let frozen = self.parts.handle.ask(|state: &State, _| state.frozen.clone()).await?;
        Ok(frozen.map_or_else(v1::FreezeView::default, |freeze| v1::FreezeView {
            frozen: true,
            since: time_text(freeze.since),
            by: freeze.by,
            reason: freeze.reason,
        }))
    }

    /// One machine, with all that is known of it.
    async fn looked_at(
        &self,
        id: InstanceId,
    ) -> Result<(MachineSnapshot, Instance, MachineOutlook), ServiceError> {
        let ask = move |state: &State, now: Now| {
            let machine = state.instances.get(&id)?.clone();
            let outlook = outlook(state, &machine, now);
            Some((snapshot(state, vec![id], now), machine, outlook))
        };
        self.parts.handle.ask(ask).await?.ok_or_else(|| no_such_machine(id))
    }

    fn machine_rows(&self, found: &MachineSnapshot) -> Vec<v1::MachineView> {
        let figures = self.figures_of(found);
        let none = MachineFigures::default();
        let row = |id: &InstanceId| {
            let machine = found.state.instances.get(id)?;
            let mut figures = figures.get(id).unwrap_or(&none).clone();
            let sees = |job| found.state.jobs.get(&job).is_some_and(|job| self.sees(job));
            if self.scope().teams.is_some() {
                figures.attempts.retain(|attempt| sees(attempt.job));
                figures.shares.retain(|attempt, _| attempt.is_some_and(|it| sees(it.job)));
            }
            Some(machine_view(machine, &figures))
        };
        found.ids.iter().filter_map(row).collect()
    }

    fn figures_of(&self, found: &MachineSnapshot) -> BTreeMap<InstanceId, MachineFigures> {
        let MachineSnapshot { state, now, .. } = found;
        let prices = prices(state);
        let mut figures: BTreeMap<InstanceId, MachineFigures> = BTreeMap::new();
        for machine in state.instances.values() {
            let live = state.attempts_on(machine.id).filter(|attempt| attempt.state.is_live());
            let of_one = MachineFigures {
                price: price_now(machine, &prices),
                attempts: live.map(|attempt| attempt.id).collect(),
                ..MachineFigures::default()
            };
            figures.insert(machine.id, of_one);
        }
        let policy = &self.parts.config.control.policy;
        for entry in accrued_entries(state, policy, *now) {
            let of_one = figures.entry(entry.instance).or_default();
            *of_one.shares.entry(entry.attempt).or_insert(Money::ZERO) += entry.amount;
        }
        figures
    }
}

/// These machines, the attempts on them with their jobs, and what they are offered for: a
/// machine's price is split among all on it.
fn snapshot(state: &State, ids: Vec<InstanceId>, now: Now) -> MachineSnapshot {
    let mut part = State::default();
    for machine in ids.iter().filter_map(|id| state.instances.get(id)) {
        for attempt in state.attempts_on(machine.id) {
            let job = attempt.id.job;
            part.jobs.extend(state.jobs.get(&job).map(|found| (job, found.clone())));
            part.attempts.insert(attempt.clone());
        }
        part.instances.insert(machine.id, machine.clone());
    }
    part.seen.offers.clone_from(&state.seen.offers);
    MachineSnapshot { ids, state: part, now }
}

/// Why an idle machine is kept or given back, in whole micro-dollars.
fn keep_figures(idle: &IdleMachine, choice: &KeepOrGiveBack) -> v1::KeepFigures {
    v1::KeepFigures {
        keep: choice.keep,
        saves_micros_per_hour: Money::estimate(choice.saves_per_hour).micros(),
        costs_micros_per_hour: Money::estimate(choice.costs_per_hour).micros(),
        jobs_waiting: idle.waiting,
        arrivals_per_hour: idle.arrivals_per_hour,
        idle_machines: idle.alike,
        idle_seconds: idle.idle.as_secs_f64(),
        keep_seconds: idle.limit.as_secs_f64(),
    }
}

#[cfg(test)]
#[path = "machines_tests.rs"]
mod tests;
