//! What a policy pays for one job from one step of a market on.

use super::job::{FIFTHS, Job};
use super::market::RecordedMarket;
use super::place::JobLocation;
use super::policy::Policy;
use super::view::StepState;
use super::view::View;

/// How a job went.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The sum of the prices of the steps paid, in micro-dollars an hour.
    pub hourly_micros: i64,
    /// Of what its work costs on demand without any start.
    pub cost_fraction: f64,
    /// Whether it was done after its deadline.
    pub missed: bool,
    /// How often the market took its machine.
    pub interruptions: u32,
    /// How often it left a machine for another by choice.
    pub moves: u32,
    /// Where it was in each step until it was done.
    pub choices: Vec<JobLocation>,
}

/// Runs one job that begins with step `start` of the market. After its deadline
/// a job goes on demand until it is done.
pub fn simulate(
    market: &RecordedMarket,
    job: &Job,
    start: usize,
    policy: &mut dyn Policy,
) -> Outcome {
    let mut outcome = Outcome {
        hourly_micros: 0,
        cost_fraction: 0.0,
        missed: false,
        interruptions: 0,
        moves: 0,
        choices: Vec::new(),
    };
    let mut now =
        StepState { step: 0, work_left: job.work, changeover_left: 0, on: JobLocation::Idle };
    while now.work_left > 0 {
        let at = start.saturating_add(now.step);
        if price(market, now.on, at).is_none() {
            outcome.interruptions = outcome.interruptions.saturating_add(1);
            now = StepState { on: JobLocation::Idle, changeover_left: 0, ..now };
        }
        let overdue = now.step >= job.deadline;
        let choice = if overdue {
            JobLocation::OnDemand
        } else {
            policy.choose(&View::new(market, start, job, now))
        };
        let (choice, paid) = match price(market, choice, at) {
            Some(price) => (choice, price),
            None => (JobLocation::Idle, 0),
        };
        outcome.missed |= overdue;
        outcome.moves += u32::from(is_move(now.on, choice));
        outcome.hourly_micros = outcome.hourly_micros.saturating_add(paid);
        outcome.choices.push(choice);
        now = advance(now, choice, job.changeover);
    }
    let whole = job.work as f64 * market.on_demand_micros() as f64;
    outcome.cost_fraction = FIFTHS as f64 * outcome.hourly_micros as f64 / whole;
    outcome
}

/// The price of being at a place during a step; `None` if that cannot be.
fn price(market: &RecordedMarket, place: JobLocation, at: usize) -> Option<i64> {
    match place {
        JobLocation::Idle => Some(0),
        JobLocation::OnDemand => Some(market.on_demand_micros()),
        JobLocation::Spot(zone) => market.price_if_available(zone, at),
    }
}

fn is_move(from: JobLocation, to: JobLocation) -> bool {
    from != to && from != JobLocation::Idle && to != JobLocation::Idle
}

/// One step at `choice`.
fn advance(now: StepState, choice: JobLocation, changeover: u64) -> StepState {
    let before = match choice {
        JobLocation::Idle => 0,
        same if same == now.on => now.changeover_left,
        _ => changeover,
    };
    let spent = before.min(FIFTHS);
    let done = if choice == JobLocation::Idle { 0 } else { FIFTHS - spent };
    StepState {
        step: now.step.saturating_add(1),
        work_left: now.work_left.saturating_sub(done),
        changeover_left: before - spent,
        on: choice,
    }
}

/// Does what was written down, and is idle after it.
#[derive(Clone, Debug)]
pub struct Scripted {
    name: &'static str,
    choices: Vec<JobLocation>,
}

impl Scripted {
    /// One choice a step.
    pub fn new(name: &'static str, choices: Vec<JobLocation>) -> Self {
        Self { name, choices }
    }
}

impl Policy for Scripted {
    fn name(&self) -> &'static str {
        self.name
    }

    fn choose(&mut self, view: &View<'_>) -> JobLocation {
        self.choices.get(view.step).copied().unwrap_or(JobLocation::Idle)
    }
}
