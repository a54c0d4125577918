//! What `spotwise db check` finds.

use super::backups::{fill, place};
use super::build::*;
use crate::backup::{backup, restore};
use crate::check::check;
use crate::database::Kind;
use crate::{Location, Round, Store, StoreError};
use spotwise_control::core::Change;

/// Each of these is detected, by its table.
const FAULTS: [(&str, &str); 17] = [
    ("job_tags", "INSERT INTO job_tags (job, key, value) VALUES (9999, 'a', 'b')"),
    ("events", "UPDATE events SET job = 9999 WHERE number = 1"),
    ("ledger", "UPDATE ledger SET instance = 9999"),
    ("ledger", "UPDATE ledger SET amount_micros = 5"),
    (
        "ledger",
        "UPDATE ledger SET document = replace(document, '\"sequence\":0', '\"sequence\":1'), sequence = 1",
    ),
    ("jobs", "UPDATE jobs SET spent_micros = 7 WHERE id = 1"),
    ("jobs", "UPDATE jobs SET state = 'failed' WHERE id = 2"),
    ("jobs", "UPDATE jobs SET document = '{' WHERE id = 3"),
    ("jobs", "UPDATE jobs SET format = 99 WHERE id = 3"),
    ("attempts", "UPDATE attempts SET live = 0"),
    ("instances", "UPDATE instances SET settled = 0"),
    ("submissions", "UPDATE submissions SET jobs = 'x'"),
    ("spells", "UPDATE watches SET until_us = 1900000000"),
    ("prices", "UPDATE price_feed SET until_us = 1900000000"),
    ("prices", "UPDATE prices SET at_us = -9000000000000000000 WHERE at_us = 1000000000"),
    ("watches", "INSERT INTO watches (from_us, until_us) VALUES (1500000000, 1600000000)"),
    ("watches", "UPDATE watches SET from_us = -9000000000000000000"),
];

#[tokio::test]
async fn a_check_finds_every_planted_fault() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let sound = place(kind);
        fill(&sound.location, 20).await;
        let report = check(&sound.location).await.unwrap();
        assert_eq!((report.found, report.rows["jobs"]), (0, 20), "{:?}", report.findings);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("backup");
        backup(&sound.location, &file, false, at(50)).await.unwrap();
        for (table, sql) in FAULTS {
            let spoilt = place(kind);
            restore(&spoilt.location, &file, at(60)).await.unwrap();
            plant(&spoilt.location, sql).await;
            let report = check(&spoilt.location).await.unwrap();
            assert!(report.findings.iter().any(|f| f.table == table), "{sql}: {report:?}");
        }
    }
}

async fn plant(location: &Location, sql: &'static str) {
    match location {
        Location::Sqlite(path) => {
            let options =
                sqlx::sqlite::SqliteConnectOptions::new().filename(path).foreign_keys(false);
            let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
            assert!(sqlx::query(sql).execute(&pool).await.unwrap().rows_affected() > 0);
            pool.close().await;
        }
        Location::Postgres(server) => {
            let pool = sqlx::PgPool::connect_with(server.options().clone()).await.unwrap();
            let mut connection = pool.acquire().await.unwrap();
            let off = "SET session_replication_role = replica";
            sqlx::raw_sql(off).execute(&mut *connection).await.unwrap();
            let done = sqlx::raw_sql(sql).execute(&mut *connection).await.unwrap();
            assert!(done.rows_affected() > 0);
            drop(connection);
            pool.close().await;
        }
    }
}

/// Two live slices of one machine, and a third at the slot of one of them.
#[tokio::test]
async fn a_check_finds_a_seat_that_is_taken_twice() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let place = place(kind);
        let store = Store::open(&place.location).await.unwrap();
        let mut machine = instance(1);
        machine.shape.memory_mib = 8_192;
        let mut other = attempt(2, 1);
        other.slots[0].start = 4;
        let mut changes: Vec<Change> = (1..=3).map(|id| job(id).into()).collect();
        changes.extend([machine.into(), attempt(1, 1).into(), other.into()]);
        let epoch = put(&store, changes).await.unwrap();
        assert_eq!(check(&place.location).await.unwrap().findings, []);
        let third = [attempt(3, 1).into()];
        store.commit(&Round { epoch, id: 2, changes: &third }).await.unwrap();
        let found = check(&place.location).await.unwrap().findings;
        let [found] = &found[..] else { panic!("{found:?}") };
        assert_eq!((found.table, found.row.as_str()), ("attempts", "3/1"));
        assert!(found.problem.contains("i1, GPU 0.6"), "{}", found.problem);
        store.close().await;
    }
}

/// A page of the file that has been altered.
#[tokio::test]
async fn a_check_finds_a_damaged_page() {
    let place = place(Kind::Sqlite);
    fill(&place.location, 1_200).await;
    let Location::Sqlite(path) = &place.location else { panic!("a file") };
    let mut bytes = std::fs::read(path).unwrap();
    // Within an index: every row of its table is still there.
    let text = b"jobs_by_state";
    assert!(bytes.windows(text.len()).any(|window| window == text));
    let middle = bytes.len() / 2 / 4_096 * 4_096;
    bytes[middle..middle + 4_096].fill(0);
    std::fs::write(path, bytes).unwrap();
    let seen = match check(&place.location).await {
        Ok(report) => report.found > 0,
        Err(error) => matches!(error, StoreError::Corrupt { .. }),
    };
    assert!(seen);
}
