//! The spot market: how long capacity lasts and stays away, and whether a job waits for
//! it or goes on demand.

pub mod forecast;
pub mod horizon;
pub mod own;
