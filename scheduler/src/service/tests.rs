use futures::StreamExt;
use spotwise_api::v1;

use super::testing::Bench;
use super::{Kind, ServiceError};

fn submit(document: &str, key: &str) -> v1::SubmitRequest {
    v1::SubmitRequest {
        document: document.to_owned(),
        format: "yaml".to_owned(),
        idempotency_key: key.to_owned(),
    }
}

fn list() -> v1::ListJobsRequest {
    v1::ListJobsRequest::default()
}

const JOB: &str = "name: train\ncommand: [python, train.py]\ntags: {Team: ml}\n";

#[tokio::test]
async fn a_repeated_key_gives_the_same_answer() {
    let bench = Bench::new().await;
    let first = bench.service.submit(submit(JOB, "k1")).await.unwrap();
    assert_eq!((first.jobs[0].id.as_str(), first.replayed), ("j1", false));
    let again = bench.service.submit(submit(&format!("{JOB}\n# the same\n"), "k1")).await.unwrap();
    assert_eq!((again.jobs[0].id.as_str(), again.replayed), ("j1", true));
    let other = bench.service.submit(submit("name: other\ncommand: [x]\n", "k1")).await;
    assert_eq!(other.unwrap_err().kind(), Kind::Exists);
    assert_eq!(bench.service.list(list()).await.unwrap().jobs.len(), 1);
}

#[tokio::test]
async fn refused_documents_change_nothing() {
    let bench = Bench::new().await;
    let code = |error: ServiceError| error.code();
    let large = format!("{JOB}# {}", "x".repeat(spotwise_model::spec::MAX_DOCUMENT_BYTES));
    assert_eq!(
        code(bench.service.submit(submit(&large, "")).await.unwrap_err()),
        "document_too_large"
    );
    let past = format!("{JOB}deadline: 2026-02-28T00:00:00Z\n");
    assert_eq!(
        code(bench.service.submit(submit(&past, "")).await.unwrap_err()),
        "deadline_in_the_past"
    );
    let orphan = format!("{JOB}after: [j9]\n");
    let error = bench.service.submit(submit(&orphan, "")).await.unwrap_err();
    assert_eq!((error.code(), error.field()), ("unknown_dependency", "after[0]"));
    let format = v1::SubmitRequest { format: "xml".to_owned(), ..submit(JOB, "") };
    assert_eq!(bench.service.submit(format).await.unwrap_err().field(), "format");
    assert!(bench.service.list(list()).await.unwrap().jobs.is_empty());
}

#[tokio::test]
async fn pages_hold_every_job_once() {
    let bench = Bench::new().await;
    for _ in 0..5 {
        bench.service.submit(submit(JOB, "")).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut request = v1::ListJobsRequest { page_size: 2, ..list() };
    loop {
        let page = bench.service.list(request.clone()).await.unwrap();
        seen.extend(page.jobs.into_iter().map(|job| job.id));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ["j5", "j4", "j3", "j2", "j1"]);
    let none = v1::ListJobsRequest { name: "' OR 1=1--".to_owned(), ..list() };
    assert!(bench.service.list(none).await.unwrap().jobs.is_empty(), "compared literally");
}

#[tokio::test]
async fn a_job_is_found_by_number_and_by_name() {
    let bench = Bench::new().await;
    bench.service.submit(submit(JOB, "")).await.unwrap();
    bench.service.submit(submit(JOB, "")).await.unwrap();
    let get = |job: &str| bench.service.get(v1::GetJobRequest { job: job.to_owned() });
    for (name, id) in [("j1", "j1"), ("1", "j1"), ("train", "j2")] {
        assert_eq!(get(name).await.unwrap().job.unwrap().id, id, "{name}");
    }
    let detail = get("j1").await.unwrap();
    assert_eq!(detail.events[0].kind, "submitted");
    assert!(detail.document.contains("train.py"));
    for missing in ["j77", "nobody"] {
        assert_eq!(get(missing).await.unwrap_err().kind(), Kind::NotFound, "{missing}");
    }
    for bad in ["", "../etc", "A", "%"] {
        assert_eq!(get(bad).await.unwrap_err().field(), "job", "{bad}");
    }
}

#[tokio::test]
async fn cancelling_twice_is_cancelling_once() {
    let bench = Bench::new().await;
    bench.service.submit(submit(JOB, "")).await.unwrap();
    let cancel = || bench.service.cancel(v1::CancelRequest { job: "j1".to_owned(), group: false });
    assert_eq!(cancel().await.unwrap().jobs[0].state, "cancelled");
    assert_eq!(cancel().await.unwrap().jobs[0].state, "cancelled");
    let request = v1::ExplainRequest { job: "j1".to_owned() };
    let explained = bench.service.explain(request).await.unwrap();
    assert_eq!(explained.headline, "its owner cancelled it");
    let again = v1::ResubmitRequest { job: "j1".to_owned(), ..Default::default() };
    assert_eq!(bench.service.resubmit(again.clone()).await.unwrap().jobs[0].id, "j2");
    let live = v1::ResubmitRequest { job: "j2".to_owned(), ..again };
    assert_eq!(bench.service.resubmit(live).await.unwrap_err().code(), "job_not_ended");
}

#[tokio::test]
async fn a_watcher_misses_nothing_between_store_and_live() {
    let bench = Bench::new().await;
    bench.service.submit(submit(JOB, "")).await.unwrap();
    let all = v1::WatchRequest::default();
    let mut events = Box::pin(bench.service.watch(all).await.unwrap().into_stream());
    assert_eq!(events.next().await.unwrap().unwrap().job, "j1");
    bench.service.submit(submit(JOB, "")).await.unwrap();
    let only = v1::WatchRequest { job: "j2".to_owned(), after_event: 0 };
    let mut second = Box::pin(bench.service.watch(only).await.unwrap().into_stream());
    assert_eq!(events.next().await.unwrap().unwrap().job, "j2");
    assert_eq!(second.next().await.unwrap().unwrap().number, 2);
    bench.shutdown.cancel();
    assert!(events.next().await.is_none(), "it ends with the scheduler");
}

#[tokio::test]
async fn a_slow_watcher_reads_the_store_again() {
    let bench = Bench::new().await;
    bench.service.submit(submit(JOB, "")).await.unwrap();
    let all = v1::WatchRequest::default();
    let mut watcher = bench.service.watch(all).await.unwrap();
    let mut number = watcher.next().await.unwrap().unwrap().number;
    // It has read the store; all of this comes live, and is more than is kept.
    let document = "name: many\ncommand: [x]\narray: {size: 60}\n";
    for _ in 0..=crate::handle::EVENT_BACKLOG / 120 {
        let made = bench.service.submit(submit(document, "")).await.unwrap();
        let group = v1::CancelRequest { job: made.jobs[0].id.clone(), group: true };
        bench.service.cancel(group).await.unwrap();
    }
    let last = bench.service.info().await.unwrap().last_event;
    assert!(last > number + crate::handle::EVENT_BACKLOG as u64);
    while number < last {
        let next = watcher.next().await.unwrap().unwrap().number;
        assert_eq!(next, number + 1, "no event is lost or told twice");
        number = next;
    }
}

#[tokio::test]
async fn workers_prove_who_they_are() {
    let bench = Bench::new().await;
    let beat = |attempt: &str, token: String| {
        let request =
            v1::HeartbeatRequest { attempt: attempt.to_owned(), token, ..Default::default() };
        bench.service.heartbeat(request)
    };
    let token = bench.token("j1.1");
    assert_eq!(beat("j1.2", token.clone()).await.unwrap_err().kind(), Kind::Unauthenticated);
    assert_eq!(beat("nonsense", token.clone()).await.unwrap_err().kind(), Kind::Unauthenticated);
    assert_eq!(beat("j1.1", String::new()).await.unwrap_err().kind(), Kind::Unauthenticated);
    let fenced = beat("j1.1", token).await.unwrap_err();
    assert_eq!((fenced.kind(), fenced.code()), (Kind::Conflict, "fenced"), "no such live attempt");
    let renew = |key: String| {
        bench.service.renew(v1::RenewRequest { attempt: "j1.1".to_owned(), rank: 0, key })
    };
    let fenced = renew("0a".repeat(32)).await.unwrap_err();
    assert_eq!((fenced.kind(), fenced.code()), (Kind::Conflict, "fenced"), "no such live attempt");
    assert_eq!(renew("short".to_owned()).await.unwrap_err().kind(), Kind::Unauthenticated);
}

#[tokio::test]
async fn calls_with_one_key_at_the_same_time_make_one_job() {
    let bench = Bench::new().await;
    let calls = (0..8).map(|_| bench.service.submit(submit(JOB, "k1")));
    let answers = futures::future::join_all(calls).await;
    let fresh = answers.iter().filter(|answer| !answer.as_ref().unwrap().replayed);
    assert_eq!(fresh.count(), 1);
    assert_eq!(bench.service.list(list()).await.unwrap().jobs.len(), 1);
}

#[tokio::test]
async fn a_quote_costs_nothing_and_says_why_not() {
    let bench = Bench::new().await;
    let quote = |document: &str| {
        bench
            .service
            .quote(v1::QuoteRequest { document: document.to_owned(), format: "yaml".into() })
    };
    let answer = quote(JOB).await.unwrap();
    assert_eq!((answer.jobs[0].name.as_str(), answer.jobs[0].elements), ("train", 1));
    assert!(answer.jobs[0].reason.starts_with("no machine holds it"), "{:?}", answer.jobs[0]);
    assert!(bench.service.list(list()).await.unwrap().jobs.is_empty());
}

#[tokio::test]
async fn an_empty_ledger_costs_nothing() {
    let bench = Bench::new().await;
    let query = v1::CostQuery { group_by: vec!["model".to_owned()], ..Default::default() };
    let report = bench.service.cost(query).await.unwrap();
    assert!(report.rows.is_empty());
    assert_eq!(report.total.unwrap().total_micros, 0);
    assert_eq!(report.as_of, "2026-03-01T00:00:00Z");
}
