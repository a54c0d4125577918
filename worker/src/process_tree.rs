//! The processes below this one, as shown by `/proc`. The worker is a subreaper, so
//! whatever the command starts stays below it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// One process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// Its id.
    pub(crate) pid: i32,
    /// Its parent's.
    pub(crate) parent: i32,
    /// That of its process group.
    pub(crate) group: i32,
    /// Ended, and only waiting to be reaped.
    pub(crate) zombie: bool,
    /// User and system time, in ticks of 10 ms.
    pub(crate) ticks: u64,
}

/// Every process below `root`, zombies included.
pub(crate) fn descendants(root: i32) -> Vec<Process> {
    let mut children: BTreeMap<i32, Vec<Process>> = BTreeMap::new();
    for process in pids().filter_map(read) {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = Vec::new();
    let mut seen = BTreeSet::from([root]);
    let mut open = vec![root];
    while let Some(parent) = open.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            if seen.insert(child.pid) {
                open.push(child.pid);
                found.push(child);
            }
        }
    }
    found
}

/// Memory of a process in bytes, with shared memory counted in part; 0 if it is gone.
/// Forked processes share most of what they have.
pub(crate) fn resident_bytes(pid: i32) -> u64 {
    let of = |file: &str, name: &str| kib_of(&format!("/proc/{pid}/{file}"), name);
    of("smaps_rollup", "Pss:").or_else(|| of("status", "VmRSS:")).unwrap_or(0)
}

/// The most resident memory that a process has ever had, in bytes.
pub(crate) fn largest_resident_bytes(pid: i32) -> u64 {
    kib_of(&format!("/proc/{pid}/status"), "VmHWM:").unwrap_or(0)
}

/// A line `name N kB` of a file, in bytes.
fn kib_of(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib.saturating_mul(1024))
}

/// Kills what an earlier worker of this folder left behind: the processes that were started
/// with exactly this progress file. Returns how many.
pub(crate) fn kill_left_behind(progress_file: &Path) -> usize {
    let mut mark = b"SPOTWISE_PROGRESS_FILE=".to_vec();
    mark.extend_from_slice(progress_file.as_os_str().as_bytes());
    let own = std::process::id().cast_signed();
    let marked = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == mark)
    };
    let left = pids().filter(|pid| *pid != own).filter(marked);
    left.filter(|pid| kill(Pid::from_raw(*pid), Signal::SIGKILL).is_ok()).count()
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn read(pid: i32) -> Option<Process> {
    parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// `pid (name) state ppid ...`; the name may hold anything, so the relevant part begins
/// after the last bracket. See proc_pid_stat(5).
fn parse(pid: i32, stat: &str) -> Option<Process> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    let state = *fields.first()?;
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        zombie: matches!(state, "Z" | "X"),
        ticks: number(11)?.saturating_add(number(12)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_confuse() {
        let stat = "42 (a) Z 9 (b) S 7 42 42 0 -1 4194304 10 0 0 0 250 50 0 0 20 0 1 0 5 0 0";
        let expected = Process { pid: 42, parent: 7, group: 42, zombie: false, ticks: 300 };
        assert_eq!(parse(42, stat), Some(expected));
        assert_eq!(parse(42, "42 (x) Z"), None);
    }

    #[test]
    fn a_child_is_found_below_its_parent() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let own = std::process::id().cast_signed();
        let found = descendants(own).iter().any(|it| it.pid == child.id().cast_signed());
        assert!(resident_bytes(own) > 0);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found);
    }
}
