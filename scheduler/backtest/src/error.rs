//! What can be wrong with a backtest.

use std::path::PathBuf;

use spotwise_solver::replay::{self, JobError, OptimalError, UnknownPolicy};

use spotwise_market::MarketError;

/// A backtest that cannot be run. None of these errors goes away on a retry.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The index is not JSON of the expected form.
    #[error("{} is not an index of recordings", path.display())]
    Index {
        /// Which.
        path: PathBuf,
        /// The parser's message, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// The index does not list the recording.
    #[error("{} has no entry for {file}; it has {known}", path.display())]
    NotInIndex {
        /// The index.
        path: PathBuf,
        /// The recording's name.
        file: String,
        /// The listed recordings.
        known: String,
    },
    /// A value of the index is wrong.
    #[error("{}, entry {file}, `{field}`: {problem}", path.display())]
    IndexValue {
        /// The index.
        path: PathBuf,
        /// The recording's name.
        file: String,
        /// The field.
        field: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The recording itself.
    #[error(transparent)]
    Recording(#[from] MarketError),
    /// The market does not have the machine type.
    #[error("{market} has no {instance_type}; it has {known}")]
    UnknownType {
        /// The recording.
        market: String,
        /// The requested type.
        instance_type: String,
        /// The available types.
        known: String,
    },
    /// The market does not have the type in that zone.
    #[error("{market} has no {instance_type} in zone `{zone}`; it has {known}")]
    UnknownZone {
        /// The recording.
        market: String,
        /// The machine type.
        instance_type: String,
        /// The requested zone.
        zone: String,
        /// The zones that have it.
        known: String,
    },
    /// An impossible market.
    #[error("{market}: {source}")]
    Market {
        /// The recording.
        market: String,
        /// What is wrong.
        source: replay::MarketError,
    },
    /// The job is invalid.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The policy is unknown.
    #[error(transparent)]
    Policy(#[from] UnknownPolicy),
    /// The optimum is too large.
    #[error(transparent)]
    Optimal(#[from] OptimalError),
    /// A list that needs entries has none.
    #[error("`{what}` needs at least one entry")]
    Empty {
        /// Which list.
        what: &'static str,
    },
    /// A list names something twice.
    #[error("`{what}` names {value} twice")]
    Twice {
        /// Which list.
        what: &'static str,
        /// What.
        value: String,
    },
    /// A number is out of its range.
    #[error("`{what}` must be {range}, not {value}")]
    Range {
        /// Which number.
        what: &'static str,
        /// What is accepted.
        range: String,
        /// What was given.
        value: String,
    },
    /// The recording is shorter than a window.
    #[error(
        "a window of this job needs {needed} steps, and {market} has {steps}; take fewer hours or a smaller deadline factor"
    )]
    TooShort {
        /// The recording.
        market: String,
        /// Steps that a window needs.
        needed: usize,
        /// Steps available.
        steps: usize,
    },
    /// A row of a trace of jobs is wrong.
    #[error("{}, line {line}: {problem}", path.display())]
    Jobs {
        /// The trace.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// What is wrong.
        problem: String,
    },
    /// A job file is wrong.
    #[error("{}: {problem}", path.display())]
    JobFile {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Nothing is left to replay.
    #[error(
        "{} has no jobs to replay: {} are too short, {} too long, {} too wide, {} end after the market",
        path.display(), skipped.too_short, skipped.too_long, skipped.too_wide, skipped.beyond_the_market
    )]
    NoJobs {
        /// The trace or folder.
        path: PathBuf,
        /// Why they are skipped.
        skipped: super::skipped::Skipped,
    },
    /// The scheduler refuses a job.
    #[error("job {name} is refused: {problem}")]
    Refused {
        /// The job's name.
        name: String,
        /// Why.
        problem: String,
    },
    /// A planner made an invalid plan.
    #[error("a plan of {planner} at {at} fails its audit: {problem}")]
    WrongPlan {
        /// The planner.
        planner: String,
        /// When (market time).
        at: jiff::Timestamp,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no planner of that name.
    #[error("no planner is called `{name}`; there are {known}")]
    UnknownPlanner {
        /// The requested name.
        name: String,
        /// The available planners.
        known: String,
    },
}
