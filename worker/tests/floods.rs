//! Output of any size and kind: the worker stays small, the command never waits.

#![allow(clippy::print_stdout)] // Figures, and what was skipped and why.

mod support;

use std::fs;

use support::{Bench, Worker, eventually};

/// What a worker may take at most, whatever its command prints.
const MOST_MEMORY: u64 = 64 << 20;

/// The command is through with its output, and waits for the end of the test.
async fn printed(bench: &Bench, worker: &Worker) {
    eventually("all is printed", || worker.folder.join("work/printed").exists()).await;
    let peak = worker.peak_memory();
    println!("peak memory: {} MiB", peak >> 20);
    assert!(peak < MOST_MEMORY, "{peak}");
    assert!(bench.exits().is_empty());
}

fn script(output: &str) -> String {
    format!("{output}; : > printed; while [ ! -e go ]; do sleep 0.05; done; echo end >&2")
}

#[tokio::test]
async fn log_flood_of_1_gb_is_bounded_and_does_not_block_the_command() {
    let flood = "yes 0123456789012345678901234567890 | head -c 1000000000; echo";
    let bench = Bench::new(&script(flood)).await;
    let mut worker = bench.worker("j17.1");
    bench.until("the start", |it| it.reports.iter().any(|it| it.started.is_some())).await;
    // Nobody takes the output, and the command prints on all the same.
    bench.fake.with(|it| it.away = true);
    printed(&bench, &worker).await;
    bench.fake.with(|it| it.away = false);
    fs::write(worker.folder.join("work/go"), "").unwrap();
    worker.ended().await;
    assert_eq!(bench.exit().code, 0);
    let (log, lost) = (bench.log(), bench.fake.with(|it| it.lost));
    let head = 8 << 20;
    let line = "0123456789012345678901234567890\n";
    assert!(log.starts_with(&line.repeat(head / line.len())), "the beginning");
    // A billion bytes are whole lines.
    assert!(log.ends_with(&format!("{line}\nend\n")), "the end: {:?}", &log[log.len() - 50..]);
    assert_eq!(log.len() as u64 + lost, 1_000_000_005, "and it is known what is missing");
    assert!(log.len() >= 16 << 20 && log.len() < 64 << 20, "{}", log.len());
    assert!(bench.fake.with(|it| it.largest_chunk) <= 256 * 1024);
}

#[tokio::test]
async fn log_flood_in_one_line_of_10_mb_arrives_in_one_line() {
    let bench = Bench::new(&script("head -c 10000000 /dev/zero | tr '\\0' x")).await;
    let mut worker = bench.worker("j17.1");
    printed(&bench, &worker).await;
    fs::write(worker.folder.join("work/go"), "").unwrap();
    worker.ended().await;
    let log = bench.log();
    assert_eq!(log.matches('x').count(), 10_000_000);
    assert!(log.ends_with("xend\n") && log.lines().count() == 1, "the line stays whole");
}

#[tokio::test]
async fn log_flood_of_bytes_that_are_no_text_arrives_as_it_is() {
    let bench = Bench::new(&script("head -c 1000000 /dev/urandom | tee bytes")).await;
    let mut worker = bench.worker("j17.1");
    printed(&bench, &worker).await;
    fs::write(worker.folder.join("work/go"), "").unwrap();
    worker.ended().await;
    let mut expected = fs::read(worker.folder.join("work/bytes")).unwrap();
    expected.extend(b"end\n");
    assert!(std::str::from_utf8(&expected).is_err());
    assert!(bench.fake.with(|it| it.log == expected), "every byte, and none more");
}
