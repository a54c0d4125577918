//! The joint choice as an integer program on HiGHS.
//!
//! Columns: `x` jobs of a class on an offer, `u` nodes of them on machines that
//! others keep running, `n` machines opened for a lifetime. Identical jobs are
//! one class with a count. A machine of a long lifetime may hold shorter jobs,
//! so capacity rows are nested: what stays at least as long as a lifetime fits
//! the machines that do. Machines are counted together, not one by one: the
//! program is a relaxation of the packing, its bound holds for every plan, and
//! its answer is packed first-fit afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use good_lp::solvers::highs::{HighsParallelType, highs};
use good_lp::{
    Expression, ProblemVariables, Solution, SolverModel, Variable, WithInitialSolution,
    solvers::SolutionStatus, variable,
};
use spotwise_model::plan::Target;
use spotwise_model::resources::Free;
use spotwise_model::{Share, gpu::MigProfile};

use crate::choice::{Choice, Round};
use crate::market::{GPU_UNITS, Listing, gpu_units};
use crate::room::{Draft, is_used};

/// Beyond this many columns the program does not pay within a round.
const MAX_COLUMNS: usize = 20_000;
/// Up to this many columns the best plan is proven; beyond it, one within
/// [`LARGE_GAP`]: proofs grow faster than programs.
const EXACT_COLUMNS: usize = 2_000;
/// Part of greedy's objective at which a large program stops.
const LARGE_GAP: f64 = 0.005;
/// Dollars at which a small program stops.
const EXACT_GAP: f64 = 1e-6;
/// Part of the round's time that HiGHS gets. The rest is for what no clock is
/// read for here: valuing, building, packing; and HiGHS looks at its own clock
/// between steps only (0.1 s late at 15,000 columns).
const SOLVER_PART: f64 = 0.5;

/// What the program found.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Choice of each case; none where it waits.
    pub(crate) choices: Vec<Option<usize>>,
    /// No plan costs less than this; none where the time ran out.
    pub(crate) bound: Option<f64>,
}

/// Number of columns that the program of a round has.
pub(crate) fn columns(round: &Round<'_>) -> usize {
    let classes = classes(round);
    let machines: usize = round.lifetimes.iter().map(Vec::len).sum();
    let choices = |class: &Class| round.cases.get(class.lead()).map_or(0, |c| c.choices.len());
    machines + 2 * classes.iter().map(choices).sum::<usize>()
}

/// Solves a round, starting from `start`, whose objective is `reached`. None where HiGHS has no answer, or
/// none is worth asking for.
pub(crate) fn solve(round: &Round<'_>, start: &Draft, reached: f64) -> Option<Answer> {
    let size = columns(round);
    let limit = round.input.time_limit.mul_f64(SOLVER_PART);
    if size == 0 || size > MAX_COLUMNS || limit < Duration::from_millis(1) {
        return None;
    }
    let model = Model::new(round);
    let gap = if size <= EXACT_COLUMNS { EXACT_GAP } else { EXACT_GAP.max(LARGE_GAP * reached) };
    let initial = model.values_of(round, start);
    let mut problem = model
        .variables
        .clone()
        .minimise(model.objective.clone())
        .using(highs)
        .set_parallel(HighsParallelType::Off)
        .set_threads(1)
        .set_option("random_seed", 0)
        .set_time_limit(limit.as_secs_f64())
        // HiGHS measures a relative gap against an objective without its
        // constant part, the waiting: only an absolute one means anything.
        .set_option("mip_rel_gap", 0.0)
        .set_option("mip_abs_gap", gap)
        .with_initial_solution(initial);
    for row in model.rows(round) {
        problem.add_constraint(row);
    }
    let solution = match problem.solve() {
        Ok(solution) => solution,
        Err(error) => {
            tracing::debug!(%error, "the integer program has no answer");
            return None;
        }
    };
    let value = solution.eval(&model.objective);
    let proven = !matches!(solution.status(), SolutionStatus::TimeLimit);
    let waiting: f64 = round.cases.iter().map(|case| case.wait).sum();
    Some(Answer {
        choices: model.read(round, &solution),
        // No plan costs less than nothing.
        bound: proven.then_some((value + waiting - gap).max(0.0)),
    })
}

/// Jobs that differ in nothing that the program sees.
struct Class {
    members: Vec<usize>,
}

impl Class {
    fn lead(&self) -> usize {
        self.members.first().copied().unwrap_or(usize::MAX)
    }

    fn count(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }
}

/// Groups the cases that have any choice, members in the round's order.
fn classes(round: &Round<'_>) -> Vec<Class> {
    let mut by_key: BTreeMap<Vec<u64>, Vec<usize>> = BTreeMap::new();
    for at in &round.order {
        let Some(case) = round.cases.get(*at).filter(|case| !case.choices.is_empty()) else {
            continue;
        };
        let mut key = vec![u64::from(case.nodes), case.wait.to_bits()];
        for choice in &case.choices {
            let e = &choice.estimate;
            key.extend([e.listing as u64, choice.bucket as u64, choice.lateness.to_bits()]);
            key.extend([e.share.gpus.into(), e.share.cpu_milli, e.share.memory_mib]);
            key.extend([gpu_units(&e.share), e.occupied.as_nanos() as u64]);
        }
        by_key.entry(key).or_default().push(*at);
    }
    by_key.into_values().map(|members| Class { members }).collect()
}

/// The columns of a class on one of its choices.
struct Pair {
    class: usize,
    choice: usize,
    x: Variable,
    u: Option<Variable>,
}

struct Model {
    variables: ProblemVariables,
    objective: Expression,
    classes: Vec<Class>,
    pairs: Vec<Pair>,
    /// By listing, then by bucket.
    machines: Vec<Vec<Variable>>,
}

impl Model {
    fn new(round: &Round<'_>) -> Self {
        let mut variables = ProblemVariables::new();
        let mut objective = Expression::default();
        let classes = classes(round);
        let mut pairs = Vec::new();
        let mut demand = vec![0_u64; round.market.listings.len()];
        for (class_at, class) in classes.iter().enumerate() {
            let Some(case) = round.cases.get(class.lead()) else { continue };
            for (choice_at, choice) in case.choices.iter().enumerate() {
                let at = choice.estimate.listing;
                let Some(listing) = round.market.listings.get(at) else { continue };
                let nodes = u64::from(case.nodes) * u64::from(class.count());
                let x = variables.add(variable().integer().min(0).max(class.count()));
                objective.add_mul(choice.lateness - case.wait, x);
                let holding = holding(listing, &choice.estimate.share);
                let u = (holding > 0).then(|| {
                    // The nodes of one job go to distinct machines.
                    let most = if case.nodes > 1 {
                        nodes.min(holding * u64::from(class.count()))
                    } else {
                        nodes
                    };
                    variables.add(variable().integer().min(0).max(most as f64))
                });
                if let Some(u) = u {
                    objective.add_mul(round.share_cost(choice), u);
                }
                if let Some(demand) = demand.get_mut(at) {
                    *demand += nodes;
                }
                pairs.push(Pair { class: class_at, choice: choice_at, x, u });
            }
        }
        let machines = round
            .market
            .listings
            .iter()
            .zip(&round.lifetimes)
            .zip(demand)
            .map(|((listing, lives), demand)| {
                let most = listing.openable().min(demand) as f64;
                lives
                    .iter()
                    .map(|life| {
                        let n = variables.add(variable().integer().min(0).max(most));
                        objective.add_mul(listing.marginal_price() * life, n);
                        n
                    })
                    .collect()
            })
            .collect();
        Self { variables, objective, classes, pairs, machines }
    }

    fn lookup<'r>(&self, round: &'r Round<'_>, pair: &Pair) -> Option<(&'r Choice, u32, u32)> {
        let class = self.classes.get(pair.class)?;
        let case = round.cases.get(class.lead())?;
        Some((case.choices.get(pair.choice)?, case.nodes, class.count()))
    }

    /// Nodes of a pair on machines opened in this round.
    fn on_opened(pair: &Pair, nodes: u32) -> Expression {
        let mut nodes_opened = Expression::default();
        nodes_opened.add_mul(f64::from(nodes), pair.x);
        if let Some(u) = pair.u {
            nodes_opened.add_mul(-1.0, u);
        }
        nodes_opened
    }

    fn rows(&self, round: &Round<'_>) -> Vec<good_lp::Constraint> {
        let mut rows = self.once_rows();
        let mut of_listing: Vec<Vec<&Pair>> = vec![Vec::new(); self.machines.len()];
        for pair in &self.pairs {
            if let Some((choice, ..)) = self.lookup(round, pair)
                && let Some(list) = of_listing.get_mut(choice.estimate.listing)
            {
                list.push(pair);
            }
        }
        for ((listing, machines), pairs) in
            round.market.listings.iter().zip(&self.machines).zip(&of_listing)
        {
            if !pairs.is_empty() {
                self.opened_rows(round, listing, machines, pairs, &mut rows);
                self.used_rows(round, listing, pairs, &mut rows);
            }
        }
        self.pool_rows(round, &mut rows);
        rows
    }

    /// A job goes to one offer.
    fn once_rows(&self) -> Vec<good_lp::Constraint> {
        let mut sums: Vec<Expression> = vec![Expression::default(); self.classes.len()];
        for pair in &self.pairs {
            if let Some(sum) = sums.get_mut(pair.class) {
                sum.add_mul(1.0, pair.x);
            }
        }
        sums.into_iter().zip(&self.classes).map(|(sum, c)| sum.leq(f64::from(c.count()))).collect()
    }

    /// Opened machines: their number, and what they hold for each lifetime.
    fn opened_rows(
        &self,
        round: &Round<'_>,
        listing: &Listing<'_>,
        machines: &[Variable],
        pairs: &[&Pair],
        rows: &mut Vec<good_lp::Constraint>,
    ) {
        let shape = &listing.offer.shape;
        rows.push(machines.iter().sum::<Expression>().leq(listing.openable() as f64));
        let whole = [u64::from(shape.gpus) * GPU_UNITS, shape.cpu_milli, shape.memory_mib];
        for bucket in 0..machines.len() {
            let kept: Expression = machines.iter().skip(bucket).sum();
            let mut takes = [(); 3].map(|()| -kept.clone());
            for pair in pairs {
                let Some((choice, nodes, count)) = self.lookup(round, pair) else { continue };
                if choice.bucket < bucket {
                    continue;
                }
                let share = &choice.estimate.share;
                let opened = Self::on_opened(pair, nodes);
                let parts = parts(share, whole);
                for (sum, part) in takes.iter_mut().zip(parts) {
                    sum.add_mul(part, opened.clone());
                }
                if choice.bucket == bucket {
                    rows.push(opened.clone().geq(0.0));
                    let most = most_on_one(&Free::new(shape), share);
                    let widest = parts.into_iter().fold(0.0, f64::max);
                    // Whole jobs fit worse than their sum, and the nodes of a
                    // gang go to distinct machines.
                    let most = if nodes > 1 && count == 1 { 1 } else { most };
                    if f64::from(most) * widest < 1.0 - 1e-9 {
                        rows.push((opened - f64::from(most) * kept.clone()).leq(0.0));
                    }
                }
            }
            rows.extend(takes.into_iter().map(|sum| sum.leq(0.0)));
        }
    }

    /// Machines that others keep running: what is left of all of them together.
    fn used_rows(
        &self,
        round: &Round<'_>,
        listing: &Listing<'_>,
        pairs: &[&Pair],
        rows: &mut Vec<good_lp::Constraint>,
    ) {
        let mut left = [0_u64; 3];
        for (_, free) in &listing.used {
            let of_one = [free_gpu_units(free), free.cpu_milli(), free.memory_mib()];
            for (sum, part) in left.iter_mut().zip(of_one) {
                *sum = sum.saturating_add(part);
            }
        }
        let mut takes = [(); 3].map(|()| Expression::default());
        for pair in pairs {
            if let (Some((choice, ..)), Some(u)) = (self.lookup(round, pair), pair.u) {
                for (sum, part) in takes.iter_mut().zip(parts(&choice.estimate.share, left)) {
                    sum.add_mul(part, u);
                }
            }
        }
        rows.extend(takes.into_iter().map(|sum| sum.leq(1.0)));
    }

    /// What each pool has over all its machines.
    fn pool_rows(&self, round: &Round<'_>, rows: &mut Vec<good_lp::Constraint>) {
        for (name, limit) in &round.market.limits {
            let gpus = limit.gpus.map(|gpus| u64::from(gpus) * GPU_UNITS);
            let whole = [gpus.unwrap_or(0), limit.cpu_milli, limit.memory_mib];
            let mut takes = [(); 3].map(|()| Expression::default());
            for pair in &self.pairs {
                let Some((choice, nodes, _)) = self.lookup(round, pair) else { continue };
                let listing = round.market.listings.get(choice.estimate.listing);
                if listing.is_some_and(|listing| listing.offer.key.pool == **name) {
                    for (sum, part) in takes.iter_mut().zip(parts(&choice.estimate.share, whole)) {
                        sum.add_mul(part * f64::from(nodes), pair.x);
                    }
                }
            }
            let first = usize::from(gpus.is_none());
            rows.extend(takes.into_iter().skip(first).map(|sum| sum.leq(1.0)));
        }
    }

    /// A draft as values of the columns.
    fn values_of(&self, round: &Round<'_>, draft: &Draft) -> Vec<(Variable, f64)> {
        let mut opened: BTreeMap<(usize, Target), usize> = BTreeMap::new();
        let mut values = Vec::new();
        for pair in &self.pairs {
            let Some((choice, ..)) = self.lookup(round, pair) else { continue };
            let at = choice.estimate.listing;
            let (mut x, mut u) = (0.0, 0.0);
            let members = self.classes.get(pair.class).map_or(&[][..], |class| &class.members);
            for seat in members.iter().filter_map(|m| draft.seats.get(*m)?.as_ref()) {
                if seat.choice != pair.choice {
                    continue;
                }
                x += 1.0;
                for target in &seat.targets {
                    if is_used(round, at, target) {
                        u += 1.0;
                    } else {
                        let bucket = opened.entry((at, *target)).or_insert(choice.bucket);
                        *bucket = (*bucket).max(choice.bucket);
                    }
                }
            }
            values.push((pair.x, x));
            values.extend(pair.u.map(|column| (column, u)));
        }
        for (at, machines) in self.machines.iter().enumerate() {
            for (bucket, n) in machines.iter().enumerate() {
                let count = opened.iter().filter(|((l, _), b)| *l == at && **b == bucket).count();
                values.push((*n, count as f64));
            }
        }
        values
    }

    /// Hands the counted choices to the members of each class, in their order.
    fn read(&self, round: &Round<'_>, solution: &impl Solution) -> Vec<Option<usize>> {
        let mut choices = vec![None; round.cases.len()];
        let mut next = vec![0_usize; self.classes.len()];
        for pair in &self.pairs {
            let (Some(class), Some(next)) =
                (self.classes.get(pair.class), next.get_mut(pair.class))
            else {
                continue;
            };
            // A count between 0 and u32::MAX; a value that is no number becomes 0.
            let count = solution.value(pair.x).round() as u32;
            for member in class.members.iter().skip(*next).take(count as usize) {
                if let Some(choice) = choices.get_mut(*member) {
                    *choice = Some(pair.choice);
                }
            }
            *next += count as usize;
        }
        choices
    }
}

/// GPU units, CPU and memory of a share as parts of `whole`; more than all of
/// it where there is none.
fn parts(share: &Share, whole: [u64; 3]) -> [f64; 3] {
    let takes = [gpu_units(share), share.cpu_milli, share.memory_mib];
    std::array::from_fn(|i| match (takes.get(i), whole.get(i)) {
        (Some(0), _) => 0.0,
        (Some(take), Some(whole)) if *whole > 0 => *take as f64 / *whole as f64,
        _ => 2.0,
    })
}

/// Machines with work on them that hold a share.
fn holding(listing: &Listing<'_>, share: &Share) -> u64 {
    listing.used.iter().filter(|(_, free)| free.clone().take(share)).count() as u64
}

/// How many of a share alone fit a machine.
fn most_on_one(free: &Free, share: &Share) -> u32 {
    let mut free = free.clone();
    let mut most = 0;
    // A share without CPU, memory and GPU would fit for ever.
    while most < 10_000 && free.take(share) {
        most += 1;
    }
    most
}

/// GPU units left on a machine: whole GPUs, and room on one that carries slices
/// already.
fn free_gpu_units(free: &Free) -> u64 {
    const PROFILES: [MigProfile; 6] = [
        MigProfile::G1,
        MigProfile::G1Double,
        MigProfile::G2,
        MigProfile::G3,
        MigProfile::G4,
        MigProfile::G7,
    ];
    let whole = u64::from(most_on_one(free, &Share { gpus: 1, ..Share::default() }));
    let sliced = PROFILES.into_iter().map(|profile| {
        let share = Share { mig: Some(profile), ..Share::default() };
        u64::from(most_on_one(free, &share)) * gpu_units(&share)
    });
    sliced.fold(whole * GPU_UNITS, u64::max)
}
