//! What was observed and what was recorded form one history.

use proptest::prelude::*;

use super::*;

/// The whole past, as in a recording.
fn recorded(market: &Market, zone: &str, nodes: u32, now: Timestamp) -> Vec<bool> {
    let (zone, kind) = (ZoneName::new(zone), InstanceType::new("p3.2xlarge"));
    let memory = between(market.start(), now).min(crate::core::availability_history::RETENTION);
    let steps = (memory.as_secs() / STEP.as_secs()) as u32;
    let first = now.checked_sub(STEP * steps).unwrap();
    let machines = (0..=steps).map(|step| {
        let at = after(first, STEP * step);
        market.quote(&zone, &kind, CapacityType::Spot, at).unwrap().available
    });
    machines.map(|machines| machines >= nodes).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// A scheduler that missed nothing, whether it observed from the start, from some time
    /// on or not yet, and whether it was killed on the way, learns what the whole series
    /// says.
    #[test]
    fn who_missed_nothing_learns_the_whole_series(
        zones in prop::collection::vec(
            prop::collection::vec((1_i64..400, 0_u32..6), 1..80), 1..4),
        begin in 0_i64..4 * DAY,
        kill in 0_i64..4 * DAY,
        days in 2_i64..18,
        nodes in 1_u32..8,
    ) {
        let names = ["us-east-1a", "us-east-1b", "us-west-2a"];
        let rows = zones.into_iter().map(|zone| {
            let mut at = 0;
            let later = zone.into_iter().map(|(gap, machines)| {
                at += gap;
                (at, machines)
            });
            std::iter::once((0, 3)).chain(later).collect()
        });
        let market = market(&names.into_iter().zip(rows).collect::<Vec<_>>());
        let end = 4 * DAY + days * DAY / 4;
        let (mut availability, mut stored) =
            (AvailabilityHistory::default(), AvailabilityHistory::default());
        watch(&mut availability, &mut stored, &market, begin, end);
        let (mut killed, mut told) =
            (AvailabilityHistory::default(), AvailabilityHistory::default());
        let kill = begin + kill;
        watch(&mut killed, &mut told, &market, begin, kill.min(end));
        killed = again(&told);
        watch(&mut killed, &mut told, &market, kill.min(end), end);
        let first_look = {
            let mut availability = AvailabilityHistory::default();
            availability.observe(&machines_now(&market, minute(end)), GAP_TOLERANCE, minute(end));
            availability
        };
        let zones: Vec<&str> =
            names.into_iter().filter(|z| machines_now(&market, minute(0)).contains_key(&key(z))).collect();
        let keys: Vec<MarketKey> = zones.iter().map(|zone| key(zone)).collect();
        let keys: Vec<&MarketKey> = keys.iter().collect();
        let now = minute(end);
        let expected: Vec<Vec<bool>> =
            zones.iter().map(|zone| recorded(&market, zone, nodes, now)).collect();
        let nothing = AvailabilityHistory::default();
        for availability in [&availability, &killed, &first_look, &nothing] {
            let history = History::of(availability, &market, &keys, nodes, now);
            prop_assert_eq!(&history.zones, &expected);
            for key in &keys {
                let day = now.checked_sub(Duration::from_secs(86_400)).unwrap();
                let whole = market.since(&key.zone, &key.instance_type, nodes, (day, now));
                if *availability != AvailabilityHistory::default() {
                    let since = history::since(availability, &market, key, nodes, now);
                    prop_assert_eq!(Some(since), whole, "{}", key);
                }
            }
        }
    }
}
