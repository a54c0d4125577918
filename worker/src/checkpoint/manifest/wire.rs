//! The JSON of a manifest of formats 3 and 4.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use spotwise_model::AttemptId;

use super::{CheckpointId, Hash, Item, Meta, Shard, Stamp, What, hex};

/// A path relative to the checkpoint folder: text if it is UTF-8, otherwise its
/// bytes in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Name {
    Text(String),
    Bytes { hex: String },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Line {
    Folder {
        path: Name,
        mode: u32,
        mtime: [i64; 2],
    },
    File {
        path: Name,
        mode: u32,
        mtime: [i64; 2],
        /// Of format 4: the checkpoint that holds the shard, where it is another one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checkpoint: Option<String>,
        shard: u32,
        size: u64,
        /// One of the two.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        blake3: Option<String>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        sparse: bool,
    },
    Same {
        path: Name,
        file: Name,
    },
    Link {
        path: Name,
        mtime: [i64; 2],
        to: Name,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) format: u32,
    pub(super) attempt: AttemptId,
    pub(super) sequence: u32,
    pub(super) step: u64,
    pub(super) total_steps: u64,
    pub(super) entries: Vec<Line>,
}

impl Item {
    pub(super) fn line(&self) -> Line {
        let path = Name::of(&self.path);
        let meta = self.meta.unwrap_or(Meta { mode: 0o644, modified: Stamp::default() });
        let (mode, mtime) = (meta.mode, [meta.modified.seconds, meta.modified.nanos]);
        match &self.what {
            What::Folder => Line::Folder { path, mode, mtime },
            What::File(shard) => {
                let (sha256, blake3) = match &shard.hash {
                    Hash::Sha256(digits) => (Some(digits.clone()), None),
                    Hash::Blake3(digits) => (None, Some(digits.clone())),
                };
                Line::File {
                    path,
                    mode,
                    mtime,
                    checkpoint: shard.lies_in.map(|id| id.to_string()),
                    shard: shard.number,
                    size: shard.size,
                    sha256,
                    blake3,
                    sparse: shard.sparse,
                }
            }
            What::Same(file) => Line::Same { path, file: Name::of(file) },
            What::Link(to) => Line::Link { path, mtime, to: Name::of(to) },
        }
    }

    pub(super) fn read(line: Line) -> Result<Self, String> {
        let meta = |mode, [seconds, nanos]: [i64; 2]| {
            Some(Meta { mode, modified: Stamp { seconds, nanos } })
        };
        let (path, meta, what) = match line {
            Line::Folder { path, mode, mtime } => (path, meta(mode, mtime), What::Folder),
            Line::File { path, mode, mtime, checkpoint, shard, size, sha256, blake3, sparse } => {
                let hash = match (sha256, blake3) {
                    (Some(digits), None) => Hash::Sha256(digits),
                    (None, Some(digits)) => Hash::Blake3(digits),
                    _ => return Err("a file has one hash".to_owned()),
                };
                let lies_in = checkpoint.map(|id| id.parse::<CheckpointId>()).transpose();
                let lies_in = lies_in.map_err(|error| error.to_string())?;
                let shard = Shard { number: shard, lies_in, size, hash, sparse };
                (path, meta(mode, mtime), What::File(shard))
            }
            Line::Same { path, file } => (path, None, What::Same(file.path()?)),
            Line::Link { path, mtime, to } => (path, meta(0, mtime), What::Link(to.path()?)),
        };
        Ok(Self { path: path.path()?, meta, what })
    }
}

impl Name {
    fn of(path: &Path) -> Self {
        match path.to_str() {
            Some(text) => Self::Text(text.to_owned()),
            None => Self::Bytes { hex: hex(path.as_os_str().as_bytes()) },
        }
    }

    fn path(self) -> Result<PathBuf, String> {
        let digits = match self {
            Self::Text(text) => return Ok(PathBuf::from(text)),
            Self::Bytes { hex } => hex,
        };
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(byte).collect();
        let bytes = bytes.ok_or_else(|| "a name is not in hexadecimal digits".to_owned())?;
        Ok(PathBuf::from(OsStr::from_bytes(&bytes)))
    }
}
