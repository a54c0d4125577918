//! What a spotwise worker and its command say to each other.
//!
//! The worker sets the environment; the command appends to a progress file,
//! writes checkpoints and outputs into folders, and ends with 75 when it was
//! stopped and has saved its work. Without any of the variables the command is
//! run by hand: there is then nothing to report to, and that is fine.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// The environment of one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contract {
    /// Such as `j17.2`.
    pub attempt_id: Option<String>,
    /// Whether the machine may be taken back.
    pub is_spot: bool,
    /// By when the job must be done, as the worker wrote it.
    pub deadline: Option<String>,
    /// Which element of an array this is, from 0.
    pub array_index: usize,
    /// Number of elements; 1 for a job that is no array.
    pub array_size: usize,
    /// Where checkpoints are written.
    pub checkpoint_dir: Option<PathBuf>,
    /// The restored checkpoint folder of an earlier attempt.
    pub resume_from: Option<PathBuf>,
    /// Where [`Progress`] lines are appended.
    pub progress_file: Option<PathBuf>,
    /// Appears when the machine is about to be taken back.
    pub interruption_file: Option<PathBuf>,
    /// Where the results go.
    pub output_dir: Option<PathBuf>,
    /// Where the inputs are.
    pub input_dir: Option<PathBuf>,
    /// What the jobs of one submission hand to each other.
    pub shared_dir: Option<PathBuf>,
}

/// One line of the progress file.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps or items done, over all attempts.
    pub step: u64,
    /// Steps or items in all.
    pub total: u64,
    /// Mean cross-entropy in nats a character.
    pub loss: f32,
}

impl Contract {
    /// Reads the variables of this process.
    ///
    /// # Errors
    /// A variable that is set but makes no sense.
    pub fn from_environment() -> Result<Self> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Reads the variables through `lookup`. An empty one counts as not set:
    /// `SPOTWISE_RESUME_FROM` is empty on the first attempt.
    ///
    /// # Errors
    /// A variable that is set but makes no sense.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let text =
            |name: &str| lookup(&format!("SPOTWISE_{name}")).filter(|value| !value.is_empty());
        let path = |name: &str| text(name).map(PathBuf::from);
        let number = |name: &str, default: usize| match text(name) {
            None => Ok(default),
            Some(value) => {
                value.parse().with_context(|| format!("SPOTWISE_{name} is {value:?}, not a number"))
            }
        };
        let contract = Self {
            attempt_id: text("ATTEMPT_ID"),
            is_spot: text("IS_SPOT").is_some_and(|value| value == "1" || value == "true"),
            deadline: text("DEADLINE"),
            array_index: number("ARRAY_INDEX", 0)?,
            array_size: number("ARRAY_SIZE", 1)?,
            checkpoint_dir: path("CHECKPOINT_DIR"),
            resume_from: path("RESUME_FROM"),
            progress_file: path("PROGRESS_FILE"),
            interruption_file: path("INTERRUPTION_FILE"),
            output_dir: path("OUTPUT_DIR"),
            input_dir: path("INPUT_DIR"),
            shared_dir: path("SHARED_DIR"),
        };
        let (index, size) = (contract.array_index, contract.array_size);
        if index >= size {
            bail!("SPOTWISE_ARRAY_INDEX is {index}, but SPOTWISE_ARRAY_SIZE is {size}");
        }
        Ok(contract)
    }

    /// Appends one whole line in one write, so that a reader never sees the
    /// half of it followed by another.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn report(&self, progress: Progress) -> Result<()> {
        let Some(file) = &self.progress_file else { return Ok(()) };
        let mut line = serde_json::to_vec(&progress)?;
        line.push(b'\n');
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(file)
            .and_then(|mut file| file.write_all(&line))
            .with_context(|| format!("appending to {}", file.display()))
    }

    /// Whether the machine is about to be taken back.
    pub fn noticed(&self) -> bool {
        self.interruption_file.as_ref().is_some_and(|file| file.exists())
    }

    /// Where the jobs of a pipeline meet.
    ///
    /// # Errors
    /// There is none.
    pub fn shared_dir(&self) -> Result<&PathBuf> {
        self.shared_dir.as_ref().context(
            "no shared folder: set SPOTWISE_SHARED_DIR to a folder that all steps can reach",
        )
    }
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(attempt) = &self.attempt_id else { return write!(f, "run by hand") };
        let kind = if self.is_spot { "spot" } else { "on-demand" };
        write!(f, "attempt {attempt} on a {kind} machine")?;
        if self.array_size > 1 {
            write!(f, ", element {} of {}", self.array_index, self.array_size)?;
        }
        match &self.deadline {
            Some(deadline) => write!(f, ", due {deadline}"),
            None => Ok(()),
        }
    }
}

/// How a command ended, when nothing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of the work is done.
    Done,
    /// Stopped on request, with everything saved: call me again.
    Saved,
    /// Stopped on request, with nowhere to save to.
    Unsaved,
}

impl Outcome {
    /// 0; 75 (EX_TEMPFAIL: saved, requeue me); or 143 (128 + SIGTERM).
    pub fn exit_code(self) -> ExitCode {
        match self {
            Self::Done => ExitCode::SUCCESS,
            Self::Saved => ExitCode::from(75),
            Self::Unsaved => ExitCode::from(143),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Contract> {
        Contract::read(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn an_empty_environment_is_a_run_by_hand() {
        let contract = read(&[]).unwrap();
        assert_eq!(contract.to_string(), "run by hand");
        assert_eq!((contract.array_index, contract.array_size), (0, 1));
        contract.report(Progress { step: 1, total: 2, loss: 0.5 }).unwrap();
    }

    #[test]
    fn an_empty_resume_folder_is_none() {
        let contract = read(&[("SPOTWISE_RESUME_FROM", "")]).unwrap();
        assert_eq!(contract.resume_from, None);
    }

    #[test]
    fn an_element_outside_its_array_is_refused() {
        let result = read(&[("SPOTWISE_ARRAY_INDEX", "6"), ("SPOTWISE_ARRAY_SIZE", "6")]);
        assert!(result.unwrap_err().to_string().contains("SPOTWISE_ARRAY_SIZE is 6"));
        assert!(read(&[("SPOTWISE_ARRAY_INDEX", "first")]).is_err());
    }

    #[test]
    fn progress_is_one_line_a_report() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("progress");
        let contract = Contract { progress_file: Some(file.clone()), ..Contract::default() };
        for step in [10, 20] {
            contract.report(Progress { step, total: 20, loss: 1.25 }).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(file).unwrap(),
            "{\"step\":10,\"total\":20,\"loss\":1.25}\n{\"step\":20,\"total\":20,\"loss\":1.25}\n"
        );
    }
}
