//! Tests specific to the file.

use std::path::{Path, PathBuf};

use spotwise_model::JobId;
use tempfile::TempDir;

use super::build::*;
use crate::database::{Database, Statement};
use crate::{Round, Store, StoreError};
use spotwise_control::core::Change;

pub(super) async fn fresh() -> (TempDir, PathBuf, Store) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spotwise.db");
    let store = Store::open(&path).await.unwrap();
    (folder, path, store)
}

fn writer(store: &Store) -> &sqlx::SqlitePool {
    match &store.database {
        Database::Sqlite(file) => &file.writer,
        Database::Postgres(_) => panic!("a file"),
    }
}

async fn refusal(path: &Path) -> StoreError {
    Store::open(path).await.err().expect("must not open")
}

#[tokio::test]
async fn one_scheduler_at_a_time() {
    let (_folder, path, store) = fresh().await;
    let error = refusal(&path).await;
    assert!(matches!(&error, StoreError::Locked { path: locked } if *locked == path), "{error:?}");
    let clone = store.clone();
    drop(store);
    assert!(matches!(refusal(&path).await, StoreError::Locked { .. }), "a clone holds it too");
    drop(clone);
    Store::open(&path).await.unwrap();
}

#[tokio::test]
async fn a_store_opens_again_with_all_it_had() {
    let (_folder, path, store) = fresh().await;
    let first = put(&store, vec![job(1).into()]).await.unwrap();
    store.close().await;
    drop(store);
    let store = Store::open(&path).await.unwrap();
    assert_eq!(store.job(JobId(1)).await.unwrap(), Some(job(1)));
    assert!(store.lead("again", at(2)).await.unwrap() > first);
}

#[tokio::test]
async fn every_connection_is_careful() {
    let (_folder, _, store) = fresh().await;
    let pragmas = Statement::new(
        "(pragma)",
        "SELECT j.journal_mode AS key, s.synchronous AS synchronous, f.foreign_keys AS foreign_keys,
             b.timeout AS timeout, q.query_only AS query_only
         FROM pragma_journal_mode AS j, pragma_synchronous AS s, pragma_foreign_keys AS f,
             pragma_busy_timeout AS b, pragma_query_only AS q",
    );
    let mut writer = store.database.write().await.unwrap();
    let mut reader = store.database.snapshot().await.unwrap();
    for (transaction, query_only) in [(&mut writer, 0), (&mut reader, 1)] {
        let rows = transaction.fetch(pragmas.clone()).await.unwrap();
        let row = rows.first().unwrap();
        assert_eq!(row.text("key").unwrap(), "wal");
        assert_eq!(row.int("synchronous").unwrap(), 2, "FULL: a power cut loses no answer");
        assert_eq!(row.int("foreign_keys").unwrap(), 1);
        assert_eq!(row.int("timeout").unwrap(), 5_000);
        assert_eq!(row.int("query_only").unwrap(), query_only);
    }
}

#[tokio::test]
async fn other_files_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "milk, bread").unwrap();
    assert!(matches!(refusal(&path).await, StoreError::NotOurs { .. }));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "milk, bread");
    let error = refusal(folder.path()).await;
    assert!(matches!(error, StoreError::NotOurs { .. }), "a folder: {error:?}");
    let error = refusal(&folder.path().join("missing").join("spotwise.db")).await;
    assert!(matches!(error, StoreError::Open { .. }), "no folder: {error:?}");
}

#[tokio::test]
async fn the_database_of_another_program_is_refused_and_left_alone() {
    let (_folder, path, store) = fresh().await;
    let mut transaction = store.database.write().await.unwrap();
    let rename = "ALTER TABLE _sqlx_migrations RENAME TO other";
    transaction.execute(Statement::new("(schema)", rename)).await.unwrap();
    transaction.commit().await.unwrap();
    store.close().await;
    drop(store);
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(refusal(&path).await, StoreError::NotOurs { .. }));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_refused() {
    let (_folder, path, store) = fresh().await;
    store.close().await;
    drop(store);
    let mut permissions = std::fs::metadata(&path).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&path, permissions).unwrap();
    let error = refusal(&path).await;
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error:?}");
    assert!(error.to_string().contains("check its permissions"));
}

async fn with_migration(statement: &'static str) -> StoreError {
    let (_folder, path, store) = fresh().await;
    let mut transaction = store.database.write().await.unwrap();
    transaction.execute(Statement::new("(schema)", statement)).await.unwrap();
    transaction.commit().await.unwrap();
    store.close().await;
    drop(store);
    refusal(&path).await
}

#[tokio::test]
async fn another_schema_is_refused() {
    let error = with_migration(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'from the future', 1, 'x', 0)",
    )
    .await;
    assert!(matches!(error, StoreError::NewerSchema { found: 9_999, .. }), "{error:?}");
    assert!(error.to_string().contains("use the newer spotwise"));
    let error = with_migration("UPDATE _sqlx_migrations SET checksum = 'x'").await;
    assert!(matches!(error, StoreError::OtherSchema { version: 1 }), "{error:?}");
}

/// What a kill leaves behind is what is on disk at that moment: a copy of the files stands
/// for it. The open round is large enough to have spilled from the page cache into the log.
#[tokio::test]
async fn a_kill_within_a_round_leaves_the_round_before() {
    let (folder, path, store) = fresh().await;
    put(&store, vec![job(1).into()]).await.unwrap();
    let mut transaction = store.database.write().await.unwrap();
    let jobs: Vec<_> = (2..=4_000).map(job).collect();
    let jobs = jobs.iter().map(|job| (job.id, job)).collect();
    crate::jobs::write(&mut transaction, &jobs).await.unwrap();
    let log = folder.path().join("spotwise.db-wal");
    assert!(std::fs::metadata(&log).unwrap().len() > 1 << 20, "the open round is in the log");

    let copy = tempfile::tempdir().unwrap();
    for file in [&path, &log] {
        std::fs::copy(file, copy.path().join(file.file_name().unwrap())).unwrap();
    }
    let survivor = Store::open(&copy.path().join("spotwise.db")).await.unwrap();
    let loaded = survivor.load().await.unwrap();
    assert_eq!(loaded.last_round, 1);
    assert_eq!(loaded.into_state().jobs.into_keys().collect::<Vec<_>>(), [JobId(1)]);
    put(&survivor, vec![job(2).into()]).await.unwrap();
    // And where the process lives on, a transaction that is let go is undone.
    drop(transaction);
    assert_eq!(store.load().await.unwrap().into_state().last_job, 1);
    put(&store, vec![job(2).into()]).await.unwrap();
}

#[tokio::test]
async fn sqlite_busy() {
    let (_folder, path, store) = fresh().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let other = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let held = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let mut writer = writer(&store).acquire().await.unwrap();
    sqlx::query("PRAGMA busy_timeout = 1").execute(&mut *writer).await.unwrap();
    drop(writer);
    let error = store.lead("a", at(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. }) && error.is_retryable(), "{error:?}");
    held.rollback().await.unwrap();
    store.lead("a", at(1)).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_retryable_and_harmless() {
    let (_folder, _, store) = fresh().await;
    let epoch = put(&store, vec![job(1).into()]).await.unwrap();
    let pages = async |sql: &'static str| {
        let mut writer = writer(&store).acquire().await.unwrap();
        sqlx::query(sql).execute(&mut *writer).await.unwrap();
    };
    pages("PRAGMA max_page_count = 1").await;
    let changes: Vec<Change> = (2..=200).map(|id| job(id).into()).collect();
    let round = Round { epoch, id: 2, changes: &changes };
    let error = store.commit(&round).await.unwrap_err();
    assert!(matches!(error, StoreError::DiskFull { .. }) && error.is_retryable(), "{error:?}");
    assert_eq!(store.load().await.unwrap().into_state().last_job, 1, "reads go on");
    pages("PRAGMA max_page_count = 1000000").await;
    store.commit(&round).await.unwrap();
}
