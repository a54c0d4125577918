//! How long a pool's provider takes.

use std::time::Duration;

use super::document::TimesDocument;
use super::fields::{Field, Problems};
use super::values::Time;
use crate::pool::{Pool, PoolTimes};
use crate::spec::error::Problem;

/// The times of a pool. A timeout that is shorter than what it waits for is refused.
pub(super) fn times(
    document: Option<TimesDocument>,
    pool: &Pool,
    problems: &mut Problems,
) -> PoolTimes {
    let usual = &pool.times;
    let Some(document) = document else { return usual.clone() };
    let of_machines = [
        of("boot", &document.boot),
        of("launch_timeout", &document.launch_timeout),
        of("registration_timeout", &document.registration_timeout),
        of("termination", &document.termination),
        of("consistency", &document.consistency),
        of("keep", &document.keep),
    ];
    let of_workers = [of("start", &document.start), of("start_timeout", &document.start_timeout)];
    let whole = of_machines.iter().chain(&of_workers).all(|field| !field.refused);
    if pool.features.instant {
        for Written { name, .. } in of_machines.iter().filter(|field| field.written) {
            let kind = pool.kind.name();
            let message =
                format!("machines of a pool of kind `{kind}` are there at once; leave it out");
            problems.add(Problem::new("not_of_this_kind", message).key(name));
        }
        let start = time(document.start).unwrap_or(usual.start);
        let start_timeout = time(document.start_timeout).unwrap_or(usual.start_timeout);
        if whole {
            longer(("start_timeout", start_timeout), ("start", start), problems);
        }
        return PoolTimes { start, start_timeout, ..usual.clone() };
    }
    let times = PoolTimes {
        boot: time(document.boot).unwrap_or(usual.boot),
        start: time(document.start).unwrap_or(usual.start),
        launch_timeout: time(document.launch_timeout).unwrap_or(usual.launch_timeout),
        registration_timeout: time(document.registration_timeout)
            .unwrap_or(usual.registration_timeout),
        start_timeout: time(document.start_timeout).unwrap_or(usual.start_timeout),
        termination: time(document.termination).unwrap_or(usual.termination),
        consistency: time(document.consistency).unwrap_or(usual.consistency),
        keep: time(document.keep).unwrap_or(usual.keep),
    };
    let awaited = [
        (("start_timeout", times.start_timeout), ("start", times.start)),
        (("registration_timeout", times.registration_timeout), ("boot", times.boot)),
        (("launch_timeout", times.launch_timeout), ("consistency", times.consistency)),
    ];
    for (timeout, awaited) in awaited.into_iter().filter(|_| whole) {
        longer(timeout, awaited, problems);
    }
    times
}

/// What is known of a field before its value is taken.
struct Written {
    name: &'static str,
    written: bool,
    refused: bool,
}

fn of<T>(name: &'static str, field: &Field<T>) -> Written {
    Written { name, written: field.is_written(), refused: field.is_refused() }
}

/// Adds a timeout that ends before what it waits for can be expected.
fn longer(timeout: (&str, Duration), awaited: (&str, Duration), problems: &mut Problems) {
    if timeout.1 <= awaited.1 {
        let message = format!(
            "{} s is not longer than `{}`, {} s: it would end before that is over; raise it",
            timeout.1.as_secs(),
            awaited.0,
            awaited.1.as_secs()
        );
        problems.add(Problem::new("timeout_too_short", message).key(timeout.0));
    }
}

fn time<const LEAST: u64, const MOST: u64>(field: Field<Time<LEAST, MOST>>) -> Option<Duration> {
    field.given().map(|Time(time)| time)
}
