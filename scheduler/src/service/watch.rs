//! Events as they happen.

use std::collections::{BTreeMap, VecDeque};

use futures::Stream;
use spotwise_api::convert::time_text;
use spotwise_api::v1;
use spotwise_model::JobId;
use tokio::sync::{OwnedSemaphorePermit, broadcast};

use super::{ServiceError, Session};
use spotwise_control::core::Event;
use spotwise_model::access::Action;

/// Events read from the store at once.
pub(super) const PAGE: u32 = 500;
/// Jobs of which it is remembered whether the caller sees them.
const MOST_REMEMBERED: usize = 10_000;

/// Reads the history from the store, then continues live. One that lags reads the store
/// again, so that it misses nothing and holds at most a page.
pub struct Watcher {
    session: Session,
    /// Which jobs the caller sees, of those that were asked about.
    seen: BTreeMap<JobId, bool>,
    job: Option<JobId>,
    /// The last number sent, or skipped as another job's.
    after: u64,
    page: VecDeque<Event>,
    /// Whether the store has been read to its end; the live events begin before
    /// that, so nothing falls in between.
    caught_up: bool,
    live: broadcast::Receiver<Event>,
    _place: OwnedSemaphorePermit,
}

impl Session {
    /// Events from `after_event` on, then as they happen, until the caller
    /// leaves or the scheduler stops.
    pub async fn watch(&self, request: v1::WatchRequest) -> Result<Watcher, ServiceError> {
        self.may(Action::ViewJobs)?;
        let place = self.follower()?;
        let job = match request.job.as_str() {
            "" => None,
            text => Some(self.stored_job(self.job_id(text).await?).await?.id),
        };
        Ok(Watcher {
            session: self.clone(),
            seen: BTreeMap::new(),
            job,
            after: request.after_event,
            page: VecDeque::new(),
            caught_up: false,
            live: self.parts.handle.events(),
            _place: place,
        })
    }
}

impl Watcher {
    /// The next event; `None` when the scheduler stops.
    pub async fn next(&mut self) -> Result<Option<v1::Event>, ServiceError> {
        let stopping = self.session.parts.shutdown.clone();
        loop {
            if let Some(next) = self.page.pop_front() {
                if self.sees(next.job).await? {
                    return Ok(Some(event(&next)));
                }
                continue;
            }
            if !self.caught_up {
                self.read_page().await?;
                continue;
            }
            let received = tokio::select! {
                received = self.live.recv() => received,
                () = stopping.cancelled() => return Ok(None),
            };
            match received {
                Ok(next) if next.number <= self.after => {}
                Ok(next) => {
                    self.after = next.number;
                    if self.job.is_none_or(|job| job == next.job) && self.sees(next.job).await? {
                        return Ok(Some(event(&next)));
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => self.caught_up = false,
                Err(broadcast::error::RecvError::Closed) => return Ok(None),
            }
        }
    }

    /// The same as a stream that ends with its first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<v1::Event, ServiceError>> + Send {
        futures::stream::try_unfold(self, |mut watcher| async move {
            Ok(watcher.next().await?.map(|event| (event, watcher)))
        })
    }

    async fn sees(&mut self, job: JobId) -> Result<bool, ServiceError> {
        if self.session.scope().teams.is_none() {
            return Ok(true);
        }
        if let Some(seen) = self.seen.get(&job) {
            return Ok(*seen);
        }
        let found = self.session.parts.store.job(job).await?;
        let sees = found.is_some_and(|job| self.session.sees(&job));
        // What belongs to a team stays with it; forgetting costs a question.
        if self.seen.len() >= MOST_REMEMBERED {
            self.seen.clear();
        }
        self.seen.insert(job, sees);
        Ok(sees)
    }

    async fn read_page(&mut self) -> Result<(), ServiceError> {
        let page = self.session.parts.store.events(self.job, self.after, PAGE).await?;
        self.caught_up = page.len() < PAGE as usize;
        self.after = page.last().map_or(self.after, |event| event.number);
        self.page = page.into();
        Ok(())
    }
}

/// An event on the wire.
pub(super) fn event(event: &Event) -> v1::Event {
    v1::Event {
        number: event.number,
        job: event.job.to_string(),
        attempt: event.attempt.map(|attempt| attempt.to_string()).unwrap_or_default(),
        at: time_text(event.at),
        kind: event.kind.name().to_owned(),
        message: event.message.clone(),
        by: event.by.clone().unwrap_or_default(),
    }
}
