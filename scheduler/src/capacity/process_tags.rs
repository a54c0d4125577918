//! Processes on this machine that carry our tag in their environment, and everything below
//! them.

use std::collections::BTreeMap;
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use spotwise_model::AttemptId;

/// The tag of an installation.
pub(super) const INSTALL: &str = "SPOTWISE_INSTALL";
/// The attempt that a process works for.
pub(super) const ATTEMPT: &str = "SPOTWISE_ATTEMPT_ID";
/// The node of the attempt.
pub(super) const RANK: &str = "SPOTWISE_RANK";

/// One process with our tag, or below one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaggedProcess {
    pub(super) pid: i32,
    pub(super) attempt: AttemptId,
    pub(super) rank: u32,
    /// Whether it carries the tag itself, and is not only below one that does.
    tagged: bool,
    /// Clock ticks since boot: together with the pid it identifies one process for good.
    born: u64,
}

/// Every live process of the installation, except this one.
pub(super) fn find(install: &str) -> Vec<TaggedProcess> {
    let own = std::process::id().cast_signed();
    let living = pids().filter(|pid| *pid != own).filter_map(|pid| {
        let Stat { parent, born, .. } = stat(pid).filter(|stat| !stat.zombie)?;
        Some(LiveProcess { pid, parent, born, tag: tag_of(pid, install) })
    });
    ours(living)
}

/// A process, and its tag if it is the installation's.
struct LiveProcess {
    pid: i32,
    parent: i32,
    born: u64,
    tag: Option<(AttemptId, u32)>,
}

/// Whatever is below a tagged process is ours even if it has lost its environment.
fn ours(living: impl Iterator<Item = LiveProcess>) -> Vec<TaggedProcess> {
    let mut found: BTreeMap<i32, TaggedProcess> = BTreeMap::new();
    let mut children: BTreeMap<i32, Vec<(i32, u64)>> = BTreeMap::new();
    for LiveProcess { pid, parent, born, tag } in living {
        children.entry(parent).or_default().push((pid, born));
        if let Some((attempt, rank)) = tag {
            found.insert(pid, TaggedProcess { pid, attempt, rank, tagged: true, born });
        }
    }
    let mut open: Vec<TaggedProcess> = found.values().copied().collect();
    while let Some(parent) = open.pop() {
        for (pid, born) in children.remove(&parent.pid).unwrap_or_default() {
            let child =
                *found.entry(pid).or_insert(TaggedProcess { pid, born, tagged: false, ..parent });
            open.push(child);
        }
    }
    found.into_values().collect()
}

impl TaggedProcess {
    /// SIGKILL, if it is still the same process and works for the same attempt: a worker that
    /// goes on with another one changes its tag, and neither its pid nor its birth.
    pub(super) fn kill(&self, install: &str) -> bool {
        let same = stat(self.pid).is_some_and(|stat| stat.born == self.born && !stat.zombie);
        let tag = || tag_of(self.pid, install) == Some((self.attempt, self.rank));
        same && (!self.tagged || tag()) && kill(Pid::from_raw(self.pid), Signal::SIGKILL).is_ok()
    }
}

fn tag_of(pid: i32, install: &str) -> Option<(AttemptId, u32)> {
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

/// `pid (name) state ppid ...`; the name may hold anything, so the relevant part begins
/// after the last bracket. See proc_pid_stat(5).
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
    use proptest::prelude::*;

    use super::*;

    /// What an environment says of its tag: each of the three values as text,
    /// if it is there, among whatever else.
    fn environments() -> impl Strategy<Value = ([Option<&'static str>; 3], Vec<u8>)> {
        let pick =
            |of: &'static [&'static str]| prop::option::weighted(0.9, prop::sample::select(of));
        let values = (
            pick(&["here", "here", "here", "here2", "her", "Here", "there", "", " here", "here "]),
            pick(&["j1.2", "j1.2", "j7.1", "j1", "k1.2", "", "j1.2x", "j-1.2"]),
            pick(&["0", "3", "3", "", "-1", "x", "99999999999"]),
        );
        let noise: &[&[u8]] = &[
            b"PATH=/bin",
            b"XSPOTWISE_INSTALL=here",
            b"SPOTWISE_INSTALLED=here",
            b"A=SPOTWISE_INSTALL=here",
            b"SPOTWISE_INSTALL",
            b"SPOTWISE_RANK_=1",
            b"B=\xff\xfe",
            b"",
        ];
        let noise = prop::sample::subsequence(noise, 0..=noise.len());
        (values, noise).prop_flat_map(|((install, attempt, rank), noise)| {
            let told = [install, attempt, rank];
            let named = [INSTALL, ATTEMPT, RANK].into_iter().zip(told);
            let mut entries: Vec<Vec<u8>> = noise.iter().map(|entry| entry.to_vec()).collect();
            entries.extend(
                named.filter_map(|(name, value)| Some(format!("{name}={}", value?).into_bytes())),
            );
            let entries = Just(entries).prop_shuffle();
            entries.prop_map(move |entries| (told, entries.join(&0)))
        })
    }

    /// The attempt and rank of a whole tag of `here`, told without parsing.
    fn expected(told: [Option<&str>; 3]) -> Option<(AttemptId, u32)> {
        let [Some("here"), Some(attempt @ ("j1.2" | "j7.1")), Some(rank @ ("0" | "3"))] = told
        else {
            return None;
        };
        Some((attempt.parse().unwrap(), if rank == "3" { 3 } else { 0 }))
    }

    /// More where `PROPTEST_CASES` says so.
    fn cases() -> ProptestConfig {
        ProptestConfig::with_cases(ProptestConfig::default().cases.max(10_000))
    }

    proptest! {
        #![proptest_config(cases())]

        /// Random process trees of this and other installations: found is what has
        /// a whole tag of ours or lies below such a process, and nothing else.
        #[test]
        fn reaper_foreign(tree in prop::collection::vec((environments(), 0usize..64), 1..12)) {
            // The parent of each is an earlier one, or init.
            let parents: Vec<usize> =
                tree.iter().enumerate().map(|(index, (_, any))| any % (index + 1)).collect();
            let living = tree.iter().zip(&parents).zip(1..).map(|(((env, _), parent), number)| {
                let (pid, parent) = (number + 100, i32::try_from(*parent).unwrap() + 100);
                LiveProcess { pid, parent, born: 7, tag: parse(&env.1, "here") }
            });
            let found: BTreeMap<i32, (AttemptId, u32)> =
                ours(living).into_iter().map(|it| (it.pid, (it.attempt, it.rank))).collect();
            let mut nearest: Vec<Option<(AttemptId, u32)>> = vec![None];
            for ((env, _), parent) in tree.iter().zip(&parents) {
                nearest.push(expected(env.0).or(nearest[*parent]));
            }
            let wanted: BTreeMap<i32, (AttemptId, u32)> =
                (100..).zip(nearest).filter_map(|(pid, tag)| Some((pid, tag?))).collect();
            prop_assert_eq!(found, wanted);
        }
    }

    /// A worker that goes on with the next attempt is found while it has the tag of the one
    /// before, and told by pid and birth it is the same process then.
    #[test]
    fn what_works_for_another_attempt_by_now_is_not_killed() {
        let install = format!("tags-{}", std::process::id());
        let mut child = std::process::Command::new("bash")
            .args(["-c", "read; SPOTWISE_ATTEMPT_ID=j2.1 exec sleep 600"])
            .envs([(INSTALL, install.as_str()), (ATTEMPT, "j1.1"), (RANK, "0")])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let tagged = |attempt: &str| {
            let attempt: AttemptId = attempt.parse().unwrap();
            let begun = std::time::Instant::now();
            while begun.elapsed() < std::time::Duration::from_secs(60) {
                let mut found = find(&install).into_iter();
                if let Some(process) = found.find(|process| process.attempt == attempt) {
                    return process;
                }
            }
            panic!("no process of {attempt}");
        };
        let before = tagged("j1.1");
        drop(child.stdin.take());
        let now = tagged("j2.1");
        assert_eq!((now.pid, now.born), (before.pid, before.born));
        assert!(!before.kill(&install), "it is another attempt's");
        assert!(child.try_wait().unwrap().is_none());
        assert!(now.kill(&install));
        child.wait().unwrap();
    }

    #[test]
    fn only_the_whole_mark_counts() {
        let tag = |text: &str| parse(text.replace(' ', "\0").as_bytes(), "here");
        let whole = "A=1 SPOTWISE_INSTALL=here SPOTWISE_ATTEMPT_ID=j1.2 SPOTWISE_RANK=3 ";
        assert_eq!(tag(whole), Some(("j1.2".parse().unwrap(), 3)));
        for other in [
            "",
            "SPOTWISE_INSTALL=there SPOTWISE_ATTEMPT_ID=j1.2 SPOTWISE_RANK=0",
            "SPOTWISE_INSTALL=here2 SPOTWISE_ATTEMPT_ID=j1.2 SPOTWISE_RANK=0",
            "XSPOTWISE_INSTALL=here SPOTWISE_ATTEMPT_ID=j1.2 SPOTWISE_RANK=0",
            "SPOTWISE_INSTALL=here SPOTWISE_ATTEMPT_ID=j1 SPOTWISE_RANK=0",
            "SPOTWISE_INSTALL=here SPOTWISE_ATTEMPT_ID=j1.2",
        ] {
            assert_eq!(tag(other), None, "{other}");
        }
        assert_eq!(
            parse(b"SPOTWISE_INSTALL=\0SPOTWISE_ATTEMPT_ID=j1.2\0SPOTWISE_RANK=0", ""),
            None
        );
    }
}
