//! Kinds of fault that users of other schedulers report, each tried on ours with
//! the real binaries. A file a kind.

use spotwise_tests::{Scheduler, spotwise};

mod checkpoints;
mod contract;
mod dependencies;
mod endings;
mod logs;
mod memory;
mod money;
mod names;
mod outputs;
mod quotes;
mod retries;
mod room;
mod scripts;
mod signals;
mod speed;
mod ways_back;

/// What a command of `spotwise` printed, to standard output and error, and its exit
/// code.
fn cli(scheduler: &Scheduler, arguments: &[&str]) -> (String, String, Option<i32>) {
    let output =
        spotwise().args(arguments).args(["--server", &scheduler.url]).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}
