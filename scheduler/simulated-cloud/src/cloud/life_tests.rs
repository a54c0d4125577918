//! What happens to machines by itself.

use spotwise_model::id::ProviderId;
use spotwise_model::instance::EndedBy;

use crate::fixture::{
    TestMarket, US, at, cloud_of, launch, on_demand, pool, prompt_cloud, seconds, spot,
};
use crate::{
    Behaviour, Cause, CloudEvent, Fault, ForeignTenant, Happening, Interruption, Reach,
    ReclaimOrder, SimulatedCloud, Spread, Stop,
};

type Told = (i64, Happening);

/// What befell one machine.
fn of(events: &[CloudEvent], id: &ProviderId) -> Vec<Told> {
    let its = events.iter().filter(|event| event.machine == *id);
    its.map(|event| (event.at.as_second(), event.what)).collect()
}

fn noticed(second: i64) -> Told {
    (second, Happening::Noticed { reclaim_at: at(second + 120) })
}

fn stopped(second: i64, cause: Cause) -> Told {
    (second, Happening::Stopped(Stop { at: at(second), cause }))
}

/// Everything from now on, without its boot.
fn later(cloud: &mut SimulatedCloud, id: &ProviderId) -> Vec<Told> {
    let events = cloud.advance(at(1_000_000));
    of(&events, id)
        .into_iter()
        .filter(|(_, what)| !matches!(what, Happening::Booted | Happening::Registered))
        .collect()
}

#[test]
fn a_machine_boots_registers_and_is_gone_in_this_order() {
    let behaviour = Behaviour {
        boot: Spread::exactly(seconds(20)),
        register: Spread::exactly(seconds(10)),
        terminate: Spread::exactly(seconds(40)),
        ..Behaviour::prompt()
    };
    let mut cloud = cloud_of(TestMarket::default(), behaviour);
    let id = launch(&mut cloud, "a", spot(), 100);
    assert_eq!(cloud.next_event(), Some(at(120)));
    assert_eq!(cloud.advance(at(119)), []);
    let events = cloud.advance(at(130));
    assert_eq!(of(&events, &id), [(120, Happening::Booted), (130, Happening::Registered)]);
    assert!(events.iter().all(|event| event.mark.as_ref().is_some_and(|it| it.install == US)));
    cloud.terminate(US, &id, at(200)).outcome.unwrap();
    assert_eq!(cloud.next_event(), Some(at(200)));
    let gone = [stopped(200, Cause::Ordered), (240, Happening::Terminated)];
    assert_eq!(later(&mut cloud, &id), gone);
    let machine = cloud.machine(&id).unwrap();
    assert_eq!((machine.booted, machine.registered), (Some(at(120)), Some(at(130))));
    assert_eq!((machine.stopped.unwrap().by(), machine.terminated), (EndedBy::Us, Some(at(240))));
    assert_eq!(cloud.next_event(), None);
}

#[test]
fn what_is_ended_while_it_boots_never_registers() {
    let boot = Spread::exactly(seconds(20));
    let mut cloud = cloud_of(TestMarket::default(), Behaviour { boot, ..Behaviour::prompt() });
    let id = launch(&mut cloud, "a", spot(), 0);
    cloud.terminate(US, &id, at(10)).outcome.unwrap();
    let events = cloud.advance(at(1_000));
    assert_eq!(of(&events, &id), [stopped(10, Cause::Ordered), (10, Happening::Terminated)]);
}

#[test]
fn a_machine_may_register_late_or_never() {
    let mut cloud = prompt_cloud();
    cloud.inject(Fault::NeverRegisters, Reach::All, at(10));
    let never = launch(&mut cloud, "a", spot(), 0);
    cloud.inject(Fault::RegistersLate, Reach::All, at(20));
    let late = launch(&mut cloud, "b", spot(), 10);
    let events = cloud.advance(at(1_000_000));
    assert_eq!(of(&events, &never), [(0, Happening::Booted)]);
    let registered = cloud.machine(&late).unwrap().registered.unwrap();
    assert!(registered >= at(10 + 1_200));
    assert_eq!((cloud.fired(Fault::NeverRegisters), cloud.fired(Fault::RegistersLate)), (1, 1));
}

#[test]
fn the_youngest_beyond_the_supply_are_noticed_and_taken_back() {
    let supply = TestMarket::with(spot(), &[(0, 3), (500, 1), (550, 3)]);
    let mut cloud = cloud_of(supply, Behaviour::prompt());
    let [old, middle, young] =
        ["a", "b", "c"].map(|token| launch(&mut cloud, token, spot(), token.len() as i64));
    // While they are being taken back, their places are not free, though there is supply.
    assert!(crate::fixture::try_launch(&mut cloud, "d", spot(), 600).is_err());
    assert_eq!(cloud.machine(&young).unwrap().reclaim_at, Some(at(620)));
    let events = cloud.advance(at(10_000));
    let taken = [noticed(500), stopped(620, Cause::Reclaimed), (620, Happening::Terminated)];
    for id in [&middle, &young] {
        assert_eq!(of(&events, id)[2..], taken);
    }
    assert_eq!(of(&events, &old).len(), 2);
    launch(&mut cloud, "e", spot(), 10_000);
}

#[test]
fn supply_that_falls_step_by_step_takes_machines_back_at_each() {
    let supply = TestMarket::with(spot(), &[(0, 3), (500, 2), (700, 3), (900, 1), (1_100, 0)]);
    let mut cloud = cloud_of(supply, Behaviour::prompt());
    let all = ["a", "b", "c"].map(|token| launch(&mut cloud, token, spot(), 0));
    cloud.advance(at(10_000));
    let reclaimed = all.map(|id| cloud.machine(&id).unwrap().reclaim_at);
    assert_eq!(reclaimed, [1_220, 1_020, 620].map(|second| Some(at(second))));
}

#[test]
fn any_may_be_taken_back_by_chance() {
    let taken = |order, seed| {
        let supply = TestMarket::with(spot(), &[(0, 4), (500, 3)]);
        let behaviour = Behaviour { reclaim_order: order, ..Behaviour::prompt() };
        let spec = crate::fixture::spec(behaviour);
        let mut cloud = SimulatedCloud::new(spec, std::sync::Arc::new(supply), seed, at(0));
        for token in ["a", "b", "c", "d"] {
            launch(&mut cloud, token, spot(), 0);
        }
        cloud.advance(at(1_000));
        cloud.machines().iter().position(|machine| machine.stopped.is_some())
    };
    let places =
        |order| (0..40).map(|seed| taken(order, seed)).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(places(ReclaimOrder::YoungestFirst), [Some(3)].into());
    assert_eq!(places(ReclaimOrder::ByChance), [0, 1, 2, 3].map(Some).into());
}

#[test]
fn notices_are_best_effort() {
    let told = |fault| {
        let supply = TestMarket::with(spot(), &[(0, 1), (500, 0)]);
        let mut cloud = cloud_of(supply, Behaviour::prompt());
        cloud.inject(fault, Reach::All, at(1_000));
        let id = launch(&mut cloud, "a", spot(), 0);
        let told = later(&mut cloud, &id);
        assert_eq!(cloud.fired(fault), 1);
        told
    };
    let gone = |second| [stopped(second, Cause::Reclaimed), (second, Happening::Terminated)];
    assert_eq!(told(Fault::NoticeMissing), gone(500));
    let twice = told(Fault::NoticeTwice);
    let [first, (_, again), rest @ ..] = &twice[..] else { panic!("{twice:?}") };
    assert_eq!((*first, *again), (noticed(500), noticed(500).1));
    assert_eq!(*rest, gone(620));
}

#[test]
fn machines_are_interrupted_on_order() {
    let told = |interruption, key| {
        let mut cloud = prompt_cloud();
        let id = launch(&mut cloud, "a", key, 0);
        let done = cloud.interrupt(&id, interruption, at(500));
        (done, later(&mut cloud, &id))
    };
    let gone = |second, cause| vec![stopped(second, cause), (second, Happening::Terminated)];
    let with_notice = [vec![noticed(500)], gone(620, Cause::Reclaimed)].concat();
    assert_eq!(told(Interruption::WithNotice, spot()), (true, with_notice));
    let without = gone(500, Cause::Reclaimed);
    assert_eq!(told(Interruption::WithoutNotice, spot()), (true, without));
    let rumour = vec![(500, Happening::RebalanceRecommended)];
    assert_eq!(told(Interruption::RebalanceOnly, spot()), (true, rumour));
    assert_eq!(told(Interruption::NoticeTwice, spot()).1.len(), 4);
    let retired = gone(500, Cause::Retired);
    assert_eq!(told(Interruption::Retirement, on_demand()), (true, retired));
    // Nobody takes on-demand machines back.
    assert_eq!(told(Interruption::WithNotice, on_demand()), (false, Vec::new()));
}

#[test]
fn what_is_noticed_is_not_noticed_anew_and_may_be_ended_by_us_before() {
    let mut cloud = prompt_cloud();
    let id = launch(&mut cloud, "a", spot(), 0);
    assert!(cloud.interrupt(&id, Interruption::WithNotice, at(500)));
    assert!(!cloud.interrupt(&id, Interruption::WithNotice, at(510)));
    cloud.terminate(US, &id, at(560)).outcome.unwrap();
    let ended = [noticed(500), stopped(560, Cause::Ordered), (560, Happening::Terminated)];
    assert_eq!(later(&mut cloud, &id), ended);
    assert!(!cloud.interrupt(&id, Interruption::Retirement, at(1_000_000)));
    assert_eq!(cloud.fired(Fault::Interruption), 1);
}

#[test]
fn a_machine_may_be_slow_to_go() {
    let mut cloud = prompt_cloud();
    let id = launch(&mut cloud, "a", spot(), 0);
    cloud.inject(Fault::SlowTerminate, Reach::Pool(pool()), at(100));
    cloud.terminate(US, &id, at(50)).outcome.unwrap();
    cloud.advance(at(1_000_000));
    let machine = cloud.machine(&id).unwrap();
    assert!(machine.terminated.unwrap() >= at(650) && machine.stopped.unwrap().at == at(50));
}

#[test]
fn the_foreign_tenant_comes_and_goes() {
    let tenant = ForeignTenant {
        every: Spread::seconds(100, 200, 400),
        keeps: Spread::seconds(100, 300, 900),
        markets: vec![spot(), on_demand()],
        install: "theirs".to_owned(),
        pool: pool(),
    };
    let behaviour = Behaviour { foreign_tenant: Some(tenant), ..Behaviour::prompt() };
    let mut cloud = cloud_of(TestMarket::default(), behaviour);
    cloud.advance(at(100_000));
    let machines = cloud.machines();
    let marked = machines.iter().filter(|machine| machine.mark.is_some()).count();
    assert!(machines.len() > 100 && marked > 30 && marked + 30 < machines.len());
    assert_eq!(cloud.fired(Fault::ForeignMachine), machines.len() as u64);
    let open = machines.iter().filter(|machine| machine.stopped.is_none()).count();
    assert!(machines.iter().all(|machine| machine.foreign) && open <= 8);
    assert!(cloud.list(US, &pool(), None, at(100_000)).outcome.unwrap().machines.is_empty());
}
