//! Budgets: nobody spends more than his own. What is forgiven is a rise of the
//! price after the last word that a worker could hear of it.

use spotwise_model::time::between;
use spotwise_model::{Attempt, Job, JobId, Money};

use super::super::sim::Sim;
use super::super::time::{self, Ms, SECOND};

/// From the last word of a leader to the worker's ear.
const HEARING: Ms = SECOND;
/// A leader that is there for less than this has told nobody anything.
const TELLING: Ms = 5 * SECOND;
/// How exact the end of a command is in the books: whole seconds, and the way of
/// an order.
const EXACT: Ms = 2 * SECOND;

/// By how much a job is over its budget: micro-dollars, negative where it is not.
pub(super) fn over_budget(job: &Job, budget: Money, attempts: &[&Attempt]) -> i64 {
    let open = attempts
        .iter()
        .filter(|a| !matches!(a.state, spotwise_model::AttemptState::Settled { .. }));
    let held: i64 = open.map(|a| a.hold.micros()).sum();
    job.spent.micros() + held - budget.micros()
}

impl Sim {
    /// No round can be written from now on.
    pub(crate) fn nobody_leads(&mut self) {
        self.tally.gap_since.get_or_insert(self.now);
    }

    /// Rounds are written again.
    pub(crate) fn somebody_leads(&mut self) {
        if let Some(since) = self.tally.gap_since.take() {
            self.tally.gaps.push((since, self.now));
        }
        if let Some(since) = self.tally.away_since.take() {
            self.tally.recoveries.push(self.now - since);
        }
    }

    /// Whether rounds can be written.
    pub(crate) fn is_led(&self) -> bool {
        self.tally.gap_since.is_none()
    }

    /// What a budget is exceeded by, against what rises of the price explain.
    pub(super) fn judge_overrun(&mut self, id: JobId, over: i64, explained: i64) -> Option<String> {
        if over <= explained {
            self.tally.overrun_by_rise = self.tally.overrun_by_rise.max(over);
            return None;
        }
        self.tally.overrun = self.tally.overrun.max(over);
        Some(format!(
            "{id}: {over} over its budget, of which rises of the price explain {explained}"
        ))
    }

    /// What these attempts cost more since the price rose unheard, in all:
    /// micro-dollars.
    pub(super) fn cost_of_rises(&self, attempts: &[&Attempt]) -> i64 {
        attempts.iter().map(|attempt| self.cost_of_rise(attempt)).sum()
    }

    fn cost_of_rise(&self, attempt: &Attempt) -> i64 {
        let (Some(ended), Some(cutoff)) = (attempt.state.ended(), attempt.cutoff) else { return 0 };
        let end = time::moment(self.start, ended.wall);
        let stopping = time::millis(between(cutoff.stop_at, cutoff.gone_by.wall)) + HEARING;
        let mut heard = end.saturating_sub(stopping);
        let open = self.tally.gap_since.map(|since| (since, self.now));
        // What a scheduler could not hear it could not tell.
        let mut deaf = [&self.tally.gaps[..], &self.feed.silences].concat();
        deaf.extend(open);
        deaf.sort_by_key(|(_, to)| std::cmp::Reverse(*to));
        for (since, to) in deaf {
            if since <= end && to + TELLING >= heard {
                heard = heard.min(since);
            }
        }
        let heard = time::at(self.start, heard.saturating_sub(HEARING)).as_second();
        let to = ended.market.as_second();
        let placed = attempt.state.placed().map_or(heard, |placed| placed.market.as_second());
        let machines =
            attempt.instances.iter().filter_map(|id| self.store.tables.instances.get(id));
        let market = &self.simulated_market;
        let each = machines.map(|machine| {
            let from = heard.max(placed);
            // Who bought without hearing bought at the last price that he had heard.
            let bought = machine.since().is_some_and(|since| heard <= since.as_second());
            let known = match bought {
                true => machine.launch_price.micros_per_hour(),
                false => market.price_at(&attempt.offer, heard),
            };
            (market.bill(&attempt.offer, from, to) - known * (to - from).max(0) / 3_600 - 1).max(0)
        });
        each.sum()
    }

    /// The books say that an attempt ended before they heard of it. Then its
    /// commands have, where their workers lived.
    pub(super) fn runs_on_no_money(&self, attempt: &Attempt) -> Option<String> {
        let (ended, cutoff) = (attempt.state.ended()?, attempt.cutoff?);
        if ended != cutoff.gone_by {
            return None;
        }
        let over = time::moment(self.start, ended.wall) + EXACT;
        let stop_at = time::moment(self.start, cutoff.stop_at);
        let worker = self.cloud.of_attempt(attempt.id).into_iter().find(|pid| {
            let worker = &self.cloud.workers[pid];
            let ran_until = worker.running_since.map(|_| self.now).or(worker.ran_until);
            // What it was told before a rise of the price is not its fault.
            let told = worker.money.is_some_and(|money| money > stop_at + EXACT);
            worker.alive && !told && ran_until.is_some_and(|until| until > over)
        })?;
        let past = self.now.saturating_sub(over) / SECOND;
        Some(format!("worker {worker} of {} ran on without money ({past} s ago)", attempt.id))
    }
}
