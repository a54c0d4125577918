//! Captured output, oldest first.

use std::path::PathBuf;
use std::time::Duration;

use futures::Stream;
use spotwise_api::v1;
use spotwise_model::{AttemptId, Job, JobId};
use tokio::sync::OwnedSemaphorePermit;

use super::{Service, ServiceError, output};

/// How often a follower looks at the files: half of what a person notices.
const POLL: Duration = Duration::from_millis(250);

/// Attempts that a follower keeps looking at: the newest, and the one before
/// it, whose last lines may still be on their way.
const STILL_WRITTEN: u32 = 2;

/// Reads output, chunk by chunk; holds one chunk at most.
pub struct LogReader {
    service: Service,
    job: JobId,
    request: v1::LogsRequest,
    files: Vec<LogFile>,
    /// The newest attempt whose files are in the list.
    newest: u32,
    /// The job was over when its files were last read to their end.
    over: bool,
    _place: OwnedSemaphorePermit,
}

struct LogFile {
    attempt: AttemptId,
    rank: u32,
    offset: u64,
}

impl Service {
    /// The output of a job: of its newest attempt, of one, or of all; with
    /// `follow` until the job has ended. `tail` counts for each attempt and rank.
    pub async fn logs(&self, request: v1::LogsRequest) -> Result<LogReader, ServiceError> {
        let place = self.follower()?;
        if request.all_attempts && request.attempt > 0 {
            let message = "name one attempt, or ask for all";
            return Err(ServiceError::invalid("invalid_value", "attempt", message));
        }
        let job = self.stored_job(self.job_id(&request.job).await?).await?;
        if request.attempt > job.attempts {
            let message = format!("{} has {} attempts", job.id, job.attempts);
            return Err(ServiceError::NotFound(message));
        }
        let mut reader = LogReader {
            service: self.clone(),
            job: job.id,
            newest: if request.all_attempts { 0 } else { job.attempts.saturating_sub(1) },
            request,
            files: Vec::new(),
            over: false,
            _place: place,
        };
        reader.add_files(&job).await?;
        Ok(reader)
    }
}

impl LogReader {
    /// Whose output it is.
    pub const fn job(&self) -> JobId {
        self.job
    }

    /// The next chunk; none when everything has been said.
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
                    () = stopping.cancelled() => return Ok(None),
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
        let mut at = 0;
        while let Some(file) = self.files.get_mut(at) {
            let path = self.service.log_path(file.attempt, file.rank);
            let offset = file.offset;
            let data = on_files(move || output::read(&path, offset)).await?;
            if !data.is_empty() {
                file.offset += data.len() as u64;
                let attempt = file.attempt.to_string();
                return Ok(Some(v1::LogChunk { attempt, rank: file.rank, data }));
            }
            if self.request.follow {
                at += 1;
            } else {
                self.files.remove(at);
            }
        }
        let newest = self.newest;
        self.files.retain(|file| file.attempt.number + STILL_WRITTEN > newest);
        Ok(None)
    }

    /// Adds the files of attempts that are new since the last look.
    async fn add_files(&mut self, job: &Job) -> Result<(), ServiceError> {
        let wanted = match self.request.attempt {
            0 => self.newest + 1..=job.attempts,
            _ if self.files.is_empty() && !self.over => self.request.attempt..=self.request.attempt,
            _ => return Ok(()),
        };
        self.newest = self.newest.max(*wanted.end());
        for number in wanted {
            for rank in 0..job.spec.resources.nodes.max(1) {
                let attempt = AttemptId { job: job.id, number };
                let offset = self.begin(attempt, rank).await?;
                self.files.push(LogFile { attempt, rank, offset });
            }
        }
        Ok(())
    }

    async fn begin(&self, attempt: AttemptId, rank: u32) -> Result<u64, ServiceError> {
        let (path, lines) = (self.service.log_path(attempt, rank), self.request.tail);
        if lines == 0 {
            return Ok(0);
        }
        on_files(move || output::tail_offset(&path, lines)).await
    }

    /// Whether one attempt was asked for, and a later one has taken its place.
    fn one_that_ended(&self, job: &Job) -> bool {
        self.request.attempt > 0 && job.attempts > self.request.attempt
    }
}

impl Service {
    /// The file of one attempt and rank.
    pub(super) fn log_path(&self, attempt: AttemptId, rank: u32) -> PathBuf {
        output::path(&self.parts.config.logs_dir(), attempt, rank)
    }
}

/// Works on files beside the loop and the servers.
pub(super) async fn on_files<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, ServiceError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ServiceError::internal("working on output files", error))?
        .map_err(|error| ServiceError::internal("working on output files", error))
}
