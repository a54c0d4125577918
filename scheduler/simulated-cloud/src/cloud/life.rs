//! What happens to machines by itself, in the order of time.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use spotwise_model::id::ProviderId;
use spotwise_model::time::{add, after};
use spotwise_model::{CapacityType, MarketKey};

use super::SimulatedCloud;
use crate::behaviour::ReclaimOrder;
use crate::event::{CloudEvent, Happening};
use crate::fault::{Fault, Interruption};
use crate::machine::{Cause, Machine, Stop};
use crate::outage::Subject;

/// Something on the agenda; machines by number. What has been overtaken is ignored.
#[derive(Clone, Debug)]
pub(super) enum Due {
    /// A machine has booted; it registers so much later, if at all.
    Boots { number: usize, register: Option<Duration> },
    /// A machine joins its pool.
    Registers { number: usize },
    /// A notice comes again.
    NoticedAgain { number: usize },
    /// A noticed machine is taken back.
    Reclaimed { number: usize },
    /// A stopped machine is gone.
    Terminated { number: usize },
    /// A terminated machine counts against its quota no more.
    QuotaFreed { number: usize },
    /// A terminated machine is in no listing any more.
    Unlisted { number: usize },
    /// A mishap that was drawn at launch.
    Befalls { number: usize, what: Mishap },
    /// The foreign tenant opens a machine.
    ForeignOpens,
    /// The foreign tenant closes one.
    ForeignCloses { number: usize },
    /// The supply of a spot market changes.
    SupplyChanges { market: MarketKey },
}

/// What befalls a machine by chance.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mishap {
    Interruption,
    Rebalance,
    Retirement,
}

/// How notice of an interruption is given.
#[derive(Clone, Copy)]
enum Notice {
    Never,
    Once,
    Twice,
}

impl SimulatedCloud {
    /// Does something to one machine now. `false` if there is nothing to do it to: the
    /// machine is unknown, has stopped, is being taken back already, or is not spot and
    /// the order is not a retirement.
    pub fn interrupt(
        &mut self,
        machine: &ProviderId,
        interruption: Interruption,
        at: Timestamp,
    ) -> bool {
        self.settle(at);
        let Some(number) = self.numbers.get(machine).copied() else { return false };
        let (fault, done) = match interruption {
            Interruption::WithNotice => (Fault::Interruption, self.take_back(number, Notice::Once)),
            Interruption::NoticeTwice => {
                (Fault::NoticeTwice, self.take_back(number, Notice::Twice))
            }
            Interruption::WithoutNotice => {
                (Fault::NoticeMissing, self.take_back(number, Notice::Never))
            }
            Interruption::RebalanceOnly => (Fault::RebalanceOnly, self.recommend(number)),
            Interruption::Retirement => (Fault::Retirement, self.stop(number, Cause::Retired)),
        };
        if done {
            self.faults.count(fault);
        }
        done
    }

    /// Everything that is due up to `to`.
    pub(super) fn settle(&mut self, to: Timestamp) {
        while let Some(entry) = self.agenda.first_entry() {
            let (at, _) = *entry.key();
            if at > to {
                break;
            }
            let due = entry.remove();
            self.now = self.now.max(at);
            self.happen(due);
        }
        self.now = self.now.max(to);
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Boots { number, register } => self.boot(number, register),
            Due::Registers { number } => self.register(number),
            Due::NoticedAgain { number } => {
                if let Some(reclaim_at) = self.live(number).and_then(|machine| machine.reclaim_at) {
                    self.tell(number, Happening::Noticed { reclaim_at });
                }
            }
            Due::Reclaimed { number } => {
                self.stop(number, Cause::Reclaimed);
            }
            Due::Terminated { number } => self.terminated(number),
            Due::QuotaFreed { number } => {
                if let Some(market) = self.machines.get(number).map(|it| it.market.clone()) {
                    self.free_quota(&market);
                }
            }
            Due::Unlisted { number } => self.unlist(number),
            Due::Befalls { number, what } => self.befall(number, what),
            Due::ForeignOpens => self.foreign_tenant_opens(),
            Due::ForeignCloses { number } => {
                self.stop(number, Cause::Ordered);
            }
            Due::SupplyChanges { market } => {
                self.watched.remove(&market);
                self.reclaim_excess(&market);
                self.watch(&market);
            }
        }
    }

    fn boot(&mut self, number: usize, register: Option<Duration>) {
        let now = self.now;
        let Some(machine) = self.live_mut(number) else { return };
        machine.booted = Some(now);
        self.tell(number, Happening::Booted);
        if let Some(register) = register {
            self.arrange_in(register, Due::Registers { number });
        }
    }

    fn register(&mut self, number: usize) {
        let now = self.now;
        let Some(machine) = self.live_mut(number) else { return };
        machine.registered = Some(now);
        self.tell(number, Happening::Registered);
    }

    /// Stops a machine, once.
    pub(super) fn stop(&mut self, number: usize, cause: Cause) -> bool {
        let now = self.now;
        let Some(machine) = self.live_mut(number) else { return false };
        let stop = Stop { at: now, cause };
        machine.stopped = Some(stop);
        self.tell(number, Happening::Stopped(stop));
        let behaviour = &self.spec.behaviour;
        let (usual, slow) = (behaviour.terminate, behaviour.slow_terminate);
        let is_slow = !self.is_foreign(number) && self.on_machine(number, Fault::SlowTerminate);
        let gone_in = self.dice.span(if is_slow { &slow } else { &usual });
        self.arrange_in(gone_in, Due::Terminated { number });
        true
    }

    fn terminated(&mut self, number: usize) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(number) else { return };
        machine.terminated = Some(now);
        let market = machine.market.clone();
        if let Some(open) = self.open.get_mut(&market) {
            open.remove(&number);
        }
        self.tell(number, Happening::Terminated);
        let behaviour = &self.spec.behaviour;
        let (quota_lag, kept) = (behaviour.quota_lag, behaviour.listed_after_end);
        // A stale listing shows what a prompt one showed so long before.
        let listed = kept.saturating_add(behaviour.consistency_window);
        self.arrange_in(quota_lag, Due::QuotaFreed { number });
        self.arrange_in(listed, Due::Unlisted { number });
    }

    fn unlist(&mut self, number: usize) {
        let mark = self.machines.get(number).and_then(|machine| machine.mark.as_ref());
        let Some(key) = mark.map(|mark| (mark.install.clone(), mark.pool.clone())) else { return };
        if let Some(listed) = self.listed.get_mut(&key) {
            listed.remove(&number);
        }
    }

    fn befall(&mut self, number: usize, what: Mishap) {
        let (fault, done) = match what {
            Mishap::Interruption => (Fault::Interruption, self.interrupted(number)),
            Mishap::Rebalance => (Fault::RebalanceOnly, self.recommend(number)),
            Mishap::Retirement => (Fault::Retirement, self.stop(number, Cause::Retired)),
        };
        if done {
            self.faults.count(fault);
        }
    }

    /// A recommendation that nothing follows.
    fn recommend(&mut self, number: usize) -> bool {
        let possible = self.can_be_taken_back(number);
        if possible {
            self.tell(number, Happening::RebalanceRecommended);
        }
        possible
    }

    /// Takes a machine back, with the notice that chance gives it.
    fn interrupted(&mut self, number: usize) -> bool {
        let notice = if !self.can_be_taken_back(number) || self.is_foreign(number) {
            Notice::Once
        } else if self.on_machine(number, Fault::NoticeMissing) {
            Notice::Never
        } else if self.on_machine(number, Fault::NoticeTwice) {
            Notice::Twice
        } else {
            Notice::Once
        };
        self.take_back(number, notice)
    }

    fn take_back(&mut self, number: usize, notice: Notice) -> bool {
        if !self.can_be_taken_back(number) {
            return false;
        }
        let lead = match notice {
            Notice::Never => Duration::ZERO,
            Notice::Once | Notice::Twice => self.spec.behaviour.notice_lead,
        };
        let reclaim_at = after(self.now, lead);
        if let Some(machine) = self.live_mut(number) {
            machine.reclaim_at = Some(reclaim_at);
        }
        match notice {
            Notice::Never => {
                self.stop(number, Cause::Reclaimed);
                return true;
            }
            Notice::Once => {}
            Notice::Twice => {
                let again_in = self.dice.up_to(lead);
                self.arrange_in(again_in, Due::NoticedAgain { number });
            }
        }
        self.tell(number, Happening::Noticed { reclaim_at });
        self.arrange(reclaim_at, Due::Reclaimed { number });
        true
    }

    /// Takes back what is open beyond the supply. Machines that have stopped or are being
    /// taken back are on their way already.
    fn reclaim_excess(&mut self, market: &MarketKey) {
        let open = self.open.get(market).into_iter().flatten().copied();
        let mut held: Vec<usize> = open.filter(|number| self.can_be_taken_back(*number)).collect();
        let available = self.market.available(market, self.now);
        let available = usize::try_from(available).unwrap_or(usize::MAX);
        while held.len() > available {
            let chosen = match self.spec.behaviour.reclaim_order {
                ReclaimOrder::YoungestFirst => held.len() - 1,
                ReclaimOrder::ByChance => self.dice.index(held.len()),
            };
            let number = held.remove(chosen);
            self.interrupted(number);
        }
    }

    /// Looks after a spot market as long as something is open in it.
    pub(super) fn watch(&mut self, market: &MarketKey) {
        let unused = self.open.get(market).is_none_or(BTreeSet::is_empty);
        if unused || self.watched.contains(market) {
            return;
        }
        if let Some(at) = self.market.next_change(market, self.now) {
            // A change that is said to be past comes next, not at once for ever.
            let at = at.max(add(self.now, SignedDuration::from_millis(1)));
            self.watched.insert(market.clone());
            self.arrange(at, Due::SupplyChanges { market: market.clone() });
        }
    }

    fn can_be_taken_back(&self, number: usize) -> bool {
        self.live(number).is_some_and(|machine| {
            machine.market.capacity_type == CapacityType::Spot && machine.reclaim_at.is_none()
        })
    }

    fn is_foreign(&self, number: usize) -> bool {
        self.machines.get(number).is_some_and(|machine| machine.foreign)
    }

    /// Whether a fault strikes one machine.
    fn on_machine(&mut self, number: usize, fault: Fault) -> bool {
        let Some(machine) = self.machines.get(number) else { return false };
        let pool = machine.mark.as_ref().map(|mark| &mark.pool);
        let subject = Subject { pool, instance_type: Some(&machine.market.instance_type) };
        self.faults.strikes(fault, &subject, self.now, &mut self.dice)
    }

    fn live(&self, number: usize) -> Option<&Machine> {
        self.machines.get(number).filter(|machine| machine.stopped.is_none())
    }

    fn live_mut(&mut self, number: usize) -> Option<&mut Machine> {
        self.machines.get_mut(number).filter(|machine| machine.stopped.is_none())
    }

    fn tell(&mut self, number: usize, what: Happening) {
        let Some(machine) = self.machines.get(number) else { return };
        let (id, mark) = (machine.id.clone(), machine.mark.clone());
        self.untold.push(CloudEvent { at: self.now, machine: id, mark, what });
    }
}
