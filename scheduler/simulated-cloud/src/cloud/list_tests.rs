//! Listings: how old, how long, and of whom.

use std::collections::BTreeMap;

use spotwise_model::InstanceId;
use spotwise_model::id::{PoolName, ProviderId};
use spotwise_model::instance::EndedBy;
use spotwise_model::inventory::{MachinePhase, SeenMachine};

use crate::fixture::{
    TestMarket, US, at, cloud_of, launch, market, pool, prompt_cloud, request, seconds, spot,
};
use crate::{Behaviour, CloudError, Fault, LaunchRequest, Mark, Reach, SimulatedCloud, Spread};

fn listed(cloud: &mut SimulatedCloud, second: i64) -> BTreeMap<ProviderId, SeenMachine> {
    let page = cloud.list(US, &pool(), None, at(second)).outcome.unwrap();
    assert_eq!(page.next, None);
    page.machines
}

#[test]
fn a_machine_is_listed_with_its_phases_and_for_an_hour_after_its_end() {
    let behaviour = Behaviour {
        boot: Spread::exactly(seconds(20)),
        register: Spread::exactly(seconds(10)),
        terminate: Spread::exactly(seconds(40)),
        ..Behaviour::prompt()
    };
    let mut cloud = cloud_of(TestMarket::default(), behaviour);
    let id = launch(&mut cloud, "a", spot(), 0);
    let mut phase = |second| {
        listed(&mut cloud, second).get(&id).map(|seen| {
            assert_eq!((seen.instance, &seen.market), (InstanceId(1), &spot()));
            (seen.phase, seen.launched, seen.ended)
        })
    };
    assert_eq!(phase(0), Some((MachinePhase::Booting, at(0), None)));
    assert_eq!(phase(29), Some((MachinePhase::Booting, at(0), None)));
    assert_eq!(phase(30), Some((MachinePhase::Registered, at(0), None)));
    cloud.terminate(US, &id, at(100)).outcome.unwrap();
    let mut phase =
        |second| listed(&mut cloud, second).get(&id).map(|seen| (seen.phase, seen.ended));
    let ended = Some((at(100), EndedBy::Us));
    assert_eq!(phase(100), Some((MachinePhase::Terminating, ended)));
    assert_eq!(phase(140), Some((MachinePhase::Terminated, ended)));
    assert_eq!(phase(3_739), Some((MachinePhase::Terminated, ended)));
    assert_eq!(phase(3_740), None);
    let gone = cloud.terminate(US, &id, at(3_740)).outcome;
    assert_eq!(gone, Err(CloudError::NotFound { machine: id }));
}

#[test]
fn pages_show_one_moment_and_everything_once() {
    let behaviour = Behaviour { page_size: 3, ..Behaviour::prompt() };
    let mut cloud = cloud_of(TestMarket::default(), behaviour);
    let small = market("us-east-1a", "g5.xlarge", spotwise_model::CapacityType::Spot);
    let mut launched: Vec<ProviderId> = (0..7)
        .map(|number| launch(&mut cloud, &format!("t{number}"), small.clone(), number))
        .collect();
    let (mut all, mut sizes, mut next) = (Vec::new(), Vec::new(), None);
    for second in 10.. {
        let page = cloud.list(US, &pool(), next, at(second)).outcome.unwrap();
        sizes.push(page.machines.len());
        all.extend(page.machines.into_keys());
        next = page.next;
        if next.is_none() {
            break;
        }
        // What comes after the first page is in no page.
        launch(&mut cloud, &format!("late{second}"), small.clone(), second + 1);
    }
    all.sort();
    launched.sort();
    assert_eq!((all, sizes), (launched, vec![3, 3, 1]));
}

#[test]
fn a_listing_may_be_older_than_a_launch_but_not_older_than_the_window() {
    let behaviour = Behaviour { consistency_window: seconds(300), ..Behaviour::prompt() };
    let mut cloud = cloud_of(TestMarket::default(), behaviour);
    cloud.inject(Fault::StaleListing, Reach::All, at(10_000));
    let id = launch(&mut cloud, "a", spot(), 1_000);
    assert!(listed(&mut cloud, 1_299).is_empty());
    assert!(listed(&mut cloud, 1_300).contains_key(&id));
    cloud.terminate(US, &id, at(2_000)).outcome.unwrap();
    let mut phase = |second| listed(&mut cloud, second).get(&id).map(|seen| seen.phase);
    assert_eq!(phase(2_299), Some(MachinePhase::Registered));
    assert_eq!(phase(2_300), Some(MachinePhase::Terminated));
    assert_eq!(phase(2_000 + 3_600 + 299), Some(MachinePhase::Terminated));
    assert_eq!(phase(2_000 + 3_600 + 300), None);
    assert_eq!(cloud.fired(Fault::StaleListing), 6);
}

#[test]
fn a_page_may_be_missing_and_is_asked_for_again() {
    let mut cloud = prompt_cloud();
    launch(&mut cloud, "a", spot(), 0);
    cloud.inject(Fault::PageError, Reach::All, at(10));
    let error = cloud.list(US, &pool(), None, at(1)).outcome.unwrap_err();
    assert!(error == CloudError::InternalError && error.is_retryable());
    assert_eq!(listed(&mut cloud, 10).len(), 1);
}

#[test]
fn what_carries_no_mark_or_another_one_is_never_listed() {
    let mut cloud = prompt_cloud();
    let ours = launch(&mut cloud, "a", spot(), 0);
    let theirs = Mark {
        install: "theirs".to_owned(),
        pool: pool(),
        instance: InstanceId(1),
        token: String::new(),
    };
    let foreign = [None, Some(theirs)]
        .map(|mark| cloud.open_foreign(&spot(), mark, seconds(1_000), at(1)).unwrap());
    let other_pool = LaunchRequest { pool: PoolName::new("other"), ..request("b", spot()) };
    cloud.launch(&other_pool, at(1)).outcome.unwrap();
    assert_eq!(listed(&mut cloud, 2).into_keys().collect::<Vec<_>>(), [ours]);
    let theirs = cloud.list("theirs", &pool(), None, at(2)).outcome.unwrap().machines;
    assert_eq!(theirs.into_keys().collect::<Vec<_>>(), [foreign[1].clone()]);
}

#[test]
fn who_ends_what_is_not_theirs_is_noted() {
    let mut cloud = prompt_cloud();
    let ours = launch(&mut cloud, "a", spot(), 0);
    let foreign = cloud.open_foreign(&spot(), None, seconds(1_000), at(1)).unwrap();
    cloud.terminate(US, &ours, at(2)).outcome.unwrap();
    assert_eq!(cloud.violations(), []);
    cloud.terminate(US, &foreign, at(3)).outcome.unwrap();
    let [violation] = cloud.violations() else { panic!("{:?}", cloud.violations()) };
    assert_eq!((violation.at, violation.by.as_str(), &violation.machine), (at(3), US, &foreign));
    assert!(cloud.machine(&foreign).unwrap().stopped.is_some());
}

#[test]
fn a_young_machine_may_not_be_found_yet_and_runs_all_the_same() {
    let mut cloud = prompt_cloud();
    let id = launch(&mut cloud, "a", spot(), 0);
    cloud.inject(Fault::NotFoundYet, Reach::All, at(10_000));
    let not_found = Err(CloudError::NotFound { machine: id.clone() });
    assert_eq!(cloud.terminate(US, &id, at(299)).outcome, not_found);
    assert!(cloud.machine(&id).unwrap().stopped.is_none());
    assert_eq!(cloud.terminate(US, &id, at(300)).outcome, Ok(()));
    let nobody = ProviderId::new("i-00000000000000000");
    assert!(cloud.terminate(US, &nobody, at(300)).outcome.is_err());
}
