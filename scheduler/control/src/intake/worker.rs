//! Reports from workers. The attempt's number is the fence: only a job's live attempt is
//! accepted.

use std::time::Duration;

use spotwise_model::attempt::{
    Certainty, CheckpointRef, Exit, Outcome, Progress, StopOrder, StopReason, Told,
};
use spotwise_model::memory::MemoryUse;
use spotwise_model::time::{after, between};
use spotwise_model::{Attempt, AttemptState, Job, Now};

use super::CommandResult;
use crate::command::{Loaded, WorkerKey, progress_of_step};
use crate::config::Config;
use crate::core::{Change, EventKind, State};
use crate::phase::attempt_end::{self, EXIT_REQUEUE};
use crate::reply::{Assigned, Orders};
use crate::{Refusal, Reply, WorkerId};

/// Fraction of the work that must have been done in this attempt before its speed is
/// trusted: 2 %.
const MEASURABLE_PPM: u32 = 20_000;

/// Notes of one worker that become events: our workers send fewer.
const MOST_NOTES: u32 = 50;

/// Time beyond the grace in which a worker may commit its last checkpoint.
const COMMIT_ALLOWANCE: Duration = Duration::from_secs(20);

pub(super) fn register(
    state: &mut State,
    worker: WorkerId,
    (handle, address): (String, String),
    key: &WorkerKey,
    now: Now,
) -> CommandResult {
    let (job, attempt) = live(state, worker)?;
    let mut attempt = attempt.clone();
    let node = node_mut(&mut attempt, worker)?;
    // Who has ended, or was taken for gone, is not there again: its gang ends without it.
    if node.exited.is_some() {
        return Err(fenced(worker));
    }
    match &node.key {
        Some(bound) if *bound == key.hash => {}
        Some(_) => return Ok((shown_again(state, worker, now), Reply::NotTheWorker)),
        None if key.is_started => node.key = Some(key.hash.clone()),
        None => return Ok((Vec::new(), Reply::NotTheWorker)),
    }
    let news = node.registered.is_none();
    node.registered.get_or_insert(now);
    node.handle = Some(handle);
    node.address = Some(address);
    let complete = attempt.nodes.iter().all(|node| node.registered.is_some());
    let assigned = complete.then(|| {
        Box::new(Assigned {
            job: job.clone(),
            restore: attempt.restore,
            newest_saved: job.restore_gap.is_none_or(|gap| gap.attempt < attempt.id.number)
                && job.may_have_saved_more(),
            addresses: attempt
                .nodes
                .iter()
                .map(|n| n.address.clone().unwrap_or_default())
                .collect(),
            money_lasts: money_lasts(&attempt, now),
            attempt: attempt.clone(),
        })
    });
    state.seen.heartbeats.insert((worker.attempt, worker.rank), now.wall);
    let changes = if news { vec![attempt.into()] } else { Vec::new() };
    Ok((changes, Reply::Assigned(assigned)))
}

/// The owner hears once that somebody else shows what his worker was started with.
fn shown_again(state: &mut State, worker: WorkerId, now: Now) -> Vec<Change> {
    if !state.seen.impostors.insert((worker.attempt, worker.rank)) {
        return Vec::new();
    }
    let message = format!(
        "what node {} was started with was shown again, by another process: it was refused",
        worker.rank
    );
    let (job, attempt) = (worker.attempt.job, Some(worker.attempt));
    vec![Change::event(job, attempt, now.market, EventKind::Warning, message)]
}

pub(super) fn heartbeat(
    state: &mut State,
    worker: WorkerId,
    step: Option<(u64, u64)>,
    config: &Config,
    now: Now,
) -> CommandResult {
    let (job, attempt) = live(state, worker)?;
    let orders = orders(job, attempt, config, now);
    let progress = progress_of_step(step).map(|p| with_total(p, job));
    let heard = job.uncertain_since(attempt.id).map(|_| {
        let mut job = job.clone();
        job.mark_observed(worker.attempt);
        job.into()
    });
    state.seen.heartbeats.insert((worker.attempt, worker.rank), now.wall);
    if let Some(progress) = progress {
        state.seen.progress.insert(worker.attempt, (now.market, progress));
    }
    Ok((heard.into_iter().collect(), Reply::Orders(orders)))
}

/// Records what a live attempt's command has used.
pub(super) fn measured(state: &mut State, worker: WorkerId, memory: Option<MemoryUse>) {
    if let (Some(memory), Ok(_)) = (memory, live(state, worker)) {
        let known = state.seen.memory.entry((worker.attempt, worker.rank)).or_default();
        *known = known.max(memory);
    }
}

/// The progress of a command that reports no total is measured against the spec's.
fn with_total(progress: Progress, job: &Job) -> Progress {
    match (&job.spec.work, progress.step, progress.total_steps) {
        (spotwise_model::spec::Work::Steps { total, .. }, Some(step), None) => {
            Progress::of_step(step, Some(*total))
        }
        _ => progress,
    }
}

/// Counted from this round. The worker counts it from its call: earlier, except for the
/// moment that a round takes to gather its messages.
fn money_lasts(attempt: &Attempt, now: Now) -> Option<Duration> {
    attempt.cutoff.map(|cutoff| between(now.wall, cutoff.stop_at))
}

/// What an attempt should do: its stop order, if any, and its money.
fn orders(job: &Job, attempt: &Attempt, config: &Config, now: Now) -> Orders {
    let money_lasts = money_lasts(attempt, now);
    let Some(order) = attempt.stop else { return Orders { money_lasts, ..Orders::default() } };
    let grace = job.spec.checkpoint.as_ref().map_or(config.default_grace, |c| c.grace);
    let by_us = order.reason != StopReason::Interrupted;
    // What a stop for the budget may cost was reckoned with the grace alone.
    let allowance =
        if order.reason == StopReason::Budget { Duration::ZERO } else { COMMIT_ALLOWANCE };
    let left = |at| between(now.wall, at);
    Orders {
        reclaim_in: order.reclaim_wall.map(left),
        stop: by_us.then(|| (order.reason, left(after(order.at.wall, grace + allowance)))),
        money_lasts,
    }
}

pub(super) fn started(
    state: &mut State,
    worker: WorkerId,
    restored: Option<Loaded>,
    rejected_checkpoints: u32,
    now: Now,
) -> CommandResult {
    let (job, attempt) = live(state, worker)?;
    let (mut attempt, mut job) = (attempt.clone(), job.clone());
    job.mark_observed(worker.attempt);
    let node = node_mut(&mut attempt, worker)?;
    if node.started.is_some() {
        return Ok((Vec::new(), Reply::Noted));
    }
    node.started = Some(now);
    let mut changes = Vec::new();
    let expected = attempt.restore.map(|c| (c.attempt, c.sequence));
    if restored.map(|c| (c.attempt, c.sequence)) != expected && worker.rank == 0 {
        has_loaded(&mut job, &mut attempt, restored);
    }
    if attempt.nodes.iter().all(|node| node.started.is_some()) {
        attempt.state = attempt.state.run(now).map_err(|_| fenced(worker))?;
        changes.push(start_event(&job, &attempt, rejected_checkpoints, now));
    }
    changes.push(attempt.into());
    changes.push(job.into());
    Ok((changes, Reply::Noted))
}

/// Handles a loaded checkpoint that is not the assigned one, which failed verification or
/// was not the newest. What was actually loaded is what the job has. An old worker does not
/// report its step.
fn has_loaded(job: &mut Job, attempt: &mut Attempt, restored: Option<Loaded>) {
    let loaded = restored.map(|Loaded { attempt, sequence, bytes, step }| {
        let progress = progress_of_step(step).map(|p| with_total(p, job)).unwrap_or_default();
        CheckpointRef { attempt, sequence, progress, bytes, at: job.submitted }
    });
    attempt.restore = loaded;
    attempt.progress = loaded.map(|c| c.progress).unwrap_or_default();
    job.checkpoint = loaded;
    job.progress = attempt.progress;
}

fn start_event(job: &Job, attempt: &Attempt, rejected: u32, now: Now) -> Change {
    let place = format!("on {}", attempt.offer);
    let doubt = match rejected {
        0 => String::new(),
        n => format!("; {n} checkpoint(s) did not verify and were passed over"),
    };
    let (kind, message) = match attempt.restore {
        Some(checkpoint) => {
            let step = checkpoint.progress.step.map_or_else(
                || format!("checkpoint {}-{}", checkpoint.attempt, checkpoint.sequence),
                |step| format!("step {step}"),
            );
            (EventKind::Resumed, format!("resumed from {step} {place}{doubt}"))
        }
        None => (EventKind::Started, format!("started {place}{doubt}")),
    };
    Change::event(job.id, Some(attempt.id), now.market, kind, message)
}

pub(super) fn checkpointed(
    state: &mut State,
    worker: WorkerId,
    sequence: u32,
    bytes: u64,
    step: Option<(u64, u64)>,
    now: Now,
) -> CommandResult {
    let (job, attempt) = live(state, worker)?;
    if attempt.checkpoint.is_some_and(|known| known.sequence >= sequence) {
        return Ok((Vec::new(), Reply::Noted));
    }
    let (mut attempt, mut job) = (attempt.clone(), job.clone());
    job.mark_observed(worker.attempt);
    let progress = progress_of_step(step).map_or(attempt.progress, |p| with_total(p, &job));
    let checkpoint =
        CheckpointRef { attempt: attempt.id, sequence, progress, bytes, at: now.market };
    note_progress(state, &mut job, &mut attempt, progress, now);
    attempt.checkpoint = Some(checkpoint);
    job.checkpoint = Some(checkpoint);
    let at_step = progress.step.map(|step| format!(" at step {step}")).unwrap_or_default();
    let message = format!("checkpoint {sequence}{at_step}, {bytes} bytes");
    let event =
        Change::event(job.id, Some(attempt.id), now.market, EventKind::Checkpointed, message);
    Ok((vec![attempt.into(), job.into(), event], Reply::Noted))
}

/// What a worker reports about a job's files becomes an event, once.
pub(super) fn noted(
    state: &mut State,
    worker: WorkerId,
    number: u32,
    message: String,
    now: Now,
) -> CommandResult {
    let (job, attempt) = live(state, worker)?;
    let (job, attempt) = (job.id, attempt.id);
    let heard = state.seen.notes.entry((worker.attempt, worker.rank)).or_default();
    if number <= *heard || number > MOST_NOTES {
        return Ok((Vec::new(), Reply::Noted));
    }
    *heard = number;
    let message = match worker.rank {
        0 => message,
        rank => format!("node {rank}: {message}"),
    };
    let event = Change::event(job, Some(attempt), now.market, EventKind::Warning, message);
    Ok((vec![event], Reply::Noted))
}

pub(super) fn exited(
    state: &mut State,
    worker: WorkerId,
    (exit, told): (Exit, Told),
    step: Option<(u64, u64)>,
    now: Now,
) -> CommandResult {
    let (job, attempt) = live(state, worker)?;
    let (mut attempt, mut job) = (attempt.clone(), job.clone());
    job.mark_observed(worker.attempt);
    if let Some(progress) = progress_of_step(step).map(|p| with_total(p, &job)) {
        note_progress(state, &mut job, &mut attempt, progress, now);
    }
    let node = node_mut(&mut attempt, worker)?;
    if node.exited.is_none() {
        (node.exited, node.told) = (Some((now, exit)), told);
    }
    Ok((vec![attempt.into(), job.into()], Reply::Noted))
}

/// Its money ran out before we said so: that is a stop for the budget.
pub(super) fn out_of_money(
    state: &mut State,
    worker: WorkerId,
    (exit, told): (Exit, Told),
    step: Option<(u64, u64)>,
    now: Now,
) -> CommandResult {
    // Where its command had ended by itself, its outputs were not all kept: it is not
    // at the end of its work, whatever its command answered.
    let cut = exit == Exit::Code(0) && told != Told::Stop;
    let exit = if cut { Exit::Code(EXIT_REQUEUE) } else { exit };
    let (mut changes, reply) = exited(state, worker, (exit, told), step, now)?;
    let order = StopOrder { reason: StopReason::Budget, at: now, reclaim_wall: None };
    let heard = changes.iter().find_map(|change| match change {
        Change::Attempt(attempt) => Some(attempt.clone()),
        _ => None,
    });
    if let Some(attempt) = heard {
        let words = "its worker was not told that its budget still pays for it";
        changes.extend(attempt_end::order_stop(&attempt, order, words));
    }
    Ok((changes, reply))
}

/// Records progress, and learns from it how long the whole work takes on such a machine.
fn note_progress(
    state: &State,
    job: &mut Job,
    attempt: &mut Attempt,
    progress: Progress,
    now: Now,
) {
    attempt.progress = progress;
    job.progress = progress;
    let begun_at = attempt.restore.map_or(0, |checkpoint| checkpoint.progress.done_ppm);
    let done_here = progress.done_ppm.saturating_sub(begun_at);
    if let (Some(started), true) = (attempt.state.started(), done_here >= MEASURABLE_PPM) {
        let elapsed = between(started.market, now.market);
        let whole = elapsed.as_millis() * u128::from(Progress::WHOLE) / u128::from(done_here);
        let whole = u64::try_from(whole).ok().filter(|ms| *ms > 0).map(Duration::from_millis);
        let machine = attempt.instances.first().and_then(|id| state.instances.get(id));
        if let Some((whole, machine)) = whole.zip(machine) {
            job.measured.record(machine.shape.accelerator.as_ref(), whole);
        }
    }
}

/// The attempt cannot continue: it never ran, or not on every node.
pub(super) fn give_up(
    state: &State,
    worker: WorkerId,
    now: Now,
    outcome: Outcome,
) -> CommandResult {
    let (_, attempt) = live(state, worker)?;
    Ok((attempt_end::end(state, attempt, outcome, now), Reply::Noted))
}

/// The pool cannot launch it now: no failure of the job.
pub(super) fn put_off(state: &State, worker: WorkerId, error: String, now: Now) -> CommandResult {
    let (_, attempt) = live(state, worker)?;
    Ok((attempt_end::put_off(state, attempt, error, now), Reply::Noted))
}

/// A dead worker is a lost attempt, unless it had reported how the command ended.
pub(super) fn gone(state: &State, worker: WorkerId, now: Now) -> CommandResult {
    let (_, attempt) = live(state, worker)?;
    let node = attempt.nodes.get(worker.rank as usize).ok_or_else(|| fenced(worker))?;
    if node.exited.is_some() {
        return Ok((Vec::new(), Reply::Noted));
    }
    let running = attempt.nodes.iter().filter(|node| node.exited.is_none()).count();
    if running > 1 {
        let words = "a member of its gang is gone";
        let changes = attempt_end::lose_members(attempt, &[worker.rank], words, now);
        return Ok((changes, Reply::Noted));
    }
    Ok((attempt_end::end(state, attempt, Outcome::Lost, now), Reply::Noted))
}

pub(super) fn launch_unknown(state: &State, worker: WorkerId) -> CommandResult {
    let (_, attempt) = live(state, worker)?;
    let mut attempt = attempt.clone();
    if let AttemptState::Launching { certainty: Certainty::Known, .. } = attempt.state {
        attempt.state = attempt.state.lose_answer().map_err(|_| fenced(worker))?;
        return Ok((vec![attempt.into()], Reply::Noted));
    }
    Ok((Vec::new(), Reply::Noted))
}

/// The job and attempt of a worker whose reports are accepted.
fn live(state: &State, worker: WorkerId) -> Result<(&Job, &Attempt), Refusal> {
    let attempt = state.attempts.get(&worker.attempt).filter(|a| {
        let launched = !matches!(a.state, AttemptState::Planned { .. });
        a.state.is_live() && launched && (worker.rank as usize) < a.nodes.len()
    });
    let job = state.jobs.get(&worker.attempt.job);
    job.zip(attempt).ok_or_else(|| fenced(worker))
}

fn node_mut(
    attempt: &mut Attempt,
    worker: WorkerId,
) -> Result<&mut spotwise_model::attempt::NodeReport, Refusal> {
    attempt.nodes.get_mut(worker.rank as usize).ok_or_else(|| fenced(worker))
}

fn fenced(worker: WorkerId) -> Refusal {
    Refusal::Fenced { attempt: worker.attempt }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "money_tests.rs"]
mod money_tests;
