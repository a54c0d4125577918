//! A document as users write it. The doc comments are what editors show.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::read::{TextOr, TextOrFields};
use super::{Class, Condition};
use crate::stop::SignalTo;

/// Several jobs that may depend on each other.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Pipeline")]
pub(super) struct PipelineDocument {
    /// Fields for every job that does not have them itself; a field is taken
    /// whole, never mixed.
    pub(super) defaults: Option<JobDocument>,
    /// The jobs, 1 to 1,000.
    pub(super) jobs: Vec<JobDocument>,
}

/// One job.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Job")]
pub(super) struct JobDocument {
    /// Name of the job: 1 to 63 of a-z, 0-9 and `-`, such as `train-resnet`.
    pub(super) name: Option<String>,
    /// Free text for people, at most 200 characters.
    pub(super) title: Option<String>,
    /// What is trained or applied, such as `meta-llama/Llama-3-8B`: cost is
    /// reported by it.
    pub(super) model: Option<String>,
    /// Kind of work; sets defaults and the operator's policy. Default: training.
    pub(super) class: Option<Class>,
    /// Container image, such as `registry.example.com/train:1.4`. Without one
    /// the command runs on the machine as it is.
    pub(super) image: Option<String>,
    /// Program and arguments as a list: `[python, train.py]`. There is no
    /// shell; where one is needed, write `["sh", "-c", "..."]`.
    pub(super) command: Option<TextOr<Vec<Scalar>>>,
    /// Folder in which the command starts: absolute, or relative to the inputs.
    pub(super) workdir: Option<String>,
    /// What each node takes.
    pub(super) resources: Option<ResourcesDocument>,
    /// How much work there is; without it the class's usual duration is
    /// assumed until progress is measured.
    pub(super) work: Option<WorkDocument>,
    /// By when the job must be done: a time with its zone, such as
    /// `2026-08-01T08:00:00Z`, or a duration from submission, such as `8h`.
    pub(super) deadline: Option<String>,
    /// Most that all attempts together may cost, in dollars: `25` or `"12.50"`; above 0.
    pub(super) budget_usd: Option<Number>,
    /// How progress is saved. Leave it out where it is not.
    pub(super) checkpoint: Option<CheckpointDocument>,
    /// Whether it may run where capacity is taken back (spot). Default: true,
    /// but false for the class `critical`.
    pub(super) interruptible: Option<bool>,
    /// How often it may be tried again.
    pub(super) retries: Option<RetriesDocument>,
    /// Longest time one attempt may run, such as `12h`.
    pub(super) timeout: Option<String>,
    /// Environment variables. For secret values use `secrets`.
    pub(super) env: Option<BTreeMap<String, VariableDocument>>,
    /// Secrets by reference: a variable's name to `env:NAME` (a variable of the
    /// worker) or `file:/path` (a file on its machine).
    pub(super) secrets: Option<BTreeMap<String, String>>,
    /// Cost dimensions, such as `Team: vision`; at most 50.
    pub(super) tags: Option<BTreeMap<String, Scalar>>,
    /// -100 to 100; higher is served first where not all can be. Default: 0.
    #[schemars(range(min = -100, max = 100))]
    pub(super) priority: Option<i32>,
    /// Jobs that must end first: names in this document, or ids such as `j12` of
    /// jobs submitted before. A name alone means that it must succeed; write
    /// `{job: train, on: failed}` for another condition, and
    /// `{job: shards, elementwise: true}` for element n after element n.
    pub(super) after: Option<Vec<TextOrFields<DependencyDocument>>>,
    /// Many equal elements, told apart by `SPOTWISE_ARRAY_INDEX`.
    pub(super) array: Option<ArrayDocument>,
    /// One element for each combination of the listed values; `lr: [0.1, 0.01]`
    /// becomes the variable `SPOTWISE_PARAM_LR`. The key `max_parallel` limits
    /// how many run at once.
    pub(super) sweep: Option<BTreeMap<String, TextOr<Vec<Scalar>>>>,
    /// Code and data brought to the command.
    pub(super) inputs: Option<Vec<InputDocument>>,
    /// Files or folders collected at the end, relative to the working folder.
    pub(super) outputs: Option<Vec<TextOr<OutputDocument>>>,
    /// Where the data lies that every start reads, and how much that is: capacity
    /// in another region pays for moving it. It fetches nothing: `inputs` does.
    pub(super) data: Option<DataDocument>,
}

/// What each node takes.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Resources")]
pub(super) struct ResourcesDocument {
    /// Whole GPUs of each node: `V100:1`, `4` of any kind, or a list of
    /// alternatives such as `["A100:1", "V100:2"]`. Default: none.
    pub(super) gpus: Option<TextOr<Vec<Scalar>>>,
    /// A slice of a GPU (MIG) instead of whole ones: `1g.5gb`, or
    /// `A100:1g.5gb` on that GPU only.
    pub(super) mig: Option<String>,
    /// Shares one GPU of `gpus` with other jobs, without isolation: they can
    /// slow each other down, and a fault of one can end all. Default: not shared.
    pub(super) gpu_sharing: Option<SharingDocument>,
    /// CPUs, such as `4` or `0.5`. Default: 1.
    pub(super) cpus: Option<Number>,
    /// Main memory with its unit, such as `16GB` or `512MiB`; GB is 1000^3
    /// bytes, GiB 1024^3. Default: 1GB.
    pub(super) memory: Option<String>,
    /// Machines, 1 to 1,000; more than one start together or not at all, in
    /// one zone. Default: 1.
    #[schemars(range(min = 1, max = 1000))]
    pub(super) nodes: Option<u32>,
}

/// How a GPU is shared: `mps` or `time_slicing`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "GpuSharing")]
pub(super) struct SharingDocument {
    /// At the same time (NVIDIA MPS), with so much of the GPU's memory: `8GB`.
    pub(super) mps: Option<String>,
    /// In turns with other jobs, 2 to 64 of them in all; memory is not limited.
    #[schemars(range(min = 2, max = 64))]
    pub(super) time_slicing: Option<u32>,
}

/// How much work there is: `duration`, or `steps` with `steps_per_hour`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Work")]
pub(super) struct WorkDocument {
    /// Expected duration without interruptions: `2h`, or by accelerator
    /// `{default: 2h, V100: 3h}`.
    pub(super) duration: Option<TextOr<BTreeMap<String, Scalar>>>,
    /// Number of steps in all.
    pub(super) steps: Option<u64>,
    /// Steps done in an hour: `1000`, or by accelerator `{V100: 1000}`.
    pub(super) steps_per_hour: Option<TextOr<BTreeMap<String, Scalar>>>,
}

/// How progress is saved.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Checkpoint")]
pub(super) struct CheckpointDocument {
    /// Folder that the command writes to, relative to its working folder.
    /// Default: the folder named by `SPOTWISE_CHECKPOINT_DIR`.
    pub(super) dir: Option<String>,
    /// How often what is found there is committed. Default: 15m.
    pub(super) interval: Option<String>,
    /// Time from SIGTERM to SIGKILL, at most 1h. Default: 30s.
    pub(super) grace: Option<String>,
    /// Who gets SIGTERM: `group`, every process of the command at once, or `main`, its
    /// first process alone. `main` suits trainers whose data-loader workers must live
    /// until the trainer has saved; `group` suits commands behind a shell, which passes
    /// no signal on. SIGKILL always goes to all. Default: group.
    pub(super) signal: Option<SignalTo>,
    /// Whether the command goes on from a checkpoint. Default: true.
    pub(super) resumable: Option<bool>,
    /// How many to keep, 2 to 100. Default: 3.
    #[schemars(range(min = 2, max = 100))]
    pub(super) keep: Option<u32>,
    /// Size of one checkpoint, such as `12GB`: what a move to another region takes
    /// along. Default: not counted.
    pub(super) size: Option<String>,
}

/// How often a job may be tried again.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Retries")]
pub(super) struct RetriesDocument {
    /// After failures of its own, 0 to 100. Default: 1.
    #[schemars(range(min = 0, max = 100))]
    pub(super) errors: Option<u32>,
    /// After its capacity was taken back: a number or `unlimited`, the default.
    pub(super) interruptions: Option<Number>,
}

/// Many equal elements.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Array")]
pub(super) struct ArrayDocument {
    /// How many, 1 to 10,000.
    #[schemars(range(min = 1, max = 10000))]
    pub(super) size: u32,
    /// At most this many at once.
    #[schemars(range(min = 1))]
    pub(super) max_parallel: Option<u32>,
    /// Whether a worker takes the next element when its own has succeeded, on the same
    /// machine and without a new start: for elements that are short beside the start of a
    /// task or container. Each has a process, a working folder and an attempt of its own.
    /// Default: false.
    pub(super) reuse_workers: Option<bool>,
}

/// A job that must end first.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Dependency")]
pub(super) struct DependencyDocument {
    /// Its name in this document, or the id of a job submitted before, such as `j12`.
    pub(super) job: String,
    /// How it must end: `succeeded`, `failed` (in any way but a cancel; a job that
    /// succeeds leaves this one skipped) or `ended`, whatever came of it. An array has
    /// failed when all of it is over and one element has failed. Default: succeeded.
    pub(super) on: Option<Condition>,
    /// Between two arrays of one size: each element waits for the element of the
    /// same index alone. Default: false, each waits for all.
    pub(super) elementwise: Option<bool>,
}

/// Something brought to the command.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Input")]
pub(super) struct InputDocument {
    /// A local file or folder (a relative one starts where the scheduler was
    /// started), or `s3://bucket/key`.
    pub(super) from: String,
    /// Where it appears, relative to the working folder.
    pub(super) to: String,
}

/// Data in one region.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Data")]
pub(super) struct DataDocument {
    /// The region, such as `us-east-1`.
    pub(super) region: String,
    /// What one start of the job reads, over all its nodes: `160GB`; GB is 1000^3
    /// bytes.
    pub(super) size: String,
}

/// A file or folder collected at the end.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Output")]
pub(super) struct OutputDocument {
    /// Relative to the working folder.
    pub(super) path: String,
}

/// A variable's value, or that with a reason. A list is neither.
#[derive(Deserialize)]
pub(super) struct VariableDocument(pub(super) TextOrFields<PlainDocument>);

/// A value that looks like a secret and is none.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Variable")]
pub(super) struct PlainDocument {
    /// The value.
    pub(super) value: Scalar,
    /// Why it is no secret, for whoever reads the job: it is stored with it.
    pub(super) not_secret: Option<String>,
}

/// Text that is meant as a number; it never passes through a float.
#[derive(Deserialize)]
pub(super) struct Number(pub(super) String);

/// Text, a number or a boolean, taken as the text that was written.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Scalar(pub(super) String);

macro_rules! inline_schema {
    ($type:ident, $($schema:tt)*) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($($schema)*)
            }
        }
    };
}

inline_schema!(Number, { "type": ["string", "number"] });
inline_schema!(Scalar, { "type": ["string", "number", "boolean"] });

impl JsonSchema for VariableDocument {
    fn schema_name() -> Cow<'static, str> {
        "VariableDocument".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let plain = generator.subschema_for::<PlainDocument>();
        json_schema!({ "anyOf": [{ "type": ["string", "number", "boolean"] }, plain] })
    }
}

impl<T: JsonSchema> JsonSchema for TextOrFields<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("TextOrFields{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        TextOr::<T>::json_schema(generator)
    }
}

impl<T: JsonSchema> JsonSchema for TextOr<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("TextOr{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let other = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [{ "type": ["string", "number"] }, other] })
    }
}
