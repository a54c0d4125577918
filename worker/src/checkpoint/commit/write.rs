//! What is sent to the store for one checkpoint, and whether it was still valid at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use spotwise_api::v1::Progress;

use super::super::freeze::{self, Held, SMALL, leave_out};
use super::super::manifest::{Item, Manifest, Shard};
use super::super::movers::Manner;
use super::super::store::shard_path;
use super::super::upload::{hash_of, upload};
use super::super::{CheckpointError, CheckpointId};
use super::{Committer, Cut};
use crate::meta::PERMISSIONS;
use crate::survey::{Facts, Survey, several, shown};

/// A try that took less time than this costs nothing.
const QUICK: Duration = Duration::from_millis(200);

impl Committer {
    /// Shards first, the manifest last, and only if nothing changed meanwhile that should
    /// not have.
    pub(super) async fn write(
        &mut self,
        id: CheckpointId,
        cut: Cut,
        progress: &Progress,
    ) -> Result<(Manifest, Survey), CheckpointError> {
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
                self.store.remove_shard(id, shard.number).await?;
            }
        }
        let manifest = Manifest::new(id, progress, Item::all(&survey, &shards)?)?;
        self.check_fence().await?;
        self.store.finish(&manifest).await?;
        Ok((manifest, survey))
    }

    /// Sends each file once, however many names it has.
    async fn upload(
        &mut self,
        id: CheckpointId,
        survey: &Survey,
        sources: &BTreeMap<PathBuf, Held>,
    ) -> Result<BTreeMap<(u64, u64), Shard>, CheckpointError> {
        let mut shards = BTreeMap::new();
        let mut bare = Vec::new();
        for (entry, file) in survey.files() {
            if shards.contains_key(&file.identity) {
                continue;
            }
            let number = u32::try_from(shards.len()).unwrap_or(u32::MAX);
            let target = shard_path(id, number);
            let lies = self.folder.join(&entry.path);
            let path = sources.get(&entry.path).map_or(lies, |held| held.path.clone());
            let sent = upload(&self.store, &target, path, *file).await?;
            if !sent.attributes.is_empty() {
                let names = sent.attributes.join(", ");
                bare.push(format!("extended attributes ({names}) of {}", shown(&entry.path)));
            }
            if entry.mode & !PERMISSIONS != 0 {
                bare.push(format!("mode {:04o} of {}", entry.mode, shown(&entry.path)));
            }
            let Facts { size, sparse, .. } = *file;
            shards.insert(file.identity, Shard { number, size, sha256: sent.sha256, sparse });
        }
        if !bare.is_empty() {
            let all = several(&bare);
            self.remark(format!(
                "checkpoints keep names, bytes, permissions and times, but not {all}"
            ));
        }
        Ok(shards)
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
            let sent = shards.get(&file.identity).map(|shard| shard.sha256.as_str());
            let path = source.path.clone();
            let grown = match hash_of(path, *file).await {
                Ok(now) => Some(now.as_str()) == sent,
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
