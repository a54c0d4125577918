use spotwise_model::job::FailReason;
use spotwise_model::policy::Policy;
use spotwise_model::spec::{Format, parse_edit};
use spotwise_model::{AttemptState, CapacityType};

use super::*;
use crate::fixture::{at, attempt, job, machine, now, state_of};

fn config() -> Config {
    let policy = Policy { changeover: Duration::from_secs(60), ..Policy::default() };
    Config { policy, default_grace: Duration::from_secs(1), max_live_jobs: 9, ..Config::default() }
}

fn dollars(cents: i64) -> Money {
    Money::from_micros(cents * 10_000)
}

fn request(id: u64, text: &str) -> EditJob {
    EditJob {
        job: JobId(id),
        edit: parse_edit(text.as_bytes(), Format::Yaml).unwrap(),
        key: None,
        hash: String::new(),
        known: None,
        used: None,
    }
}

fn with_budget(id: u64, cents: i64) -> Job {
    let mut job = job(id, "dev");
    job.spec = Arc::new(JobSpec { budget: Some(dollars(cents)), ..(*job.spec).clone() });
    job
}

fn edited(state: &State, text: &str) -> Result<(Job, Vec<String>), &'static str> {
    match changed(state, &request(1, text), &config(), now(2)) {
        Ok((changes, words)) => {
            let mut after = state.clone();
            changes.into_iter().for_each(|mut change| after.apply(&mut change));
            Ok((after.jobs[&JobId(1)].clone(), words))
        }
        Err(Refusal::Invalid { code, .. }) => Err(code),
        Err(_) => Err("other"),
    }
}

#[test]
fn a_held_job_goes_on_after_a_raise() {
    let mut held = with_budget(1, 45);
    held.spent = dollars(34);
    let why = HoldReason::Budget { budget: dollars(45), committed: dollars(34) };
    held.state = JobState::Held { since: at(1), why };
    let state = state_of(vec![held.into()]);
    let (job, words) = edited(&state, "budget_usd: 2.00").unwrap();
    assert!(matches!(job.state, JobState::Waiting { .. }), "{:?}", job.state);
    assert_eq!(job.spec.budget, Some(dollars(200)));
    assert_eq!(words, ["budget $0.45 -> $2.00"]);
    assert_eq!(edited(&state, "budget_usd: 0.33"), Err("budget_too_small"));
    let (job, _) = edited(&state, "priority: 5").unwrap();
    assert!(matches!(job.state, JobState::Held { .. }), "nobody has granted anything");
}

#[test]
fn what_is_set_aside_follows_the_budget_of_a_running_job() {
    let machine = machine(1, "a", CapacityType::Spot);
    let mut running = with_budget(1, 100);
    running.spent = dollars(10);
    let launched = now(1);
    let mut live = attempt(
        1,
        &[&machine],
        1,
        AttemptState::Running { placed: None, launched, since: launched },
    );
    live.hold = dollars(90);
    running.state = JobState::Active { since: at(1), attempt: live.id };
    let state = state_of(vec![running.into(), machine.into(), live.into()]);
    let change = |cents: i64, used: Option<i64>| {
        let mut asked = request(1, &format!("budget_usd: \"0.{cents}\""));
        asked.used = used.map(|used| (now(2).wall, dollars(used)));
        changed(&state, &asked, &config(), now(2))
    };
    assert!(matches!(change(50, None), Err(Refusal::Overloaded)), "its use is not known");
    for (cents, used, fits) in [(50, 40, true), (40, 40, true), (39, 40, false)] {
        let answer = change(cents, Some(used));
        assert_eq!(answer.is_ok(), fits, "{cents} {used}");
        let Ok((changes, _)) = answer else { continue };
        let mut after = state.clone();
        changes.into_iter().for_each(|mut change| after.apply(&mut change));
        let job = &after.jobs[&JobId(1)];
        assert_eq!(job.spent + after.held_for(JobId(1)), job.spec.budget.unwrap());
        assert!(!job.budget_raised);
    }
}

#[test]
fn deadlines_that_nobody_asked_for_follow_one_that_is_moved() {
    let hour = Duration::from_secs(3_600);
    let chain = |deadline: i64| {
        let first = Job { deadline: at(4), ..job(1, "dev") };
        let second = Job { after: vec![JobId(1)], deadline: at(6), ..job(2, "dev") };
        let mut last = Job { after: vec![JobId(2)], deadline: at(deadline), ..job(3, "dev") };
        last.deadline_source = DeadlineSource::Given;
        state_of([first, second, last].map(Change::from).to_vec())
    };
    let state = chain(8);
    let asked = EditJob { job: JobId(3), ..request(1, "deadline: +10h") };
    let mut later = state.clone();
    let (changes, words) = changed(&state, &asked, &config(), now(2)).unwrap();
    changes.into_iter().for_each(|mut change| later.apply(&mut change));
    let deadline = |state: &State, id| state.jobs[&JobId(id)].deadline;
    assert_eq!(deadline(&later, 3), at(18));
    assert!(deadline(&later, 2) > at(6) && deadline(&later, 2) <= at(17), "{later:?}");
    assert!(words[0].starts_with("deadline "), "{words:?}");
    let mut sooner = state.clone();
    let asked = EditJob { job: JobId(3), ..request(1, "deadline: -4h") };
    let (changes, _) = changed(&state, &asked, &config(), now(2)).unwrap();
    changes.into_iter().for_each(|mut change| sooner.apply(&mut change));
    let latest = time_before(deadline(&sooner, 3), hour + config().policy.changeover);
    assert_eq!(deadline(&sooner, 2), latest);
    assert!(deadline(&sooner, 1) < deadline(&sooner, 2));
}

fn time_before(at: Timestamp, span: Duration) -> Timestamp {
    spotwise_model::time::add(at, -jiff::SignedDuration::try_from(span).unwrap())
}

#[test]
fn what_cannot_hold_is_refused_and_changes_nothing() {
    let state = state_of(vec![job(1, "dev").into()]);
    assert_eq!(edited(&state, "deadline: 2023-01-01T00:00:00Z"), Err("deadline_in_the_past"));
    assert_eq!(edited(&state, "deadline: 2099-01-01T00:00:00Z"), Err("deadline_too_far"));
    let failed = JobState::Failed { at: at(1), why: FailReason::TimedOut };
    let over = state_of(vec![Job { state: failed, ..job(1, "dev") }.into()]);
    assert_eq!(edited(&over, "priority: 1"), Err("job_ended"));
    let mut asked = request(1, "priority: 0");
    let (changes, words) = changed(&state, &asked, &config(), now(2)).unwrap();
    assert!(changes.is_empty() && words.is_empty(), "as it is");
    asked.job = JobId(7);
    assert!(matches!(changed(&state, &asked, &config(), now(2)), Err(Refusal::NotFound(_))));
}
