//! The meter against EC2's rules.

use spotwise_model::MarketKey;
use spotwise_model::instance::EndedBy;

use crate::fixture::{
    DEARER, PRICE, TestMarket, US, at, cloud_of, launch, on_demand, prompt_cloud, spot,
};
use crate::{Behaviour, Fault, Interruption, MeterLine, Reach, SimulatedCloud};

/// At a micro-dollar a millisecond.
const A_SECOND: i64 = PRICE / 3_600;

#[derive(Clone, Copy)]
enum End {
    ByUs,
    Reclaimed,
    Retired,
}

fn ended(key: MarketKey, end: End, second: i64) -> MeterLine {
    let mut cloud = prompt_cloud();
    let id = launch(&mut cloud, "a", key, 0);
    match end {
        End::ByUs => assert_eq!(cloud.terminate(US, &id, at(second)).outcome, Ok(())),
        End::Reclaimed => {
            assert!(cloud.interrupt(&id, Interruption::WithoutNotice, at(second)));
        }
        End::Retired => assert!(cloud.interrupt(&id, Interruption::Retirement, at(second))),
    }
    only(&cloud, 1_000_000)
}

fn only(cloud: &SimulatedCloud, now: i64) -> MeterLine {
    let mut lines = cloud.meter(at(now));
    assert_eq!(lines.len(), 1);
    lines.remove(0)
}

#[test]
fn seconds_a_minute_at_least_and_nothing_for_an_early_reclaim() {
    let table = [
        (spot(), End::ByUs, 1, 60, false),
        (spot(), End::ByUs, 61, 61, false),
        (spot(), End::ByUs, 3_599, 3_599, false),
        (spot(), End::Reclaimed, 1, 60, true),
        (spot(), End::Reclaimed, 3_599, 3_599, true),
        (spot(), End::Reclaimed, 3_600, 3_600, false),
        (spot(), End::Retired, 100, 100, true),
        (on_demand(), End::ByUs, 0, 60, false),
        (on_demand(), End::ByUs, 7_201, 7_201, false),
        (on_demand(), End::Retired, 100, 100, false),
    ];
    for (key, end, second, billed, waived) in table {
        let line = ended(key.clone(), end, second);
        assert_eq!((line.seconds(), line.waived), (billed, waived), "{key} at {second}");
        let amount = if waived { 0 } else { billed as i64 * A_SECOND };
        assert_eq!(line.amount.micros(), amount, "{key} at {second}");
        let by = if matches!(end, End::ByUs) { EndedBy::Us } else { EndedBy::Provider };
        assert_eq!((line.ended_by, line.from, &line.market), (Some(by), at(0), &key));
    }
}

#[test]
fn who_ends_a_noticed_machine_pays_for_it() {
    let mut cloud = prompt_cloud();
    let id = launch(&mut cloud, "a", spot(), 0);
    cloud.interrupt(&id, Interruption::WithNotice, at(100));
    cloud.terminate(US, &id, at(219)).outcome.unwrap();
    let line = only(&cloud, 1_000);
    assert_eq!((line.waived, line.amount.micros()), (false, 219 * A_SECOND));
}

#[test]
fn a_machine_that_never_registered_is_billed_from_its_launch() {
    let mut cloud = prompt_cloud();
    cloud.inject(Fault::NeverRegisters, Reach::All, at(100));
    let id = launch(&mut cloud, "a", spot(), 10);
    cloud.terminate(US, &id, at(910)).outcome.unwrap();
    assert_eq!(only(&cloud, 1_000).seconds(), 900);
}

#[test]
fn what_goes_on_is_billed_as_if_it_ended_now() {
    let mut cloud = prompt_cloud();
    let id = launch(&mut cloud, "a", spot(), 10);
    assert_eq!(cloud.meter(at(9)), []);
    let line = only(&cloud, 20);
    assert_eq!((line.seconds(), line.ended_by), (60, None));
    assert_eq!(only(&cloud, 5_000).seconds(), 4_990);
    cloud.interrupt(&id, Interruption::WithoutNotice, at(200));
    assert!(only(&cloud, 200).waived);
    // As it was before its end.
    let before = only(&cloud, 199);
    assert_eq!((before.seconds(), before.ended_by, before.waived), (189, None, false));
}

#[test]
fn each_price_counts_for_its_own_seconds() {
    let market = TestMarket { dearer_from: Some(100), ..TestMarket::default() };
    let mut cloud = cloud_of(market, Behaviour::prompt());
    let id = launch(&mut cloud, "a", spot(), 0);
    cloud.terminate(US, &id, at(107)).outcome.unwrap();
    // 7 s at 7,200,001 an hour are 14,000.002.
    assert_eq!(only(&cloud, 1_000).amount.micros(), 100 * A_SECOND + DEARER * 7 / 3_600);
}

#[test]
fn the_rest_of_a_second_is_not_billed() {
    let mut cloud = prompt_cloud();
    let moment = |millis| jiff::Timestamp::from_millisecond(millis).unwrap();
    let request = crate::fixture::request("a", spot());
    let id = cloud.launch(&request, moment(10_900)).outcome.unwrap().machine;
    cloud.terminate(US, &id, moment(110_999)).outcome.unwrap();
    let line = only(&cloud, 1_000);
    assert_eq!((line.from, line.to), (at(10), at(110)));
}

#[test]
fn others_machines_have_lines_without_our_mark() {
    let mut cloud = prompt_cloud();
    let foreign = cloud.open_foreign(&spot(), None, crate::fixture::seconds(90), at(0)).unwrap();
    cloud.advance(at(1_000));
    let line = only(&cloud, 1_000);
    assert_eq!((line.machine, line.mark), (foreign, None));
}
