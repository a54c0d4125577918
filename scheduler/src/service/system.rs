//! The scheduler itself and the market it sees.

use spotwise_api::convert::{offer_view, time_text};
use spotwise_api::v1;
use spotwise_model::freeze::Freeze;
use spotwise_model::limit::LimitKey;
use spotwise_model::{JobState, Money, Now, Offer, Pool};

use super::bands::bands;
use super::{Service, ServiceError, Session, limits};
use spotwise_control::core::State;
use spotwise_control::view::availability::{Unavailable, unavailable};
use spotwise_control::view::machines::by_state;
use spotwise_control::view::offers::held;
use spotwise_model::access::Action;

impl Session {
    /// What is running here, and its condition.
    pub async fn info(&self) -> Result<v1::InfoResponse, ServiceError> {
        self.may(Action::Know)?;
        let live = self.all_live().await?;
        let config = self.parts.config.clone();
        let seen = move |state: &State, now: Now| {
            let bands = bands(state, &config.control.policy, now.market);
            (state.seen.last_plan.clone(), state.seen.counts, bands, pools(state))
        };
        let (last_plan, counts, bands, (pools, pools_version)) =
            self.parts.handle.ask(seen).await?;
        let machines = by_state(&live.state).into_iter();
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
            machines: machines.map(|(state, count)| (state.to_owned(), count)).collect(),
            pools,
            pools_version,
            frozen: live.state.frozen.as_ref().map(Freeze::words).unwrap_or_default(),
        })
    }

    /// Capacity that can be bought now; with `all`, also what cannot, and why.
    pub async fn list_offers(
        &self,
        request: v1::ListOffersRequest,
    ) -> Result<v1::ListOffersResponse, ServiceError> {
        self.may(Action::ViewCapacity)?;
        limits::text("accelerator", &request.accelerator)?;
        let seen = |state: &State, now: Now| {
            let unavailable = unavailable(state, now.market);
            (state.seen.offers.clone(), held(state), unavailable, leaving(state))
        };
        let (offers, held, unavailable, notes) = self.parts.handle.ask(seen).await?;
        let wanted = |offer: &&Offer| {
            let name = offer.shape.accelerator.as_ref().map_or("", |name| name.as_str());
            let fits =
                request.accelerator.is_empty() || name.eq_ignore_ascii_case(&request.accelerator);
            let can_be_bought = offer.free.machines() > 0 && !unavailable.contains_key(&offer.key);
            fits && (request.all || can_be_bought)
        };
        let view = |offer: &Offer| {
            let held = held.get(&offer.key.market).copied().unwrap_or(0);
            let (unavailable, refused_until) = match unavailable.get(&offer.key) {
                None => Default::default(),
                Some(why) => in_words(why),
            };
            v1::OfferView { unavailable, refused_until, ..offer_view(offer, held) }
        };
        let offers = offers.iter().filter(wanted).map(view).collect();
        Ok(v1::ListOffersResponse { offers, notes })
    }
}

impl Service {
    /// Whether the loop and the store answer: the check for load balancers.
    pub async fn ready(&self) -> Result<(), ServiceError> {
        self.parts.handle.ask(|_: &State, _| ()).await?;
        self.parts.store.events(None, u64::from(u32::MAX), 1).await?;
        Ok(())
    }
}

/// The names of all pools, and their version.
fn pools(state: &State) -> (Vec<String>, u64) {
    let names = state.pools.pools.keys().map(ToString::to_string);
    (names.collect(), state.pools.version)
}

/// The pools that offer nothing because they leave.
fn leaving(state: &State) -> Vec<String> {
    let leaving = state.pools.pools.values().filter(|pool| pool.leaving);
    let note = |pool: &Pool| {
        format!("pool {} is gone from the pools file, and offers nothing any more", pool.name)
    };
    leaving.map(note).collect()
}

/// Why nothing of an offer can be bought, and until when its market is left alone.
fn in_words(why: &Unavailable) -> (String, String) {
    match why {
        Unavailable::Refused { until, said } => {
            let until = time_text(*until);
            let said = if said.is_empty() { String::new() } else { format!(": {said}") };
            (format!("its market refused a machine, and is not asked until {until}{said}"), until)
        }
        Unavailable::Limited { limit, takes } => {
            let (used, of, takes) = match limit.key {
                LimitKey::PoolSpend { .. } => {
                    let hourly = |micros: u64| {
                        let micros = i64::try_from(micros).unwrap_or(i64::MAX);
                        format!("{}/h", Money::from_micros(micros).human())
                    };
                    (hourly(limit.used), hourly(limit.of), hourly(*takes))
                }
                _ => {
                    let unit = limit.key.unit();
                    (limit.used.to_string(), format!("{} {unit}", limit.of), takes.to_string())
                }
            };
            let words = format!("{}: {used} of {of} used, and it takes {takes}", limit.key);
            (words, String::new())
        }
    }
}

#[cfg(test)]
mod tests {
    use spotwise_model::id::PoolName;
    use spotwise_model::limit::LimitUse;

    use super::*;

    #[test]
    fn a_limit_is_named_with_its_figures() {
        let pool = PoolName::new("cloud");
        let words = |key, used, of, takes| {
            let limit = LimitUse { key, used, of };
            in_words(&Unavailable::Limited { limit, takes }).0
        };
        assert_eq!(
            words(LimitKey::PoolMachines { pool: pool.clone() }, 8, 8, 1),
            "pool `cloud`'s limit of machines: 8 of 8 machines used, and it takes 1"
        );
        assert_eq!(
            words(LimitKey::PoolSpend { pool }, 24_500_000, 25_000_000, 918_000),
            "pool `cloud`'s limit of cost per hour: $24.50/h of $25.00/h used, and it takes $0.92/h"
        );
    }
}
