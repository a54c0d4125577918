//! The earlier formats: plain files only, each with its shard at the same index, and
//! neither modes nor times. Read, so that a job survives an update.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use spotwise_model::AttemptId;

use super::{CheckpointError, Hash, Item, Manifest, Shard, What};

/// Without a hash of itself.
pub(super) const UNSEALED: u32 = 1;

/// With it.
pub(super) const SEALED: u32 = 2;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    attempt: AttemptId,
    sequence: u32,
    step: u64,
    total_steps: u64,
    files: Vec<File>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    path: String,
    size: u64,
    sha256: String,
}

/// Reads one whose hash, if it has one, is known to be good.
pub(super) fn read(bytes: &[u8]) -> Result<Manifest, CheckpointError> {
    let bad = |error: serde_json::Error| CheckpointError::Bad(format!("its manifest: {error}"));
    let document: Document = serde_json::from_slice(bytes).map_err(bad)?;
    let sealed = document.sha256.is_some() == (document.format == SEALED);
    if !sealed || serde_json::to_vec_pretty(&document).map_err(bad)? != bytes {
        return Err(CheckpointError::Bad("its manifest is not what was written".to_owned()));
    }
    let item = |(number, File { path, size, sha256 }): (u32, File)| {
        let (hash, sparse, lies_in) = (Hash::Sha256(sha256), false, None);
        let what = What::File(Shard { number, lies_in, size, hash, sparse });
        Item { path: PathBuf::from(path), meta: None, what }
    };
    Ok(Manifest {
        format: document.format,
        attempt: document.attempt,
        sequence: document.sequence,
        step: document.step,
        total_steps: document.total_steps,
        items: (0..).zip(document.files).map(item).collect(),
    })
}
