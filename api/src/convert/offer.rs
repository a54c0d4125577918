//! Offers and alternatives as rows.

use jiff::Timestamp;
use spotwise_model::plan::Alternative;
use spotwise_model::{Money, Offer, OfferKey, PaidFor};

use super::time_text;
use crate::v1;

/// An offer, of which `held` machines are ours.
pub fn offer_view(offer: &Offer, held: u32) -> v1::OfferView {
    v1::OfferView {
        pool: offer.key.pool.to_string(),
        zone: offer.key.market.zone.to_string(),
        instance_type: offer.key.market.instance_type.to_string(),
        capacity_type: offer.key.market.capacity_type.to_string(),
        accelerator: offer.shape.accelerator.as_ref().map(ToString::to_string).unwrap_or_default(),
        gpus: offer.shape.gpus,
        cpus: offer.shape.cpu_milli as f64 / 1_000.0,
        memory_mib: offer.shape.memory_mib,
        price_micros_per_hour: offer.price.micros_per_hour(),
        on_demand_micros_per_hour: offer.on_demand.micros_per_hour(),
        free: offer.free.counted().unwrap_or(0),
        free_unknown: offer.free.counted().is_none(),
        held,
        hazard_per_hour: offer.hazard_per_hour,
        spell_since: time_text(offer.spell_since),
        commitment: next_paid(offer).map(|paid| paid.commitment.clone()).unwrap_or_default(),
        paid_until: offer.paid_until().map(time_text).unwrap_or_default(),
        ..v1::OfferView::default()
    }
}

/// The commitment whose machine is given next.
fn next_paid(offer: &Offer) -> Option<&PaidFor> {
    offer.paid_for.iter().find(|paid| paid.free > 0).or(offer.paid_for.first())
}

/// Another place for a job, with what it would have cost.
pub fn alternative(alternative: &Alternative) -> v1::Alternative {
    let reason = alternative.why_not.as_ref().map(ToString::to_string).unwrap_or_default();
    alternative_of(&alternative.offer, alternative.expected_cost, alternative.finish, &reason)
}

/// A place for a job; `reason` is empty for the chosen one.
pub fn alternative_of(
    offer: &OfferKey,
    expected: Money,
    finish: Timestamp,
    reason: &str,
) -> v1::Alternative {
    v1::Alternative {
        pool: offer.pool.to_string(),
        zone: offer.market.zone.to_string(),
        instance_type: offer.market.instance_type.to_string(),
        capacity_type: offer.market.capacity_type.to_string(),
        expected_micros: expected.micros(),
        finish: time_text(finish),
        why_not: reason.to_owned(),
    }
}
