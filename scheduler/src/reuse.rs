//! Workers whose element has succeeded, and that take the next element of their array on
//! the same machine: a start is saved where it takes longer than the work.
//!
//! Which attempt goes to which machine is decided as ever; only how its worker begins is
//! another matter here. All of this is in memory: what is forgotten is started anew.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use spotwise_model::attempt::Outcome;
use spotwise_model::{AttemptId, InstanceId, JobId, JobState};
use tokio::sync::oneshot;

use spotwise_control::core::State;

/// How long after the end of its attempt a worker is expected to ask for more (wall time).
const EXPECTED: Duration = Duration::from_secs(2);
/// How long after its last question a worker that was given nothing is known (wall time).
const KNOWN: Duration = Duration::from_secs(60);

/// Where a worker may go on: on its machine, with an element of its array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seat {
    machine: InstanceId,
    array: JobId,
}

/// A worker that has asked for more, and waits for the answer.
#[derive(Debug)]
pub struct IdleWorker {
    /// The attempt that it has carried out.
    pub attempt: AttemptId,
    answer: oneshot::Sender<AttemptId>,
}

/// What it goes on with, once it is known.
pub type Next = oneshot::Receiver<AttemptId>;

/// Who begins an attempt.
#[derive(Debug)]
pub enum Starter {
    /// A new worker.
    New,
    /// One that waits for it.
    Idle(IdleWorker),
    /// One that has just ended its attempt, if it asks for more in this time.
    Expected(oneshot::Receiver<IdleWorker>, Duration),
}

/// The workers of arrays that reuse them.
#[derive(Debug, Default)]
pub struct WorkerReuse(Mutex<Seats>);

#[derive(Debug, Default)]
struct Seats {
    on_duty: BTreeMap<AttemptId, Duty>,
    idle: BTreeMap<Seat, VecDeque<IdleWorker>>,
    orders: BTreeMap<Seat, VecDeque<oneshot::Sender<IdleWorker>>>,
    /// What workers were told to go on with, by the attempt that they came from.
    told: BTreeMap<AttemptId, AttemptId>,
}

/// A worker, and what it is doing.
#[derive(Clone, Copy, Debug)]
struct Duty {
    seat: Seat,
    now: Doing,
}

#[derive(Clone, Copy, Debug)]
enum Doing {
    /// Its attempt is live.
    Work,
    /// Its attempt has ended, and it has not asked for more yet.
    Ending(Instant),
    /// It has asked, at this time last.
    Idle(Instant),
}

impl WorkerReuse {
    /// Takes note of who works where, and of who has ended. To be called before the effects
    /// of a state are carried out.
    pub fn note(&self, state: &State, now: Instant) {
        let mut seats = self.lock();
        for attempt in state.attempts.values() {
            let Some(seat) = seat_of(state, attempt.id) else { continue };
            if attempt.state.is_live() {
                seats.on_duty.entry(attempt.id).or_insert(Duty { seat, now: Doing::Work });
            } else if !matches!(attempt.state.outcome(), Some(Outcome::Succeeded)) {
                seats.on_duty.remove(&attempt.id);
            }
        }
        let live = |id: &AttemptId| state.attempts.get(id).is_some_and(|a| a.state.is_live());
        seats.on_duty.retain(|id, duty| match duty.now {
            Doing::Work if live(id) => true,
            Doing::Work => {
                duty.now = Doing::Ending(now);
                true
            }
            Doing::Ending(since) => now.duration_since(since) < EXPECTED,
            Doing::Idle(since) => now.duration_since(since) < KNOWN,
        });
        seats.told.retain(|_, attempt| live(attempt));
        seats.idle.retain(|_, idle| {
            idle.retain(|worker| !worker.answer.is_closed());
            !idle.is_empty()
        });
        seats.orders.retain(|_, orders| {
            orders.retain(|order| !order.is_closed());
            !orders.is_empty()
        });
    }

    /// Who begins an attempt: a worker of its array on its machine, if there is one.
    pub fn starter(&self, state: &State, attempt: AttemptId) -> Starter {
        let Some(seat) = seat_of(state, attempt) else { return Starter::New };
        let mut seats = self.lock();
        while let Some(worker) = seats.idle.get_mut(&seat).and_then(VecDeque::pop_front) {
            // One whose connection is gone asks again, or never does.
            if !worker.answer.is_closed() {
                return Starter::Idle(worker);
            }
        }
        let ending = |duty: &&Duty| duty.seat == seat && matches!(duty.now, Doing::Ending(_));
        let expected = seats.on_duty.values().filter(ending).count();
        let orders = seats.orders.entry(seat).or_default();
        orders.retain(|order| !order.is_closed());
        if expected <= orders.len() {
            return Starter::New;
        }
        let (sender, receiver) = oneshot::channel();
        orders.push_back(sender);
        Starter::Expected(receiver, EXPECTED)
    }

    /// Tells a worker to go on with an attempt. Whether it hears that is not known: if it does
    /// not, it asks again, and is told the same.
    pub fn go_on(&self, worker: IdleWorker, attempt: AttemptId) {
        let mut seats = self.lock();
        seats.on_duty.remove(&worker.attempt);
        seats.told.insert(worker.attempt, attempt);
        let _ = worker.answer.send(attempt);
    }

    /// A worker whose attempt has succeeded asks what to go on with: an answer to come, and
    /// the array. `None` if nobody knows it: it may leave.
    pub fn ask(&self, attempt: AttemptId, now: Instant) -> Option<(Next, JobId)> {
        let (answer, receiver) = oneshot::channel();
        let mut seats = self.lock();
        if let Some(next) = seats.told.get(&attempt) {
            let _ = answer.send(*next);
            return Some((receiver, next.job));
        }
        let duty = seats.on_duty.get_mut(&attempt)?;
        duty.now = Doing::Idle(now);
        let seat = duty.seat;
        let mut worker = IdleWorker { attempt, answer };
        while let Some(order) = seats.orders.get_mut(&seat).and_then(VecDeque::pop_front) {
            match order.send(worker) {
                Ok(()) => return Some((receiver, seat.array)),
                Err(back) => worker = back,
            }
        }
        seats.idle.entry(seat).or_default().push_back(worker);
        Some((receiver, seat.array))
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where an attempt's worker may be one that has carried out another element: not of gangs,
/// and not of arrays that do not ask for it.
fn seat_of(state: &State, attempt: AttemptId) -> Option<Seat> {
    let place = state.jobs.get(&attempt.job)?.array.filter(|place| place.reuse_workers)?;
    match state.attempts.get(&attempt)?.instances.as_slice() {
        [machine] => Some(Seat { machine: *machine, array: place.first }),
        _ => None,
    }
}

/// Whether elements of an array wait for a machine, so that a worker of it may soon be
/// told to go on. `array` is the job of its element 0.
pub fn is_any_waiting(state: &State, array: JobId) -> bool {
    let jobs = state.jobs.range(array..).map(|(_, job)| job);
    let mut elements = jobs.take_while(|job| job.array.is_some_and(|place| place.first == array));
    elements.any(|job| matches!(job.state, JobState::Waiting { .. }))
}

#[cfg(test)]
#[path = "reuse_tests.rs"]
mod tests;
