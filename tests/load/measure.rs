//! When calls are due, and what became of them.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use spotwise_api::client::Named;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::Status;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A submission, due to answered.
    Submit,
    /// A page of jobs.
    List,
    /// A worker's heartbeat.
    Heartbeat,
    /// The event of a placement; its latency says nothing.
    Place,
    /// From a placement's event to its attempt running.
    Start,
    /// A report of the end of a command.
    End,
}

/// Latencies and refusals.
#[derive(Debug, Default)]
pub(crate) struct Measure(Mutex<BTreeMap<Kind, Calls>>);

#[derive(Debug, Default)]
struct Calls {
    micros: Vec<u64>,
    refused: BTreeMap<String, u64>,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Measure {
    /// A call that was due then has its answer now.
    pub(crate) fn note(&self, kind: Kind, due: Instant, refused: Option<&Status>) {
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = all.entry(kind).or_default();
        calls.first.get_or_insert(now);
        calls.last = Some(now);
        match refused {
            None => calls.micros.push(u64::try_from((now - due).as_micros()).unwrap_or(u64::MAX)),
            Some(status) => {
                *calls.refused.entry(format!("{:?}", status.code())).or_default() += 1;
            }
        }
    }

    /// Rates over the time from the first answer to the last, and latencies.
    pub(crate) fn report(&self, elapsed: Duration) -> Value {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut report = json!({ "elapsed_s": elapsed.as_secs_f64() });
        for (kind, calls) in all.iter_mut() {
            calls.micros.sort_unstable();
            let count = calls.micros.len();
            let at = |share: f64| {
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    clippy::cast_precision_loss,
                    reason = "an index below the length"
                )]
                let index = ((count as f64 * share) as usize).min(count.saturating_sub(1));
                calls.micros.get(index).map_or(Value::Null, |us| json!(*us as f64 / 1_000.0))
            };
            let span = calls.first.zip(calls.last).map_or(0.0, |(a, b)| (b - a).as_secs_f64());
            report[format!("{kind:?}").to_lowercase()] = json!({
                "done": count,
                "per_second": if span > 0.0 { (count as f64 / span).round() } else { 0.0 },
                "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1.0),
                "refused": calls.refused,
            });
        }
        report
    }
}

/// Makes calls at `rate` a second for `length`, at most `most` of them, and
/// waits for their answers. A call is told its number and when it was due.
pub(crate) async fn open_loop<F>(
    rate: f64,
    most: u64,
    length: Duration,
    call: impl Fn(u64, Instant) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let begun = Instant::now();
    let mut calls = JoinSet::new();
    for number in 0..most {
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
        let due = begun + Duration::from_secs_f64(number as f64 / rate);
        if due >= begun + length {
            break;
        }
        // The clock of tokio counts in milliseconds: calls come in small groups.
        tokio::time::sleep_until(due).await;
        calls.spawn(call(number, due));
        while calls.try_join_next().is_some() {}
    }
    while calls.join_next().await.is_some() {}
}

/// Connections take turns.
pub(crate) fn pick(channels: &[Named], number: u64) -> Named {
    let at = usize::try_from(number).unwrap_or(0) % channels.len().max(1);
    channels.get(at).expect("at least one connection was made").clone()
}
