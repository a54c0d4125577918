//! Tests specific to the server.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use spotwise_model::JobId;
use spotwise_test_postgres::{Database, shared};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::build::*;
use crate::{LedgerFilter, Location, Round, Store, StoreError};
use spotwise_control::core::Change;

pub(super) async fn fresh() -> (Database, Store) {
    let database = shared().database();
    let store = Store::open(location(&database)).await.unwrap();
    (database, store)
}

pub(super) fn location(database: &Database) -> Location {
    database.url().parse().unwrap()
}

#[tokio::test]
async fn two_schedulers_open_one_database_and_one_leads() {
    let database = shared().database();
    let (one, two) =
        tokio::join!(Store::open(location(&database)), Store::open(location(&database)));
    let (one, two) = (one.unwrap(), two.unwrap());
    let old = put(&one, vec![job(1).into()]).await.unwrap();
    put(&two, vec![job(2).into()]).await.unwrap();
    let refused = one.commit(&Round { epoch: old, id: 3, changes: &[] }).await;
    assert!(matches!(refused, Err(StoreError::NotLeader { .. })), "{refused:?}");
    one.close().await;
    two.close().await;
}

#[tokio::test]
async fn every_connection_is_careful() {
    let (_database, store) = fresh().await;
    let sql = "SELECT current_setting('synchronous_commit') AS sync,
        current_setting('lock_timeout') AS lock, current_setting('statement_timeout') AS statement,
        current_setting('idle_in_transaction_session_timeout') AS idle,
        current_setting('transaction_isolation') AS isolation,
        current_setting('transaction_read_only') AS read_only";
    let statement = crate::database::Statement::new("(settings)", sql);
    let mut writer = store.database.write().await.unwrap();
    let mut reader = store.database.snapshot().await.unwrap();
    for (transaction, expected) in [
        (&mut writer, ["on", "5s", "10s", "2s", "read committed", "off"]),
        (&mut reader, ["on", "5s", "30s", "2s", "repeatable read", "on"]),
    ] {
        let rows = transaction.fetch(statement.clone()).await.unwrap();
        let names = ["sync", "lock", "statement", "idle", "isolation", "read_only"];
        let found = names.map(|name| rows.first().unwrap().text(name).unwrap());
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn the_database_of_another_program_is_refused_and_left_alone() {
    let database = shared().database();
    database.psql("CREATE TABLE invoices (id BIGINT)").unwrap();
    let refused = Store::open(location(&database)).await.err().expect("must not open");
    assert!(refused.to_string().contains("another program"), "{refused}");
    assert_eq!(
        database.psql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").unwrap(),
        "1"
    );
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused() {
    let database = shared().database();
    let name = format!("{}_latin", database.name());
    let make = format!("CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'");
    database.psql(&make).unwrap();
    let location: Location = shared().url(&name).parse().unwrap();
    let refused = Store::open(location).await.err().expect("must not open");
    assert!(refused.to_string().contains("UTF8"), "{refused}");
    database.psql(&format!("DROP DATABASE {name}")).unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let location: Location = "postgres:///x?host=/nowhere&port=1&user=u".parse().unwrap();
    let error = Store::open(location).await.err().expect("must not open");
    assert!(matches!(error, StoreError::Unavailable { .. }) && error.is_retryable(), "{error:?}");
}

/// Connections closed by the server are reopened: at most one call fails because of it.
#[tokio::test]
async fn terminated_connections_are_replaced() {
    let (database, store) = fresh().await;
    let epoch = put(&store, vec![job(1).into()]).await.unwrap();
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let changes = [job(2).into()];
    let round = Round { epoch, id: 2, changes: &changes };
    database.psql(end).unwrap();
    let mut failures = 0;
    while let Err(error) = store.commit(&round).await {
        assert!(error.is_retryable(), "{error:?}");
        failures += 1;
        assert!(failures < 9);
    }
    assert_eq!(store.load().await.unwrap().into_state().last_job, 2);
}

/// The socket is cut between `COMMIT` and its reply: the repeated round is there once.
#[tokio::test]
async fn pg_commit_unknown() {
    let database = shared().database();
    let folder = tempfile::tempdir().unwrap();
    let cut = Arc::new(AtomicBool::new(false));
    let at = {
        let cut = cut.clone();
        move |asked: &[u8]| {
            let commit = asked.windows(7).any(|window| window == b"COMMIT\0");
            commit && cut.swap(false, Ordering::SeqCst)
        }
    };
    let (store, proxy) = behind_a_proxy(&database, folder.path(), at).await;
    let epoch = put(&store, vec![job(1).into(), instance(1).into()]).await.unwrap();
    let changes = [
        job(2).into(),
        Change::Ledger(vec![charge(1, 0, Some(1), 1)]),
        Change::Event(event(1, 1, None)),
    ];
    let round = Round { epoch, id: 2, changes: &changes };
    cut.store(true, Ordering::SeqCst);
    let lost = store.commit(&round).await.expect_err("the reply is lost");
    assert!(matches!(lost, StoreError::Unavailable { .. }) && lost.is_retryable(), "{lost:?}");
    assert!(!cut.load(Ordering::SeqCst), "it was cut");
    assert_eq!(database.psql("SELECT round FROM leader").unwrap(), "2", "and it was committed");
    store.commit(&round).await.unwrap();
    assert_eq!(store.ledger(&LedgerFilter::default()).await.unwrap().len(), 1);
    assert_eq!(store.job(JobId(2)).await.unwrap(), Some(job(2)));
    proxy.abort();
}

/// Wherever a load is cut off: it is refused so that it can be tried again, and what the
/// server did not answer is not taken for a row that cannot be read.
#[tokio::test]
async fn a_load_that_is_cut_off_can_be_tried_again() {
    let database = shared().database();
    let folder = tempfile::tempdir().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let last = Arc::new(AtomicUsize::new(usize::MAX));
    let at = {
        let (asked, last) = (asked.clone(), last.clone());
        move |_: &[u8]| asked.fetch_add(1, Ordering::SeqCst) == last.load(Ordering::SeqCst)
    };
    let (store, proxy) = behind_a_proxy(&database, folder.path(), at).await;
    put(&store, vec![job(1).into(), Change::Pools(Box::default())]).await.unwrap();
    let mut refused = 0;
    for place in 0.. {
        asked.store(0, Ordering::SeqCst);
        last.store(place, Ordering::SeqCst);
        match store.load().await {
            Err(error) => {
                assert!(error.is_retryable(), "cut at {place}: {error:?}");
                refused += 1;
            }
            Ok(loaded) => assert_eq!(loaded.quarantined, [""; 0], "cut at {place}"),
        }
        if asked.load(Ordering::SeqCst) <= place {
            break;
        }
    }
    assert!(refused > 10, "a load asks more often than {refused} times");
    proxy.abort();
}

/// A store whose calls pass through a proxy that forwards everything, but cuts a connection
/// off before the answer to what is told by `cut`.
async fn behind_a_proxy(
    database: &Database,
    folder: &Path,
    cut: impl Fn(&[u8]) -> bool + Send + Sync + 'static,
) -> (Store, tokio::task::JoinHandle<()>) {
    let listener = UnixListener::bind(folder.join(".s.PGSQL.5432")).unwrap();
    let cut = Arc::new(cut);
    let proxy = tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass_on(client, shared().socket(), cut.clone()));
        }
    });
    let host = folder.display();
    let url = format!("postgres:///{}?host={host}&port=5432&user=spotwise", database.name());
    (Store::open(url.parse::<Location>().unwrap()).await.unwrap(), proxy)
}

async fn pass_on(
    client: UnixStream,
    socket: impl AsRef<Path>,
    cut: Arc<impl Fn(&[u8]) -> bool + Send + Sync>,
) {
    let server = UnixStream::connect(socket).await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut asked = [0; 65_536];
    let mut answered = [0; 65_536];
    let mut cutting = false;
    loop {
        tokio::select! {
            read = from_client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                let bytes = &asked[..length];
                cutting |= cut(bytes);
                if to_server.write_all(bytes).await.is_err() { return }
            }
            read = from_server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                if cutting || to_client.write_all(&answered[..length]).await.is_err() { return }
            }
        }
    }
}

const GIVES_WAY: &str = "CREATE SEQUENCE tries;
    CREATE FUNCTION give_way() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('tries') <= LIMIT_ THEN RAISE EXCEPTION 'in the way' USING ERRCODE = 'STATE_'; END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER give_way BEFORE UPDATE ON leader FOR EACH ROW EXECUTE FUNCTION give_way()";

/// A transaction that conflicts with another is retried, exactly the intended number of
/// times.
#[tokio::test]
async fn pg_serialization() {
    for code in ["40001", "40P01"] {
        let (database, store) = fresh().await;
        let epoch = put(&store, vec![job(1).into()]).await.unwrap();
        database.psql(&GIVES_WAY.replace("LIMIT_", "3").replace("STATE_", code)).unwrap();
        let changes = [job(2).into()];
        store.commit(&Round { epoch, id: 2, changes: &changes }).await.unwrap();
        assert_eq!(database.psql("SELECT last_value FROM tries").unwrap(), "4");
        database.psql("ALTER SEQUENCE tries MINVALUE -99 START -99 RESTART").unwrap();
        let changes = [job(3).into()];
        let round = Round { epoch, id: 3, changes: &changes };
        let error = store.commit(&round).await.unwrap_err();
        assert!(matches!(error, StoreError::Busy { .. }) && error.is_retryable(), "{error:?}");
        assert_eq!(store.job(JobId(3)).await.unwrap(), None, "nothing of it is there");
        store.close().await;
    }
}

/// If no connection is available, a call is told so, and reading continues.
#[tokio::test]
async fn pg_pool_exhaustion() {
    let (_database, store) = fresh().await;
    let epoch = put(&store, vec![job(1).into()]).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(store.database.write().await.unwrap());
    }
    let round = Round { epoch, id: 2, changes: &[] };
    let error = store.commit(&round).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }) && error.is_retryable(), "{error:?}");
    assert_eq!(store.job(JobId(1)).await.unwrap(), Some(job(1)));
    drop(held);
    store.commit(&round).await.unwrap();
}
