//! Elements of an array whose workers go on from one to the next.

use spotwise_model::time::between;

use super::*;

/// A waiting element of the array of job 1, beside one that runs on spot.
fn beside_a_worker(array: Option<u64>) -> PlanInput {
    let element = |id| PlanJob { worker_array: array.map(JobId), ..job(id, spec(60), -1, 40) };
    let offer = spot("a", 1.0, 1);
    let mut round = input(vec![offer.clone()], vec![element(2)]);
    let mut one = running(element(1), &offer, 0, 0);
    one.instances = vec![InstanceId(7)];
    round.running = vec![one];
    round.instances = vec![instance(7, &offer, 1_000)];
    round
}

#[test]
fn an_element_begins_without_a_start_where_a_worker_of_its_array_is() {
    let takes = |input: &PlanInput| between(at(0), placed(input).why.finish).as_secs();
    let alone = takes(&beside_a_worker(None));
    let shared = takes(&beside_a_worker(Some(1)));
    assert!((420..430).contains(&alone), "six minutes of start and one of work: {alone}");
    assert!((60..70).contains(&shared), "{shared}");
    let mut other = beside_a_worker(Some(1));
    other.jobs[0].worker_array = Some(JobId(9));
    assert_eq!(takes(&other), alone, "another array's");
    let mut elsewhere = beside_a_worker(Some(1));
    let zone = on_demand("b", 0.5, 4);
    elsewhere.running[0].offer = zone.key.clone();
    elsewhere.running[0].instances = vec![InstanceId(8)];
    assert_eq!(takes(&elsewhere), alone, "none is here");
    let mut stops = beside_a_worker(Some(1));
    stops.running[0].stopping = true;
    assert_eq!(takes(&stops), alone, "it does not go on");
}

#[test]
fn what_is_to_end_soon_is_not_thought_to_be_starting() {
    let ends = |array| {
        let round = beside_a_worker(array);
        crate::statement::ends::leaving(&round)[0].at
    };
    assert!(ends(Some(1)) < 0.02 && ends(None) > 0.1, "{} {}", ends(Some(1)), ends(None));
}
