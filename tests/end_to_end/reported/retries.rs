//! Attempts that bring nothing new wait ever longer, and are not made for ever.

use std::time::Duration;

use super::endings::{STAYS, on, until};

const LIMIT: Duration = Duration::from_secs(180);

fn job(name: &str, script: &str) -> String {
    format!(
        "name: {name}\ndeadline: 40h\nwork: {{duration: 30m}}\n\
         resources: {{cpus: 0.1, memory: 32MB}}\nretries: {{errors: 0}}\n\
         checkpoint: {{interval: 1h, grace: 1s}}\ncommand: [sh, -c, '{script}']\n"
    )
}

/// Exit code 75 at once; the same with a checkpoint that is only touched; and with steps
/// that never rise. Beside them one that asks nine times and gets on each time.
#[test]
fn a_job_that_asks_to_be_run_again_and_saves_nothing_new_is_given_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = on(folder.path(), STAYS, &[]);
    let says = "echo \"{\\\"step\\\":$n,\\\"total\\\":9}\" >> $SPOTWISE_PROGRESS_FILE";
    let save = "echo $n > $SPOTWISE_CHECKPOINT_DIR/n; sleep 0.1";
    let stuck = [
        ("at-once", "exit 75".to_owned()),
        ("touches", "date +%N > $SPOTWISE_CHECKPOINT_DIR/t; exit 75".to_owned()),
        ("same-step", format!("n=5; {says}; date +%N > $SPOTWISE_CHECKPOINT_DIR/t; exit 75")),
    ];
    let count = "n=$(cat $SPOTWISE_CHECKPOINT_DIR/n 2>/dev/null || echo 0); n=$((n+1))";
    let gets_on = format!("{count}; {says}; {save}; [ $n -ge 9 ] && exit 0; exit 75");
    let gets_on =
        scheduler.submit(&job("gets-on", &gets_on), "gets-on").expect("accepted").remove(0);
    let mut ids = Vec::new();
    for (name, script) in &stuck {
        ids.extend(scheduler.submit(&job(name, script), name).expect("accepted"));
    }
    until(|| {
        let detail = scheduler.job(&ids[0]).ok()?["job"]["detail"].as_str()?.to_owned();
        (detail.contains("waits until") && detail.contains("saved nothing new")).then_some(())
    });
    let states = scheduler.wait_for_all(LIMIT).expect("all end");
    for id in &ids {
        let job = scheduler.job(id).expect("it is there");
        assert_eq!(states[id], "failed", "{job}");
        let attempts = job["job"]["attempts"].as_u64().unwrap_or(0);
        assert!((6..=7).contains(&attempts), "{attempts}: {job}");
        let detail = job["job"]["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("save a checkpoint"), "it says what to do: {detail}");
    }
    let job = scheduler.job(&gets_on).expect("it is there");
    assert_eq!(states[&gets_on], "succeeded", "{job}");
    assert_eq!(job["job"]["attempts"], 9, "{job}");
}
