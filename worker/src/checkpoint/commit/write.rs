//! What is sent to the store for one checkpoint, and whether it was still valid at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::stream::{self, StreamExt, TryStreamExt};
use spotwise_api::v1::Progress;
use tokio::sync::Semaphore;

use super::super::freeze::{self, Held, SMALL, leave_out};
use super::super::manifest::{Item, Manifest, Shard};
use super::super::movers::Manner;
use super::super::store::shard_path;
use super::super::upload::{PIECES_AT_ONCE, SHARDS_AT_ONCE, Sent, hash_of, upload};
use super::super::{CheckpointError, CheckpointId};
use super::known::KnownShards;
use super::{Committer, Cut};
use crate::meta::PERMISSIONS;
use crate::survey::{Entry, Facts, Stamp, Survey, several, shown};

/// A try that took less time than this costs nothing.
const QUICK: Duration = Duration::from_millis(200);

impl Committer {
    /// Shards first, the manifest last, and only if nothing changed meanwhile that should
    /// not have. Returns the bytes that were sent, too.
    pub(super) async fn write(
        &mut self,
        id: CheckpointId,
        cut: Cut,
        progress: &Progress,
    ) -> Result<(Manifest, Survey, u64), CheckpointError> {
        let Cut { mut survey, sources, movers } = cut;
        let begun = Instant::now();
        self.swapped = false;
        let mut shards = self.upload(id, &survey, &sources).await?;
        if sources.is_empty() {
            let after = self.look().await?;
            if !after.is_still(&survey) {
                self.movers.look(&survey, Instant::now());
                let change = self.movers.look(&after, Instant::now());
                self.swapped = change.being_written.is_empty() && begun.elapsed() < QUICK;
                return Err(CheckpointError::Unstable);
            }
        } else {
            self.check_held(&mut survey, &sources, &movers, &shards).await?;
            let kept: BTreeSet<_> = survey.files().map(|(_, file)| file.identity).collect();
            for (_, shard) in shards.extract_if(.., |identity, _| !kept.contains(identity)) {
                if shard.lies_in.is_none() {
                    self.store.remove_shard(id, shard.number).await?;
                }
            }
        }
        let manifest = Manifest::new(id, progress, Item::all(&survey, &shards)?)?;
        if shards.values().any(|shard| shard.lies_in.is_some())
            && !self.store.is_whole(&manifest).await?
        {
            return Err(CheckpointError::ShardGone);
        }
        self.check_fence().await?;
        self.store.finish_own(&manifest).await?;
        self.known = KnownShards::committed(id, &survey, &shards);
        let sent = shards.values().filter(|shard| shard.lies_in.is_none());
        let sent = sent.map(|shard| shard.size).sum();
        Ok((manifest, survey, sent))
    }

    /// Sends each file once, however many names it has, and none that is there already.
    async fn upload(
        &mut self,
        id: CheckpointId,
        survey: &Survey,
        sources: &BTreeMap<PathBuf, Held>,
    ) -> Result<BTreeMap<(u64, u64), Shard>, CheckpointError> {
        let mut seen = BTreeSet::new();
        let files: Vec<_> = survey.files().filter(|(_, it)| seen.insert(it.identity)).collect();
        let room = Arc::new(Semaphore::new(PIECES_AT_ONCE));
        let this = &*self;
        let send = |(number, (entry, file)): (u32, (&Entry, &Facts))| {
            let (room, file, modified) = (Arc::clone(&room), *file, entry.modified);
            let lies = this.folder.join(&entry.path);
            let path = sources.get(&entry.path).map_or(lies, |held| held.path.clone());
            async move { this.send(id, number, path, (file, modified), &room).await }.boxed()
        };
        let sending: Vec<_> = (0_u32..).zip(files.iter().copied()).map(send).collect();
        // In the order of the files, so that the same folder makes the same manifest.
        let sending = stream::iter(sending).buffered(SHARDS_AT_ONCE);
        let sent: Vec<_> = sending.try_collect().await?;
        let mut shards = BTreeMap::new();
        let mut bare = Vec::new();
        for ((entry, file), (shard, attributes)) in files.into_iter().zip(sent) {
            if !attributes.is_empty() {
                let names = attributes.join(", ");
                bare.push(format!("extended attributes ({names}) of {}", shown(&entry.path)));
            }
            if entry.mode & !PERMISSIONS != 0 {
                bare.push(format!("mode {:04o} of {}", entry.mode, shown(&entry.path)));
            }
            shards.insert(file.identity, shard);
        }
        if !bare.is_empty() {
            let all = several(&bare);
            self.remark(format!(
                "checkpoints keep names, bytes, permissions and times, but not {all}"
            ));
        }
        Ok(shards)
    }

    /// Sends one file, unless its bytes are those of a shard that is there.
    async fn send(
        &self,
        id: CheckpointId,
        number: u32,
        path: PathBuf,
        (file, modified): (Facts, Stamp),
        room: &Arc<Semaphore>,
    ) -> Result<(Shard, Vec<String>), CheckpointError> {
        let Facts { size, sparse, .. } = file;
        if let Some(known) = self.known.of(&file, modified) {
            let Sent { hash, attributes } = hash_of(path.clone(), file, &known.hash, room).await?;
            if hash == known.hash {
                return Ok((Shard { sparse, ..known.clone() }, attributes));
            }
        }
        let target = shard_path(id, number);
        let Sent { hash, attributes } = upload(&self.store, &target, path, file, room).await?;
        Ok((Shard { number, lies_in: None, size, hash, sparse }, attributes))
    }

    /// What was held must be unchanged; a mover may have grown at its end.
    async fn check_held(
        &mut self,
        survey: &mut Survey,
        sources: &BTreeMap<PathBuf, Held>,
        movers: &BTreeMap<PathBuf, Manner>,
        shards: &BTreeMap<(u64, u64), Shard>,
    ) -> Result<(), CheckpointError> {
        let mut rewritten = Vec::new();
        for (entry, file) in survey.files() {
            let Some(source) = sources.get(&entry.path) else { continue };
            if !freeze::was_written(entry, *file, source)? {
                continue;
            }
            if !movers.contains_key(&entry.path) {
                return Err(CheckpointError::Unstable);
            }
            let Some(sent) = shards.get(&file.identity).map(|shard| &shard.hash) else { continue };
            let (path, room) = (source.path.clone(), Arc::new(Semaphore::new(1)));
            let grown = match hash_of(path, *file, sent, &room).await {
                Ok(now) => now.hash == *sent,
                // It has fewer bytes now.
                Err(CheckpointError::Unstable) => false,
                Err(error) => return Err(error),
            };
            if grown {
                self.remark(format!(
                    "{} is written all the time: a checkpoint holds it as far as it was written \
                     when the checkpoint was made",
                    shown(&entry.path)
                ));
            } else {
                rewritten.push((entry.path.clone(), file.size));
            }
        }
        for (path, size) in rewritten {
            let known = self.saved.files().any(|(entry, _)| entry.path == path);
            if known && size > SMALL {
                // The checkpoints before hold it: one without it would be worth less.
                self.remark(format!(
                    "no checkpoint can be made while {} is rewritten in place: write it under a \
                     name in .tmp- and rename it when it is whole",
                    shown(&path)
                ));
                return Err(CheckpointError::Unstable);
            }
            leave_out(survey, &path);
        }
        self.remark_left_out(survey);
        Ok(())
    }
}
