//! A scheduler: the loop of `driver.rs` on virtual time. It takes in messages,
//! runs the phases, commits, answers, acts — and dies or stops at every point
//! between.

mod effects;
mod feed;
mod leader;
mod leadership;
mod sleep;

use jiff::Timestamp;
use rand::RngExt;
use spotwise_control::core::Change;
use spotwise_control::core::queue::Queue;
use spotwise_control::intake;
use spotwise_control::phase::round::{self, Received, RoundInputs, WorkingState};
use spotwise_control::{Command, Refusal, Reply};
use spotwise_model::{JobId, Now, Plan};
use spotwise_store::StoreError;
use spotwise_supervisor::{HeartbeatAnswer, Notice};

pub(crate) use leader::{Leader, Node, TERM};
use leader::{Pending, RECOVER, Stage};

use super::events::{Event, Request, Response};
use super::faults::Kind;
use super::sim::Sim;
use super::time::{self, Ms};
use super::worker::Task;

impl Sim {
    pub(crate) fn clock(&self) -> Now {
        let wall = time::at(self.start, self.now);
        Now { wall, market: Timestamp::from_second(wall.as_second()).unwrap_or(wall) }
    }

    pub(crate) fn tick_by(&mut self, node: usize, at: Ms) {
        let Some(place) = self.nodes.get_mut(node) else { return };
        if place.up && place.tick_at.is_none_or(|standing| at < standing || standing < self.now) {
            place.tick_at = Some(at);
            let incarnation = place.incarnation;
            self.at(at, Event::Tick(node, incarnation));
        }
    }

    /// Something happened in the pool: the leader will see it at its next look.
    pub(crate) fn pool_changed(&mut self) {
        let after = self.rng.random_range(50..1_000);
        for node in 0..self.nodes.len() {
            self.tick_by(node, self.now + after);
        }
    }

    pub(crate) fn deliver(&mut self, node: usize, request: Request) {
        let place = &mut self.nodes[node];
        if place.up && place.paused {
            place.inbox.push(request);
        } else if place.up && place.leader.is_some() {
            place.inbox.push(request);
            self.tick_by(node, self.now);
        } else {
            self.answer(&request, Response::Unavailable);
        }
    }

    /// Sends an answer on its way.
    fn answer(&mut self, request: &Request, response: Response) {
        let latency = self.rng.random_range(1..40);
        if !self.reply_is_lost(request.caller) {
            self.later(latency, Event::Answer(request.caller, request.id, request.made, response));
        }
    }

    pub(crate) fn tick(&mut self, node: usize, incarnation: u64) {
        let place = &mut self.nodes[node];
        if !place.up || place.incarnation != incarnation || place.paused {
            return;
        }
        if place.tick_at.is_some_and(|at| at > self.now) {
            return;
        }
        place.tick_at = None;
        let Some(mut leader) = place.leader.take() else { return };
        if self.get_ready(&mut leader) {
            let pending = self.decide(node, &mut leader);
            self.nodes[node].leader = Some(leader);
            self.carry_on(node, pending);
        } else {
            self.nodes[node].leader = Some(leader);
            for request in std::mem::take(&mut self.nodes[node].inbox) {
                self.answer(&request, Response::Unavailable);
            }
            self.tick_by(node, self.now + RECOVER);
        }
    }

    /// Whether the lease holds and the memory is good; reads it again, if it
    /// has to.
    fn get_ready(&mut self, leader: &mut Leader) -> bool {
        let holds = leader.until.is_none_or(|until| self.now < until);
        if !holds || self.store_away {
            if leader.epoch == self.store.leader_record.epoch {
                self.nobody_leads();
            }
            leader.deaf |= !holds;
            return !leader.deaf && holds;
        }
        if leader.deaf {
            self.load(leader);
        }
        self.somebody_leads();
        true
    }

    /// Messages in, then every phase.
    fn decide(&mut self, node: usize, leader: &mut Leader) -> Pending {
        let now = self.clock();
        self.check_sleep(leader);
        // The phases rest as long as they took; never twice running here.
        let looks = leader.rested || self.rng.random_range(0..4) > 0;
        leader.rested = !looks;
        let ready = |plan: &mut (Ms, Plan, Queue)| looks && plan.0 <= self.now;
        let plan = leader.plan.take_if(ready).map(|(_, plan, left)| {
            leader.state.seen.queue = left;
            plan
        });
        let mut working = WorkingState { state: &mut leader.state, changes: Vec::new() };
        // As the loop does: the pools are those of the operator's file.
        let wanted = Command::SetPools(Box::new(self.pools.clone()));
        if let Ok((made, _)) = intake::answer(working.state, wanted, &self.config, now) {
            working.take(made);
        }
        let mut answers = Vec::new();
        for mut request in std::mem::take(&mut self.nodes[node].inbox) {
            let command = std::mem::replace(
                &mut request.command,
                Command::Cancel { job: JobId(0), group: false },
            );
            let answer =
                intake::answer(working.state, command, &self.config, now).map(|(made, reply)| {
                    working.take(made);
                    reply
                });
            answers.push((request, answer));
        }
        // Each round: it keeps those alone that it wants just now.
        if !self.fits_forecasts {
            working.state.seen.forecasts =
                super::outlook::at(now.market, &self.config, &self.pools);
        }
        let (prices, wrong) = match looks {
            true => self.ask_feed(working.state, now),
            false => (None, Vec::new()),
        };
        wrong.iter().for_each(|kind| self.fired.note(kind.name()));
        let inputs = RoundInputs { market: &self.simulated_market.market, config: &self.config };
        let made = working.changes.len();
        let moved = looks && round::run(&mut working, Received { plan, prices }, inputs, now);
        if !looks {
            self.fired.note("phases_rest");
        }
        self.tally.rounds += 1;
        let changes = working.changes;
        leader.news |= moved || changes.iter().any(Change::is_news);
        let changed = moved || changes.iter().skip(made).any(Change::is_news);
        Pending { answers, changes, now, looks, changed, stage: Stage::Commit, effects: Vec::new() }
    }

    /// Carries a round through the stages that are left.
    fn carry_on(&mut self, node: usize, mut pending: Pending) {
        if pending.stage == Stage::Commit {
            if self.struck(node, &mut pending, &[Kind::CrashBeforeCommit, Kind::PauseBeforeCommit])
            {
                return;
            }
            if let Err(deposed) = self.commit(node, &pending) {
                for (request, answer) in pending.answers {
                    let response =
                        if answer.is_ok() { Response::Unavailable } else { response(answer) };
                    self.answer(&request, response);
                }
                if deposed {
                    self.depose(node);
                } else {
                    self.tick_by(node, self.now + RECOVER);
                }
                return;
            }
            pending.stage = Stage::Answer;
        }
        if pending.stage == Stage::Answer {
            if self.struck(node, &mut pending, &[Kind::CrashBeforeAnswers]) {
                return;
            }
            for (request, answer) in std::mem::take(&mut pending.answers) {
                self.answer(&request, response(answer));
            }
            let held = self.nodes[node]
                .leader
                .as_ref()
                .is_some_and(|l| l.until.is_none_or(|u| self.now < u));
            if !held {
                if let Some(leader) = &mut self.nodes[node].leader {
                    leader.deaf = true;
                }
                self.tick_by(node, self.now + RECOVER);
                return;
            }
            let leader = self.nodes[node].leader.as_mut().expect("it leads");
            if pending.looks {
                pending.effects = leader.outstanding.next(&leader.state, pending.now);
            }
            pending.stage = Stage::Act;
            if self.struck(
                node,
                &mut pending,
                &[Kind::CrashBeforeEffects, Kind::PauseBeforeEffects],
            ) {
                return;
            }
        }
        self.act(node, pending);
    }

    /// A crash or a stop that waits for this very moment. True where it came.
    fn struck(&mut self, node: usize, pending: &mut Pending, kinds: &[Kind]) -> bool {
        let writes = !pending.changes.is_empty();
        let Some(kind) = self.armed.filter(|kind| writes && kinds.contains(kind)) else {
            return false;
        };
        self.armed = None;
        self.note(kind);
        if matches!(kind, Kind::PauseBeforeCommit | Kind::PauseBeforeEffects) {
            let empty = Pending {
                answers: Vec::new(),
                changes: Vec::new(),
                now: pending.now,
                looks: pending.looks,
                changed: pending.changed,
                stage: Stage::Act,
                effects: Vec::new(),
            };
            self.nodes[node].suspended = Some(std::mem::replace(pending, empty));
            self.pause(node);
        } else {
            self.crash(node);
        }
        true
    }

    /// Writes the round. The error says whether another scheduler leads.
    fn commit(&mut self, node: usize, pending: &Pending) -> Result<(), bool> {
        let leader = self.nodes[node].leader.as_mut().expect("it leads");
        if pending.changes.is_empty() {
            return Ok(());
        }
        leader.round += 1;
        let (epoch, round) = (leader.epoch, leader.round);
        let decided = time::moment(self.start, pending.now.wall);
        // Where another leads by now, the store has to refuse it.
        if self.now > decided + TERM && self.store.leader_record.epoch == epoch {
            self.fired.note("old_round_thrown_away");
            self.forget(node);
            return Err(false);
        }
        if self.store_away || self.strikes(Kind::CommitError, 400) {
            self.forget(node);
            return Err(false);
        }
        let newest = self.store.leader_record.epoch == epoch;
        if newest && self.store.tables.has_key_of(&pending.changes) {
            // It was looked up before its twin was committed, and taken in after
            // the memory of that was lost. The client asks again.
            self.fired.note("used_key_refused");
            self.forget(node);
            return Err(false);
        }
        if newest {
            self.check_round(&pending.changes);
        }
        match self.store.commit(epoch, round, &pending.changes) {
            Ok(()) => {
                self.follow(&pending.changes);
                if self.strikes(Kind::CommitAnswerLost, 400) {
                    self.forget(node);
                    return Err(false);
                }
                Ok(())
            }
            Err(StoreError::NotLeader { .. }) => {
                self.fired.note("old_epoch_refused");
                self.log(|| format!("node {node}: round {round} of epoch {epoch} refused"));
                Err(true)
            }
            Err(error) => {
                self.fail(format!("round {round} is refused: {error}"));
                Err(true)
            }
        }
    }

    /// Its memory is not to be trusted any more.
    fn forget(&mut self, node: usize) {
        self.nobody_leads();
        if let Some(leader) = &mut self.nodes[node].leader {
            leader.deaf = true;
        }
    }
}

/// What a caller hears of an answer.
fn response(answer: Result<Reply, Refusal>) -> Response {
    match answer {
        Ok(Reply::Assigned(assigned)) => {
            Response::Assigned(assigned.map(|assigned| Task::of(&assigned)))
        }
        Ok(Reply::Orders(orders)) => Response::Orders(HeartbeatAnswer {
            money_lasts: orders.money_lasts,
            notice: orders
                .reclaim_in
                .map(|reclaim_in| Notice { reclaim_in, action: "terminate".to_owned() }),
            stop_within: orders.stop.map(|(_, within)| within),
        }),
        Ok(Reply::Submitted { jobs, replayed, .. }) => Response::Submitted { jobs, replayed },
        Ok(Reply::Cancelled { .. } | Reply::Edited { .. }) => Response::Cancelled,
        Ok(Reply::Noted) => Response::Noted,
        Ok(Reply::NotTheWorker) => Response::Refused("not the worker".to_owned()),
        Err(Refusal::Fenced { .. }) => Response::Fenced,
        Err(Refusal::KeyReused) => Response::KeyReused,
        Err(Refusal::Unavailable(_) | Refusal::Overloaded) => Response::Unavailable,
        Err(other) => Response::Refused(other.to_string()),
    }
}
