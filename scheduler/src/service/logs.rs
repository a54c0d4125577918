//! Captured output, oldest first.

mod lines;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use futures::Stream;
use spotwise_api::spool::{Found, Spool};
use spotwise_api::v1;
use spotwise_model::{AttemptId, Job, JobId};
use tokio::sync::OwnedSemaphorePermit;

use super::{Service, ServiceError, Session};
use crate::config::log_file;
use lines::Cut;
use spotwise_model::access::Action;

/// How often a follower checks the files: half of what a person notices.
const POLL: Duration = Duration::from_millis(250);

/// How often to check for the end of a line that a rank has begun and that was sent in
/// part, before the others' lines continue.
const LOOKS_FOR_AN_END: u32 = 40;

/// Attempts that a follower keeps checking: the newest, and the one before it, whose last
/// lines may still be on their way.
const STILL_WRITTEN: u32 = 2;

/// Bytes read at once.
pub(super) const CHUNK: usize = 64 * 1024;

/// The most attempts and ranks that a resumed call may name: as many as a message holds.
const MOST_POSITIONS: usize = 20_000;

/// Reads output, chunk by chunk; holds one chunk at most.
pub struct LogReader {
    service: Service,
    job: JobId,
    request: v1::LogsRequest,
    files: Vec<LogFile>,
    /// What the caller has read before.
    read: BTreeMap<(u32, u32), u64>,
    /// The newest attempt whose files are in the list.
    newest: u32,
    /// Whether the job had ended when its files were last read to their end.
    over: bool,
    /// Whether the job is a gang: no rank's output may come in the middle of another's
    /// line.
    gang: bool,
    /// The rank whose line has no end yet, and how often that was checked for.
    within: Option<(AttemptId, u32, u32)>,
    _place: OwnedSemaphorePermit,
}

struct LogFile {
    attempt: AttemptId,
    rank: u32,
    offset: u64,
}

impl Session {
    /// The output of a job: of its newest attempt, of one, or of all; with
    /// `follow` until the job has ended. `tail` counts for each attempt and rank.
    pub async fn logs(&self, request: v1::LogsRequest) -> Result<LogReader, ServiceError> {
        self.may(Action::ViewJobs)?;
        let place = self.follower()?;
        let job = self.stored_job(self.job_id(&request.job).await?).await?;
        let read = wanted(&request, &job)?;
        let newest = match read.keys().next() {
            _ if request.all_attempts => 0,
            Some((first, _)) if request.attempt == 0 => first.saturating_sub(1),
            _ => job.attempts.saturating_sub(1),
        };
        let mut reader = LogReader {
            service: (**self).clone(),
            job: job.id,
            newest,
            request,
            files: Vec::new(),
            read,
            over: false,
            gang: job.spec.resources.nodes > 1,
            within: None,
            _place: place,
        };
        reader.add_files(&job).await?;
        Ok(reader)
    }
}

/// Validates the request; returns what the caller has already read.
fn wanted(request: &v1::LogsRequest, job: &Job) -> Result<BTreeMap<(u32, u32), u64>, ServiceError> {
    let invalid = |field, message| Err(ServiceError::invalid("invalid_value", field, message));
    let nodes = job.spec.resources.nodes.max(1);
    if request.all_attempts && request.attempt > 0 {
        return invalid("attempt", "name one attempt, or ask for all");
    }
    if request.attempt > job.attempts {
        let message = format!("{} has {} attempts", job.id, job.attempts);
        return Err(ServiceError::NotFound(message));
    }
    if request.rank.is_some_and(|rank| rank >= nodes) {
        let message = format!("{} has {nodes} nodes, the first is rank 0", job.id);
        return Err(ServiceError::NotFound(message));
    }
    if request.resume.len() > MOST_POSITIONS {
        return invalid("resume", "at most 20,000 positions");
    }
    if request.resume.iter().any(|at| at.attempt == 0 || at.attempt > job.attempts.max(1)) {
        return invalid("resume", "has an attempt that the job does not have");
    }
    let mut read: BTreeMap<_, _> =
        request.resume.iter().map(|at| ((at.attempt, at.rank), at.offset)).collect();
    if request.offset > 0 {
        if request.attempt == 0 || (request.rank.is_none() && nodes > 1) {
            return invalid("offset", "name the attempt and the rank in whose output it counts");
        }
        if request.tail > 0 {
            return invalid("offset", "ask for the last lines, or from a byte on");
        }
        read.insert((request.attempt, request.rank.unwrap_or(0)), request.offset);
    }
    Ok(read)
}

impl LogReader {
    /// The job whose output it is.
    pub const fn job(&self) -> JobId {
        self.job
    }

    /// The next chunk; `None` when everything has been sent.
    ///
    /// # Errors
    /// `Unavailable` if a follower is disconnected because the scheduler is stopping: not
    /// everything has been sent then.
    pub async fn next(&mut self) -> Result<Option<v1::LogChunk>, ServiceError> {
        let stopping = self.service.parts.shutdown.clone();
        loop {
            if let Some(chunk) = self.read().await? {
                return Ok(Some(chunk));
            }
            if !self.request.follow || self.over {
                return Ok(None);
            }
            let job = self.service.stored_job(self.job).await?;
            self.add_files(&job).await?;
            self.over = job.state.is_terminal() || self.one_that_ended(&job);
            if !self.over {
                tokio::select! {
                    () = tokio::time::sleep(POLL) => {}
                    () = stopping.cancelled() => {
                        return Err(ServiceError::Unavailable("it stops".to_owned()));
                    }
                }
            }
        }
    }

    /// The same as a stream that ends with its first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<v1::LogChunk, ServiceError>> + Send {
        futures::stream::try_unfold(self, |mut reader| async move {
            Ok(reader.next().await?.map(|chunk| (chunk, reader)))
        })
    }

    async fn read(&mut self) -> Result<Option<v1::LogChunk>, ServiceError> {
        let newest = self.newest;
        let mut at = 0;
        while let Some(file) = self.files.get_mut(at) {
            let (who, within) = ((file.attempt, file.rank), self.within);
            if within.is_some_and(|(attempt, rank, _)| (attempt, rank) != who) {
                at += 1;
                continue;
            }
            let cut = Cut {
                whole_lines: self.gang && within.is_none(),
                more: self.request.follow && !self.over && file.attempt.number == newest,
            };
            let spool = Spool::at(self.service.log_path(file.attempt, file.rank));
            let offset = file.offset;
            let (data, missing) = match on_files(move || lines::next(&spool, offset, cut)).await? {
                Found::Data(data) => (data, 0),
                Found::Missing { to } => (Vec::new(), to - offset),
                Found::End if self.request.follow || within.is_some() => {
                    at += 1;
                    continue;
                }
                Found::End => {
                    self.files.remove(at);
                    continue;
                }
            };
            file.offset += missing + data.len() as u64;
            let ended = data.is_empty() || data.ends_with(b"\n");
            self.within = (self.gang && !ended).then_some((file.attempt, file.rank, 0));
            let attempt = file.attempt.to_string();
            return Ok(Some(v1::LogChunk { attempt, rank: file.rank, data, offset, missing }));
        }
        if let Some((attempt, rank, looks)) = self.within {
            let patient = self.request.follow && !self.over && looks < LOOKS_FOR_AN_END;
            self.within = patient.then_some((attempt, rank, looks + 1));
            if !patient {
                return Box::pin(self.read()).await;
            }
        }
        self.files.retain(|file| file.attempt.number + STILL_WRITTEN > newest);
        Ok(None)
    }

    /// Adds the files of attempts that are new since the last check.
    async fn add_files(&mut self, job: &Job) -> Result<(), ServiceError> {
        let wanted = match self.request.attempt {
            0 => self.newest + 1..=job.attempts,
            _ if self.files.is_empty() && !self.over => self.request.attempt..=self.request.attempt,
            _ => return Ok(()),
        };
        self.newest = self.newest.max(*wanted.end());
        let ranks = match self.request.rank {
            Some(rank) => rank..=rank,
            None => 0..=job.spec.resources.nodes.saturating_sub(1),
        };
        for number in wanted {
            for rank in ranks.clone() {
                let attempt = AttemptId { job: job.id, number };
                let offset = self.begin(attempt, rank).await?;
                self.files.push(LogFile { attempt, rank, offset });
            }
        }
        Ok(())
    }

    async fn begin(&self, attempt: AttemptId, rank: u32) -> Result<u64, ServiceError> {
        if let Some(offset) = self.read.get(&(attempt.number, rank)) {
            return Ok(*offset);
        }
        let (path, lines) = (self.service.log_path(attempt, rank), self.request.tail);
        if lines == 0 {
            return Ok(0);
        }
        on_files(move || Spool::at(path).last_lines(lines)).await
    }

    /// Whether a single attempt was requested, and a later one has taken its place.
    fn one_that_ended(&self, job: &Job) -> bool {
        self.request.attempt > 0 && job.attempts > self.request.attempt
    }
}

impl Service {
    /// The file with the first bytes that an attempt and rank wrote.
    pub(super) fn log_path(&self, attempt: AttemptId, rank: u32) -> PathBuf {
        log_file(&self.parts.config.logs_dir(), attempt, rank)
    }
}

/// Works on files outside the loop and the servers.
pub(super) async fn on_files<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, ServiceError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ServiceError::internal("working on output files", error))?
        .map_err(|error| ServiceError::internal("working on output files", error))
}
