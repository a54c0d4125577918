use spotwise_model::id::Zone;
use spotwise_model::instance::EndedBy;
use spotwise_model::{Instance, InstanceId, InstanceState};

use super::*;
use crate::fixture::spot::{lively, market, minute};
use crate::fixture::{cloud_pool, machine};

/// An account that shows nothing.
fn pools() -> PoolSet {
    let mut pool = cloud_pool("cloud");
    pool.account = Account::new("4711");
    pool.supply = SupplyShown::Unknown;
    PoolSet::of([pool])
}

fn key(zone: &str) -> MarketKey {
    let kind = InstanceType::new("p3.2xlarge");
    let key = MarketKey::recorded(Zone::new(zone), kind, CapacityType::Spot);
    MarketKey { account: Account::new("4711"), ..key }
}

fn instance(id: u64, zone: &str, from: i64) -> Instance {
    let mut instance = machine(id, "x", CapacityType::Spot);
    instance.offer.market = key(zone);
    let state = InstanceState::Registered { since: minute(from) };
    Instance { id: InstanceId(id), state, ..instance }
}

fn logged(instances: &[Instance]) -> OwnLog {
    let mut log = OwnLog::default();
    instances.iter().for_each(|instance| log.note(instance, 99));
    log
}

fn believed(log: &OwnLog, rows: Vec<(i64, u32)>, now: i64) -> Belief {
    let market = market(&[("us-east-1a", rows.clone()), ("us-east-1b", rows)]);
    let quotes = market.quotes(minute(now));
    let beliefs = refresh(Beliefs::default(), (log, &pools()), &quotes, minute(now));
    let key = key("us-east-1a");
    beliefs.of(&key.account, &key.instance_type).unwrap().clone()
}

fn text(belief: &Belief) -> String {
    format!("{belief:?}")
}

#[test]
fn what_the_market_has_changes_no_belief() {
    let log = logged(&[instance(1, "us-east-1a", 30).end(minute(200), EndedBy::Provider).unwrap()]);
    let (none, many) = (believed(&log, vec![(0, 0)], 500), believed(&log, vec![(0, 40)], 500));
    assert_eq!(text(&none), text(&many));
    assert_eq!(text(&none), text(&believed(&log, lively(), 500)));
    assert_eq!(none.markets, [key("us-east-1a"), key("us-east-1b")]);
}

#[test]
fn it_is_there_while_we_have_one_and_not_there_once_it_is_taken() {
    let open = instance(1, "us-east-1a", 30);
    let up = |log: &OwnLog, now| believed(log, vec![(0, 4)], now).own.chance_up(0);
    assert!(up(&logged(std::slice::from_ref(&open)), 200) > 0.999);
    let taken = open.clone().end(minute(200), EndedBy::Provider).unwrap();
    assert!(up(&logged(std::slice::from_ref(&taken)), 201) < 0.001);
    let asked = InstanceState::Requested {
        at: crate::fixture::now(0),
        certainty: spotwise_model::attempt::Certainty::Known,
    };
    let refused = Instance { state: asked, ..open.clone() }.end(minute(199), EndedBy::Us).unwrap();
    let refused = logged(&[refused]);
    let (soon, later, long) = (up(&refused, 200), up(&refused, 300), up(&refused, 20_000));
    assert!(soon < 0.001 && soon < later && later < long, "{soon} {later} {long}");
    let hazard = |log: &OwnLog| believed(log, vec![(0, 4)], 230).own.hazard_per_hour(0, true, 1);
    assert!(hazard(&logged(&[taken])) > hazard(&logged(&[open])), "it was taken");
}

/// What was believed before, or seen again after a restart, gives the same.
#[test]
fn a_restart_believes_the_same() {
    let market = market(&[("us-east-1a", vec![(0, 4)]), ("us-east-1b", vec![(0, 4)])]);
    let quotes = market.quotes(minute(0));
    let lives = [(1, 10, 95), (2, 100, 301), (3, 302, 303), (4, 320, 700)];
    let (mut log, mut beliefs) = (OwnLog::default(), Beliefs::default());
    for now in (0..800).step_by(7) {
        for (id, from, to) in lives {
            let machine = instance(id, "us-east-1b", from);
            if from <= now && to > now {
                log.note(&machine, id);
            }
            if to <= now {
                log.note(&machine.end(minute(to), EndedBy::Provider).unwrap(), id);
            }
        }
        beliefs = refresh(beliefs, (&log, &pools()), &quotes, minute(now));
        let anew = refresh(Beliefs::default(), (&log, &pools()), &quotes, minute(now));
        assert_eq!(format!("{beliefs:?}"), format!("{anew:?}"), "{now}");
    }
    let mut read = OwnLog::default();
    for (id, from, to) in lives {
        let gone = instance(id, "us-east-1b", from).end(minute(to), EndedBy::Provider).unwrap();
        read.note(&gone.settle().unwrap(), 4);
    }
    let again = refresh(Beliefs::default(), (&read, &pools()), &quotes, minute(799));
    let kind = |beliefs: &Beliefs| {
        let key = key("us-east-1b");
        format!("{:?}", beliefs.of(&key.account, &key.instance_type).unwrap().own)
    };
    assert_eq!(kind(&again), kind(&beliefs));
}

#[test]
fn a_market_that_is_counted_has_none() {
    let market = market(&[("us-east-1a", vec![(0, 4)])]);
    let mut pools = pools();
    for pool in pools.pools.values_mut() {
        pool.supply = SupplyShown::Counted;
    }
    let quotes = market.quotes(minute(0));
    let none = refresh(Beliefs::default(), (&OwnLog::default(), &pools), &quotes, minute(0));
    assert!(none.of(&Account::new("4711"), &InstanceType::new("p3.2xlarge")).is_none());
    assert_eq!(none.hazard_per_hour(&key("us-east-1a")), None);
}

#[test]
fn words_name_the_market_and_the_prior() {
    let taken = instance(1, "us-east-1a", 0).end(minute(720), EndedBy::Provider).unwrap();
    let words = rests_on(&logged(&[taken]), &key("us-east-1a"), minute(900));
    assert_eq!(
        words,
        "nobody says how much spot p3.2xlarge in us-east-1a there is: 12 machine-hours seen here, \
         1 interruption; last launch granted 15 h ago; prior as recorded markets of 2022 and 2023"
    );
}

#[test]
fn what_is_believed_is_due_again_at_the_next_step() {
    let market = market(&[("us-east-1a", lively())]);
    let due = |pools: &PoolSet, now: i64| {
        let quotes = market.quotes(minute(now));
        let log = OwnLog::default();
        let beliefs = refresh(Beliefs::default(), (&log, pools), &quotes, minute(now));
        let (market, wall) = (minute(now), minute(now));
        let mut due = Due::after(spotwise_model::Now { market, wall });
        beliefs.due(&mut due);
        due.earliest(spotwise_model::time::TimeScale::real(wall))
    };
    let first = due(&pools(), 0).unwrap();
    assert_eq!(first.as_second() % 900, 0);
    assert!((minute(0)..=minute(15)).contains(&first), "{first}");
    assert_eq!(due(&pools(), 15), Some(spotwise_model::time::after(first, STEP)));
    let mut counted = pools();
    counted.pools.values_mut().for_each(|pool| pool.supply = SupplyShown::Counted);
    assert_eq!(due(&counted, 0), None, "nothing is believed");
}
