//! What our own launches and machines have shown of the spot markets: which launches were
//! refused, and the fates of machines. All that is known of markets that show nothing
//! ([decision 38]).
//!
//! It follows from the instances alone, so that a restart knows what was known before: rows
//! of the newest [`REMEMBERED`] instances are read again, whatever has become of them.
//!
//! [decision 38]: ../../../docs/decisions/0038-what-our-own-machines-show.md

use std::collections::BTreeMap;

use jiff::Timestamp;
use spotwise_model::id::{Account, InstanceType};
use spotwise_model::instance::EndedBy;
use spotwise_model::{CapacityType, Instance, InstanceId, InstanceState, MarketKey};
use spotwise_solver::own::{End, Launch, OwnMachine, OwnMarket};

/// So many of the newest instances are remembered after their end. At 700 launches a day
/// those are the two weeks that an estimate looks back.
pub const REMEMBERED: u64 = 10_000;

/// The log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OwnLog {
    seen: BTreeMap<InstanceId, (MarketKey, Fate)>,
    /// Changes, by machine type.
    changes: BTreeMap<(Account, InstanceType), u64>,
}

/// What became of a launch.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// The market had none.
    Refused(Timestamp),
    /// A machine.
    Granted {
        from: Timestamp,
        /// Until when it was seen to be there, and whether its provider took it; `None` as
        /// long as it is there.
        end: Option<(Timestamp, EndedBy)>,
    },
}

impl OwnLog {
    /// Takes in what an instance says, `last` being the newest of all.
    pub fn note(&mut self, instance: &Instance, last: u64) {
        // None that has ended is older than this.
        let old = last.checked_sub(REMEMBERED).map(InstanceId);
        if let Some(old) = old {
            let over = self.seen.range(..=old).filter(|(_, (_, fate))| fate.is_over());
            for id in over.map(|(id, _)| *id).collect::<Vec<_>>() {
                self.seen.remove(&id);
            }
        }
        let Some(fate) = Fate::of(instance) else { return };
        let market = &instance.offer.market;
        let before = match fate.is_over() && old.is_some_and(|old| instance.id <= old) {
            true => self.seen.remove(&instance.id),
            false => self.seen.insert(instance.id, (market.clone(), fate)),
        };
        if before.is_none_or(|(_, before)| before != fate) {
            let kind = (market.account.clone(), market.instance_type.clone());
            *self.changes.entry(kind).or_default() += 1;
        }
    }

    /// How often what is known of a machine type has changed.
    pub fn changes(&self, account: &Account, instance_type: &InstanceType) -> u64 {
        // Only looked up where nothing is shown.
        let kind = (account.clone(), instance_type.clone());
        self.changes.get(&kind).copied().unwrap_or(0)
    }

    /// What was seen of a market, which lies in that region, in hours since 1970.
    pub fn market(&self, key: &MarketKey, region: usize) -> OwnMarket {
        let mut market = OwnMarket { region, ..OwnMarket::default() };
        let of_it = self.seen.values().filter(|(of, _)| of == key);
        for (_, fate) in of_it {
            match *fate {
                Fate::Refused(at) => {
                    market.launches.push(Launch { at: hours(at), granted: false });
                }
                Fate::Granted { from, end } => {
                    market.launches.push(Launch { at: hours(from), granted: true });
                    let end = match end {
                        None => End::Open,
                        Some((at, EndedBy::Provider)) => End::Taken(hours(at)),
                        Some((at, EndedBy::Us)) => End::GivenBack(hours(at)),
                    };
                    market.machines.push(OwnMachine { from: hours(from), end });
                }
            }
        }
        market
    }

    /// Since when we have had a machine of a market, or none; `None` where we never looked.
    pub fn since(&self, key: &MarketKey) -> Option<Timestamp> {
        let of_it = || self.seen.values().filter(|(of, _)| of == key).map(|(_, fate)| *fate);
        let held = of_it().filter_map(|fate| match fate {
            Fate::Granted { from, end: None } => Some(from),
            _ => None,
        });
        let gone = of_it().filter_map(|fate| match fate {
            Fate::Refused(at) | Fate::Granted { end: Some((at, _)), .. } => Some(at),
            Fate::Granted { end: None, .. } => None,
        });
        held.min().or_else(|| gone.max())
    }
}

impl Fate {
    /// `None` as long as its provider has not answered, and where it was given up before.
    fn of(instance: &Instance) -> Option<Self> {
        if instance.offer.market.capacity_type != CapacityType::Spot {
            return None;
        }
        if let Some(at) = instance.refused_at() {
            return Some(Self::Refused(at));
        }
        let from = instance.since()?;
        let end = match instance.state {
            // What is announced is as good as done.
            InstanceState::Noticed { at, .. } => Some((at, EndedBy::Provider)),
            InstanceState::Terminating { at, .. } => Some((at.market, EndedBy::Us)),
            InstanceState::Gone { at, by: EndedBy::Provider, .. } => Some((at, EndedBy::Provider)),
            InstanceState::Gone { at, given_back, by: EndedBy::Us, .. } => {
                Some((given_back.unwrap_or(at), EndedBy::Us))
            }
            InstanceState::Requested { .. }
            | InstanceState::Booting { .. }
            | InstanceState::Registered { .. }
            | InstanceState::Draining { .. } => None,
        };
        Some(Self::Granted { from, end })
    }

    const fn is_over(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Granted { end: Some(_), .. })
    }
}

/// Hours since 1970.
pub fn hours(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 3_600_000.0
}

#[cfg(test)]
mod tests {
    use spotwise_model::attempt::Certainty;
    use spotwise_model::id::ProviderId;
    use spotwise_model::instance::GivenBackFor;

    use super::*;
    use crate::fixture::{at, machine, now};

    fn asked(id: u64) -> Instance {
        let state = InstanceState::Requested { at: now(0), certainty: Certainty::Known };
        Instance { state, ..machine(id, "a", CapacityType::Spot) }
    }

    fn of(instances: &[Instance]) -> OwnMarket {
        let mut log = OwnLog::default();
        instances.iter().for_each(|instance| log.note(instance, 9));
        log.market(&asked(1).offer.market, 0)
    }

    #[test]
    fn launches_and_fates_are_what_instances_say() {
        let came = |id| asked(id).launched(ProviderId::new("m"), at(1)).unwrap();
        let back = came(2).give_back(now(3), GivenBackFor::Unused).unwrap();
        let seen = of(&[
            asked(1).end(at(1), EndedBy::Us).unwrap(),
            back.clone().end(at(4), EndedBy::Us).unwrap(),
            came(3).noticed(at(5), at(6)).unwrap(),
            came(4).end(at(7), EndedBy::Provider).unwrap(),
            came(5).register().unwrap(),
            asked(6),
            asked(7)
                .give_back(now(2), GivenBackFor::Late)
                .unwrap()
                .end(at(2), EndedBy::Us)
                .unwrap(),
            Instance { offer: machine(8, "a", CapacityType::OnDemand).offer, ..came(8) },
        ]);
        let granted: Vec<bool> = seen.launches.iter().map(|launch| launch.granted).collect();
        assert_eq!(granted, [false, true, true, true, true], "no answer is no refusal");
        let ends: Vec<End> = seen.machines.iter().map(|machine| machine.end).collect();
        let [three, five, seven] = [3, 5, 7].map(|hour| hours(at(hour)));
        assert_eq!(
            ends,
            [End::GivenBack(three), End::Taken(five), End::Taken(seven), End::Open],
            "what it did once it was given back says nothing"
        );
    }

    #[test]
    fn old_ends_are_forgotten_and_what_lives_is_not() {
        let mut log = OwnLog::default();
        log.note(&asked(1).end(at(1), EndedBy::Us).unwrap(), 1);
        log.note(&machine(2, "a", CapacityType::Spot), 2);
        let kind = |log: &OwnLog| {
            let market = asked(1).offer.market;
            let seen = log.market(&market, 0);
            (seen.launches.len(), log.changes(&market.account, &market.instance_type))
        };
        assert_eq!(kind(&log), (2, 2));
        log.note(&machine(2, "a", CapacityType::Spot), 2);
        assert_eq!(kind(&log), (2, 2), "nothing new");
        log.note(&machine(REMEMBERED + 5, "b", CapacityType::Spot), REMEMBERED + 5);
        assert_eq!(kind(&log), (1, 3), "the one that lives is left");
        let mut restarted = OwnLog::default();
        restarted.note(&asked(1).end(at(1), EndedBy::Us).unwrap(), REMEMBERED + 5);
        restarted.note(&machine(2, "a", CapacityType::Spot), REMEMBERED + 5);
        assert_eq!(kind(&restarted).0, 1, "a restart remembers the same");
        let ended = machine(2, "a", CapacityType::Spot).end(at(9), EndedBy::Provider).unwrap();
        for log in [&mut log, &mut restarted] {
            log.note(&ended, REMEMBERED + 5);
            assert_eq!(kind(log).0, 0, "old, and now it has ended");
        }
    }

    #[test]
    fn it_says_since_when_we_have_one_or_none() {
        let mut log = OwnLog::default();
        let market = asked(1).offer.market;
        assert_eq!(log.since(&market), None);
        log.note(&asked(1).end(at(2), EndedBy::Us).unwrap(), 3);
        assert_eq!(log.since(&market), Some(at(2)));
        log.note(&machine(2, "a", CapacityType::Spot), 3);
        assert_eq!(log.since(&market), Some(at(0)), "that one lives since");
    }
}
