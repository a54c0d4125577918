//! The memory used by the command and everything below it: always measured, and limited if
//! this worker may create a control group (cgroup v2) with a memory controller.
//!
//! The peak is that of processes, not of the group: `memory.peak` counts the cache of
//! every file that was read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::resource::{UsageWho, getrusage};
use spotwise_api::v1;

use crate::process_tree;

/// The memory of one command.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    peak: AtomicU64,
    group: Option<Group>,
}

impl Memory {
    /// Measures; limits at `asked` bytes (0 for no limit) if that is possible. The group is
    /// named after the attempt.
    pub(crate) fn new(name: &str, asked: u64) -> Self {
        let group = (asked > 0).then(|| Group::make(name, asked)).flatten();
        if group.is_none() {
            tracing::debug!("memory is measured, not limited");
        }
        Self(Arc::new(Inner { peak: AtomicU64::new(0), group }))
    }

    /// The folder of the group that the command must enter.
    pub(crate) fn group(&self) -> Option<&Path> {
        self.0.group.as_ref().map(|group| group.folder.as_path())
    }

    /// Records what all processes of the command use now.
    pub(crate) fn note(&self, bytes: u64) {
        self.0.peak.fetch_max(bytes, Ordering::Relaxed);
    }

    /// What is known so far: between two samples the largest single process that has ended
    /// counts.
    pub(crate) fn measured(&self) -> v1::Memory {
        self.note(largest_ended().unwrap_or(0));
        let group = self.0.group.as_ref();
        v1::Memory {
            peak_bytes: self.0.peak.load(Ordering::Relaxed),
            limit_bytes: group.map_or(0, |group| group.limit),
            oom_kills: group.map_or(0, Group::oom_kills),
        }
    }
}

/// The maximum of children that were reaped, with all that they had reaped, in bytes. The
/// kernel starts to count before a child has become another program: a figure no larger
/// than this worker's may have been this worker's.
fn largest_ended() -> Option<u64> {
    let kib = getrusage(UsageWho::RUSAGE_CHILDREN).ok()?.max_rss();
    let bytes = u64::try_from(kib).ok()?.saturating_mul(1024);
    let own = process_tree::largest_resident_bytes(std::process::id().cast_signed());
    (bytes > own).then_some(bytes)
}

/// A control group of our own.
#[derive(Debug)]
struct Group {
    folder: PathBuf,
    limit: u64,
}

impl Group {
    /// Below our own group, or next to it: a group that has processes of its own delegates
    /// no controllers.
    fn make(name: &str, limit: u64) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = own_group(&mounts, &own)?;
        let above = own.parent().filter(|_| own != mount_point(&mounts).unwrap_or_default());
        [Some(own.as_path()), above].into_iter().flatten().find_map(|parent| {
            let made = Self::make_in(parent, name, limit);
            made.inspect_err(|error| tracing::debug!(%error, ?parent, "no control group")).ok()
        })
    }

    fn make_in(parent: &Path, name: &str, limit: u64) -> io::Result<Self> {
        let handed_down = fs::read_to_string(parent.join("cgroup.subtree_control"))?;
        if !handed_down.split_whitespace().any(|controller| controller == "memory") {
            return Err(io::Error::other("no memory controller is handed down"));
        }
        let folder = parent.join(format!("spotwise-{name}"));
        fs::create_dir(&folder)?;
        let group = Self { folder, limit };
        fs::write(group.folder.join("memory.max"), limit.to_string())?;
        // Swapping would hide it; all of it goes, or nothing. Older kernels know neither.
        let _ = fs::write(group.folder.join("memory.swap.max"), "0");
        let _ = fs::write(group.folder.join("memory.oom.group"), "1");
        Ok(group)
    }

    fn oom_kills(&self) -> u32 {
        let events = fs::read_to_string(self.folder.join("memory.events")).unwrap_or_default();
        count_of(&events, "oom_kill")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What is still in it is being killed; an empty group costs nothing.
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Where cgroup v2 is mounted.
fn mount_point(mountinfo: &str) -> Option<PathBuf> {
    let of_v2 =
        |line: &&str| line.split_once(" - ").is_some_and(|(_, kind)| kind.starts_with("cgroup2 "));
    let line = mountinfo.lines().find(of_v2)?;
    line.split_whitespace().nth(4).map(PathBuf::from)
}

/// The folder of our own group.
fn own_group(mountinfo: &str, cgroup: &str) -> Option<PathBuf> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(mount_point(mountinfo)?.join(path))
}

/// `name N` in lines of counters.
fn count_of(counters: &str, name: &str) -> u32 {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    counters.lines().find_map(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "24 1 0:22 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        25 1 0:23 / /sys/fs/cgroup/unified rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";

    #[test]
    fn our_own_group_is_found_in_both_layouts() {
        let own = own_group(MOUNTS, "4:memory:/a\n0::/user.slice/run.scope\n").unwrap();
        assert_eq!(own, Path::new("/sys/fs/cgroup/unified/user.slice/run.scope"));
        assert_eq!(own_group(MOUNTS, "4:memory:/a\n"), None, "cgroup v1 alone");
        assert_eq!(own_group("24 1 0:22 / /x rw - tmpfs t rw\n", "0::/\n"), None);
    }

    #[test]
    fn a_group_needs_a_controller_and_counts_what_the_kernel_killed() {
        let dir = tempfile::tempdir().unwrap();
        let control = dir.path().join("cgroup.subtree_control");
        fs::write(&control, "cpu pids\n").unwrap();
        assert!(Group::make_in(dir.path(), "j1.1-0", 1 << 20).is_err());
        assert!(!dir.path().join("spotwise-j1.1-0").exists(), "nothing is left");
        fs::write(&control, "cpu memory\n").unwrap();
        let group = Group::make_in(dir.path(), "j1.1-0", 1 << 20).unwrap();
        let read = |name: &str| fs::read_to_string(group.folder.join(name)).unwrap();
        assert_eq!((read("memory.max"), read("memory.oom.group")), ("1048576".into(), "1".into()));
        assert_eq!(group.oom_kills(), 0);
        fs::write(group.folder.join("memory.events"), "low 0\noom 3\noom_kill 2\n").unwrap();
        assert_eq!(group.oom_kills(), 2);
    }

    #[test]
    fn the_peak_stays() {
        let memory = Memory::default();
        memory.note(7 << 40);
        memory.note(5);
        assert_eq!(memory.measured().peak_bytes, 7 << 40);
    }
}
