//! The store's tests: `both` runs the suites on either database.

mod backups;
mod both;
mod build;
mod checks;
mod crashes;
mod forecasts;
mod postgres;
mod rates;
mod sqlite;
mod suite;
mod suite_access;
mod suite_reads;
