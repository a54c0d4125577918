//! The JSON of a manifest of format 3.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use spotwise_model::AttemptId;

use super::{Item, Meta, Shard, Stamp, What, hex};

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
        shard: u32,
        size: u64,
        sha256: String,
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
            What::File(Shard { number, size, sha256, sparse }) => Line::File {
                path,
                mode,
                mtime,
                shard: *number,
                size: *size,
                sha256: sha256.clone(),
                sparse: *sparse,
            },
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
            Line::File { path, mode, mtime, shard, size, sha256, sparse } => {
                let shard = Shard { number: shard, size, sha256, sparse };
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
