//! What may be changed in a job that has not ended.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::document::{Number, RetriesDocument};
use super::error::{Problem, Under};
use super::tree::Value;
use super::validate::{Format, parse_tree};
use super::{Deadline, Retries, SpecError, work};
use crate::money::Money;
use crate::time;

/// The changes its owner wants. A field that is `None` stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Edit {
    /// Another budget.
    pub budget: Option<Money>,
    /// Another deadline.
    pub deadline: Option<NewDeadline>,
    /// Another priority.
    pub priority: Option<i32>,
    /// Other retries.
    pub retries: Option<EditRetries>,
}

/// The new deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NewDeadline {
    /// `8h` from now, or at a given time.
    To(Deadline),
    /// `+4h`: this much later than it is.
    Later(Duration),
    /// `-1h`: this much sooner than it is.
    Sooner(Duration),
}

/// How often it may be tried again. A field that is `None` stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct EditRetries {
    /// After failures of its own.
    pub errors: Option<u32>,
    /// After its capacity was taken back; inner `None` for no limit.
    pub interruptions: Option<Option<u32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EditDocument {
    budget_usd: Option<Number>,
    deadline: Option<String>,
    priority: Option<i32>,
    retries: Option<RetriesDocument>,
}

impl NewDeadline {
    /// The time it means for a job whose deadline is `old`.
    pub fn from(self, old: Timestamp, now: Timestamp) -> Timestamp {
        let back = |span| jiff::SignedDuration::try_from(span).unwrap_or(jiff::SignedDuration::MAX);
        match self {
            Self::To(Deadline::At(at)) => at,
            Self::To(Deadline::Within(span)) => time::after(now, span),
            Self::Later(span) => time::after(old, span),
            Self::Sooner(span) => time::add(old, -back(span)),
        }
    }
}

/// Reads the changes: a document with any of `budget_usd`, `deadline`, `priority` and
/// `retries`.
///
/// # Errors
/// A located error if a field is not one of these or its value makes no sense, or if none
/// is named.
pub fn parse_edit(text: &[u8], format: Format) -> Result<Edit, SpecError> {
    let tree = parse_tree(text, format)?;
    let nothing = || {
        let message = "names nothing to change: write any of `budget_usd`, `deadline`, \
                       `priority` and `retries`";
        Problem::new("empty_document", message)
    };
    let read = || -> Result<Edit, Problem> {
        if matches!(tree.value, Value::Empty | Value::Null) {
            return Err(nothing());
        }
        let EditDocument { budget_usd, deadline, priority, retries } =
            EditDocument::deserialize(&tree)?;
        let edit = Edit {
            budget: budget_usd
                .map(|Number(text)| work::budget(&text))
                .transpose()
                .under("budget_usd")?,
            deadline: deadline.map(|text| new_deadline(&text)).transpose().under("deadline")?,
            priority: priority.map(work::priority).transpose().under("priority")?,
            retries: retries.map(new_retries).transpose().under("retries")?,
        };
        if edit == Edit::default() { Err(nothing()) } else { Ok(edit) }
    };
    read().map_err(|problem| problem.into_error(Some(&tree)))
}

fn new_deadline(text: &str) -> Result<NewDeadline, Problem> {
    let (later, sooner) = (text.strip_prefix('+'), text.strip_prefix('-'));
    match (later, sooner) {
        (Some(span), _) => work::duration(span).map(NewDeadline::Later),
        (_, Some(span)) => work::duration(span).map(NewDeadline::Sooner),
        _ => work::deadline(text).map(NewDeadline::To),
    }
}

fn new_retries(document: RetriesDocument) -> Result<EditRetries, Problem> {
    let (errors, interruptions) = (document.errors, document.interruptions.is_some());
    let Retries { interruptions: limit, .. } = work::retries(document)?;
    Ok(EditRetries { errors, interruptions: interruptions.then_some(limit) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Edit, SpecError> {
        parse_edit(text.as_bytes(), Format::Yaml)
    }

    #[test]
    fn what_is_named_is_changed() {
        let edit = read("budget_usd: 2.00\ndeadline: +4h\npriority: 7\nretries: {errors: 3}\n");
        let edit = edit.unwrap();
        assert_eq!(edit.budget, Some(Money::from_micros(2_000_000)));
        assert_eq!(edit.deadline, Some(NewDeadline::Later(Duration::from_secs(4 * 3_600))));
        assert_eq!(edit.priority, Some(7));
        let retries = EditRetries { errors: Some(3), interruptions: None };
        assert_eq!(edit.retries, Some(retries));
        let unlimited = read("retries: {interruptions: unlimited}").unwrap().retries;
        assert_eq!(unlimited, Some(EditRetries { errors: None, interruptions: Some(None) }));
    }

    #[test]
    fn deadlines_are_moved_or_set() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let from = |text: &str| {
            let edit = read(&format!("deadline: \"{text}\"")).unwrap();
            edit.deadline.unwrap().from(at(10_000), at(1_000))
        };
        assert_eq!(from("+1h"), at(13_600));
        assert_eq!(from("-1h"), at(6_400));
        assert_eq!(from("1h"), at(4_600));
        assert_eq!(from("2026-08-01T08:00:00Z"), "2026-08-01T08:00:00Z".parse().unwrap());
    }

    #[test]
    fn what_makes_no_sense_is_located() {
        for (text, code, field) in [
            ("", "empty_document", ""),
            ("{}", "empty_document", ""),
            ("budget_usd: 0", "out_of_range", "budget_usd"),
            ("budget_usd: -1", "invalid_money", "budget_usd"),
            ("budget: 2", "unknown_field", "budget"),
            ("command: [x]", "unknown_field", "command"),
            ("deadline: soon", "invalid_deadline", "deadline"),
            ("deadline: +soon", "invalid_duration", "deadline"),
            ("priority: 101", "out_of_range", "priority"),
            ("retries: {errors: 101}", "out_of_range", "retries.errors"),
            ("[]", "invalid_type", ""),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!((error.code, error.field.as_str()), (code, field), "{text}: {error}");
        }
    }
}
