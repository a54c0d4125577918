//! Submissions at a fixed rate, each with an idempotency key of its own.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use spotwise_api::client::Named;
use spotwise_api::v1;
use spotwise_api::v1::jobs_client::JobsClient;

use crate::Options;
use crate::measure::{Kind, Measure, open_loop, pick};

/// Submits until the time or the number is reached.
pub(crate) async fn submit(
    channels: &[Named],
    options: &Options,
    measure: &Arc<Measure>,
    length: Duration,
) -> Result<()> {
    let run = std::process::id();
    let batch = options.batch;
    open_loop(options.submit_rate, options.submissions, length, |number, due| {
        let mut jobs = JobsClient::new(pick(channels, number));
        let request = v1::SubmitRequest {
            document: document(number, batch),
            format: "yaml".to_owned(),
            idempotency_key: format!("load-{run}-{number}"),
        };
        let measure = measure.clone();
        async move {
            let answer = jobs.submit(request).await;
            measure.note(Kind::Submit, due, answer.err().as_ref());
        }
    })
    .await;
    Ok(())
}

/// A small job as a pipeline would queue it: a quarter of a CPU for a minute.
fn document(number: u64, batch: u32) -> String {
    let array = if batch > 1 { format!("array: {{size: {batch}}}\n") } else { String::new() };
    format!(
        "name: load-{number}\nclass: inference\ndeadline: 12h\nwork: {{duration: 1m}}\n\
         resources: {{cpus: 0.25, memory: 64MB}}\n{array}command: [infer, --shard, '{number}']\n"
    )
}
