//! One attempt: prepare, start, watch, save, report.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use jiff::Timestamp;
use nix::sys::signal::Signal;
use spotwise_api::spool::{Bounds, Spool};
use spotwise_api::v1::{Assignment, Exited, ReportRequest, Started, Told};
use spotwise_model::AttemptId;
use spotwise_model::outcome::EXIT_REQUEUE;
use spotwise_supervisor::{Action, LastReport, Lease, Order, Supervisor};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::checkpoint::{AckedCheckpoints, Committer};
use crate::folder::Folder;
use crate::heartbeat::{self, beat};
use crate::log_upload::LogUpload;
use crate::memory::Memory;
use crate::notes::Notes;
use crate::output::Capture;
use crate::outputs::{Brought, Collected, Plan};
use crate::prepare::{Prepared, prepare};
use crate::process::{self, Process, Status, StopTo};
use crate::progress::ProgressLog;
use crate::reporter::{Reporter, start_failed};
use crate::save::Saver;
use crate::scheduler_client::SchedulerClient;
use crate::usage::Sampler;
use crate::waits::{fenced, sleep_until, superseded, told_to_end, told_to_leave};
use crate::{notice, outputs};

/// An escaped process may hold the output open; it gets no longer than this.
const DRAIN: Duration = Duration::from_secs(2);

/// Checkpoints are never looked for more often than this.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// What a worker carries out, and where.
pub(crate) struct Attempt<'a> {
    /// Job and number.
    pub(crate) id: AttemptId,
    /// The folder of this attempt and rank.
    pub(crate) folder: Folder,
    /// The scheduler.
    pub(crate) client: SchedulerClient,
    /// The arguments that this program needs before a worker's options.
    pub(crate) mode: &'a [&'a str],
    /// Set by SIGTERM to the worker.
    pub(crate) asked_to_stop: CancellationToken,
}

/// Runs the assigned command to its end, and reports it. `answered` is when
/// the lease began. Returns whether it has succeeded, as far as the scheduler knows too.
pub(crate) async fn carry_out(
    attempt: &Attempt<'_>,
    assignment: Arc<Assignment>,
    answered: Instant,
) -> Result<bool> {
    let folder = &attempt.folder;
    let (orders_sender, mut orders) = mpsc::channel(16);
    if let Some(lasts_ms) = assignment.money_lasts_ms {
        let _ =
            orders_sender.try_send(Order::money(Duration::from_millis(lasts_ms.into()), answered));
    }
    let name = format!("{}-{}", attempt.id, attempt.client.rank());
    let memory = Memory::new(&name, assignment.memory_bytes);
    let progress = Arc::new(Mutex::new(ProgressLog::new(folder.progress())));
    let bounds = Bounds::of(assignment.output_bytes);
    let capture = Arc::new(Capture::create(&folder.log(), bounds).context("creating the log")?);
    let _beat = AbortOnDropHandle::new(tokio::spawn(beat(
        attempt.client.clone(),
        heartbeat::interval(assignment.heartbeat_ms),
        Lease::new(Duration::from_millis(assignment.lease_ms.into()), answered),
        Arc::clone(&progress),
        Sampler::new(
            assignment.env.get("CUDA_VISIBLE_DEVICES").map(String::as_str),
            memory.clone(),
        ),
        orders_sender.clone(),
    )));
    let acked = AckedCheckpoints::default();
    let reporter = Reporter::start(
        attempt.client.clone(),
        LogUpload { log: Spool::at(folder.log()), bounds, level: capture.level() },
        orders_sender.clone(),
        acked.clone(),
    );
    let (asked, sender) = (attempt.asked_to_stop.clone(), orders_sender);
    let _asked = AbortOnDropHandle::new(tokio::spawn(async move {
        asked.cancelled().await;
        // The receiver is gone if the command has ended.
        let _ = sender.send(Order::Stop { within: None }).await;
    }));

    let run = Run {
        attempt,
        assignment: &assignment,
        progress,
        capture,
        notes: Notes::new(reporter.reports().downgrade()),
        reporter: &reporter,
        acked,
        outputs_kept: AtomicBool::new(false),
        memory,
    };
    let reports = Box::pin(run.to_the_end(&mut orders)).await?;
    folder.keep_ending(&reports);
    if run.outputs_kept.load(Ordering::Relaxed) {
        // Whoever finds it later collects once more, which changes nothing.
        let _ = std::fs::remove_file(folder.outputs_note());
    }
    drop(run);
    // Only a restarted worker has to repeat the reports before the last.
    let last = reports.into_iter().next_back();
    let succeeded = last.as_ref().is_some_and(has_succeeded);
    Ok(deliver(reporter, last, &mut orders, &attempt.asked_to_stop).await && succeeded)
}

fn has_succeeded(report: &ReportRequest) -> bool {
    report.exited.as_ref().is_some_and(|end| end.code == 0 && end.told() == Told::Nothing)
}

/// Sends the final report, until it is acknowledged or no longer useful. Returns whether
/// all was said.
async fn deliver(
    reporter: Reporter,
    last: Option<ReportRequest>,
    orders: &mut mpsc::Receiver<Order>,
    asked_to_stop: &CancellationToken,
) -> bool {
    // Orders still come with every heartbeat, and must not stop them.
    tokio::select! {
        () = reporter.finish(last) => true,
        () = superseded(orders) => false,
        () = told_to_leave(asked_to_stop) => {
            tracing::warn!(
                "told to leave before the final report was acknowledged; it stays in exit.json"
            );
            false
        }
    }
}

/// A saver that runs alongside the command.
type Saving = AbortOnDropHandle<Saver>;

/// How the command ended, and what it was told before.
struct End {
    status: Status,
    told: Told,
}

/// What all steps need.
struct Run<'a> {
    attempt: &'a Attempt<'a>,
    assignment: &'a Assignment,
    progress: Arc<Mutex<ProgressLog>>,
    capture: Arc<Capture>,
    notes: Notes,
    reporter: &'a Reporter,
    acked: AckedCheckpoints,
    outputs_kept: AtomicBool,
    memory: Memory,
}

impl Run<'_> {
    /// Returns the reports that end the attempt.
    async fn to_the_end(&self, orders: &mut mpsc::Receiver<Order>) -> Result<Vec<ReportRequest>> {
        let grace = Duration::from_millis(self.assignment.grace_ms.into());
        let mut supervisor = Supervisor::new(grace, self.assignment.signal_on_notice);
        let fence = CancellationToken::new();
        let Attempt { id, folder, client, .. } = self.attempt;
        let prepared = tokio::select! {
            biased;
            order = told_to_end(orders, &mut supervisor) => Err(order),
            prepared = prepare(
                self.assignment, *id, folder, client, &fence, &self.acked, &self.notes,
            ) => Ok(prepared),
        };
        let reports = match prepared {
            Err(order) => {
                let status = Status::signalled(Signal::SIGTERM as i32);
                let last = supervisor.report_unstarted(&order);
                Vec::from_iter(last.map(|last| self.exited(status, Told::Stop, 0, last)))
            }
            Ok(Err(message)) => vec![start_failed(message)],
            Ok(Ok(prepared)) => match folder.mark_started() {
                Ok(()) => Box::pin(self.command(prepared, &mut supervisor, orders, fence)).await?,
                Err(error) => vec![start_failed(format!("marking the start: {error}"))],
            },
        };
        self.capture.close();
        Ok(reports)
    }

    /// Starts the command, watches it to its end, and saves what it leaves.
    async fn command(
        &self,
        prepared: Prepared,
        supervisor: &mut Supervisor,
        orders: &mut mpsc::Receiver<Order>,
        fence: CancellationToken,
    ) -> Result<Vec<ReportRequest>> {
        if let Some((plan, _)) = &prepared.outputs {
            outputs::note(plan, &self.attempt.folder);
        }
        // Before the start, so that no end is missed.
        let mut ended = signal(SignalKind::child()).context("listening to children")?;
        let process = match self.start(&prepared).await {
            Ok(process) => process,
            Err(message) => return Ok(vec![start_failed(message)]),
        };
        let done = CancellationToken::new();
        let saving = prepared.committer.map(|committer| self.save_regularly(committer, &done));
        let status = self.watch(&process, supervisor, orders, &mut ended, &fence).await;
        supervisor.exited();
        done.cancel();
        process.kill_the_rest().await;
        self.capture.drained(DRAIN).await;
        let end = End { status, told: process.told() };
        Ok(self.finish(end, saving, prepared.outputs, supervisor, orders, &fence).await)
    }

    /// Starts the command and reports it. The message of an error is for the owner of
    /// the job.
    async fn start(&self, prepared: &Prepared) -> Result<Process, String> {
        let spawned = process::spawn(
            self.attempt.mode,
            &self.assignment.command,
            &prepared.environment,
            &prepared.workdir,
            StopTo::named(&self.assignment.stop_signal_to),
            self.memory.group(),
        );
        let (process, pipe) = spawned.map_err(|error| format!("the command: {error}"))?;
        if let Err(error) = self.capture.drain(pipe) {
            // Undrained, the command would hang on its first output.
            process.kill_the_rest().await;
            return Err(format!("capturing output: {error}"));
        }
        let restored = &prepared.restored;
        let started = Started {
            pid: process.pid(),
            restored: restored.loaded.map(|id| id.name()),
            rejected_checkpoints: restored.rejected,
            restored_bytes: restored.bytes,
            restored_progress: restored.loaded.map(|_| restored.progress.clone()),
        };
        self.report(ReportRequest { started: Some(started), ..ReportRequest::default() });
        Ok(process)
    }

    /// Commits checkpoints until `done`.
    fn save_regularly(&self, committer: Committer, done: &CancellationToken) -> Saving {
        let saver = Saver::new(
            committer,
            Arc::clone(&self.progress),
            Arc::clone(&self.capture),
            self.reporter.reports().clone(),
            self.notes.clone(),
        );
        let interval = self.assignment.checkpoint.as_ref().map_or(0, |it| it.interval_ms);
        let interval = Duration::from_millis(interval.into()).max(SHORTEST_INTERVAL);
        AbortOnDropHandle::new(tokio::spawn(saver.run(interval, done.clone())))
    }

    /// Saves what the ended command has left, if this attempt still may. Returns the
    /// reports that end the attempt.
    async fn finish(
        &self,
        End { mut status, told }: End,
        saving: Option<Saving>,
        outputs: Option<(Plan, Brought)>,
        supervisor: &mut Supervisor,
        orders: &mut mpsc::Receiver<Order>,
        fence: &CancellationToken,
    ) -> Vec<ReportRequest> {
        let mut reports = Vec::new();
        let mut kept = 0;
        let mut budget_over = false;
        // What returns 0 only because it was stopped may not be done.
        let succeeded = status.code == 0 && told != Told::Stop;
        if supervisor.may_save() {
            let save = async {
                if let Some(saving) = saving {
                    // A saver that panicked has saved what it could.
                    if let Ok(mut saver) = saving.await {
                        saver.commit_the_rest().await;
                        reports.extend(saver.last());
                    }
                }
                if let Some((plan, brought)) = outputs {
                    kept = self.keep(plan, brought, succeeded).await;
                }
            };
            tokio::select! {
                biased;
                over = fenced(orders, fence, supervisor) => {
                    budget_over = over;
                    // Its outputs are not all kept: it is not at the end of its work.
                    if over && status.code == 0 {
                        status.code = EXIT_REQUEUE;
                    }
                }
                () = save => {}
            }
        }
        let last = supervisor.last_report(status.code, told == Told::Stop, budget_over);
        reports.extend(last.map(|last| self.exited(status, told, kept, last)));
        reports
    }

    /// Until the command has ended.
    async fn watch(
        &self,
        process: &Process,
        supervisor: &mut Supervisor,
        orders: &mut mpsc::Receiver<Order>,
        ended: &mut SignalStream,
        fence: &CancellationToken,
    ) -> Status {
        loop {
            if let Some(status) = process.reap() {
                return status;
            }
            let wake = supervisor.next();
            let actions = tokio::select! {
                biased;
                _ = ended.recv() => continue,
                Some(order) = orders.recv() => {
                    tracing::debug!(?order, "an order");
                    supervisor.order(order, Instant::now())
                }
                () = sleep_until(wake) => supervisor.wake(Instant::now()),
            };
            if !supervisor.may_save() {
                fence.cancel();
            }
            for action in actions {
                self.act(process, action);
            }
        }
    }

    fn act(&self, process: &Process, action: Action) {
        tracing::info!(?action, "to the command");
        match action {
            Action::WriteNotice { reclaim_in, action } => {
                process.tell(Told::Notice);
                notice::write(&self.attempt.folder, &action, reclaim_in, Timestamp::now());
            }
            Action::Warn => process.signal(Signal::SIGUSR1),
            Action::Terminate => process.terminate(),
            Action::Kill => process.kill(),
        }
    }

    /// Returns the number of output files.
    async fn keep(&self, plan: Plan, brought: Brought, succeeded: bool) -> u32 {
        let folder = self.attempt.folder.clone();
        let Collected { files, notes, whole } =
            outputs::keep(plan, brought, folder, succeeded).await;
        self.outputs_kept.store(whole, Ordering::Relaxed);
        for note in &notes {
            self.capture.note(note);
            self.notes.send(note);
        }
        files
    }

    fn exited(&self, status: Status, told: Told, outputs: u32, last: LastReport) -> ReportRequest {
        let progress =
            self.progress.lock().unwrap_or_else(PoisonError::into_inner).refresh(SystemTime::now());
        let Status { code, signal } = status;
        let exited = Some(Exited {
            code,
            signal,
            progress,
            outputs,
            told: told.into(),
            memory: Some(self.memory.measured()),
        });
        match last {
            LastReport::OutOfMoney => {
                ReportRequest { out_of_money: exited, ..ReportRequest::default() }
            }
            LastReport::Exited => ReportRequest { exited, ..ReportRequest::default() },
        }
    }

    fn report(&self, report: ReportRequest) {
        // The reporter is gone once the attempt is superseded; an order says so too.
        let _ = self.reporter.reports().send(report);
    }
}
