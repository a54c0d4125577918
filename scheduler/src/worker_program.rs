//! The program that carries out attempts on this machine.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The worker alone, as a separate program.
const ALONE: &str = "spotwise-worker";

/// A program that acts as a worker.
#[derive(Clone, Debug)]
pub struct WorkerProgram {
    path: PathBuf,
    /// The argument given before a worker's options.
    mode: Option<&'static str>,
}

impl WorkerProgram {
    /// A program that can do more: it acts as a worker when called with `worker`.
    pub fn within(path: PathBuf) -> Self {
        Self { path, mode: Some("worker") }
    }

    /// The standalone worker, if it is in the folder of `program` and of the same version;
    /// otherwise `program`. Two process starts per task are the main cost of a short task,
    /// and they take a third of the time with a program that links no solver.
    pub fn beside(program: PathBuf) -> Self {
        let path = program.with_file_name(ALONE);
        let said = Command::new(&path).arg("--version").stdin(Stdio::null()).output();
        let expected = concat!("spotwise-worker ", env!("CARGO_PKG_VERSION"), "\n");
        match said {
            Ok(said) if said.stdout == expected.as_bytes() => Self { path, mode: None },
            _ => Self::within(program),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A call of it, without a worker's options yet.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args(self.mode)
            // For the scheduler only: a job could read its worker's environment.
            .env_remove("SPOTWISE_DATABASE_URL")
            .env_remove("PGPASSWORD");
        command
    }

    /// Starts a worker that preserves the outputs in a folder, without waiting for
    /// anything.
    pub(crate) fn rescue(&self, folder: &Path) -> bool {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(folder.join("worker.log"))
            .and_then(|log| Ok((log.try_clone()?, log)));
        let started = log.and_then(|(out, err)| {
            self.command()
                .args(["--collect", "--dir"])
                .arg(folder)
                .stdin(Stdio::null())
                .stdout(out)
                .stderr(err)
                .process_group(0)
                .spawn()
        });
        let (mut child, folder) = match started {
            Ok(child) => (child, folder.to_owned()),
            Err(error) => {
                tracing::warn!(%error, folder = %folder.display(), "outputs cannot be kept now");
                return false;
            }
        };
        let waiting = std::thread::Builder::new().name("outputs".to_owned()).spawn(move || {
            match child.wait() {
                Ok(status) if status.success() => {}
                Ok(status) => {
                    tracing::warn!(%status, folder = %folder.display(), "outputs are not kept yet");
                }
                Err(error) => tracing::warn!(%error, "a worker cannot be waited for"),
            }
        });
        waiting.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_worker_alone_is_taken_where_it_is_of_this_version() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("spotwise");
        assert_eq!(WorkerProgram::beside(own.clone()).path(), own, "there is none");
        let beside = folder.path().join(ALONE);
        for (version, taken) in [("0.0.1", &own), (env!("CARGO_PKG_VERSION"), &beside)] {
            fs::write(&beside, format!("#!/bin/sh\necho spotwise-worker {version}\n")).unwrap();
            fs::set_permissions(&beside, fs::Permissions::from_mode(0o755)).unwrap();
            assert_eq!(WorkerProgram::beside(own.clone()).path(), taken, "{version}");
        }
    }
}
