//! The cheapest place for one job in the room that is left.

use super::machines::Room;
use super::slot::Fit;
use crate::statement::ask::{Ask, Want};

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
