//! The published policies. Common to all: a working spot machine is never left
//! by choice; when idle and two more starts just fit, the job goes on demand to
//! the end (the safety net); then [`View::last_check`].

use super::job::FIFTHS;
use super::place::JobLocation;
use super::policy::Policy;
use super::view::View;

/// On demand until done.
#[derive(Clone, Copy, Debug, Default)]
pub struct OnDemand;

/// Spot if available, else idle; on demand when the safety net says so.
#[derive(Clone, Copy, Debug, Default)]
pub struct Greedy {
    to_the_end: bool,
}

/// Uniform Progress with hysteresis: on demand where there is no spot and the
/// job is behind the pace of its deadline, back to spot when it is ahead by two
/// changeovers (Wu et al., NSDI '24).
#[derive(Clone, Copy, Debug, Default)]
pub struct UniformProgress {
    to_the_end: bool,
}

impl Policy for OnDemand {
    fn name(&self) -> &'static str {
        "on-demand"
    }

    fn choose(&mut self, _: &View<'_>) -> JobLocation {
        JobLocation::OnDemand
    }
}

impl Policy for Greedy {
    fn name(&self) -> &'static str {
        "greedy"
    }

    fn choose(&mut self, view: &View<'_>) -> JobLocation {
        self.to_the_end |= needs_net(view);
        let choice = match view.on {
            _ if self.to_the_end => JobLocation::OnDemand,
            JobLocation::Spot(zone) => JobLocation::Spot(zone),
            JobLocation::Idle | JobLocation::OnDemand => {
                cheapest(view).unwrap_or(JobLocation::Idle)
            }
        };
        view.last_check(choice)
    }
}

impl Policy for UniformProgress {
    fn name(&self) -> &'static str {
        "uniform-progress"
    }

    fn choose(&mut self, view: &View<'_>) -> JobLocation {
        self.to_the_end |= needs_net(view);
        let choice = match view.on {
            _ if self.to_the_end => JobLocation::OnDemand,
            JobLocation::Spot(zone) => JobLocation::Spot(zone),
            JobLocation::Idle => cheapest(view).unwrap_or(if behind(view) {
                JobLocation::OnDemand
            } else {
                JobLocation::Idle
            }),
            JobLocation::OnDemand if view.is_tight(2 * view.changeover) => JobLocation::OnDemand,
            JobLocation::OnDemand => {
                cheapest(view).filter(|_| ahead_by_two(view)).unwrap_or(JobLocation::OnDemand)
            }
        };
        view.last_check(choice)
    }
}

fn needs_net(view: &View<'_>) -> bool {
    view.on == JobLocation::Idle && view.is_tight(2 * view.changeover)
}

fn cheapest(view: &View<'_>) -> Option<JobLocation> {
    view.cheapest_spot().map(|(zone, _)| JobLocation::Spot(zone))
}

/// The work done, and what the pace of the deadline asks for after `extra`
/// fifths more, both times the time of the whole window.
fn pace(view: &View<'_>, extra: u64) -> (u128, u128) {
    let fifths = |steps: usize| steps as u128 * u128::from(FIFTHS);
    let whole = fifths(view.step.saturating_add(view.steps_left));
    let done = u128::from(view.work.saturating_sub(view.work_left)) * whole;
    (done, (fifths(view.step) + u128::from(extra)) * u128::from(view.work))
}

fn behind(view: &View<'_>) -> bool {
    let (done, expected) = pace(view, 0);
    done < expected
}

fn ahead_by_two(view: &View<'_>) -> bool {
    let (done, expected) = pace(view, view.changeover.saturating_mul(2));
    done > expected
}
