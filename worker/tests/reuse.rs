//! A worker goes on with the next element of its array: one process, and nothing of the
//! element before.

mod support;

use spotwise_api::v1::TakeNextResponse;
use support::{Bench, TOKEN, is_alive, read};

fn next(attempt: &str) -> TakeNextResponse {
    TakeNextResponse {
        attempt: attempt.to_owned(),
        token: TOKEN.to_owned(),
        ..TakeNextResponse::default()
    }
}

const ASK_AGAIN: TakeNextResponse =
    TakeNextResponse { attempt: String::new(), token: String::new(), ask_again: true };

/// What each attempt leaves: who its worker is, what was there before it, and a process
/// that should not outlive it.
const LOOK: &str = "echo $PPID > worker; ls -A > before; pwd > where; env > env; umask > umask
    cut -d' ' -f1 /proc/self/stat > /dev/null; ls /proc/$PPID/fd | wc -l > descriptors
    sleep 300 & echo $! > child";

#[tokio::test]
async fn a_worker_goes_on_with_the_next_element_as_if_it_were_new() {
    let bench = Bench::new(LOOK).await;
    bench.change(|it| it.takes_next = true);
    bench.fake.with(|script| {
        script.next = [ASK_AGAIN, next("j18.1"), next("j19.1")].into();
    });
    let mut worker = bench.worker("j17.1");
    assert_eq!(worker.ended().await, 0);
    assert_eq!(bench.fake.with(|script| script.asked_for_more), 4);
    let attempts = ["j17.1", "j18.1", "j19.1"];
    let said = |name: &str| {
        attempts.map(|id| read(&bench.folder(id).join("work").join(name)).trim().to_owned())
    };
    let [first, second, third] = said("worker");
    assert!(!first.is_empty() && first == second && second == third, "one process");
    assert_eq!(said("before"), ["before"; 3].map(|own| format!("{own}\nworker")));
    for (id, folder) in attempts.iter().zip(said("where")) {
        assert!(folder.ends_with(&format!("{id}-0/work")), "{folder}");
    }
    assert_eq!(said("child").map(|child| is_alive(&child)), [false; 3]);
    let [first, second, third] = said("descriptors");
    assert!(first == second && second == third, "{first} {second} {third}");
    let reported: Vec<_> = bench.fake.with(|script| {
        let exits = script.reports.iter().filter(|report| report.exited.is_some());
        exits.map(|report| report.attempt.clone()).collect()
    });
    assert_eq!(reported, attempts);
    assert!(said("env").iter().all(|env| !env.contains(TOKEN)), "the token is not the command's");
}

#[tokio::test]
async fn only_a_worker_that_has_succeeded_asks_for_more_and_only_where_it_may() {
    for (script, takes_next) in [("exit 1", true), ("exit 75", true), ("exit 0", false)] {
        let bench = Bench::new(script).await;
        bench.change(|it| it.takes_next = takes_next);
        bench.fake.with(|script| script.next = [next("j18.1")].into());
        assert_eq!(bench.worker("j17.1").ended().await, 0);
        assert_eq!(bench.fake.with(|script| script.asked_for_more), 0, "{script}");
        assert!(!bench.folder("j18.1").exists(), "{script}");
    }
}

#[tokio::test]
async fn a_worker_that_waits_for_more_leaves_when_it_is_told_to() {
    let bench = Bench::new("exit 0").await;
    bench.change(|it| it.takes_next = true);
    bench.fake.with(|script| script.next = vec![ASK_AGAIN; 100_000].into());
    let mut worker = bench.worker("j17.1");
    bench.until("it asks", |script| script.asked_for_more > 3).await;
    worker.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(worker.ended().await, 0);
    assert!(bench.fake.with(|script| script.asked_for_more) < 90_000, "it did not wait to the end");
}
