//! What has been observed of the spot markets: how many machines of each market were
//! available since when, and when they were observed ([decision 17]).
//!
//! All times are market times. Memory has everything as soon as it is observed; the store
//! gets it with some later round, many rows at a time.
//!
//! [decision 17]: ../../../docs/decisions/0017-spells-are-seen-and-stored.md

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use spotwise_model::time::{after, between};
use spotwise_model::{MarketKey, Now};

use super::due::Due;

/// Older observations are not used: with a half-life of three days they weigh less than a
/// twentieth.
pub const RETENTION: Duration = Duration::from_secs(14 * 86_400);
/// A pause of up to this long between two observations leaves no gap: forecasts use one
/// moment per interval of this length.
pub const GAP_TOLERANCE: Duration = Duration::from_secs(900);
/// Observations are written to the store at most this often (wall time).
const WRITE_GAP: Duration = Duration::from_secs(1);
/// And that nothing has changed, after this long.
const MARK: Duration = Duration::from_secs(300);
/// Rows are removed only when they are this much older than needed, so that a market is
/// cleaned up once a day and not on each of its changes.
const FORGET_LATE: Duration = Duration::from_secs(86_400);
/// Markets cleaned up, and rows of each that are removed, per write.
const MARKETS_AT_ONCE: usize = 16;
const ROWS_AT_ONCE: usize = 500;

/// Machines of a market from a time on, until its next count.
type Counts = BTreeMap<Timestamp, u32>;

/// Everything remembered about the spot markets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AvailabilityHistory {
    counts: BTreeMap<MarketKey, Counts>,
    /// The periods during which the market was observed; by their starts, without overlap.
    windows: BTreeMap<Timestamp, Timestamp>,
    unwritten: Unwritten,
}

/// What has not been written to the store yet.
#[derive(Clone, Debug, Default, PartialEq)]
struct Unwritten {
    /// Whether this memory has observed anything since it was read.
    looked: bool,
    counts: Vec<Count>,
    rewound: Option<Timestamp>,
    /// The first window that the store does not have in full; `None` if it has none.
    from: Option<Timestamp>,
    /// The end of observation that is known to the store.
    marked: Option<Timestamp>,
    /// When it was last written (wall time).
    at: Option<Timestamp>,
}

/// From a time on, this many machines of a market were available at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Which.
    pub market: MarketKey,
    /// The start.
    pub at: Timestamp,
    /// How many, ours included.
    pub machines: u32,
}

/// A period during which the market was observed without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservationWindow {
    /// The start.
    pub from: Timestamp,
    /// The end, inclusive.
    pub until: Timestamp,
}

/// An update for the store, applied in the order of the fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AvailabilityUpdate {
    /// Observations at this time or later are void: the market's time went back to here, or
    /// nothing was observed for longer than the memory lasts.
    pub rewound: Option<Timestamp>,
    /// Windows that are new or longer than before, the current one last.
    #[serde(rename = "watches")]
    pub windows: Vec<ObservationWindow>,
    /// Counts that are new.
    pub counts: Vec<Count>,
    /// Counts of these markets from before these times are removed.
    pub forgotten: Vec<(MarketKey, Timestamp)>,
    /// Windows that began before this time are removed.
    #[serde(rename = "unwatched")]
    pub windows_from: Option<Timestamp>,
}

/// How an observation follows the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The window continues.
    On,
    /// A new window begins: the first, or after a gap.
    Anew,
    /// The market's time went back.
    Back,
}

impl AvailabilityHistory {
    /// The history that a store holds.
    pub fn stored(counts: Vec<Count>, windows: Vec<ObservationWindow>) -> Self {
        let mut availability = Self::default();
        for Count { market, at, machines } in counts {
            availability.counts.entry(market).or_default().insert(at, machines);
        }
        availability.windows =
            windows.into_iter().map(|window| (window.from, window.until)).collect();
        availability.unwritten.marked = availability.until();
        availability.unwritten.from = availability.windows.keys().next_back().copied();
        availability
    }

    /// Records the machines of every spot market. `tolerance` is the longest pause between
    /// two observations by one memory that leaves no gap.
    pub fn observe(
        &mut self,
        available: &BTreeMap<MarketKey, u32>,
        tolerance: Duration,
        now: Timestamp,
    ) -> Step {
        let step = self.step(tolerance, now);
        match (step, self.windows.last_entry()) {
            (Step::On, Some(mut last)) => {
                // A clock that is a little behind its predecessor's waits here.
                if now < *last.get() {
                    return step;
                }
                last.insert(now);
            }
            (Step::Back, _) => {
                self.rewind(now);
                self.windows.insert(now, now);
            }
            (Step::On | Step::Anew, _) => {
                // Who was away for longer than the memory begins from nothing.
                if self.until().is_some_and(|until| between(until, now) > RETENTION) {
                    self.rewind(Timestamp::MIN);
                }
                self.windows.insert(now, now);
            }
        }
        self.unwritten.looked = true;
        for (market, machines) in available {
            self.note(market, *machines, now);
        }
        let gone = |market: &&MarketKey| !available.contains_key(*market);
        for market in self.counts.keys().filter(gone).cloned().collect::<Vec<_>>() {
            self.note(&market, 0, now);
        }
        step
    }

    fn step(&self, tolerance: Duration, now: Timestamp) -> Step {
        let tolerance =
            if self.unwritten.looked { tolerance.max(GAP_TOLERANCE) } else { GAP_TOLERANCE };
        match self.until() {
            None => Step::Anew,
            Some(until) if between(now, until) > GAP_TOLERANCE => Step::Back,
            Some(until) if between(until, now) > tolerance => Step::Anew,
            Some(_) => Step::On,
        }
    }

    fn note(&mut self, market: &MarketKey, machines: u32, now: Timestamp) {
        let counts = match self.counts.get_mut(market) {
            Some(counts) => counts,
            None => self.counts.entry(market.clone()).or_default(),
        };
        if counts.last_key_value().is_none_or(|(_, last)| *last != machines) {
            counts.insert(now, machines);
            self.unwritten.counts.push(Count { market: market.clone(), at: now, machines });
        }
    }

    /// Observations at `to` or later are void.
    fn rewind(&mut self, to: Timestamp) {
        self.cut(to);
        let unwritten = &mut self.unwritten;
        unwritten.rewound = Some(unwritten.rewound.map_or(to, |before| before.min(to)));
        unwritten.counts.retain(|count| count.at < to);
        // Of what is left only the last window is another than before.
        let last = self.windows.keys().next_back().copied();
        unwritten.from = unwritten.from.zip(last).map(|(from, last)| from.min(last));
        unwritten.marked = None;
    }

    fn cut(&mut self, to: Timestamp) {
        for counts in self.counts.values_mut() {
            counts.split_off(&to);
        }
        self.counts.retain(|_, counts| !counts.is_empty());
        self.windows.split_off(&to);
        for until in self.windows.values_mut() {
            *until = (*until).min(to);
        }
    }

    /// What is to be written to the store now, if anything.
    pub fn write(&mut self, now: Now) -> Option<AvailabilityUpdate> {
        let (last, until) = self.windows.last_key_value().map(|(from, until)| (*from, *until))?;
        let unwritten = &self.unwritten;
        let rests = unwritten.at.is_some_and(|at| between(at, now.wall) < WRITE_GAP);
        let marked = unwritten.marked.map_or(Duration::MAX, |marked| between(marked, until));
        let news = !unwritten.counts.is_empty() || unwritten.rewound.is_some() || marked >= MARK;
        if rests || !news || !unwritten.looked {
            return None;
        }
        let oldest = now.market.checked_sub(RETENTION).unwrap_or(Timestamp::MIN);
        let from = self.unwritten.from.replace(last);
        let update = AvailabilityUpdate {
            rewound: self.unwritten.rewound.take(),
            windows: self
                .windows()
                .skip_while(|w| from.is_some_and(|from| w.from < from))
                .collect(),
            counts: std::mem::take(&mut self.unwritten.counts),
            forgotten: self.too_old(oldest),
            windows_from: self.windows_from(oldest),
        };
        self.unwritten.marked = Some(until);
        self.unwritten.at = Some(now.wall);
        Some(update)
    }

    /// When [`write`](Self::write) has something to write. The store learns at least this
    /// often that the market is observed, and that is well within [`GAP_TOLERANCE`]:
    /// sleeping until then or until the market's next change leaves no gap.
    pub fn due(&self, due: &mut Due) {
        let Some(until) = self.until().filter(|_| self.unwritten.looked) else { return };
        let (unwritten, now) = (&self.unwritten, due.now());
        let rested = unwritten.at.map_or(now.wall, |at| after(at, WRITE_GAP));
        let mark = after(unwritten.marked.unwrap_or(until), MARK);
        if !unwritten.counts.is_empty() || unwritten.rewound.is_some() || mark <= now.market {
            due.wall([rested]);
        } else {
            due.market([mark]);
        }
    }

    /// Counts no longer needed: all before the one that holds at `oldest`.
    fn too_old(&self, oldest: Timestamp) -> Vec<(MarketKey, Timestamp)> {
        let old = self.counts.iter().filter_map(|(market, counts)| {
            let second = counts.keys().nth(1).filter(|at| after(**at, FORGET_LATE) <= oldest)?;
            let kept = counts.range(second..=&oldest).map(|(at, _)| *at);
            Some((market.clone(), kept.take(ROWS_AT_ONCE).last()?))
        });
        old.take(MARKETS_AT_ONCE).collect()
    }

    /// The last window that had begun by `oldest`, if there are others before it.
    fn windows_from(&self, oldest: Timestamp) -> Option<Timestamp> {
        let last = *self.windows.range(..=oldest).next_back()?.0;
        (self.start()? < last).then_some(last)
    }

    /// Applies what is written to the store. What this memory has observed itself is
    /// already in it.
    pub fn take(&mut self, update: &AvailabilityUpdate) {
        if let Some(to) = update.rewound {
            self.cut(to);
        }
        self.windows.extend(update.windows.iter().map(|window| (window.from, window.until)));
        for Count { market, at, machines } in &update.counts {
            self.counts.entry(market.clone()).or_default().insert(*at, *machines);
        }
        for (market, before) in &update.forgotten {
            if let Some(counts) = self.counts.get_mut(market) {
                *counts = counts.split_off(before);
            }
        }
        if let Some(before) = update.windows_from {
            self.windows = self.windows.split_off(&before);
        }
    }

    /// When the market was first observed.
    pub fn start(&self) -> Option<Timestamp> {
        self.windows.first_key_value().map(|(from, _)| *from)
    }

    /// The last observation.
    pub fn until(&self) -> Option<Timestamp> {
        self.windows.last_key_value().map(|(_, until)| *until)
    }

    /// Whether the market was observed at that time.
    pub fn is_observed(&self, at: Timestamp) -> bool {
        self.windows.range(..=at).next_back().is_some_and(|(_, until)| *until >= at)
    }

    /// When the market was first observed.
    pub fn first(&self, market: &MarketKey) -> Option<Timestamp> {
        self.counts.get(market)?.first_key_value().map(|(at, _)| *at)
    }

    /// Machines of a market at a time, as last observed; `None` before its first
    /// observation.
    pub fn machines(&self, market: &MarketKey, at: Timestamp) -> Option<u32> {
        self.counts.get(market)?.range(..=at).next_back().map(|(_, machines)| *machines)
    }

    /// Since when there have been at least this many machines of a market, or fewer,
    /// without a gap: no earlier than the current window or `earliest`.
    pub fn since(
        &self,
        market: &MarketKey,
        machines: u32,
        earliest: Timestamp,
    ) -> Option<Timestamp> {
        let earliest = self.windows.last_key_value()?.0.max(&earliest);
        let counts = self.counts.get(market)?;
        let now = *counts.last_key_value()?.1 >= machines;
        let run = counts.iter().rev().take_while(|(_, count)| (**count >= machines) == now);
        let mut since = None;
        for (at, _) in run {
            since = Some(*at);
            if at <= earliest {
                break;
            }
        }
        since.map(|since| since.max(*earliest))
    }

    /// Everything, for a store.
    pub fn rows(&self) -> impl Iterator<Item = Count> {
        self.counts.iter().flat_map(|(market, counts)| {
            counts.iter().map(|(at, machines)| Count {
                market: market.clone(),
                at: *at,
                machines: *machines,
            })
        })
    }

    /// Every window, the oldest first.
    pub fn windows(&self) -> impl Iterator<Item = ObservationWindow> {
        self.windows.iter().map(|(from, until)| ObservationWindow { from: *from, until: *until })
    }
}

#[cfg(test)]
#[path = "availability_history_tests.rs"]
mod tests;
