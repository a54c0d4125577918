//! Brings the inputs.

use std::fs;
use std::io;
use std::path::Path;

use spotwise_api::v1::InputFile;
use tokio_util::sync::CancellationToken;

use crate::copy::{Rules, copy};
use crate::folder::{Folder, inside};

/// Copies every input into the working folder. The error message is for the owner of the
/// job.
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
    let rules = Rules { except, cut };
    copy(&source, &to, &rules).map(drop).map_err(failed)
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
}
