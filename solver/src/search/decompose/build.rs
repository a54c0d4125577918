//! From prices to a plan: the longest jobs first, each where it is cheapest
//! under the prices, as long as there is room; then what is left over.

use super::lagrangian::Lagrangian;
use crate::room::draft::{Assignment, Draft};
use crate::room::machines::Room;
use crate::room::slot::Fit;
use crate::search::greedy::fill_in;
use crate::statement::demand::Request;
use crate::statement::prices::Prices;
use crate::statement::round::Round;

/// Builds a plan along prices.
pub(crate) fn build(round: &Round<'_>, lagrangian: &Lagrangian<'_, '_>, prices: &Prices) -> Draft {
    let table = lagrangian.table(prices);
    let mut room = Room::new(round);
    let mut draft = Draft::empty(round);
    let mut dollars = Vec::new();
    // Room only becomes less: what finds none leaves none to those like it, unless they
    // have room of their own.
    let mut failed = vec![false; round.identical.classes()];
    for at in longest_first(round) {
        let Some(failed) = failed.get_mut(round.identical.class_of(at)) else { continue };
        if *failed && round.reserved.of(at).is_none() {
            continue;
        }
        let (Some(demand), Some(assignment)) =
            (round.demands.get(at), draft.assignments.get_mut(at))
        else {
            continue;
        };
        lagrangian.offered(&table, prices, at, demand, &mut dollars);
        let mut best: Option<(usize, Request, Fit)> = None;
        let mut bar = demand.wait;
        for ((index, candidate), dollars) in demand.candidates.iter().enumerate().zip(&dollars) {
            if *dollars >= bar {
                continue;
            }
            let request = demand.request(candidate);
            if let Some(fit) = room.fit(&request) {
                bar = *dollars;
                best = Some((index, request, fit));
            }
        }
        if let Some((candidate, request, fit)) = best {
            *assignment = Some(Assignment { candidate, targets: room.take(&request, &fit) });
        } else {
            *failed = true;
        }
    }
    fill_in(round, &mut room, &mut draft, &dearest_first(round, lagrangian));
    draft
}

/// By the mean of its hours, ties by index.
fn longest_first(round: &Round<'_>) -> Vec<usize> {
    let hours = |at: &usize| {
        let candidates = round.demands.get(*at).map_or(&[][..], |demand| &*demand.candidates);
        candidates.iter().map(crate::statement::demand::Candidate::hours).sum::<f64>()
            / candidates.len().max(1) as f64
    };
    sorted_down(round, hours)
}

/// By what waiting costs a part of a machine.
fn dearest_first(round: &Round<'_>, lagrangian: &Lagrangian<'_, '_>) -> Vec<usize> {
    let worth = |at: &usize| {
        let demand = round.demands.get(*at)?;
        Some(demand.wait / lagrangian.factor(*at, demand.candidates.first()?).max(1e-9))
    };
    sorted_down(round, |at| worth(at).unwrap_or(0.0))
}

fn sorted_down(round: &Round<'_>, key: impl Fn(&usize) -> f64) -> Vec<usize> {
    let mut keys: Vec<(f64, usize)> = (0..round.demands.len()).map(|at| (key(&at), at)).collect();
    keys.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    keys.into_iter().map(|(_, at)| at).collect()
}
