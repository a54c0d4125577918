//! The scheduler itself and the market it sees.

use spotwise_api::convert::{offer_view, time_text};
use spotwise_api::v1;
use spotwise_model::{JobState, Money, Now, Offer};

use super::bands::bands;
use super::{Service, ServiceError, limits};
use spotwise_control::core::State;
use spotwise_control::view::offers::held;

impl Service {
    /// What is running here, and its condition.
    pub async fn info(&self) -> Result<v1::InfoResponse, ServiceError> {
        let live = self.all_live().await?;
        let config = self.parts.config.clone();
        let seen = move |state: &State, now: Now| {
            let bands = bands(state, &config.control.policy, now.market);
            (state.seen.last_plan.clone(), state.seen.counts, bands)
        };
        let (last_plan, counts, bands) = self.parts.handle.ask(seen).await?;
        let count = |wanted: fn(&JobState) -> bool| {
            let jobs = live.state.jobs.values().filter(|job| wanted(&job.state));
            u32::try_from(jobs.count()).unwrap_or(u32::MAX)
        };
        let owned = live.accrued_entries().iter().filter(|entry| entry.attempt.is_some());
        let accrued: Money = owned.map(|entry| entry.amount).sum();
        Ok(v1::InfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            market_time: time_text(live.now.market),
            wall_time: time_text(live.now.wall),
            speed: self.parts.config.control.speed,
            market: self.parts.market_name.clone(),
            simulated_accelerators: self.parts.config.simulate_accelerators,
            jobs_waiting: count(|state| matches!(state, JobState::Waiting { .. })),
            jobs_active: count(|state| matches!(state, JobState::Active { .. })),
            jobs_held: count(|state| matches!(state, JobState::Held { .. })),
            spent_micros: live.state.settled_total.saturating_add(accrued).micros(),
            last_event: live.state.last_event,
            last_plan,
            looks: counts.looks,
            plans: counts.plans,
            filled: counts.filled,
            bands,
            commitments: self.commitments(&live),
        })
    }

    /// Capacity that can be bought now; with `all`, also what is not free.
    pub async fn list_offers(
        &self,
        request: v1::ListOffersRequest,
    ) -> Result<v1::ListOffersResponse, ServiceError> {
        limits::text("accelerator", &request.accelerator)?;
        let (offers, held) = self
            .parts
            .handle
            .ask(|state: &State, _| (state.seen.offers.clone(), held(state)))
            .await?;
        let held_of = |offer: &Offer| held.get(&offer.key.market).copied().unwrap_or(0);
        let wanted = |offer: &&Offer| {
            let name = offer.shape.accelerator.as_ref().map_or("", |name| name.as_str());
            let fits =
                request.accelerator.is_empty() || name.eq_ignore_ascii_case(&request.accelerator);
            fits && (request.all || offer.free > 0)
        };
        let offers =
            offers.iter().filter(wanted).map(|offer| offer_view(offer, held_of(offer))).collect();
        Ok(v1::ListOffersResponse { offers })
    }

    /// Whether the loop and the store answer: the check for load balancers.
    pub async fn ready(&self) -> Result<(), ServiceError> {
        self.parts.handle.ask(|_: &State, _| ()).await?;
        self.parts.store.events(None, u64::from(u32::MAX), 1).await?;
        Ok(())
    }
}
