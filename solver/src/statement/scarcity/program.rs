//! The linear program over time: how much of each class's work is done when, on
//! what, so that all of it is done by its deadline for the least dollars.
//!
//! Columns: `y` jobs of a class (parts of them too) done in a bucket of time on
//! a kind of machine, `m` jobs that miss. Rows: every job is done or missed; a
//! job is no faster than time; no more machines are used than there are. What
//! is whole in truth is split here, so the value is a lower bound for any
//! schedule over the same buckets, and the duals of the machines' rows are what
//! an hour of one more machine would save.

use good_lp::constraint::ConstraintReference;
use good_lp::solvers::SolutionStatus;
use good_lp::solvers::highs::{HighsParallelType, highs};
use good_lp::{
    DualValues, Expression, ProblemVariables, Solution, SolutionWithDual, SolverModel, Variable,
    variable,
};

use crate::statement::prices::PLAIN;

/// Steps of the simplex after which it is given up: a count and no clock, so that
/// the same round has the same prices.
const MOST_ITERATIONS: i32 = 50_000;
/// Figures beyond this are no hours, machines or dollars.
const MOST: f64 = 1e12;

/// Work, machines, and the time for both. Times are hours from now.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Problem {
    /// Where each bucket ends, growing; the first begins now.
    pub(super) ends: Vec<f64>,
    /// Machines by kind, bucket and resource, on average over the bucket.
    pub(super) machines: Vec<Vec<[f64; PLAIN]>>,
    pub(super) classes: Vec<Class>,
}

/// Jobs that are alike.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Class {
    pub(super) count: f64,
    /// By when they must be done.
    pub(super) due: f64,
    /// Dollars of one that is not.
    pub(super) miss: f64,
    pub(super) options: Vec<ClassOption>,
}

/// What one job needs on a kind of machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ClassOption {
    pub(super) kind: usize,
    /// Hours, all nodes at once.
    pub(super) hours: f64,
    /// Machines that it takes of each resource, all nodes.
    pub(super) parts: [f64; PLAIN],
    /// Dollars for all of it.
    pub(super) dollars: f64,
}

/// What the program found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Optimum {
    /// The least dollars.
    pub(super) dollars: f64,
    /// Dollars an hour of one more machine, by kind, bucket and resource.
    pub(super) prices: Vec<Vec<[f64; PLAIN]>>,
}

impl Problem {
    /// Hours of each bucket with the hour at which it begins.
    fn buckets(&self) -> impl Iterator<Item = (f64, f64)> {
        let starts = std::iter::once(0.0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| (start, end - start))
    }

    /// Columns of the program.
    pub(super) fn columns(&self) -> usize {
        let open = |class: &Class| self.buckets().filter(|(start, _)| *start < class.due).count();
        self.classes.iter().map(|class| class.options.len() * open(class) + 1).sum()
    }

    /// Whether every figure is one that can be computed with.
    pub(super) fn is_sound(&self) -> bool {
        let fine = |figure: f64| (0.0..=MOST).contains(&figure);
        let option = |option: &ClassOption| {
            option.kind < self.machines.len()
                && fine(option.hours)
                && option.hours > 0.0
                && fine(option.dollars)
                && option.parts.iter().all(|part| fine(*part))
        };
        let class = |class: &Class| {
            fine(class.count)
                && fine(class.due)
                && fine(class.miss)
                && class.options.iter().all(option)
        };
        self.buckets().all(|(start, width)| fine(start) && fine(width) && width > 0.0)
            && self.machines.iter().all(|kind| kind.len() == self.ends.len())
            && self.machines.iter().flatten().flatten().all(|machines| fine(*machines))
            && self.classes.iter().all(class)
    }
}

/// Jobs of a class in a bucket on one of its ways.
struct Column {
    class: usize,
    bucket: usize,
    option: ClassOption,
    y: Variable,
}

/// Solves it; `None` if a figure is none, or HiGHS has no answer within its
/// steps.
pub(super) fn solve(problem: &Problem) -> Option<Optimum> {
    if !problem.is_sound() {
        return None;
    }
    let mut variables = ProblemVariables::new();
    let mut objective = Expression::default();
    let mut columns = Vec::new();
    let mut missed = Vec::with_capacity(problem.classes.len());
    for (at, class) in problem.classes.iter().enumerate() {
        let m = variables.add(variable().min(0.0));
        objective.add_mul(class.miss, m);
        missed.push(m);
        for (bucket, _) in problem.buckets().enumerate().filter(|(_, b)| b.0 < class.due) {
            for option in &class.options {
                let y = variables.add(variable().min(0.0));
                objective.add_mul(option.dollars, y);
                columns.push(Column { class: at, bucket, option: *option, y });
            }
        }
    }
    let mut model = variables
        .minimise(objective.clone())
        .using(highs)
        .set_parallel(HighsParallelType::Off)
        .set_threads(1)
        .set_option("random_seed", 0)
        .set_option("simplex_iteration_limit", MOST_ITERATIONS);
    for row in work_rows(problem, &columns, &missed) {
        model.add_constraint(row);
    }
    let rows: Vec<(RowKey, ConstraintReference)> = machine_rows(problem, &columns)
        .into_iter()
        .map(|(key, row)| (key, model.add_constraint(row)))
        .collect();
    let mut solution = match model.solve() {
        Ok(solution) if matches!(solution.status(), SolutionStatus::Optimal) => solution,
        Ok(_) => return None,
        Err(error) => {
            tracing::debug!(%error, "the program over time has no answer");
            return None;
        }
    };
    let dollars = solution.eval(&objective);
    let dual = solution.compute_dual();
    let mut prices: Vec<Vec<[f64; PLAIN]>> =
        problem.machines.iter().map(|buckets| vec![[0.0; PLAIN]; buckets.len()]).collect();
    for ((kind, bucket, resource), row) in rows {
        // More machines never cost more: what HiGHS says above zero is rounding.
        let price = (-dual.dual(row)).max(0.0);
        let of = prices.get_mut(kind).and_then(|kind| kind.get_mut(bucket));
        if let Some(of) = of.and_then(|bucket| bucket.get_mut(resource)) {
            *of = price;
        }
    }
    let sound = dollars.is_finite() && prices.iter().flatten().flatten().all(|p| p.is_finite());
    sound.then_some(Optimum { dollars, prices })
}

/// Every job is done or missed, and works no longer in a bucket than that lasts
/// before its deadline.
fn work_rows(
    problem: &Problem,
    columns: &[Column],
    missed: &[Variable],
) -> Vec<good_lp::Constraint> {
    let mut done: Vec<Expression> = missed.iter().map(|m| Expression::from(*m)).collect();
    let mut busy = vec![vec![Expression::default(); problem.ends.len()]; problem.classes.len()];
    for column in columns {
        if let Some(done) = done.get_mut(column.class) {
            done.add_mul(1.0, column.y);
        }
        if let Some(busy) = busy.get_mut(column.class).and_then(|b| b.get_mut(column.bucket)) {
            busy.add_mul(column.option.hours, column.y);
        }
    }
    let mut rows = Vec::new();
    for ((class, done), busy) in problem.classes.iter().zip(done).zip(busy) {
        rows.push(done.geq(class.count));
        for ((start, width), busy) in problem.buckets().zip(busy) {
            if start < class.due {
                rows.push(busy.leq(class.count * width.min(class.due - start)));
            }
        }
    }
    rows
}

/// Kind, bucket and resource.
type RowKey = (usize, usize, usize);

/// Machine-hours of each resource.
fn machine_rows(problem: &Problem, columns: &[Column]) -> Vec<(RowKey, good_lp::Constraint)> {
    let widths: Vec<f64> = problem.buckets().map(|(_, width)| width).collect();
    let mut sums = vec![vec![[(); PLAIN].map(|()| None); widths.len()]; problem.machines.len()];
    for column in columns {
        let of = sums.get_mut(column.option.kind).and_then(|kind| kind.get_mut(column.bucket));
        for (sum, part) in of.into_iter().flatten().zip(column.option.parts) {
            if part > 0.0 {
                let sum = sum.get_or_insert_with(Expression::default);
                sum.add_mul(part * column.option.hours, column.y);
            }
        }
    }
    let mut rows = Vec::new();
    for (kind, (sums, machines)) in sums.into_iter().zip(&problem.machines).enumerate() {
        for (bucket, ((sums, machines), width)) in
            sums.into_iter().zip(machines).zip(&widths).enumerate()
        {
            for (resource, (sum, machines)) in sums.into_iter().zip(machines).enumerate() {
                if let Some(sum) = sum {
                    rows.push(((kind, bucket, resource), sum.leq(machines * width)));
                }
            }
        }
    }
    rows
}
