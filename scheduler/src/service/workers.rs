//! What the agents running alongside the jobs report, and what they are told.

use std::time::{Duration, Instant};

use spotwise_api::convert::{exit, memory, restored, step, stop_reason, told};
use spotwise_api::spool::{Bounds, Spool, Writer};
use spotwise_api::v1;

use super::logs::on_files;
use super::submit::unexpected;
use super::{Service, ServiceError, assignment, limits, millis};
use crate::clock;
use crate::reuse::is_any_waiting;
use crate::token::{Proof, are_equal, key_hash};
use spotwise_control::command::Loaded;
use spotwise_control::command::WorkerKey;
use spotwise_control::core::State;
use spotwise_control::reply::Orders;
use spotwise_control::{Command, Refusal, Reply, WorkerId};
use spotwise_model::Now;

/// The largest number of ranks in a gang.
const MOST_RANKS: u32 = 10_000;

/// Output per call: a quarter of what a gRPC message may hold.
const MOST_DATA: usize = 256 * 1024;

/// How long a worker that asks for more waits for an answer: less than its calls may take
/// (wall time).
const HOLD: Duration = Duration::from_secs(3);

/// Characters kept of a message from a worker.
const LONGEST_MESSAGE: usize = 2_000;

impl Service {
    /// What a worker should run.
    pub async fn register(
        &self,
        request: v1::RegisterRequest,
    ) -> Result<v1::Assignment, ServiceError> {
        let (worker, key) = self.newcomer(&request)?;
        limits::text("handle", &request.handle)?;
        limits::text("address", &request.address)?;
        let (handle, address) = (request.handle, request.address);
        let register = Command::Register { worker, handle, address, key };
        let credential = self.parts.tokens.credential(worker, clock::now());
        match self.parts.handle.command(register).await? {
            Reply::Assigned(Some(assigned)) => {
                let (config, install) = (&self.parts.config, &self.parts.install);
                // Jobs write there first, and would find nothing.
                let shared = assignment::shared_dir(&assigned.job, config);
                let made = tokio::fs::create_dir_all(&shared).await;
                made.map_err(|error| ServiceError::internal("making the shared folder", error))?;
                let rank = worker.rank;
                let assignment = assignment::assignment(&assigned, rank, config, install);
                Ok(v1::Assignment { credential, ..assignment })
            }
            Reply::Assigned(None) => {
                Ok(v1::Assignment { credential, ..assignment::not_ready(&self.parts.config) })
            }
            Reply::NotTheWorker => Err(not_the_worker()),
            other => Err(unexpected(&other)),
        }
    }

    /// A new credential for a worker whose key is bound, while its attempt lives.
    pub async fn renew(
        &self,
        request: v1::RenewRequest,
    ) -> Result<v1::RenewResponse, ServiceError> {
        let worker = named(&request.attempt, request.rank).ok_or_else(not_the_worker)?;
        let shown = key_hash(&request.key).ok_or_else(not_the_worker)?;
        let bound = move |state: &State, _: Now| {
            let attempt = state.attempts.get(&worker.attempt);
            let attempt = attempt.filter(|attempt| attempt.state.is_live())?;
            attempt.nodes.get(worker.rank as usize)?.key.clone()
        };
        // What lives no more has no key, and what was never bound neither.
        let bound = self
            .parts
            .handle
            .ask(bound)
            .await?
            .ok_or_else(|| ServiceError::from(Refusal::Fenced { attempt: worker.attempt }))?;
        if !are_equal(&bound, &shown) {
            return Err(not_the_worker());
        }
        let credential = self.parts.tokens.credential(worker, clock::now());
        Ok(v1::RenewResponse { credential })
    }

    /// Renews the lease; returns what the worker should do.
    pub async fn heartbeat(
        &self,
        request: v1::HeartbeatRequest,
    ) -> Result<v1::HeartbeatResponse, ServiceError> {
        let worker = self.worker(&request.attempt, request.rank, &request.token)?;
        let step = step(request.progress.as_ref());
        let memory = memory(request.usage.as_ref().and_then(|usage| usage.memory.as_ref()));
        let beat = Command::Heartbeat { worker, step, memory };
        match self.parts.handle.command(beat).await? {
            Reply::Orders(orders) => {
                let credential = self.parts.tokens.credential(worker, clock::now());
                let answer = orders_from(orders, self.parts.config.control.lease);
                Ok(v1::HeartbeatResponse { credential, ..answer })
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Records something reported by a worker.
    pub async fn report(
        &self,
        request: v1::ReportRequest,
    ) -> Result<v1::ReportResponse, ServiceError> {
        let worker = self.worker(&request.attempt, request.rank, &request.token)?;
        let said = reported(worker, &request)?;
        let ended = request.exited.as_ref().or(request.out_of_money.as_ref());
        if let Some(memory) = ended.and_then(|ended| memory(ended.memory.as_ref())) {
            self.parts.handle.command(Command::Measured { worker, memory }).await?;
        }
        match self.parts.handle.command(said).await? {
            Reply::Noted => Ok(v1::ReportResponse {}),
            other => Err(unexpected(&other)),
        }
    }

    /// Stores captured output. The credential is the fence: what an ended attempt
    /// still had to say is worth reading.
    pub async fn append_log(
        &self,
        request: v1::AppendLogRequest,
    ) -> Result<v1::AppendLogResponse, ServiceError> {
        let tokens = &self.parts.tokens;
        let worker = named(&request.attempt, request.rank)
            .filter(|worker| tokens.may_append(*worker, &request.token, clock::now()))
            .ok_or_else(not_the_worker)?;
        if request.data.len() > MOST_DATA {
            return Err(ServiceError::TooLarge {
                code: "output_too_large",
                field: "data".to_owned(),
                message: "at most 256 KiB of output a call".to_owned(),
            });
        }
        let spool = Spool::at(self.log_path(worker.attempt, worker.rank));
        let bounds = Bounds::of(self.parts.config.output_bytes);
        let append = move || append(spool, bounds, &request);
        Ok(v1::AppendLogResponse { stored: on_files(append).await? })
    }

    /// What a worker goes on with whose attempt has succeeded.
    pub async fn take_next(
        &self,
        request: v1::TakeNextRequest,
    ) -> Result<v1::TakeNextResponse, ServiceError> {
        let worker = self.worker(&request.attempt, request.rank, &request.token)?;
        let nothing = v1::TakeNextResponse::default();
        let asked = self.parts.reuse.ask(worker.attempt, Instant::now());
        let Some((next, array)) = asked.filter(|_| worker.rank == 0) else { return Ok(nothing) };
        if let Ok(Ok(attempt)) = tokio::time::timeout(HOLD, next).await {
            let token = self.parts.tokens.bootstrap(WorkerId { attempt, rank: 0 }, clock::now());
            return Ok(v1::TakeNextResponse { attempt: attempt.to_string(), token, ..nothing });
        }
        let waits = move |state: &State, _: Now| is_any_waiting(state, array);
        Ok(v1::TakeNextResponse { ask_again: self.parts.handle.ask(waits).await?, ..nothing })
    }

    /// The caller, once its credential has proved it. An attempt that cannot be read has
    /// none, so the answer is the same.
    pub(super) fn worker(
        &self,
        attempt: &str,
        rank: u32,
        token: &str,
    ) -> Result<WorkerId, ServiceError> {
        let good =
            |worker: &WorkerId| self.parts.tokens.is_credential(*worker, token, clock::now());
        named(attempt, rank).filter(|worker| good(worker) == Proof::Good).ok_or_else(not_the_worker)
    }

    /// Who registers: with what it was started with, or later with its credential; and
    /// always with its key.
    fn newcomer(
        &self,
        request: &v1::RegisterRequest,
    ) -> Result<(WorkerId, WorkerKey), ServiceError> {
        let (token, now) = (&request.token, clock::now());
        let worker = named(&request.attempt, request.rank).ok_or_else(not_the_worker)?;
        let hash = key_hash(&request.key).ok_or_else(not_the_worker)?;
        match self.parts.tokens.is_bootstrap(worker, token, now) {
            Proof::Good => Ok((worker, WorkerKey { hash, is_started: true })),
            // Its key may be bound already.
            Proof::Expired => Ok((worker, WorkerKey { hash, is_started: false })),
            Proof::Forged => {
                let worker = self.worker(&request.attempt, request.rank, token)?;
                Ok((worker, WorkerKey { hash, is_started: false }))
            }
        }
    }
}

fn named(attempt: &str, rank: u32) -> Option<WorkerId> {
    let attempt = attempt.parse().ok()?;
    (rank < MOST_RANKS).then_some(WorkerId { attempt, rank })
}

fn not_the_worker() -> ServiceError {
    ServiceError::Unauthenticated("not the credential of this attempt and rank".to_owned())
}

/// Stores output; what is already stored is skipped. Returns up to where it is stored: the
/// worker sends what lies between that and where its own began.
fn append(spool: Spool, bounds: Bounds, request: &v1::AppendLogRequest) -> std::io::Result<u64> {
    let mut writer = Writer::open(spool, bounds)?;
    if request.skip {
        writer.skip_to(request.offset);
    } else if request.offset > writer.end() {
        return Ok(writer.end());
    }
    let known = writer.end().saturating_sub(request.offset);
    let new = usize::try_from(known).ok().and_then(|known| request.data.get(known..));
    writer.append(new.unwrap_or_default())?;
    Ok(writer.end())
}

/// Exactly one thing is reported per call.
fn reported(worker: WorkerId, request: &v1::ReportRequest) -> Result<Command, ServiceError> {
    let v1::ReportRequest { started, checkpoint, exited, start_failed, out_of_money, note, .. } =
        request;
    if let Some(note) = note {
        let alone = started.is_none()
            && checkpoint.is_none()
            && exited.is_none()
            && start_failed.is_none()
            && out_of_money.is_none();
        return if alone { noted(worker, note) } else { Err(not_one()) };
    }
    match (started, checkpoint, exited, start_failed, out_of_money) {
        (Some(started), None, None, None, None) => Ok(Command::Started {
            worker,
            restored: loaded(started)?,
            rejected_checkpoints: started.rejected_checkpoints,
        }),
        (None, Some(checkpoint), None, None, None) => {
            if checkpoint.sequence == 0 {
                let message = "checkpoints are numbered from 1";
                return Err(ServiceError::invalid("out_of_range", "checkpoint.sequence", message));
            }
            Ok(Command::Checkpointed {
                worker,
                sequence: checkpoint.sequence,
                bytes: checkpoint.bytes,
                step: step(checkpoint.progress.as_ref()),
            })
        }
        (None, None, Some(exited), None, None) => Ok(Command::Exited {
            worker,
            exit: exit(exited)?,
            told: told(exited),
            step: step(exited.progress.as_ref()),
        }),
        (None, None, None, Some(failed), None) if failed.lost => Ok(Command::WorkerGone { worker }),
        (None, None, None, Some(failed), None) => {
            Ok(Command::StartFailed { worker, message: shown(&failed.message) })
        }
        (None, None, None, None, Some(exited)) => Ok(Command::OutOfMoney {
            worker,
            exit: exit(exited)?,
            told: told(exited),
            step: step(exited.progress.as_ref()),
        }),
        _ => Err(not_one()),
    }
}

fn not_one() -> ServiceError {
    let message =
        "set exactly one of started, checkpoint, exited, start_failed, out_of_money and note";
    ServiceError::invalid("invalid_value", "report", message)
}

fn noted(worker: WorkerId, note: &v1::Note) -> Result<Command, ServiceError> {
    if note.number == 0 {
        let message = "notes are numbered from 1";
        return Err(ServiceError::invalid("out_of_range", "note.number", message));
    }
    Ok(Command::Note { worker, number: note.number, message: shown(&note.message) })
}

/// A message that reaches logs and terminals: truncated, on one line.
fn shown(message: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    message.chars().take(LONGEST_MESSAGE).map(plain).collect()
}

fn orders_from(orders: Orders, lease: Duration) -> v1::HeartbeatResponse {
    v1::HeartbeatResponse {
        lease_ms: millis(lease),
        notice: orders.reclaim_in.map(|reclaim_in| v1::Notice {
            reclaim_in_ms: millis(reclaim_in),
            action: "terminate".to_owned(),
        }),
        stop: orders.stop.map(|(reason, within)| v1::StopOrder {
            reason: stop_reason(reason).to_owned(),
            kill_in_ms: millis(within),
        }),
        money_lasts_ms: orders.money_lasts.map(millis),
        ..v1::HeartbeatResponse::default()
    }
}

fn loaded(started: &v1::Started) -> Result<Option<Loaded>, ServiceError> {
    let (bytes, step) = (started.restored_bytes, step(started.restored_progress.as_ref()));
    let restored = restored(started.restored.as_ref())?;
    Ok(restored.map(|(attempt, sequence)| Loaded { attempt, sequence, bytes, step }))
}

#[cfg(test)]
mod tests {
    use spotwise_model::attempt::{Exit, StopReason};

    use super::*;

    fn worker() -> WorkerId {
        WorkerId { attempt: "j1.1".parse().unwrap(), rank: 0 }
    }

    #[test]
    fn a_report_says_exactly_one_thing() {
        let started =
            v1::ReportRequest { started: Some(v1::Started::default()), ..Default::default() };
        assert!(matches!(reported(worker(), &started), Ok(Command::Started { .. })));
        let both = v1::ReportRequest { exited: Some(v1::Exited::default()), ..started };
        assert_eq!(reported(worker(), &both).unwrap_err().field(), "report");
        let exited = v1::Exited { code: 143, signal: 15, ..Default::default() };
        let over = v1::ReportRequest { out_of_money: Some(exited), ..Default::default() };
        let said = reported(worker(), &over);
        assert!(matches!(said, Ok(Command::OutOfMoney { exit: Exit::Signal(15), .. })));
        assert!(reported(worker(), &v1::ReportRequest::default()).is_err());
        let note = v1::Note { number: 1, message: "left\nout".to_owned() };
        let noted = v1::ReportRequest { note: Some(note), ..Default::default() };
        let said = reported(worker(), &noted);
        assert!(
            matches!(said, Ok(Command::Note { number: 1, message, .. }) if message == "left out")
        );
        let both = v1::ReportRequest { exited: Some(v1::Exited::default()), ..noted.clone() };
        assert_eq!(reported(worker(), &both).unwrap_err().field(), "report");
        let unnumbered = v1::ReportRequest { note: Some(v1::Note::default()), ..noted };
        assert_eq!(reported(worker(), &unnumbered).unwrap_err().field(), "note.number");
    }

    #[test]
    fn orders_reach_the_worker_in_milliseconds() {
        let orders = Orders {
            reclaim_in: Some(Duration::from_secs(30)),
            stop: Some((StopReason::Cancelled, Duration::ZERO)),
            money_lasts: Some(Duration::from_secs(7)),
        };
        let answer = orders_from(orders, Duration::from_secs(30));
        assert_eq!((answer.lease_ms, answer.money_lasts_ms), (30_000, Some(7_000)));
        assert_eq!(answer.notice.unwrap().reclaim_in_ms, 30_000);
        assert_eq!(answer.stop.unwrap().kill_in_ms, 0);
    }

    #[test]
    fn messages_of_workers_stay_on_one_line() {
        assert_eq!(shown("no\nINFO admin\u{1b}[31m"), "no INFO admin [31m");
        assert_eq!(shown(&"x".repeat(5_000)).len(), LONGEST_MESSAGE);
    }
}
