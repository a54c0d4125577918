//! The real binaries, over real sockets, with real processes and signals.

mod chaos;
mod examples;
mod inputs;
mod main_job;
