//! The whole round as one integer program, to measure planning beside.

use super::greedy::greedy;
use super::pack::pack;
use super::program::solve;
use crate::room::draft::objective;
use crate::statement::input::PlanInput;
use crate::statement::round::Round;

/// What the whole round as one integer program on HiGHS comes to, starting from
/// greedy, with all of the time limit: what planning is measured beside.
pub fn plain_program(input: &PlanInput) -> PlainResult {
    let round = Round::new(input);
    let start = greedy(&round);
    let reached = objective(&round, &start);
    match solve(&round, &start, reached, input.time_limit) {
        Some(answer) => PlainResult {
            objective: objective(&round, &pack(&round, &answer.candidates)).min(reached),
            bound: answer.bound,
        },
        None => PlainResult { objective: reached, bound: None },
    }
}

/// How the plain integer program went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlainResult {
    /// The cost of its plan, packed; greedy's where that is better.
    pub objective: f64,
    /// What it proved no plan to cost less than; `None` if its time ran out.
    pub bound: Option<f64>,
}
