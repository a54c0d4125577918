use std::collections::BTreeSet;
use std::time::Duration;

use spotwise_model::id::PoolName;
use spotwise_model::time::after;
use spotwise_model::{JobId, WaitReason};

use crate::tests::fixture::{HOUR, at, input, instance, job, on_demand, spec, spot};
use crate::{Guide, PlanInput, PlanJob, PoolLimit, check, fill, plan};

fn tiny(id: u64) -> PlanJob {
    let mut spec = spec(60);
    spec.resources.cpu_milli = 100;
    spec.resources.memory_mib = 1;
    job(id, spec, 0, 20)
}

fn returnable() -> BTreeSet<PoolName> {
    [PoolName::new("pool")].into()
}

/// Twenty slots of a pool, and so many like jobs.
fn slots(jobs: u64) -> PlanInput {
    let mut round = input(vec![on_demand("a", 1.0, 20)], (1..=jobs).map(tiny).collect());
    let pool = PoolName::new("pool");
    round.limits = vec![PoolLimit { pool, cpu_milli: 2_000, memory_mib: 100_000, gpus: None }];
    round
}

#[test]
fn free_slots_are_filled_in_the_order_of_the_jobs() {
    let round = slots(100);
    let filled = fill(&round, &Guide::default(), &returnable());
    assert_eq!(check(&round, &filled), Ok(()));
    let placed: Vec<u64> = filled.placements.iter().map(|p| p.job.0).collect();
    assert_eq!(placed, (1..=20).collect::<Vec<u64>>());
    assert_eq!(filled.waits.len(), 80);
    assert!(filled.waits.values().all(|why| *why == WaitReason::Queued));
    assert_eq!(filled.quotes.len(), 20, "whoever starts has a quote");
    assert_eq!(fill(&round, &Guide::default(), &returnable()), filled);
}

#[test]
fn what_costs_money_to_give_back_is_not_bought() {
    let mut round = slots(30);
    assert_eq!(fill(&round, &Guide::default(), &BTreeSet::new()).placements.len(), 0);
    let running = instance(1, &round.offers[0], 3_500);
    round.instances = vec![running];
    let filled = fill(&round, &Guide::default(), &BTreeSet::new());
    assert_eq!((filled.placements.len(), filled.purchases.len()), (5, 0));
}

#[test]
fn what_the_program_decides_is_left_to_it() {
    let mut gang = spec(60);
    gang.resources.nodes = 2;
    let offers = vec![on_demand("a", 3.0, 9), spot("a", 1.0, 0)];
    let behind = job(2, spec(10 * HOUR), -20, 20);
    let must = PlanJob {
        deadline: after(at(0), Duration::from_secs(10 * HOUR)),
        ..job(3, spec(10 * HOUR), 0, 0)
    };
    let round = input(offers, vec![job(1, gang, 0, 20), behind, must]);
    let (planned, report) = plan(&round);
    assert!(planned.placements.iter().any(|placed| placed.job == JobId(2)));
    let mut guide = Guide::of(&planned, &report);
    guide.waits.clear();
    let filled = fill(&round, &guide, &returnable());
    assert!(filled.waits.contains_key(&JobId(1)), "a gang");
    assert!(filled.placements.iter().any(|placed| placed.job == JobId(3)), "who must go goes");
}

#[test]
fn room_that_is_kept_stays_kept_whoever_is_looked_at() {
    let mut round = slots(5);
    round.limits[0].cpu_milli = 1_000;
    let mut large = tiny(9);
    let mut spec = (*large.spec).clone();
    spec.resources.cpu_milli = 1_500;
    spec.priority = 50;
    large.spec = spec.into();
    let runs = crate::RunningJob {
        job: PlanJob {
            measured: spotwise_model::Measured::once(None, Duration::from_secs(600)),
            ..tiny(50)
        },
        progress: Default::default(),
        offer: round.offers[0].key.clone(),
        instances: (100..110).map(spotwise_model::InstanceId).collect(),
        since: at(0),
        stopping: false,
    };
    round.running = vec![runs];
    let all = PlanInput { jobs: [round.jobs.clone(), vec![large]].concat(), ..round.clone() };
    let (planned, report) = plan(&all);
    assert_eq!(planned.reservations.len(), 1);
    // Its five minutes are over before; who stays longer does not go.
    let guide = Guide::of(&planned, &report);
    assert_eq!(fill(&round, &guide, &returnable()).placements.len(), 5);
    for job in &mut round.jobs {
        job.measured = spotwise_model::Measured::once(None, Duration::from_secs(3_600));
    }
    let filled = fill(&round, &guide, &returnable());
    assert_eq!(filled.placements.len(), 5, "beside it");
    round.limits[0].cpu_milli = 600;
    assert_eq!(fill(&round, &guide, &returnable()).placements.len(), 1);
    assert_eq!(fill(&round, &Guide::default(), &returnable()).placements.len(), 5);
}
