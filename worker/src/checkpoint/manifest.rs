//! What a checkpoint holds. A manifest is believed in nothing: whoever can
//! write to the store could have written it.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use spotwise_api::v1::Progress;
use spotwise_model::AttemptId;

use super::commit::hex;
use super::{CheckpointError, CheckpointId, MOST_BYTES, MOST_FILES};

/// The layout that this build writes: the manifest carries a hash of itself.
const FORMAT: u32 = 2;

/// As before, without that hash; read so that a job survives an update.
const UNSEALED: u32 = 1;

/// 10,000 files with names of ordinary length take 2 MiB.
pub(super) const MOST_MANIFEST_BYTES: u64 = 16 * 1024 * 1024;

/// The longest path that is kept.
const LONGEST_PATH: usize = 1024;

/// One file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileEntry {
    /// Relative to the checkpoint folder.
    pub(super) path: String,
    /// In bytes.
    pub(super) size: u64,
    /// In lower-case hexadecimal digits.
    pub(super) sha256: String,
}

/// What a finished checkpoint holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    format: u32,
    attempt: AttemptId,
    sequence: u32,
    step: u64,
    total_steps: u64,
    files: Vec<FileEntry>,
    /// Of the manifest without this field: a name that lost one bit is no less
    /// torn than a shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

impl Manifest {
    /// A checkpoint of these files; refused where it could not be read again.
    pub(super) fn new(
        id: CheckpointId,
        progress: &Progress,
        files: Vec<FileEntry>,
    ) -> Result<Self, CheckpointError> {
        let mut manifest = Self {
            format: FORMAT,
            attempt: id.attempt,
            sequence: id.sequence,
            step: progress.step,
            total_steps: progress.total_steps,
            files,
            sha256: None,
        };
        manifest.check(id).map_err(CheckpointError::Refused)?;
        manifest.sha256 = Some(manifest.seal()?);
        Ok(manifest)
    }

    /// Reads the manifest that lies in the folder of `id`.
    pub(super) fn parse(bytes: &[u8], id: CheckpointId) -> Result<Self, CheckpointError> {
        let manifest = Self::read(bytes, id)?;
        let sealed = match &manifest.sha256 {
            None => manifest.format == UNSEALED,
            Some(seal) => manifest.format == FORMAT && *seal == manifest.seal()?,
        };
        // One spelling each, so that not one bit of it can change unseen.
        if sealed && manifest.to_bytes()? == bytes {
            Ok(manifest)
        } else {
            Err(CheckpointError::Bad("its manifest is not what was written".to_owned()))
        }
    }

    fn read(bytes: &[u8], id: CheckpointId) -> Result<Self, CheckpointError> {
        let manifest: Self = serde_json::from_slice(bytes)
            .map_err(|error| CheckpointError::Bad(format!("its manifest: {error}")))?;
        manifest.check(id).map_err(CheckpointError::Bad)?;
        Ok(manifest)
    }

    fn seal(&self) -> Result<String, CheckpointError> {
        let unsealed = Self { sha256: None, ..self.clone() };
        Ok(hex(&Sha256::digest(unsealed.to_bytes()?)))
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, CheckpointError> {
        serde_json::to_vec_pretty(self).map_err(|error| CheckpointError::Refused(error.to_string()))
    }

    pub(super) const fn id(&self) -> CheckpointId {
        CheckpointId { attempt: self.attempt, sequence: self.sequence }
    }

    pub(super) fn files(&self) -> &[FileEntry] {
        &self.files
    }

    /// How far the command was.
    pub(super) fn progress(&self) -> Progress {
        Progress { step: self.step, total_steps: self.total_steps, ..Progress::default() }
    }

    /// Size of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    fn check(&self, id: CheckpointId) -> Result<(), String> {
        if ![UNSEALED, FORMAT].contains(&self.format) {
            return Err(format!("its format is {}, not {UNSEALED} or {FORMAT}", self.format));
        }
        if self.id() != id {
            return Err(format!("its manifest is that of {}", self.id()));
        }
        if self.files.is_empty() || self.files.len() > MOST_FILES {
            return Err(format!("{} files, not 1 to {MOST_FILES}", self.files.len()));
        }
        let mut total = 0_u64;
        let mut paths = BTreeSet::new();
        for file in &self.files {
            total = total
                .checked_add(file.size)
                .filter(|total| *total <= MOST_BYTES)
                .ok_or_else(|| format!("its files are larger than {MOST_BYTES} bytes together"))?;
            check_path(&file.path)?;
            if !paths.insert(Path::new(&file.path)) {
                return Err(format!("{:?} twice", file.path));
            }
            let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            if file.sha256.len() != 64 || !file.sha256.bytes().all(hex) {
                return Err(format!("the hash of {:?} is none", file.path));
            }
        }
        let inside =
            paths.iter().find(|path| path.ancestors().skip(1).any(|up| paths.contains(up)));
        inside.map_or(Ok(()), |path| Err(format!("{} lies in a file", path.display())))
    }
}

/// Plain names only, so that nothing is ever written outside the folder.
fn check_path(path: &str) -> Result<(), String> {
    let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    // 255 bytes: NAME_MAX, so that no name can fail a restore.
    let tidy = path.split('/').all(|part| !matches!(part, "" | "." | "..") && part.len() <= 255);
    if plain && tidy && path.len() <= LONGEST_PATH && !path.contains('\0') {
        Ok(())
    } else {
        Err(format!("{:?} is no path of a file", path.chars().take(80).collect::<String>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> CheckpointId {
        "j17.2-000003".parse().unwrap()
    }

    fn file(path: &str, size: u64) -> FileEntry {
        FileEntry { path: path.to_owned(), size, sha256: "0a".repeat(32) }
    }

    fn refused(change: impl FnOnce(&mut serde_json::Value)) -> String {
        let good = Manifest::new(id(), &Progress::default(), vec![file("a", 1)]).unwrap();
        let mut value = serde_json::to_value(good).unwrap();
        change(&mut value);
        Manifest::read(value.to_string().as_bytes(), id()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_is_read() {
        let files = vec![file("step-1/model.bin", 5), file("step-1/optimizer", 0)];
        let progress = Progress { step: 120, total_steps: 200, ..Progress::default() };
        let manifest = Manifest::new(id(), &progress, files).unwrap();
        assert_eq!(Manifest::parse(&manifest.to_bytes().unwrap(), id()).unwrap(), manifest);
        assert_eq!(manifest.bytes(), 5);
    }

    #[test]
    fn a_manifest_of_the_format_before_is_read_but_not_one_that_lost_its_seal() {
        let new = Manifest::new(id(), &Progress::default(), vec![file("a", 1)]).unwrap();
        let with = |format, sha256: Option<String>| Manifest { format, sha256, ..new.clone() };
        let read = |it: &Manifest| Manifest::parse(&it.to_bytes().unwrap(), id());
        let old = with(UNSEALED, None);
        assert!(!String::from_utf8(old.to_bytes().unwrap()).unwrap().contains("\n  \"sha256\""));
        assert_eq!(read(&old).unwrap(), old);
        assert!(read(&with(FORMAT, None)).is_err());
        assert!(read(&with(UNSEALED, new.sha256.clone())).is_err());
        assert!(read(&with(FORMAT, Some("0a".repeat(32)))).is_err());
    }

    #[test]
    fn hostile_manifests_are_refused() {
        refused(|it| it["format"] = 3.into());
        refused(|it| it["attempt"] = "j17.1".into());
        refused(|it| it["attempt"] = "j18.2".into());
        refused(|it| it["sequence"] = 4.into());
        refused(|it| it["sequence"] = serde_json::json!(1e300));
        refused(|it| it["surprise"] = 1.into());
        refused(|it| it["files"] = serde_json::json!([]));
        refused(|it| it["files"][0]["size"] = (-1).into());
        refused(|it| it["files"][0]["size"] = u64::MAX.into());
        refused(|it| it["files"][0]["sha256"] = "short".into());
        refused(|it| it["files"][0]["sha256"] = "0A".repeat(32).into());
        for path in ["", "/etc/passwd", "../a", "a/../../b", "a//b", "./a", "a/", "a\0b"] {
            let message = refused(|it| it["files"][0]["path"] = path.into());
            assert!(message.contains("is no path"), "{path}: {message}");
        }
    }

    #[test]
    fn counts_and_sums_are_bounded() {
        let many: Vec<_> = (0..=MOST_FILES).map(|n| file(&n.to_string(), 1)).collect();
        assert!(Manifest::new(id(), &Progress::default(), many).is_err());
        let huge = vec![file("a", MOST_BYTES), file("b", 1)];
        assert!(Manifest::new(id(), &Progress::default(), huge).is_err());
        for paths in [["a", "a"], ["a", "a/b"], ["a/b/c", "a"]] {
            let files = paths.map(|path| file(path, 1)).to_vec();
            assert!(Manifest::new(id(), &Progress::default(), files).is_err(), "{paths:?}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error_not_a_crash() {
        let bytes = "[".repeat(1_000_000);
        assert!(Manifest::parse(bytes.as_bytes(), id()).is_err());
    }
}
