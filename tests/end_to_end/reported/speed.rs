//! Short tasks do not wait for the planner, and who has nothing to do does nothing.
//! By counts of what was done, not by the clock: it says nothing on a busy machine.

use std::time::Duration;

use spotwise_tests::Scheduler;

const LIMIT: Duration = Duration::from_secs(300);

/// What the scheduler says it has done.
fn counts(scheduler: &Scheduler) -> (u64, u64, u64) {
    let answer = scheduler.call("GET", "/info", None).expect("an answer");
    let info = answer.json().expect("JSON");
    let count = |name: &str| {
        let value = &info[name];
        let text = value.as_str().and_then(|text| text.parse().ok());
        value.as_u64().or(text).unwrap_or_else(|| panic!("{name} in {info}"))
    };
    (count("looks"), count("plans"), count("filled"))
}

/// Red before: every wave of four waited for a plan of its own.
#[test]
fn short_tasks_go_as_places_come_free_and_not_with_each_plan() {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = ["--market", "synthetic", "--cpus", "4", "--memory", "8GB"];
    let scheduler = Scheduler::start(folder.path(), &arguments).expect("it starts");
    let document = "name: short\nclass: inference\ndeadline: 12h\nwork: {duration: 1s}\n\
        resources: {cpus: 1, memory: 16MB}\narray: {size: 80}\ncommand: ['true']\n";
    let ids = scheduler.submit(document, "short").expect("accepted");
    let states = scheduler.wait_for_all(LIMIT).expect("they end");
    assert!(ids.iter().all(|id| states[id] == "succeeded"), "{states:?}");
    let (_, plans, filled) = counts(&scheduler);
    println!("80 tasks on 4 places: {filled} placed between plans, {plans} plans");
    assert!(filled >= 40, "{filled} of 80 were placed as places came free, {plans} plans");
}

/// Red before: ten looks a second, for ever.
#[test]
fn a_scheduler_without_jobs_does_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let scheduler = Scheduler::start(folder.path(), &["--market", "synthetic"]).expect("it starts");
    let document = "name: short\nwork: {duration: 1s}\nresources: {cpus: 0.1, memory: 16MB}\n\
        command: ['true']\n";
    for time in ["before any job", "after a job"] {
        // What has just happened is looked at once more.
        std::thread::sleep(Duration::from_secs(2));
        let (before, plans, _) = counts(&scheduler);
        std::thread::sleep(Duration::from_secs(5));
        let (after, plans_after, _) = counts(&scheduler);
        // The question itself, a change of the market now and then, and the reaper's.
        println!("{} looks in 5 s {time}", after - before);
        assert!(after - before <= 10, "{} looks in 5 s {time}", after - before);
        assert_eq!(plans, plans_after, "there is nothing to plan {time}");
        scheduler.submit(document, "one").expect("accepted");
        scheduler.wait_for_all(LIMIT).expect("it ends");
    }
}
