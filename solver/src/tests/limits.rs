//! Limits on the machines that are open at once, over several offers.

mod chance;

use std::time::Duration;

use spotwise_model::id::{Account, PoolName, Region};
use spotwise_model::limit::{LimitKey, LimitUse};
use spotwise_model::plan::RejectionReason;
use spotwise_model::{CapacityType, InstanceId, JobId, Offer, OfferKey, Plan, WaitReason};

use crate::room::draft::objective;
use crate::search::program::solve;
use crate::statement::round::Round;
use crate::tests::brute::Brute;
use crate::tests::fixture::{
    HOUR, at, gpu_offer, input, instance, job, on_demand, running, spec, spot,
};
use crate::tests::large::rounds;
use crate::{Guide, MachineLimit, PlanInput, PlanJob, Violation, check, fill, plan, quote, worth};

fn quota(capacity_type: CapacityType) -> LimitKey {
    LimitKey::Quota {
        account: Account::new("a1"),
        region: Region::new("r1"),
        family: "Standard".to_owned(),
        capacity_type,
    }
}

fn limit(used: u64, of: u64, takes: &[(&Offer, u64)]) -> MachineLimit {
    let takes = takes.iter().map(|(offer, takes)| (offer.key.clone(), *takes)).collect();
    MachineLimit { state: LimitUse { key: quota(CapacityType::OnDemand), used, of }, takes }
}

fn decide(input: &PlanInput) -> Plan {
    let (decided, report) = plan(input);
    assert!(report.checked);
    assert_eq!(check(input, &decided), Ok(()));
    assert_eq!(plan(input).0, decided, "the same again");
    decided
}

/// Whole machines of an hour and more; each has to go now.
fn must_go(jobs: u64) -> Vec<PlanJob> {
    let one = |id| {
        let mut spec = spec(HOUR + id);
        spec.interruptible = false;
        job(id, spec, 0, 90)
    };
    (1..=jobs).map(one).collect()
}

#[test]
fn a_quota_that_is_used_up_sends_jobs_to_another_family() {
    let offers = vec![on_demand("a", 1.0, 9), on_demand("b", 2.0, 9)];
    let mut round = input(offers, must_go(5));
    round.machine_limits = vec![limit(88, 96, &[(&round.offers[0], 4)])];
    let decided = decide(&round);
    let on = |key: &OfferKey| decided.placements.iter().filter(|p| p.offer == *key).count();
    assert_eq!((on(&round.offers[0].key), on(&round.offers[1].key)), (2, 3));
    let others = decided.placements.iter().filter(|p| p.offer == round.offers[1].key);
    for placement in others {
        let cheaper = &placement.why.alternatives[0];
        assert_eq!(cheaper.offer, round.offers[0].key);
        assert_eq!(cheaper.why_not, Some(RejectionReason::LimitReached));
    }
}

#[test]
fn a_job_that_is_worth_more_gets_what_a_quota_leaves() {
    let mut round = input(vec![on_demand("a", 1.0, 9)], must_go(3));
    std::sync::Arc::make_mut(&mut round.jobs[2].spec).priority = 100;
    round.machine_limits = vec![limit(0, 7, &[(&round.offers[0], 4)])];
    let decided = decide(&round);
    assert_eq!(decided.placements.iter().map(|p| p.job).collect::<Vec<_>>(), [JobId(3)]);
}

#[test]
fn a_gang_runs_whole_under_a_quota_or_not_at_all() {
    let mut gang = spec(4 * HOUR);
    gang.resources.nodes = 3;
    let mut round = input(vec![on_demand("a", 1.0, 9)], vec![job(1, gang, 0, 5)]);
    for (used, placed) in [(0, 1), (4, 1), (5, 0)] {
        round.machine_limits = vec![limit(used, 16, &[(&round.offers[0], 4)])];
        let decided = decide(&round);
        assert_eq!(decided.placements.len(), placed, "{used} used");
        if placed == 0 {
            let limit = round.machine_limits[0].state.clone();
            let why = WaitReason::LimitReached { limit, needs: 4, next_end: None };
            assert_eq!(decided.waits[&JobId(1)], why);
        }
    }
    // One of its machines is there already.
    round.instances = vec![instance(1, &round.offers[0], 0)];
    let decided = decide(&round);
    assert_eq!(decided.purchases.values().sum::<u32>(), 2);
}

#[test]
fn a_job_that_no_quota_ever_allows_is_told_so() {
    let large = gpu_offer("a", "A100", 4, 30.0);
    let mut wants = spec(HOUR);
    crate::tests::fixture::ask_gpus(&mut wants, "A100", 4);
    let mut round = input(vec![large], vec![job(1, wants, 0, 9)]);
    round.machine_limits = vec![limit(0, 16, &[(&round.offers[0], 32)])];
    let detail = "account a1's quota for on-demand Standard in r1 is 16 vCPUs, and one machine \
                  for it would take 32";
    let told = WaitReason::Unschedulable { detail: detail.to_owned() };
    assert_eq!(decide(&round).waits[&JobId(1)], told);
    let quoted = quote(&round, &round.jobs[0]);
    assert_eq!((quoted.offer, quoted.unschedulable.as_deref()), (None, Some(detail)));
    assert_eq!(quoted.alternatives[0].why_not, Some(RejectionReason::OverLimit));
    // Another that is dearer is promised in its place.
    round.offers.push(gpu_offer("b", "A100", 4, 90.0));
    let quoted = quote(&round, &round.jobs[0]);
    assert_eq!(quoted.offer.as_ref(), Some(&round.offers[1].key));
    assert_eq!(quoted.alternatives[0].why_not, Some(RejectionReason::OverLimit));
    // Nor two of them, where one is allowed.
    let mut gang = (*round.jobs[0].spec).clone();
    gang.resources.nodes = 2;
    round.offers.pop();
    round.jobs[0].spec = gang.into();
    round.machine_limits = vec![limit(0, 63, &[(&round.offers[0], 32)])];
    assert!(matches!(decide(&round).waits[&JobId(1)], WaitReason::Unschedulable { .. }));
}

#[test]
fn who_waits_for_a_quota_is_told_its_figures_and_the_next_end() {
    let mut round = input(vec![on_demand("a", 1.0, 9)], must_go(3));
    let runs = running(job(50, spec(4 * HOUR), -9, 90), &round.offers[0], -1, 25);
    round.running = vec![runs];
    round.instances = vec![instance(99, &round.offers[0], 4_000)];
    let reached = |used, of, end| WaitReason::LimitReached {
        limit: LimitUse { key: quota(CapacityType::OnDemand), used, of },
        needs: 4,
        next_end: Some(end),
    };
    // Full before this plan: a quarter of four hours is done.
    round.machine_limits = vec![limit(96, 96, &[(&round.offers[0], 4)])];
    let decided = decide(&round);
    assert_eq!(decided.waits[&JobId(1)], reached(96, 96, at(3)));
    // Full by this plan, which opens two machines for an hour and six minutes.
    round.machine_limits = vec![limit(86, 96, &[(&round.offers[0], 4)])];
    let decided = decide(&round);
    assert_eq!(decided.placements.len(), 2);
    let why = decided.waits.values().next().expect("one waits");
    let WaitReason::LimitReached { limit, next_end, .. } = why else { panic!("{why:?}") };
    assert_eq!((limit.used, limit.of), (94, 96));
    assert!(next_end.is_some_and(|end| end > at(1) && end < at(2)), "{why:?}");
}

#[test]
fn two_offers_on_one_market_never_sell_the_same_machine_twice() {
    let market = on_demand("a", 1.0, 2);
    let mut second = market.clone();
    second.key.pool = PoolName::new("second");
    let key = LimitKey::Market(market.key.market.clone());
    let takes = [(market.key.clone(), 1), (second.key.clone(), 1)].into();
    let mut round = input(vec![market, second], must_go(3));
    let state = LimitUse { key, used: 3, of: 5 };
    round.machine_limits = vec![MachineLimit { state, takes }];
    let decided = decide(&round);
    assert_eq!(decided.purchases.values().sum::<u32>(), 2);
    let why = decided.waits.values().next().expect("one waits").to_string();
    assert!(why.starts_with("what the market has of on-demand m.xlarge in a is used up by our machines, 5 of 5 machines"), "{why}");
}

#[test]
fn below_a_quota_that_was_cut_nothing_is_bought_and_what_runs_is_used() {
    let mut round = input(vec![on_demand("a", 1.0, 9)], must_go(4));
    round.instances =
        vec![instance(1, &round.offers[0], 0), instance(2, &round.offers[0], 4_000), {
            let mut half = instance(3, &round.offers[0], 0);
            half.free = instance(3, &round.offers[0], 1).free;
            half
        }];
    std::sync::Arc::make_mut(&mut round.jobs[3].spec).resources.cpu_milli = 2_000;
    round.machine_limits = vec![limit(12, 8, &[(&round.offers[0], 4)])];
    let decided = decide(&round);
    assert_eq!((decided.placements.len(), decided.purchases.len()), (2, 0));
    assert_eq!(decided.waits.len(), 2);
    assert!(decided.waits.values().all(|why| matches!(why, WaitReason::LimitReached { .. })));
}

/// The machine that a job leaves still counts while the next one comes up.
#[test]
fn a_move_finds_its_room_beside_the_machine_that_it_leaves() {
    let offers = vec![on_demand("a", 3.0, 1), spot("b", 0.5, 1)];
    let live = running(job(1, spec(30 * HOUR), -9, 100), &offers[0], -9, 50);
    let mut round = input(offers, vec![]);
    round.running = vec![live];
    assert_eq!(plan(&round).0.moves.len(), 1);
    let both = [(&round.offers[0], 4), (&round.offers[1], 4)];
    round.machine_limits = vec![limit(4, 7, &both)];
    assert_eq!(decide(&round).moves.len(), 0);
    round.machine_limits = vec![limit(4, 8, &[(&round.offers[0], 4), (&round.offers[1], 4)])];
    assert_eq!(decide(&round).moves.len(), 1);
}

/// A gang of three has one machine in half an hour and two that are still to be bought; who
/// wants a larger machine counts against the same quota.
fn gang_beside(minutes: u64, of: u64) -> PlanInput {
    let mut offers = vec![on_demand("a", 1.0, 9), on_demand("b", 1.0, 1)];
    offers[1].shape.cpu_milli = 8_000;
    offers.iter_mut().for_each(|offer| offer.changeover = Duration::from_secs(1));
    let mut gang = spec(HOUR);
    (gang.resources.nodes, gang.priority) = (3, 100);
    let mut other = spec(minutes * 60);
    (other.resources.cpu_milli, other.interruptible) = (8_000, false);
    let live = running(job(50, spec(HOUR), -1, 9), &offers[0], 0, 50);
    let mut round = input(offers, vec![job(1, gang, 0, 9), job(2, other, 0, 9)]);
    round.instances = vec![instance(99, &round.offers[0], 4_000)];
    round.running = vec![live];
    let both = [(&round.offers[0], 4), (&round.offers[1], 4)];
    round.machine_limits = vec![limit(4, of, &both)];
    round
}

#[test]
fn what_a_quota_leaves_is_kept_for_machines_that_are_still_to_be_bought() {
    let decided = decide(&gang_beside(300, 12));
    let kept = decided.reservations.first().expect("room is kept for the gang");
    assert_eq!((kept.job, kept.fresh, kept.machines.len()), (JobId(1), 2, 1));
    assert!(matches!(decided.waits[&JobId(2)], WaitReason::RoomKept { job: JobId(1), .. }));
    // Who is gone by then runs before it, and so does who leaves it enough.
    for (minutes, of) in [(10, 12), (300, 19), (300, 16)] {
        let round = gang_beside(minutes, of);
        let decided = decide(&round);
        let placed: Vec<JobId> = decided.placements.iter().map(|p| p.job).collect();
        let all = if of == 12 { [JobId(2)].as_slice() } else { &[JobId(1)] };
        assert_eq!(placed, all, "{minutes} minutes, {of} in all");
    }
    // The audit sees who takes it nevertheless.
    let round = gang_beside(300, 12);
    let mut taken = decide(&gang_beside(10, 12));
    taken.reservations = decided.reservations;
    assert_eq!(check(&round, &taken), Err(vec![Violation::TakesReserved(JobId(1))]));
}

#[test]
fn what_a_quota_leaves_is_not_kept_twice() {
    let mut round = gang_beside(300, 12);
    let mut second = (*round.jobs[0].spec).clone();
    (second.resources.cpu_milli, second.priority) = (8_000, 90);
    round.jobs[1].spec = second.into();
    round.offers[1].free = 9.into();
    let mut whole = spec(HOUR);
    whole.resources.cpu_milli = 8_000;
    let live = running(job(51, whole, -1, 9), &round.offers[1], 0, 50);
    round.running.push(crate::RunningJob { instances: vec![InstanceId(98)], ..live });
    round.instances.push(instance(98, &round.offers[1], 8_000));
    let kept = |round: &PlanInput| {
        decide(round).reservations.iter().map(|kept| kept.fresh).collect::<Vec<_>>()
    };
    assert_eq!(kept(&round), [2]);
    let alone = PlanInput { jobs: vec![round.jobs[1].clone()], ..round.clone() };
    assert_eq!(kept(&alone), [2], "the second would have as much by itself");
    round.machine_limits[0].state =
        LimitUse { used: 8, of: 24, ..round.machine_limits[0].state.clone() };
    assert_eq!(decide(&round).placements.len(), 1, "the first fits now");
}

/// Two machines are idle or allowed, for four jobs that take one each.
#[test]
fn the_program_proves_what_a_quota_over_two_offers_costs() {
    for idle in [0, 1] {
        let mut round = input(vec![on_demand("a", 1.0, 9), on_demand("b", 2.0, 9)], must_go(4));
        round.instances = (1..=idle).map(|id| instance(id, &round.offers[0], 0)).collect();
        let both = [(&round.offers[0], 4), (&round.offers[1], 4)];
        round.machine_limits = vec![limit(4, 12 - 4 * idle, &both)];
        let statement = Round::new(&round);
        let best = Brute::new(&statement).best(&statement);
        let nothing = crate::room::draft::Draft::empty(&statement);
        let reached = objective(&statement, &nothing);
        let answer = solve(&statement, &nothing, reached, Duration::from_secs(10));
        let proven = answer.and_then(|answer| answer.bound).expect("a bound");
        assert!((proven - best).abs() < 1e-4, "{idle} idle: {proven} is proven, {best} the best");
        assert_eq!(decide(&round).placements.len(), 2);
    }
}

/// Without a way out nobody moves from spot to spot.
#[test]
fn on_demand_that_no_limit_ever_allows_is_no_way_out_of_a_move() {
    let offers = vec![on_demand("a", 3.0, 1), spot("a", 1.0, 1), spot("b", 0.4, 1)];
    let live = running(job(1, spec(30 * HOUR), -9, 100), &offers[1], -9, 50);
    let mut round = input(offers, vec![]);
    round.running = vec![live];
    for (of, moves) in [(4, 1), (3, 0)] {
        round.machine_limits = vec![limit(0, of, &[(&round.offers[0], 4)])];
        assert_eq!(decide(&round).moves.len(), moves, "{of} in all");
    }
}

#[test]
fn no_more_is_kept_than_a_quota_can_ever_give() {
    let round = gang_beside(300, 12);
    let kept = decide(&round).reservations;
    let mut cut = PlanInput { jobs: vec![round.jobs[1].clone()], ..round };
    cut.machine_limits[0].state.of = 4;
    let guide = Guide { reservations: kept, ..Guide::default() };
    let filled = fill(&cut, &guide, &[PoolName::new("pool")].into());
    assert_eq!(check(&cut, &filled), Ok(()));
    assert_eq!(filled.reservations.first().map(|kept| kept.fresh), Some(1));
}

#[test]
fn the_audit_sees_a_limit_exceeded() {
    let mut round = input(vec![on_demand("a", 1.0, 9), on_demand("b", 1.0, 9)], must_go(3));
    let decided = decide(&round);
    let both = [(&round.offers[0], 4), (&round.offers[1], 4)];
    round.machine_limits = vec![limit(10, 22, &both)];
    assert_eq!(check(&round, &decided), Ok(()));
    round.machine_limits[0].state.of = 21;
    let key = quota(CapacityType::OnDemand);
    let wrong = Violation::MachineLimit { limit: key, takes: 12, left: 11 };
    assert_eq!(check(&round, &decided), Err(vec![wrong]));
}

#[test]
fn a_large_round_under_limits_is_near_its_bound() {
    let input = rounds::limited_round(1_000, 100, 20_261_121);
    let (decided, report) = plan(&input);
    assert_eq!(check(&input, &decided), Ok(()));
    assert!(report.checked && report.objective <= report.greedy_objective);
    let worth = worth(&input, &decided, &report.prices);
    assert!(worth.bound.unwrap() >= report.bound - 1e-6 * report.bound);
    assert!(worth.gap().unwrap() <= 0.01, "{worth:?}");
    let full = |limit: &MachineLimit| {
        let takes = decided
            .purchases
            .iter()
            .map(|(key, n)| limit.takes.get(key).copied().unwrap_or(0) * u64::from(*n));
        takes.sum::<u64>() * 100 > limit.state.left() * 97
    };
    assert!(input.machine_limits.iter().filter(|limit| full(limit)).count() >= 6, "they bind");
    let unpriced = crate::Prices { limits: vec![0.0; 12], ..report.prices.clone() };
    let least = crate::worth(&input, &decided, &unpriced).bound.unwrap();
    assert!(least < worth.bound.unwrap(), "without prices of the limits less is proven");
}
