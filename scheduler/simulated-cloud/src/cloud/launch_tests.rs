//! Tokens, and what they are used up by.

use spotwise_model::CapacityType;

use crate::fixture::{
    TestMarket, US, at, cloud_of, is_lost, launch, market, on_demand, prompt_cloud, request, spot,
    try_launch,
};
use crate::{
    Behaviour, CloudError, ErrorClass, Executed, Fault, GoneToken, LaunchRequest, Reach,
    SimulatedCloud,
};

const SPAN: i64 = 1_000;

fn with_fault(fault: Fault) -> SimulatedCloud {
    let mut cloud = prompt_cloud();
    cloud.inject(fault, Reach::All, at(SPAN));
    cloud
}

#[test]
fn the_same_token_names_the_same_machine_even_after_its_end() {
    let mut cloud = prompt_cloud();
    let first = try_launch(&mut cloud, "a", spot(), 10).unwrap();
    assert_eq!(try_launch(&mut cloud, "a", spot(), 20).unwrap(), first);
    cloud.terminate(US, &first.machine, at(30)).outcome.unwrap();
    assert_eq!(try_launch(&mut cloud, "a", spot(), 100_000_000).unwrap(), first);
    assert_eq!(cloud.machines().len(), 1);
    assert_ne!(launch(&mut cloud, "b", spot(), 100_000_001), first.machine);
}

#[test]
fn the_token_of_a_machine_that_is_gone_may_be_refused() {
    let behaviour = Behaviour { gone_token: GoneToken::Refused, ..Behaviour::prompt() };
    let mut cloud = cloud_of(TestMarket::default(), behaviour);
    let machine = launch(&mut cloud, "a", spot(), 0);
    cloud.terminate(US, &machine, at(5)).outcome.unwrap();
    let again = try_launch(&mut cloud, "a", spot(), 10);
    assert_eq!(again, Err(CloudError::IdempotentInstanceTerminated));
}

#[test]
fn a_token_with_other_parameters_is_a_mismatch() {
    let mut cloud = prompt_cloud();
    launch(&mut cloud, "a", spot(), 0);
    let request = request("a", spot());
    let others = [
        LaunchRequest { market: on_demand(), ..request.clone() },
        LaunchRequest { install: "theirs".to_owned(), ..request.clone() },
        LaunchRequest { pool: spotwise_model::id::PoolName::new("other"), ..request.clone() },
        LaunchRequest { instance: spotwise_model::InstanceId(2), ..request },
    ];
    for other in others {
        let refusal = cloud.launch(&other, at(1)).outcome;
        assert_eq!(refusal, Err(CloudError::IdempotentParameterMismatch), "{other:?}");
    }
    assert_eq!(cloud.machines().len(), 1);
}

#[test]
fn a_token_counts_within_its_zone() {
    let mut cloud = prompt_cloud();
    let first = launch(&mut cloud, "a", spot(), 0);
    let elsewhere = market("us-east-1b", "p3.2xlarge", CapacityType::Spot);
    assert_ne!(launch(&mut cloud, "a", elsewhere, 1), first);
}

#[test]
fn a_token_that_was_refused_for_want_of_capacity_stays_refused() {
    let supply = TestMarket::with(spot(), &[(0, 0), (100, 5)]);
    let mut cloud = cloud_of(supply, Behaviour::prompt());
    let refused = Err(CloudError::InsufficientInstanceCapacity { market: spot() });
    assert_eq!(try_launch(&mut cloud, "a", spot(), 0), refused);
    assert_eq!(try_launch(&mut cloud, "a", spot(), 200), refused);
    let other = try_launch(&mut cloud, "a", on_demand(), 200);
    assert_eq!(other, Err(CloudError::IdempotentParameterMismatch));
    launch(&mut cloud, "b", spot(), 200);
}

#[test]
fn a_call_that_was_not_executed_leaves_its_token_alone() {
    let never_executed = [
        (Fault::ThrottleBurst, CloudError::RequestLimitExceeded),
        (Fault::CredentialsExpired, CloudError::ExpiredToken),
        (Fault::PoolUnreachable, CloudError::Unreachable),
        (Fault::LaunchNeverArrived, CloudError::Unreachable),
    ];
    for (fault, refusal) in never_executed {
        let mut cloud = with_fault(fault);
        let call = cloud.launch(&request("a", spot()), at(1));
        assert_eq!((call.executed, &call.outcome), (false, &Err(refusal.clone())));
        assert_eq!(is_lost(&call), fault == Fault::LaunchNeverArrived);
        assert!(cloud.machines().is_empty());
        assert!(refusal.is_retryable() && refusal.executed() == Executed::No);
        // With other parameters even: nothing is known of the token.
        launch(&mut cloud, "a", on_demand(), SPAN);
        assert_eq!(cloud.fired(fault), 1);
    }
}

#[test]
fn a_launch_whose_answer_is_lost_is_found_by_its_token() {
    let mut cloud = with_fault(Fault::LaunchAnswerLost);
    let call = cloud.launch(&request("a", spot()), at(1));
    assert!(is_lost(&call) && call.executed);
    assert_eq!(cloud.machines().len(), 1);
    let machine = launch(&mut cloud, "a", spot(), SPAN);
    assert_eq!(Some(&machine), cloud.machines().first().map(|machine| &machine.id));
    assert_eq!((cloud.machines().len(), call.answer()), (1, None));
}

#[test]
fn an_answer_may_come_late() {
    let mut cloud = with_fault(Fault::AnswerLate);
    let (late, answer) = cloud.launch(&request("a", spot()), at(1)).answer().unwrap();
    assert!(late >= at(11) && answer.is_ok_and(|launched| launched.launched == at(1)));
    let (prompt, _) = cloud.launch(&request("a", spot()), at(SPAN)).answer().unwrap();
    assert_eq!(prompt, at(SPAN));
}

#[test]
fn a_drought_hits_every_zone_of_a_type() {
    let mut cloud = prompt_cloud();
    let reach = Reach::Type(spot().instance_type);
    cloud.inject(Fault::NoCapacity, reach, at(SPAN));
    for (token, zone) in [("a", "us-east-1a"), ("b", "us-east-1b")] {
        let key = market(zone, "p3.2xlarge", CapacityType::Spot);
        let refusal = try_launch(&mut cloud, token, key, 1).unwrap_err();
        assert_eq!(refusal.class(), ErrorClass::Capacity);
    }
    launch(&mut cloud, "c", market("us-east-1a", "g5.xlarge", CapacityType::Spot), 1);
    launch(&mut cloud, "d", spot(), SPAN);
    assert_eq!(cloud.fired(Fault::NoCapacity), 2);
}

#[test]
fn part_of_what_is_asked_for_may_be_refused() {
    let mut cloud = with_fault(Fault::PartialCapacity);
    let refusal = try_launch(&mut cloud, "a", spot(), 1).unwrap_err();
    assert_eq!(refusal.code(), "InsufficientInstanceCapacity");
    launch(&mut cloud, "b", spot(), SPAN);
}

#[test]
fn the_market_is_shared_by_all_that_is_open_in_it() {
    let mut cloud = cloud_of(TestMarket::with(spot(), &[(0, 2)]), Behaviour::prompt());
    let first = launch(&mut cloud, "a", spot(), 0);
    cloud.open_foreign(&spot(), None, crate::fixture::seconds(50), at(0)).unwrap();
    let refusal = try_launch(&mut cloud, "b", spot(), 1).unwrap_err();
    assert_eq!(refusal.class(), ErrorClass::Capacity);
    launch(&mut cloud, "c", spot(), 50);
    assert!(try_launch(&mut cloud, "d", spot(), 51).is_err());
    cloud.terminate(US, &first, at(52)).outcome.unwrap();
    launch(&mut cloud, "e", spot(), 53);
}

#[test]
fn what_is_not_sold_here_is_unsupported_and_uses_no_token() {
    let mut cloud = prompt_cloud();
    let unknown = market("us-east-1a", "nope.large", CapacityType::Spot);
    let elsewhere = spotwise_model::MarketKey {
        region: spotwise_model::id::Region::new("eu-west-1"),
        ..spot()
    };
    for key in [unknown, elsewhere] {
        let refusal = try_launch(&mut cloud, "a", key, 0).unwrap_err();
        assert_eq!(refusal.class(), ErrorClass::Unsupported);
    }
    launch(&mut cloud, "a", spot(), 0);
}
