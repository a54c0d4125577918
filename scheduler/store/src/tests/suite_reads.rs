//! What every database must do when queried. Each function gets an empty store.

use spotwise_model::{Attempt, Job, JobId, Share};

use super::build::*;
use crate::database::Statement;
use crate::{JobFilter, LedgerFilter, Store, StoreError};
use spotwise_control::core::Change;

fn ids(jobs: &[Job]) -> Vec<u64> {
    jobs.iter().map(|job| job.id.0).collect()
}

/// All jobs that pass.
fn filter() -> JobFilter {
    JobFilter { limit: 100, ..JobFilter::default() }
}

pub(super) async fn pages_join_without_gap_or_overlap(store: &Store) {
    put(store, (1..=7).map(|id| job(id).into()).collect()).await.unwrap();
    let mut seen = Vec::new();
    let mut before = None;
    for _ in 0..4 {
        let page = store.list(&JobFilter { before, limit: 3, ..filter() }).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        seen.extend(ids(&page));
    }
    assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(store.list(&JobFilter { limit: 0, ..filter() }).await.unwrap(), []);
}

pub(super) async fn filters_narrow_together(store: &Store) {
    let tagged = |id: u64, name: &str, team: &str| {
        job_with(id, |spec| {
            spec.name = name.to_owned();
            spec.tags.insert("Team".to_owned(), team.to_owned());
            spec.tags.insert("Project".to_owned(), "p".to_owned());
        })
    };
    let changes = vec![
        tagged(1, "a", "x").into(),
        tagged(2, "a", "y").into(),
        tagged(3, "b", "x").into(),
        succeeded(4).into(),
    ];
    put(store, changes).await.unwrap();
    let list = async |filter: JobFilter| ids(&store.list(&filter).await.unwrap());
    let states = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(list(JobFilter { states: states(&["succeeded"]), ..filter() }).await, [4]);
    let both = states(&["succeeded", "waiting"]);
    assert_eq!(list(JobFilter { states: both, ..filter() }).await, [4, 3, 2, 1]);
    assert_eq!(list(JobFilter { name: Some("a".to_owned()), ..filter() }).await, [2, 1]);
    let tags = [tag("Team", "x"), tag("Project", "p")].into();
    assert_eq!(list(JobFilter { tags, ..filter() }).await, [3, 1]);
    let tags = [tag("Team", "x")].into();
    let name = Some("b".to_owned());
    assert_eq!(list(JobFilter { tags, name, ..filter() }).await, [3]);
    assert_eq!(store.newest_by_name("a", None).await.unwrap(), Some(JobId(2)));
    // The columns follow the document.
    put(store, vec![succeeded(3).into()]).await.unwrap();
    assert_eq!(list(JobFilter { states: states(&["succeeded"]), ..filter() }).await, [4, 3]);
}

/// User input is always compared literally.
pub(super) async fn texts_are_never_patterns_or_sql(store: &Store) {
    put(store, vec![job(1).into()]).await.unwrap();
    for text in ["' OR 1=1--", "%", "_____", "tr%", "$1", "\"", "train'", ""] {
        let by_name = JobFilter { name: Some(text.to_owned()), ..filter() };
        let by_state = JobFilter { states: vec![text.to_owned()], ..filter() };
        let by_tag = JobFilter { tags: [("Team".to_owned(), text.to_owned())].into(), ..filter() };
        for filter in [by_name, by_state, by_tag] {
            assert_eq!(store.list(&filter).await.unwrap(), [], "{text}");
        }
        assert_eq!(store.newest_by_name(text, None).await.unwrap(), None, "{text}");
        assert_eq!(store.submission(text).await.unwrap(), None, "{text}");
        store.set_meta(text, text).await.unwrap();
        assert_eq!(store.meta(text).await.unwrap().as_deref(), Some(text));
    }
    assert_eq!(store.list(&filter()).await.unwrap().len(), 1, "nothing was harmed");
}

pub(super) async fn a_group_is_what_was_submitted_together(store: &Store) {
    let element = |id: u64| Job { group: JobId(2), ..job(id) };
    let changes = vec![job(1).into(), element(2).into(), element(3).into(), job(4).into()];
    put(store, changes).await.unwrap();
    assert_eq!(ids(&store.group(JobId(2)).await.unwrap()), [2, 3]);
    assert_eq!(store.group(JobId(3)).await.unwrap(), []);
}

pub(super) async fn events_are_read_on_from_a_number(store: &Store) {
    let mut changes: Vec<Change> = vec![job(1).into(), job(2).into()];
    changes.extend((1..=6).map(|n| Change::Event(event(n, 1 + n % 2, None))));
    put(store, changes).await.unwrap();
    let numbers = async |job: Option<u64>, after, limit| -> Vec<u64> {
        let events = store.events(job.map(JobId), after, limit).await.unwrap();
        events.iter().map(|event| event.number).collect()
    };
    assert_eq!(numbers(None, 0, 2).await, [1, 2]);
    assert_eq!(numbers(None, 4, 9).await, [5, 6]);
    assert_eq!(numbers(Some(2), 1, 9).await, [3, 5]);
    assert_eq!(numbers(None, u64::MAX, 9).await, Vec::<u64>::new());
}

pub(super) async fn neighbouring_periods_add_up(store: &Store) {
    let entries = vec![
        charge(1, 0, Some(1), 100),
        charge(1, 1, Some(2), 200),
        charge(1, 2, None, 200),
        charge(2, 0, Some(1), 300),
    ];
    let changes = vec![
        job(1).into(),
        job(2).into(),
        instance(1).into(),
        instance(2).into(),
        Change::Ledger(entries.clone()),
    ];
    put(store, changes).await.unwrap();
    let read = async |since: Option<i64>, until: Option<i64>, jobs: Option<Vec<u64>>| {
        let jobs = jobs.map(|jobs| jobs.into_iter().map(JobId).collect());
        let filter = LedgerFilter { since: since.map(at), until: until.map(at), jobs };
        store.ledger(&filter).await.unwrap()
    };
    assert_eq!(read(None, None, None).await, entries);
    let mut halves = read(None, Some(200), None).await;
    halves.extend(read(Some(200), None, None).await);
    assert_eq!(halves, entries);
    let of_one = read(None, None, Some(vec![1, 1])).await;
    assert_eq!(of_one, [entries[0].clone(), entries[3].clone()]);
    assert_eq!(read(None, None, Some(vec![])).await, []);
    // More jobs than one statement names, and one job in two statements.
    assert_eq!(read(None, None, Some(vec![1; 600])).await.len(), 2);
    assert_eq!(read(None, None, Some((1..=2_000).collect())).await.len(), 3);
}

pub(super) async fn a_value_set_twice_is_the_second(store: &Store) {
    assert_eq!(store.meta("replay").await.unwrap(), None);
    store.set_meta("replay", "1").await.unwrap();
    store.set_meta("replay", "2").await.unwrap();
    assert_eq!(store.meta("replay").await.unwrap().as_deref(), Some("2"));
}

async fn spoil(store: &Store, statement: Statement) {
    let mut transaction = store.database.write().await.unwrap();
    assert!(transaction.execute(statement).await.unwrap() > 0, "nothing was spoilt");
    transaction.commit().await.unwrap();
}

pub(super) async fn poison_row(store: &Store) {
    let mut changes: Vec<Change> = (1..=4).map(|id| job(id).into()).collect();
    changes.extend((1..=4).map(|id| attempt(id, 1).into()));
    changes.extend([instance(1).into(), instance(2).into()]);
    put(store, changes).await.unwrap();
    let cut = "UPDATE jobs SET document = '{\"id\":\"j1\"' WHERE id = 1";
    spoil(store, Statement::new("jobs", cut)).await;
    let future = "UPDATE jobs SET format = 99 WHERE id = 2";
    spoil(store, Statement::new("jobs", future)).await;
    let empty = "UPDATE attempts SET document = '{}' WHERE job = 3";
    spoil(store, Statement::new("attempts", empty)).await;
    let none = "UPDATE instances SET document = '' WHERE id = 2";
    spoil(store, Statement::new("instances", none)).await;

    let loaded = store.load().await.unwrap();
    let all = loaded.quarantined.join("\n");
    for text in [
        "table jobs, row j1: the document does not decode: EOF",
        "table jobs, row j2: format 99 is unknown",
        "table attempts, row j3.1: the document does not decode: missing field",
        "table jobs, row j3: one of its attempts is bad",
        "table attempts, row j1.1: its job is set aside",
        "table instances, row i2: the document does not decode",
    ] {
        assert!(all.contains(text), "{text} is not in\n{all}");
    }
    let state = loaded.into_state();
    assert_eq!(state.jobs.into_keys().collect::<Vec<_>>(), [JobId(4)]);
    assert_eq!((state.attempts.len(), state.instances.len()), (1, 1));
    assert_eq!((state.last_job, state.last_instance), (4, 2), "no number is given twice");
}

pub(super) async fn a_bad_row_is_named_where_it_is_asked_for(store: &Store) {
    let changes = vec![
        job(1).into(),
        job(2).into(),
        instance(1).into(),
        Change::Ledger(vec![charge(1, 0, Some(1), 100)]),
        Change::Event(event(1, 1, None)),
    ];
    put(store, changes).await.unwrap();
    spoil(store, Statement::new("jobs", "UPDATE jobs SET document = 'x' WHERE id = 2")).await;
    spoil(store, Statement::new("ledger", "UPDATE ledger SET document = 'x'")).await;
    spoil(store, Statement::new("events", "UPDATE events SET kind = 'x'")).await;

    let bad = store.job(JobId(2)).await.unwrap_err();
    assert!(matches!(&bad, StoreError::BadDocument { table: "jobs", key, .. } if key == "j2"));
    let one = JobFilter { limit: 1, ..filter() };
    assert_eq!(ids(&store.list(&one).await.unwrap()), [1], "one bad row does not hide the others");
    let bad = store.ledger(&LedgerFilter::default()).await.unwrap_err();
    assert!(matches!(&bad, StoreError::BadDocument { table: "ledger", key, .. } if key == "i1/0"));
    let bad = store.events(None, 0, 9).await.unwrap_err();
    assert!(
        matches!(&bad, StoreError::BadColumn { table: "events", column: "kind", key, .. } if key == "1"),
        "{bad:?}"
    );
}

/// As rows were before slots existed.
const BEFORE_SEATS: &str = "UPDATE attempts SET seats = NULL,
    document = replace(document, ',\"seats\":[{\"gpu\":0,\"start\":6}]', '')";

pub(super) async fn a_seat_has_a_column_and_older_rows_have_none(store: &Store) {
    let whole = Share { gpus: 1, mig: None, ..attempt(1, 1).share };
    let other = Attempt { share: whole, slots: Vec::new(), ..attempt(2, 1) };
    put(store, vec![job(1).into(), job(2).into(), attempt(1, 1).into(), other.into()])
        .await
        .unwrap();
    let sql = "SELECT seats FROM attempts ORDER BY job";
    let rows = store.database.fetch(Statement::new("attempts", sql)).await.unwrap();
    let slots: Vec<_> = rows.iter().map(|row| row.optional_text("seats").unwrap()).collect();
    assert_eq!(slots, [Some("0.6".to_owned()), None]);
    spoil(store, Statement::new("attempts", BEFORE_SEATS)).await;
    let read = store.load().await.unwrap().into_state();
    let attempts: Vec<_> = read.attempts.values().collect();
    assert_eq!(attempts[0], &Attempt { slots: Vec::new(), ..attempt(1, 1) });
    put(store, vec![attempt(1, 1).into()]).await.unwrap();
    assert_eq!(store.attempts(JobId(1)).await.unwrap(), [attempt(1, 1)], "written anew");
}
