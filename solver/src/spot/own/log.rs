//! The log of what was seen of spot markets by launching machines there.
//!
//! Times are hours since any one moment.

use super::belief::Sight;
use super::estimator::Estimator;
use super::prior::StatedPrior;

/// Older observations weigh less than a twentieth, and are left out.
const RETENTION_HOURS: f64 = 14.0 * 24.0;

/// A launch that was tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Launch {
    /// When, in hours.
    pub at: f64,
    /// Whether the provider gave a machine.
    pub granted: bool,
}

/// How the life of a machine of ours ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    /// It has not.
    Open,
    /// The provider took it then, in hours.
    Taken(f64),
    /// We gave it back then, in hours: what the provider would have done is not known.
    GivenBack(f64),
}

/// A machine of ours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OwnMachine {
    /// Since when, in hours.
    pub from: f64,
    /// Until when, and by whom.
    pub end: End,
}

/// All that is known of one spot market: a machine type in a zone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OwnMarket {
    /// Of [`regions`](crate::horizon::regions).
    pub region: usize,
    /// Launches that were tried.
    pub launches: Vec<Launch>,
    /// Machines that were given.
    pub machines: Vec<OwnMachine>,
}

impl OwnMachine {
    fn until(&self, now: f64) -> f64 {
        match self.end {
            End::Open => now,
            End::Taken(at) | End::GivenBack(at) => at.min(now),
        }
    }
}

impl OwnMarket {
    /// Hours of all machines, up to `now`.
    pub fn machine_hours(&self, now: f64) -> f64 {
        self.machines.iter().map(|machine| (machine.until(now) - machine.from).max(0.0)).sum()
    }

    /// Machines taken by the provider by `now`.
    pub fn interruptions(&self, now: f64) -> usize {
        let taken = |machine: &&OwnMachine| matches!(machine.end, End::Taken(at) if at <= now);
        self.machines.iter().filter(taken).count()
    }

    /// The last launch tried by `now`.
    pub fn last_launch(&self, now: f64) -> Option<Launch> {
        let by_now = self.launches.iter().filter(|launch| launch.at <= now);
        by_now.copied().max_by(|a, b| a.at.total_cmp(&b.at))
    }

    /// When anything was first seen.
    fn first(&self) -> Option<f64> {
        let launches = self.launches.iter().map(|launch| launch.at);
        launches.chain(self.machines.iter().map(|machine| machine.from)).min_by(f64::total_cmp)
    }

    /// What was seen from `from` up to but not at `to`. Machines that go together are one
    /// end of a spell.
    fn sight(&self, from: f64, to: f64) -> Sight {
        let within = |at: f64| from <= at && at < to;
        let taken = |machine: &OwnMachine| matches!(machine.end, End::Taken(at) if within(at));
        let there = |machine: &OwnMachine| machine.from < to && machine.until(f64::INFINITY) >= to;
        let tried = |granted| {
            self.launches.iter().any(|launch| within(launch.at) && launch.granted == granted)
        };
        if self.machines.iter().any(taken) {
            Sight::Taken
        } else if self.machines.iter().any(there) || tried(true) {
            Sight::Held
        } else if tried(false) {
            Sight::Refused
        } else {
            Sight::Nothing
        }
    }
}

/// What the markets of one machine type show, in steps of `step_seconds` that end at `now`.
pub fn estimate(
    markets: &[OwnMarket],
    step_seconds: f64,
    prior: StatedPrior,
    now: f64,
) -> Estimator {
    let regions = markets.iter().map(|market| market.region).collect();
    let mut own = Estimator::new(regions, step_seconds, prior);
    let step = step_seconds / 3_600.0;
    let first = markets.iter().filter_map(OwnMarket::first).min_by(f64::total_cmp);
    let Some(first) = first.filter(|first| *first <= now) else { return own };
    let steps = ((now - first).min(RETENTION_HOURS) / step).ceil() as usize;
    for back in (0..steps).rev() {
        let from = now - (back + 1) as f64 * step;
        own.pass();
        // What happens at this very moment is known too.
        let to = if back == 0 { now.next_up() } else { from + step };
        for (zone, market) in markets.iter().enumerate() {
            own.see(zone, market.sight(from, to));
        }
    }
    own
}
