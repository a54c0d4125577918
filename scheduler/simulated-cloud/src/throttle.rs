//! Limits of calls: one token bucket for each action.

use jiff::Timestamp;

use crate::spec::{Bucket, Buckets};

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// A machine.
    Launch,
    /// The end of one.
    Terminate,
    /// A page of a listing.
    List,
    /// The quotas.
    Quotas,
}

/// Calls of one action that got through to the account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// Taken by the bucket.
    pub taken: u64,
    /// Beyond it: answered with `RequestLimitExceeded`.
    pub throttled: u64,
}

/// Thousandths of a call.
const ONE: u64 = 1_000;

/// A bucket and how full it is.
#[derive(Clone, Debug)]
struct Level {
    bucket: Bucket,
    /// In thousandths of a call.
    level: u64,
    at: Timestamp,
    counts: CallCounts,
}

impl Level {
    fn full(bucket: Bucket) -> Self {
        let level = u64::from(bucket.capacity) * ONE;
        Self { bucket, level, at: Timestamp::MIN, counts: CallCounts::default() }
    }

    fn take(&mut self, at: Timestamp) -> bool {
        let passed = at.as_millisecond().saturating_sub(self.at.as_millisecond());
        let passed = u64::try_from(passed).unwrap_or(0);
        let filled = passed.saturating_mul(u64::from(self.bucket.per_second));
        self.level = self.level.saturating_add(filled).min(u64::from(self.bucket.capacity) * ONE);
        self.at = at.max(self.at);
        let taken = self.level >= ONE;
        if taken {
            self.level -= ONE;
            self.counts.taken += 1;
        } else {
            self.counts.throttled += 1;
        }
        taken
    }
}

/// The buckets of an account.
#[derive(Clone, Debug)]
pub(crate) struct Throttle {
    launch: Level,
    terminate: Level,
    list: Level,
    quotas: Level,
}

impl Throttle {
    pub(crate) fn new(buckets: &Buckets) -> Self {
        Self {
            launch: Level::full(buckets.launch),
            terminate: Level::full(buckets.terminate),
            list: Level::full(buckets.list),
            quotas: Level::full(buckets.quotas),
        }
    }

    /// Whether there is room for one more call now; it takes it.
    pub(crate) fn take(&mut self, action: Action, at: Timestamp) -> bool {
        self.of_mut(action).take(at)
    }

    /// Counts a call that is refused whatever the bucket holds.
    pub(crate) fn refuse(&mut self, action: Action) {
        self.of_mut(action).counts.throttled += 1;
    }

    pub(crate) fn counts(&self, action: Action) -> CallCounts {
        match action {
            Action::Launch => self.launch.counts,
            Action::Terminate => self.terminate.counts,
            Action::List => self.list.counts,
            Action::Quotas => self.quotas.counts,
        }
    }

    fn of_mut(&mut self, action: Action) -> &mut Level {
        match action {
            Action::Launch => &mut self.launch,
            Action::Terminate => &mut self.terminate,
            Action::List => &mut self.list,
            Action::Quotas => &mut self.quotas,
        }
    }
}
