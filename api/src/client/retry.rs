//! When a call that nobody answered is made again, and how often.

use std::future::Future;
use std::time::Duration;

use tonic::{Code, Response, Status};

use super::{ClientError, ErrorKind};

/// Longer than the longest planning round (5 s) that an answer may wait for.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Waits between tries. Together under a second: a person is watching.
pub(super) const BACKOFF: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(600)];
/// Waits where there are several schedulers: longer than it takes one of them to
/// take over (3 s by default, and up to one to begin).
pub(super) const TAKEOVER: [Duration; 7] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
    Duration::from_millis(1_500),
    Duration::from_millis(1_500),
    Duration::from_millis(1_500),
];

/// Whether a call may be made again after UNAVAILABLE, when nobody knows
/// whether it had its effect.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    Yes,
    No,
}

impl Again {
    pub(super) const fn only_if(safe: bool) -> Self {
        if safe { Self::Yes } else { Self::No }
    }
}

/// `next` turns to another scheduler, if there is one.
pub(super) async fn unary<T, F, Fut>(
    again: Again,
    waits: &[Duration],
    next: impl Fn(),
    call: F,
) -> Result<T, ClientError>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<Response<T>, Status>>,
{
    let mut waits = waits.iter();
    loop {
        let Ok(answer) = tokio::time::timeout(CALL_TIMEOUT, call()).await else {
            let message = format!("no answer within {} s", CALL_TIMEOUT.as_secs());
            return Err(ClientError { kind: ErrorKind::Timeout, message, source: None });
        };
        let status = match answer {
            Ok(response) => return Ok(response.into_inner()),
            Err(status) => status,
        };
        if status.code() != Code::Unavailable {
            return Err(status.into());
        }
        next();
        // A standby refuses before anything has happened.
        let safe = again == Again::Yes || is_standby(&status);
        match waits.next().filter(|_| safe) {
            Some(wait) => tokio::time::sleep(*wait).await,
            None => return Err(status.into()),
        }
    }
}

fn is_standby(status: &Status) -> bool {
    let code = status.metadata().get(crate::convert::ERROR_CODE_KEY);
    code.is_some_and(|code| code.as_bytes() == b"standby")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    async fn tries(again: Again, code: Code) -> u32 {
        let tries = AtomicU32::new(0);
        let turned = AtomicU32::new(0);
        let next = || {
            turned.fetch_add(1, Ordering::Relaxed);
        };
        let answer: Result<(), _> = unary(again, &BACKOFF, next, || {
            tries.fetch_add(1, Ordering::Relaxed);
            async { Err(Status::new(code, "no")) }
        })
        .await;
        let unanswered = if code == Code::Unavailable { tries.load(Ordering::Relaxed) } else { 0 };
        assert_eq!(turned.into_inner(), unanswered, "each time nobody answers, another is asked");
        assert!(answer.is_err());
        tries.into_inner()
    }

    #[tokio::test]
    async fn only_safe_calls_are_made_again_and_only_when_nobody_answered() {
        assert_eq!(tries(Again::Yes, Code::Unavailable).await, 3);
        assert_eq!(tries(Again::No, Code::Unavailable).await, 1);
        assert_eq!(tries(Again::Yes, Code::NotFound).await, 1);
    }
}
