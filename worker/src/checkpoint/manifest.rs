//! The contents of a checkpoint. Nothing in a manifest is trusted: anyone who can write to
//! the store could have written it.
//!
//! It is JSON with a single spelling for everything, and ends with a hash of all that
//! precedes it: this holds for every format from 2 on, later ones included, which lets a
//! worker distinguish a manifest that it is too old for from a torn one. Formats 1 to 3
//! are read; see [`old`] for the first two. Decision 23 describes the third, and decision 42
//! what the fourth adds: BLAKE3, and shards that lie in an earlier checkpoint of the job.

mod hash;
mod old;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use spotwise_api::v1::Progress;
use spotwise_model::AttemptId;

pub(super) use hash::{Hash, Hasher};
use wire::Document;

use super::{CheckpointError, CheckpointId, MOST_BYTES, MOST_ENTRIES, hex};
use crate::meta::PERMISSIONS;
use crate::survey::{Kind, LONGEST_PATH, Stamp, Survey, shown, stays_inside};

/// The format written by this version.
const FORMAT: u32 = 4;

/// The one before, of the same form: SHA-256, and every shard in the checkpoint itself.
const FORMAT_3: u32 = 3;

/// The longest manifest: 100,000 entries with names of ordinary length take 30 MiB.
pub(super) const MOST_MANIFEST_BYTES: u64 = 64 * 1024 * 1024;

/// How a sealed manifest ends: around the hash of what precedes it.
const SEAL: (&str, &str) = (",\n  \"sha256\": \"", "\"\n}");

/// One entry of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// Relative to the checkpoint folder.
    pub(super) path: PathBuf,
    /// `None` if an old format did not keep it.
    pub(super) meta: Option<Meta>,
    /// What it is.
    pub(super) what: What,
}

/// What is kept in addition to the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) mode: u32,
    pub(super) modified: Stamp,
}

/// What an item is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A folder.
    Folder,
    /// A file with its own bytes.
    File(Shard),
    /// Another name of a file: its path.
    Same(PathBuf),
    /// A symbolic link.
    Link(PathBuf),
}

/// Where the bytes of a file are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    /// In a checkpoint's folder in the store.
    pub(super) number: u32,
    /// The earlier checkpoint of the same job that holds it; `None` for this one.
    pub(super) lies_in: Option<CheckpointId>,
    /// In bytes.
    pub(super) size: u64,
    /// Of its bytes.
    pub(super) hash: Hash,
    /// Zeros in it need not take space.
    pub(super) sparse: bool,
}

/// What a finished checkpoint holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    format: u32,
    attempt: AttemptId,
    sequence: u32,
    step: u64,
    total_steps: u64,
    items: Vec<Item>,
}

impl Manifest {
    /// A checkpoint of these; refused if it could not be read back.
    pub(super) fn new(
        id: CheckpointId,
        progress: &Progress,
        items: Vec<Item>,
    ) -> Result<Self, CheckpointError> {
        let manifest = Self {
            format: FORMAT,
            attempt: id.attempt,
            sequence: id.sequence,
            step: progress.step,
            total_steps: progress.total_steps,
            items,
        };
        manifest.check(id).map_err(CheckpointError::Refused)?;
        Ok(manifest)
    }

    /// Reads the manifest found in the folder of `id`.
    pub(super) fn parse(bytes: &[u8], id: CheckpointId) -> Result<Self, CheckpointError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let bad = |text: String| CheckpointError::Bad(format!("its manifest: {text}"));
        let torn = || CheckpointError::Bad("its manifest is not what was written".to_owned());
        let head: Head = serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
        if head.format != old::UNSEALED && !is_sealed(bytes) {
            return Err(torn());
        }
        let manifest = match head.format {
            old::UNSEALED | old::SEALED => old::read(bytes)?,
            FORMAT_3 | FORMAT => {
                let manifest = Self::read(bytes)?;
                // One spelling each, so that not one bit of it can change unseen.
                if manifest.to_bytes()? != bytes {
                    return Err(torn());
                }
                manifest
            }
            newer => {
                return Err(CheckpointError::TooNew { id, format: newer, newest: FORMAT });
            }
        };
        manifest.check(id).map_err(CheckpointError::Bad)?;
        Ok(manifest)
    }

    fn read(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let open = bytes.len().saturating_sub(SEAL.0.len() + 64 + SEAL.1.len());
        let mut unsealed = bytes.get(..open).unwrap_or_default().to_vec();
        unsealed.extend_from_slice(b"\n}");
        let document: Document = serde_json::from_slice(&unsealed)
            .map_err(|error| CheckpointError::Bad(format!("its manifest: {error}")))?;
        let items = document.entries.into_iter().map(Item::read).collect::<Result<_, _>>();
        Ok(Self {
            format: document.format,
            attempt: document.attempt,
            sequence: document.sequence,
            step: document.step,
            total_steps: document.total_steps,
            items: items.map_err(CheckpointError::Bad)?,
        })
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, CheckpointError> {
        let document = Document {
            format: self.format,
            attempt: self.attempt,
            sequence: self.sequence,
            step: self.step,
            total_steps: self.total_steps,
            entries: self.items.iter().map(Item::line).collect(),
        };
        let refused = |text: String| CheckpointError::Refused(text);
        let mut bytes =
            serde_json::to_vec_pretty(&document).map_err(|error| refused(error.to_string()))?;
        let seal = hex(&Sha256::digest(&bytes));
        bytes.truncate(bytes.len() - "\n}".len());
        for part in [SEAL.0, &seal, SEAL.1] {
            bytes.extend_from_slice(part.as_bytes());
        }
        if bytes.len() as u64 > MOST_MANIFEST_BYTES {
            return Err(refused(format!(
                "the names of its {} files take {} bytes in the manifest, more than \
                 {MOST_MANIFEST_BYTES}",
                self.items.len(),
                bytes.len()
            )));
        }
        Ok(bytes)
    }

    pub(super) const fn id(&self) -> CheckpointId {
        CheckpointId { attempt: self.attempt, sequence: self.sequence }
    }

    /// A folder comes before what is in it.
    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }

    /// The files with their own bytes.
    pub(super) fn shards(&self) -> impl Iterator<Item = (&Item, &Shard)> {
        self.items.iter().filter_map(|item| match &item.what {
            What::File(shard) => Some((item, shard)),
            What::Folder | What::Same(_) | What::Link(_) => None,
        })
    }

    /// The checkpoint that holds a shard of this one.
    pub(super) fn place_of(&self, shard: &Shard) -> CheckpointId {
        shard.lies_in.unwrap_or_else(|| self.id())
    }

    /// The numbers of all shards, by the checkpoints that hold them.
    pub(super) fn places(&self) -> BTreeMap<CheckpointId, BTreeSet<u32>> {
        let mut places: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (_, shard) in self.shards() {
            places.entry(self.place_of(shard)).or_default().insert(shard.number);
        }
        places
    }

    /// How far the command was.
    pub(super) fn progress(&self) -> Progress {
        Progress { step: self.step, total_steps: self.total_steps, ..Progress::default() }
    }

    /// Size of all shards.
    pub(super) fn bytes(&self) -> u64 {
        self.shards().map(|(_, shard)| shard.size).sum()
    }

    fn check(&self, id: CheckpointId) -> Result<(), String> {
        if self.id() != id {
            return Err(format!("its manifest is that of {}", self.id()));
        }
        if self.items.len() > MOST_ENTRIES || self.shards().next().is_none() {
            return Err(format!("{} entries, not 1 to {MOST_ENTRIES}", self.items.len()));
        }
        let mut total = 0_u64;
        let mut paths = BTreeMap::new();
        let mut numbers = BTreeSet::new();
        for item in &self.items {
            item.check()?;
            if let What::File(shard) = &item.what {
                total = total
                    .checked_add(shard.size)
                    .filter(|total| *total <= MOST_BYTES)
                    .ok_or_else(|| format!("its files are larger than {MOST_BYTES} bytes"))?;
                let in_range = (shard.number as usize) < MOST_ENTRIES;
                if !in_range || !numbers.insert((shard.lies_in, shard.number)) {
                    return Err(format!("shard {} is none of its own", shard.number));
                }
                self.check_place(item, shard)?;
            }
            if paths.insert(item.path.as_path(), &item.what).is_some() {
                return Err(format!("{} twice", shown(&item.path)));
            }
        }
        self.check_tree(&paths)
    }

    /// An earlier checkpoint of the job, and only in a format that has such.
    fn check_place(&self, item: &Item, shard: &Shard) -> Result<(), String> {
        let earlier = |at: CheckpointId| {
            at < self.id() && at.attempt.job == self.attempt.job && at.sequence > 0
        };
        let known = match shard.hash {
            Hash::Sha256(_) => true,
            Hash::Blake3(_) => self.format >= FORMAT,
        };
        let placed = shard.lies_in.is_none_or(|at| self.format >= FORMAT && earlier(at));
        if known && placed {
            Ok(())
        } else {
            Err(format!("the bytes of {} are not where its format has them", shown(&item.path)))
        }
    }

    fn check_tree(&self, paths: &BTreeMap<&Path, &What>) -> Result<(), String> {
        for item in &self.items {
            let above = item.path.ancestors().skip(1).filter_map(|up| paths.get(up));
            if above.clone().any(|up| **up != What::Folder) {
                return Err(format!("{} lies in what is no folder", shown(&item.path)));
            }
            if let What::Same(file) = &item.what
                && !matches!(paths.get(file.as_path()), Some(What::File(_)))
            {
                return Err(format!("{} is the name of no file", shown(&item.path)));
            }
        }
        Ok(())
    }
}

impl Item {
    /// The entries of a manifest. A file with several names has its bytes once.
    pub(super) fn all(
        survey: &Survey,
        shards: &BTreeMap<(u64, u64), Shard>,
    ) -> Result<Vec<Self>, CheckpointError> {
        let mut first: BTreeMap<(u64, u64), &Path> = BTreeMap::new();
        let mut items = Vec::with_capacity(survey.entries.len());
        for entry in &survey.entries {
            let mode = entry.mode & PERMISSIONS;
            let what = match &entry.kind {
                Kind::Folder => What::Folder,
                Kind::Link(to) => What::Link(to.clone()),
                Kind::File(file) => match first.get(&file.identity) {
                    Some(path) => What::Same(path.to_path_buf()),
                    None => {
                        first.insert(file.identity, &entry.path);
                        let shard = shards.get(&file.identity).cloned();
                        What::File(shard.ok_or(CheckpointError::Unstable)?)
                    }
                },
            };
            let meta = match what {
                What::Same(_) => None,
                What::Link(_) => Some(Meta { mode: 0, modified: entry.modified }),
                What::Folder | What::File(_) => Some(Meta { mode, modified: entry.modified }),
            };
            items.push(Self { path: entry.path.clone(), meta, what });
        }
        Ok(items)
    }

    fn check(&self) -> Result<(), String> {
        check_path(&self.path)?;
        let odd = |meta: Meta| {
            meta.mode > PERMISSIONS || !(0..1_000_000_000).contains(&meta.modified.nanos)
        };
        if self.meta.is_some_and(odd) {
            return Err(format!("mode or time of {} is none", shown(&self.path)));
        }
        match &self.what {
            What::File(shard) => {
                if !shard.hash.is_hexadecimal() {
                    return Err(format!("the hash of {} is none", shown(&self.path)));
                }
            }
            What::Link(to) => {
                let bytes = to.as_os_str().as_bytes();
                let parent = self.path.parent().unwrap_or(Path::new(""));
                if bytes.is_empty()
                    || bytes.len() > 4095
                    || bytes.contains(&0)
                    || !stays_inside(parent, to)
                {
                    return Err(format!("the link {} leads out", shown(&self.path)));
                }
            }
            What::Folder | What::Same(_) => {}
        }
        Ok(())
    }
}

/// Whether the hash at the end matches what precedes it.
fn is_sealed(bytes: &[u8]) -> bool {
    let open = bytes.len().saturating_sub(SEAL.0.len() + 64 + SEAL.1.len());
    let (body, end) = bytes.split_at(open);
    let mut hash = Sha256::new();
    hash.update(body);
    hash.update(b"\n}");
    end == [SEAL.0, &hex(&hash.finalize()), SEAL.1].concat().as_bytes()
}

/// Plain names only, so that nothing is ever written outside the folder.
fn check_path(path: &Path) -> Result<(), String> {
    let bytes = path.as_os_str().as_bytes();
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    // 255 bytes: NAME_MAX, so that no name can fail a restore.
    let tidy = bytes
        .split(|byte| *byte == b'/')
        .all(|part| !matches!(part, b"" | b"." | b"..") && part.len() <= 255);
    if plain && tidy && bytes.len() <= LONGEST_PATH && !bytes.contains(&0) {
        Ok(())
    } else {
        Err(format!("{} is no path of a file", shown(path)))
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
