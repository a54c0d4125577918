//! Brings the inputs, and collects the outputs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use spotwise_api::v1::InputFile;
use tokio_util::sync::CancellationToken;

use crate::copy::{Links, Rules, copy};
use crate::folder::{Folder, inside};

/// Copies every input into the working folder. The message of an error is for
/// the owner of the job.
pub(crate) async fn bring(folder: &Folder, inputs: Vec<InputFile>) -> Result<(), String> {
    let work = folder.work();
    // Dropping this future, when the attempt is stopped, ends the copy too.
    let cut = CancellationToken::new();
    let _guard = cut.clone().drop_guard();
    let done = tokio::task::spawn_blocking(move || {
        inputs.iter().try_for_each(|input| bring_one(&work, input, &cut))
    });
    done.await.unwrap_or_else(|error| Err(format!("staging was cut off: {error}")))
}

/// What was collected.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Collected {
    /// Number of files.
    pub(crate) files: u32,
    /// What could not be collected, for the owner of the job.
    pub(crate) missing: Vec<String>,
}

/// Copies what the job names in its working folder, and all that the command
/// left in its output folder, into the store.
pub(crate) async fn collect(folder: &Folder, outputs: Vec<String>, store: PathBuf) -> Collected {
    let (work, output) = (folder.work(), folder.output());
    let cut = CancellationToken::new();
    let _guard = cut.clone().drop_guard();
    let done = tokio::task::spawn_blocking(move || {
        let mut collected = Collected::default();
        for name in &outputs {
            let copied = source(&work, name).and_then(|from| take(&from, &store.join(name), &cut));
            collected.add(name, copied);
        }
        collected.add("folder", take(&output, &store, &cut));
        collected
    });
    done.await.unwrap_or_else(|error| Collected {
        files: 0,
        missing: vec![format!("outputs could not be collected: {error}")],
    })
}

/// The folder behind a store's address: `file:///folder`, or the folder itself.
pub(crate) fn store_folder(address: &str) -> Result<PathBuf, String> {
    let path = address.strip_prefix("file://").unwrap_or(address);
    if path.starts_with('/') {
        Ok(PathBuf::from(path))
    } else {
        Err(format!(
            "outputs in `{address}` need a build with that store; this one has folders only"
        ))
    }
}

impl Collected {
    fn add(&mut self, name: &str, copied: io::Result<u32>) {
        match copied {
            Ok(files) => self.files += files,
            Err(error) => {
                self.missing.push(format!("output {name} could not be collected: {error}"));
            }
        }
    }
}

fn bring_one(work: &Path, input: &InputFile, cut: &CancellationToken) -> Result<(), String> {
    let from = &input.from;
    if let Some((kind, _)) = from.split_once("://") {
        let kind = if kind == "s3" { "S3" } else { kind };
        return Err(format!("input {from}: this build has no {kind}"));
    }
    let failed = |error: io::Error| format!("input {from}: {error}");
    let source = fs::canonicalize(from).map_err(failed)?;
    let to =
        inside(work, &input.to).ok_or_else(|| format!("input to {:?}: not inside", input.to))?;
    let is_folder = source.is_dir();
    let into_folder = input.to.is_empty() || input.to.ends_with('/') || to.is_dir();
    let to = match source.file_name() {
        Some(name) if !is_folder && into_folder => to.join(name),
        _ => to,
    };
    // All workers of this machine live beside this one.
    let except = work.ancestors().nth(2);
    let rules = Rules { links: Links::Keep, except, cut };
    copy(&source, &to, &rules).map(drop).map_err(failed)
}

/// A named output, if it really lies in the working folder.
fn source(work: &Path, name: &str) -> io::Result<PathBuf> {
    let outside = || io::Error::other("it is not inside the working folder");
    let path = fs::canonicalize(inside(work, name).ok_or_else(outside)?)?;
    if path.starts_with(work.canonicalize()?) { Ok(path) } else { Err(outside()) }
}

fn take(from: &Path, to: &Path, cut: &CancellationToken) -> io::Result<u32> {
    copy(from, to, &Rules { links: Links::Skip, except: None, cut })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(from: &Path, to: &str) -> InputFile {
        InputFile { from: from.display().to_string(), to: to.to_owned() }
    }

    #[tokio::test]
    async fn inputs_arrive_and_strange_ones_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::enter(&dir.path().join("jobs/j1.1-0")).unwrap();
        let source = dir.path().join("code");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("train.py"), "x").unwrap();
        let inputs = vec![input(&source, "code"), input(&source.join("train.py"), "")];
        bring(&folder, inputs).await.unwrap();
        assert!(folder.work().join("code/train.py").is_file());
        assert!(folder.work().join("train.py").is_file());

        let s3 = bring(&folder, vec![input(Path::new("s3://bucket/x"), "x")]).await.unwrap_err();
        assert!(s3.contains("this build has no S3"), "{s3}");
        assert!(bring(&folder, vec![input(&source, "../x")]).await.is_err());
        assert!(bring(&folder, vec![input(&dir.path().join("no"), "x")]).await.is_err());
    }

    #[tokio::test]
    async fn outputs_are_collected_but_not_from_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::enter(&dir.path().join("j1.1-0")).unwrap();
        let store = dir.path().join("store");
        fs::write(folder.output().join("model.bin"), "x").unwrap();
        fs::write(folder.work().join("log.txt"), "x").unwrap();
        std::os::unix::fs::symlink("/etc", folder.work().join("etc")).unwrap();
        let names = ["log.txt", "gone", "etc/hostname", "../x"].map(str::to_owned).to_vec();
        let collected = collect(&folder, names, store.clone()).await;
        assert_eq!(collected.files, 2);
        assert_eq!(collected.missing.len(), 3, "{collected:?}");
        assert!(store.join("model.bin").is_file() && store.join("log.txt").is_file());
    }
}
