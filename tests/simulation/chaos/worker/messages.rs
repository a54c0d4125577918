//! What a worker tells its scheduler.

use spotwise_control::Command;
use spotwise_model::attempt::{Exit, Told};

use super::super::time::{Ms, SECOND};
use super::Worker;

/// Something to tell the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerMessage {
    Register,
    Heartbeat,
    Started,
    Checkpoint {
        sequence: u32,
        done: Ms,
    },
    Exited {
        exit: Exit,
        told: Told,
    },
    /// It stopped its command by itself for want of money.
    OutOfMoney {
        exit: Exit,
        told: Told,
    },
}

impl WorkerMessage {
    /// Whether nothing follows it.
    pub(crate) const fn is_last(self) -> bool {
        matches!(self, Self::Exited { .. } | Self::OutOfMoney { .. })
    }
}

impl Worker {
    /// How far work is, as its command tells it.
    pub(crate) fn steps(&self, done: Ms) -> Option<(u64, u64)> {
        let whole = self.task.map_or(1, |task| task.whole.max(1));
        Some((done.min(whole) / SECOND, whole.div_ceil(SECOND)))
    }

    pub(crate) fn command(&self, message: WorkerMessage) -> Command {
        let worker = self.place;
        let done = self.task.map_or(0, |task| task.done);
        let step = self.started.then(|| self.steps(done)).flatten();
        match message {
            WorkerMessage::Register => Command::Register {
                worker,
                handle: "1".to_owned(),
                address: String::new(),
                key: spotwise_control::command::WorkerKey::of_start("own"),
            },
            WorkerMessage::Heartbeat => Command::Heartbeat { worker, step, memory: None },
            WorkerMessage::Started => Command::Started {
                worker,
                restored: self.task.and_then(|task| task.restore),
                rejected_checkpoints: 0,
            },
            WorkerMessage::Checkpoint { sequence, done } => {
                Command::Checkpointed { worker, sequence, bytes: 1, step: self.steps(done) }
            }
            WorkerMessage::Exited { exit, told } => Command::Exited { worker, exit, told, step },
            WorkerMessage::OutOfMoney { exit, told } => {
                Command::OutOfMoney { worker, exit, told, step }
            }
        }
    }
}
