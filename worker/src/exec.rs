//! The hidden mode between fork and command: ties the command's life to the
//! worker's, which only the child itself can do, then becomes the command.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::getppid;

/// Becomes `command`; returns only where that fails, with the code a shell
/// would return: 127 for a command that is not there, 126 for one that cannot
/// be run.
pub(crate) fn become_command(parent: i32, command: &[OsString]) -> ExitCode {
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
    let error = Command::new(program).args(arguments).exec();
    // The command's own output is where its owner looks for this.
    complain(&format!("[spotwise: {} cannot be started: {error}]", program.display()));
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 })
}

fn complain(line: &str) {
    use io::Write;
    // Nobody is left to hear of a standard error that cannot be written.
    let _ = writeln!(io::stderr(), "{line}");
}
