//! A snapshot becomes the one statement of a round: what each job may take, what that
//! costs, what waiting costs, and what machines cost later.
//!
//! The order in which its files build on each other: `input`, `bands`, `market`; `value`,
//! `ends`, `prices`; `choice`, `later`, `ask`; `scarcity`, `round`.

pub(crate) mod ask;
pub(crate) mod bands;
pub(crate) mod choice;
pub(crate) mod ends;
pub(crate) mod input;
pub(crate) mod later;
pub(crate) mod market;
pub(crate) mod prices;
pub(crate) mod reserved;
pub(crate) mod round;
pub(crate) mod scarcity;
pub(crate) mod twins;
pub(crate) mod value;
