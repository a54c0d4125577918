//! The program's choices are put on machines.

use super::greedy::fill;
use crate::room::draft::{Assignment, Draft, objective};
use crate::room::machines::Room;
use crate::statement::demand::{Candidate, JobDemand};
use crate::statement::market::fraction;
use crate::statement::round::Round;

/// Puts the program's choices on machines, first-fit decreasing: once the
/// longest jobs first, which nests lifetimes, once the largest first, which
/// packs tighter; what does not fit falls to greedy. The better of both.
pub(crate) fn pack(round: &Round<'_>, candidates: &[Option<usize>]) -> Draft {
    let chosen: Vec<Chosen<'_, '_>> = round
        .order
        .iter()
        .filter_map(|at| {
            let index = (*candidates.get(*at)?)?;
            let demand = round.demands.get(*at)?;
            let candidate = demand.candidates.get(index)?;
            let shape = &round.market.listings.get(candidate.listing())?.offer.shape;
            Some(Chosen {
                at: *at,
                index,
                demand,
                candidate,
                part: fraction(&demand.share(candidate), shape),
            })
        })
        .collect();
    let long_first = pack_in_order(round, chosen.clone(), |c| (c.candidate.hours(), c.part));
    let large_first = pack_in_order(round, chosen, |c| (c.part, c.candidate.hours()));
    if objective(round, &large_first) < objective(round, &long_first) {
        large_first
    } else {
        long_first
    }
}

/// A candidate that the program chose.
#[derive(Clone)]
struct Chosen<'r, 'a> {
    at: usize,
    index: usize,
    demand: &'r JobDemand<'a>,
    candidate: &'r Candidate,
    part: f64,
}

fn pack_in_order(
    round: &Round<'_>,
    mut chosen: Vec<Chosen<'_, '_>>,
    size: impl Fn(&Chosen<'_, '_>) -> (f64, f64),
) -> Draft {
    chosen.sort_by(|a, b| {
        let (a, b) = (size(a), size(b));
        b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1))
    });
    let mut draft = Draft::empty(round);
    let mut room = Room::new(round);
    for one in chosen {
        // Even where the first job on a machine seems to cost more than to wait:
        // the program knows who shares it.
        let request = one.demand.request(one.candidate);
        if let Some(fit) = room.fit(&request)
            && let Some(assignment) = draft.assignments.get_mut(one.at)
        {
            *assignment =
                Some(Assignment { candidate: one.index, targets: room.take(&request, &fit) });
        }
    }
    fill(round, &mut room, &mut draft);
    draft
}
