//! Processes of this machine that carry our mark in their environment, and
//! everything below them.

use std::collections::BTreeMap;
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use spotwise_model::AttemptId;

/// The mark of an installation.
pub(super) const INSTALL: &str = "SPOTWISE_INSTALL";
/// The attempt that a process works for.
pub(super) const ATTEMPT: &str = "SPOTWISE_ATTEMPT_ID";
/// The node of the attempt.
pub(super) const RANK: &str = "SPOTWISE_RANK";

/// One process with our mark, or below one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marked {
    pub(super) pid: i32,
    pub(super) attempt: AttemptId,
    pub(super) rank: u32,
    /// Clock ticks from boot: with the pid it names one process for good.
    born: u64,
}

/// Every process of the installation that lives, this one left out. What lies
/// below a marked process is ours even if it has lost its environment.
pub(super) fn find(install: &str) -> Vec<Marked> {
    let own = std::process::id().cast_signed();
    let mut found: BTreeMap<i32, Marked> = BTreeMap::new();
    let mut children: BTreeMap<i32, Vec<(i32, u64)>> = BTreeMap::new();
    for pid in pids().filter(|pid| *pid != own) {
        let Some(stat) = stat(pid).filter(|stat| !stat.zombie) else { continue };
        children.entry(stat.parent).or_default().push((pid, stat.born));
        if let Some((attempt, rank)) = mark_of(pid, install) {
            found.insert(pid, Marked { pid, attempt, rank, born: stat.born });
        }
    }
    let mut open: Vec<Marked> = found.values().copied().collect();
    while let Some(parent) = open.pop() {
        for (pid, born) in children.remove(&parent.pid).unwrap_or_default() {
            let child = *found.entry(pid).or_insert(Marked { pid, born, ..parent });
            open.push(child);
        }
    }
    found.into_values().collect()
}

impl Marked {
    /// SIGKILL, if it still is the same process.
    pub(super) fn kill(&self) -> bool {
        let same = stat(self.pid).is_some_and(|stat| stat.born == self.born && !stat.zombie);
        same && kill(Pid::from_raw(self.pid), Signal::SIGKILL).is_ok()
    }
}

fn mark_of(pid: i32, install: &str) -> Option<(AttemptId, u32)> {
    // Not readable where it is someone else's: then it is not ours.
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    parse(&environment, install)
}

fn parse(environment: &[u8], install: &str) -> Option<(AttemptId, u32)> {
    let value = |name: &str| {
        environment.split(|byte| *byte == 0).find_map(|entry| {
            let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            std::str::from_utf8(value).ok()
        })
    };
    if install.is_empty() || value(INSTALL)? != install {
        return None;
    }
    Some((value(ATTEMPT)?.parse().ok()?, value(RANK)?.parse().ok()?))
}

struct Stat {
    parent: i32,
    zombie: bool,
    born: u64,
}

/// `pid (name) state ppid ...`; the name may hold anything, so what counts
/// begins after the last bracket. See proc_pid_stat(5).
fn stat(pid: i32) -> Option<Stat> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    Some(Stat {
        zombie: matches!(*fields.first()?, "Z" | "X"),
        parent: fields.get(1)?.parse().ok()?,
        born: fields.get(19)?.parse().ok()?,
    })
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_mark_counts() {
        let mark = |text: &str| parse(text.replace(' ', "\0").as_bytes(), "here");
        let whole = "A=1 SPOTWISE_INSTALL=here SPOTWISE_ATTEMPT_ID=j1.2 SPOTWISE_RANK=3 ";
        assert_eq!(mark(whole), Some(("j1.2".parse().unwrap(), 3)));
        for other in [
            "",
            "SPOTWISE_INSTALL=there SPOTWISE_ATTEMPT_ID=j1.2 SPOTWISE_RANK=0",
            "SPOTWISE_INSTALL=here2 SPOTWISE_ATTEMPT_ID=j1.2 SPOTWISE_RANK=0",
            "XSPOTWISE_INSTALL=here SPOTWISE_ATTEMPT_ID=j1.2 SPOTWISE_RANK=0",
            "SPOTWISE_INSTALL=here SPOTWISE_ATTEMPT_ID=j1 SPOTWISE_RANK=0",
            "SPOTWISE_INSTALL=here SPOTWISE_ATTEMPT_ID=j1.2",
        ] {
            assert_eq!(mark(other), None, "{other}");
        }
        assert_eq!(
            parse(b"SPOTWISE_INSTALL=\0SPOTWISE_ATTEMPT_ID=j1.2\0SPOTWISE_RANK=0", ""),
            None
        );
    }
}
