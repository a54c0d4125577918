//! A scheduler: the loop of `driver.rs` on virtual time. It takes in messages,
//! runs the phases, commits, answers, acts — and dies or stops at every point
//! between.

use jiff::Timestamp;
use rand::RngExt;
use spotwise_model::attempt::StopReason;
use spotwise_model::{JobState, Now, Plan};
use spotwise_scheduler::core::{Change, State};
use spotwise_scheduler::handle::{Command, Refusal, Reply};
use spotwise_scheduler::intake::{self, Terms};
use spotwise_scheduler::phase::follow::{Asked, Effect};
use spotwise_scheduler::phase::plan::plan_input;
use spotwise_scheduler::phase::round::{self, Draft, Surroundings};
use spotwise_scheduler::store::{Epoch, StoreError};

use super::faults::Kind;
use super::sim::{Event, Heard, Request, Sim};
use super::time::{self, HOUR, MINUTE, Ms, SECOND};

/// A lease lasts so long without a renewal, and is renewed three times in it;
/// its holder leaves a tenth of it unused.
pub(crate) const TERM: Ms = 3 * SECOND;
/// The driver plans again after 100 ms, and every second: here, where a month
/// passes in a second, less often.
const PLAN_GAP: Ms = 15 * SECOND;
const REPLAN: Ms = 20 * MINUTE;
const LOOK: Ms = SECOND;
const REAP: Ms = 5 * SECOND;
/// A store that is away is looked for so often.
const RECOVER: Ms = SECOND;

/// One scheduler process, or the place for one.
#[derive(Default)]
pub(crate) struct Node {
    pub(crate) up: bool,
    /// Which process: what was meant for an earlier one is void.
    pub(crate) incarnation: u64,
    pub(crate) paused: bool,
    suspended: Option<Pending>,
    pub(crate) leader: Option<Box<Leader>>,
    inbox: Vec<Request>,
    tick_at: Option<Ms>,
}

/// What a leading scheduler holds in memory.
pub(crate) struct Leader {
    pub(crate) epoch: Epoch,
    round: u64,
    pub(crate) state: State,
    asked: Asked,
    looked: Option<Ms>,
    reaped: Option<Ms>,
    plan: Option<(Ms, Plan)>,
    planned_at: Option<Ms>,
    news: bool,
    /// Until when it may lead, where its lease is not being renewed.
    until: Option<Ms>,
    /// It has thrown its memory away and has to read it again.
    deaf: bool,
    outlook_at: Option<Ms>,
}

/// A round between its decision and its last effect.
struct Pending {
    answers: Vec<(Request, Result<Reply, Refusal>)>,
    changes: Vec<Change>,
    now: Now,
    stage: Stage,
    effects: Vec<Effect>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Commit,
    Answer,
    Act,
}

impl Sim {
    fn clock(&self) -> Now {
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
            self.answer(&request, Heard::Unavailable);
        }
    }

    /// Sends an answer on its way.
    fn answer(&mut self, request: &Request, heard: Heard) {
        let latency = self.rng.random_range(1..40);
        if !self.reply_is_lost(request.caller) {
            self.later(latency, Event::Answer(request.caller, request.id, request.made, heard));
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
                self.answer(&request, Heard::Unavailable);
            }
            self.tick_by(node, self.now + RECOVER);
        }
    }

    /// Whether the lease holds and the memory is good; reads it again, if it
    /// has to.
    fn get_ready(&mut self, leader: &mut Leader) -> bool {
        let holds = leader.until.is_none_or(|until| self.now < until);
        if !holds || self.store_away {
            if leader.epoch == self.store.standing.epoch {
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

    fn load(&mut self, leader: &mut Leader) {
        leader.state = self.store.tables.load();
        leader.state.seen.since = Some(self.clock().wall);
        leader.round = self.store.standing.round;
        leader.deaf = false;
        leader.news = true;
        self.say(|| "loaded".to_owned());
    }

    /// Messages in, then every phase.
    fn decide(&mut self, node: usize, leader: &mut Leader) -> Pending {
        let now = self.clock();
        let plan = leader.plan.take_if(|(ready, _)| *ready <= self.now).map(|(_, plan)| plan);
        let terms = Terms {
            changeover: self.config.policy.changeover,
            default_grace: self.config.default_grace,
            max_live_jobs: 10_000,
        };
        let mut draft = Draft { state: &mut leader.state, changes: Vec::new() };
        let mut answers = Vec::new();
        for mut request in std::mem::take(&mut self.nodes[node].inbox) {
            let command = std::mem::replace(
                &mut request.command,
                Command::Cancel { job: spotwise_model::JobId(0), group: false },
            );
            let answer = intake::answer(draft.state, command, &terms, now).map(|(made, reply)| {
                draft.take(made);
                reply
            });
            answers.push((request, answer));
        }
        let seen = &mut draft.state.seen;
        let stale = leader.outlook_at.is_none_or(|at| self.now > at + 5 * HOUR);
        if !self.fits_forecasts && (stale || seen.forecasts.is_empty()) {
            leader.outlook_at = Some(self.now);
            seen.forecasts = super::outlook::at(now.market, &self.config, &self.total);
        }
        let around = Surroundings {
            market: &self.place.market,
            pool: &self.total.pool,
            total: &self.total,
            config: &self.config,
        };
        let moved = round::run(&mut draft, plan, around, now);
        self.tally.rounds += 1;
        let changes = draft.changes;
        leader.news |= moved || !changes.is_empty();
        Pending { answers, changes, now, stage: Stage::Commit, effects: Vec::new() }
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
                    let heard = if answer.is_ok() {
                        Heard::Unavailable
                    } else {
                        heard(answer, pending.now)
                    };
                    self.answer(&request, heard);
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
                self.answer(&request, heard(answer, pending.now));
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
            pending.effects = leader.asked.next(&leader.state, pending.now);
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
        if self.now > decided + TERM && self.store.standing.epoch == epoch {
            self.fired.note("old_round_thrown_away");
            self.forget(node);
            return Err(false);
        }
        if self.store_away || self.strikes(Kind::CommitError, 400) {
            self.forget(node);
            return Err(false);
        }
        let newest = self.store.standing.epoch == epoch;
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
                self.say(|| format!("node {node}: round {round} of epoch {epoch} refused"));
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

    /// What follows a commit.
    fn act(&mut self, node: usize, pending: Pending) {
        let half = pending.effects.len() / 2;
        let dies = pending.effects.len() > 1 && self.armed == Some(Kind::CrashMidEffects);
        let incarnation = self.nodes[node].incarnation;
        for (index, effect) in pending.effects.into_iter().enumerate() {
            if dies && index >= half {
                self.armed = None;
                self.note(Kind::CrashMidEffects);
                self.crash(node);
                return;
            }
            let span = self.rng.random_range(5..300);
            match effect {
                Effect::Launch(worker) => {
                    self.later(span, Event::Launch(node, incarnation, worker));
                }
                Effect::Kill(attempt) => {
                    let late = self.now < self.cloud.kills_late_until;
                    let span =
                        if late { span + self.rng.random_range(0..5 * MINUTE) } else { span };
                    self.later(span, Event::Kill(attempt));
                }
            }
        }
        let Some(mut leader) = self.nodes[node].leader.take() else { return };
        let due = |last: Option<Ms>, every, now| last.is_none_or(|last| now >= last + every);
        if due(leader.looked, LOOK, self.now) {
            leader.looked = Some(self.now);
            self.look(node, &leader);
        }
        if due(leader.reaped, REAP, self.now) {
            leader.reaped = Some(self.now);
            self.reap(&leader);
        }
        leader.state.forget_settled();
        self.plan(&mut leader);
        let next = self.next_tick(&leader);
        self.nodes[node].leader = Some(leader);
        if let Some(next) = next {
            self.tick_by(node, next);
        }
    }

    fn plan(&mut self, leader: &mut Leader) {
        let open =
            |state: &JobState| matches!(state, JobState::Waiting { .. } | JobState::Active { .. });
        let age = leader.planned_at.map_or(Ms::MAX, |at| self.now - at);
        let due = (leader.news && age >= PLAN_GAP) || age >= REPLAN;
        if leader.plan.is_some() || !due || !leader.state.jobs.values().any(|j| open(&j.state)) {
            return;
        }
        leader.news = false;
        leader.planned_at = Some(self.now);
        let input = plan_input(&leader.state, &self.config, self.clock());
        if input.jobs.is_empty() && input.running.is_empty() {
            return;
        }
        let (plan, report) = spotwise_solver::plan(&input);
        if !report.checked {
            self.fail("the solver's own audit refused its plan".to_owned());
        }
        self.tally.plans += 1;
        leader.plan = Some((self.now + self.rng.random_range(10..800), plan));
    }

    /// When the loop has to look again, if nobody calls.
    fn next_tick(&self, leader: &Leader) -> Option<Ms> {
        let state = &leader.state;
        let mut next = Vec::new();
        if let Some((ready, _)) = &leader.plan {
            next.push(*ready);
        }
        let open = state
            .jobs
            .values()
            .any(|j| matches!(j.state, JobState::Waiting { .. } | JobState::Active { .. }));
        if open || !state.instances.is_empty() {
            let planned = leader.planned_at.unwrap_or(self.now);
            let pause = if leader.news { PLAN_GAP } else { REPLAN };
            next.push(planned + pause);
            let change = self.place.market.next_change(self.cloud_time());
            next.extend(change.map(|at| time::moment(self.start, at)));
        }
        if self.cloud.workers.values().any(|w| !w.alive && w.running_since.is_some()) {
            next.push(leader.reaped.unwrap_or(0) + REAP);
        }
        for moment in self.deadlines(state) {
            let moment = time::moment(self.start, moment);
            next.push(moment.div_ceil(SECOND) * SECOND + 1);
        }
        next.extend(self.budget_moments(state));
        next.into_iter().filter(|at| *at > self.now).min()
    }

    /// Times at which some phase has something to do.
    fn deadlines(&self, state: &State) -> Vec<Timestamp> {
        use spotwise_model::time::after;
        let secs = std::time::Duration::from_secs;
        let mut times = Vec::new();
        for attempt in state.attempts.values() {
            let job = state.jobs.get(&attempt.id.job);
            let own = job.and_then(|job| job.spec.checkpoint.as_ref()).map(|c| c.grace);
            let grace = own.unwrap_or(self.config.default_grace);
            if !attempt.state.is_live() {
                let unanswered = attempt.nodes.iter().any(|node| node.exited.is_none());
                let ended = attempt.state.ended().map(|at| at.wall);
                if let (true, Some(ended)) = (unanswered, ended) {
                    times.extend([11, 32, 73, 160].map(|s| after(ended, secs(s))));
                }
                continue;
            }
            if let Some(order) = attempt.stop {
                times.push(after(order.at.wall, grace + secs(5)));
                times.push(after(order.at.wall, grace + secs(30)));
                times.push(after(order.at.wall, self.config.lease + secs(5)));
                times.extend(order.reclaim_wall.map(|at| after(at, secs(5))));
            }
            let begun = state.seen.since.unwrap_or(self.clock().wall);
            let patience = self.config.lease + grace + secs(6);
            for rank in 0..attempt.nodes.len() as u32 {
                let heard = state.seen.heartbeats.get(&(attempt.id, rank)).copied();
                times.push(after(heard.unwrap_or(begun).max(begun), patience));
            }
            if let spotwise_model::AttemptState::Launching { since, .. } = attempt.state {
                times.push(after(since.wall.max(begun), secs(61)));
                times.push(after(self.clock().wall, secs(5)));
            }
            let timeout = job.and_then(|job| job.spec.timeout);
            times.extend(timeout.zip(attempt.state.started()).map(|(t, s)| after(s.market, t)));
        }
        for machine in state.instances.values() {
            if let spotwise_model::InstanceState::Noticed { reclaim_at, .. } = machine.state {
                times.push(reclaim_at);
            }
        }
        times.extend(state.jobs.values().filter_map(|job| job.not_before));
        times
    }

    /// When a budget has to be looked at again: the driver looks ten times a
    /// second, here it is enough to be there when it matters.
    fn budget_moments(&self, state: &State) -> Option<Ms> {
        use spotwise_scheduler::phase::settle::accrued;
        let bounded = |a: &&spotwise_model::Attempt| {
            a.state.is_live()
                && a.stop.is_none()
                && state.jobs.get(&a.id.job).is_some_and(|job| job.spec.budget.is_some())
        };
        let live: Vec<_> = state.attempts.values().filter(bounded).collect();
        if live.is_empty() {
            return None;
        }
        let costs = accrued(state, &self.place.market, &self.config.policy, self.clock());
        let seconds = live.iter().filter_map(|attempt| {
            let job = state.jobs.get(&attempt.id.job)?;
            let all: i64 = state
                .attempts_of(job.id)
                .filter_map(|a| costs.get(&a.id))
                .map(|m| m.micros())
                .sum();
            let left = job.spec.budget?.micros() - job.spent.micros() - all;
            let offer = state.seen.offers.iter().find(|offer| offer.key == attempt.offer)?;
            let rate = offer.price.micros_per_hour() * attempt.nodes.len() as i64;
            let grace = job.spec.checkpoint.as_ref().map_or(self.config.default_grace, |c| c.grace);
            let seconds = left.saturating_mul(3_600) / rate.max(1) - grace.as_secs() as i64 - 6;
            Some(seconds.max(0) as u64 * 9 / 10)
        });
        seconds.min().map(|seconds| (self.now / SECOND + seconds.max(1)) * SECOND)
    }

    /// A process that leads from now on.
    pub(crate) fn lead(&mut self, node: usize) {
        let epoch = self.store.lead();
        let mut leader = Leader {
            epoch,
            round: 0,
            state: State::default(),
            asked: Asked::default(),
            looked: None,
            reaped: None,
            plan: None,
            planned_at: None,
            news: true,
            until: None,
            deaf: false,
            outlook_at: None,
        };
        self.load(&mut leader);
        self.say(|| format!("node {node} leads, epoch {epoch}"));
        self.nodes[node].leader = Some(Box::new(leader));
        self.holder = Some(node);
        self.expires = None;
        self.tally.leaders += 1;
        self.tick_by(node, self.now);
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
        if leader.epoch == self.store.standing.epoch {
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
        self.say(|| format!("node {node} is deposed"));
        let place = &mut self.nodes[node];
        place.leader = None;
        place.suspended = None;
        for request in std::mem::take(&mut place.inbox) {
            self.answer(&request, Heard::Unavailable);
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
        self.say(|| format!("node {node} dies"));
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
        self.say(|| format!("node {node} stands still"));
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
        self.say(|| format!("node {node} goes on"));
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
        self.say(|| "the store is back".to_owned());
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

/// What a caller hears of an answer; moments become spans, as `service` does.
fn heard(answer: Result<Reply, Refusal>, now: Now) -> Heard {
    let left = |at: Timestamp| time::millis(spotwise_model::time::between(now.wall, at));
    match answer {
        Ok(Reply::Assigned(assigned)) => {
            Heard::Assigned(assigned.map(|assigned| super::pool::task(&assigned)))
        }
        Ok(Reply::Orders(orders)) => Heard::Orders {
            notice: orders.reclaim_at.map(left),
            stop: orders.stop.map(|(_, by): (StopReason, Timestamp)| left(by)),
        },
        Ok(Reply::Submitted { jobs, replayed }) => Heard::Submitted { jobs, replayed },
        Ok(Reply::Cancelled { .. }) => Heard::Cancelled,
        Ok(Reply::Noted) => Heard::Noted,
        Err(Refusal::Fenced { .. }) => Heard::Fenced,
        Err(Refusal::KeyReused) => Heard::KeyReused,
        Err(Refusal::Unavailable(_) | Refusal::Overloaded) => Heard::Unavailable,
        Err(other) => Heard::Refused(other.to_string()),
    }
}
