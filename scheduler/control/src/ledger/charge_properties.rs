//! Random lives of machines: whatever happens, the parts add up to the bill.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use spotwise_model::gpu::MigProfile;

use super::tests::*;
use super::*;
use crate::ledger::{CostReport, Scope};

/// Seconds; none rather often.
fn length() -> impl Strategy<Value = i64> {
    prop_oneof![1 => Just(0), 4 => 1i64..3_000]
}

/// A machine's life, its prices and its uses, in random order and partly outside.
fn worlds() -> impl Strategy<Value = (Instance, Vec<Segment>, Vec<Use>, Policy)> {
    let share = prop_oneof![
        Just(half()),
        Just(whole_machine()),
        Just(Share {
            mig: Some(MigProfile::G2),
            cpu_milli: 333,
            memory_mib: 77,
            ..Share::default()
        }),
        Just(Share::default()),
        (0u32..3, 0u64..9_000, 0u64..70_000).prop_map(|(gpus, cpu_milli, memory_mib)| Share {
            gpus,
            cpu_milli,
            memory_mib,
            ..Share::default()
        }),
    ];
    let single = (share, -50i64..5_000, 0i64..400, 0i64..3_000, 0i64..3_000, 0u8..8);
    (
        (
            (0i64..100, prop_oneof![0i64..90, 0i64..8_000], any::<bool>(), any::<bool>()),
            proptest::collection::vec((0i64..3_000, length(), 1i64..9_000_000), 0..3),
        ),
        proptest::collection::vec((length(), 0i64..9), 0..7),
        proptest::collection::vec(single, 0..6),
    )
        .prop_map(|(((since, lived, spot, provider), coverage), gaps, uses)| {
            let capacity = if spot { CapacityType::Spot } else { CapacityType::OnDemand };
            let by = if provider { EndedBy::Provider } else { EndedBy::Us };
            let mut segments = Vec::new();
            let mut from = 0;
            for (gap, step) in gaps {
                // Few prices: what comes back to the one before is one stretch.
                let price = price(step / 3 * 1_234_567);
                segments.push(Segment { from: at(from), to: at(from + gap), price });
                from += gap;
            }
            let uses = uses
                .into_iter()
                .zip(1..)
                .map(|((share, from, start, work, kept, bits), job)| Use {
                    started: (bits & 1 == 0).then(|| at(from + start)),
                    useful_until: (bits & 2 == 0).then(|| at(from + kept)),
                    ..used(job, share, [from, from, from + start + work], None)
                })
                .collect();
            let minimum_billed = Duration::from_secs(60);
            let policy = Policy { minimum_billed, ..Policy::default() };
            let mut machine = instance(capacity, since, since + lived, by);
            let mut from = since;
            for (gap, length, micros) in coverage.into_iter().filter(|_| !spot) {
                machine.coverage.push(covered("a", micros, from + gap, from + gap + length));
                from += gap + length;
            }
            (machine, segments, uses, policy)
        })
}

/// The covered span that pays and the price in force, told second by second from the
/// segments themselves.
fn price_at(segments: &[Segment], machine: &Instance, second: i64) -> (Option<usize>, Price) {
    let paid = |covered: &CoveredSpan| covered.from <= at(second) && at(second) < covered.until;
    if let Some(covered) = machine.coverage.iter().position(paid) {
        return (Some(covered), machine.coverage[covered].price);
    }
    let bought = segments
        .iter()
        .rfind(|segment| segment.from <= at(second))
        .map_or(machine.launch_price, |segment| segment.price);
    (None, bought)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_parts_add_up_to_the_bill((machine, segments, uses, policy) in worlds()) {
        let InstanceState::Gone { since: Some(since), at: ended, .. } = machine.state else {
            panic!()
        };
        let on_demand = price(ON_DEMAND);
        let bill = InstanceBill {
            instance: &machine,
            segments: &segments,
            on_demand,
            uses: uses.clone(),
            termination: std::time::Duration::ZERO,
            policy: &policy,
        };
        let entries = charge_instance(&bill);
        let lines: Vec<&LedgerEntry> =
            entries.iter().filter(|entry| entry.kind != LineKind::Waiver).collect();

        // The oracle: a meter that goes second by second, and rounds when the
        // price changes, or who pays.
        let unpaid = machine.coverage.iter().all(|covered| covered.from >= covered.until);
        let minimum = if unpaid { 60 } else { 0 };
        let (from, to) = (since.as_second(), ended.as_second().max(since.as_second() + minimum));
        let (mut expected, mut counterfactual) = (Money::ZERO, Money::ZERO);
        let mut second = from;
        while second < to {
            let now = price_at(&segments, &machine, second);
            let begin = second;
            while second < to && price_at(&segments, &machine, second) == now {
                second += 1;
            }
            expected += now.1.charge((second - begin) as u64);
            counterfactual += on_demand.charge((second - begin) as u64);
        }
        prop_assert_eq!(lines.iter().map(|entry| entry.amount).sum::<Money>(), expected);
        let sum: Money = lines.iter().map(|entry| entry.on_demand_amount).sum();
        prop_assert_eq!(sum, counterfactual);
        prop_assert!(lines.iter().all(|entry| entry.amount >= Money::ZERO));

        // Every entry has one price, and a sequence of its own.
        for entry in &lines {
            for second in [entry.from.as_second(), entry.to.as_second() - 1] {
                prop_assert_eq!(price_at(&segments, &machine, second).1, entry.price);
            }
        }
        let sequences: BTreeSet<u32> = entries.iter().map(|entry| entry.sequence).collect();
        prop_assert_eq!(sequences.len(), entries.len());

        // An attempt's intervals are disjoint, in the order of its phases, and
        // cover its time on the machine.
        for used in &uses {
            let begin = used.from.max(since).min(ended);
            let end = used.ended.max(begin).min(ended);
            let mut reached = begin;
            let (idle, mut own): (Vec<_>, Vec<_>) = lines
                .iter()
                .filter(|entry| entry.attempt == Some(used.attempt))
                .partition(|entry| entry.kind == LineKind::Idle);
            // It pays for what was idle beside it, never before or after it.
            let within = |entry: &&LedgerEntry| entry.from >= begin && entry.to <= end;
            prop_assert!(idle.iter().all(within));
            own.sort_by_key(|entry| entry.from);
            for entry in own {
                prop_assert_eq!(entry.from, reached);
                prop_assert!(entry.to > entry.from);
                let begun = used.started.is_some_and(|started| entry.from >= started);
                prop_assert_eq!(entry.kind == LineKind::Startup, !begun);
                if entry.kind == LineKind::Compute {
                    prop_assert!(used.useful_until.is_some_and(|until| entry.to <= until));
                }
                reached = entry.to;
            }
            prop_assert_eq!(reached, end);
        }
        // Every billed second belongs to somebody, or is idle.
        let mut reached = at(from);
        let mut covering = lines.clone();
        covering.sort_by_key(|entry| (entry.from, entry.to));
        for entry in covering {
            prop_assert!(entry.from <= reached);
            reached = reached.max(entry.to);
        }
        prop_assert_eq!(reached, at(to));

        // The reports add up too.
        let group_by = ["hour", "kind", "attempt"].map(str::to_owned);
        let zone = jiff::tz::TimeZone::UTC;
        let scope = Scope { group_by: &group_by, since: None, until: None, zone: &zone, now: at(to) };
        let report = CostReport::new(&entries, &[], &scope, usize::MAX).unwrap();
        prop_assert_eq!(report.check(), Ok(()));
        let sum = entries.iter().map(|entry| entry.amount).sum::<Money>();
        prop_assert_eq!(report.total.sums.total, sum);
    }

    #[test]
    fn the_order_of_uses_changes_nothing((machine, segments, mut uses, policy) in worlds()) {
        let bill = |uses: &[Use]| {
            charge_instance(&InstanceBill {
                instance: &machine,
                segments: &segments,
                on_demand: price(ON_DEMAND),
                uses: uses.to_vec(),
                termination: std::time::Duration::ZERO,
                policy: &policy,
            })
        };
        let forward = bill(&uses);
        uses.reverse();
        prop_assert_eq!(bill(&uses), forward);
    }
}
