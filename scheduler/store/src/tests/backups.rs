//! Backup, restore and check, from either database to either.

use std::path::{Path, PathBuf};

use spotwise_test_postgres::{Database as TestDatabase, shared};
use tempfile::TempDir;

use super::build::*;
use crate::backup::{BackupError, RESTORED_AT, RESTORED_FROM, backup, restore};
use crate::check::check;
use crate::database::{Database, Kind, Statement, Value};
use crate::tables::TABLES;
use crate::{Location, Round, Store, StoreError, open};
use spotwise_control::core::Change;

/// A database that does not exist yet.
pub(super) struct Place {
    pub(super) location: Location,
    _folder: Option<TempDir>,
    _database: Option<TestDatabase>,
}

pub(super) fn place(kind: Kind) -> Place {
    match kind {
        Kind::Sqlite => {
            let folder = tempfile::tempdir().unwrap();
            let location = folder.path().join("spotwise.db").into();
            Place { location, _folder: Some(folder), _database: None }
        }
        Kind::Postgres => {
            let database = shared().database();
            let location = database.url().parse().unwrap();
            Place { location, _folder: None, _database: Some(database) }
        }
    }
}

/// At least one row in every table, including texts that are hard to carry.
pub(super) async fn fill(location: &Location, jobs: u64) {
    let store = Store::open(location).await.unwrap();
    let mut paid = job(1);
    paid.spent = spotwise_model::Money::from_micros(1_000);
    let mut entry = charge(1, 0, Some(1), 1_000);
    entry.price = spotwise_model::Price::from_micros_per_hour(60_000);
    let mut changes: Vec<Change> = vec![
        Change::Submission(record("schlüssel ' \" \\ \n", &[1])),
        paid.into(),
        gone(1).settle().unwrap().into(),
        attempt(1, 1).into(),
        Change::Ledger(vec![entry]),
        Change::Event(event(1, 1, Some(1))),
        Change::Event(event(2, 1, None)),
        Change::Availability(Box::new(availability_update(&[(1_000, 16), (1_600, 0), (2_000, 4)]))),
        Change::Prices(Box::new(price_update(&[(1_000, 300_000), (2_000, 290_000)]))),
    ];
    changes.extend((2..=jobs).map(|id| job(id).into()));
    put(&store, changes).await.unwrap();
    store.set_meta("time", "{}").await.unwrap();
    store.close().await;
}

async fn rows(location: &Location) -> Vec<Vec<Value>> {
    let database = open::open_to_read(location).await.unwrap();
    let mut transaction = database.snapshot().await.unwrap();
    let mut all = Vec::new();
    for table in TABLES.iter().filter(|table| table.name != "leader") {
        let mut last: Option<Vec<Value>> = None;
        loop {
            let page = table.page(&mut transaction, last.as_deref()).await.unwrap();
            let Some((values, _)) = page.last() else { break };
            last = Some(values.clone());
            all.extend(page.into_iter().map(|(values, _)| values));
        }
    }
    drop(transaction);
    database.close().await;
    let marks = [RESTORED_AT, RESTORED_FROM].map(Value::from);
    all.retain(|values| values.first().is_none_or(|key| !marks.contains(key)));
    all
}

async fn there_and_back(from: Kind, to: Kind) {
    let (source, target, folder) = (place(from), place(to), tempfile::tempdir().unwrap());
    fill(&source.location, 1_200).await;
    let file = folder.path().join("backup");
    let made = backup(&source.location, &file, false, at(50)).await.unwrap();
    assert_eq!((made.rows["jobs"], made.rows["ledger"], made.round), (1_200, 1, 1));
    assert_eq!((made.rows["spells"], made.rows["watches"]), (3, 1));
    assert_eq!((made.rows["prices"], made.rows["price_feed"]), (2, 1));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    let again = backup(&source.location, &file, false, at(50)).await;
    assert!(matches!(again, Err(BackupError::Exists { .. })), "{again:?}");
    backup(&source.location, &file, true, at(50)).await.unwrap();

    let put_in = restore(&target.location, &file, at(60)).await.unwrap();
    assert_eq!(put_in, made);
    let expected = rows(&source.location).await;
    assert!(expected.len() > 1_200);
    assert_eq!(rows(&target.location).await, expected);
    assert_eq!(check(&target.location).await.unwrap().findings, []);
    let twice = restore(&target.location, &file, at(60)).await;
    assert!(matches!(twice, Err(BackupError::NotEmpty { table: "jobs", .. })), "{twice:?}");

    let store = Store::open(&target.location).await.unwrap();
    assert_eq!(store.meta(RESTORED_AT).await.unwrap().as_deref(), Some("60000000"));
    assert_eq!(store.meta(RESTORED_FROM).await.unwrap().as_deref(), Some("50000000"));
    let source = Store::open(&source.location).await.unwrap();
    let mut old = source.lead("old", at(70)).await.unwrap();
    for _ in 0..9 {
        old = source.lead("old", at(70)).await.unwrap();
    }
    assert!(store.lead("new", at(70)).await.unwrap() > old);
    let refused = store.commit(&Round { epoch: old, id: 99, changes: &[] }).await;
    assert!(matches!(refused, Err(StoreError::NotLeader { .. })), "{refused:?}");
    source.close().await;
    store.close().await;
}

#[tokio::test]
async fn a_backup_of_sqlite_is_restored_on_sqlite() {
    there_and_back(Kind::Sqlite, Kind::Sqlite).await;
}

#[tokio::test]
async fn a_backup_of_sqlite_is_restored_on_postgresql() {
    there_and_back(Kind::Sqlite, Kind::Postgres).await;
}

#[tokio::test]
async fn a_backup_of_postgresql_is_restored_on_sqlite() {
    there_and_back(Kind::Postgres, Kind::Sqlite).await;
}

#[tokio::test]
async fn a_backup_of_postgresql_is_restored_on_postgresql() {
    there_and_back(Kind::Postgres, Kind::Postgres).await;
}

/// A file with a byte changed, cut or added anywhere is refused, and no database is
/// created.
#[tokio::test]
async fn a_broken_backup_is_refused_and_changes_nothing() {
    let (source, folder) = (place(Kind::Sqlite), tempfile::tempdir().unwrap());
    let store = Store::open(&source.location).await.unwrap();
    put(&store, vec![job(1).into(), Change::Event(event(1, 1, None))]).await.unwrap();
    store.close().await;
    drop(store);
    let file = folder.path().join("backup");
    backup(&source.location, &file, false, at(50)).await.unwrap();
    let whole = std::fs::read(&file).unwrap();
    let mut broken: Vec<Vec<u8>> = Vec::new();
    for place in (0..whole.len()).step_by(17) {
        broken.push(whole[..place].to_vec());
        let mut flipped = whole.clone();
        flipped[place] ^= 1;
        broken.push(flipped);
    }
    broken.push(whole[..whole.len() - 1].to_vec());
    broken.push([&whole[..], b"\n"].concat());
    broken.push([&whole[..], &whole[..]].concat());
    let (bad, target) = (folder.path().join("bad"), folder.path().join("new.db"));
    for bytes in &broken {
        std::fs::write(&bad, bytes).unwrap();
        refused(&target, &bad).await;
    }
    restore(&target.clone().into(), &file, at(60)).await.unwrap();
}

/// A backup from before spells existed.
#[tokio::test]
async fn a_backup_without_younger_tables_is_restored() {
    let (source, folder) = (place(Kind::Sqlite), tempfile::tempdir().unwrap());
    fill(&source.location, 3).await;
    let file = folder.path().join("backup");
    backup(&source.location, &file, false, at(50)).await.unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let young = ["spells", "watches"];
    let of_them = |line: &&str| !young.iter().any(|t| line.starts_with(&format!("[\"{t}\",")));
    let mut lines: Vec<String> = text.lines().filter(of_them).map(str::to_owned).collect();
    let edit = |line: &mut String, edit: &dyn Fn(&mut serde_json::Value)| {
        let mut value = serde_json::from_str(line).unwrap();
        edit(&mut value);
        *line = value.to_string();
    };
    edit(&mut lines[0], &|head| {
        head["schema"] = 2.into();
        young.iter().for_each(|t| drop(head["columns"].as_object_mut().unwrap().remove(*t)));
    });
    let mut end = lines.pop().unwrap();
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let sum = <sha2::Sha256 as sha2::Digest>::digest(&body);
    let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    edit(&mut end, &|end| {
        end["sha256"] = sum.clone().into();
        young.iter().for_each(|t| drop(end["rows"].as_object_mut().unwrap().remove(*t)));
    });
    std::fs::write(&file, format!("{body}{end}\n")).unwrap();
    let target = place(Kind::Postgres);
    let report = restore(&target.location, &file, at(60)).await.unwrap();
    assert_eq!((report.schema, report.rows["jobs"]), (2, 3));
    assert_eq!(check(&target.location).await.unwrap().findings, []);
    // A table that the schema has is not left out.
    edit(&mut lines[0], &|head| head["schema"] = open::known().into());
    std::fs::write(&file, lines.join("\n")).unwrap();
    refused(&folder.path().join("new.db"), &file).await;
}

async fn refused(target: &Path, bad: &PathBuf) {
    let answer = restore(&target.into(), bad, at(60)).await;
    let text = std::fs::read_to_string(bad).unwrap_or_default();
    assert!(
        matches!(answer, Err(BackupError::Damaged { .. } | BackupError::Newer { .. })),
        "{answer:?}: {text}"
    );
    assert!(!target.exists());
}

/// The list of tables agrees with the schema.
#[tokio::test]
async fn every_column_is_backed_up() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let place = place(kind);
        let store = Store::open(&place.location).await.unwrap();
        let sql = match kind {
            Kind::Sqlite => {
                "SELECT t.name || '.' || c.name AS key FROM sqlite_master AS t, pragma_table_info(t.name) AS c
                 WHERE t.type = 'table' AND t.name <> '_sqlx_migrations'"
            }
            Kind::Postgres => {
                "SELECT CAST(table_name || '.' || column_name AS TEXT) AS key FROM information_schema.columns
                 WHERE table_schema = current_schema() AND table_name <> '_sqlx_migrations'"
            }
        };
        let found = store.database.fetch(Statement::new("(schema)", sql)).await.unwrap();
        let mut found: Vec<String> = found.iter().map(|row| row.text("key").unwrap()).collect();
        let names = |table: &'static crate::tables::Table| {
            table.columns.iter().map(|column| format!("{}.{}", table.name, column.name()))
        };
        let mut known: Vec<String> = TABLES.iter().flat_map(names).collect();
        found.sort();
        known.sort();
        assert_eq!(found, known, "{kind:?}");
        store.close().await;
    }
}

/// A database with the schema from before slots, opened by this program.
#[tokio::test]
async fn a_database_from_before_seats_is_upgraded() {
    const STEPS: [&str; 3] = [
        "UPDATE attempts SET document = replace(document, ',\"seats\":[{\"gpu\":0,\"start\":6}]', '')",
        "DELETE FROM _sqlx_migrations WHERE version = 3",
        "ALTER TABLE attempts DROP COLUMN seats",
    ];
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let place = place(kind);
        fill(&place.location, 3).await;
        let store = Store::open(&place.location).await.unwrap();
        let mut transaction = store.database.write().await.unwrap();
        for sql in STEPS {
            transaction.execute(Statement::new("attempts", sql)).await.unwrap();
        }
        transaction.commit().await.unwrap();
        store.close().await;
        drop(store);
        let store = Store::open(&place.location).await.unwrap();
        let state = store.load().await.unwrap().into_state();
        let attempts: Vec<_> = state.attempts.values().cloned().collect();
        assert_eq!(attempts, [spotwise_model::Attempt { slots: Vec::new(), ..attempt(1, 1) }]);
        assert_eq!(check(&place.location).await.unwrap().findings, []);
        store.close().await;
    }
}

/// A backup that was made before slots existed.
#[tokio::test]
async fn an_older_backup_is_restored() {
    let (source, target) = (place(Kind::Sqlite), place(Kind::Sqlite));
    fill(&source.location, 3).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    backup(&source.location, &file, false, at(50)).await.unwrap();
    let mut lines: Vec<String> = Vec::new();
    for line in std::fs::read_to_string(&file).unwrap().lines() {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        if let Some(columns) = line.pointer_mut("/columns/attempts") {
            assert_eq!(columns.as_array_mut().unwrap().pop().unwrap(), "seats");
        }
        if line.get(0).is_some_and(|table| table == "attempts") {
            assert_eq!(line[1].as_array_mut().unwrap().pop().unwrap(), "0.6");
        }
        if line.get("sha256").is_some() {
            let before: String = lines.concat();
            let sum = <sha2::Sha256 as sha2::Digest>::digest(before.as_bytes());
            let hex: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
            line["sha256"] = hex.into();
        }
        lines.push(format!("{line}\n"));
    }
    std::fs::write(&file, lines.concat()).unwrap();
    restore(&target.location, &file, at(60)).await.unwrap();
    let slots = |rows: Vec<Vec<Value>>| {
        rows.iter().filter(|row| row.last() == Some(&Value::Text(Some("0.6".to_owned())))).count()
    };
    assert_eq!(slots(rows(&source.location).await), 1);
    assert_eq!(slots(rows(&target.location).await), 0);
    let store = Store::open(&target.location).await.unwrap();
    assert_eq!(store.attempts(spotwise_model::JobId(1)).await.unwrap(), [attempt(1, 1)]);
    store.close().await;
}

#[tokio::test]
async fn a_backup_is_made_beside_a_running_scheduler() {
    let (place, folder) = (place(Kind::Sqlite), tempfile::tempdir().unwrap());
    let store = Store::open(&place.location).await.unwrap();
    assert!(matches!(store.database, Database::Sqlite(_)));
    put(&store, vec![job(1).into()]).await.unwrap();
    let report = backup(&place.location, &folder.path().join("b"), false, at(50)).await.unwrap();
    assert_eq!(report.rows["jobs"], 1);
    put(&store, vec![job(2).into()]).await.unwrap();
}
