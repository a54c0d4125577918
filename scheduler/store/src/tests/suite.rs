//! What every database must do when rounds are written. Each function gets an empty store.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use spotwise_model::attempt::Certainty;
use spotwise_model::id::Zone;
use spotwise_model::instance::EndedBy;
use spotwise_model::pool::SupplyShown;
use spotwise_model::{
    AttemptId, CapacityType, Ending, Instance, InstanceId, InstanceState, Job, JobId, JobState,
    MarketKey, Money, Now, Pool, PoolSet, Price,
};

use super::build::*;
use crate::database::Statement;
use crate::{Epoch, LedgerFilter, Round, Store, StoreError};
use spotwise_control::core::{AvailabilityHistory, Change, OwnLog, PriceBook, State};
use spotwise_control::fixture::cloud_pool;
use spotwise_market::{PriceAnswer, PriceKey, PriceRow};

/// One of everything, as a round would leave it.
fn one_of_each() -> Vec<Change> {
    vec![
        Change::Submission(record("key-1", &[1, 2])),
        job(1).into(),
        Job { after: vec![JobId(1), JobId(3)], ..job(2) }.into(),
        succeeded(3).into(),
        instance(1).into(),
        gone(2).into(),
        attempt(1, 1).into(),
        ended(3, 1).into(),
        Change::Ledger(vec![charge(2, 0, Some(3), 1_000), charge(2, 1, None, 1_060)]),
        Change::Event(event(1, 1, Some(1))),
        Change::Event(event(2, 2, None)),
        Change::Availability(Box::new(availability_update(&[
            (1_000, 16),
            (1_600, 0),
            (2_000, u32::MAX),
        ]))),
        Change::Prices(Box::new(price_update(&[(1_000, 300_000), (1_500, 290_000)]))),
    ]
}

pub(super) async fn loads_what_was_committed(store: &Store) {
    let mut changes = one_of_each();
    let mut expected = State::default();
    for change in &mut changes {
        expected.apply(change);
    }
    put(store, changes).await.unwrap();
    let loaded = store.load().await.unwrap();
    assert_eq!(loaded.quarantined, Vec::<String>::new());
    assert_eq!(loaded.last_round, 1);
    let state = loaded.into_state();
    assert_eq!(state.jobs, expected.jobs);
    assert_eq!(state.attempts, expected.attempts);
    assert_eq!(state.instances, expected.instances);
    assert_eq!(state.availability.rows().count(), 3);
    assert!(state.availability.rows().eq(expected.availability.rows()));
    assert!(state.availability.windows().eq(expected.availability.windows()));
    assert_eq!(state.prices.rows().count(), 2);
    assert!(state.prices.rows().eq(expected.prices.rows()));
    assert_eq!(state.prices.until(), Some(at(1_500)));
    assert_eq!(
        (state.last_job, state.last_instance, state.last_event),
        (expected.last_job, expected.last_instance, expected.last_event)
    );
    assert_eq!(state.settled_total, Money::from_micros(2_000));
}

pub(super) async fn reads_what_was_committed(store: &Store) {
    put(store, one_of_each()).await.unwrap();
    assert_eq!(store.job(JobId(2)).await.unwrap().unwrap().after, [JobId(1), JobId(3)]);
    assert_eq!(store.job(JobId(1)).await.unwrap(), Some(job(1)));
    assert_eq!(store.attempts(JobId(1)).await.unwrap(), [attempt(1, 1)]);
    assert_eq!(store.submission("key-1").await.unwrap(), Some(record("key-1", &[1, 2])));
    assert_eq!(store.events(None, 0, 10).await.unwrap(), [event(1, 1, Some(1)), event(2, 2, None)]);
    assert_eq!(
        store.ledger(&LedgerFilter::default()).await.unwrap(),
        [charge(2, 0, Some(3), 1_000), charge(2, 1, None, 1_060)]
    );
}

pub(super) async fn an_empty_store_has_nothing(store: &Store) {
    let loaded = store.load().await.unwrap();
    assert_eq!((loaded.last_round, loaded.quarantined.len()), (0, 0));
    assert_eq!(loaded.into_state().last_job, 0);
    assert_eq!(store.job(JobId(1)).await.unwrap(), None);
    assert_eq!(store.newest_by_name("train", None).await.unwrap(), None);
    assert_eq!(store.submission("key").await.unwrap(), None);
    assert_eq!(store.attempts(JobId(1)).await.unwrap(), []);
}

pub(super) async fn what_is_settled_stays_out_of_memory(store: &Store) {
    let changes = vec![
        succeeded(1).into(),
        Job {
            state: JobState::Cancelled {
                at: at(2_000),
                why: spotwise_model::job::CancelReason::Owner,
            },
            ..job(2)
        }
        .into(),
        Job { after: vec![JobId(1), JobId(2), JobId(99)], ..job(3) }.into(),
        gone(1).settle().unwrap().into(),
        settled(1, 1).into(),
        settled(3, 1).into(),
    ];
    put(store, changes).await.unwrap();
    let state = store.load().await.unwrap().into_state();
    assert_eq!(state.jobs.into_keys().collect::<Vec<_>>(), [JobId(3)]);
    assert!(state.attempts.is_empty() && state.instances.is_empty());
    let parents: Vec<_> = state.ended_parents.into_iter().collect();
    assert_eq!(parents, [(JobId(1), Ending::Succeeded), (JobId(2), Ending::Cancelled)]);
    assert_eq!((state.last_job, state.last_instance), (3, 1));
}

/// A machine, a refusal, and one that is settled.
pub(super) async fn what_our_machines_have_shown_is_known_again(store: &Store) {
    let asked = Instance {
        state: InstanceState::Requested { at: now(1_000), certainty: Certainty::Known },
        ..instance(3)
    };
    let mut changes: Vec<Change> = vec![
        instance(1).into(),
        gone(2).settle().unwrap().into(),
        asked.end(at(1_500), EndedBy::Us).unwrap().settle().unwrap().into(),
    ];
    for change in &mut changes {
        let Change::Instance(machine) = change else { panic!() };
        machine.offer.market.capacity_type = CapacityType::Spot;
    }
    let mut expected = State::default();
    changes.iter_mut().for_each(|change| expected.apply(change));
    put(store, changes).await.unwrap();
    let counted = store.load().await.unwrap().into_state();
    assert_eq!(counted.own_log, OwnLog::default(), "it is of no use where markets are counted");
    let pool = Pool { supply: SupplyShown::Unknown, ..cloud_pool("cloud") };
    put(store, vec![Change::Pools(Box::new(PoolSet::of([pool])))]).await.unwrap();
    let seen = store.load().await.unwrap().into_state();
    assert_eq!(seen.instances.len(), 1, "what is settled stays out of memory");
    let market = &expected.instances[&InstanceId(3)].offer.market;
    let of = |state: &State| state.own_log.market(market, 0);
    assert_eq!(of(&seen), of(&expected));
    assert_eq!((of(&seen).launches.len(), of(&seen).machines.len()), (3, 2));
}

pub(super) async fn the_last_value_of_a_round_counts(store: &Store) {
    let changes =
        vec![job(1).into(), attempt(1, 1).into(), ended(1, 1).into(), succeeded(1).into()];
    put(store, changes).await.unwrap();
    assert_eq!(store.job(JobId(1)).await.unwrap(), Some(succeeded(1)));
    put(store, vec![settled(1, 1).into()]).await.unwrap();
    assert_eq!(store.attempts(JobId(1)).await.unwrap(), [settled(1, 1)]);
    assert!(store.load().await.unwrap().into_state().jobs.is_empty());
}

/// The same of prices: half a year, in which the time once goes back by three days.
pub(super) async fn what_was_heard_is_kept_and_forgotten(store: &Store) {
    let epoch = store.lead("a", at(1)).await.unwrap();
    let keys = price_update(&[(0, 1)]).rows.remove(0).key;
    let zones =
        ["us-east-1a", "us-east-1b"].map(|zone| PriceKey { zone: Zone::new(zone), ..keys.clone() });
    let (mut prices, mut rounds, mut rewound) = (PriceBook::default(), 0, 0);
    let day = 86_400;
    for look in 0..200_i64 {
        let back = if look < 150 { 0 } else { 3 };
        let now = at(1_700_000_000 + (look - back) * day);
        let row = |(key, every): (&PriceKey, i64)| PriceRow {
            key: key.clone(),
            at: now,
            price: Price::from_micros_per_hour(300_000 + (look / every + back) % 5),
        };
        let changes = zones.iter().zip(1..).map(row).collect();
        prices.hear(PriceAnswer { standing: Vec::new(), changes, until: now }, now);
        let wall = at(1_700_000_000 + look);
        let Some(update) = prices.write(None, Now { market: now, wall }) else { continue };
        rewound += usize::from(update.rewound.is_some());
        let mut change = Change::Prices(Box::new(update));
        let mut state = State { prices, ..State::default() };
        state.apply(&mut change);
        prices = state.prices;
        rounds += 1;
        store.commit(&Round { epoch, id: rounds, changes: &[change] }).await.unwrap();
        if look % 29 == 0 || look == 150 {
            let loaded = store.load().await.unwrap();
            assert_eq!(loaded.quarantined, Vec::<String>::new());
            let stored = loaded.into_state().prices;
            assert!(stored.rows().eq(prices.rows()), "{look}");
            assert_eq!(stored.until(), prices.until(), "{look}");
        }
    }
    assert_eq!(rewound, 1);
    assert!(prices.rows().next().unwrap().at > at(1_700_000_000), "something was forgotten");
    // All of a round or nothing.
    let mut wrong = price_update(&[(1_900_000_000, 3), (1_900_000_600, 4)]);
    wrong.rows[1].key.capacity_type = CapacityType::Reserved;
    let wrong = [Change::Prices(Box::new(wrong))];
    let refused = store.commit(&Round { epoch, id: rounds + 1, changes: &wrong }).await;
    assert!(matches!(refused, Err(StoreError::Invalid { .. })), "{refused:?}");
    let stored = store.load().await.unwrap().into_state().prices;
    assert!(stored.rows().eq(prices.rows()) && stored.until() == prices.until());
}

/// Told round by round, a store keeps what the scheduler does.
pub(super) async fn what_was_seen_is_kept_and_forgotten(store: &Store) {
    let epoch = store.lead("a", at(1)).await.unwrap();
    let zones = ["us-east-1a", "us-east-1b", "us-east-1c"]
        .map(|zone| MarketKey { zone: Zone::new(zone), ..offer().market });
    let (mut availability, mut rounds) = (AvailabilityHistory::default(), 0);
    let hour = Duration::from_secs(3_600);
    let mut rewound = 0;
    // Three weeks and two days, in which the time once goes back by three days.
    for look in 0..24 * 23_i64 {
        let back = if look < 24 * 18 { 0 } else { 24 * 3 };
        let counts = zones
            .iter()
            .zip(2..)
            .map(|(zone, every)| (zone.clone(), ((look / every + back) % 5) as u32));
        let second = 1_700_000_000 + (look - back) * 3_600;
        availability.observe(&counts.collect(), hour, at(second));
        let wall = at(1_700_000_000 + look);
        let Some(update) = availability.write(Now { market: at(second), wall }) else { continue };
        rewound += usize::from(update.rewound.is_some());
        let mut change = Change::Availability(Box::new(update));
        let mut state = State { availability, ..State::default() };
        state.apply(&mut change);
        availability = state.availability;
        rounds += 1;
        store.commit(&Round { epoch, id: rounds, changes: &[change] }).await.unwrap();
        if look % 97 == 0 || look == 24 * 18 {
            let loaded = store.load().await.unwrap();
            assert_eq!(loaded.quarantined, Vec::<String>::new());
            let stored = loaded.into_state().availability;
            assert!(stored.rows().eq(availability.rows()), "{look}");
            assert!(stored.windows().eq(availability.windows()), "{look}");
        }
    }
    assert_eq!(rewound, 1);
    assert!(availability.first(&zones[0]).unwrap() > at(1_700_000_000), "something was forgotten");
    // All of a round or nothing: a count that must not be undoes the watch too.
    let mut wrong = availability_update(&[(1_900_000_000, 3), (1_900_000_600, 4)]);
    wrong.counts[1].market.capacity_type = CapacityType::OnDemand;
    let wrong = [Change::Availability(Box::new(wrong))];
    let refused = store.commit(&Round { epoch, id: rounds + 1, changes: &wrong }).await;
    assert!(matches!(refused, Err(StoreError::Invalid { .. })), "{refused:?}");
    let stored = store.load().await.unwrap().into_state().availability;
    assert!(stored.rows().eq(availability.rows()) && stored.windows().eq(availability.windows()));
}

pub(super) async fn a_job_never_has_two_live_attempts(store: &Store) {
    let epoch = put(store, vec![job(1).into(), attempt(1, 1).into()]).await.unwrap();
    let second = [attempt(1, 2).into()];
    let refused = store.commit(&Round { epoch, id: 2, changes: &second }).await;
    assert!(matches!(refused, Err(StoreError::Conflict { table: "attempts", .. })), "{refused:?}");
    // Ending the first and making the second in one round is the ordinary way.
    let handed_over = [attempt(1, 2).into(), ended(1, 1).into()];
    store.commit(&Round { epoch, id: 2, changes: &handed_over }).await.unwrap();
}

pub(super) async fn a_repeated_round_changes_nothing(store: &Store) {
    let epoch = store.lead("a", at(1)).await.unwrap();
    let changes = one_of_each();
    let round = Round { epoch, id: 7, changes: &changes };
    store.commit(&round).await.unwrap();
    store.commit(&round).await.unwrap();
    assert_eq!(store.ledger(&LedgerFilter::default()).await.unwrap().len(), 2);
    assert_eq!(store.load().await.unwrap().last_round, 7);
    let older = store.commit(&Round { epoch, id: 6, changes: &[] }).await;
    assert!(matches!(older, Err(StoreError::OldRound { round: 6, last: 7 })), "{older:?}");
}

/// A new leader that started counting from 1 again would silently lose its rounds if they
/// passed for repeated ones.
pub(super) async fn a_round_number_of_an_earlier_leader_is_not_a_repeat(store: &Store) {
    put(store, vec![job(1).into()]).await.unwrap();
    let epoch = store.lead("b", at(2)).await.unwrap();
    let round = store.commit(&Round { epoch, id: 1, changes: &[job(2).into()] }).await;
    assert!(matches!(round, Err(StoreError::OldRound { .. })), "{round:?}");
}

pub(super) async fn only_the_newest_leader_commits(store: &Store) {
    let first = store.lead("a", at(1)).await.unwrap();
    let second = store.lead("b", at(2)).await.unwrap();
    assert!(second > first);
    let changes = [job(1).into()];
    let refused = store.commit(&Round { epoch: first, id: 1, changes: &changes }).await;
    assert!(matches!(refused, Err(StoreError::NotLeader { epoch }) if epoch == first));
    assert_eq!(store.job(JobId(1)).await.unwrap(), None);
    store.commit(&Round { epoch: second, id: 1, changes: &changes }).await.unwrap();
    let repeated = store.commit(&Round { epoch: first, id: 1, changes: &changes }).await;
    assert!(matches!(repeated, Err(StoreError::NotLeader { .. })), "{repeated:?}");
}

pub(super) async fn nobody_commits_before_anybody_leads(store: &Store) {
    for id in [0, 1] {
        let refused = store.commit(&Round { epoch: Epoch(0), id, changes: &[] }).await;
        assert!(matches!(refused, Err(StoreError::NotLeader { .. })), "{refused:?}");
    }
}

pub(super) async fn a_doubled_charge_undoes_its_whole_round(store: &Store) {
    let epoch = put(store, one_of_each()).await.unwrap();
    let doubled = [job(9).into(), Change::Ledger(vec![charge(2, 1, None, 1_060)])];
    let refused = store.commit(&Round { epoch, id: 2, changes: &doubled }).await;
    assert!(matches!(refused, Err(StoreError::Conflict { table: "ledger", .. })), "{refused:?}");
    assert!(!refused.unwrap_err().is_retryable());
    assert_eq!(store.job(JobId(9)).await.unwrap(), None, "nothing of the round is left");
    assert_eq!(store.load().await.unwrap().last_round, 1, "its number is free");
    // Twice in one round is refused as well.
    let twice = [Change::Ledger(vec![charge(1, 0, None, 1), charge(1, 0, None, 1)])];
    assert!(store.commit(&Round { epoch, id: 2, changes: &twice }).await.is_err());
}

pub(super) async fn what_no_phase_may_write_is_refused(store: &Store) {
    let epoch = put(store, vec![job(1).into(), job(2).into()]).await.unwrap();
    let other = AttemptId { job: JobId(2), number: 1 };
    let mut foreign = event(1, 1, None);
    foreign.attempt = Some(other);
    for changes in [
        vec![Change::Event(event(0, 1, None))],
        vec![Change::Event(foreign)],
        vec![attempt(77, 1).into()],
        vec![Change::Ledger(vec![charge(77, 0, None, 1)])],
    ] {
        let refused = store.commit(&Round { epoch, id: 2, changes: &changes }).await;
        assert!(
            matches!(refused, Err(StoreError::Invalid { .. } | StoreError::Conflict { .. })),
            "{refused:?}"
        );
    }
}

/// A commit that is abandoned at any moment has either happened or not, and repeating the
/// round brings it about.
pub(super) async fn a_commit_that_is_given_up_is_all_or_nothing(store: &Store) {
    let epoch = store.lead("a", at(1)).await.unwrap();
    let mut finished = false;
    for polls in 1.. {
        let number = polls;
        let changes = [
            job(number).into(),
            instance(number).into(),
            Change::Event(event(number, number, None)),
        ];
        let round = Round { epoch, id: number, changes: &changes };
        finished |= only_polls(store.commit(&round), polls).await;
        // One look: the commit may still be on its way.
        let state = store.load().await.unwrap().into_state();
        let there = state.jobs.contains_key(&JobId(number));
        assert_eq!(there, state.instances.contains_key(&InstanceId(number)), "{polls} polls");
        assert_eq!(there, state.last_event == number, "{polls} polls");
        store.commit(&round).await.unwrap();
        let state = store.load().await.unwrap().into_state();
        assert_eq!(state.last_job, number);
        assert!(state.instances.contains_key(&InstanceId(number)));
        if finished {
            break;
        }
    }
    assert!(finished);
}

/// Polls a future this many times, then drops it. Returns whether it was done.
async fn only_polls(future: impl Future, mut polls: u64) -> bool {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        if polls == 0 {
            return Poll::Ready(false);
        }
        polls -= 1;
        let done = future.as_mut().poll(context).is_ready();
        if !done && polls == 0 {
            return Poll::Ready(false);
        }
        if done { Poll::Ready(true) } else { Poll::Pending }
    })
    .await
}

pub(super) async fn a_large_round_is_written_whole(store: &Store) {
    let mut changes: Vec<Change> = Vec::new();
    for id in 1..=1_111 {
        changes.push(job(id).into());
        changes.push(Change::Submission(record(&format!("key-{id}"), &[id])));
        changes.push(Change::Event(event(id, id, None)));
    }
    put(store, changes).await.unwrap();
    let state = store.load().await.unwrap().into_state();
    assert_eq!((state.jobs.len(), state.last_event), (1_111, 1_111));
    assert_eq!(state.jobs.get(&JobId(1_111)), Some(&job(1_111)));
    assert_eq!(store.submission("key-1000").await.unwrap().unwrap().jobs, [JobId(1_000)]);
}

/// SQLite silently takes a missing argument for NULL.
pub(super) async fn arguments_are_counted(store: &Store) {
    let few = Statement::new("meta", "SELECT value FROM meta WHERE key = $1 OR key = $2").bind("a");
    let refused = store.database.fetch(few).await.err();
    assert!(
        matches!(refused, Some(StoreError::Arguments { named: 2, given: 1, .. })),
        "{refused:?}"
    );
    let many = Statement::new("meta", "SELECT value FROM meta").bind("a");
    let mut transaction = store.database.write().await.unwrap();
    let refused = transaction.execute(many).await;
    assert!(matches!(refused, Err(StoreError::Arguments { named: 0, given: 1, .. })));
}
