//! What the cloud sells: its user says it.

use std::fmt::Debug;

use jiff::Timestamp;
use spotwise_model::{MarketKey, Money};

/// Supply and prices over time. The answers for one time are always the same.
pub trait CloudMarket: Debug + Send + Sync {
    /// Machines that the market has in all at that time: those open, ours and others', and
    /// those that can still be had. Of a spot market, machines beyond it are taken back; of
    /// any other it only limits what is launched.
    fn available(&self, market: &MarketKey, at: Timestamp) -> u32;

    /// The first time after `after` at which [`Self::available`] may be another number;
    /// `None` if it stays as it is. Naming times at which nothing changes is allowed.
    fn next_change(&self, market: &MarketKey, after: Timestamp) -> Option<Timestamp>;

    /// What one machine costs that was there from `from` to `stopped` and is billed to `to`,
    /// all whole seconds: the exact sum of the market's price segments. Beyond its stop the
    /// price that was in force then applies.
    fn charge(
        &self,
        market: &MarketKey,
        from: Timestamp,
        stopped: Timestamp,
        to: Timestamp,
    ) -> Money;
}
