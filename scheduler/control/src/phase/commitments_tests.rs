use std::collections::BTreeMap;
use std::time::Duration;

use spotwise_model::instance::EndedBy;
use spotwise_model::plan::{PlacementReason, PlacementRule, PolicyCost, Target};
use spotwise_model::policy::Policy;
use spotwise_model::{
    AttemptState, InstanceId, JobId, LedgerEntry, Money, Outcome, Placement, Plan, Price, Share,
};

use super::*;
use crate::fixture::{at, attempt, hear, job, machine, now, state_of};
use crate::phase::plan::accept;
use crate::phase::settle::settle;
use crate::view::accrued::accrued;
use crate::view::offers::{held, in_use, offers};
use spotwise_market::{MarketSeries, Row};

/// Eight machines of spot, and on demand at a dollar.
fn market(commitments: Vec<Commitment>) -> Market {
    let spot = machine(1, "a", CapacityType::Spot);
    let row = Row { at: at(0), available: 8, price: Some(spot.launch_price) };
    let series = MarketSeries {
        zone: spot.offer.market.zone,
        instance_type: spot.offer.market.instance_type,
        shape: spot.shape,
        on_demand: spot.on_demand,
        rows: vec![row],
    };
    Market::new(vec![series], None).unwrap().with_commitments(commitments)
}

/// At sixty cents.
fn paid(name: &str, machines: u32, until: i64) -> Commitment {
    let spot = machine(1, "a", CapacityType::Spot);
    Commitment {
        name: name.to_owned(),
        instance_type: spot.offer.market.instance_type,
        zone: spot.offer.market.zone,
        machines,
        price: Price::from_micros_per_hour(600_000),
        from: at(0),
        until: at(until),
    }
}

/// The rounds' way: covered spans, then offers.
fn look(state: &mut State, market: &Market, hour: i64) {
    for mut change in apply(state, market, now(hour)) {
        state.apply(&mut change);
    }
    let quotes = market.quotes(at(hour));
    state.seen.offers = offers(state, &quotes, Duration::from_secs(60), at(hour));
}

fn free(state: &State) -> Option<u32> {
    let offers = state.seen.offers.iter();
    let mut reserved = offers.filter(|o| o.key.market.capacity_type == CapacityType::Reserved);
    reserved.next().map(|offer| offer.free.machines())
}

fn buys(state: &mut State, id: u64, hour: i64) {
    let mut offers = state.seen.offers.iter();
    let offer = offers.find(|o| o.key.market.capacity_type == CapacityType::Reserved).unwrap();
    let why = PlacementReason {
        rule: PlacementRule::AlreadyPaid,
        expected_cost: Money::ZERO,
        finish: at(9),
        slack: Duration::ZERO,
        policy_cost: PolicyCost::default(),
        transfer: Money::ZERO,
        alternatives: Vec::new(),
    };
    let placement = Placement {
        job: JobId(id),
        offer: offer.key.clone(),
        share: Share { cpu_milli: 8_000, ..Share::default() },
        targets: vec![Target::New(0)],
        why,
    };
    let plan = Plan { placements: vec![placement], ..Plan::empty() };
    for mut change in accept(state, &plan, now(hour)) {
        state.apply(&mut change);
    }
}

/// Ends the job's attempt and its machine, and returns the charges.
fn ends(state: &mut State, market: &Market, id: u64, hour: i64) -> Vec<LedgerEntry> {
    hear(state, market);
    let mut attempt = state.live_attempt(JobId(id)).unwrap().clone();
    let machine = state.instances[&attempt.instances[0]].clone();
    if let AttemptState::Planned { at } = attempt.state {
        attempt.state = attempt.state.launch(at).unwrap().run(at).unwrap();
    }
    attempt.state = attempt.state.end(now(hour), Outcome::Succeeded).unwrap();
    state.apply(&mut attempt.into());
    state.apply(&mut machine.end(at(hour), EndedBy::Us).unwrap().into());
    let mut entries = Vec::new();
    for mut change in settle(state, &Policy::default(), now(hour)) {
        if let Change::Ledger(more) = &change {
            entries.extend(more.clone());
        }
        state.apply(&mut change);
    }
    entries
}

fn amounts(entries: &[LedgerEntry]) -> Vec<(CapacityType, i64)> {
    entries.iter().map(|e| (e.offer.market.capacity_type, e.amount.micros())).collect()
}

const PAID: CapacityType = CapacityType::Reserved;
const BOUGHT: CapacityType = CapacityType::OnDemand;

#[test]
fn a_job_on_a_committed_machine_is_charged_its_effective_price() {
    let market = market(vec![paid("research-a", 1, 100)]);
    let mut state = state_of(vec![job(1, "training").into(), job(2, "training").into()]);
    look(&mut state, &market, 0);
    assert_eq!(free(&state), Some(1));
    buys(&mut state, 1, 0);
    look(&mut state, &market, 1);
    assert_eq!((free(&state), in_use(&state)), (Some(0), BTreeMap::from([("research-a", 1)])));
    let costs = accrued(&state, &Policy::default(), now(2));
    assert_eq!(costs.values().copied().collect::<Vec<_>>(), [Money::from_micros(1_200_000)]);
    // What is given is given: a plan of before finds nothing.
    buys(&mut state, 2, 2);
    assert!(state.live_attempt(JobId(2)).is_none());
    let entries = ends(&mut state, &market, 1, 3);
    assert_eq!(amounts(&entries), [(PAID, 1_800_000)]);
    assert_eq!(entries[0].dimensions["commitment"], "research-a");
    assert_eq!(entries[0].on_demand_amount.micros(), 3_000_000);
    assert_eq!(state.jobs[&JobId(1)].spent.micros(), 1_800_000);
    look(&mut state, &market, 3);
    assert_eq!(free(&state), Some(1), "the next job may have it");
}

#[test]
fn a_machine_that_outlives_its_commitment_goes_on_on_demand() {
    let market = market(vec![paid("research-a", 1, 4)]);
    let mut state = state_of(vec![job(1, "training").into()]);
    look(&mut state, &market, 0);
    buys(&mut state, 1, 0);
    for hour in 1..=6 {
        look(&mut state, &market, hour);
        let machine = state.instances.values().next().unwrap();
        let wanted = if hour < 4 { PAID } else { BOUGHT };
        assert_eq!(machine.offer.market.capacity_type, wanted, "hour {hour}");
        assert_eq!(free(&state), (hour < 4).then_some(0));
    }
    assert_eq!(held(&state).values().copied().collect::<Vec<_>>(), [1], "one on demand");
    let entries = ends(&mut state, &market, 1, 6);
    assert_eq!(amounts(&entries), [(PAID, 2_400_000), (BOUGHT, 2_000_000)]);
}

#[test]
fn nobody_leads_while_a_commitment_ends() {
    let market = market(vec![paid("research-a", 1, 4)]);
    let mut state = state_of(vec![job(1, "training").into()]);
    look(&mut state, &market, 0);
    buys(&mut state, 1, 0);
    let entries = ends(&mut state, &market, 1, 6);
    assert_eq!(amounts(&entries), [(PAID, 2_400_000), (BOUGHT, 2_000_000)], "to the second");
}

#[test]
fn a_machine_bought_on_demand_takes_a_committed_one_that_comes_free() {
    let bought = machine(1, "a", BOUGHT);
    let ran = AttemptState::Running { placed: None, launched: now(0), since: now(0) };
    let mut state = state_of(vec![
        job(1, "training").into(),
        attempt(1, &[&bought], 8, ran).into(),
        bought.into(),
    ]);
    let mut later = paid("research-a", 1, 100);
    later.from = at(2);
    let market = market(vec![later]);
    for hour in 1..=5 {
        look(&mut state, &market, hour);
    }
    let entries = ends(&mut state, &market, 1, 5);
    assert_eq!(amounts(&entries), [(BOUGHT, 2_000_000), (PAID, 1_800_000)]);
}

#[test]
fn spot_machines_are_left_alone() {
    let mut state = state_of(vec![machine(1, "a", CapacityType::Spot).into()]);
    let market = market(vec![paid("research-a", 1, 100)]);
    let before = state.instances.clone();
    look(&mut state, &market, 1);
    assert_eq!(state.instances, before);
}

#[test]
fn a_file_that_changed_changes_nothing_that_is_past() {
    for (declared, ends_paid) in [
        (vec![], 1_200_000),
        (vec![paid("other", 1, 2)], 1_200_000),
        (vec![Commitment { machines: 1, ..paid("research-a", 1, 3) }], 1_800_000),
    ] {
        let mut state = state_of(vec![job(1, "training").into()]);
        look(&mut state, &market(vec![paid("research-a", 1, 100)]), 0);
        buys(&mut state, 1, 0);
        // A restart at hour 2 with another file.
        let changed = market(declared);
        for hour in 2..=5 {
            look(&mut state, &changed, hour);
        }
        let entries = ends(&mut state, &changed, 1, 5);
        let sum = |kind| -> i64 {
            amounts(&entries).iter().filter(|entry| entry.0 == kind).map(|entry| entry.1).sum()
        };
        assert_eq!(sum(PAID), ends_paid);
        assert_eq!(sum(BOUGHT), 5_000_000 - ends_paid * 5 / 3, "every hour once");
    }
}

#[test]
fn a_renewed_commitment_goes_on_and_a_smaller_one_keeps_the_first_machines() {
    let mut state = state_of((1..=3).map(|id| job(id, "training").into()).collect::<Vec<Change>>());
    let first = market(vec![paid("research-a", 3, 4)]);
    for id in 1..=3 {
        look(&mut state, &first, 0);
        buys(&mut state, id, 0);
    }
    look(&mut state, &market(vec![paid("research-a", 3, 50)]), 1);
    let until = |state: &State| -> Vec<Option<Timestamp>> {
        state.instances.values().map(|i| i.covered().map(|covered| covered.until)).collect()
    };
    assert_eq!(until(&state), [Some(at(50)); 3]);
    look(&mut state, &market(vec![paid("research-a", 1, 50)]), 2);
    assert_eq!(until(&state), [Some(at(50)), None, None]);
    let again = state.clone();
    look(&mut state, &market(vec![paid("research-a", 1, 50)]), 2);
    assert_eq!(state.instances, again.instances, "twice is once");
}

#[test]
fn machines_of_two_commitments_are_one_offer_and_the_longer_one_is_given_first() {
    let mut long = paid("b-long", 1, 100);
    long.price = Price::from_micros_per_hour(700_001);
    let market = market(vec![paid("a-short", 1, 3), long]);
    let mut state = state_of(vec![job(1, "training").into(), job(2, "training").into()]);
    look(&mut state, &market, 0);
    let offer = state.seen.offers.iter().find(|o| o.key.market.capacity_type == PAID).unwrap();
    assert_eq!(
        (offer.free.machines(), offer.price.micros_per_hour()),
        (2, 650_001),
        "mean, rounded up"
    );
    assert_eq!(offer.paid_until(), Some(at(3)), "the earlier end is planned with");
    buys(&mut state, 1, 0);
    look(&mut state, &market, 0);
    buys(&mut state, 2, 0);
    let names: Vec<_> =
        state.instances.values().map(|i| i.coverage[0].commitment.clone()).collect();
    assert_eq!(names, ["b-long", "a-short"]);
    // The long one's job ends: what outlives the short one takes its place.
    assert_eq!(amounts(&ends(&mut state, &market, 1, 2)), [(PAID, 1_400_002)]);
    for hour in 3..=5 {
        look(&mut state, &market, hour);
    }
    let second = &state.instances[&InstanceId(2)];
    assert_eq!(second.covered().map(|covered| covered.commitment.as_str()), Some("b-long"));
    assert_eq!(amounts(&ends(&mut state, &market, 2, 5)), [(PAID, 1_800_000), (PAID, 1_400_002)]);
}
