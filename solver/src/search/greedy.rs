//! One job after the other in a fixed order, each on what costs least then:
//! the warm start, the fallback and the baseline of the integer program.

use crate::room::cheapest::{Found, cheapest};
use crate::room::draft::{Assignment, Draft};
use crate::room::machines::Room;
use crate::statement::round::Round;

/// Places every job that gains by it, in the round's order.
pub(crate) fn greedy(round: &Round<'_>) -> Draft {
    let mut draft = Draft::empty(round);
    let mut room = Room::new(round);
    fill(round, &mut room, &mut draft);
    draft
}

/// Places the jobs of `draft` that have no machines yet, as far as `room` goes.
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
    let mut failed = vec![false; round.identical.classes()];
    for at in order {
        let (Some(demand), Some(assignment)) =
            (round.demands.get(*at), draft.assignments.get_mut(*at))
        else {
            continue;
        };
        let Some(failed) = failed.get_mut(round.identical.class_of(*at)) else { continue };
        if assignment.is_some() || (*failed && round.reserved.of(*at).is_none()) {
            continue;
        }
        match cheapest(demand, room) {
            Found::Best(candidate, request, fit) => {
                *assignment = Some(Assignment { candidate, targets: room.take(&request, &fit) });
            }
            Found::Dearer => {}
            Found::Nothing => *failed = true,
        }
    }
}
