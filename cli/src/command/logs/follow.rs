//! Output as it comes: where the scheduler goes away it is read on when it is back, at
//! the very byte.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use spotwise_api::client::{AnswerStream, Client, ClientError, ErrorKind};
use spotwise_api::v1::{LogChunk, LogPosition, LogsRequest};

use crate::exit::Failure;
use crate::output::note;

/// A scheduler that is started again is back within seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks whether it is.
const PAUSE: Duration = Duration::from_millis(500);

/// Reads the output of a job.
pub(super) struct Reader {
    client: Client,
    request: LogsRequest,
    chunks: AnswerStream<LogChunk>,
    /// Up to where each attempt and rank was read.
    read: BTreeMap<(u32, u32), u64>,
}

impl Reader {
    pub(super) async fn begin(client: Client, mut request: LogsRequest) -> Result<Self, Failure> {
        let mut read = BTreeMap::new();
        if request.follow {
            // Names are given again, and attempts go on: what was meant now is meant later.
            let job = client.get(&request.job).await?.job.unwrap_or_default();
            request.job = job.id;
            if request.attempt > 0 && request.offset > 0 {
                read.insert((request.attempt, request.rank.unwrap_or(0)), request.offset);
            } else if request.attempt == 0 && !request.all_attempts && request.tail == 0 {
                let first = request.rank.unwrap_or(0);
                read.insert((job.attempts.max(1), first), 0);
                request.resume = positions(&read);
            }
        }
        let chunks = client.logs(request.clone()).await?;
        Ok(Self { client, request, chunks, read })
    }

    /// The next part; none when the job has ended and everything was read.
    pub(super) async fn next(&mut self) -> Result<Option<LogChunk>, Failure> {
        loop {
            match self.chunks.next().await {
                Ok(Some(chunk)) => {
                    if let Some(attempt) = number(&chunk.attempt) {
                        let end = chunk.offset + chunk.missing + chunk.data.len() as u64;
                        self.read.insert((attempt, chunk.rank), end);
                    }
                    return Ok(Some(chunk));
                }
                Ok(None) => return Ok(None),
                Err(error) if self.request.follow && passes(&error) => self.come_back().await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn come_back(&mut self) -> Result<(), Failure> {
        note("the scheduler is away; reading on when it is back");
        self.request.offset = 0;
        self.request.resume = positions(&self.read);
        let left = Instant::now();
        loop {
            tokio::time::sleep(PAUSE).await;
            match self.client.logs(self.request.clone()).await {
                Ok(chunks) => {
                    self.chunks = chunks;
                    return Ok(());
                }
                Err(error) if passes(&error) && left.elapsed() < PATIENCE => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn positions(read: &BTreeMap<(u32, u32), u64>) -> Vec<LogPosition> {
    let position =
        |(&(attempt, rank), &offset): (&(u32, u32), &u64)| LogPosition { attempt, rank, offset };
    read.iter().map(position).collect()
}

/// Whether it may go on later: a connection that breaks off has many names.
const fn passes(error: &ClientError) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Other)
}

/// `j17.2` is attempt 2.
fn number(attempt: &str) -> Option<u32> {
    attempt.rsplit_once('.').and_then(|(_, number)| number.parse().ok())
}
