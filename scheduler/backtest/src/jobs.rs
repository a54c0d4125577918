//! What is submitted, and when: a trace of real jobs, or a folder of job files.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::NodeShape;
use spotwise_model::spec::{Format, Submission, parse};
use spotwise_model::time::after;

use super::error::BacktestError;
use super::skipped::Skipped;

/// The columns of a trace, in any order, possibly among others.
const COLUMNS: [&str; 4] = ["submit_s", "duration_s", "num_gpus", "virtual_cluster"];

/// Which jobs.
#[derive(Clone, Debug, PartialEq)]
pub struct JobsOptions {
    /// A trace (`.csv` or `.csv.gz`), or a folder of job files.
    pub path: PathBuf,
    /// Jobs of the trace to skip first, of those that fit the bounds below.
    pub from: usize,
    /// Take every n-th of those that follow.
    pub every: usize,
    /// At most this many.
    pub limit: usize,
    /// Shorter jobs are left out.
    pub shortest: Duration,
    /// Longer jobs are left out.
    pub longest: Duration,
    /// Jobs with more GPUs are left out.
    pub most_gpus: u32,
    /// A job's deadline as a multiple of its work.
    pub deadline_factor: f64,
    /// On top of that.
    pub deadline_slack: Duration,
    /// From the market's start to the first submission: what comes before is
    /// history to learn from.
    pub start_after: Duration,
}

/// One submission.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) at: Timestamp,
    pub(super) submission: Submission,
}

/// The market to which jobs are fitted.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    /// The machine in whose GPUs jobs are counted.
    pub(super) shape: NodeShape,
}

/// Reads them, in the order of submission.
pub(super) fn read(
    options: &JobsOptions,
    stage: &Stage,
) -> Result<(Vec<Arrival>, Skipped), BacktestError> {
    check(options)?;
    let (arrivals, skipped) = if options.path.is_dir() {
        (folder(options, stage)?, Skipped::default())
    } else {
        let rows = trace(&options.path)?;
        fit(rows, options, stage)?
    };
    if arrivals.is_empty() {
        return Err(BacktestError::NoJobs { path: options.path.clone(), skipped });
    }
    Ok((arrivals, skipped))
}

fn check(options: &JobsOptions) -> Result<(), BacktestError> {
    let range = |what, range: &str, value: String| {
        Err(BacktestError::Range { what, range: range.to_owned(), value })
    };
    if options.every == 0 {
        return range("jobs-every", "a number of at least 1", "0".to_owned());
    }
    if options.limit == 0 {
        return range("jobs-limit", "a number of at least 1", "0".to_owned());
    }
    if !(1.0..=1_000.0).contains(&options.deadline_factor) {
        let value = options.deadline_factor.to_string();
        return range("deadline-factor", "a number from 1 to 1000", value);
    }
    Ok(())
}

/// A job of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    submit: u64,
    duration: u64,
    gpus: u32,
    cluster: String,
}

fn trace(path: &Path) -> Result<Vec<Row>, BacktestError> {
    let file = std::fs::File::open(path)
        .map_err(|source| BacktestError::Read { path: path.to_owned(), source })?;
    let packed = path.extension().is_some_and(|extension| extension == "gz");
    let file = std::io::BufReader::new(file);
    let text: Box<dyn Read> =
        if packed { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
    rows(path, text)
}

fn rows(path: &Path, text: impl Read) -> Result<Vec<Row>, BacktestError> {
    let wrong = |line, problem| BacktestError::Jobs { path: path.to_owned(), line, problem };
    let mut table = csv::Reader::from_reader(text);
    let header = table.headers().map_err(|error| wrong(1, error.to_string()))?.clone();
    let mut places = [0; 4];
    for (place, column) in places.iter_mut().zip(COLUMNS) {
        let missing = || wrong(1, format!("the column `{column}` is missing"));
        *place = header.iter().position(|name| name.trim() == column).ok_or_else(missing)?;
    }
    let mut rows: Vec<Row> = Vec::new();
    for (number, record) in (2u64..).zip(table.records()) {
        let record = record.map_err(|error| wrong(number, error.to_string()))?;
        let line = record.position().map_or(number, csv::Position::line);
        let row = row(&record, places).map_err(|problem| wrong(line, problem))?;
        if rows.last().is_some_and(|last| last.submit > row.submit) {
            let problem = format!("`submit_s` {} is earlier than in the row before", row.submit);
            return Err(wrong(line, problem));
        }
        rows.push(row);
    }
    Ok(rows)
}

/// A year: the longest duration of a job.
const MOST_SECONDS: u64 = 366 * 86_400;

fn row(record: &csv::StringRecord, places: [usize; 4]) -> Result<Row, String> {
    let [submit, duration, gpus, cluster] =
        places.map(|place| record.get(place).unwrap_or_default().trim());
    let whole = |column: &str, text: &str, least: u64, most: u64| {
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| format!("`{column}`: `{text}` is no number from {least} to {most}"))
    };
    Ok(Row {
        submit: whole("submit_s", submit, 0, 10 * MOST_SECONDS)?,
        duration: whole("duration_s", duration, 1, MOST_SECONDS)?,
        gpus: whole("num_gpus", gpus, 1, 10_000)? as u32,
        cluster: cluster.to_owned(),
    })
}

/// The requested rows, as submissions from the stage's start on.
fn fit(
    rows: Vec<Row>,
    options: &JobsOptions,
    stage: &Stage,
) -> Result<(Vec<Arrival>, Skipped), BacktestError> {
    let mut skipped = Skipped::default();
    let fitting = rows.into_iter().filter(|row| {
        let duration = Duration::from_secs(row.duration);
        let left_out = if duration < options.shortest {
            &mut skipped.too_short
        } else if duration > options.longest {
            &mut skipped.too_long
        } else if row.gpus > options.most_gpus {
            &mut skipped.too_wide
        } else {
            return true;
        };
        *left_out += 1;
        false
    });
    let chosen: Vec<Row> = fitting.skip(options.from).step_by(options.every).collect();
    let first = chosen.first().map_or(0, |row| row.submit);
    let start = after(stage.start, options.start_after);
    let mut arrivals = Vec::new();
    for (number, row) in chosen.into_iter().take(options.limit).enumerate() {
        let at = after(start, Duration::from_secs(row.submit - first));
        let span = Duration::from_secs(row.duration).mul_f64(options.deadline_factor);
        let span = span.saturating_add(options.deadline_slack);
        if after(at, span) > stage.end {
            skipped.beyond_the_market += 1;
            continue;
        }
        let text = document(number + 1, &row, span, &stage.shape);
        let submission = parse(text.as_bytes(), Format::Yaml).map_err(|error| {
            BacktestError::JobFile { path: options.path.clone(), problem: error.to_string() }
        })?;
        arrivals.push(Arrival { at, submission });
    }
    Ok((arrivals, skipped))
}

/// A job of the trace as a job file: its GPUs on as few machines of that shape as hold
/// them, all at once.
fn document(number: usize, row: &Row, deadline: Duration, shape: &NodeShape) -> String {
    let on_one = shape.gpus.max(1);
    let nodes = row.gpus.div_ceil(on_one);
    let gpus = row.gpus.div_ceil(nodes);
    let accelerator = shape.accelerator.as_ref().map_or("", |name| name.as_str());
    let Row { duration, cluster, .. } = row;
    format!(
        "name: job-{number}\nclass: training\ncommand: [train]\n\
         resources: {{gpus: \"{accelerator}:{gpus}\", cpus: 1, memory: 1GB, nodes: {nodes}}}\n\
         work: {{duration: {duration}s}}\ndeadline: {}s\n\
         checkpoint: {{interval: 30m, grace: 2m}}\ntags: {{virtual_cluster: \"{}\"}}\n",
        deadline.as_secs().max(1),
        cluster.chars().filter(char::is_ascii_alphanumeric).collect::<String>(),
    )
}

/// Every job file of a folder, in name order, submitted at once.
fn folder(options: &JobsOptions, stage: &Stage) -> Result<Vec<Arrival>, BacktestError> {
    let unreadable = |source| BacktestError::Read { path: options.path.clone(), source };
    let mut files: Vec<(PathBuf, Format)> = Vec::new();
    for entry in std::fs::read_dir(&options.path).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("yaml" | "yml") => files.push((path, Format::Yaml)),
            Some("json") => files.push((path, Format::Json)),
            _ => {}
        }
    }
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    let at = after(stage.start, options.start_after);
    let read = |(path, format): (PathBuf, Format)| {
        let text = std::fs::read(&path)
            .map_err(|source| BacktestError::Read { path: path.clone(), source })?;
        let submission = parse(&text, format)
            .map_err(|error| BacktestError::JobFile { path, problem: error.to_string() })?;
        Ok(Arrival { at, submission })
    };
    files.into_iter().take(options.limit).map(read).collect()
}

#[cfg(test)]
#[path = "jobs_tests.rs"]
mod tests;
