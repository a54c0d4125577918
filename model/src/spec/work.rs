//! How much work there is, by when, and how progress is saved.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::amounts::{accelerator, bytes};
use super::document::{CheckpointDocument, Number, RetriesDocument, Scalar, WorkDocument};
use super::error::{Problem, Under, shown};
use super::read::TextOr;
use super::{Checkpoint, Deadline, JobSpec, Retries, SpecError, Work, paths};
use crate::id::Accelerator;
use crate::money::{InvalidMoney, Money};
use crate::time::{self, MAX_DURATION};

pub(super) const MAX_STEPS: u64 = 1_000_000_000_000;
pub(super) const MAX_GRACE: Duration = Duration::from_secs(3_600);
pub(super) const MAX_INTERRUPTIONS: u32 = 10_000;
pub(super) const MAX_ACCELERATORS: usize = 64;
const DEFAULT_INTERVAL: Duration = Duration::from_secs(15 * 60);
const DEFAULT_GRACE: Duration = Duration::from_secs(30);
/// 2020-01-01 and 2100-01-01: a time outside this range is a typing error.
const SANE_SECONDS: std::ops::Range<i64> = 1_577_836_800..4_102_444_800;

/// Refuses a deadline that is not after `now` (market time) or more than a year away.
/// Separate from [`parse`](super::parse), which has no clock.
pub fn check_deadline(spec: &JobSpec, now: Timestamp) -> Result<(), SpecError> {
    match spec.deadline {
        Some(Deadline::At(deadline)) => check_deadline_at(deadline, now),
        _ => Ok(()),
    }
}

/// Refuses a time that can be no deadline: not after `now` (market time), or more
/// than a year away.
pub fn check_deadline_at(deadline: Timestamp, now: Timestamp) -> Result<(), SpecError> {
    let refuse =
        |code, message: String| Err(Problem::new(code, message).key("deadline").into_error(None));
    if deadline <= now {
        return refuse("deadline_in_the_past", format!("{deadline} is not after now, {now}"));
    }
    if time::between(now, deadline) > MAX_DURATION {
        return refuse("deadline_too_far", format!("{deadline} is more than a year away"));
    }
    Ok(())
}

pub(super) fn priority(priority: i32) -> Result<i32, Problem> {
    if (-100..=100).contains(&priority) {
        return Ok(priority);
    }
    Err(Problem::new("out_of_range", "must be -100 to 100"))
}

pub(super) fn duration(text: &str) -> Result<Duration, Problem> {
    time::parse_duration(text).map_err(|invalid| {
        Problem::new("invalid_duration", format!("{} is {invalid}", shown(text)))
    })
}

/// `8h`, or RFC 3339 with its zone.
pub(super) fn deadline(text: &str) -> Result<Deadline, Problem> {
    if let Ok(span) = time::parse_duration(text) {
        return Ok(Deadline::Within(span));
    }
    let at = is_rfc3339(text).then(|| text.parse::<Timestamp>().ok()).flatten();
    match at.filter(|at| SANE_SECONDS.contains(&at.as_second())) {
        Some(at) => Ok(Deadline::At(at)),
        None => {
            let message = format!(
                "{} is not a deadline: write a time with its zone, such as 2026-08-01T08:00:00Z, \
                 or a duration of at most a year, such as 8h",
                shown(text)
            );
            Err(Problem::new("invalid_deadline", message))
        }
    }
}

/// The shape `2026-08-01T08:00:00[.5](Z|+02:00)`; whether the day exists is left to the
/// time library, which alone would accept looser shapes.
fn is_rfc3339(text: &str) -> bool {
    let fits = |text: &str, shape: &str| {
        text.len() == shape.len()
            && text.bytes().zip(shape.bytes()).all(|(b, s)| match s {
                b'0' => b.is_ascii_digit(),
                b'+' => b == b'+' || b == b'-',
                _ => b == s,
            })
    };
    let Some((time, rest)) = text.split_at_checked(19) else { return false };
    let zone = rest
        .strip_prefix('.')
        .map_or(rest, |fraction| fraction.trim_start_matches(|c: char| c.is_ascii_digit()));
    let fraction = rest.len() - zone.len();
    fits(time, "0000-00-00T00:00:00")
        && !time.ends_with(":60")
        && (fraction == 0 || (2..=10).contains(&fraction))
        && time.get(11..13).is_some_and(|hour| hour < "24")
        && (zone == "Z" || fits(zone, "+00:00"))
}

/// Above 0: a job that may cost nothing can never run.
pub(super) fn budget(text: &str) -> Result<Money, Problem> {
    let budget = text.parse().map_err(|invalid: InvalidMoney| {
        let message =
            format!("{} is {invalid}; write dollars such as 25 or \"12.50\"", shown(text));
        Problem::new("invalid_money", message)
    })?;
    if budget == Money::ZERO {
        let message = "must be above 0: a job that may cost nothing never runs; leave it out \
                       for no limit";
        return Err(Problem::new("out_of_range", message));
    }
    Ok(budget)
}

pub(super) fn work(document: WorkDocument) -> Result<Work, Problem> {
    let WorkDocument { duration: span, steps, steps_per_hour } = document;
    match (span, steps, steps_per_hour) {
        (Some(span), None, None) => {
            let (default, by_accelerator) = by_accelerator(span, duration).under("duration")?;
            Ok(Work::Duration { default, by_accelerator })
        }
        (None, Some(total), rates) => {
            if !(1..=MAX_STEPS).contains(&total) {
                let message = format!("must be 1 to {MAX_STEPS}");
                return Err(Problem::new("out_of_range", message).key("steps"));
            }
            let rates = rates.map(|rates| by_accelerator(rates, rate)).transpose();
            let (steps_per_hour, by_accelerator) =
                rates.under("steps_per_hour")?.unwrap_or_default();
            Ok(Work::Steps { total, steps_per_hour, by_accelerator })
        }
        (Some(_), ..) => {
            let message = "write either `duration`, or `steps` with `steps_per_hour`";
            Err(Problem::new("conflicting_fields", message))
        }
        (None, None, Some(_)) => Err(Problem::new("missing_field", "is required").key("steps")),
        (None, None, None) => {
            Err(Problem::new("missing_field", "write `duration`, or `steps`, or leave `work` out"))
        }
    }
}

fn rate(text: &str) -> Result<u64, Problem> {
    let plain = !text.is_empty() && text.len() <= 13 && text.bytes().all(|b| b.is_ascii_digit());
    let rate = plain.then(|| text.parse().ok()).flatten();
    rate.filter(|rate| (1..=MAX_STEPS).contains(rate)).ok_or_else(|| {
        let message = format!("{} is not a whole number of steps above 0", shown(text));
        Problem::new("invalid_number", message)
    })
}

type ByAccelerator<T> = (Option<T>, BTreeMap<Accelerator, T>);

/// One value for all, or one for each accelerator with `default` for the rest.
fn by_accelerator<T>(
    written: TextOr<BTreeMap<String, Scalar>>,
    read: impl Fn(&str) -> Result<T, Problem>,
) -> Result<ByAccelerator<T>, Problem> {
    let listed = match written {
        TextOr::Text(text) => return Ok((Some(read(&text)?), BTreeMap::new())),
        TextOr::Other(listed) => listed,
    };
    if listed.is_empty() || listed.len() > MAX_ACCELERATORS {
        let message = format!("name 1 to {MAX_ACCELERATORS} accelerators");
        return Err(Problem::new("out_of_range", message));
    }
    let mut values: ByAccelerator<T> = (None, BTreeMap::new());
    for (name, Scalar(text)) in listed {
        let value = read(&text).under(&name)?;
        if name == "default" {
            values.0 = Some(value);
        } else if values.1.insert(accelerator(&name).under(&name)?, value).is_some() {
            let message = "this accelerator is given twice, in two spellings";
            return Err(Problem::new("duplicate_key", message).key(&name));
        }
    }
    Ok(values)
}

pub(super) fn checkpoint(document: CheckpointDocument) -> Result<Checkpoint, Problem> {
    let span = |text: Option<String>, default| text.map_or(Ok(default), |text| duration(&text));
    let interval = span(document.interval, DEFAULT_INTERVAL).under("interval")?;
    let grace = span(document.grace, DEFAULT_GRACE).under("grace")?;
    if grace > MAX_GRACE {
        return Err(Problem::new("out_of_range", "must be at most 1h").key("grace"));
    }
    let keep = document.keep.unwrap_or(3);
    if !(2..=100).contains(&keep) {
        let message = "must be 2 to 100: the newest may prove broken, and the one before is needed";
        return Err(Problem::new("out_of_range", message).key("keep"));
    }
    Ok(Checkpoint {
        dir: document.dir.map(paths::relative).transpose().under("dir")?,
        interval,
        grace,
        resumable: document.resumable.unwrap_or(true),
        keep,
        bytes: document.size.map(|text| bytes(&text)).transpose().under("size")?,
        signal: document.signal.unwrap_or_default(),
    })
}

pub(super) fn retries(document: RetriesDocument) -> Result<Retries, Problem> {
    let errors = document.errors.unwrap_or(1);
    if errors > 100 {
        return Err(Problem::new("out_of_range", "must be 0 to 100").key("errors"));
    }
    let interruptions = match document.interruptions {
        None => None,
        Some(Number(text)) if text == "unlimited" => None,
        Some(Number(text)) => {
            let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let number =
                plain.then(|| text.parse().ok()).flatten().filter(|n| *n <= MAX_INTERRUPTIONS);
            Some(number.ok_or_else(|| {
                let message =
                    format!("write a whole number up to {MAX_INTERRUPTIONS}, or `unlimited`");
                Problem::new("invalid_number", message).key("interruptions")
            })?)
        }
    };
    Ok(Retries { errors, interruptions })
}
