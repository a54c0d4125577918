//! From bytes to validated jobs.

use serde::{Deserialize, Serialize};

use super::document::{DataDocument, JobDocument, Number, PipelineDocument, Scalar};
use super::error::{Problem, Under};
use super::read::TextOr;
use super::tree::{Entry, Node, Value};
use super::{
    Class, DataPlace, JobSpec, Retries, SpecError, Work, amounts, json, many, paths, text, work,
    yaml,
};

/// The largest document, in bytes: 1 MiB, so that at the maximum number of jobs each has a
/// kilobyte.
pub const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;

const MAX_JOBS: usize = 1_000;
/// What `defaults:` may add to all jobs of a document together.
const MAX_DEFAULT_NODES: usize = 50_000;
const MAX_DEFAULT_BYTES: usize = 1024 * 1024;

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// YAML 1.2.
    Yaml,
    /// JSON.
    Json,
}

/// What one document submits: one job, or several that depend on each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// In document order; arrays not yet expanded.
    pub jobs: Vec<JobSpec>,
}

/// Reads and validates a document. Whatever the bytes are, it takes time and memory in
/// proportion to [`MAX_DOCUMENT_BYTES`] at most, and never panics.
pub fn parse(text: &[u8], format: Format) -> Result<Submission, SpecError> {
    let tree = with_defaults(parse_tree(text, format)?)?;
    let jobs = submission(&tree).map_err(|problem| problem.into_error(Some(&tree)))?;
    Ok(Submission { jobs })
}

/// Any document, before its fields are looked at.
pub(super) fn parse_tree(text: &[u8], format: Format) -> Result<Node, SpecError> {
    let text = decode(text).map_err(|problem| problem.into_error(None))?;
    let tree = match format {
        Format::Yaml => yaml::read(text),
        Format::Json => json::read(text),
    };
    tree.map_err(|problem| problem.into_error(None))
}

/// The same text for the same jobs, however they were written: what idempotency keys are
/// compared by.
pub fn canonical(submission: &Submission) -> String {
    #[derive(Serialize)]
    struct Canonical<'s> {
        jobs: &'s [JobSpec],
    }
    serde_json::to_string(&Canonical { jobs: &submission.jobs })
        .expect("every map of a spec has text keys")
}

fn decode(bytes: &[u8]) -> Result<&str, Problem> {
    if bytes.len() > MAX_DOCUMENT_BYTES {
        let message = format!(
            "{} bytes are more than {MAX_DOCUMENT_BYTES}; move data into inputs, or submit \
             several documents",
            bytes.len()
        );
        return Err(Problem::new("document_too_large", message));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let message = format!("not UTF-8 at byte {}; save it as UTF-8", error.valid_up_to());
        Problem::new("not_utf8", message)
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Copies the fields of `defaults` into every job that lacks them. Each keeps
/// its place in the text.
fn with_defaults(mut tree: Node) -> Result<Node, SpecError> {
    let Some(defaults) = tree.field("defaults").cloned() else { return Ok(tree) };
    let Value::Map(defaults) = &defaults.value else { return Ok(tree) };
    let jobs = tree.field("jobs").map_or(0, |jobs| match &jobs.value {
        Value::List(jobs) => jobs.len(),
        _ => 0,
    });
    let (nodes, bytes) = defaults
        .iter()
        .map(|entry| entry.value.weight())
        .fold((0, 0), |(nodes, bytes): (usize, usize), w| (nodes + w.nodes, bytes + w.bytes));
    if jobs.saturating_mul(nodes) > MAX_DEFAULT_NODES
        || jobs.saturating_mul(bytes) > MAX_DEFAULT_BYTES
    {
        let problem = Problem::new("document_too_large", "too much for so many jobs");
        return Err(problem.key("defaults").into_error(Some(&tree)));
    }
    let Value::Map(entries) = &mut tree.value else { return Ok(tree) };
    let lists = entries.iter_mut().filter(|entry| entry.key == "jobs");
    for job in lists.flat_map(|entry| match &mut entry.value.value {
        Value::List(jobs) => jobs.as_mut_slice(),
        _ => &mut [],
    }) {
        if let Value::Map(fields) = &mut job.value {
            add_missing(fields, defaults);
        }
    }
    Ok(tree)
}

fn add_missing(fields: &mut Vec<Entry>, defaults: &[Entry]) {
    for default in defaults {
        if !fields.iter().any(|field| field.key == default.key) {
            fields.push(default.clone());
        }
    }
}

fn submission(tree: &Node) -> Result<Vec<JobSpec>, Problem> {
    if matches!(tree.value, Value::Empty | Value::Null) {
        let message = "is empty; write a job with at least `name` and `command`";
        return Err(Problem::new("empty_document", message));
    }
    if tree.field("jobs").is_none() {
        let document = JobDocument::deserialize(tree)?;
        let job = job(document, &mut { many::MAX_ELEMENTS })?;
        many::check_names(std::slice::from_ref(&job)).map_err(|(_, problem)| problem)?;
        return Ok(vec![job]);
    }
    let PipelineDocument { defaults, jobs } = PipelineDocument::deserialize(tree)?;
    if defaults.is_some_and(|defaults| defaults.name.is_some()) {
        let message = "every job needs a name of its own";
        return Err(Problem::new("conflicting_fields", message).key("name").key("defaults"));
    }
    if jobs.is_empty() || jobs.len() > MAX_JOBS {
        let message = format!("list 1 to {MAX_JOBS} jobs (an `array` counts as one)");
        return Err(Problem::new("out_of_range", message).key("jobs"));
    }
    let mut allowance = many::MAX_ELEMENTS;
    let jobs = jobs
        .into_iter()
        .enumerate()
        .map(|(index, document)| job(document, &mut allowance).item(index).under("jobs"))
        .collect::<Result<Vec<_>, _>>()?;
    many::check_names(&jobs).map_err(|(index, problem)| problem.index(index).key("jobs"))?;
    check_defaults(tree).under("defaults")?;
    Ok(jobs)
}

/// Refuses a default that no job takes and none could. Each is checked alone: fields that
/// cannot go together in one job may be spread over several.
fn check_defaults(tree: &Node) -> Result<(), Problem> {
    /// A name that no job they wait for has.
    const NOBODY: &str = "nobody-is-named-like-this-and-nothing-waits-for-it";
    let Some(Node { value: Value::Map(fields), .. }) = tree.field("defaults") else {
        return Ok(());
    };
    for field in fields {
        let alone = Node { value: Value::Map(vec![field.clone()]), at: None };
        let document = JobDocument::deserialize(&alone)?;
        let command = || TextOr::Other(vec![Scalar(NOBODY.to_owned())]);
        let document = JobDocument {
            name: Some(NOBODY.to_owned()),
            command: Some(document.command.unwrap_or_else(command)),
            ..document
        };
        job(document, &mut { many::MAX_ELEMENTS })?;
    }
    Ok(())
}

/// Validates one job; `allowance` is how many array elements are left to the
/// document.
fn job(document: JobDocument, allowance: &mut usize) -> Result<JobSpec, Problem> {
    let missing = |field: &str| Problem::new("missing_field", "is required").key(field);
    let name = text::name(document.name.ok_or_else(|| missing("name"))?).under("name")?;
    let command = document.command.ok_or_else(|| missing("command"))?;
    let class = document.class.unwrap_or_default();
    let priority = work::priority(document.priority.unwrap_or(0)).under("priority")?;
    let array = match (document.array, document.sweep) {
        (Some(_), Some(_)) => {
            let message = "is given together with `array`; keep one of them";
            return Err(Problem::new("conflicting_fields", message).key("sweep"));
        }
        (Some(array), None) => Some(many::array(&array, *allowance).under("array")?),
        (None, Some(sweep)) => Some(many::sweep(sweep, *allowance).under("sweep")?),
        (None, None) => None,
    };
    *allowance -= array.as_ref().map_or(0, |array| array.elements.len());
    let (env, not_secret) = text::env(document.env.unwrap_or_default()).under("env")?;
    let secrets = text::secrets(document.secrets.unwrap_or_default(), &env).under("secrets")?;
    let retries = document.retries.map_or(Ok(Retries { errors: 1, interruptions: None }), |r| {
        work::retries(r).under("retries")
    })?;
    let resources =
        amounts::resources(document.resources.unwrap_or_default()).under("resources")?;
    if resources.nodes > 1 {
        text::gang(&env).under("env")?;
        if array.as_ref().is_some_and(|array| array.reuse_workers) {
            let message = "the workers of a gang begin and end together: remove it, or \
                           `resources.nodes`";
            return Err(Problem::new("conflicting_fields", message).key("reuse_workers"))
                .under("array");
        }
    }
    Ok(JobSpec {
        title: document.title.map(text::title).transpose().under("title")?,
        model: document.model.map(text::model).transpose().under("model")?,
        class,
        image: document.image.map(paths::image).transpose().under("image")?,
        command: text::command(command).under("command")?,
        workdir: document.workdir.map(paths::workdir).transpose().under("workdir")?,
        resources,
        work: document.work.map_or(Ok(Work::Unknown), work::work).under("work")?,
        deadline: document.deadline.map(|d| work::deadline(&d)).transpose().under("deadline")?,
        budget: document
            .budget_usd
            .map(|Number(dollars)| work::budget(&dollars))
            .transpose()
            .under("budget_usd")?,
        checkpoint: document.checkpoint.map(work::checkpoint).transpose().under("checkpoint")?,
        interruptible: document.interruptible.unwrap_or(class != Class::Critical),
        retries,
        timeout: document.timeout.map(|t| work::duration(&t)).transpose().under("timeout")?,
        env,
        not_secret,
        secrets,
        tags: text::tags(document.tags.unwrap_or_default()).under("tags")?,
        priority,
        after: many::dependencies(document.after.unwrap_or_default(), &name).under("after")?,
        array,
        inputs: paths::inputs(document.inputs.unwrap_or_default()).under("inputs")?,
        outputs: paths::outputs(document.outputs.unwrap_or_default()).under("outputs")?,
        data: document.data.as_ref().map(data).transpose().under("data")?,
        name,
    })
}

fn data(document: &DataDocument) -> Result<DataPlace, Problem> {
    Ok(DataPlace {
        region: amounts::region(&document.region).under("region")?,
        bytes: amounts::bytes(&document.size).under("size")?,
    })
}
