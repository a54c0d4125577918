//! What all calls have in common.

use std::sync::Arc;

use spotwise_model::id::PoolName;

use crate::fixture::{TestMarket, US, at, launch, pool, prompt_cloud, request, spec, spot};
use crate::{
    Action, Behaviour, Bucket, Buckets, CloudError, Delivery, Fault, Reach, SimulatedCloud,
};

#[test]
fn more_calls_than_the_bucket_holds_are_throttled_until_it_fills() {
    let list = Bucket { capacity: 3, per_second: 2 };
    let buckets = Buckets { list, ..Buckets::default() };
    let spec = crate::CloudSpec { buckets, ..spec(Behaviour::prompt()) };
    let mut cloud = SimulatedCloud::new(spec, Arc::new(TestMarket::default()), 1, at(0));
    let mut taken = |millis: i64| {
        let at = jiff::Timestamp::from_millisecond(millis).unwrap();
        let calls = (0..5).map(|_| cloud.list(US, &pool(), None, at).outcome);
        calls.filter(Result::is_ok).count()
    };
    let all: Vec<usize> = [0, 499, 500, 1_000, 100_000].map(&mut taken).into();
    assert_eq!(all, [3, 0, 1, 1, 3]);
    let counts = cloud.calls(Action::List);
    assert_eq!((counts.taken, counts.throttled), (8, 17));
    assert_eq!(cloud.calls(Action::Launch).taken, 0);
    // Each action has its own.
    launch(&mut cloud, "a", spot(), 100);
}

#[test]
fn a_pool_out_of_reach_leaves_the_others_alone() {
    let mut cloud = prompt_cloud();
    let machine = launch(&mut cloud, "a", spot(), 0);
    cloud.inject(Fault::PoolUnreachable, Reach::Pool(pool()), at(100));
    let unreachable = Err(CloudError::Unreachable);
    assert_eq!(cloud.terminate(US, &machine, at(1)).outcome, unreachable);
    assert_eq!(cloud.list(US, &pool(), None, at(1)).outcome, Err(CloudError::Unreachable));
    assert!(cloud.list(US, &PoolName::new("other"), None, at(1)).outcome.is_ok());
    assert!(cloud.quotas(at(1)).outcome.is_ok());
    assert_eq!(cloud.terminate(US, &machine, at(100)).outcome, Ok(()));
}

#[test]
fn a_lost_answer_is_known_after_the_timeout() {
    let mut cloud = prompt_cloud();
    cloud.inject(Fault::LaunchAnswerLost, Reach::All, at(100));
    let call = cloud.launch(&request("a", spot()), at(5));
    assert_eq!(call.delivery, Delivery::Lost { known_after: at(65) });
}

#[test]
fn a_termination_may_never_arrive_or_its_answer_be_lost() {
    let cases = [(Fault::TerminateNeverArrived, false), (Fault::TerminateAnswerLost, true)];
    for (fault, ends) in cases {
        let mut cloud = prompt_cloud();
        let id = launch(&mut cloud, "a", spot(), 0);
        cloud.inject(fault, Reach::All, at(100));
        let call = cloud.terminate(US, &id, at(5));
        assert_eq!((call.executed, cloud.fired(fault)), (ends, 1));
        assert_eq!(call.answer(), None);
        assert_eq!(cloud.machine(&id).unwrap().stopped.is_some(), ends);
        // Asked again, it has ended; the first time counts.
        cloud.terminate(US, &id, at(100)).outcome.unwrap();
        let stopped = cloud.machine(&id).unwrap().stopped.unwrap().at;
        assert_eq!(stopped, if ends { at(5) } else { at(100) });
    }
}

#[test]
fn time_never_goes_back() {
    let mut cloud = prompt_cloud();
    cloud.advance(at(50));
    let launched = cloud.launch(&request("a", spot()), at(20)).outcome.unwrap().launched;
    assert_eq!((launched, cloud.now()), (at(50), at(50)));
}
