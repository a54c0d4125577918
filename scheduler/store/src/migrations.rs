//! The schema, step by step: the files of `migrations/`, in order.
//!
//! Listed here instead of using `sqlx::migrate!`, whose macro would make cargo build SQLx,
//! both drivers and SQLite a second time.

use std::sync::LazyLock;

use sqlx::SqlStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

macro_rules! migrations {
    ($(($version:literal, $description:literal, $file:literal)),* $(,)?) => {
        [$(($version, $description, include_str!(concat!("../../../migrations/", $file)))),*]
    };
}

/// Version, description, and SQL of each.
const FILES: [(i64, &str, &str); 7] = migrations![
    (1, "first", "0001_first.sql"),
    (2, "lease", "0002_lease.sql"),
    (3, "seats", "0003_seats.sql"),
    (4, "spells", "0004_spells.sql"),
    (8, "ledger by end", "0008_ledger_by_end.sql"),
    (9, "prices", "0009_prices.sql"),
    (10, "access", "0010_access.sql"),
];

pub(super) static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let migration = |(version, description, sql): (i64, &'static str, &'static str)| {
        let sql = SqlStr::from_static(sql);
        Migration::new(version, description.into(), MigrationType::Simple, sql, false)
    };
    Migrator::with_migrations(FILES.into_iter().map(migration).collect())
});

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_listed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations");
        let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
        let mut files: Vec<_> =
            files.filter(|path| path.extension().is_some_and(|it| it == "sql")).collect();
        files.sort();
        let listed = FILES.map(|(version, description, sql)| {
            let name = format!("{version:04}_{}.sql", description.replace(' ', "_"));
            (name, sql.to_owned())
        });
        let found: Vec<_> = files
            .iter()
            .map(|path| {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, std::fs::read_to_string(path).unwrap())
            })
            .collect();
        assert_eq!(listed.to_vec(), found);
    }
}
