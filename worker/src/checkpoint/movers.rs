//! Which files of a folder are written all the time, such as logs and state files, and
//! which are only being written at the moment.
//!
//! A checkpoint waits for what is being written: half of it is worth nothing. It does not
//! wait indefinitely: a file that has been written continuously for [`MOVES_AFTER`] is a
//! **mover**, and a checkpoint is made around it. Large files that grow fast, as weights do
//! while they are being saved, get [`GROWS_FOR`]. No clock and no files here: looks are
//! passed in, with their times.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::survey::{Stamp, Survey};

/// A file that changes in place continuously for this long is a mover.
const MOVES_AFTER: Duration = Duration::from_secs(5);

/// The same for a file that grows faster than [`FAST`].
const GROWS_FOR: Duration = Duration::from_secs(60);

/// Bytes per second: more than a log grows by, less than a disk can write.
const FAST: u64 = 1 << 20;

/// A file that was still for this long has paused.
const PAUSE: Duration = Duration::from_secs(4);

/// How a mover is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// At its end: existing contents stay as they are.
    Growing,
    /// Anywhere.
    Rewritten,
}

/// What has happened since the previous look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// Files written in place that are not movers.
    pub(super) being_written: Vec<PathBuf>,
    /// Something appeared, disappeared, or was replaced.
    pub(super) arrivals: bool,
    /// Anything at all.
    pub(super) any: bool,
}

/// All files of a folder, as observed so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Movers {
    seen: BTreeMap<PathBuf, Track>,
    /// Entries that are not files, and the names of all.
    last: Survey,
}

#[derive(Clone, Debug)]
struct Track {
    identity: (u64, u64),
    born: Stamp,
    size: u64,
    modified: Stamp,
    at: Instant,
    moving: Option<Moving>,
}

/// A continuous period of changes in place.
#[derive(Clone, Copy, Debug)]
struct Moving {
    since: Instant,
    last: Instant,
    first_size: u64,
    manner: Manner,
}

impl Movers {
    /// Processes a look.
    pub(super) fn look(&mut self, survey: &Survey, now: Instant) -> Change {
        let mut change = Change {
            arrivals: self.last.entries.len() != survey.entries.len(),
            any: !self.last.is_still(survey),
            ..Change::default()
        };
        let mut seen = BTreeMap::new();
        for (entry, file) in survey.files() {
            let mut track = Track {
                identity: file.identity,
                born: file.born,
                size: file.size,
                modified: entry.modified,
                at: now,
                moving: None,
            };
            match self.seen.get(&entry.path) {
                Some(before) if (before.identity, before.born) == (track.identity, track.born) => {
                    track.moving = before.moved(&track);
                    if track.moving.is_some_and(|moving| moving.last == now)
                        && track.mover().is_none()
                    {
                        change.being_written.push(entry.path.clone());
                    }
                }
                _ => change.arrivals = true,
            }
            seen.insert(entry.path.clone(), track);
        }
        self.seen = seen;
        self.last = survey.clone();
        change
    }

    /// How a mover is written.
    #[cfg(test)]
    pub(super) fn manner(&self, path: &std::path::Path) -> Option<Manner> {
        self.seen.get(path)?.mover()
    }

    /// Every file observed being written in place, mover or not.
    pub(super) fn changed(&self) -> Vec<PathBuf> {
        let moving = self.seen.iter().filter(|(_, track)| track.moving.is_some());
        moving.map(|(path, _)| path.clone()).collect()
    }

    /// All movers.
    pub(super) fn all(&self) -> BTreeMap<PathBuf, Manner> {
        let movers = self.seen.iter();
        movers.filter_map(|(path, track)| Some((path.clone(), track.mover()?))).collect()
    }
}

impl Track {
    fn moved(&self, now: &Self) -> Option<Moving> {
        if self.size == now.size && self.modified == now.modified {
            return self.moving;
        }
        let manner = if now.size > self.size { Manner::Growing } else { Manner::Rewritten };
        Some(match self.moving {
            Some(before) if now.at.duration_since(before.last) <= PAUSE => Moving {
                last: now.at,
                manner: if before.manner == Manner::Growing { manner } else { before.manner },
                ..before
            },
            _ => Moving { since: now.at, last: now.at, first_size: self.size, manner },
        })
    }

    fn mover(&self) -> Option<Manner> {
        let moving = self.moving?;
        let lasted = moving.last.duration_since(moving.since);
        let grown = self.size.saturating_sub(moving.first_size);
        let is_fast = moving.manner == Manner::Growing
            && u128::from(grown) > u128::from(FAST) * lasted.as_millis() / 1000;
        let patience = if is_fast { GROWS_FOR } else { MOVES_AFTER };
        let paused = self.at.duration_since(moving.last) > PAUSE;
        (lasted >= patience && !paused).then_some(moving.manner)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::survey::{Entry, Facts, Kind};

    /// One file each: name, inode, size, seconds of its time.
    fn look(files: &[(&str, u64, u64, i64)]) -> Survey {
        let entry = |(path, inode, size, seconds): &(&str, u64, u64, i64)| Entry {
            path: PathBuf::from(path),
            mode: 0o644,
            modified: Stamp { seconds: *seconds, nanos: 0 },
            kind: Kind::File(Facts {
                size: *size,
                identity: (1, *inode % 100),
                born: Stamp { seconds: i64::try_from(*inode).unwrap(), nanos: 0 },
                sparse: false,
            }),
        };
        Survey { entries: files.iter().map(entry).collect(), ..Survey::default() }
    }

    fn names(change: &Change) -> Vec<&str> {
        change.being_written.iter().filter_map(|path| path.to_str()).collect()
    }

    #[test]
    fn a_log_becomes_a_mover_and_a_file_that_is_being_saved_does_not() {
        let start = Instant::now();
        let mut movers = Movers::default();
        for second in 0..30 {
            let at = start + Duration::from_secs(second);
            let steps = i64::try_from(second).unwrap();
            let files =
                [("events", 1, 100 * second, steps), ("weights", 2, second * 50_000_000, steps)];
            let change = movers.look(&look(&files), at);
            match second {
                0 => assert!(change.arrivals && change.any),
                1..=5 => assert_eq!(names(&change), ["events", "weights"], "{second}"),
                _ => assert_eq!(names(&change), ["weights"], "{second}"),
            }
        }
        assert_eq!(movers.all(), [(PathBuf::from("events"), Manner::Growing)].into());
    }

    #[test]
    fn one_that_pauses_is_none_and_one_that_shrinks_does_not_only_grow() {
        let start = Instant::now();
        let mut movers = Movers::default();
        for second in 0..10 {
            let steps = i64::try_from(second).unwrap();
            let files = [("status", 1, 100 - second, steps), ("saved", 2, 7, steps / 5 * 5)];
            movers.look(&look(&files), start + Duration::from_secs(second));
        }
        assert_eq!(movers.manner(Path::new("status")), Some(Manner::Rewritten));
        assert_eq!(movers.manner(Path::new("saved")), None);
        let change = movers.look(
            &look(&[("status", 1, 91, 9), ("saved", 2, 7, 5)]),
            start + Duration::from_secs(20),
        );
        assert_eq!(change, Change::default());
        assert_eq!(movers.manner(Path::new("status")), None, "it has paused");
    }

    #[test]
    fn what_is_renamed_into_place_has_only_arrived() {
        let start = Instant::now();
        let mut movers = Movers::default();
        for second in 0..20 {
            let inode = 10 + second;
            let steps = i64::try_from(second).unwrap();
            let change = movers
                .look(&look(&[("weights", inode, 5, steps)]), start + Duration::from_secs(second));
            assert_eq!((names(&change), change.arrivals), (vec![], true));
        }
    }

    /// ext4 gives the number of the file that was replaced to the next one.
    #[test]
    fn a_number_that_is_given_again_is_another_file() {
        let start = Instant::now();
        let mut movers = Movers::default();
        for second in 0..20 {
            let inode = 10 + 100 * second;
            let steps = i64::try_from(second).unwrap();
            let change = movers
                .look(&look(&[("weights", inode, 5, steps)]), start + Duration::from_secs(second));
            assert_eq!((names(&change), change.arrivals), (vec![], true));
        }
    }
}
