//! The workers of a virtual world: they boot, make progress second by second,
//! save it, and obey.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::attempt::{Exit, Told};
use spotwise_model::time::{after, between};
use spotwise_model::{Attempt, AttemptId, AttemptState};

use spotwise_control::phase::attempt_end::EXIT_REQUEUE;
use spotwise_control::world::World;
use spotwise_control::{Command, WorkerId};

/// The workers of one attempt: they act as one.
#[derive(Clone, Debug)]
struct SimulatedGang {
    nodes: u32,
    /// When they are up and take their first step.
    up_at: Timestamp,
    started: bool,
    /// Seconds of work done in total.
    done: u64,
    whole: u64,
    /// The time up to which `done` counts.
    seen: Timestamp,
    saved: Timestamp,
    /// Time between two checkpoints; `None` if the job saves nothing.
    interval: Option<Duration>,
    sequence: u32,
}

/// All workers.
#[derive(Clone, Debug)]
pub(super) struct SimulatedWorkers {
    boot: Duration,
    list: BTreeMap<AttemptId, SimulatedGang>,
}

impl SimulatedWorkers {
    /// Workers that need this long from a launch to the first step.
    pub(super) fn new(boot: Duration) -> Self {
        Self { boot, list: BTreeMap::new() }
    }

    /// When the next worker is up or finished.
    pub(super) fn next_moment(&self) -> Option<Timestamp> {
        self.list.values().map(SimulatedGang::next_moment).min()
    }

    /// Boots workers for what has been launched.
    pub(super) fn boot_launched(&mut self, world: &World) {
        for attempt in world.state.attempts.values() {
            let AttemptState::Launching { since, .. } = attempt.state else { continue };
            if self.list.contains_key(&attempt.id) {
                continue;
            }
            if let Some(gang) = self.gang(world, attempt, since.market) {
                self.list.insert(attempt.id, gang);
            }
        }
    }

    fn gang(&self, world: &World, attempt: &Attempt, launched: Timestamp) -> Option<SimulatedGang> {
        let job = world.state.jobs.get(&attempt.id.job)?;
        let offers = &world.state.seen.offers;
        let offer = offers.iter().find(|offer| offer.key == attempt.offer);
        let accelerator = offer.and_then(|offer| offer.shape.accelerator.as_ref());
        let up_at = after(launched, self.boot);
        Some(SimulatedGang {
            nodes: u32::try_from(attempt.nodes.len()).unwrap_or(u32::MAX),
            up_at,
            started: false,
            done: attempt.restore.and_then(|checkpoint| checkpoint.progress.step).unwrap_or(0),
            whole: job.spec.expected_duration(accelerator).as_secs().max(1),
            seen: up_at,
            saved: up_at,
            interval: job.spec.checkpoint.as_ref().map(|checkpoint| checkpoint.interval),
            sequence: 0,
        })
    }

    /// Lets every worker act up to now. True if one of them has finished.
    pub(super) fn act(&mut self, world: &mut World) -> bool {
        let mut done = Vec::new();
        for (id, gang) in &mut self.list {
            if gang.act(*id, world) {
                done.push(*id);
            }
        }
        for id in &done {
            self.list.remove(id);
        }
        !done.is_empty()
    }

    /// Those told to stop save their work and exit. True if one did.
    pub(super) fn obey_stops(&mut self, world: &mut World) -> bool {
        let live = |id: &AttemptId| world.state.attempts.get(id).filter(|a| a.state.is_live());
        let ordered = self.list.keys().filter(|id| live(id).is_none_or(|a| a.stop.is_some()));
        let ordered: Vec<AttemptId> = ordered.copied().collect();
        for id in &ordered {
            if let Some(mut gang) = self.list.remove(id) {
                gang.leave(*id, world);
            }
        }
        !ordered.is_empty()
    }
}

impl SimulatedGang {
    fn next_moment(&self) -> Timestamp {
        if self.started {
            after(self.seen, Duration::from_secs(self.whole.saturating_sub(self.done)))
        } else {
            self.up_at
        }
    }

    fn workers(&self, attempt: AttemptId) -> impl Iterator<Item = WorkerId> + use<> {
        (0..self.nodes).map(move |rank| WorkerId { attempt, rank })
    }

    fn step(&self) -> Option<(u64, u64)> {
        Some((self.done, self.whole))
    }

    /// True if it has finished.
    fn act(&mut self, id: AttemptId, world: &mut World) -> bool {
        let now = world.now;
        if now < self.up_at {
            return false;
        }
        if !self.started {
            self.start(id, world);
        }
        self.done = self.done.saturating_add(between(self.seen, now).as_secs()).min(self.whole);
        self.seen = now;
        if self.done >= self.whole {
            self.exit(id, 0, world);
            return true;
        }
        let first = WorkerId { attempt: id, rank: 0 };
        said(world.command(Command::Heartbeat { worker: first, step: self.step(), memory: None }));
        if self.interval.is_some_and(|interval| between(self.saved, now) >= interval) {
            self.save(id, world);
        }
        false
    }

    fn start(&mut self, id: AttemptId, world: &mut World) {
        self.started = true;
        let restore = world.state.attempts.get(&id).and_then(|attempt| attempt.restore);
        let restored = restore.map(Into::into);
        for worker in self.workers(id) {
            let (handle, address) = ("virtual".to_owned(), String::new());
            said(world.command(Command::Register {
                worker,
                handle,
                address,
                key: spotwise_control::command::WorkerKey::of_start(""),
            }));
        }
        for worker in self.workers(id) {
            said(world.command(Command::Started { worker, restored, rejected_checkpoints: 0 }));
        }
    }

    fn save(&mut self, id: AttemptId, world: &mut World) {
        self.sequence += 1;
        self.saved = world.now;
        said(world.command(Command::Checkpointed {
            worker: WorkerId { attempt: id, rank: 0 },
            sequence: self.sequence,
            bytes: 1,
            step: self.step(),
        }));
    }

    fn leave(&mut self, id: AttemptId, world: &mut World) {
        if self.started && self.interval.is_some() {
            self.save(id, world);
        }
        self.exit(id, EXIT_REQUEUE, world);
    }

    fn exit(&self, id: AttemptId, code: i32, world: &mut World) {
        for worker in self.workers(id) {
            let step = self.started.then(|| self.step()).flatten();
            let told = if code == EXIT_REQUEUE { Told::Stop } else { Told::Nothing };
            said(world.command(Command::Exited { worker, exit: Exit::Code(code), told, step }));
        }
    }
}

/// A worker whose attempt has ended in the meantime is refused, which is right.
fn said<T>(_: T) {}
