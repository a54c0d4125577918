//! The hidden mode between fork and exec: ties the command's life to the worker's, which
//! only the child itself can do, gives it a fresh set of signals, enters its control group,
//! then becomes the command.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::getppid;
use tokio::signal::unix::{SignalKind, signal};

/// Highest number of a signal.
const LAST_SIGNAL: i32 = 64;

/// Becomes `command`; returns only if that fails, with the code a shell would return: 127
/// for a command that does not exist, 126 for one that cannot be run.
pub(crate) fn become_command(parent: i32, group: Option<&Path>, command: &[OsString]) -> ExitCode {
    let Some((program, arguments)) = command.split_first() else {
        return ExitCode::from(126);
    };
    if let Err(error) = prctl::set_pdeathsig(Signal::SIGKILL) {
        tracing::error!(%error, "the command cannot be tied to its worker");
        return ExitCode::from(126);
    }
    // The worker may have died before the line above.
    if getppid().as_raw() != parent {
        return ExitCode::from(137);
    }
    if let Some(group) = group
        && let Err(error) = std::fs::write(group.join("cgroup.procs"), "0")
    {
        complain(&format!("[spotwise: its memory is not limited: {error}]"));
    }
    let handled = handle_ignored();
    receive_all();
    let error = Command::new(program).args(arguments).exec();
    drop(handled);
    // The command's own output is where its owner looks for this.
    complain(&format!("[spotwise: {} cannot be started: {error}]", program.display()));
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 })
}

/// Blocks no signal, whatever was blocked when the scheduler was started.
pub(crate) fn receive_all() {
    if let Err(error) = SigSet::empty().thread_set_mask() {
        tracing::warn!(%error, "signals stay blocked");
    }
}

/// A signal ignored when the scheduler was started (`nohup`, a shell's `&`) is ignored by
/// everything below, unless somebody handles it: what is *handled* becomes the default
/// again when the command takes over. SIGPIPE, which Rust ignores, is reset by the standard
/// library.
fn handle_ignored() -> Option<tokio::runtime::Runtime> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut ignored = ignored(&status).filter(|it| *it != Signal::SIGPIPE as i32).peekable();
    ignored.peek()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let entered = runtime.enter();
    for number in ignored {
        // Some, such as SIGSEGV, cannot be handled; they are not ignored either.
        let _ = signal(SignalKind::from_raw(number));
    }
    drop(entered);
    Some(runtime)
}

/// The numbers in `SigIgn` of a process.
fn ignored(status: &str) -> impl Iterator<Item = i32> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    (1..=LAST_SIGNAL).filter(move |number| mask >> (number - 1) & 1 == 1)
}

fn complain(line: &str) {
    use io::Write;
    // There is no one left to tell if standard error cannot be written.
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        let of = |status: &str| ignored(status).collect::<Vec<_>>();
        assert_eq!(of("Name:\tx\nSigIgn:\t0000000000001003\nSigCgt:\t0\n"), [1, 2, 13]);
        assert_eq!(of("SigIgn:\t8000000000000000\n"), [64]);
        assert_eq!(of("Name:\tx\n"), [] as [i32; 0]);
    }
}
