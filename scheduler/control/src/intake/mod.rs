//! How requests are handled: pure functions from the state and a command to changes and a
//! reply. A refused command makes no change.

mod access;
mod edit;
mod machine;
mod resubmit;
mod submit;
mod worker;

pub use edit::changed;
pub use submit::{check_deadlines, preview};

use std::sync::Arc;
use std::time::Duration;

use spotwise_model::attempt::{Outcome, StopOrder, StopReason};
use spotwise_model::time::after;
use spotwise_model::{Job, JobId, JobSpec, Now};

use crate::config::Config;
use crate::core::state::ForecastRequest;
use crate::core::{Change, EventKind, State, SubmissionRecord};
use crate::phase::attempt_end;
use crate::{Command, Refusal, Reply};

/// Changes to make and the reply to give.
pub type CommandResult = Result<(Vec<Change>, Reply), Refusal>;

/// Accepts new jobs, each with its first event, whose text is from `submitted_message`.
fn accepted(
    jobs: Vec<Job>,
    submitted_message: fn(&Job) -> String,
    asked: (&Option<String>, &str),
    now: Now,
) -> (Vec<Change>, Reply) {
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    let mut changes: Vec<Change> = Vec::with_capacity(jobs.len() * 2 + 1);
    for job in &jobs {
        changes.push(Change::event(
            job.id,
            None,
            now.market,
            EventKind::Submitted,
            submitted_message(job),
        ));
        changes.push(job.clone().into());
    }
    changes.extend(remembered(asked, ids.clone(), now));
    (changes, Reply::Submitted { jobs: ids, made: jobs, replayed: false })
}

/// The record of a request with a key and a hash, in case it is repeated.
fn remembered((key, hash): (&Option<String>, &str), jobs: Vec<JobId>, now: Now) -> Option<Change> {
    let (key, document_hash) = (key.clone()?, hash.to_owned());
    Some(Change::Submission(SubmissionRecord { key, document_hash, jobs, at: now.market }))
}

/// Answers one command.
pub fn answer(state: &mut State, command: Command, config: &Config, now: Now) -> CommandResult {
    match command {
        Command::By(asker, command) => {
            let what = access::Asked::of(&command);
            let mut result = answer(state, *command, config, now)?;
            access::record(state, &asker, &what, &mut result, now);
            Ok(result)
        }
        Command::AddToken(token) => access::add(state, *token),
        Command::RevokeToken { id } => access::revoke(state, &id, now),
        Command::LoginFailed { from, times } => Ok(access::refused(&from, times, now)),
        Command::TokenUsed { id, at } => Ok(access::used(state, &id, at)),
        Command::Submit(request) => submit::submit(state, &request, config, now),
        Command::RequestForecasts(specs) => Ok(request_forecasts(state, specs, now)),
        Command::Resubmit(request) => resubmit::resubmit(state, &request, config, now),
        Command::Edit(request) => edit::edit(state, &request, config, now),
        Command::Cancel { job, group } => cancel(state, job, group, now),
        Command::CancelArray { first } => {
            let of_array = |job: &&Job| job.array.is_some_and(|place| place.first == first);
            let elements = state.jobs.values().filter(of_array).map(|job| job.id).collect();
            cancel_all(state, elements, now)
        }
        Command::Register { worker, handle, address, key } => {
            worker::register(state, worker, (handle, address), &key, now)
        }
        Command::Heartbeat { worker, step, memory } => {
            worker::measured(state, worker, memory);
            worker::heartbeat(state, worker, step, config, now)
        }
        Command::Measured { worker, memory } => {
            worker::measured(state, worker, Some(memory));
            Ok((Vec::new(), Reply::Noted))
        }
        Command::Started { worker, restored, rejected_checkpoints } => {
            worker::started(state, worker, restored, rejected_checkpoints, now)
        }
        Command::Checkpointed { worker, sequence, bytes, step } => {
            worker::checkpointed(state, worker, sequence, bytes, step, now)
        }
        Command::Exited { worker, exit, told, step } => {
            worker::exited(state, worker, (exit, told), step, now)
        }
        Command::OutOfMoney { worker, exit, told, step } => {
            worker::out_of_money(state, worker, (exit, told), step, now)
        }
        Command::Note { worker, number, message } => {
            worker::noted(state, worker, number, message, now)
        }
        Command::StartFailed { worker, message } => {
            worker::give_up(state, worker, now, Outcome::LaunchFailed { error: message })
        }
        Command::LaunchFailed { worker, message, retryable: true } => {
            worker::put_off(state, worker, message, now)
        }
        Command::LaunchFailed { worker, message, retryable: false } => {
            worker::give_up(state, worker, now, Outcome::LaunchFailed { error: message })
        }
        Command::LaunchUnknown { worker } => worker::launch_unknown(state, worker),
        Command::WorkerGone { worker } => worker::gone(state, worker, now),
        Command::MachineLaunched { machine, provider, launched } => {
            machine::launched(state, machine, provider, launched)
        }
        Command::MachineRefused { machine, refusal, message } => {
            machine::refused(state, machine, refusal, message, now)
        }
        Command::MachineUnknown { machine } => machine::unknown(state, machine),
        Command::PoolThrottled { pool } => machine::throttled(state, pool, now),
        Command::PoolListed { pool, inventory } => machine::listed(state, pool, *inventory),
        Command::MachineNoticed { pool, provider, until } => {
            machine::noticed(state, &pool, &provider, until, now)
        }
        Command::DrainMachine { machine } => machine::drain(state, machine, now),
        Command::SetPools(wanted) => machine::set_pools(state, &wanted),
        Command::SetFreeze(wanted) => Ok(machine::set_freeze(state, wanted)),
    }
}

/// Requested forecasts are kept for this long (wall time): a quote is often followed by
/// another, or by the job.
const FORECAST_TTL: Duration = Duration::from_secs(300);
/// This many of the most recently requested kinds of job are remembered.
const MOST_REQUESTS: usize = 16;

/// Records what is asked about. Not stored.
fn request_forecasts(
    state: &mut State,
    specs: Vec<Arc<JobSpec>>,
    now: Now,
) -> (Vec<Change>, Reply) {
    let asked = &mut state.seen.forecast_requests;
    for spec in specs {
        asked.retain(|known| known.spec.resources != spec.resources);
        asked.push(ForecastRequest { spec, until: after(now.wall, FORECAST_TTL) });
    }
    let surplus = asked.len().saturating_sub(MOST_REQUESTS);
    asked.drain(..surplus);
    (Vec::new(), Reply::Noted)
}

/// A cancellation is a durable request: a job without a live attempt ends at once, one with
/// a live attempt is stopped and ends with it.
fn cancel(state: &State, job: JobId, group: bool, now: Now) -> CommandResult {
    let found = state.jobs.get(&job).ok_or_else(|| Refusal::NotFound(format!("live job {job}")))?;
    let members: Vec<JobId> = if group {
        let members = state.jobs.values().filter(|member| member.group == found.group);
        members.map(|member| member.id).collect()
    } else {
        vec![job]
    };
    cancel_all(state, members, now)
}

fn cancel_all(state: &State, members: Vec<JobId>, now: Now) -> CommandResult {
    let mut changes = Vec::new();
    let mut cancelled = Vec::new();
    for id in members {
        if let Some(changed) = cancel_one(state, id, now) {
            changes.extend(changed);
            cancelled.push(id);
        }
    }
    Ok((changes, Reply::Cancelled { jobs: cancelled }))
}

/// `None` if the job has ended, or its cancellation is already in progress.
fn cancel_one(state: &State, id: JobId, now: Now) -> Option<Vec<Change>> {
    let job = state.jobs.get(&id).filter(|job| !job.state.is_terminal())?;
    let mut job = job.clone();
    job.cancel_asked = job.cancel_asked.or(Some(now.market));
    let Some(attempt) = state.live_attempt(id) else {
        job.state = job.state.cancel(now.market).ok()?;
        let event =
            Change::event(id, None, now.market, EventKind::Cancelled, "cancelled before it ran");
        return Some(vec![job.into(), event]);
    };
    let order = StopOrder { reason: StopReason::Cancelled, at: now, reclaim_wall: None };
    let mut changes = attempt_end::order_stop(attempt, order, "its owner cancelled it");
    changes.push(job.into());
    Some(changes)
}

/// The reply for an idempotency key that was used before: the jobs it stands for.
fn replayed(
    state: &State,
    key: &Option<String>,
    hash: &str,
    known: &Option<(String, Vec<JobId>)>,
) -> Option<Result<Vec<JobId>, Refusal>> {
    let recent = key.as_ref().and_then(|key| state.seen.recent_keys.get(key));
    let recent = recent.map(|record| (&record.document_hash, &record.jobs));
    let (stored, jobs) = recent.or(known.as_ref().map(|(hash, jobs)| (hash, jobs)))?;
    Some(if stored == hash { Ok(jobs.clone()) } else { Err(Refusal::KeyReused) })
}

fn invalid(code: &'static str, field: &str, message: String) -> Refusal {
    Refusal::Invalid { code, field: field.to_owned(), message }
}
