//! The command as a process: its own group, tied to this worker, reaped with
//! everything that it leaves behind.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, PipeReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, getpgrp};
use spotwise_api::v1::Told;

use crate::process_tree;

/// How long killing all descendants is attempted. Only what hangs in the kernel lives
/// longer than this.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
const KILL_INTERVAL: Duration = Duration::from_millis(5);

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// The exit code, or 128 + signal.
    pub(crate) code: i32,
    /// The signal; 0 for none.
    pub(crate) signal: i32,
}

impl Status {
    /// Ended by this signal.
    pub(crate) const fn signalled(signal: i32) -> Self {
        Self { code: 128 + signal, signal }
    }
}

/// A command that was started.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    stops: StopTo,
    told: Cell<Told>,
}

/// Which processes get SIGTERM. SIGKILL goes to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopTo {
    /// The command and all of its group.
    Group,
    /// The command alone, which ends its own.
    Main,
}

impl StopTo {
    /// By its name in the assignment.
    pub(crate) fn named(name: &str) -> Self {
        if name == "main" { Self::Main } else { Self::Group }
    }
}

/// Starts the command in its own process group, with one pipe for all output
/// (so that lines stay in order).
///
/// It is started through this very program (see [`crate::exec`]); `mode` is
/// what that program needs before a worker's options.
pub(crate) fn spawn(
    mode: &[&str],
    command: &[String],
    environment: &BTreeMap<String, OsString>,
    folder: &Path,
    stops: StopTo,
    group: Option<&Path>,
) -> io::Result<(Process, PipeReader)> {
    let (reader, writer) = io::pipe()?;
    // Not the path of the program: it may have been replaced by an update.
    let child = Command::new("/proc/self/exe")
        .arg0("spotwise-worker")
        .args(mode)
        .args(["--exec", &std::process::id().to_string()])
        .args(group.map(|group| [Path::new("--group"), group]).into_iter().flatten())
        .arg("--")
        .args(command)
        .env_clear()
        .envs(environment)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .spawn()?;
    let pid = Pid::from_raw(child.id().cast_signed());
    Ok((Process { pid, stops, told: Cell::new(Told::Nothing) }, reader))
}

impl Process {
    /// Its id, which is also its group's.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// A signal to the command alone.
    pub(crate) fn signal(&self, signal: Signal) {
        note_failure(signal, kill(self.pid, signal));
    }

    /// SIGTERM to the command's group, or to the command alone.
    pub(crate) fn terminate(&self) {
        self.tell(Told::Stop);
        match self.stops {
            StopTo::Group => note_failure(Signal::SIGTERM, killpg(self.pid, Signal::SIGTERM)),
            StopTo::Main => self.signal(Signal::SIGTERM),
        }
    }

    /// SIGKILL to the group and to every descendant that left it.
    pub(crate) fn kill(&self) {
        self.tell(Told::Stop);
        note_failure(Signal::SIGKILL, killpg(self.pid, Signal::SIGKILL));
        kill_descendants();
    }

    /// Records what the command is being told. Whatever has ended by then, reaped or not,
    /// ended by itself, and is told nothing more.
    pub(crate) fn tell(&self, told: Told) {
        if self.is_alive() {
            self.told.set(told.max(self.told.get()));
        }
    }

    /// What the command was told while it was still alive.
    pub(crate) fn told(&self) -> Told {
        self.told.get()
    }

    /// A process that waits to be reaped is not alive.
    fn is_alive(&self) -> bool {
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        matches!(waitid(Id::Pid(self.pid), look), Ok(WaitStatus::StillAlive))
    }

    /// Reaps every child that has ended, including adopted ones; returns how the command
    /// itself ended, once.
    pub(crate) fn reap(&self) -> Option<Status> {
        self.reap_all().0
    }

    /// The same, and whether no child is left, adopted ones included. Then there is no
    /// descendant either: whatever loses its parent becomes our child.
    fn reap_all(&self) -> (Option<Status>, bool) {
        let mut ended = None;
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == self.pid => {
                    ended = Some(Status { code, signal: 0 });
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == self.pid => {
                    ended = Some(Status::signalled(signal as i32));
                }
                Ok(WaitStatus::StillAlive) => return (ended, false),
                Err(Errno::ECHILD) => return (ended, true),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => {
                    tracing::warn!(%error, "ended processes cannot be reaped");
                    return (ended, false);
                }
            }
        }
    }

    /// Kills and reaps until nothing is left below this worker.
    pub(crate) async fn kill_the_rest(&self) {
        let end = Instant::now() + KILL_TIMEOUT;
        // Only the kernel knows: a list of processes that start others and end
        // is out of date before it is read.
        while !self.reap_all().1 {
            let alive = kill_descendants();
            if Instant::now() >= end {
                tracing::warn!(alive, "processes of the command do not die");
                break;
            }
            tokio::time::sleep(KILL_INTERVAL).await;
        }
    }
}

/// SIGKILL to every live descendant, and to their groups: no process can start another one
/// in its group while the group is being killed. Returns how many there were.
fn kill_descendants() -> usize {
    let own = std::process::id().cast_signed();
    let mut alive = process_tree::descendants(own);
    alive.retain(|process| !process.zombie);
    let groups: BTreeSet<i32> = alive.iter().map(|process| process.group).collect();
    // A signal to group 1 would go to everybody.
    for group in groups.into_iter().filter(|group| *group > 1 && *group != getpgrp().as_raw()) {
        note_failure(Signal::SIGKILL, killpg(Pid::from_raw(group), Signal::SIGKILL));
    }
    for process in &alive {
        note_failure(Signal::SIGKILL, kill(Pid::from_raw(process.pid), Signal::SIGKILL));
    }
    alive.len()
}

fn note_failure(signal: Signal, sent: nix::Result<()>) {
    match sent {
        // It has ended; the reaper will say so.
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => tracing::warn!(%signal, %error, "the command cannot be signalled"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A child of this test as its command.
    fn command(script: &str) -> (std::process::Child, Process) {
        let child = Command::new("sh").args(["-c", script]).process_group(0).spawn().unwrap();
        let pid = Pid::from_raw(child.id().cast_signed());
        (child, Process { pid, stops: StopTo::Group, told: Cell::new(Told::Nothing) })
    }

    /// The stop comes at the very moment of the end: a zombie has ended by itself, and a
    /// command that was reaped as well.
    #[test]
    fn who_has_ended_is_told_nothing() {
        let (mut child, process) = command("exit 0");
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        waitid(Id::Pid(process.pid), look).unwrap();
        process.terminate();
        assert_eq!(process.told(), Told::Nothing, "a zombie");
        child.wait().unwrap();
        process.tell(Told::Stop);
        assert_eq!(process.told(), Told::Nothing, "reaped");
    }

    #[test]
    fn who_lives_is_told_and_the_last_word_stays_the_strongest() {
        let (mut child, process) = command("exec sleep 60");
        process.tell(Told::Notice);
        assert_eq!(process.told(), Told::Notice);
        process.terminate();
        process.tell(Told::Notice);
        assert_eq!(process.told(), Told::Stop);
        child.wait().unwrap();
    }
}
