//! The job specification, validated. [`parse`] is the single entry point: files, gRPC and
//! REST all go through it.

pub(crate) mod amounts;
#[cfg(test)]
mod bad_inputs;
mod document;
mod duration;
mod edit;
pub(crate) mod error;
#[cfg(test)]
mod good_inputs;
mod json;
mod many;
mod paths;
pub(crate) mod patterns;
mod read;
mod rules;
mod schema;
#[cfg(test)]
pub(crate) mod schema_tests;
pub(crate) mod text;
pub(crate) mod tree;
mod validate;
mod work;
pub(crate) mod yaml;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use crate::dependency::{Condition, Dependency, Needed};
pub use edit::{Edit, EditRetries, NewDeadline, parse_edit};
pub use error::{SpecError, closest};
pub use many::elementwise_mismatch;
pub use schema::{json_schema, json_schema_of_changes};
pub use validate::{Format, MAX_DOCUMENT_BYTES, Submission, canonical, parse};
pub use work::{check_deadline, check_deadline_at};

use crate::gpu::MigProfile;
use crate::id::Accelerator;
use crate::money::Money;
use crate::resources::Share;
use crate::sharing::SoftSharing;

/// What kind of work it is: it sets defaults and the operator's policy.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Long, checkpointed.
    #[default]
    Training,
    /// Batch inference.
    Inference,
    /// Experiments.
    Dev,
    /// Production that must not wait.
    Critical,
}

impl Class {
    /// Its name in specs and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Inference => "inference",
            Self::Dev => "dev",
            Self::Critical => "critical",
        }
    }
}

/// A validated job. Serialised as is into the store; only [`parse`] creates one from what a
/// user wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// A DNS label: 1 to 63 of `a-z`, `0-9` and `-`, not at the ends.
    pub name: String,
    /// Free text for people, at most 200 characters.
    pub title: Option<String>,
    /// What is trained or applied: the unit of FinOps.
    pub model: Option<String>,
    /// The kind of work.
    pub class: Class,
    /// A container image; `None` for a local command.
    pub image: Option<String>,
    /// The command and its arguments; never empty, never given to a shell.
    pub command: Vec<String>,
    /// Where the command starts: an absolute folder, or relative to the inputs.
    pub workdir: Option<String>,
    /// What each node takes.
    pub resources: Resources,
    /// How much work there is.
    pub work: Work,
    /// The deadline.
    pub deadline: Option<Deadline>,
    /// At most this much money over all attempts.
    pub budget: Option<Money>,
    /// How progress is saved; `None` if it is not.
    pub checkpoint: Option<Checkpoint>,
    /// Whether it may run where capacity is taken back.
    pub interruptible: bool,
    /// How often it may be tried again.
    pub retries: Retries,
    /// Longest time one attempt may run (market time).
    pub timeout: Option<Duration>,
    /// Environment of the command.
    pub env: BTreeMap<String, String>,
    /// Why values of `env` that look like secrets are not, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub not_secret: BTreeMap<String, String>,
    /// Secrets by reference: variable name to where the value is kept.
    pub secrets: BTreeMap<String, SecretRef>,
    /// Cost dimensions: Environment, Team, Project, CostCenter, Owner and more.
    pub tags: BTreeMap<String, String>,
    /// -100 to 100; higher is served first if not all can be.
    pub priority: i32,
    /// Jobs that must end first, each in its own way.
    pub after: Vec<Dependency>,
    /// Elements still to be expanded; `None` in a stored job.
    pub array: Option<Array>,
    /// Code and data brought to the command.
    pub inputs: Vec<Input>,
    /// Files collected at the end.
    pub outputs: Vec<Output>,
    /// The location of the data that every start reads; `None` if not given.
    #[serde(default)]
    pub data: Option<DataPlace>,
}

impl JobSpec {
    /// Whether a later attempt can resume where an earlier one was saved.
    pub fn resumable(&self) -> bool {
        self.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.resumable)
    }

    /// What one node takes of a machine whose accelerator is `accelerator`; `None` if the
    /// job cannot run there.
    pub fn share_on(&self, accelerator: Option<&Accelerator>) -> Option<Share> {
        let base = Share {
            gpus: 0,
            mig: None,
            shared: None,
            cpu_milli: self.resources.cpu_milli,
            memory_mib: self.resources.memory_mib,
        };
        match &self.resources.gpus {
            GpuRequest::None => Some(base),
            GpuRequest::Whole { alternatives } => {
                wanted(alternatives, accelerator).map(|a| Share { gpus: a.count, ..base })
            }
            GpuRequest::Shared { alternatives, sharing } => wanted(alternatives, accelerator)
                .map(|_| Share { shared: Some(sharing.of(accelerator)), ..base }),
            GpuRequest::Slice { profile, accelerator: wanted } => accelerator
                .filter(|a| a.supports_mig() && wanted.as_ref().is_none_or(|w| w == *a))
                .map(|_| Share { mig: Some(*profile), ..base }),
        }
    }
}

/// The first alternative that a machine with `accelerator` meets.
fn wanted<'a>(
    alternatives: &'a [GpuAlternative],
    accelerator: Option<&Accelerator>,
) -> Option<&'a GpuAlternative> {
    let has = accelerator?;
    alternatives.iter().find(|a| a.accelerator.as_ref().is_none_or(|wanted| wanted == has))
}

/// What each node of a job takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Accelerators of each node.
    pub gpus: GpuRequest,
    /// Thousandths of a CPU; above 0.
    pub cpu_milli: u64,
    /// Main memory in MiB; above 0.
    pub memory_mib: u64,
    /// Machines; more than one is a gang: all or nothing, in one zone.
    pub nodes: u32,
}

/// Accelerators of each node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum GpuRequest {
    /// None.
    None,
    /// Whole GPUs: any one of these, the first that fits a machine.
    Whole {
        /// At least one.
        alternatives: Vec<GpuAlternative>,
    },
    /// One MIG slice.
    Slice {
        /// Its size.
        profile: MigProfile,
        /// Of which GPU; `None` for any that supports MIG.
        accelerator: Option<Accelerator>,
    },
    /// Part of one GPU that other jobs use too, without isolation.
    Shared {
        /// Any one of these, one GPU each; at least one.
        alternatives: Vec<GpuAlternative>,
        /// How it is shared.
        sharing: SoftSharing,
    },
}

/// `H100:8`, or `:8` for eight of any kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuAlternative {
    /// The model; `None` for any.
    pub accelerator: Option<Accelerator>,
    /// How many; above 0.
    pub count: u32,
}

/// How much work there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Work {
    /// Not stated: the class prior, then what is measured.
    Unknown,
    /// Expected duration without interruptions.
    Duration {
        /// If the accelerator is not named.
        default: Option<Duration>,
        /// On each accelerator.
        by_accelerator: BTreeMap<Accelerator, Duration>,
    },
    /// A number of steps, and how many are done per hour.
    Steps {
        /// All of them.
        total: u64,
        /// If the accelerator is not named.
        steps_per_hour: Option<u64>,
        /// On each accelerator.
        by_accelerator: BTreeMap<Accelerator, u64>,
    },
}

/// A job's deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deadline {
    /// At this time (market time).
    At(Timestamp),
    /// This long after its submission.
    Within(Duration),
}

/// How a job saves its progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Where the command writes, relative to its working folder; `None` for the folder that
    /// `SPOTWISE_CHECKPOINT_DIR` names in any case.
    pub dir: Option<String>,
    /// How often the worker commits what it finds (market time).
    pub interval: Duration,
    /// Wall time from SIGTERM to SIGKILL.
    pub grace: Duration,
    /// Whether the command can resume from a checkpoint.
    pub resumable: bool,
    /// How many to keep; at least 2.
    pub keep: u32,
    /// Size of one, in bytes: what a move to another region transfers. `None` if not given.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// Who gets SIGTERM.
    #[serde(default)]
    pub signal: crate::stop::SignalTo,
}

/// Data in one region of a provider. A start elsewhere pays for moving it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataPlace {
    /// The region, such as `us-east-1`.
    pub region: String,
    /// What one start of the job reads of it, over all its nodes, in bytes;
    /// above 0.
    pub bytes: u64,
}

/// How often a job may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retries {
    /// After failures of its own; 0 to 100.
    pub errors: u32,
    /// After its capacity was taken back; `None` for no limit.
    pub interruptions: Option<u32>,
}

/// Where a secret's value is kept. The value itself is never stored, logged or shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "kebab-case")]
pub enum SecretRef {
    /// A variable of the worker's own environment.
    Env {
        /// Its name.
        name: String,
    },
    /// A file on the worker's machine.
    File {
        /// Its absolute path.
        path: String,
    },
}

/// Many jobs from one spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Array {
    /// Variables of each element: one map per element, at most 10,000. A plain array has
    /// empty maps; a sweep has one for each combination.
    pub elements: Vec<BTreeMap<String, String>>,
    /// At most this many at once.
    pub max_parallel: Option<u32>,
    /// Whether the worker of an element that has succeeded takes the next one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reuse_workers: bool,
}

/// Something brought to the command before it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// A local folder or file, as seen by the job's machine (a relative path starts where
    /// the scheduler was started), or an object-store URI (`s3://...`; `file://` is
    /// refused).
    pub from: String,
    /// Where it appears, relative to the working folder.
    pub to: String,
}

/// Files collected at the end of a successful attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// A file or folder relative to the working folder.
    pub path: String,
}
