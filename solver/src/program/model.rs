//! The columns and rows of the program, and the way back from its values.

use std::collections::BTreeMap;

use good_lp::{Expression, ProblemVariables, Solution, Variable, variable};
use spotwise_model::plan::Target;
use spotwise_model::resources::Free;
use spotwise_model::{Share, gpu::MigProfile};

use crate::choice::{Choice, Round};
use crate::market::{GPU_UNITS, Listing, gpu_units};
use crate::room::{Draft, is_used};

/// Jobs that differ in nothing that the program sees.
pub(super) struct Class {
    members: Vec<usize>,
}

impl Class {
    pub(super) fn lead(&self) -> usize {
        self.members.first().copied().unwrap_or(usize::MAX)
    }

    fn count(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }
}

/// Groups the cases that have any choice, members in the round's order.
pub(super) fn classes(round: &Round<'_>) -> Vec<Class> {
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

pub(super) struct Model {
    pub(super) variables: ProblemVariables,
    pub(super) objective: Expression,
    classes: Vec<Class>,
    pairs: Vec<Pair>,
    /// By listing, then by bucket.
    machines: Vec<Vec<Variable>>,
}

impl Model {
    pub(super) fn new(round: &Round<'_>) -> Self {
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

    pub(super) fn rows(&self, round: &Round<'_>) -> Vec<good_lp::Constraint> {
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
    pub(super) fn values_of(&self, round: &Round<'_>, draft: &Draft) -> Vec<(Variable, f64)> {
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
    pub(super) fn read(&self, round: &Round<'_>, solution: &impl Solution) -> Vec<Option<usize>> {
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
