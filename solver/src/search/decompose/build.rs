//! From prices to a plan: the longest jobs first, each where it is cheapest
//! under the prices, as long as there is room; then what is left over.

use super::scene::Scene;
use crate::room::draft::{Draft, Seat};
use crate::room::machines::Room;
use crate::room::slot::Fit;
use crate::search::greedy::fill_in;
use crate::statement::ask::Want;
use crate::statement::prices::Prices;
use crate::statement::round::Round;

/// Builds a plan along prices.
pub(crate) fn build(round: &Round<'_>, scene: &Scene<'_, '_>, prices: &Prices) -> Draft {
    let table = scene.table(prices);
    let mut room = Room::new(round);
    let mut draft = Draft::empty(round);
    let mut dollars = Vec::new();
    // Room only becomes less: what finds none leaves none to those like it, unless they
    // have room of their own.
    let mut failed = vec![false; round.twins.classes()];
    for at in longest_first(round) {
        let Some(failed) = failed.get_mut(round.twins.class_of(at)) else { continue };
        if *failed && round.reserved.of(at).is_none() {
            continue;
        }
        let (Some(ask), Some(seat)) = (round.asks.get(at), draft.seats.get_mut(at)) else {
            continue;
        };
        scene.offered(&table, prices, at, ask, &mut dollars);
        let mut best: Option<(usize, Want, Fit)> = None;
        let mut bar = ask.wait;
        for ((index, pair), dollars) in ask.pairs.iter().enumerate().zip(&dollars) {
            if *dollars >= bar {
                continue;
            }
            let want = ask.want(pair);
            if let Some(fit) = room.fit(&want) {
                bar = *dollars;
                best = Some((index, want, fit));
            }
        }
        if let Some((pair, want, fit)) = best {
            *seat = Some(Seat { pair, targets: room.take(&want, &fit) });
        } else {
            *failed = true;
        }
    }
    fill_in(round, &mut room, &mut draft, &dearest_first(round, scene));
    draft
}

/// By the mean of its hours, ties by index.
fn longest_first(round: &Round<'_>) -> Vec<usize> {
    let hours = |at: &usize| {
        let pairs = round.asks.get(*at).map_or(&[][..], |ask| &*ask.pairs);
        pairs.iter().map(crate::statement::ask::Pair::hours).sum::<f64>()
            / pairs.len().max(1) as f64
    };
    sorted_down(round, hours)
}

/// By what waiting costs a part of a machine.
fn dearest_first(round: &Round<'_>, scene: &Scene<'_, '_>) -> Vec<usize> {
    let worth = |at: &usize| {
        let ask = round.asks.get(*at)?;
        Some(ask.wait / scene.factor(*at, ask.pairs.first()?).max(1e-9))
    };
    sorted_down(round, |at| worth(at).unwrap_or(0.0))
}

fn sorted_down(round: &Round<'_>, key: impl Fn(&usize) -> f64) -> Vec<usize> {
    let mut keys: Vec<(f64, usize)> = (0..round.asks.len()).map(|at| (key(&at), at)).collect();
    keys.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    keys.into_iter().map(|(_, at)| at).collect()
}
