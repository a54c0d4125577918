//! Room that comes free between two plans, given at once to the jobs that wait: no
//! program, no search for prices, but the last plan's order, prices and reservations.

use std::collections::{BTreeMap, BTreeSet};

use spotwise_model::id::PoolName;
use spotwise_model::plan::{Method, Reservation};
use spotwise_model::{JobId, OfferKey, Plan, WaitReason};

use crate::answer::quote::quotes_of_placed;
use crate::audit::check::check;
use crate::plan::{PlanReport, placement, purchases};
use crate::room::draft::{Draft, Seat};
use crate::room::machines::Room;
use crate::room::slot::Fit;
use crate::statement::ask::{Ask, Want};
use crate::statement::input::PlanInput;
use crate::statement::round::Round;
use crate::statement::scarcity::Scarcity;

/// A place that costs so many times the job's cheapest one is left to the program: maybe
/// it is better to wait.
const DEARER: f64 = 1.05;

/// What a plan leaves for the rounds before the next one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Guide {
    /// The jobs that wait, in the order in which they go: priority, latest start, id.
    /// A prefix of them is enough for [`fill`].
    pub order: Vec<JobId>,
    /// Why they wait.
    pub waits: BTreeMap<JobId, WaitReason>,
    /// Room that is kept for some of them.
    pub reservations: Vec<Reservation>,
    /// Dollars that one more machine of an offer is worth beyond its own price.
    pub shortages: BTreeMap<OfferKey, f64>,
}

impl Guide {
    /// What a plan leaves.
    pub fn of(plan: &Plan, report: &PlanReport) -> Self {
        let shortages = report.shortages.iter();
        let waits = |id: &&JobId| plan.waits.contains_key(id);
        Self {
            order: report.order.iter().filter(waits).copied().collect(),
            waits: plan.waits.clone(),
            reservations: plan.reservations.clone(),
            shortages: shortages.map(|s| (s.offer.clone(), s.dollars_per_machine)).collect(),
        }
    }
}

/// Places waiting jobs into room that is free now, each on what costs it least by the
/// prices of the last plan. On pools that are `returnable`, whose machines cost nothing to
/// give back, machines may be opened for them; elsewhere only those are used that run.
///
/// `input` is the room as it is now with the jobs to be looked at, which need not be all
/// that wait; its time limit does not matter. The answer passes [`check`]: its waits keep
/// the reasons of the guide, it moves nobody, and it quotes whom it places.
///
/// Left to the program are gangs, parts of GPUs, jobs that wait for cheaper capacity, jobs
/// whose place would be dearer than the cheapest that there is (unless they must go), and
/// whoever would take room that is kept for another beyond its start.
pub fn fill(input: &PlanInput, guide: &Guide, returnable: &BTreeSet<PoolName>) -> Plan {
    if input.jobs.is_empty() {
        return Plan::empty();
    }
    let round = Round::priced(input, &guide.reservations, |_, _, _| Scarcity::NoTime);
    let filler = Filler { round: &round, guide, returnable };
    let draft = filler.draft();
    let room = Room::of(&round, &draft);
    let mut plan = Plan { method: Method::Greedy, ..Plan::empty() };
    for (ask, seat) in round.asks.iter().zip(&draft.seats) {
        match seat.as_ref().and_then(|seat| placement(&round, &room, ask, seat)) {
            Some(placement) => plan.placements.push(placement),
            None => {
                plan.waits.insert(ask.job.id, filler.reason(ask));
            }
        }
    }
    plan.purchases = purchases(&round, &draft);
    plan.quotes = quotes_of_placed(&round, &plan.placements);
    plan.reservations = round.reserved.told(&round, &draft);
    let Err(wrong) = check(input, &plan) else { return plan };
    tracing::error!(?wrong, "what was to be filled failed its audit: nothing is placed");
    let waits = round.asks.iter().map(|ask| (ask.job.id, filler.reason(ask))).collect();
    Plan { waits, ..Plan::empty() }
}

struct Filler<'f, 'a> {
    round: &'f Round<'a>,
    guide: &'f Guide,
    returnable: &'f BTreeSet<PoolName>,
}

impl Filler<'_, '_> {
    fn reason(&self, ask: &Ask<'_>) -> WaitReason {
        self.guide.waits.get(&ask.job.id).cloned().unwrap_or(WaitReason::Queued)
    }

    fn draft(&self) -> Draft {
        let round = self.round;
        let mut draft = Draft::empty(round);
        let mut room = Room::new(round);
        let mut failed = vec![false; round.twins.classes()];
        for at in &round.order {
            let (Some(ask), Some(seat)) = (round.asks.get(*at), draft.seats.get_mut(*at)) else {
                continue;
            };
            let Some(failed) = failed.get_mut(round.twins.class_of(*at)) else { continue };
            if (*failed && round.reserved.of(*at).is_none()) || !self.may_go(ask) {
                continue;
            }
            match self.place(ask, &room) {
                Some((pair, want, fit)) => {
                    *seat = Some(Seat { pair, targets: room.take(&want, &fit) });
                }
                None => *failed = true,
            }
        }
        draft
    }

    fn may_go(&self, ask: &Ask<'_>) -> bool {
        let parts = ask.kinds.iter().any(|kind| kind.share.takes_part());
        let chooses = matches!(
            self.guide.waits.get(&ask.job.id),
            Some(WaitReason::CheaperLater { .. } | WaitReason::OverBudget { .. })
        );
        ask.nodes <= 1 && !parts && !chooses
    }

    /// The cheapest place by the guide's prices, where it is one for us to take.
    fn place(&self, ask: &Ask<'_>, room: &Room<'_, '_>) -> Option<(usize, Want, Fit)> {
        let mut best: Option<(f64, usize, Want, Fit)> = None;
        for (index, pair) in ask.pairs.iter().enumerate() {
            let bar = best.as_ref().map_or(ask.wait, |(dollars, ..)| *dollars);
            let want = ask.want(pair);
            let Some(fit) = room.fit(&want) else { continue };
            let dollars = fit.cost + self.shortage(room, &want, &fit);
            if dollars < bar && self.may_take(room, &want, &fit) {
                best = Some((dollars, index, want, fit));
            }
        }
        let (dollars, pair, want, fit) = best?;
        let cheapest = ask.pairs.iter().map(|pair| self.alone(ask, pair)).reduce(f64::min)?;
        let near = dollars <= cheapest * DEARER + 1e-6;
        (near || ask.must_go).then_some((pair, want, fit))
    }

    /// What a job pays for a machine of its own.
    fn alone(&self, ask: &Ask<'_>, pair: &crate::statement::ask::Pair) -> f64 {
        let life = self.round.lifetime(pair.listing(), pair.bucket());
        let listing = self.round.market.listings.get(pair.listing());
        pair.extra() + listing.map_or(0.0, |listing| listing.marginal(life)) * f64::from(ask.nodes)
    }

    fn shortage(&self, room: &Room<'_, '_>, want: &Want, fit: &Fit) -> f64 {
        let listing = self.round.market.listings.get(want.listing);
        let dollars = listing.and_then(|l| self.guide.shortages.get(&l.offer.key)).copied();
        dollars.filter(|_| room.buys(want, fit)).unwrap_or(0.0)
    }

    fn may_take(&self, room: &Room<'_, '_>, want: &Want, fit: &Fit) -> bool {
        let listing = self.round.market.listings.get(want.listing);
        let returnable = listing.is_some_and(|l| self.returnable.contains(&l.offer.key.pool));
        returnable || !room.buys(want, fit)
    }
}

#[cfg(test)]
mod tests;
