//! Who gets a signal when a job has to stop, and with which signals it starts.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::endings::{STAYS, on, until};
use spotwise_tests::{Scheduler, free_port, programs, spotwise, text};

const LIMIT: Duration = Duration::from_secs(120);

fn log(scheduler: &Scheduler, job: &str) -> String {
    let mut cli = spotwise();
    text(&cli.args(["logs", job, "--server", &scheduler.url]).output().expect("it runs"))
}

fn cancel(scheduler: &Scheduler, job: &str) {
    let mut cli = spotwise();
    cli.args(["cancel", job, "--yes", "--server", &scheduler.url]);
    assert!(cli.output().expect("it runs").status.success());
}

/// A trainer with a data loader beside it: the default tells both, `main` the trainer
/// alone; in the end nothing is left in either case.
#[test]
fn data_loaders_live_until_the_trainer_has_saved_where_the_job_asks_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = on(folder.path(), STAYS, &[]);
    let script = "sh -c \"trap \\\"echo loader told; exit\\\" TERM; while :; do sleep 0.1; done\" & \
        l=$!; trap \"sleep 0.5; kill -0 $l && echo loader lives; exit 75\" TERM; echo up; \
        while :; do sleep 0.1; done";
    let mut ids = Vec::new();
    for (key, signal) in [("1", ""), ("2", ", signal: group"), ("3", ", signal: main")] {
        let document = format!(
            "name: trainer\ndeadline: 40h\nwork: {{duration: 30m}}\n\
             resources: {{cpus: 0.1, memory: 32MB}}\ncheckpoint: {{grace: 20s{signal}}}\n\
             command: [sh, -c, '{script}']\n"
        );
        ids.extend(scheduler.submit(&document, key).expect("accepted"));
    }
    for id in &ids {
        until(|| log(&scheduler, id).contains("up").then_some(()));
        cancel(&scheduler, id);
    }
    scheduler.wait_for_all(LIMIT).expect("all end");
    let logs: Vec<String> = ids.iter().map(|id| log(&scheduler, id)).collect();
    for told in &logs[..2] {
        assert!(told.contains("loader told") && !told.contains("loader lives"), "{told}");
    }
    assert!(logs[2].contains("loader lives") && !logs[2].contains("loader told"), "{}", logs[2]);
    let bad = "name: x\ncheckpoint: {signal: all}\ncommand: [x]\n";
    let refused = scheduler.submit(bad, "bad").expect_err("not a choice").to_string();
    assert!(refused.contains("checkpoint.signal") && refused.contains("main"), "{refused}");
}

/// A scheduler under `nohup`, in the background of a shell, or below something that
/// blocks signals: its jobs start with none ignored and none blocked.
#[test]
fn jobs_do_not_inherit_what_the_scheduler_ignores_or_blocks() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port().expect("a port");
    let listen = format!("127.0.0.1:{port}");
    let child = Command::new("env")
        .args(["--ignore-signal=HUP,INT,QUIT,USR1,PIPE,TSTP", "--block-signal=USR2,ALRM"])
        .arg(programs().join("spotwise"))
        .args(["serve", "--market", "synthetic", "--listen", &listen, "--data-dir"])
        .arg(folder.path())
        .env("XDG_CONFIG_HOME", spotwise_tests::config_folder())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.expect("env is there");
    let mut scheduler = Scheduler::on_port(port, folder.path(), &[]);
    scheduler.wait_for("/readyz", LIMIT).expect("it answers");
    let document = "name: looks\ndeadline: 5h\nwork: {duration: 1m}\n\
        resources: {cpus: 0.1, memory: 32MB}\n\
        command: [grep, -E, \"^Sig(Blk|Ign)\", /proc/self/status]\n";
    let id = scheduler.submit(document, "looks").expect("accepted").remove(0);
    let states = scheduler.wait_for_all(LIMIT).expect("it ends");
    let seen = log(&scheduler, &id);
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert_eq!(states[&id], "succeeded", "{seen}");
    let masks: Vec<u64> = seen
        .lines()
        .filter_map(|line| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok())
        .collect();
    // Signals 32 and 33 belong to the C library, which lets nobody else set them.
    let others = |mask: u64| mask & !(0b11 << 31);
    assert_eq!(masks.iter().copied().map(others).collect::<Vec<_>>(), [0, 0], "{seen}");
}
