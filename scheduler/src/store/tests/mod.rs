//! The store's tests: `suite` runs on any database, `sqlite` on the file.

mod build;
mod sqlite;
mod suite;
mod suite_reads;
