//! The demo, as `make demo` runs it. A test of its own program, so that nothing
//! else runs beside it: its jobs share two CPUs in real time.

#![allow(clippy::print_stdout, reason = "a test reports its figures")]

use spotwise_tests::{spotwise, text, workspace};

/// Whether its deadlines are met depends on how fast this machine is: the demo
/// says so itself, and no test asserts it. Everything else must hold anywhere.
#[test]
fn the_demo_ends_with_every_job_done_and_every_dollar_accounted_for() {
    let output = spotwise().arg("demo").current_dir(workspace()).output().expect("it runs");
    let report = text(&output);
    println!("{report}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(report.contains("16 of 16 jobs succeeded"), "a job did not succeed");
    assert!(report.contains("attempts = models = teams = total, to the micro-dollar"));
    let survived = report.lines().find(|line| line.contains(" survived, "));
    let survived = survived.and_then(|line| line.trim().split(' ').next()?.parse::<u32>().ok());
    assert!(survived.is_some_and(|interruptions| interruptions >= 2), "{survived:?} interruptions");
    assert!(report.contains(" resumed "), "nothing was resumed");
    assert!(report.contains("on-demand"), "on-demand was never needed");
}
