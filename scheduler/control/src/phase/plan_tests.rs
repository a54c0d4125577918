use spotwise_model::Money;
use spotwise_model::quote::Spread;
use spotwise_model::time::after;

use std::time::Duration;

use super::*;
use crate::fixture::{at, job, now, state_of};

fn quoted(micros: i64) -> Quoted {
    let cost = Money::from_micros(micros);
    Quoted {
        at: at(1),
        expected_cost: cost,
        cost: Spread { p50: cost, p90: cost },
        finish: Spread { p50: at(5), p90: after(at(5), Duration::from_secs(60)) },
        interruptions: 0.5,
    }
}

fn quotes(ids: &[u64], micros: i64) -> BTreeMap<JobId, Quoted> {
    ids.iter().map(|id| (JobId(*id), quoted(micros))).collect()
}

/// Job 1 gets another reason to wait, job 2 waits as before, job 3 has its quote, job 4 has
/// ended, job 5 is unknown.
#[test]
fn a_job_keeps_the_first_quote_that_a_plan_makes() {
    let mut over = job(4, "dev");
    over.state = JobState::Cancelled { at: at(0), why: spotwise_model::job::CancelReason::Owner };
    let mut known = job(3, "dev");
    known.quoted = Some(quoted(7));
    let jobs = [job(1, "dev"), job(2, "dev"), known, over];
    let mut state = state_of(jobs.into_iter().map(Change::from).collect());
    let full = WaitReason::NoCapacity { suitable_offers: 2 };
    let plan = Plan {
        waits: BTreeMap::from([(JobId(1), full), (JobId(2), WaitReason::Queued)]),
        quotes: quotes(&[1, 2, 3, 4, 5], 11),
        ..Plan::empty()
    };
    let mut changes = accept(&state, &plan, now(1));
    let rows = changes.iter().filter(|change| matches!(change, Change::Job(_))).count();
    assert_eq!(rows, 2, "one row a job, whatever else changes of it");
    changes.iter_mut().for_each(|change| state.apply(change));
    let cost = |id: u64| state.jobs[&JobId(id)].quoted.map(|q| q.expected_cost.micros());
    assert_eq!([1, 2, 3, 4].map(cost), [Some(11), Some(11), Some(7), None]);
    let later = Plan { quotes: quotes(&[1, 2, 3], 99), ..Plan::empty() };
    assert!(accept(&state, &later, now(2)).is_empty(), "nothing is written twice");
}

#[test]
fn a_job_that_was_stored_before_there_were_quotes_is_read_without_one() {
    let mut row = serde_json::to_value(job(1, "dev")).unwrap();
    let fields = row.as_object_mut().unwrap();
    assert!(fields.remove("quoted").is_some(), "it is stored with the job");
    let spec = fields["spec"].as_object_mut().unwrap();
    assert!(spec.remove("data").is_some());
    let read: Job = serde_json::from_value(row).unwrap();
    assert_eq!(read, job(1, "dev"));
}
