//! One job after the other in a fixed order, each on what costs least then:
//! the warm start, the fallback and the baseline of the integer program.

use crate::choice::Round;
use crate::room::{Draft, Fit, Room, Seat};

/// Places every job that gains by it, in the round's order.
pub(crate) fn greedy(round: &Round<'_>) -> Draft {
    let mut draft = Draft { seats: vec![None; round.cases.len()] };
    let mut room = Room::new(round);
    fill(round, &mut room, &mut draft);
    draft
}

/// Places the jobs of `draft` that have no seat yet, as far as `room` goes.
/// Ties go to the choice that comes first: offers are in the order of their keys.
pub(crate) fn fill(round: &Round<'_>, room: &mut Room<'_, '_>, draft: &mut Draft) {
    for at in &round.order {
        let (Some(case), Some(seat)) = (round.cases.get(*at), draft.seats.get_mut(*at)) else {
            continue;
        };
        if seat.is_some() {
            continue;
        }
        let mut best: Option<(usize, Fit)> = None;
        for (index, choice) in case.choices.iter().enumerate() {
            let bar = best.as_ref().map_or(case.wait, |(_, fit)| fit.cost);
            if choice.lateness >= bar {
                continue;
            }
            match room.fit(choice, case.nodes) {
                Some(fit) if fit.cost < bar => best = Some((index, fit)),
                _ => {}
            }
        }
        if let Some((index, fit)) = best
            && let Some(choice) = case.choices.get(index)
        {
            let targets = room.take(choice, &fit);
            *seat = Some(Seat { choice: index, targets });
        }
    }
}
