//! Checkpoints keep what a file system has, and come about although a file is
//! written all the time.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use spotwise_tests::{Scheduler, spotwise, text, workers};

const LIMIT: Duration = Duration::from_secs(120);
const ARGUMENTS: [&str; 6] = ["--market", "synthetic", "--speed", "60", "--notice-lead", "5s"];

fn document(name: &str, script: &str) -> String {
    let script = script.replace('\'', "''").replace('\n', " ");
    format!(
        "name: {name}\ndeadline: 20h\nwork: {{duration: 2h}}\n\
         checkpoint: {{interval: 30s, grace: 1s}}\n\
         resources: {{cpus: 0.1, memory: 32MB}}\ncommand: [sh, -c, '{script}']\n"
    )
}

fn cli(scheduler: &Scheduler, arguments: &[&str]) -> String {
    let output =
        spotwise().args(arguments).args(["--server", &scheduler.url]).output().expect("it runs");
    text(&output)
}

#[test]
fn links_modes_and_order_by_time_survive_an_interruption() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let script = "cd $SPOTWISE_CHECKPOINT_DIR; if [ -z \"$SPOTWISE_RESUME_FROM\" ]; then
        mkdir -p step-9 step-10 empty; echo 9 > step-9/n; echo 10 > step-10/n;
        echo \"echo it runs\" > run.sh; chmod 755 run.sh; ln -s step-10 latest;
        ln -s $PWD/step-9 before; touch -d 2020-01-02T00:00:00.000000002 step-10/n;
        touch -d 2020-01-02T00:00:00.000000003 step-9/n; mkfifo pipe; exit 75; fi;
        echo latest $(cat latest/n), before $(cat before/n); ./run.sh; [ -d empty ] && echo empty;
        echo newest $(ls -t step-9/n step-10/n | head -1); ls -l --time-style=+%Y step-9/n";
    let ids = scheduler.submit(&document("keeps", script), "one").expect("accepted");
    let states = scheduler.wait_for_all(LIMIT).expect("it ends");
    assert_eq!(states[&ids[0]], "succeeded");
    let log = cli(&scheduler, &["logs", &ids[0]]);
    for line in
        ["latest 10, before 9\n", "it runs\n", "empty\n", "newest step-9/n\n", " 2020 step-9/n\n"]
    {
        assert!(log.contains(line), "{line:?} is not in {log}");
    }
    let events = scheduler.job(&ids[0]).expect("there")["events"].to_string();
    assert!(events.contains("left out of checkpoints: \\\"pipe\\\" (a named pipe)"), "{events}");
}

/// Weights that are renamed into place, and a log beside them that never rests. Its
/// worker is killed: what it had saved counts.
#[test]
fn a_growing_file_does_not_keep_the_rest_from_being_saved() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &ARGUMENTS).expect("it starts");
    let script = "cd $SPOTWISE_CHECKPOINT_DIR; n=$(cat weights 2>/dev/null || echo 0);
        echo from $n with $(wc -l < events.log 2>/dev/null || echo 0) lines;
        [ $n -ge 10 ] && exit 0;
        while true; do i=0; while [ $i -lt 15 ]; do i=$((i+1)); echo line >> events.log;
        sleep 0.03; done; n=$((n+1)); echo $n > .tmp-weights; mv .tmp-weights weights;
        echo \"{\\\"step\\\":$n}\" >> $SPOTWISE_PROGRESS_FILE; done";
    let ids = scheduler.submit(&document("grows", script), "one").expect("accepted");
    let begun = Instant::now();
    let events = || scheduler.job(&ids[0]).expect("there")["events"].to_string();
    // Steps from 10 on are reached when its log has not rested for seconds.
    while !(events().contains("is written all the time")
        && (10..60).any(|step| events().contains(&format!("at step {step}, "))))
    {
        assert!(begun.elapsed() < LIMIT, "{}", events());
        std::thread::sleep(Duration::from_millis(100));
    }
    for (pid, _) in workers(folder.path()) {
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it runs");
    }
    let states = scheduler.wait_for_all(LIMIT).expect("it ends");
    assert_eq!(states[&ids[0]], "succeeded", "{}", events());
    let log = cli(&scheduler, &["logs", &ids[0]]);
    let lines = log.split_whitespace().nth(3).and_then(|lines| lines.parse::<u32>().ok());
    assert!(lines.is_some_and(|lines| lines > 100), "the log came along: {log}");
    let explained = cli(&scheduler, &["explain", &ids[0]]);
    let explained = explained.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(explained.contains("\"events.log\" is written all the time"), "{explained}");
}
