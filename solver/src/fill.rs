//! Room that comes free between two plans, given at once to the jobs that wait: no
//! program, no search for prices, but the last plan's order, prices and reservations.

use std::collections::{BTreeMap, BTreeSet};

use spotwise_model::id::PoolName;
use spotwise_model::plan::{Method, Reservation};
use spotwise_model::{JobId, OfferKey, Plan, WaitReason};

use crate::answer::quote::quotes_of_placed;
use crate::audit::check::check;
use crate::plan::{PlanReport, placement, purchases};
use crate::room::draft::{Assignment, Draft};
use crate::room::machines::Room;
use crate::room::slot::Fit;
use crate::statement::demand::{JobDemand, Request};
use crate::statement::input::PlanInput;
use crate::statement::round::Round;
use crate::statement::scarcity::Scarcity;

/// A place that costs this many times the job's cheapest one is left to the program: maybe
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

/// Places waiting jobs into room that is free now, each on the offer that costs it least
/// by the prices of the last plan. On pools that are `returnable`, whose machines cost
/// nothing to give back, machines may be opened for them; elsewhere only running machines
/// are used.
///
/// `input` is the room as it is now with the jobs to be looked at, which need not be all
/// that wait; its time limit does not matter. The answer passes [`check`]: its waits keep
/// the reasons of the guide, it moves nobody, and it quotes whom it places.
///
/// The program decides about gangs, parts of GPUs, jobs that wait for cheaper capacity,
/// jobs whose place would be dearer than the cheapest there is (unless they must go), and
/// jobs that would hold room reserved for another beyond its start.
pub fn fill(input: &PlanInput, guide: &Guide, returnable: &BTreeSet<PoolName>) -> Plan {
    if input.jobs.is_empty() {
        return Plan::empty();
    }
    let round = Round::priced(input, &guide.reservations, |_, _, _| Scarcity::NoTime);
    let filler = Filler { round: &round, guide, returnable };
    let draft = filler.draft();
    let room = Room::of(&round, &draft);
    let mut plan = Plan { method: Method::Greedy, ..Plan::empty() };
    for (demand, assignment) in round.demands.iter().zip(&draft.assignments) {
        match assignment
            .as_ref()
            .and_then(|assignment| placement(&round, &room, demand, assignment))
        {
            Some(placement) => plan.placements.push(placement),
            None => {
                plan.waits.insert(demand.job.id, filler.reason(demand));
            }
        }
    }
    plan.purchases = purchases(&round, &draft);
    plan.quotes = quotes_of_placed(&round, &plan.placements);
    plan.reservations = round.reserved.told(&round, &draft);
    let Err(wrong) = check(input, &plan) else { return plan };
    tracing::error!(?wrong, "what was to be filled failed its audit: nothing is placed");
    let waits = round.demands.iter().map(|demand| (demand.job.id, filler.reason(demand))).collect();
    Plan { waits, ..Plan::empty() }
}

struct Filler<'f, 'a> {
    round: &'f Round<'a>,
    guide: &'f Guide,
    returnable: &'f BTreeSet<PoolName>,
}

impl Filler<'_, '_> {
    fn reason(&self, demand: &JobDemand<'_>) -> WaitReason {
        self.guide.waits.get(&demand.job.id).cloned().unwrap_or(WaitReason::Queued)
    }

    fn draft(&self) -> Draft {
        let round = self.round;
        let mut draft = Draft::empty(round);
        let mut room = Room::new(round);
        let mut failed = vec![false; round.identical.classes()];
        for at in &round.order {
            let (Some(demand), Some(assignment)) =
                (round.demands.get(*at), draft.assignments.get_mut(*at))
            else {
                continue;
            };
            let Some(failed) = failed.get_mut(round.identical.class_of(*at)) else { continue };
            if (*failed && round.reserved.of(*at).is_none()) || !self.may_go(demand) {
                continue;
            }
            match self.place(demand, &room) {
                Some((candidate, request, fit)) => {
                    *assignment =
                        Some(Assignment { candidate, targets: room.take(&request, &fit) });
                }
                None => *failed = true,
            }
        }
        draft
    }

    fn may_go(&self, demand: &JobDemand<'_>) -> bool {
        let parts = demand.kinds.iter().any(|kind| kind.share.takes_part());
        let chooses = matches!(
            self.guide.waits.get(&demand.job.id),
            Some(WaitReason::CheaperLater { .. } | WaitReason::OverBudget { .. })
        );
        demand.nodes <= 1 && !parts && !chooses
    }

    /// The cheapest place by the guide's prices, where it is one for us to take.
    fn place(&self, demand: &JobDemand<'_>, room: &Room<'_, '_>) -> Option<(usize, Request, Fit)> {
        let mut best: Option<(f64, usize, Request, Fit)> = None;
        for (index, candidate) in demand.candidates.iter().enumerate() {
            let bar = best.as_ref().map_or(demand.wait, |(dollars, ..)| *dollars);
            let request = demand.request(candidate);
            let Some(fit) = room.fit(&request) else { continue };
            let dollars = fit.cost + self.shortage(room, &request, &fit);
            if dollars < bar && self.may_take(room, &request, &fit) {
                best = Some((dollars, index, request, fit));
            }
        }
        let (dollars, candidate, request, fit) = best?;
        let cheapest = demand
            .candidates
            .iter()
            .map(|candidate| self.alone(demand, candidate))
            .reduce(f64::min)?;
        let near = dollars <= cheapest * DEARER + 1e-6;
        (near || demand.must_go).then_some((candidate, request, fit))
    }

    /// What a job pays for a machine of its own.
    fn alone(
        &self,
        demand: &JobDemand<'_>,
        candidate: &crate::statement::demand::Candidate,
    ) -> f64 {
        let life = self.round.lifetime(candidate.listing(), candidate.bucket());
        let listing = self.round.market.listings.get(candidate.listing());
        candidate.extra()
            + listing.map_or(0.0, |listing| listing.marginal(life)) * f64::from(demand.nodes)
    }

    fn shortage(&self, room: &Room<'_, '_>, request: &Request, fit: &Fit) -> f64 {
        let listing = self.round.market.listings.get(request.listing);
        let dollars = listing.and_then(|l| self.guide.shortages.get(&l.offer.key)).copied();
        dollars.filter(|_| room.buys(request, fit)).unwrap_or(0.0)
    }

    fn may_take(&self, room: &Room<'_, '_>, request: &Request, fit: &Fit) -> bool {
        let listing = self.round.market.listings.get(request.listing);
        let returnable = listing.is_some_and(|l| self.returnable.contains(&l.offer.key.pool));
        returnable || !room.buys(request, fit)
    }
}

#[cfg(test)]
mod tests;
