//! One job after the other in a fixed order, each on what costs least then:
//! the warm start, the fallback and the baseline of the integer program.

use crate::room::{Draft, Fit, Room, Seat};
use crate::round::{Round, Want};

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
    for at in order {
        let (Some(ask), Some(seat)) = (round.asks.get(*at), draft.seats.get_mut(*at)) else {
            continue;
        };
        if seat.is_some() {
            continue;
        }
        let mut best: Option<(usize, Want, Fit)> = None;
        for (index, pair) in ask.pairs.iter().enumerate() {
            let bar = best.as_ref().map_or(ask.wait, |(.., fit)| fit.cost);
            if pair.extra() >= bar {
                continue;
            }
            let want = ask.want(pair);
            match room.fit(&want) {
                Some(fit) if fit.cost < bar => best = Some((index, want, fit)),
                _ => {}
            }
        }
        if let Some((pair, want, fit)) = best {
            *seat = Some(Seat { pair, targets: room.take(&want, &fit) });
        }
    }
}
