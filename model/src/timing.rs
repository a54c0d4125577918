//! Times that the scheduler and the worker agree on without communicating: each side relies
//! on the other's. They are in one place, so that none can change alone.

use std::time::Duration;

/// A worker whose lease has expired kills its command at most this long afterwards, even if
/// the job's grace period is longer.
pub const LEASE_GRACE: Duration = Duration::from_secs(3);

/// The scheduler gives up on a silent worker this long after its lease.
pub const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// For the kill, and for the drift of two clocks over one lease.
const LEASE_SLACK: Duration = Duration::from_secs(2);

/// After a stop for lack of money: from the end of the grace period until the worker has
/// committed the last checkpoint and the outputs, or gives up.
pub const BUDGET_SAVE: Duration = Duration::from_secs(4);

/// The scheduler holds money for a stop of its own for this long after the grace period.
pub const BUDGET_STOP_MARGIN: Duration = Duration::from_secs(5);

/// For the kill.
const BUDGET_SLACK: Duration = Duration::from_secs(1);

const _: () = {
    assert!(
        LEASE_GRACE.as_millis() + LEASE_SLACK.as_millis() <= LEASE_MARGIN.as_millis(),
        "a replacement could start beside the old command"
    );
    assert!(
        BUDGET_SAVE.as_millis() + BUDGET_SLACK.as_millis() <= BUDGET_STOP_MARGIN.as_millis(),
        "a stop could cost more than the budget has"
    );
};
