//! The simulator that tries to break us: schedulers, workers, clients, a store
//! and a cloud that lies, on one event heap. One seed is one history.

pub(crate) mod account;
mod clients;
pub(crate) mod cloud;
pub(crate) mod events;
pub(crate) mod faults;
mod feed;
pub(crate) mod inject;
mod machines;
pub(crate) mod node;
pub(crate) mod oracle;
pub(crate) mod outlook;
pub(crate) mod pool;
pub(crate) mod restores;
pub(crate) mod runner;
pub(crate) mod scenario;
pub(crate) mod sim;
pub(crate) mod simulated_market;
pub(crate) mod store;
pub(crate) mod submissions;
pub(crate) mod time;
pub(crate) mod worker;
