//! Has the solver work on a snapshot outside the loop, one at a time, with a rest between
//! plans.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use spotwise_model::time::between;
use spotwise_model::{JobId, Now, Plan};
use spotwise_solver::{Guide, PlanInput};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::duty_cycle::DutyCycle;
use crate::handle::Handle;
use spotwise_control::core::queue::Queue;

/// A new plan is made at least this often while there is work (wall time).
const REPLAN: Duration = Duration::from_secs(1);
/// The shortest time between two plans (wall time): many jobs submitted at once
/// are planned together.
const PLAN_GAP: Duration = Duration::from_millis(100);
/// The longest rest after a plan (wall time); otherwise it rests as long as the plan took.
const LONGEST_REST: Duration = Duration::from_secs(2);
/// The fraction of its time limit after which no optional step is started: what follows
/// takes the rest.
const LAST_STEP: f64 = 0.75;
/// How much it yields to other threads, in `nice` units: if both want a core, whoever
/// submits, and whoever reports what is running, gets three quarters of it.
pub(crate) const NICE: i32 = 5;

/// The plan in progress, and when the next one is due.
#[derive(Default)]
pub(crate) struct Planner {
    running: Option<oneshot::Receiver<Made>>,
    begun: Option<Timestamp>,
    rest: DutyCycle,
}

struct Made {
    plan: Plan,
    left: Queue,
    took: Duration,
}

impl Planner {
    /// The plan that was being made, once it is ready, and what it leaves.
    pub(crate) fn finished(&mut self) -> Option<(Plan, Queue)> {
        let answer = self.running.as_mut()?.try_recv();
        if !matches!(answer, Err(TryRecvError::Empty)) {
            self.running = None;
        }
        match answer {
            Ok(Made { plan, left, took }) => {
                self.rest.done(Instant::now(), took.min(LONGEST_REST));
                Some((plan, left))
            }
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Closed) => {
                tracing::error!("the planner failed; the next round asks it again");
                None
            }
        }
    }

    /// How long until the next plan is due, zero for now; `None` while one is being made.
    /// `news` is whether anything has changed since the last one.
    pub(crate) fn rest(&self, news: bool, now: Now) -> Option<Duration> {
        let age = self.begun.map_or(Duration::MAX, |at| between(at, now.wall));
        let pause = if news { PLAN_GAP } else { REPLAN };
        let rest = pause.saturating_sub(age).max(self.rest.rest(Instant::now()));
        self.running.is_none().then_some(rest)
    }

    /// Starts a plan, unless there is nothing to plan, and wakes the loop when it is ready.
    pub(crate) fn begin(&mut self, input: PlanInput, handle: &Handle, now: Now) {
        self.begun = Some(now.wall);
        if input.jobs.is_empty() && input.running.is_empty() {
            return;
        }
        let (sender, receiver) = oneshot::channel();
        let handle = handle.clone();
        let work = move || {
            // Threads that it starts give way like it. Refused only to raise.
            let _ = rustix::process::nice(NICE);
            let made = make(&input);
            // The loop may have ended.
            let _ = sender.send(made);
            handle.wake();
        };
        match std::thread::Builder::new().name("planner".to_owned()).spawn(work) {
            Ok(_) => self.running = Some(receiver),
            Err(error) => tracing::error!(%error, "no thread for the planner; asked again"),
        }
    }
}

fn make(input: &PlanInput) -> Made {
    let begun = Instant::now();
    let most = input.time_limit.mul_f64(LAST_STEP);
    let (plan, report) = spotwise_solver::plan_until(input, &|| begun.elapsed() >= most);
    let took = begun.elapsed();
    tracing::debug!(
        jobs = input.jobs.len(),
        running = input.running.len(),
        offers = input.offers.len(),
        ?took,
        ?report,
        "planned"
    );
    let newest = input.jobs.last().map_or(JobId(0), |job| job.id);
    let left = Queue::of(&plan, Guide::of(&plan, &report), newest);
    Made { plan, left, took }
}
