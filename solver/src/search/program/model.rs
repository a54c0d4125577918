//! The columns and rows of the program, and the way back from its values.

use std::collections::BTreeMap;

use good_lp::{Expression, ProblemVariables, Solution, Variable, variable};
use spotwise_model::Share;
use spotwise_model::plan::Target;
use spotwise_model::resources::{Free, GPU_UNITS};

use super::classes::{Class, classes};
use super::limits::LimitColumns;
use crate::room::draft::{Draft, is_used};
use crate::room::pools::Need;
use crate::statement::demand::{Candidate, JobDemand};
use crate::statement::market::{Listing, most_on_one};
use crate::statement::prices::{BESIDE, PLAIN, RESOURCES, left_of, parts, pool_left, takes, whole};
use crate::statement::round::Round;

/// The columns of a class on one of its candidates.
struct Column {
    class: usize,
    candidate: usize,
    x: Variable,
    u: Option<Variable>,
}

pub(super) struct Model {
    pub(super) variables: ProblemVariables,
    pub(super) objective: Expression,
    classes: Vec<Class>,
    columns: Vec<Column>,
    /// By listing, then by bucket.
    machines: Vec<Vec<Variable>>,
    limits: LimitColumns,
}

impl Model {
    pub(super) fn new(round: &Round<'_>) -> Self {
        let mut variables = ProblemVariables::new();
        let mut objective = Expression::default();
        let classes = classes(round);
        let mut columns = Vec::new();
        let mut wanted = vec![0_u64; round.market.listings.len()];
        for (class_at, class) in classes.iter().enumerate() {
            let Some(demand) = round.demands.get(class.lead()) else { continue };
            for (candidate_at, candidate) in demand.candidates.iter().enumerate() {
                let Some(listing) = round.market.listings.get(candidate.listing()) else {
                    continue;
                };
                let nodes = u64::from(demand.nodes) * u64::from(class.count());
                let x = variables.add(variable().integer().min(0).max(class.count()));
                objective.add_mul(candidate.extra() - demand.wait, x);
                let request = demand.request(candidate);
                let holding = holding(listing, &request.share);
                let u = (holding > 0).then(|| {
                    // The nodes of one job go to distinct machines.
                    let most = if demand.nodes > 1 {
                        nodes.min(holding * u64::from(class.count()))
                    } else {
                        nodes
                    };
                    variables.add(variable().integer().min(0).max(most as f64))
                });
                if let Some(u) = u {
                    objective.add_mul(round.share_cost(&request), u);
                }
                if let Some(wanted) = wanted.get_mut(candidate.listing()) {
                    *wanted += nodes;
                }
                columns.push(Column { class: class_at, candidate: candidate_at, x, u });
            }
        }
        let machines: Vec<Vec<Variable>> = round
            .market
            .listings
            .iter()
            .zip(&round.lifetimes)
            .zip(wanted)
            .map(|((listing, lives), wanted)| {
                let most = listing.openable().min(wanted) as f64;
                lives
                    .iter()
                    .map(|life| {
                        let n = variables.add(variable().integer().min(0).max(most));
                        objective.add_mul(listing.marginal(*life), n);
                        n
                    })
                    .collect()
            })
            .collect();
        let limits = LimitColumns::new(round, &mut variables);
        Self { variables, objective, classes, columns, machines, limits }
    }

    fn lookup<'r, 'a>(
        &self,
        round: &'r Round<'a>,
        column: &Column,
    ) -> Option<(&'r JobDemand<'a>, &'r Candidate, u32)> {
        let class = self.classes.get(column.class)?;
        let demand = round.demands.get(class.lead())?;
        Some((demand, demand.candidates.get(column.candidate)?, class.count()))
    }

    /// Nodes of a candidate on machines opened in this round.
    fn on_opened(column: &Column, nodes: u32) -> Expression {
        let mut nodes_opened = Expression::default();
        nodes_opened.add_mul(f64::from(nodes), column.x);
        if let Some(u) = column.u {
            nodes_opened.add_mul(-1.0, u);
        }
        nodes_opened
    }

    pub(super) fn rows(&self, round: &Round<'_>) -> Vec<good_lp::Constraint> {
        let mut rows = self.once_rows();
        let mut of_listing: Vec<Vec<&Column>> = vec![Vec::new(); self.machines.len()];
        for column in &self.columns {
            if let Some((_, candidate, _)) = self.lookup(round, column)
                && let Some(list) = of_listing.get_mut(candidate.listing())
            {
                list.push(column);
            }
        }
        for ((listing, machines), columns) in
            round.market.listings.iter().zip(&self.machines).zip(&of_listing)
        {
            if !columns.is_empty() {
                self.opened_rows(round, listing, machines, columns, &mut rows);
                self.used_rows(round, listing, columns, &mut rows);
            }
        }
        self.pool_rows(round, &mut rows);
        self.kept_rows(round, &mut rows);
        self.limits.rows(round, &self.machines, &mut rows);
        rows
    }

    /// A job goes to one offer.
    fn once_rows(&self) -> Vec<good_lp::Constraint> {
        let mut sums: Vec<Expression> = vec![Expression::default(); self.classes.len()];
        for column in &self.columns {
            if let Some(sum) = sums.get_mut(column.class) {
                sum.add_mul(1.0, column.x);
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
        columns: &[&Column],
        rows: &mut Vec<good_lp::Constraint>,
    ) {
        let shape = &listing.offer.shape;
        rows.push(machines.iter().sum::<Expression>().leq(listing.openable() as f64));
        let told = told::<RESOURCES>(self.takes_slices(round, columns));
        let whole = whole::<RESOURCES>(listing);
        for bucket in 0..machines.len() {
            let kept: Expression = machines.iter().skip(bucket).sum();
            let mut sums = [(); RESOURCES].map(|()| -kept.clone());
            for column in columns {
                let Some((demand, candidate, count)) = self.lookup(round, column) else { continue };
                if candidate.bucket() < bucket {
                    continue;
                }
                let (nodes, share) = (demand.nodes, &demand.share(candidate));
                let opened = Self::on_opened(column, nodes);
                let parts = parts(takes(share, shape), whole);
                for (sum, part) in sums.iter_mut().zip(parts) {
                    sum.add_mul(part, opened.clone());
                }
                if candidate.bucket() == bucket {
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
            let sums = sums.into_iter().zip(told).filter(|(_, told)| *told);
            rows.extend(sums.map(|(sum, _)| sum.leq(0.0)));
        }
    }

    /// Machines that others keep running: what is left of all of them together.
    fn used_rows(
        &self,
        round: &Round<'_>,
        listing: &Listing<'_>,
        columns: &[&Column],
        rows: &mut Vec<good_lp::Constraint>,
    ) {
        let mut left = [0_u64; BESIDE];
        for (_, free) in &listing.used {
            for (sum, part) in left.iter_mut().zip(left_of::<BESIDE>(free)) {
                *sum = sum.saturating_add(part);
            }
        }
        let mut sums = [(); BESIDE].map(|()| Expression::default());
        for column in columns {
            if let (Some((demand, candidate, _)), Some(u)) = (self.lookup(round, column), column.u)
            {
                let takes = takes(&demand.share(candidate), &listing.offer.shape);
                for (sum, part) in sums.iter_mut().zip(parts(takes, left)) {
                    sum.add_mul(part, u);
                }
            }
        }
        let told = told::<BESIDE>(self.takes_slices(round, columns));
        let sums = sums.into_iter().zip(told).filter(|(_, told)| *told);
        rows.extend(sums.map(|(sum, _)| sum.leq(1.0)));
    }

    /// Whether any of the columns is of slices.
    fn takes_slices(&self, round: &Round<'_>, columns: &[&Column]) -> bool {
        let share = |column: &&Column| {
            self.lookup(round, column).map(|(demand, candidate, _)| demand.share(candidate))
        };
        columns.iter().filter_map(share).any(|share| share.mig.is_some())
    }

    /// What each pool has over all its machines.
    fn pool_rows(&self, round: &Round<'_>, rows: &mut Vec<good_lp::Constraint>) {
        for (name, limit) in &round.market.limits {
            let gpus = limit.gpus.map(|gpus| u64::from(gpus) * GPU_UNITS);
            let whole = pool_left::<RESOURCES>(limit, gpus.unwrap_or(0));
            let mut sums = [(); RESOURCES].map(|()| Expression::default());
            let mut slices = false;
            for column in &self.columns {
                let Some((demand, candidate, _)) = self.lookup(round, column) else { continue };
                let listing = round.market.listings.get(candidate.listing());
                slices |= demand.takes_slice();
                if let Some(listing) = listing.filter(|l| l.offer.key.pool == **name) {
                    let takes = takes(&demand.share(candidate), &listing.offer.shape);
                    for (sum, part) in sums.iter_mut().zip(parts(takes, whole)) {
                        sum.add_mul(part * f64::from(demand.nodes), column.x);
                    }
                }
            }
            let first = if gpus.is_none() { RESOURCES - 2 } else { 0 };
            let sums = sums.into_iter().zip(told::<RESOURCES>(slices)).skip(first);
            rows.extend(sums.filter(|(_, told)| *told).map(|(sum, _)| sum.leq(1.0)));
        }
    }

    /// What each pool keeps for jobs that go before others: whoever stays that long fits
    /// beside it.
    fn kept_rows(&self, round: &Round<'_>, rows: &mut Vec<good_lp::Constraint>) {
        if round.reserved.kept.is_empty() {
            return;
        }
        for name in round.market.limits.keys() {
            for point in round.reserved.points(round, name) {
                let mut sums = vec![Expression::default(); Need::MEASURES];
                for column in &self.columns {
                    let Some((demand, candidate, _)) = self.lookup(round, column) else { continue };
                    let listing = round.market.listings.get(candidate.listing());
                    let request = demand.request(candidate);
                    let Some(listing) = listing.filter(|l| l.offer.key.pool == **name) else {
                        continue;
                    };
                    if point.counts(&request) {
                        let need = Need::of(&request.share, &listing.offer.shape, request.nodes);
                        let parts = point.left.parts(&need);
                        for (sum, part) in sums.iter_mut().zip(parts).filter(|(_, p)| *p > 0.0) {
                            sum.add_mul(part, column.x);
                        }
                    }
                }
                rows.extend(sums.into_iter().map(|sum| sum.leq(1.0)));
            }
        }
    }

    /// A draft as values of the columns.
    pub(super) fn values_of(&self, round: &Round<'_>, draft: &Draft) -> Vec<(Variable, f64)> {
        let mut opened: BTreeMap<(usize, Target), usize> = BTreeMap::new();
        let mut values = Vec::new();
        for column in &self.columns {
            let Some((_, candidate, _)) = self.lookup(round, column) else { continue };
            let at = candidate.listing();
            let (mut x, mut u) = (0.0, 0.0);
            let members = self.classes.get(column.class).map_or(&[][..], |class| &class.members);
            for assignment in members.iter().filter_map(|m| draft.assignments.get(*m)?.as_ref()) {
                if assignment.candidate != column.candidate {
                    continue;
                }
                x += 1.0;
                for target in &assignment.targets {
                    if is_used(round, at, target) {
                        u += 1.0;
                    } else {
                        let bucket = opened.entry((at, *target)).or_insert(candidate.bucket());
                        *bucket = (*bucket).max(candidate.bucket());
                    }
                }
            }
            values.push((column.x, x));
            values.extend(column.u.map(|column| (column, u)));
        }
        for (at, machines) in self.machines.iter().enumerate() {
            for (bucket, n) in machines.iter().enumerate() {
                let count = opened.iter().filter(|((l, _), b)| *l == at && **b == bucket).count();
                values.push((*n, count as f64));
            }
        }
        let count = |at: usize| opened.keys().filter(|(listing, _)| *listing == at).count();
        values.extend(self.limits.values(round, count));
        values
    }

    /// Hands the counted choices to the members of each class, in their order.
    pub(super) fn read(&self, round: &Round<'_>, solution: &impl Solution) -> Vec<Option<usize>> {
        let mut candidates = vec![None; round.demands.len()];
        let mut next = vec![0_usize; self.classes.len()];
        for column in &self.columns {
            let (Some(class), Some(next)) =
                (self.classes.get(column.class), next.get_mut(column.class))
            else {
                continue;
            };
            // A count between 0 and u32::MAX; a value that is no number becomes 0.
            let count = solution.value(column.x).round() as u32;
            for member in class.members.iter().skip(*next).take(count as usize) {
                if let Some(candidate) = candidates.get_mut(*member) {
                    *candidate = Some(column.candidate);
                }
            }
            *next += count as usize;
        }
        candidates
    }
}

/// Which of so many resources are worth a row: without slices all measures of GPUs
/// say the same.
fn told<const N: usize>(slices: bool) -> [bool; N] {
    std::array::from_fn(|r| slices || r == 0 || r + PLAIN > N)
}

/// Machines with work on them that hold a share.
fn holding(listing: &Listing<'_>, share: &Share) -> u64 {
    listing.used.iter().filter(|(_, free)| free.clone().take(share)).count() as u64
}
