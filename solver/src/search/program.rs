//! The joint choice as an integer program on HiGHS.
//!
//! Columns: `x` jobs of a class on an offer, `u` nodes of them on machines that
//! others keep running, `n` machines opened for a lifetime, `b` those bought among them
//! where some are idle and limits count. Identical jobs are
//! one class with a count. A machine of a long lifetime may hold shorter jobs,
//! so capacity rows are nested: what stays at least as long as a lifetime fits
//! the machines that do. Machines are counted together, not one by one: the
//! program is a relaxation of the packing, its bound holds for every plan, and
//! its answer is packed first-fit afterwards.

mod classes;
mod limits;
mod model;

use std::fmt::Debug;
use std::time::Duration;

use good_lp::solvers::highs::{HighsProblem, highs};
use good_lp::{SolverModel, Variable};

use crate::room::draft::Draft;
use crate::statement::round::Round;
use classes::{Class, classes};
use model::Model;

/// Up to this many columns the best plan is proven; beyond it, one within
/// [`LARGE_GAP`]: proofs grow faster than programs.
const EXACT_COLUMNS: usize = 2_000;
/// Part of the best known objective at which a large program stops.
const LARGE_GAP: f64 = 0.002;
/// Dollars at which a small program stops.
const EXACT_GAP: f64 = 1e-6;
/// Part of the round's time that HiGHS gets. The rest is for what no clock is
/// read for here: valuing, building, packing; and HiGHS looks at its own clock
/// between steps only (0.1 s late at 15,000 columns).
const SOLVER_PART: f64 = 0.5;
/// Up to this many columns the program is always asked: it takes up to a few tenths of a
/// second there, and often finds a better plan. From 500 on it found none in about a second
/// of processor time on any of twelve rounds, and takes several to come 2 % nearer.
const QUICK_COLUMNS: usize = 300;
/// Dollars that a larger program has to be able to win for each second that it takes: what
/// jobs lose that wait for the plan. The next one begins within seconds and may win the rest.
const DOLLARS_A_SECOND: f64 = 200.0;
/// Seconds that a program of a thousand columns takes; one of twice as many takes four
/// times as long.
const SECONDS_OF_A_THOUSAND: f64 = 1.0;
/// Nodes of the search after which HiGHS ends: a count and no clock, so that the same round
/// has the same plan.
const MOST_NODES: i32 = 500;
/// HiGHS's number for a feasible solution.
const FEASIBLE: i64 = 2;

/// Values of the variables: looked up, never iterated over.
#[expect(
    clippy::disallowed_types,
    reason = "what `good_lp` takes as a solution, and its variables have no order"
)]
type Values = std::collections::HashMap<Variable, f64>;

/// What the program found.
#[derive(Debug)]
pub(crate) struct ProgramResult {
    /// Which candidate of each demand; `None` if it waits.
    pub(crate) candidates: Vec<Option<usize>>,
    /// No plan costs less than this; `None` if HiGHS proved nothing yet.
    pub(crate) bound: Option<f64>,
}

/// Whether it is worth the time to look for a plan that costs at most this many dollars less.
pub(crate) fn is_worth_it(columns: usize, dollars: f64) -> bool {
    let seconds = SECONDS_OF_A_THOUSAND * (columns as f64 / 1_000.0).powi(2);
    columns <= QUICK_COLUMNS || dollars >= DOLLARS_A_SECOND * seconds
}

/// How long HiGHS may work in a round: where the size does not say that it is quick, as
/// long as what it could win is worth.
pub(crate) fn patience(time_limit: Duration, columns: usize, dollars: f64) -> Duration {
    let half = time_limit.mul_f64(SOLVER_PART);
    let worth = Duration::try_from_secs_f64(dollars / DOLLARS_A_SECOND).unwrap_or(half);
    if columns <= QUICK_COLUMNS { half } else { half.min(worth) }
}

/// Number of columns that the program of a round has.
pub(crate) fn columns(round: &Round<'_>) -> usize {
    let machines: usize = round.lifetimes.iter().map(Vec::len).sum();
    let candidates =
        |class: &Class| round.demands.get(class.lead()).map_or(0, |demand| demand.candidates.len());
    machines + 2 * classes(round).iter().map(candidates).sum::<usize>()
}

/// Solves a round within a time, starting from `start`, whose objective is `reached`.
/// `None` if HiGHS has no answer.
pub(crate) fn solve(
    round: &Round<'_>,
    start: &Draft,
    reached: f64,
    limit: Duration,
) -> Option<ProgramResult> {
    let size = columns(round);
    if size == 0 || limit < Duration::from_millis(1) {
        return None;
    }
    let model = Model::new(round);
    let gap = if size <= EXACT_COLUMNS { EXACT_GAP } else { EXACT_GAP.max(LARGE_GAP * reached) };
    let mut problem = model.variables.clone().minimise(model.objective.clone()).using(highs);
    for row in model.rows(round) {
        problem.add_constraint(row);
    }
    let order: Vec<Variable> = model.variables.iter_variables_with_def().map(|(v, _)| v).collect();
    let start: Values = model.values_of(round, start).into_iter().collect();
    let start: Vec<f64> = order.iter().map(|v| start.get(v).copied().unwrap_or(0.0)).collect();
    let found = match run(problem, &start, limit, gap) {
        Ok(found) => found?,
        Err(error) => {
            tracing::debug!(?error, "the integer program has no answer");
            return None;
        }
    };
    let values: Values = order.into_iter().zip(found.values).collect();
    let waiting: f64 = round.demands.iter().map(|demand| demand.wait).sum();
    Some(ProgramResult {
        candidates: model.read(round, &values),
        bound: found.bound.is_finite().then_some(found.bound + waiting - EXACT_GAP),
    })
}

/// What HiGHS found.
struct Found {
    /// Of the columns, in their order.
    values: Vec<f64>,
    /// No values cost less than this; infinite where nothing is proven.
    bound: f64,
}

/// `None` if HiGHS has no values.
///
/// `good_lp` tells no bound where the time ran out, so HiGHS is asked itself.
fn run(
    problem: HighsProblem,
    start: &[f64],
    limit: Duration,
    gap: f64,
) -> Result<Option<Found>, Box<dyn Debug>> {
    fn told<E: Debug + 'static>(error: E) -> Box<dyn Debug> {
        Box::new(error)
    }
    let mut program = problem.try_into_inner().map_err(told)?;
    program.try_set_option("output_flag", false).map_err(told)?;
    program.try_set_option("parallel", "off").map_err(told)?;
    program.try_set_option("threads", 1).map_err(told)?;
    program.try_set_option("random_seed", 0).map_err(told)?;
    program.try_set_option("mip_max_nodes", MOST_NODES).map_err(told)?;
    program.try_set_option("time_limit", limit.as_secs_f64()).map_err(told)?;
    // HiGHS measures a relative gap against an objective without its constant
    // part, the waiting: only an absolute one means anything.
    program.try_set_option("mip_rel_gap", 0.0).map_err(told)?;
    program.try_set_option("mip_abs_gap", gap).map_err(told)?;
    program.try_set_solution(Some(start), None, None, None).map_err(told)?;
    let solved = program.try_solve().map_err(told)?;
    let state = solved.int_info_value(c"primal_solution_status").map_err(told)?;
    let bound = solved.double_info_value(c"mip_dual_bound").map_err(told)?;
    let values = solved.get_solution().columns().to_vec();
    Ok((state == FEASIBLE).then_some(Found { values, bound }))
}
