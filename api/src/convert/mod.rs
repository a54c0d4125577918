//! Model <-> wire: one place for how things are spelt and worded on every
//! entrance.

mod attempt;
mod job;
mod log;
mod machine;
mod offer;
mod problem;
mod quote;
mod worker;

use jiff::Timestamp;

pub use attempt::attempt_summary;
pub use job::{JobFigures, blocked, deadline_source, held, job_summary};
pub use log::{LogLine, LogText, missing_line};
pub use machine::{MachineFigures, limit_view, machine_view};
pub use offer::{alternative, alternative_of, offer_view};
pub use problem::{ERROR_CODE_KEY, ERROR_FIELD_KEY, PROBLEM_TYPE_PREFIX, Problem};
pub use quote::{cost_ratio, quote_review, transfer};
pub use worker::{
    checkpoint_name, exit, memory, restored, secret_reference, step, stop_reason, told,
};

/// A field of a message that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct InvalidField {
    /// The field.
    pub field: &'static str,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// RFC 3339 in UTC.
pub fn time_text(time: Timestamp) -> String {
    time.to_string()
}

/// RFC 3339 in UTC; empty text for no time.
pub fn optional_time_text(time: Option<Timestamp>) -> String {
    time.map(time_text).unwrap_or_default()
}

/// Reads RFC 3339 with a zone; none for empty text.
pub fn parse_time(field: &'static str, text: &str) -> Result<Option<Timestamp>, InvalidField> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| InvalidField {
        field,
        message: "not a time such as 2026-03-01T12:00:00Z; the zone is needed".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_strictly() {
        let time = Timestamp::from_second(1_700_000_000).unwrap();
        assert_eq!(time_text(time), "2023-11-14T22:13:20Z");
        assert_eq!(parse_time("since", "2023-11-14T23:13:20+01:00"), Ok(Some(time)));
        assert_eq!(parse_time("since", ""), Ok(None));
        for text in ["2023-11-14", "2023-11-14T22:13:20", "yesterday", "99999-01-01T00:00:00Z"] {
            assert_eq!(parse_time("since", text).unwrap_err().field, "since", "{text}");
        }
    }
}
