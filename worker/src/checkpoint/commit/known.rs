//! Shards that are in the store already. A file that looks as it did is hashed again, which
//! is a read and no upload: its looks alone do not prove that its bytes are the same (a
//! program that writes through a mapping changes no time for a while).

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::CheckpointId;
use super::super::manifest::Shard;
use crate::survey::{Facts, Stamp, Survey};

/// By device and inode.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownShards(BTreeMap<(u64, u64), Known>);

#[derive(Clone, Debug)]
struct Known {
    file: Facts,
    modified: Stamp,
    shard: Shard,
}

impl KnownShards {
    /// Those of the files that a restore has just placed.
    pub(super) fn restored(placed: &Survey, shards: &BTreeMap<PathBuf, Shard>) -> Self {
        let known = placed.files().filter_map(|(entry, file)| {
            let shard = shards.get(&entry.path).filter(|shard| shard.size == file.size)?;
            Some((
                file.identity,
                Known { file: *file, modified: entry.modified, shard: shard.clone() },
            ))
        });
        Self(known.collect())
    }

    /// Those of a checkpoint that was committed.
    pub(super) fn committed(
        id: CheckpointId,
        survey: &Survey,
        shards: &BTreeMap<(u64, u64), Shard>,
    ) -> Self {
        let known = survey.files().filter_map(|(entry, file)| {
            let mut shard = shards.get(&file.identity)?.clone();
            shard.lies_in.get_or_insert(id);
            Some((file.identity, Known { file: *file, modified: entry.modified, shard }))
        });
        Self(known.collect())
    }

    /// The shard that this file was, if it looks as it did. Empty ones are not worth it.
    pub(super) fn of(&self, file: &Facts, modified: Stamp) -> Option<&Shard> {
        let known = self.0.get(&file.identity)?;
        (known.file == *file && known.modified == modified && file.size > 0).then_some(&known.shard)
    }
}
