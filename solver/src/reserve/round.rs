//! A round with the room that is kept in it.

use spotwise_model::plan::Reservation;

use super::reserve;
use crate::statement::demand::JobDemand;
use crate::statement::input::PlanInput;
use crate::statement::market::Market;
use crate::statement::round::Round;
use crate::statement::scarcity::{self, Scarcity};

impl<'a> Round<'a> {
    pub(crate) fn new(input: &'a PlanInput) -> Self {
        Self::priced(input, &[], scarcity::price)
    }

    /// With room that is kept already, and with the prices of later machines that are
    /// given.
    pub(crate) fn priced(
        input: &'a PlanInput,
        kept: &[Reservation],
        price: impl Fn(&PlanInput, &Market<'_>, &[JobDemand<'_>]) -> Scarcity,
    ) -> Self {
        let mut round = Self::unreserved(input, price);
        round.reserved = reserve(&round, kept);
        round
    }
}
