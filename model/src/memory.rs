//! How much memory a command has used, and whether that ended it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::outcome::{CommandEnd, Exit, Told};

const MB: u64 = 1_000_000;
const SIGKILL: i32 = 9;

/// What the processes of one command have used, together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryUse {
    /// The highest measured use, in bytes.
    pub peak_bytes: u64,
    /// The limit in force, in bytes; `None` if use was only measured.
    #[serde(default)]
    pub limit_bytes: Option<u64>,
    /// How many of its processes the kernel killed for lack of memory, if that is counted.
    #[serde(default)]
    pub oom_kills: u32,
}

impl MemoryUse {
    /// The maximum of both: a later report never lowers anything.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            peak_bytes: self.peak_bytes.max(other.peak_bytes),
            limit_bytes: other.limit_bytes.or(self.limit_bytes),
            oom_kills: self.oom_kills.max(other.oom_kills),
        }
    }
}

/// A command that failed for lack of memory, certainly or probably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    /// Whether the kernel counted the kill.
    pub certain: bool,
    /// The highest measured use, in bytes.
    pub peak_bytes: u64,
    /// What its job asked for, in bytes.
    pub asked_bytes: u64,
}

impl OutOfMemory {
    /// What the end of a command implies, given what it had `used`. It was killed by
    /// something other than us, and it was using everything it asked for or the kernel says
    /// so.
    pub fn of(end: CommandEnd, used: MemoryUse, asked_bytes: u64) -> Option<Self> {
        let counted = used.oom_kills > 0 && end.exit != Exit::Code(0);
        let killed = matches!(end.exit, Exit::Signal(SIGKILL) | Exit::Code(137));
        let whole = used.peak_bytes >= asked_bytes / 10 * 9;
        let ours = end.told == Told::Stop;
        (!ours && (counted || (killed && whole))).then_some(Self {
            certain: counted,
            peak_bytes: used.peak_bytes,
            asked_bytes,
        })
    }

    /// A request that would have sufficed, in bytes: a quarter more than it had when it was
    /// killed.
    pub const fn suggested_bytes(&self) -> u64 {
        let most =
            if self.peak_bytes > self.asked_bytes { self.peak_bytes } else { self.asked_bytes };
        let wanted = most / 4 * 5;
        let step = if wanted >= 1_000 * MB { 500 * MB } else { 50 * MB };
        wanted.div_ceil(step) * step
    }
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of memory: peak {}, asked for {}; ask for `memory: {}`",
            if self.certain { "out" } else { "probably out" },
            human(self.peak_bytes),
            human(self.asked_bytes),
            human(self.suggested_bytes()).replace(' ', "")
        )
    }
}

/// Bytes for people, in the units of a job's `memory`: `128 MB`, `1.2 GB`.
pub fn human(bytes: u64) -> String {
    if bytes < 1_000 * MB {
        return format!("{} MB", bytes.div_ceil(MB));
    }
    let tenths = bytes.div_ceil(100 * MB);
    match tenths % 10 {
        0 => format!("{} GB", tenths / 10),
        tenth => format!("{}.{tenth} GB", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::time::Now;

    fn judge(exit: Exit, told: Told, peak: u64, oom_kills: u32) -> Option<OutOfMemory> {
        let t = Timestamp::UNIX_EPOCH;
        let end = CommandEnd { at: Now { market: t, wall: t }, exit, told };
        let used = MemoryUse { peak_bytes: peak * MB, limit_bytes: None, oom_kills };
        OutOfMemory::of(end, used, 128 * MB)
    }

    #[test]
    fn a_kill_that_was_not_ours_at_the_request_is_probably_want_of_memory() {
        for exit in [Exit::Signal(9), Exit::Code(137)] {
            let words = judge(exit, Told::Nothing, 1_180, 0).unwrap().to_string();
            assert_eq!(
                words,
                "probably out of memory: peak 1.2 GB, asked for 128 MB; ask for `memory: 1.5GB`"
            );
            assert!(judge(exit, Told::Nothing, 120, 0).is_some(), "near the request");
            assert_eq!(judge(exit, Told::Nothing, 60, 0), None, "far below it");
            assert_eq!(judge(exit, Told::Stop, 1_180, 0), None, "we killed it");
        }
        for exit in [Exit::Code(1), Exit::Code(0), Exit::Signal(11)] {
            assert_eq!(judge(exit, Told::Nothing, 1_180, 0), None, "{exit:?}");
        }
    }

    #[test]
    fn what_the_kernel_has_counted_is_certain_whoever_was_killed() {
        let found = judge(Exit::Code(1), Told::Nothing, 128, 2).unwrap();
        assert!(found.to_string().starts_with("out of memory: peak 128 MB"), "{found}");
        assert_eq!(found.suggested_bytes(), 200 * MB);
        assert_eq!(judge(Exit::Code(0), Told::Nothing, 128, 2), None, "it got over it");
    }

    #[test]
    fn bytes_are_rounded_up() {
        let human = |mb: u64| super::human(mb * MB);
        assert_eq!([128, 999, 1_000, 1_101].map(human), ["128 MB", "999 MB", "1 GB", "1.2 GB"]);
    }
}
