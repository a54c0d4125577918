//! A round: greedy, the integer program, the better of both, explained and
//! audited.

use std::collections::BTreeMap;

use spotwise_model::plan::{Method, Target};
use spotwise_model::{OfferKey, Placement, Plan, WaitReason};

use crate::check::check;
use crate::choice::{Choice, Round};
use crate::explain::{wait_reason, why};
use crate::greedy::{fill, greedy};
use crate::input::PlanInput;
use crate::moves::moves;
use crate::program::{columns, solve};
use crate::room::{Draft, Room, Seat, objective};

/// Relative difference below which two objectives are equal: HiGHS works to
/// 1e-6.
const EQUAL: f64 = 1e-6;

/// How a round went.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanReport {
    /// How the plan was found.
    pub method: Method,
    /// Its objective: expected dollars of machines, lateness and waiting.
    pub objective: f64,
    /// What greedy alone would have reached.
    pub greedy_objective: f64,
    /// Pairs of job and offer that could be chosen.
    pub candidates: usize,
    /// Columns of the integer program; 0 where it was not asked.
    pub columns: usize,
    /// Whether the first answer passed the audit; false where a simpler one
    /// had to stand in.
    pub checked: bool,
}

/// Decides a round. Every job of the input is in the placements or in the
/// waits of the plan, and the plan passes [`check`]. The same input gives the
/// same plan as long as the solver's time does not run out.
pub fn plan(input: &PlanInput) -> (Plan, PlanReport) {
    let round = Round::new(input);
    let by_greedy = greedy(&round);
    let greedy_objective = objective(&round, &by_greedy);
    let candidates = round.cases.iter().map(|case| case.choices.len()).sum();
    let decided = decide(&round, &by_greedy, greedy_objective, candidates);
    let mut report = PlanReport {
        method: decided.method,
        objective: decided.objective,
        greedy_objective,
        candidates,
        columns: decided.columns,
        checked: true,
    };
    let plan = finish(&round, &decided.draft, decided.method);
    let Err(wrong) = check(input, &plan) else { return (plan, report) };
    tracing::error!(?wrong, "a plan failed its audit: greedy stands in");
    report = PlanReport {
        method: Method::Greedy,
        objective: greedy_objective,
        checked: false,
        ..report
    };
    let plan = finish(&round, &by_greedy, Method::Greedy);
    let Err(wrong) = check(input, &plan) else { return (plan, report) };
    tracing::error!(?wrong, "the greedy plan failed its audit: nothing is placed");
    let nothing = Draft { seats: vec![None; round.cases.len()] };
    report =
        PlanReport { method: Method::Trivial, objective: objective(&round, &nothing), ..report };
    let waits = input.jobs.iter().map(|job| (job.id, WaitReason::Queued)).collect();
    (Plan { waits, ..Plan::empty() }, report)
}

struct Decided {
    draft: Draft,
    objective: f64,
    method: Method,
    columns: usize,
}

fn decide(
    round: &Round<'_>,
    by_greedy: &Draft,
    greedy_objective: f64,
    candidates: usize,
) -> Decided {
    let greedy = |method, columns| Decided {
        draft: by_greedy.clone(),
        objective: greedy_objective,
        method,
        columns,
    };
    if candidates == 0 {
        return greedy(Method::Trivial, 0);
    }
    // Greedy is exact where nothing costs anything, and for one job alone.
    let undecided = round.cases.iter().filter(|case| !case.choices.is_empty()).count();
    if undecided == 1 || greedy_objective <= EQUAL {
        return greedy(Method::Proven { gap: 0.0 }, 0);
    }
    let columns = columns(round);
    let Some(answer) = solve(round, by_greedy, greedy_objective) else {
        return greedy(Method::Greedy, columns);
    };
    let packed = pack(round, &answer.choices);
    let reached = objective(round, &packed);
    // At equal worth the program's plan would differ from greedy's for no reason.
    let better = reached < greedy_objective - 1e-9 * greedy_objective.abs();
    let value = if better { reached } else { greedy_objective };
    let method = match answer.bound {
        Some(bound) => Method::Proven { gap: gap(value, bound) },
        None if better => Method::TimeLimit,
        None => Method::Greedy,
    };
    if better {
        Decided { draft: packed, objective: reached, method, columns }
    } else {
        greedy(method, columns)
    }
}

fn gap(value: f64, bound: f64) -> f64 {
    let distance = value - bound;
    if distance <= EQUAL * value.abs().max(1.0) { 0.0 } else { distance / value.abs() }
}

/// Puts the program's choices on machines, first-fit decreasing: once the
/// longest jobs first, which nests lifetimes, once the largest first, which
/// packs tighter; what does not fit falls to greedy. The better of both.
fn pack(round: &Round<'_>, choices: &[Option<usize>]) -> Draft {
    let chosen: Vec<(usize, usize, &Choice)> = round
        .order
        .iter()
        .filter_map(|at| {
            let index = (*choices.get(*at)?)?;
            Some((*at, index, round.cases.get(*at)?.choices.get(index)?))
        })
        .collect();
    let by_length =
        |choice: &Choice| (choice.estimate.occupied.as_secs_f64(), choice.estimate.fraction);
    let by_size =
        |choice: &Choice| (choice.estimate.fraction, choice.estimate.occupied.as_secs_f64());
    let long_first = pack_in_order(round, chosen.clone(), by_length);
    let large_first = pack_in_order(round, chosen, by_size);
    if objective(round, &large_first) < objective(round, &long_first) {
        large_first
    } else {
        long_first
    }
}

fn pack_in_order(
    round: &Round<'_>,
    mut chosen: Vec<(usize, usize, &Choice)>,
    size: impl Fn(&Choice) -> (f64, f64),
) -> Draft {
    chosen.sort_by(|(_, _, a), (_, _, b)| {
        let (a, b) = (size(a), size(b));
        b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1))
    });
    let mut draft = Draft { seats: vec![None; round.cases.len()] };
    let mut room = Room::new(round);
    for (at, index, choice) in chosen {
        let Some(case) = round.cases.get(at) else { continue };
        // Even where the first job on a machine seems to cost more than to wait:
        // the program knows who shares it.
        if let Some(fit) = room.fit(choice, case.nodes)
            && let Some(seat) = draft.seats.get_mut(at)
        {
            *seat = Some(Seat { choice: index, targets: room.take(choice, &fit) });
        }
    }
    fill(round, &mut room, &mut draft);
    draft
}

/// Turns a draft into an explained plan.
fn finish(round: &Round<'_>, draft: &Draft, method: Method) -> Plan {
    let mut room = Room::of(round, draft);
    let mut plan = Plan { method, ..Plan::empty() };
    let mut purchases: BTreeMap<OfferKey, u32> = BTreeMap::new();
    for (case, seat) in round.cases.iter().zip(&draft.seats) {
        let chosen = seat.as_ref().and_then(|seat| {
            let choice = case.choices.get(seat.choice)?;
            Some((seat, choice, round.market.listings.get(choice.estimate.listing)?))
        });
        let Some((seat, choice, listing)) = chosen else {
            plan.waits.insert(case.job.id, wait_reason(round, &room, case));
            continue;
        };
        let offer = listing.offer.key.clone();
        for target in &seat.targets {
            if let Target::New(index) = target {
                let bought = purchases.entry(offer.clone()).or_insert(0);
                *bought = (*bought).max(index.saturating_add(1));
            }
        }
        plan.placements.push(Placement {
            job: case.job.id,
            offer,
            share: choice.estimate.share,
            targets: seat.targets.clone(),
            why: why(round, &room, case, choice, &seat.targets),
        });
    }
    plan.purchases = purchases;
    plan.moves = moves(round, &mut room);
    plan
}
