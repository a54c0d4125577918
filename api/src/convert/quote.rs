//! Quotes: beside what came of them, and the words for moved data.

use spotwise_model::spec::DataPlace;
use spotwise_model::{Job, JobState, Money};

use super::{optional_time_text, time_text};
use crate::v1;

/// A job's quote beside what came of it so far; none before the planner has looked
/// at it. `spent` is what it has cost, `settled` whether nothing more can come.
pub fn quote_review(job: &Job, spent: Money, settled: bool) -> Option<v1::QuoteReview> {
    let quoted = job.quoted?;
    let ended = job.state.ended();
    let late = ended.map_or(0, |at| at.duration_since(quoted.finish.p50).as_secs());
    Some(v1::QuoteReview {
        quoted_at: time_text(quoted.at),
        expected_micros: quoted.expected_cost.micros(),
        p50_micros: quoted.cost.p50.micros(),
        p90_micros: quoted.cost.p90.micros(),
        finish_p50: time_text(quoted.finish.p50),
        finish_p90: time_text(quoted.finish.p90),
        expected_interruptions: quoted.interruptions,
        r#final: settled && matches!(job.state, JobState::Succeeded { .. }),
        actual_micros: spent.micros(),
        actual_interruptions: job.interruptions,
        finished: optional_time_text(ended),
        cost_ratio: cost_ratio(job).filter(|_| settled).unwrap_or_default(),
        finish_late_seconds: late,
    })
}

/// Actual by expected cost of a settled job; none where there is nothing to compare:
/// no success, no quote, or nothing expected.
pub fn cost_ratio(job: &Job) -> Option<f64> {
    let expected = job.quoted?.expected_cost;
    let done = matches!(job.state, JobState::Succeeded { .. });
    (done && expected > Money::ZERO).then(|| job.spent.dollars() / expected.dollars())
}

/// `$3.20 of it for moving 160 GB from us-east-1`; empty where nothing is moved.
pub fn transfer(amount: Money, data: Option<&DataPlace>) -> String {
    match data {
        Some(data) if amount > Money::ZERO => {
            format!("{} of it for moving {} from {}", amount.human(), size(data.bytes), data.region)
        }
        _ => String::new(),
    }
}

/// `160 GB`, `1.5 GB`, `512 MB`: units of 1000.
fn size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        1_000_000_000_000.. => (1_000_000_000_000, "TB"),
        1_000_000_000.. => (1_000_000_000, "GB"),
        _ => (1_000_000, "MB"),
    };
    let tenths = bytes.div_ceil(unit / 10);
    match tenths % 10 {
        0 => format!("{} {name}", tenths / 10),
        tenth => format!("{}.{tenth} {name}", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use spotwise_model::quote::{Quoted, Spread};

    use super::*;
    use crate::convert::job::tests::{at, job};

    fn quoted(state: JobState, spent: i64) -> Job {
        let money = Money::from_micros;
        let quoted = Quoted {
            at: at(0),
            expected_cost: money(200),
            cost: Spread { p50: money(180), p90: money(260) },
            finish: Spread { p50: at(500), p90: at(700) },
            interruptions: 0.4,
        };
        Job { quoted: Some(quoted), spent: money(spent), ..job(state) }
    }

    #[test]
    fn a_quote_stands_beside_what_came() {
        let done = quoted(JobState::Succeeded { at: at(440) }, 230);
        let review = quote_review(&done, done.spent, true).unwrap();
        assert_eq!((review.expected_micros, review.actual_micros), (200, 230));
        assert!(review.r#final && (review.cost_ratio - 1.15).abs() < 1e-9);
        assert_eq!((review.finish_late_seconds, review.actual_interruptions), (-60, 1));
        let open = quote_review(&done, Money::from_micros(250), false).unwrap();
        assert!(!open.r#final && open.cost_ratio == 0.0, "charges are still to come");
        let failed = quoted(
            JobState::Cancelled { at: at(440), why: spotwise_model::job::CancelReason::Owner },
            30,
        );
        let review = quote_review(&failed, failed.spent, true).unwrap();
        assert!(!review.r#final && review.cost_ratio == 0.0, "it did not do the work");
        assert_eq!(quote_review(&Job { quoted: None, ..done }, Money::ZERO, true), None);
    }

    #[test]
    fn moved_data_is_said_in_the_units_that_people_write() {
        let data = |bytes| DataPlace { region: "us-east-1".to_owned(), bytes };
        let said = |bytes| transfer(Money::from_micros(3_200_000), Some(&data(bytes)));
        assert_eq!(said(160_000_000_000), "$3.20 of it for moving 160 GB from us-east-1");
        assert!(said(1_500_000_000_000).contains("1.5 TB") && said(1).contains("0.1 MB"));
        assert_eq!(transfer(Money::ZERO, Some(&data(5))), "");
        assert_eq!(transfer(Money::from_micros(5), None), "");
    }
}
