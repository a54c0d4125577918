//! Played workers: one task for each placed attempt.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use spotwise_api::client::Named;
use spotwise_api::v1;
use spotwise_api::v1::jobs_client::JobsClient;
use spotwise_api::v1::workers_client::WorkersClient;
use spotwise_control::WorkerId;
use spotwise_scheduler::token::WorkerTokens;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::Code;

use crate::Options;
use crate::measure::{Kind, Measure, pick};

/// Between two tries of a call that was refused for now.
const AGAIN: Duration = Duration::from_millis(50);

/// Plays the workers of every attempt that is placed while the load lasts.
pub(crate) async fn work(
    channels: &[Named],
    options: &Arc<Options>,
    measure: &Arc<Measure>,
    length: Duration,
) -> Result<()> {
    let folder = options.data_dir.as_ref().context("--work needs --data-dir")?;
    let tokens = WorkerTokens::open(&folder.join("worker-secret"))?;
    let watcher = channels.first().context("a connection")?.clone();
    let request = v1::WatchRequest::default();
    let mut events = JobsClient::new(watcher).watch(request).await?.into_inner();
    let end = Instant::now() + length;
    let mut crew = JoinSet::new();
    let mut number = 0;
    while let Ok(next) = tokio::time::timeout_at(end, events.message()).await {
        let Some(event) = next? else { break };
        if event.kind != "placed" {
            continue;
        }
        let attempt = event.attempt.parse().context("an event names its attempt")?;
        number += 1;
        measure.note(Kind::Place, Instant::now(), None);
        let player = Player {
            client: WorkersClient::new(pick(channels, number)),
            token: tokens.bootstrap(WorkerId { attempt, rank: 0 }, jiff::Timestamp::now()),
            attempt: event.attempt,
            measure: measure.clone(),
            options: options.clone(),
            end,
        };
        crew.spawn(player.play(Instant::now()));
        while crew.try_join_next().is_some() {}
    }
    while let Some(player) = crew.join_next().await {
        player.context("a player broke")??;
    }
    Ok(())
}

struct Player {
    client: WorkersClient<Named>,
    attempt: String,
    token: String,
    measure: Arc<Measure>,
    options: Arc<Options>,
    end: Instant,
}

impl Player {
    async fn play(mut self, placed: Instant) -> Result<()> {
        while Instant::now() < self.end {
            let request = v1::RegisterRequest {
                attempt: self.attempt.clone(),
                rank: 0,
                token: self.token.clone(),
                handle: "load".to_owned(),
                address: "127.0.0.1".to_owned(),
                key: "0a".repeat(32),
            };
            match self.client.register(request).await {
                Ok(answer) if answer.get_ref().ready => {
                    self.token = answer.into_inner().credential;
                    break;
                }
                Err(status) if status.code() == Code::FailedPrecondition => return Ok(()),
                _ => tokio::time::sleep(AGAIN).await,
            }
        }
        let started = v1::Started { pid: 1, ..Default::default() };
        if !self.report(v1::ReportRequest { started: Some(started), ..Default::default() }).await {
            return Ok(());
        }
        self.measure.note(Kind::Start, placed, None);
        self.beat().await;
        let due = Instant::now();
        if due < self.end {
            let exited = v1::Exited::default();
            self.report(v1::ReportRequest { exited: Some(exited), ..Default::default() }).await;
            self.measure.note(Kind::End, due, None);
        }
        Ok(())
    }

    /// Heartbeats while the command runs.
    async fn beat(&mut self) {
        let pause = Duration::from_millis(self.options.heartbeat_ms);
        let last = (Instant::now() + Duration::from_millis(self.options.hold_ms)).min(self.end);
        loop {
            let due = Instant::now() + pause;
            tokio::time::sleep_until(due.min(last)).await;
            if due >= last {
                return;
            }
            let request = v1::HeartbeatRequest {
                attempt: self.attempt.clone(),
                rank: 0,
                token: self.token.clone(),
                ..Default::default()
            };
            let answer = self.client.heartbeat(request).await;
            self.measure.note(Kind::Heartbeat, due, answer.err().as_ref());
        }
    }

    /// False where the attempt is over for the scheduler.
    async fn report(&mut self, mut report: v1::ReportRequest) -> bool {
        report.attempt.clone_from(&self.attempt);
        report.token.clone_from(&self.token);
        loop {
            match self.client.report(report.clone()).await {
                Ok(_) => return true,
                Err(status) if status.code() == Code::Unavailable && Instant::now() < self.end => {
                    tokio::time::sleep(AGAIN).await;
                }
                Err(_) => return false,
            }
        }
    }
}
