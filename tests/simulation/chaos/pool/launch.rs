//! Launch calls: carried out, refused, or answered by nobody.

use rand::RngExt;
use spotwise_control::{Command, WorkerId};

use super::super::events::Caller;
use super::super::faults::Kind;
use super::super::sim::Sim;
use super::super::time::{self, MINUTE, SECOND};
use super::super::worker::Worker;

impl Sim {
    /// A launch call of a scheduler reaches the pool. The same name is the same
    /// worker: a command is never started twice.
    pub(crate) fn launch(&mut self, node: usize, incarnation: u64, worker: WorkerId) {
        let message = |text: &str| {
            let message = text.to_owned();
            Command::LaunchFailed { worker, message, retryable: true }
        };
        // A call of a scheduler that has died may be under way.
        let speaks = self.nodes[node].incarnation == incarnation;
        if speaks && self.cloud.forgotten.contains(&worker.attempt) {
            self.fail(format!("{} is numbered again", worker.attempt));
        }
        let known = self.cloud.by_name(worker).map(|known| (known.alive, known.started));
        let answer = match known {
            Some((true, _)) => None,
            Some((false, true)) => Some(Command::LaunchFailed {
                worker,
                message: "lost: a command is never started twice".to_owned(),
                retryable: false,
            }),
            _ if self.now < self.cloud.throttled_until => {
                self.note(Kind::Throttled);
                Some(message("throttled: rate exceeded"))
            }
            _ if self.now < self.cloud.empty_until => {
                self.note(Kind::NoCapacity);
                Some(message("insufficient capacity"))
            }
            _ if worker.rank > 0 && self.strikes(Kind::PartialGang, 20) => {
                Some(message("insufficient capacity for the rest of the gang"))
            }
            _ if self.strikes(Kind::ErrorBeforeEffect, 30) => {
                Some(Command::LaunchUnknown { worker })
            }
            _ if self.host_of(worker).is_err() => Some(message("its machine does not run")),
            _ => {
                self.spawn(worker);
                self.strikes(Kind::ExecuteAndTimeout, 20)
                    .then_some(Command::LaunchUnknown { worker })
            }
        };
        if let Some(command) = answer {
            self.tell(node, incarnation, command);
        }
    }

    fn spawn(&mut self, place: WorkerId) {
        let pid = self.cloud.next_pid();
        let boot = match self.rng.random_range(0..20) {
            0 => self.rng.random_range(MINUTE..3 * MINUTE),
            _ => self.rng.random_range(2 * SECOND..30 * SECOND),
        };
        let lease = time::millis(self.config.lease);
        let mut worker = Worker::new(place, self.now + boot, lease);
        worker.host = self.host_of(place).ok().flatten();
        self.log(|| format!("{} rank {} is worker {pid}", place.attempt, place.rank));
        self.cloud.workers.insert(pid, worker);
        self.cloud.named.insert(place, pid);
        self.tally.workers += 1;
        self.set_wake(pid);
    }

    /// What the process that acted learns about its pool goes into its own loop.
    pub(crate) fn tell(&mut self, node: usize, incarnation: u64, command: Command) {
        let alive = self.nodes.get(node).is_some_and(|n| n.up && n.incarnation == incarnation);
        if alive {
            self.send(node, Caller::Pool, command);
        }
    }
}
