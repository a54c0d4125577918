//! What a job waits for: another job, and how that one must end.

use serde::{Deserialize, Serialize};

use crate::id::JobId;

/// How a job must have ended before another starts.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// It has succeeded (`afterok` of Slurm).
    #[default]
    Succeeded,
    /// It has failed, in any way but by its owner's cancel (`afternotok`); of an array, all
    /// of it is over and one element has failed.
    Failed,
    /// It is over, whatever came of it (`afterany`).
    Ended,
}

impl Condition {
    /// Its name in documents and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Ended => "ended",
        }
    }

    /// Whether a job with this ending meets the condition. If it does not, it never will.
    pub const fn is_met_by(self, ending: Ending) -> bool {
        match self {
            Self::Succeeded => matches!(ending, Ending::Succeeded),
            Self::Failed => matches!(ending, Ending::Failed),
            Self::Ended => true,
        }
    }

    /// Whether a deadline of the waiting job also applies to the job it waits for: a job
    /// that may never be needed is not hurried.
    pub const fn hurries(self) -> bool {
        !matches!(self, Self::Failed)
    }

    /// Whether it is the default when none is written.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How a job ended, as seen by the jobs that wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// It has succeeded.
    Succeeded,
    /// It has failed: errors, interruptions, its timeout, or it was never admitted.
    Failed,
    /// Its owner cancelled it, or a job it waited for ended the wrong way.
    Cancelled,
    /// It was not needed.
    Skipped,
}

impl Ending {
    /// As text, to follow a job's id.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Succeeded => "has succeeded",
            Self::Failed => "has failed",
            Self::Cancelled => "was cancelled",
            Self::Skipped => "was skipped",
        }
    }

    /// Whether this counts as a good ending for someone who waits for a whole submission.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Succeeded | Self::Skipped)
    }
}

/// A condition that can no longer be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmet {
    /// The job that was waited for.
    pub job: JobId,
    /// How it should have ended.
    pub on: Condition,
    /// How it did.
    pub ended: Ending,
}

/// A job that is waited for, as its owner wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// Which job.
    #[serde(flatten)]
    pub job: Needed,
    /// How it must end.
    #[serde(default, skip_serializing_if = "Condition::is_default")]
    pub on: Condition,
    /// Between arrays of one size: element n waits for element n alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub elementwise: bool,
}

/// Which job is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Needed {
    /// Another job of the same document.
    Name(String),
    /// A job that was submitted before.
    Id(JobId),
}

impl Dependency {
    /// The success of another job.
    pub const fn success(job: Needed) -> Self {
        Self { job, on: Condition::Succeeded, elementwise: false }
    }

    /// The name of the job, if it is one of the same document.
    pub fn name(&self) -> Option<&str> {
        match &self.job {
            Needed::Name(name) => Some(name),
            Needed::Id(_) => None,
        }
    }

    /// The id of the job, if it was submitted before.
    pub const fn id(&self) -> Option<JobId> {
        match self.job {
            Needed::Name(_) => None,
            Needed::Id(id) => Some(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_before_conditions_reads_as_it_was_meant() {
        let old = r#"[{"name":"prepare"},{"id":"j12"}]"#;
        let read: Vec<Dependency> = serde_json::from_str(old).unwrap();
        let meant = [Needed::Name("prepare".to_owned()), Needed::Id(JobId(12))];
        assert_eq!(read, meant.map(Dependency::success));
        // And is written as before: idempotency keys of before still name it.
        assert_eq!(serde_json::to_string(&read).unwrap(), old);
        let new = Dependency {
            job: Needed::Name("train".to_owned()),
            on: Condition::Failed,
            elementwise: true,
        };
        let text = serde_json::to_string(&new).unwrap();
        assert_eq!(serde_json::from_str::<Dependency>(&text).unwrap(), new);
    }

    #[test]
    fn conditions_by_endings() {
        use Condition as C;
        use Ending as E;
        let table = [
            (E::Succeeded, [true, false, true]),
            (E::Failed, [false, true, true]),
            (E::Cancelled, [false, false, true]),
            (E::Skipped, [false, false, true]),
        ];
        for (ending, met) in table {
            let is = [C::Succeeded, C::Failed, C::Ended].map(|c| c.is_met_by(ending));
            assert_eq!(is, met, "{ending:?}");
        }
    }
}
