//! The operator's settings, as far as decisions depend on them.

use std::time::Duration;

use spotwise_model::policy::Policy;

/// The operator's settings that affect decisions.
#[derive(Clone, Debug)]
pub struct Config {
    /// Market seconds per wall second; more than 1 only for a replay.
    pub speed: u32,
    /// From the notice of an interruption to the end of the machine (wall time). EC2
    /// gives 120 s.
    pub notice_lead: Duration,
    /// A worker stops itself if it has had no answer for this long, and the scheduler gives
    /// up on it `LEASE_MARGIN` later. Longer than a database outage that jobs are meant to
    /// survive; machines that die are known sooner, from their pool.
    pub lease: Duration,
    /// Grace from SIGTERM to SIGKILL if the job's spec does not say (wall time).
    pub default_grace: Duration,
    /// Longest time one planning round may take.
    pub plan_time_limit: Duration,
    /// Jobs that may be live at once; further ones are refused as overload.
    pub max_live_jobs: usize,
    /// The operator's policy.
    pub policy: Policy,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            speed: 1,
            notice_lead: Duration::from_secs(120),
            lease: Duration::from_secs(300),
            default_grace: Duration::from_secs(10),
            plan_time_limit: Duration::from_secs(5),
            max_live_jobs: MAX_LIVE_JOBS,
            policy: Policy::default(),
        }
    }
}

impl Config {
    /// Raises market durations that stand for something real on this machine: at this speed
    /// they cannot be shorter than what it takes in wall time. Starting a process takes
    /// about one second, a round and a stop with its checkpoint up to two.
    pub fn fit_to_speed(&mut self) {
        let market = |wall: u64| Duration::from_secs(wall).saturating_mul(self.speed);
        let (start, stop) = (market(1), market(2));
        self.policy.changeover = self.policy.changeover.max(start);
        self.policy.deadline_margin = self.policy.deadline_margin.max(stop);
    }
}

/// Default for how many jobs may be live at once.
const MAX_LIVE_JOBS: usize = 200_000;

pub use spotwise_model::timing::LEASE_MARGIN;
