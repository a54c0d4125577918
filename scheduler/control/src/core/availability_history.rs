//! What has been seen of the spot markets: how many machines of each offer could
//! be had since when, and when anybody looked ([decision 17]).
//!
//! All times are market times. Memory has everything as soon as it is seen; the
//! store gets it with some later round, many rows at a time.
//!
//! [decision 17]: ../../../docs/decisions/0017-spells-are-seen-and-stored.md

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use spotwise_model::time::{after, between};
use spotwise_model::{Now, OfferKey};

use super::due::Due;

/// What is older is not looked at: with a half-life of three days it weighs less
/// than a twentieth.
pub const RETENTION: Duration = Duration::from_secs(14 * 86_400);
/// A pause between two looks up to here leaves no gap: forecasts look at one
/// moment in so much time.
pub const GAP_TOLERANCE: Duration = Duration::from_secs(900);
/// The store hears of what is seen at most so often (wall time).
const WRITE_GAP: Duration = Duration::from_secs(1);
/// And that nothing has changed, after so long.
const MARK: Duration = Duration::from_secs(300);
/// Rows are forgotten when they are so much older than they need to be, so that
/// an offer is looked after once a day and not with each of its changes.
const FORGET_LATE: Duration = Duration::from_secs(86_400);
/// Offers looked after, and rows of each that are forgotten, with one writing.
const OFFERS_AT_ONCE: usize = 16;
const ROWS_AT_ONCE: usize = 500;

/// Machines of an offer from a time on, until its next count.
type Counts = BTreeMap<Timestamp, u32>;

/// Everything that is remembered of the spot markets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AvailabilityHistory {
    counts: BTreeMap<OfferKey, Counts>,
    /// From when until when somebody looked; by their beginnings, without overlap.
    windows: BTreeMap<Timestamp, Timestamp>,
    unwritten: Unwritten,
}

/// What the store has not heard of.
#[derive(Clone, Debug, Default, PartialEq)]
struct Unwritten {
    /// Whether this memory has looked at all since it was read.
    looked: bool,
    counts: Vec<Count>,
    rewound: Option<Timestamp>,
    /// The first window that the store does not know whole; none: it knows none.
    from: Option<Timestamp>,
    /// Until when the store knows that somebody looked.
    marked: Option<Timestamp>,
    /// When it was last told (wall time).
    at: Option<Timestamp>,
}

/// From a time on, so many machines of an offer could be had at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Which.
    pub offer: OfferKey,
    /// From when on.
    pub at: Timestamp,
    /// How many, ours included.
    pub machines: u32,
}

/// Somebody looked at the market all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservationWindow {
    /// From when.
    pub from: Timestamp,
    /// Until when, that moment included.
    pub until: Timestamp,
}

/// What the store is told of, applied in the order of the fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AvailabilityUpdate {
    /// What was seen at this time or later is void: the market's time went back
    /// to here, or nobody looked for longer than the memory lasts.
    pub rewound: Option<Timestamp>,
    /// Windows that are new or longer than before, the present one last.
    #[serde(rename = "watches")]
    pub windows: Vec<ObservationWindow>,
    /// Counts that are new.
    pub counts: Vec<Count>,
    /// Counts of these offers from before these times are forgotten.
    pub forgotten: Vec<(OfferKey, Timestamp)>,
    /// Windows that began before this time are forgotten.
    #[serde(rename = "unwatched")]
    pub windows_from: Option<Timestamp>,
}

/// How a look follows the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The window goes on.
    On,
    /// A new window begins: nobody looked for a while, or ever.
    Anew,
    /// The market's time went back.
    Back,
}

impl AvailabilityHistory {
    /// What a store remembers.
    pub fn stored(counts: Vec<Count>, windows: Vec<ObservationWindow>) -> Self {
        let mut availability = Self::default();
        for Count { offer, at, machines } in counts {
            availability.counts.entry(offer).or_default().insert(at, machines);
        }
        availability.windows =
            windows.into_iter().map(|window| (window.from, window.until)).collect();
        availability.unwritten.marked = availability.until();
        availability.unwritten.from = availability.windows.keys().next_back().copied();
        availability
    }

    /// Takes note of the machines of every spot offer. `tolerance` is the longest
    /// pause between two looks of one memory that leaves no gap.
    pub fn observe(
        &mut self,
        available: &BTreeMap<OfferKey, u32>,
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
        for (offer, machines) in available {
            self.note(offer, *machines, now);
        }
        let gone = |offer: &&OfferKey| !available.contains_key(*offer);
        for offer in self.counts.keys().filter(gone).cloned().collect::<Vec<_>>() {
            self.note(&offer, 0, now);
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

    fn note(&mut self, offer: &OfferKey, machines: u32, now: Timestamp) {
        let counts = match self.counts.get_mut(offer) {
            Some(counts) => counts,
            None => self.counts.entry(offer.clone()).or_default(),
        };
        if counts.last_key_value().is_none_or(|(_, last)| *last != machines) {
            counts.insert(now, machines);
            self.unwritten.counts.push(Count { offer: offer.clone(), at: now, machines });
        }
    }

    /// What was seen at `to` or later is void.
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

    /// What the store is to hear of now, if anything.
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

    /// When [`write`](Self::write) has something to say. The store hears at least so
    /// often that somebody looks, and that is well within [`GAP_TOLERANCE`]: who sleeps
    /// until then and until the market's next change leaves no gap.
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

    /// Counts that nobody asks for: all before the one that holds at `oldest`.
    fn too_old(&self, oldest: Timestamp) -> Vec<(OfferKey, Timestamp)> {
        let old = self.counts.iter().filter_map(|(offer, counts)| {
            let second = counts.keys().nth(1).filter(|at| after(**at, FORGET_LATE) <= oldest)?;
            let kept = counts.range(second..=&oldest).map(|(at, _)| *at);
            Some((offer.clone(), kept.take(ROWS_AT_ONCE).last()?))
        });
        old.take(OFFERS_AT_ONCE).collect()
    }

    /// The last window that had begun by `oldest`, where there are others before it.
    fn windows_from(&self, oldest: Timestamp) -> Option<Timestamp> {
        let last = *self.windows.range(..=oldest).next_back()?.0;
        (self.start()? < last).then_some(last)
    }

    /// Takes in what the store is told. What this memory has seen itself is there
    /// already.
    pub fn take(&mut self, update: &AvailabilityUpdate) {
        if let Some(to) = update.rewound {
            self.cut(to);
        }
        self.windows.extend(update.windows.iter().map(|window| (window.from, window.until)));
        for Count { offer, at, machines } in &update.counts {
            self.counts.entry(offer.clone()).or_default().insert(*at, *machines);
        }
        for (offer, before) in &update.forgotten {
            if let Some(counts) = self.counts.get_mut(offer) {
                *counts = counts.split_off(before);
            }
        }
        if let Some(before) = update.windows_from {
            self.windows = self.windows.split_off(&before);
        }
    }

    /// When anybody first looked.
    pub fn start(&self) -> Option<Timestamp> {
        self.windows.first_key_value().map(|(from, _)| *from)
    }

    /// The last look.
    pub fn until(&self) -> Option<Timestamp> {
        self.windows.last_key_value().map(|(_, until)| *until)
    }

    /// Whether anybody looked at that time.
    pub fn is_observed(&self, at: Timestamp) -> bool {
        self.windows.range(..=at).next_back().is_some_and(|(_, until)| *until >= at)
    }

    /// When the offer was first seen.
    pub fn first(&self, offer: &OfferKey) -> Option<Timestamp> {
        self.counts.get(offer)?.first_key_value().map(|(at, _)| *at)
    }

    /// Machines of an offer at a time, as they were last seen; none before the
    /// first look at it.
    pub fn machines(&self, offer: &OfferKey, at: Timestamp) -> Option<u32> {
        self.counts.get(offer)?.range(..=at).next_back().map(|(_, machines)| *machines)
    }

    /// Since when there are at least so many machines of an offer, or fewer,
    /// without a gap: no earlier than the present window or `earliest`.
    pub fn since(&self, offer: &OfferKey, machines: u32, earliest: Timestamp) -> Option<Timestamp> {
        let earliest = self.windows.last_key_value()?.0.max(&earliest);
        let counts = self.counts.get(offer)?;
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
        self.counts.iter().flat_map(|(offer, counts)| {
            counts.iter().map(|(at, machines)| Count {
                offer: offer.clone(),
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
