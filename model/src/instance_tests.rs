use super::*;
use crate::id::{InstanceType, PoolName, Zone};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn instance() -> Instance {
    Instance {
        id: InstanceId(1),
        offer: OfferKey::recorded(
            PoolName::new("local"),
            Zone::new("us-east-1a"),
            InstanceType::new("p3.2xlarge"),
            CapacityType::Spot,
        ),
        shape: NodeShape::default(),
        launch_price: Price::ZERO,
        on_demand: Price::ZERO,
        state: InstanceState::Registered { since: at(100) },
        coverage: Vec::new(),
        provider: None,
        token: None,
    }
}

#[test]
fn a_covered_span_ends_once_and_its_past_stays() {
    let covered = |from, until| CoveredSpan {
        commitment: "a".to_owned(),
        price: Price::ZERO,
        from: at(from),
        until: at(until),
    };
    let seated = instance().with_coverage(covered(100, 200));
    assert_eq!(seated.covered(), Some(&covered(100, 200)));
    let renewed = seated.clone().paid_until(at(300), at(150));
    assert_eq!(renewed.covered(), Some(&covered(100, 300)));
    // Cut into the past, it ends now; after its end it is not drawn out.
    let cut = seated.clone().paid_until(at(120), at(150));
    assert_eq!((cut.covered(), cut.coverage.clone()), (None, vec![covered(100, 150)]));
    let over = seated.paid_until(at(900), at(250));
    assert_eq!((over.covered(), over.coverage.clone()), (None, vec![covered(100, 200)]));
    assert_eq!(over.offer.market.capacity_type, CapacityType::OnDemand);
    let again = over.with_coverage(covered(260, 400));
    assert_eq!(again.coverage, vec![covered(100, 200), covered(260, 400)]);
}

fn now(second: i64) -> Now {
    Now { market: at(second), wall: at(second) }
}

fn requested() -> Instance {
    let state = InstanceState::Requested { at: now(90), certainty: Certainty::Known };
    Instance { state, token: Some("x-i1".to_owned()), ..instance() }
}

fn refused(step: Result<Instance, InvalidTransition>) -> String {
    step.unwrap_err().to_string()
}

#[test]
fn a_machine_is_asked_for_boots_registers_is_given_back_and_is_gone() {
    let asked = requested().lose_answer().unwrap();
    assert_eq!((asked.since(), asked.accepts_work(), asked.takes_workers()), (None, true, false));
    assert!(refused(asked.clone().register()).contains("is requested"));
    let booting = asked.launched(ProviderId::new("m-1"), at(95)).unwrap();
    assert_eq!((booting.since(), booting.takes_workers()), (Some(at(95)), false));
    let there = booting.register().unwrap();
    assert!(there.takes_workers() && there.accepts_work());
    let drained = there.drain(at(120), DrainCause::Operator).unwrap();
    assert!(drained.takes_workers() && !drained.accepts_work());
    let back = drained.give_back(now(130), GivenBackFor::Drained).unwrap();
    assert!(back.ends() && !back.ended() && !back.takes_workers());
    assert!(
        refused(back.clone().give_back(now(131), GivenBackFor::Unused)).contains("is terminating")
    );
    let gone = back.end(at(150), EndedBy::Us).unwrap();
    let InstanceState::Gone { since, given_back, at: ended, .. } = gone.state else { panic!() };
    assert_eq!((since, given_back, ended), (Some(at(95)), Some(at(130)), at(150)));
}

#[test]
fn what_was_given_up_and_comes_after_all_is_ended_under_its_name() {
    let given_up = requested().give_back(now(400), GivenBackFor::Late).unwrap();
    let came = given_up.clone().launched(ProviderId::new("m-1"), at(95)).unwrap();
    assert_eq!((came.since(), came.state.name()), (Some(at(95)), "terminating"));
    let never = given_up.end(at(500), EndedBy::Us).unwrap();
    assert_eq!(never.since(), None, "nothing is billed");
    assert_eq!(never.refused_at(), None, "nobody said that there is none");
    assert_eq!(requested().end(at(500), EndedBy::Us).unwrap().refused_at(), Some(at(500)));
    assert_eq!(instance().end(at(500), EndedBy::Provider).unwrap().refused_at(), None);
}

#[test]
fn documents_of_before_are_read() {
    let read = |text: &str| serde_json::from_str::<InstanceState>(text).unwrap();
    let second = "1970-01-01T00:01:40Z";
    assert_eq!(
        read(&format!(r#"{{"state":"live","since":"{second}"}}"#)),
        InstanceState::Registered { since: at(100) }
    );
    let ended = format!(
        r#"{{"state":"ended","since":"{second}","at":"{second}","by":"us","settled":true}}"#
    );
    assert!(matches!(
        read(&ended),
        InstanceState::Gone { since: Some(_), given_back: None, settled: true, .. }
    ));
}

#[test]
fn an_instance_is_noticed_ends_and_is_settled_once_and_in_this_order() {
    assert_eq!(
        refused(instance().settle()),
        "an instance that is registered cannot become settled"
    );
    let noticed = instance().noticed(at(150), at(160)).unwrap();
    assert!(refused(noticed.clone().noticed(at(151), at(170))).contains("is noticed"));
    let ended = noticed.end(at(200), EndedBy::Us).unwrap();
    assert!(refused(ended.clone().end(at(300), EndedBy::Provider)).contains("is gone"));
    assert!(refused(ended.clone().noticed(at(150), at(160))).contains("is gone"));
    let settled = ended.settle().unwrap();
    assert!(refused(settled.clone().settle()).contains("is settled"));
    assert!(refused(settled.end(at(300), EndedBy::Us)).contains("is settled"));
}

#[test]
fn an_instance_never_ends_before_it_began() {
    let ended = instance().end(at(50), EndedBy::Us).unwrap();
    let InstanceState::Gone { since, at, .. } = ended.state else { panic!() };
    assert_eq!(since, Some(at));
}
