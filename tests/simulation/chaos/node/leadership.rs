//! Who leads, and for how long: leases, crashes, stops, and what comes back.

use rand::RngExt;
use spotwise_control::core::State;
use spotwise_control::core::queue::Queue;
use spotwise_control::phase::reconcile::OutstandingCalls;
use spotwise_model::JobId;

use super::super::events::{Event, Response};
use super::super::sim::Sim;
use super::super::time::{MINUTE, SECOND};
use super::leader::{Leader, TERM};

impl Sim {
    /// A process that leads from now on.
    pub(crate) fn lead(&mut self, node: usize) {
        let epoch = self.store.lead();
        let mut leader = Leader {
            epoch,
            round: 0,
            state: State::default(),
            outstanding: OutstandingCalls::default(),
            looked: None,
            reaped: None,
            plan: None,
            planned_at: None,
            news: true,
            until: None,
            deaf: false,
            rested: false,
            sleep: None,
        };
        if let Some(made) = self.store.restored {
            self.take_in(epoch, made);
        }
        self.load(&mut leader);
        self.log(|| format!("node {node} leads, epoch {epoch}"));
        self.nodes[node].leader = Some(Box::new(leader));
        self.holder = Some(node);
        self.expires = None;
        self.tally.leaders += 1;
        self.tick_by(node, self.now);
    }

    /// Reads its memory from the store.
    pub(super) fn load(&mut self, leader: &mut Leader) {
        leader.state = self.store.tables.load();
        leader.state.last_job = leader.state.last_job.max(self.store.last_job);
        leader.state.seen.since = Some(self.clock().wall);
        leader.state.seen.plans_beside = true;
        leader.state.seen.queue = Queue::unknown(JobId(leader.state.last_job));
        leader.round = self.store.leader_record.round;
        leader.deaf = false;
        leader.news = true;
        self.log(|| "loaded".to_owned());
    }

    /// The lease of this node is not renewed from now on.
    pub(crate) fn stop_renewing(&mut self, node: usize) {
        if self.holder != Some(node) || self.expires.is_some() {
            return;
        }
        let renewed = self.now.saturating_sub(self.rng.random_range(0..TERM / 3));
        self.expires = Some(renewed + TERM);
        if let Some(leader) = &mut self.nodes[node].leader {
            leader.until = Some(renewed + TERM - TERM / 10);
        }
        if self.nodes.len() == 1 {
            // A file lock keeps every other scheduler out.
            if let Some(leader) = &mut self.nodes[node].leader {
                leader.until = None;
            }
            self.expires = Some(self.now);
            return;
        }
        for other in 0..self.nodes.len() {
            let at = renewed + TERM + self.rng.random_range(0..SECOND);
            self.at(at, Event::Campaign(other));
        }
    }

    /// Renewals get through again: the lease goes on, unless another has it.
    pub(crate) fn renew(&mut self, node: usize) {
        let place = &mut self.nodes[node];
        if !place.up || place.paused || self.store_away {
            return;
        }
        let Some(leader) = &mut place.leader else { return };
        if leader.epoch == self.store.leader_record.epoch {
            leader.until = None;
            self.holder = Some(node);
            self.expires = None;
            self.tick_by(node, self.now);
        } else {
            self.depose(node);
        }
    }

    /// Another scheduler leads: this one waits for its turn.
    pub(crate) fn depose(&mut self, node: usize) {
        self.log(|| format!("node {node} is deposed"));
        let place = &mut self.nodes[node];
        place.leader = None;
        place.suspended = None;
        for request in std::mem::take(&mut place.inbox) {
            self.answer(&request, Response::Unavailable);
        }
    }

    pub(crate) fn campaign(&mut self, node: usize) {
        let place = &self.nodes[node];
        if !place.up || place.paused || place.leader.is_some() {
            return;
        }
        if self.store_away {
            self.later(SECOND, Event::Campaign(node));
            return;
        }
        match self.expires {
            None => {}
            Some(expires) if expires > self.now => self.at(expires, Event::Campaign(node)),
            Some(_) => self.lead(node),
        }
    }

    pub(crate) fn boot(&mut self, node: usize) {
        let place = &mut self.nodes[node];
        if place.up {
            return;
        }
        self.back_again();
        let place = &mut self.nodes[node];
        place.up = true;
        place.paused = false;
        self.campaign(node);
    }

    pub(crate) fn crash(&mut self, node: usize) {
        self.log(|| format!("node {node} dies"));
        self.stop_renewing(node);
        self.nobody_leads();
        self.tally.away_since.get_or_insert(self.now);
        let place = &mut self.nodes[node];
        place.up = false;
        place.incarnation += 1;
        place.leader = None;
        place.suspended = None;
        place.inbox.clear();
        place.tick_at = None;
        let back = match self.rng.random_range(0..6) {
            0 => self.rng.random_range(0..20 * MINUTE),
            _ => self.rng.random_range(SECOND..20 * SECOND),
        };
        self.later(back, Event::Boot(node));
    }

    /// The process stands still for longer than its lease, mostly.
    pub(crate) fn pause(&mut self, node: usize) {
        self.log(|| format!("node {node} stands still"));
        self.nobody_leads();
        self.tally.away_since.get_or_insert(self.now);
        self.stop_renewing(node);
        let place = &mut self.nodes[node];
        place.paused = true;
        let incarnation = place.incarnation;
        let span = match self.rng.random_range(0..4) {
            0 => self.rng.random_range(0..TERM),
            1 => self.rng.random_range(0..20 * MINUTE),
            _ => self.rng.random_range(TERM..MINUTE),
        };
        self.later(span, Event::Resume(node, incarnation));
    }

    /// It goes on where it was stopped: in the middle of a round, perhaps.
    pub(crate) fn resume(&mut self, node: usize, incarnation: u64) {
        let place = &mut self.nodes[node];
        if place.incarnation != incarnation || !place.paused {
            return;
        }
        self.back_again();
        let place = &mut self.nodes[node];
        place.paused = false;
        place.tick_at = None;
        let pending = place.suspended.take();
        self.log(|| format!("node {node} goes on"));
        if let Some(pending) = pending {
            self.carry_on(node, pending);
        }
        // The task that keeps the lease runs beside the loop.
        self.later(20, Event::RenewalsBack(node));
        self.tick_by(node, self.now);
        self.campaign(node);
    }

    /// A scheduler or the store is about to be there again: where nobody could
    /// lead until now, the time to recover begins.
    fn back_again(&mut self) {
        let able = !self.store_away && self.nodes.iter().any(|node| node.up && !node.paused);
        if let (false, Some(since)) = (able, &mut self.tally.away_since) {
            *since = self.now;
        }
    }

    pub(crate) fn store_back(&mut self) {
        self.back_again();
        self.store_away = false;
        self.log(|| "the store is back".to_owned());
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        if self.rng.random_range(0..2) == 0 {
            order.reverse();
        }
        for node in order {
            self.renew(node);
            self.campaign(node);
            self.tick_by(node, self.now);
        }
    }
}
