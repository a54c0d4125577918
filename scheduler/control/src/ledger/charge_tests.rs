use spotwise_model::id::{Accelerator, InstanceType, PoolName, Zone};
use spotwise_model::{InstanceId, JobId, OfferKey};

use super::*;

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(super) fn price(micros: i64) -> Price {
    Price::from_micros_per_hour(micros)
}

fn attempt(job: u64, number: u32) -> AttemptId {
    AttemptId { job: JobId(job), number }
}

pub(super) const ON_DEMAND: i64 = 3_060_000;

/// Two GPUs, 16 CPUs, 120 GiB.
pub(super) fn instance(capacity_type: CapacityType, from: i64, to: i64, by: EndedBy) -> Instance {
    let live = Instance {
        id: InstanceId(5),
        offer: OfferKey::recorded(
            PoolName::new("local"),
            Zone::new("us-east-1a"),
            InstanceType::new("p3.2xlarge"),
            capacity_type,
        ),
        shape: NodeShape {
            accelerator: Some(Accelerator::new("V100")),
            gpus: 2,
            gpu_memory_mib: 16_384,
            cpu_milli: 16_000,
            memory_mib: 122_880,
        },
        launch_price: price(1_000_000),
        on_demand: price(ON_DEMAND),
        state: InstanceState::Registered { since: at(from) },
        coverage: Vec::new(),
        provider: None,
        token: None,
    };
    live.end(at(to), by).unwrap()
}

pub(super) fn half() -> Share {
    Share { gpus: 1, cpu_milli: 8_000, memory_mib: 61_440, ..Share::default() }
}

pub(super) fn whole_machine() -> Share {
    Share { gpus: 2, cpu_milli: 16_000, memory_mib: 122_880, ..Share::default() }
}

pub(super) fn used(job: u64, share: Share, times: [i64; 3], useful: Option<i64>) -> Use {
    let [from, started, ended] = times;
    Use {
        attempt: attempt(job, 1),
        share,
        from: at(from),
        started: Some(at(started)),
        ended: at(ended),
        useful_until: useful.map(at),
        dimensions: BTreeMap::from([("model".to_owned(), format!("m{job}"))]),
    }
}

fn charge(instance: &Instance, segments: &[Segment], uses: Vec<Use>) -> Vec<LedgerEntry> {
    let policy = Policy::default();
    let on_demand = price(ON_DEMAND);
    let termination = Duration::from_secs(60);
    charge_instance(&InstanceBill {
        instance,
        segments,
        on_demand,
        uses,
        termination,
        policy: &policy,
    })
}

/// Kind, job, from, to, micro-dollars: what a test compares.
fn rows(entries: &[LedgerEntry]) -> Vec<(&'static str, u64, i64, i64, i64)> {
    entries
        .iter()
        .map(|entry| {
            let job = entry.job().map_or(0, |job| job.0);
            let (from, to) = (entry.from.as_second(), entry.to.as_second());
            (entry.kind.name(), job, from, to, entry.amount.micros())
        })
        .collect()
}

fn paid(entries: &[LedgerEntry]) -> i64 {
    entries.iter().map(|entry| entry.amount).sum::<Money>().micros()
}

#[test]
fn a_life_is_cut_into_its_lines() {
    let machine = instance(CapacityType::Spot, 0, 7_200, EndedBy::Us);
    let segments = [
        Segment { from: at(0), to: at(3_600), price: price(900_000) },
        Segment { from: at(3_600), to: at(7_200), price: price(1_800_000) },
    ];
    let uses = vec![used(1, whole_machine(), [600, 1_200, 6_000], Some(4_800))];
    assert_eq!(
        rows(&charge(&machine, &segments, uses)),
        [
            ("startup", 1, 600, 1_200, 150_000),
            ("compute", 1, 1_200, 3_600, 600_000),
            ("idle", 0, 0, 600, 150_000),
            ("compute", 1, 3_600, 4_800, 600_000),
            ("lost-work", 1, 4_800, 6_000, 600_000),
            ("idle", 0, 6_000, 7_200, 600_000),
        ]
    );
}

#[test]
fn jobs_side_by_side_pay_their_share() {
    let machine = instance(CapacityType::OnDemand, 0, 3_600, EndedBy::Us);
    let segments = [Segment { from: at(0), to: at(3_600), price: price(ON_DEMAND) }];
    let uses = vec![
        used(1, half(), [0, 0, 3_600], Some(3_600)),
        used(2, half(), [0, 0, 1_800], Some(1_800)),
    ];
    let entries = charge(&machine, &segments, uses);
    assert_eq!(
        rows(&entries),
        [
            ("compute", 1, 0, 3_600, 1_530_000),
            ("compute", 2, 0, 1_800, 765_000),
            ("idle", 1, 1_800, 3_600, 765_000),
        ]
    );
    assert!(entries.iter().all(|entry| entry.amount == entry.on_demand_amount));
    assert!(entries.iter().all(|entry| entry.method == METHOD));
    assert_eq!(entries.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(entries[1].dimensions["model"], "m2");
    assert_eq!(entries[2].dimensions, entries[0].dimensions, "its idle is its own cost too");
}

#[test]
fn an_attempt_that_never_started_pays_for_startup() {
    let machine = instance(CapacityType::Spot, 0, 4_000, EndedBy::Us);
    let never = Use { started: None, ..used(1, whole_machine(), [0, 0, 4_000], None) };
    assert_eq!(rows(&charge(&machine, &[], vec![never])), [("startup", 1, 0, 4_000, 1_111_111)]);
    let nothing_saved = used(1, whole_machine(), [0, 1_000, 4_000], None);
    let entries = charge(&machine, &[], vec![nothing_saved]);
    assert_eq!(entries[1].kind, LineKind::LostWork);
}

/// AWS's table for Linux, which is all that runs here: who ended it, within the
/// first hour or after it, below the minimum or above it.
#[test]
fn billing_table() {
    use CapacityType::{OnDemand, Spot};
    use EndedBy::{Provider, Us};
    // Capacity, who ended it, after how long; seconds billed, of them given back.
    for (capacity, by, lived, billed, free) in [
        (Spot, Us, 0, 60, false),
        (Spot, Us, 30, 60, false),
        (Spot, Us, 60, 60, false),
        (Spot, Us, 61, 61, false),
        (Spot, Us, 3_599, 3_599, false),
        (Spot, Us, 3_600, 3_600, false),
        (Spot, Us, 9_000, 9_000, false),
        (Spot, Provider, 0, 60, true),
        (Spot, Provider, 30, 60, true),
        (Spot, Provider, 60, 60, true),
        (Spot, Provider, 61, 61, true),
        (Spot, Provider, 3_599, 3_599, true),
        (Spot, Provider, 3_600, 3_600, false),
        (Spot, Provider, 9_000, 9_000, false),
        (OnDemand, Us, 30, 60, false),
        (OnDemand, Us, 61, 61, false),
        (OnDemand, Us, 3_600, 3_600, false),
        (OnDemand, Provider, 30, 60, false),
        (OnDemand, Provider, 3_599, 3_599, false),
        (OnDemand, Provider, 3_600, 3_600, false),
    ] {
        let machine = instance(capacity, 1_000, 1_000 + lived, by);
        let uses = vec![used(1, half(), [1_000, 1_010, 1_000 + lived], None)];
        let entries = charge(&machine, &[], uses);
        let (waivers, lines): (Vec<_>, Vec<_>) =
            entries.iter().cloned().partition(|entry| entry.kind == LineKind::Waiver);
        let case = format!("{capacity} ended by {by:?} after {lived} s");
        assert_eq!(paid(&lines), price(1_000_000).charge(billed).micros(), "{case}");
        assert_eq!(paid(&waivers), if free { -paid(&lines) } else { 0 }, "{case}");
        let counterfactual: Money = entries.iter().map(|entry| entry.on_demand_amount).sum();
        assert_eq!(counterfactual, price(ON_DEMAND).charge(billed), "{case}");
        for (waiver, line) in waivers.iter().zip(&lines) {
            assert_eq!(waiver.amount, -line.amount);
            assert_eq!(
                (waiver.attempt, waiver.from, waiver.to),
                (line.attempt, line.from, line.to)
            );
            assert_eq!(waiver.dimensions, line.dimensions);
        }
    }
}

pub(super) fn covered(name: &str, micros: i64, from: i64, until: i64) -> CoveredSpan {
    CoveredSpan {
        commitment: name.to_owned(),
        price: price(micros),
        from: at(from),
        until: at(until),
    }
}

#[test]
fn committed_hours_cost_their_effective_price_and_the_rest_is_on_demand() {
    let mut machine = instance(CapacityType::OnDemand, 0, 7_200, EndedBy::Us);
    machine.launch_price = price(1_000_000);
    machine.coverage =
        vec![covered("a", 1_000_000, 0, 1_800), covered("b", 2_000_000, 3_600, 9_000)];
    let segments = [Segment { from: at(0), to: at(7_200), price: price(ON_DEMAND) }];
    let whole = used(1, whole_machine(), [0, 0, 7_200], Some(7_200));
    let entries = charge(&machine, &segments, vec![whole]);
    let found: Vec<_> = entries
        .iter()
        .map(|e| {
            let name = e.dimensions.get(commitment::DIMENSION).map(String::as_str);
            (e.from.as_second(), e.offer.market.capacity_type, name, e.amount.micros())
        })
        .collect();
    let paid = CapacityType::Reserved;
    assert_eq!(
        found,
        [
            (0, paid, Some("a"), 500_000),
            (1_800, CapacityType::OnDemand, None, ON_DEMAND / 2),
            (3_600, paid, Some("b"), 2_000_000),
        ]
    );
    let all: Money = entries.iter().map(|entry| entry.on_demand_amount).sum();
    assert_eq!(all.micros(), 2 * ON_DEMAND, "what it saves is told against on demand, as ever");
}

#[test]
fn a_committed_machine_has_no_minimum() {
    let mut machine = instance(CapacityType::Reserved, 0, 10, EndedBy::Us);
    machine.coverage = vec![covered("a", 3_600_000, 0, 1_000)];
    let entries = charge(&machine, &[], Vec::new());
    let idle = &entries[0];
    assert_eq!((entries.len(), idle.amount.micros(), idle.attempt), (1, 10_000, None));
    assert_eq!(idle.dimensions["commitment"], "a", "the seat was taken by nobody's job");
}

#[test]
fn a_commitment_that_paid_for_no_second_changes_no_bill() {
    let mut machine = instance(CapacityType::OnDemand, 0, 59, EndedBy::Us);
    let segments = [Segment { from: at(0), to: at(59), price: price(ON_DEMAND) }];
    let bought = charge(&machine, &segments, Vec::new());
    assert_eq!((bought.len(), bought[0].to), (1, at(60)), "on demand a minute is the least");
    machine.coverage = vec![covered("a", 1_000_000, 7, 7)];
    assert_eq!(charge(&machine, &segments, Vec::new()), bought);
}

#[test]
fn a_live_machine_has_no_charges_yet() {
    let mut machine = instance(CapacityType::Spot, 0, 100, EndedBy::Us);
    machine.state = InstanceState::Registered { since: at(0) };
    assert!(charge(&machine, &[], Vec::new()).is_empty());
}

#[test]
fn an_overfull_machine_is_still_charged_once() {
    let machine = instance(CapacityType::Spot, 0, 3_600, EndedBy::Us);
    let three = (1..4).map(|job| used(job, half(), [0, 0, 3_600], Some(3_600))).collect();
    let entries = charge(&machine, &[], three);
    assert_eq!(
        rows(&entries).iter().map(|row| row.4).collect::<Vec<_>>(),
        [333_334, 333_333, 333_333]
    );
}

/// Billed from 0, given back at 3,000 and gone at 3,200.
fn given_back() -> Instance {
    let mut live = instance(CapacityType::OnDemand, 0, 9_999, EndedBy::Us);
    live.state = InstanceState::Gone {
        since: Some(at(0)),
        given_back: Some(at(3_000)),
        at: at(3_200),
        by: EndedBy::Us,
        settled: false,
    };
    live
}

fn lines(entries: &[LedgerEntry]) -> Vec<(Option<u64>, i64, i64, &str)> {
    let of = |entry: &LedgerEntry| {
        let job = entry.attempt.map(|attempt| attempt.job.0);
        (job, entry.from.as_second(), entry.to.as_second())
    };
    let why = |entry: &'_ LedgerEntry| match entry.dimensions.get(IDLE).map(String::as_str) {
        Some("kept") => "kept",
        Some("orphan") => "orphan",
        Some("ending") => "ending",
        _ => entry.kind.name(),
    };
    entries.iter().map(|entry| (of(entry).0, of(entry).1, of(entry).2, why(entry))).collect()
}

#[test]
fn time_that_nobody_uses_has_a_name_and_the_way_out_is_the_last_users() {
    let uses = vec![used(1, whole_machine(), [0, 120, 1_800], Some(1_800))];
    let entries = charge(&given_back(), &[], uses);
    assert_eq!(
        lines(&entries),
        [
            (Some(1), 0, 120, "startup"),
            (Some(1), 120, 1_800, "compute"),
            (None, 1_800, 3_000, "kept"),
            (Some(1), 3_000, 3_060, "idle"),
            (None, 3_060, 3_200, "ending"),
        ]
    );
    let sum: Money = entries.iter().map(|entry| entry.amount).sum();
    assert_eq!(sum, price(1_000_000).charge(3_200), "to the micro-dollar");
    assert_eq!(entries[1].gpu_millionths, 2_000_000);
    assert_eq!(lines(&charge(&given_back(), &[], Vec::new()))[0], (None, 0, 3_000, "orphan"));
}

#[test]
fn a_machine_that_never_came_costs_nothing() {
    let mut never = given_back();
    never.state = InstanceState::Gone {
        since: None,
        given_back: Some(at(3_000)),
        at: at(3_200),
        by: EndedBy::Us,
        settled: false,
    };
    assert!(charge(&never, &[], vec![used(1, half(), [0, 9, 99], None)]).is_empty());
}
