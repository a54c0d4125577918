//! One job after the other in a fixed order, each on what costs least then:
//! the warm start, the fallback and the baseline of the integer program.

use crate::room::{Draft, Fit, Room, Seat};
use crate::round::{Ask, Round, Want};

/// Places every job that gains by it, in the round's order.
pub(crate) fn greedy(round: &Round<'_>) -> Draft {
    let mut draft = Draft::empty(round);
    let mut room = Room::new(round);
    fill(round, &mut room, &mut draft);
    draft
}

/// Places the jobs of `draft` that have no seat yet, as far as `room` goes.
/// Ties go to the choice that comes first: offers are in the order of their keys.
pub(crate) fn fill(round: &Round<'_>, room: &mut Room<'_, '_>, draft: &mut Draft) {
    fill_in(round, room, draft, &round.order);
}

/// The same in another order.
pub(crate) fn fill_in(
    round: &Round<'_>,
    room: &mut Room<'_, '_>,
    draft: &mut Draft,
    order: &[usize],
) {
    // Room only becomes less: where a job found none, one like it finds none, unless that
    // has room of its own.
    let mut failed = vec![false; round.twins.classes()];
    for at in order {
        let (Some(ask), Some(seat)) = (round.asks.get(*at), draft.seats.get_mut(*at)) else {
            continue;
        };
        let Some(failed) = failed.get_mut(round.twins.class_of(*at)) else { continue };
        if seat.is_some() || (*failed && round.reserved.of(*at).is_none()) {
            continue;
        }
        match cheapest(ask, room) {
            Found::Best(pair, want, fit) => {
                *seat = Some(Seat { pair, targets: room.take(&want, &fit) });
            }
            Found::Dearer => {}
            Found::Nothing => *failed = true,
        }
    }
}

/// What a job finds.
pub(crate) enum Found {
    /// The cheapest of its pairs that fits and is better than waiting.
    Best(usize, Want, Fit),
    /// What may fit is no better than waiting.
    Dearer,
    /// Nothing fits.
    Nothing,
}

/// Looks for a job's place.
pub(crate) fn cheapest(ask: &Ask<'_>, room: &Room<'_, '_>) -> Found {
    let mut best: Option<(usize, Want, Fit)> = None;
    let mut dearer = false;
    for (index, pair) in ask.pairs.iter().enumerate() {
        let bar = best.as_ref().map_or(ask.wait, |(.., fit)| fit.cost);
        if pair.extra() >= bar {
            dearer = true;
            continue;
        }
        let want = ask.want(pair);
        match room.fit(&want) {
            Some(fit) if fit.cost < bar => best = Some((index, want, fit)),
            Some(_) => dearer = true,
            None => {}
        }
    }
    match best {
        Some((pair, want, fit)) => Found::Best(pair, want, fit),
        None if dearer => Found::Dearer,
        None => Found::Nothing,
    }
}
