//! Markets that show nothing of what they have.

use jiff::Timestamp;
use spotwise_model::attempt::Certainty;
use spotwise_model::id::{Account, ProviderId};
use spotwise_model::pool::SupplyShown;
use spotwise_model::{InstanceId, Offer, PoolSet};

use super::*;
use crate::fixture::spot::{lively, market, minute, spec};
use crate::fixture::{cloud_pool, job, machine, state_of};

/// Of an account that shows nothing.
fn state() -> State {
    let mut pool = cloud_pool("cloud");
    pool.account = Account::new("4711");
    pool.supply = SupplyShown::Unknown;
    State { pools: PoolSet::of([pool]), ..state_of(Vec::new()) }
}

fn offers_at(state: &State, rows: Vec<(i64, u32)>, now: Timestamp) -> Vec<Offer> {
    let market = market(&[("us-east-1a", rows.clone()), ("us-east-1b", rows)]);
    let quotes = market.quotes(now);
    assert!(available_spot(state, &quotes).is_empty(), "nobody learns how many there are");
    offers(state, &quotes, Duration::ZERO, now)
}

fn spot(offers: &[Offer]) -> Vec<&Offer> {
    let spot = |offer: &&Offer| offer.key.market.capacity_type == CapacityType::Spot;
    offers.iter().filter(spot).collect()
}

fn asked(id: u64, key: &OfferKey) -> Instance {
    let at = crate::fixture::now(0);
    let state = InstanceState::Requested { at, certainty: Certainty::Known };
    let machine = machine(id, "a", CapacityType::Spot);
    Instance { id: InstanceId(id), offer: key.clone(), state, ..machine }
}

#[test]
fn what_the_market_has_changes_no_offer() {
    let state = state();
    let offers = |rows| offers_at(&state, rows, minute(700));
    let none = offers(vec![(0, 0)]);
    assert_eq!(none, offers(vec![(0, 40)]));
    assert_eq!(none, offers(lively()));
    let tries = Supply::Unknown { tries: TRIES };
    assert_eq!(spot(&none).iter().map(|offer| offer.free).collect::<Vec<_>>(), [tries, tries]);
    let counted = none.iter().filter(|offer| offer.free.counted().is_some());
    assert_eq!(counted.count(), 2, "on demand is counted as ever");
}

#[test]
fn a_market_is_asked_until_it_refuses_and_never_for_more_than_is_answered() {
    let mut state = state();
    let key = spot(&offers_at(&state, lively(), minute(5)))[0].key.clone();
    let tries = |state: &State| {
        spot(&offers_at(state, lively(), minute(5))).iter().map(|o| o.free.machines()).collect()
    };
    state.apply(&mut asked(1, &key).into());
    state.apply(&mut asked(2, &key).into());
    let left: Vec<u32> = tries(&state);
    assert_eq!(left, [TRIES - 2, TRIES], "two are not answered");
    let came = asked(1, &key).launched(ProviderId::new("m"), minute(4)).unwrap();
    state.apply(&mut came.into());
    let left: Vec<u32> = tries(&state);
    assert_eq!(left, [TRIES - 1, TRIES], "what is held says nothing of what is left");
    let mut gang = job(1, "training");
    gang.spec = spec("gang", TRIES + 8).into();
    state.apply(&mut gang.into());
    let left: Vec<u32> = tries(&state);
    assert_eq!(left, [TRIES + 7, TRIES + 8], "a gang is asked for whole");
    state.seen.refusals.no_capacity(key.market, "none".to_owned(), minute(4));
    let left: Vec<u32> = tries(&state);
    assert_eq!(left, [0, TRIES + 8]);
}

#[test]
fn since_when_and_at_what_hazard_is_what_we_have_seen() {
    let mut state = state();
    let first = |state: &State| spot(&offers_at(state, lively(), minute(300)))[0].clone();
    let key = first(&state).key;
    assert_eq!(first(&state).spell_since, minute(300), "nobody has looked");
    state.apply(&mut asked(1, &key).launched(ProviderId::new("m"), minute(40)).unwrap().into());
    assert_eq!(first(&state).spell_since, minute(40));
    let quotes = market(&[("us-east-1a", lively()), ("us-east-1b", lively())]);
    let from = (&state.own_log, &state.pools);
    let quotes = quotes.quotes(minute(300));
    state.seen.beliefs =
        crate::core::beliefs::refresh(Default::default(), from, &quotes, minute(300));
    let hazard = state.seen.beliefs.hazard_per_hour(&key.market).unwrap();
    assert!(hazard > 0.0);
    assert_eq!(first(&state).hazard_per_hour, hazard);
}
