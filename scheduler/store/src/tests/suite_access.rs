use std::collections::BTreeSet;
use std::sync::Arc;

use spotwise_control::core::{Asker, AuditEntry, AuditHead, Change};
use spotwise_model::access::{Caller, CallerKind, Role, Scope, TEAM, Token};
use spotwise_model::freeze::Freeze;

use super::build::{at, job, put};
use crate::database::Statement;
use crate::{JobFilter, Store};

fn token(id: &str) -> Token {
    Token {
        id: id.to_owned(),
        hash: "ab".repeat(32),
        caller: Caller {
            subject: "ada".to_owned(),
            kind: CallerKind::Person,
            roles: [Role::Submitter, Role::Viewer].into_iter().collect(),
            scope: Scope::of(["vision"]),
        },
        created: at(1),
        created_by: "admin".to_owned(),
        expires: Some(at(1_000)),
        revoked: None,
        last_used: None,
    }
}

pub(super) async fn tokens_are_known_again_as_they_are_now(store: &Store) {
    let revoked = Token { revoked: Some(at(5)), ..token("b") };
    let changes = [token("a"), token("b"), revoked.clone()];
    let changes = changes.into_iter().map(|it| Change::Token(Box::new(it))).collect();
    put(store, changes).await.unwrap();
    let known = store.load().await.unwrap().into_state().tokens;
    assert_eq!(known.len(), 2);
    assert_eq!((&known["a"], &known["b"]), (&token("a"), &revoked));
    put(store, vec![Change::Token(Box::new(Token { last_used: Some(at(9)), ..token("a") }))])
        .await
        .unwrap();
    let known = store.load().await.unwrap().into_state().tokens;
    assert_eq!((known.len(), known["a"].last_used), (2, Some(at(9))));
}

pub(super) async fn a_freeze_outlives_a_restart_and_its_end_does_too(store: &Store) {
    let freeze = Freeze { by: "fay".to_owned(), since: at(3), reason: "June".to_owned() };
    for frozen in [Some(freeze), None] {
        put(store, vec![Change::Freeze(frozen.clone())]).await.unwrap();
        assert_eq!(store.load().await.unwrap().into_state().frozen, frozen);
    }
}

/// The chain goes on where the last leader left it, and one altered row is found.
pub(super) async fn the_audit_log_is_one_chain_and_an_altered_row_breaks_it(store: &Store) {
    let asker = Asker::of_this_machine("ada", "127.0.0.1");
    for term in 0..3_i64 {
        let mut state = store.load().await.unwrap().into_state();
        let mut changes: Vec<Change> = Vec::new();
        for what in ["jobs.submit", "jobs.cancel"] {
            let entry = AuditEntry::new(&asker, what, format!("j{term}"), at(term));
            let mut change = Change::Audit(Box::new(entry));
            state.apply(&mut change);
            changes.push(change);
        }
        put(store, changes).await.unwrap();
    }
    let read = || async {
        let mut head = AuditHead::default();
        let mut all = store.audit(0, 4).await.unwrap();
        all.extend(store.audit(4, 4).await.unwrap());
        let broken = all.iter().find_map(|entry| head.follow(entry).err());
        (all.len(), broken, head)
    };
    let (count, broken, head) = read().await;
    assert_eq!((count, broken), (6, None));
    assert_eq!(head, store.load().await.unwrap().into_state().audit);

    let mut transaction = store.database.write().await.unwrap();
    let sql = "UPDATE audit SET document = REPLACE(document, '\"j1\"', '\"j7\"') WHERE number = 3";
    transaction.execute(Statement::new("audit", sql)).await.unwrap();
    transaction.commit().await.unwrap();
    let (count, broken, _) = read().await;
    assert_eq!(count, 6);
    assert!(broken.unwrap().to_string().contains("entry 3"), "it says which");
}

pub(super) async fn teams_see_their_own_jobs_only(store: &Store) {
    let mut changes = Vec::new();
    for (id, team) in [(1, Some("vision")), (2, Some("speech")), (3, None), (4, Some("vision"))] {
        let mut job = job(id);
        let spec = Arc::make_mut(&mut job.spec);
        spec.name = "train".to_owned();
        spec.tags.remove(TEAM);
        spec.tags.extend(team.map(|team| (TEAM.to_owned(), team.to_owned())));
        changes.push(job.into());
    }
    put(store, changes).await.unwrap();
    let teams = |names: &[&str]| -> Option<BTreeSet<String>> {
        Some(names.iter().map(ToString::to_string).collect())
    };
    for (teams, expected) in [
        (None, &[4, 3, 2, 1][..]),
        (teams(&["vision"]), &[4, 1]),
        (teams(&["speech", "vision"]), &[4, 2, 1]),
        (teams(&["' OR '1'='1"]), &[]),
        (teams(&[]), &[]),
    ] {
        let filter = JobFilter { teams: teams.clone(), limit: 10, ..JobFilter::default() };
        let listed = store.list(&filter).await.unwrap();
        let ids: Vec<u64> = listed.iter().map(|job| job.id.0).collect();
        assert_eq!(ids, expected, "{teams:?}");
        let newest = store.newest_by_name("train", teams.as_ref()).await.unwrap();
        assert_eq!(newest.map(|id| id.0), expected.first().copied(), "{teams:?}");
    }
}
