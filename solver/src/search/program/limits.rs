//! Limits on machines as rows of the program: what all new machines take together.

use good_lp::{Constraint, Expression, ProblemVariables, Variable, variable};

use crate::statement::round::Round;

/// By listing: new machines, where some of those that are opened are idle ones.
pub(super) struct LimitColumns {
    bought: Vec<Option<Variable>>,
}

impl LimitColumns {
    pub(super) fn new(round: &Round<'_>, variables: &mut ProblemVariables) -> Self {
        let listings = round.market.listings.iter().map(|listing| {
            let idle = !listing.takings.is_empty() && !listing.idle.is_empty();
            idle.then(|| variables.add(variable().min(0)))
        });
        Self { bought: listings.collect() }
    }

    /// No limit is exceeded; whatever is opened beyond the idle machines is bought.
    pub(super) fn rows(
        &self,
        round: &Round<'_>,
        machines: &[Vec<Variable>],
        rows: &mut Vec<Constraint>,
    ) {
        let opened = |at: usize| machines.get(at).into_iter().flatten().sum::<Expression>();
        let bought = self.bought.iter().enumerate();
        for (at, bought) in bought.filter_map(|(at, bought)| Some((at, (*bought)?))) {
            let idle = round.market.listings.get(at).map_or(0, |listing| listing.idle.len());
            rows.push((opened(at) - bought).leq(idle as f64));
        }
        for limit in &round.market.machine_limits {
            let mut sum = Expression::default();
            // As parts of the limit: what it counts may be millions.
            let left = limit.state.left().max(1) as f64;
            for (at, takes) in &limit.takes {
                let part = *takes as f64 / left;
                match self.bought.get(*at).copied().flatten() {
                    Some(bought) => sum.add_mul(part, bought),
                    None => sum.add_mul(part, opened(*at)),
                }
            }
            rows.push(sum.leq(limit.state.left() as f64 / left));
        }
    }

    /// The columns' values where so many machines of a listing are opened.
    pub(super) fn values(
        &self,
        round: &Round<'_>,
        opened: impl Fn(usize) -> usize,
    ) -> impl Iterator<Item = (Variable, f64)> {
        let bought = self.bought.iter().enumerate();
        bought.filter_map(move |(at, bought)| {
            let idle = round.market.listings.get(at)?.idle.len();
            Some(((*bought)?, opened(at).saturating_sub(idle) as f64))
        })
    }
}
