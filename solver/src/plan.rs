//! A round: greedy, the integer program, the better of both, explained and
//! audited.

use std::collections::BTreeMap;
use std::time::Duration;

use spotwise_model::plan::{Method, Target};
use spotwise_model::{JobId, OfferKey, Placement, Plan, WaitReason};

use crate::answer::band_report::{self, BandReport};
use crate::answer::explain::{wait_reason, why};
use crate::answer::limit_reached::LimitEnds;
use crate::answer::moves::moves;
use crate::answer::quote::first_quotes;
use crate::audit::check::check;
use crate::parallel::in_chunks;
use crate::room::draft::{Assignment, Draft, objective};
use crate::room::machines::Room;
use crate::search::decompose::{Lagrangian, ascend, build, improve};
use crate::search::greedy::greedy;
use crate::search::pack::pack;
use crate::search::program::{columns, is_worth_it, patience, solve};
use crate::statement::demand::JobDemand;
use crate::statement::input::PlanInput;
use crate::statement::market::Listing;
use crate::statement::prices::{Prices, Shortage, shortages};
use crate::statement::round::Round;
use crate::statement::scarcity::Scarcity;

/// Relative difference below which two objectives are equal: HiGHS works to
/// 1e-6.
const EQUAL: f64 = 1e-6;

/// Less time than this is spent on greedy alone.
const LEAST_TIME: Duration = Duration::from_millis(1);
/// A plan this near to its bound is called proven.
const MOST_GAP: f64 = 0.05;
/// A plan this near to its bound is good enough for a round that no program
/// proves.
const ENOUGH: f64 = 0.005;
/// Candidates beyond which two machines at a time change nothing that matters.
const MOST_IMPROVED: usize = 1_000_000;
/// Candidates beyond which the columns of the program are not even counted.
const MOST_PAIRS: usize = 2_000;
/// Columns that HiGHS can do something with in a second of the round's time,
/// and at all: beyond it two machines at a time come further, and HiGHS, which
/// looks at its clock between steps only, comes late (by 0.6 s of 1 s at 10,000).
const COLUMNS_A_SECOND: f64 = 4_000.0;
const MOST_COLUMNS: f64 = 4_000.0;

/// How a round went.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanReport {
    /// How the plan was found.
    pub method: Method,
    /// Its objective: expected dollars of machines, lateness and waiting.
    pub objective: f64,
    /// What greedy alone would have reached.
    pub greedy_objective: f64,
    /// The jobs in the order in which they go: priority, latest start, id.
    pub order: Vec<JobId>,
    /// Pairs of job and offer that could be chosen.
    pub candidates: usize,
    /// Columns of the integer program; 0 if it was not used.
    pub columns: usize,
    /// Proven lower bound on the cost of any plan of the round, in dollars of the
    /// objective; 0 if nothing is proven. The prices alone prove at most this much.
    pub bound: f64,
    /// Prices of what is scarce: the certificate of a bound.
    pub prices: Prices,
    /// The same as figures: what one more machine of an offer would save.
    pub shortages: Vec<Shortage>,
    /// What later machines cost: it is in the objective.
    pub scarcity: Scarcity,
    /// How the classes stand relative to the operator's bands, and what that cost; empty
    /// if it is not known what they ran on.
    pub bands: Vec<BandReport>,
    /// Whether the first plan passed the audit; false if a simpler one had to replace it.
    pub checked: bool,
}

/// Decides a round. Every job of the input is in the placements or in the
/// waits of the plan, and the plan passes [`check`]. The same input gives the
/// same plan as long as the solver's time does not run out.
pub fn plan(input: &PlanInput) -> (Plan, PlanReport) {
    plan_until(input, &|| false)
}

/// The same, for a caller with a clock: once `enough` answers true, nothing further is
/// tried and the best plan so far is returned. If `enough` depends on the time, the same
/// input may give different plans.
pub fn plan_until(input: &PlanInput, enough: &dyn Fn() -> bool) -> (Plan, PlanReport) {
    plan_round(&Round::new(input), enough)
}

/// Decides a round as it is stated.
pub(crate) fn plan_round(round: &Round<'_>, enough: &dyn Fn() -> bool) -> (Plan, PlanReport) {
    let input = round.input;
    let by_greedy = greedy(round);
    let greedy_objective = objective(round, &by_greedy);
    let candidates = round.candidates();
    let decided = decide(round, by_greedy, greedy_objective, enough);
    let mut report = PlanReport {
        method: decided.method,
        objective: decided.objective,
        greedy_objective,
        order: round.order.iter().filter_map(|at| Some(round.demands.get(*at)?.job.id)).collect(),
        candidates,
        columns: decided.columns,
        bound: decided.bound,
        shortages: shortages(&decided.prices, &round.market.listings),
        prices: decided.prices,
        scarcity: round.scarcity.clone(),
        bands: Vec::new(),
        checked: true,
    };
    let mut plan = finish(round, &decided.draft, decided.method);
    plan.quotes = first_quotes(round, &plan.placements);
    report.bands = band_report::report(round, &plan.placements);
    let Err(wrong) = check(input, &plan) else { return (plan, report) };
    tracing::error!(?wrong, "a plan failed its audit: greedy stands in");
    report = PlanReport {
        method: Method::Greedy,
        objective: greedy_objective,
        checked: false,
        ..report
    };
    let plan = finish(round, &greedy(round), Method::Greedy);
    report.bands = band_report::report(round, &plan.placements);
    let Err(wrong) = check(input, &plan) else { return (plan, report) };
    tracing::error!(?wrong, "the greedy plan failed its audit: nothing is placed");
    let nothing = Draft::empty(round);
    report.bands = band_report::report(round, &[]);
    report =
        PlanReport { method: Method::Trivial, objective: objective(round, &nothing), ..report };
    let waits = input.jobs.iter().map(|job| (job.id, WaitReason::Queued)).collect();
    (Plan { waits, ..Plan::empty() }, report)
}

struct Decided {
    draft: Draft,
    objective: f64,
    method: Method,
    columns: usize,
    /// No plan costs less.
    bound: f64,
    prices: Prices,
}

fn decide(
    round: &Round<'_>,
    by_greedy: Draft,
    greedy_objective: f64,
    enough: &dyn Fn() -> bool,
) -> Decided {
    let mut best = Decided {
        draft: by_greedy,
        objective: greedy_objective,
        method: Method::Greedy,
        columns: 0,
        bound: 0.0,
        prices: Prices::default(),
    };
    let undecided = round.demands.iter().filter(|demand| !demand.candidates.is_empty()).count();
    if undecided == 0 {
        return Decided { method: Method::Trivial, bound: greedy_objective, ..best };
    }
    // Greedy is exact for one job alone.
    if undecided == 1 {
        let method = Method::Proven { gap: 0.0 };
        return Decided { method, bound: greedy_objective, ..best };
    }
    if round.input.time_limit < LEAST_TIME || enough() {
        return best;
    }
    let lagrangian = Lagrangian::new(round);
    let priced = ascend(round, &lagrangian, greedy_objective, enough);
    best.bound = priced.bound;
    best.take(round, build(round, &lagrangian, &priced.prices));
    if gap(best.objective, best.bound) > ENOUGH && round.candidates() <= MOST_IMPROVED && !enough()
    {
        let better = improve(round, &lagrangian, &best.draft, enough);
        best.take(round, better);
    }
    if !enough() {
        by_program(round, &mut best);
    }
    let gap = gap(best.objective, best.bound);
    best.method = if gap <= MOST_GAP {
        Method::Proven { gap }
    } else if best.objective < greedy_objective {
        Method::TimeLimit
    } else {
        Method::Greedy
    };
    best.prices = priced.prices;
    best
}

impl Decided {
    /// Takes a draft in if it is better. At equal worth a plan would differ from
    /// greedy's for no reason.
    fn take(&mut self, round: &Round<'_>, draft: Draft) {
        let reached = objective(round, &draft);
        if reached < self.objective - 1e-9 * self.objective.abs() {
            self.draft = draft;
            self.objective = reached;
        }
    }
}

/// Asks the integer program where the round is small enough for it.
fn by_program(round: &Round<'_>, best: &mut Decided) {
    if round.candidates() > MOST_PAIRS || gap(best.objective, best.bound) <= 0.0 {
        return;
    }
    let size = columns(round);
    let seconds = round.input.time_limit.as_secs_f64();
    if size as f64 > (COLUMNS_A_SECOND * seconds).min(MOST_COLUMNS) {
        return;
    }
    let dollars = best.objective - best.bound;
    if !is_worth_it(size, dollars) {
        return;
    }
    best.columns = size;
    let limit = patience(round.input.time_limit, size, dollars);
    if let Some(answer) = solve(round, &best.draft, best.objective, limit) {
        best.bound = answer.bound.map_or(best.bound, |bound| bound.max(best.bound));
        best.take(round, pack(round, &answer.candidates));
    }
}

/// Part of the objective that may lie between a plan and its bound.
fn gap(value: f64, bound: f64) -> f64 {
    let distance = value - bound;
    if distance <= EQUAL * value.abs().max(1.0) { 0.0 } else { distance / value.abs() }
}

/// Jobs that are explained at a time.
const EXPLAINED: usize = 512;

/// Turns a draft into an explained plan.
fn finish(round: &Round<'_>, draft: &Draft, method: Method) -> Plan {
    let mut room = Room::of(round, draft);
    let empty = Room::new(round);
    let ends = LimitEnds::new(round, &room);
    let mut plan = Plan { method, ..Plan::empty() };
    let assigned: Vec<_> = round.demands.iter().zip(&draft.assignments).collect();
    let parts = in_chunks(&assigned, EXPLAINED, |_, assigned| {
        let (mut placements, mut waits) = (Vec::new(), Vec::new());
        // Like jobs wait for like reasons, unless one has room of its own.
        let mut last: Option<(usize, WaitReason)> = None;
        for (demand, assignment) in assigned {
            let class = round.identical.class_of(demand.number);
            let alike = last
                .as_ref()
                .filter(|(of, _)| *of == class && round.reserved.of(demand.number).is_none());
            match assignment
                .as_ref()
                .and_then(|assignment| placement(round, &room, demand, assignment))
            {
                Some(placement) => placements.push(placement),
                None => {
                    let known = alike.map(|(_, reason)| reason.clone());
                    let why =
                        known.unwrap_or_else(|| wait_reason(round, [&room, &empty], &ends, demand));
                    if round.reserved.of(demand.number).is_none() {
                        last = Some((class, why.clone()));
                    }
                    waits.push((demand.job.id, why));
                }
            }
        }
        (placements, waits)
    });
    for (placements, waits) in parts {
        plan.placements.extend(placements);
        plan.waits.extend(waits);
    }
    plan.purchases = purchases(round, draft);
    plan.reservations = round.reserved.told(round, draft);
    plan.moves = moves(round, &mut room);
    plan
}

fn listing_of<'r, 'a>(
    round: &'r Round<'a>,
    demand: &JobDemand<'_>,
    assignment: &Assignment,
) -> Option<&'r Listing<'a>> {
    round.market.listings.get(demand.candidates.get(assignment.candidate)?.listing())
}

pub(crate) fn placement(
    round: &Round<'_>,
    room: &Room<'_, '_>,
    demand: &JobDemand<'_>,
    assignment: &Assignment,
) -> Option<Placement> {
    let candidate = demand.candidates.get(assignment.candidate)?;
    Some(Placement {
        job: demand.job.id,
        offer: listing_of(round, demand, assignment)?.offer.key.clone(),
        share: demand.share(candidate),
        targets: assignment.targets.clone(),
        why: why(round, room, demand, candidate, &assignment.targets)?,
    })
}

/// As many machines of each offer as the assignments name.
pub(crate) fn purchases(round: &Round<'_>, draft: &Draft) -> BTreeMap<OfferKey, u32> {
    let mut purchases: BTreeMap<&OfferKey, u32> = BTreeMap::new();
    for (demand, assignment) in round.demands.iter().zip(&draft.assignments) {
        let Some(assignment) = assignment else { continue };
        let Some(listing) = listing_of(round, demand, assignment) else { continue };
        for target in &assignment.targets {
            if let Target::New(index) = target {
                let bought = purchases.entry(&listing.offer.key).or_insert(0);
                *bought = (*bought).max(index.saturating_add(1));
            }
        }
    }
    purchases.into_iter().map(|(key, bought)| (key.clone(), bought)).collect()
}
