use futures::StreamExt;
use spotwise_api::convert::LogText;
use spotwise_api::v1;

use super::super::assignment::tests::ended_job;
use super::super::testing::Bench;
use super::super::{Kind, ServiceError};

/// Output reported by the worker of an attempt and rank.
async fn append(
    bench: &Bench,
    (attempt, rank): (&str, u32),
    (offset, skip): (u64, bool),
    data: &[u8],
) -> Result<u64, ServiceError> {
    let request = v1::AppendLogRequest {
        attempt: attempt.to_owned(),
        rank,
        token: bench.token_of(attempt, rank),
        offset,
        data: data.to_vec(),
        skip,
    };
    Ok(bench.service.append_log(request).await?.stored)
}

async fn chunks(
    bench: &Bench,
    request: v1::LogsRequest,
) -> Result<Vec<v1::LogChunk>, ServiceError> {
    let reader = bench.service.logs(v1::LogsRequest { job: "j17".to_owned(), ..request }).await?;
    let chunks: Vec<_> = reader.into_stream().collect().await;
    chunks.into_iter().collect()
}

async fn read(bench: &Bench, request: v1::LogsRequest) -> Result<String, ServiceError> {
    let mut text = LogText::default();
    let chunks = chunks(bench, request).await?;
    let bytes = chunks.iter().flat_map(|chunk| text.add(chunk, "")).collect();
    Ok(String::from_utf8(bytes).unwrap())
}

fn job(attempts: u32, nodes: u32) -> spotwise_model::Job {
    let mut job = ended_job("j17", attempts);
    std::sync::Arc::make_mut(&mut job.spec).resources.nodes = nodes;
    job
}

#[tokio::test]
async fn output_is_stored_by_offset() {
    let bench = Bench::new().await;
    let append =
        |offset, skip, data: &'static [u8]| append(&bench, ("j1.1", 0), (offset, skip), data);
    assert_eq!(append(0, false, b"one\n").await.unwrap(), 4);
    assert_eq!(append(0, false, b"one\n").await.unwrap(), 4, "repeated");
    assert_eq!(append(100, false, b"far\n").await.unwrap(), 4, "from 4 on, please");
    assert_eq!(append(2, false, b"e\ntwo\n").await.unwrap(), 8, "overlaps");
    assert_eq!(append(u64::MAX, false, b"x").await.unwrap(), 8);
    assert_eq!(append(100, true, b"far\n").await.unwrap(), 104, "nobody has the rest");
    assert_eq!(append(100, true, b"far\n").await.unwrap(), 104);
    static LARGE: [u8; 300 * 1024] = [b'x'; 300 * 1024];
    assert_eq!(append(4, false, &LARGE).await.unwrap_err().kind(), Kind::TooLarge);
}

#[tokio::test]
async fn output_is_read_attempt_by_attempt() {
    let bench = Bench::new().await;
    bench.keep(job(2, 1)).await;
    for (attempt, text) in [("j17.1", "one\ntwo\n"), ("j17.2", "three\nfour\n")] {
        append(&bench, (attempt, 0), (0, false), text.as_bytes()).await.unwrap();
    }
    let read = |request| read(&bench, request);
    let all = v1::LogsRequest::default();
    assert_eq!(read(all.clone()).await.unwrap(), "three\nfour\n", "the newest attempt");
    let first = v1::LogsRequest { attempt: 1, tail: 1, follow: true, ..all.clone() };
    assert_eq!(read(first).await.unwrap(), "two\n");
    for follow in [false, true] {
        let every = v1::LogsRequest { all_attempts: true, follow, ..all.clone() };
        assert_eq!(read(every).await.unwrap(), "one\ntwo\nthree\nfour\n", "and it ends");
    }
    let missing = v1::LogsRequest { attempt: 3, ..all };
    assert_eq!(read(missing).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn who_comes_back_goes_on_at_the_byte() {
    let bench = Bench::new().await;
    bench.keep(job(2, 1)).await;
    for (attempt, text) in [("j17.1", "one\ntwo\n"), ("j17.2", "three\nfour\n")] {
        append(&bench, (attempt, 0), (0, false), text.as_bytes()).await.unwrap();
    }
    let read = |request| read(&bench, request);
    let all = v1::LogsRequest::default();
    for (offset, rest) in [(0, "one\ntwo\n"), (2, "e\ntwo\n"), (7, "\n"), (8, ""), (1_000, "")] {
        let from = v1::LogsRequest { attempt: 1, offset, ..all.clone() };
        assert_eq!(read(from).await.unwrap(), rest, "{offset}");
    }
    let at = |attempt, offset| v1::LogPosition { attempt, rank: 0, offset };
    for follow in [false, true] {
        let resume = vec![at(1, 6)];
        let back = v1::LogsRequest { resume, follow, tail: 1, ..all.clone() };
        assert_eq!(read(back).await.unwrap(), "o\nfour\n", "what was not met has a tail");
    }
    let resume = vec![at(1, 8), at(2, 6)];
    let back = v1::LogsRequest { resume, all_attempts: true, ..all.clone() };
    let [chunk] = chunks(&bench, back).await.unwrap().try_into().unwrap();
    assert_eq!(
        (chunk.attempt.as_str(), chunk.offset, chunk.data),
        ("j17.2", 6, b"four\n".to_vec())
    );
    for (bad, field) in [
        (v1::LogsRequest { offset: 1, ..all.clone() }, "offset"),
        (v1::LogsRequest { offset: 1, attempt: 1, tail: 1, ..all.clone() }, "offset"),
        (v1::LogsRequest { resume: vec![at(3, 0)], ..all.clone() }, "resume"),
        (v1::LogsRequest { resume: vec![at(0, 0)], ..all.clone() }, "resume"),
        (v1::LogsRequest { attempt: 1, all_attempts: true, ..all.clone() }, "attempt"),
    ] {
        assert_eq!(read(bad).await.unwrap_err().field(), field);
    }
    let nobody = v1::LogsRequest { rank: Some(1), ..all };
    assert_eq!(read(nobody).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn ranks_of_a_gang_keep_their_lines_whole() {
    let bench = Bench::new().await;
    bench.keep(job(1, 2)).await;
    let long = "y".repeat(200_000);
    append(&bench, ("j17.1", 0), (0, false), b"a1\na2\nopen").await.unwrap();
    append(&bench, ("j17.1", 1), (0, false), format!("b1\n{long}").as_bytes()).await.unwrap();
    append(&bench, ("j17.1", 1), (200_003, false), b"yy\nb2\n").await.unwrap();
    for follow in [false, true] {
        let all = v1::LogsRequest { follow, ..v1::LogsRequest::default() };
        let text = read(&bench, all.clone()).await.unwrap();
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        let long = format!("{long}yy");
        assert_eq!(lines, ["a1", "a2", "b1", "b2", "open", &long], "follow: {follow}");
        let one = v1::LogsRequest { rank: Some(0), ..all };
        assert_eq!(read(&bench, one).await.unwrap(), "a1\na2\nopen", "as it was written");
    }
}

#[tokio::test]
async fn what_was_not_kept_is_said() {
    let bench = Bench::new().await;
    bench.keep(job(1, 1)).await;
    append(&bench, ("j17.1", 0), (0, false), b"first\nha").await.unwrap();
    append(&bench, ("j17.1", 0), (1_000, true), b"lf\nlast\n").await.unwrap();
    let all = v1::LogsRequest::default();
    let said: Vec<_> = chunks(&bench, all.clone()).await.unwrap();
    let said: Vec<_> = said.iter().map(|it| (it.offset, it.missing, it.data.as_slice())).collect();
    assert_eq!(said, [(0, 0, &b"first\n"[..]), (6, 997, b""), (1_003, 0, b"last\n")]);
    let text = read(&bench, all).await.unwrap();
    assert!(text.starts_with("first\n[spotwise: 997 bytes of output are missing here"), "{text}");
    assert!(text.ends_with("kept]\nlast\n"), "{text}");
}

#[tokio::test]
async fn a_follower_that_is_sent_away_is_told_so() {
    let bench = Bench::new().await;
    let mut live = job(1, 1);
    let attempt = "j17.1".parse().unwrap();
    live.state = spotwise_model::JobState::Active { since: live.submitted, attempt };
    bench.keep(live).await;
    append(&bench, ("j17.1", 0), (0, false), b"one\n").await.unwrap();
    let follow = v1::LogsRequest { job: "j17".into(), follow: true, ..v1::LogsRequest::default() };
    let mut reader = bench.service.logs(follow).await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap().data, b"one\n");
    bench.shutdown.cancel();
    assert_eq!(reader.next().await.unwrap_err().kind(), Kind::Unavailable);
}
