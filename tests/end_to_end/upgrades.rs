//! Another build of the scheduler takes over a database and the jobs that run.
//! `SPOTWISE_TEST_PREVIOUS` names the `spotwise` program of the build before.

use std::path::{Path, PathBuf};
use std::time::Duration;

use spotwise_test_postgres::shared;
use spotwise_tests::{Scheduler, free_port};

use crate::outages::{LIMIT, MARKET, lives, until, writing};

const JOBS: usize = 50;
/// Of these so many end while no scheduler is there.
const MEANWHILE: usize = 5;

#[test]
fn upgrade_running_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("spotwise.db").display().to_string();
    upgrade_running(folder.path(), &database);
}

#[test]
fn upgrade_running_on_postgresql() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = shared().database();
    upgrade_running(folder.path(), &database.url());
}

fn upgrade_running(folder: &Path, database: &str) {
    let previous = std::env::var_os("SPOTWISE_TEST_PREVIOUS").map(PathBuf::from);
    let told = previous.as_ref().map_or("the same build".to_owned(), |p| p.display().to_string());
    let log = folder.join("lines");
    let ends = [folder.join("end-meanwhile"), folder.join("end")];
    let arguments = [&["--database", database][..], &MARKET].concat();
    let mut scheduler = Scheduler::on_port(free_port().expect("a port"), folder, &arguments);
    scheduler.set_program(previous);
    scheduler.restart().expect("the previous build starts");
    for n in 0..JOBS {
        let end = &ends[usize::from(n >= MEANWHILE)];
        scheduler
            .submit(&writing(&format!("job-{n}"), &log, end), &format!("job-{n}"))
            .expect("accepted");
    }
    until("all run", || lives(&log).len() == JOBS);
    until("all are known to run", || {
        scheduler.states().is_ok_and(|s| s.values().all(|s| s == "active"))
    });
    scheduler.end().expect("it ends by itself");
    std::fs::write(&ends[0], "").expect("a file");
    std::thread::sleep(Duration::from_secs(3));

    scheduler.set_program(None);
    scheduler.restart().expect("this build starts");
    let states = scheduler.states().expect("a list");
    assert_eq!(states.len(), JOBS, "lost in between: {states:?}");
    until("what ended meanwhile is known", || {
        scheduler
            .states()
            .is_ok_and(|s| s.values().filter(|s| *s == "succeeded").count() == MEANWHILE)
    });
    std::fs::write(&ends[1], "").expect("a file");
    let states = scheduler.wait_for_all(LIMIT).expect("all end");
    assert_eq!(states.len(), JOBS);
    assert!(states.values().all(|state| state == "succeeded"), "{states:?}");
    assert_eq!(lives(&log).len(), JOBS, "none was started again");
    for id in states.keys() {
        let job = scheduler.job(id).expect("a job");
        assert_eq!(job["attempts"].as_array().map(Vec::len), Some(1), "{job}");
    }
    let unread = scheduler.log().matches("could not be read").count();
    assert_eq!(unread, 0, "documents of the build before: {}", scheduler.log());
    println!(
        "from {told} to this build with {JOBS} running jobs, {MEANWHILE} of which ended in between: \
         0 restarted, 0 lost"
    );
}
