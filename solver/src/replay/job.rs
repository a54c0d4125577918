//! The job of a window, in fifths of a step.

/// Fifths of a step in a step.
pub const FIFTHS: u64 = 5;

/// One job with a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its work, in fifths of a step.
    pub work: u64,
    /// What every start spends without progress, in fifths of a step.
    pub changeover: u64,
    /// Steps from its start to its deadline.
    pub deadline: usize,
}

/// A job that cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum JobError {
    /// No work, or no number.
    #[error("the hours of work must be a number above 0 and at most {most}, not {hours}", most = MOST_HOURS)]
    Hours {
        /// What was given.
        hours: f64,
    },
    /// Less time than work, or no number.
    #[error("a deadline factor must be a number from 1 to 1000, not {factor}")]
    Factor {
        /// What was given.
        factor: f64,
    },
    /// Below zero, or no number.
    #[error("the changeover must be a number of seconds from 0 to {most}, not {seconds}", most = MOST_CHANGEOVER)]
    Changeover {
        /// What was given.
        seconds: f64,
    },
    /// Rounded to fifths of a step, nothing is left.
    #[error("{hours} hours are less than half a fifth of a step of {step_seconds} s")]
    TooShort {
        /// What was given.
        hours: f64,
        /// Of the market.
        step_seconds: u32,
    },
}

/// The longest job: a year.
const MOST_HOURS: f64 = 366.0 * 24.0;
const MOST_FACTOR: f64 = 1_000.0;
/// The longest changeover, in seconds: 30 days.
const MOST_CHANGEOVER: f64 = 30.0 * 86_400.0;

impl Job {
    /// A job of `hours` of work that must be done `factor` times that after its
    /// start, on a market with steps of `step_seconds`.
    pub fn new(
        hours: f64,
        factor: f64,
        changeover_seconds: f64,
        step_seconds: u32,
    ) -> Result<Self, JobError> {
        if !(hours > 0.0 && hours <= MOST_HOURS) {
            return Err(JobError::Hours { hours });
        }
        if !(1.0..=MOST_FACTOR).contains(&factor) {
            return Err(JobError::Factor { factor });
        }
        if !(0.0..=MOST_CHANGEOVER).contains(&changeover_seconds) {
            return Err(JobError::Changeover { seconds: changeover_seconds });
        }
        let step = f64::from(step_seconds.max(1));
        let fifth = step / FIFTHS as f64;
        let job = Self {
            work: (hours * 3_600.0 / fifth).round() as u64,
            changeover: (changeover_seconds / fifth).round() as u64,
            deadline: (hours * 3_600.0 * factor / step).floor() as usize,
        };
        if job.work == 0 { Err(JobError::TooShort { hours, step_seconds }) } else { Ok(job) }
    }
}
