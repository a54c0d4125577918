//! A snapshot becomes the one statement of a round: what each job may take, what that
//! costs, what waiting costs, and what machines cost later.
//!
//! The order in which its files build on each other: `input`, `policy_prices`, `limits`,
//! `market`; `value`, `ends`, `prices`; `choice`, `later`, `demand`; `scarcity`, `round`.

pub(crate) mod choice;
pub(crate) mod demand;
pub(crate) mod ends;
pub(crate) mod identical;
pub(crate) mod input;
pub(crate) mod later;
pub(crate) mod limits;
pub(crate) mod market;
pub(crate) mod policy_prices;
pub(crate) mod prices;
pub(crate) mod reserved;
pub(crate) mod round;
pub(crate) mod scarcity;
pub(crate) mod value;
