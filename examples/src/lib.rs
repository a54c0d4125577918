//! Commands that run under a spotwise worker: a trainer that can be interrupted
//! at any step and goes on bit for bit, the steps of a pipeline, and batch
//! inference. They depend on no other crate of spotwise: all they know of it is
//! the contract in [`contract`], so they may be copied as a starting point.

#![allow(clippy::print_stdout, reason = "a command-line program: its output is the job's log")]

pub mod checkpoint;
mod cli;
pub mod contract;
pub mod evaluate;
mod folder;
pub mod infer;
pub mod model;
pub mod ngram;
mod optimizer;
pub mod pace;
pub mod prepare;
pub mod stop;
mod tensor;
pub mod text;
pub mod train;
pub mod trainer;

pub use cli::{Cli, Command, run};
pub use contract::Outcome;
