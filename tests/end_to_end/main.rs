//! The real binaries, over real sockets, with real processes and signals.

#![allow(clippy::print_stdout, reason = "a test reports its figures")]

mod access;
mod chaos;
mod clocks;
mod examples;
mod floods;
mod inputs;
mod main_job;
mod object_storage;
mod outages;
mod pools;
mod recovery;
mod reported;
mod restores;
mod two_schedulers;
mod upgrades;
