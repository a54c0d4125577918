//! Rounds to measure with: jobs of eight shapes, every one distinct in work and
//! in deadline, on spot and on-demand offers of four models, with machines for
//! 60 % of what all jobs together ask for. The same numbers at every run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::attempt::Progress;
use spotwise_model::id::{Accelerator, Account, InstanceType, PoolName, Region, Zone};
use spotwise_model::limit::{LimitKey, LimitUse};
use spotwise_model::policy::Policy;
use spotwise_model::spec::{Format, Work, parse};
use spotwise_model::time::after;
use spotwise_model::{CapacityType, JobId, JobSpec, Measured, NodeShape, Offer, OfferKey, Price};
use spotwise_solver::{MachineLimit, PlanInput, PlanJob};

const MODELS: [&str; 4] = ["T4", "A10G", "V100", "A100"];
/// GPUs of the shapes of each model.
const GPUS: [u64; 2] = [1, 2];
/// GPUs of a machine.
const MACHINE_GPUS: u64 = 4;
/// Machines as a part of what all jobs ask for.
const CAPACITY: f64 = 0.6;

/// A round of that many jobs and offers from a seed.
pub(crate) fn round(jobs: u64, offers: u64, seed: u64) -> PlanInput {
    let mut numbers = Numbers(seed);
    let now = Timestamp::from_second(1_800_000_000).expect("a time of this century");
    let shapes: Vec<JobSpec> = (0..8).map(shape).collect();
    let asked = jobs * GPUS.iter().sum::<u64>() / GPUS.len() as u64;
    let machines = (asked as f64 * CAPACITY / MACHINE_GPUS as f64) as u64;
    PlanInput {
        jobs: (1..=jobs).map(|id| job(id, now, &shapes, &mut numbers)).collect(),
        offers: (0..offers)
            .map(|n| {
                let free = machines * (n + 1) / offers - machines * n / offers;
                offer(n, u32::try_from(free).unwrap_or(u32::MAX), now, &mut numbers)
            })
            .collect(),
        ..empty(now)
    }
}

/// The same under twelve limits that bind: a quota of 70 % of the machines for each model
/// and way of buying, and four pools' limits of 85 % of theirs across them. A tenth of each
/// is in use already.
pub(crate) fn limited_round(jobs: u64, offers: u64, seed: u64) -> PlanInput {
    let mut input = round(jobs, offers, seed);
    let limit = |key: LimitKey, takes: u64, percent: u64, counts: &dyn Fn(usize) -> bool| {
        let counted = input.offers.iter().enumerate().filter(|(n, _)| counts(*n));
        let takes: BTreeMap<OfferKey, u64> =
            counted.clone().map(|(_, offer)| (offer.key.clone(), takes)).collect();
        let each = takes.values().next().copied().unwrap_or(0);
        let all: u64 = counted.map(|(_, offer)| each * u64::from(offer.free.machines())).sum();
        let of = all * percent / 90;
        MachineLimit { state: LimitUse { key, used: of / 10, of }, takes }
    };
    let quota = |n: usize| {
        let (model, spot) = (n / 2, n.is_multiple_of(2));
        let key = LimitKey::Quota {
            account: Account::new("bench"),
            region: Region::new("zone"),
            family: MODELS[model].to_owned(),
            capacity_type: if spot { CapacityType::Spot } else { CapacityType::OnDemand },
        };
        limit(key, 32, 70, &|at| at % 4 == model && at.is_multiple_of(5) != spot)
    };
    let pool = |n: usize| {
        let key = LimitKey::PoolMachines { pool: PoolName::new(format!("pool-{n}")) };
        limit(key, 1, 85, &|at| at * 4 / input.offers.len() == n)
    };
    let limits = (0..2 * MODELS.len()).map(quota).chain((0..4).map(pool)).collect();
    input.machine_limits = limits;
    input
}

/// A round of nothing, with ten seconds to decide it.
fn empty(now: Timestamp) -> PlanInput {
    PlanInput {
        now,
        jobs: Vec::new(),
        running: Vec::new(),
        offers: Vec::new(),
        instances: Vec::new(),
        limits: Vec::new(),
        machine_limits: Vec::new(),
        reservations: Vec::new(),
        forecasts: Vec::new(),
        shares: Default::default(),
        policy: Policy::default(),
        time_limit: Duration::from_secs(10),
    }
}

fn shape(shape: usize) -> JobSpec {
    let document = format!(
        "name: shape-{shape}\ncommand: [x]\nwork: {{duration: 1h}}\ncheckpoint: {{}}\n\
         resources: {{gpus: \"{}:{}\", cpus: {}, memory: 8GB}}\n",
        MODELS[shape % 4],
        GPUS[shape / 4],
        1 + shape % 3,
    );
    let parsed = parse(document.as_bytes(), Format::Yaml).expect("a valid document");
    parsed.jobs.into_iter().next().expect("one job")
}

/// Half an hour to ten and a half of work, submitted within the last two hours,
/// due after twice the work and up to ten hours more. Milliseconds make every
/// job distinct.
fn job(id: u64, now: Timestamp, shapes: &[JobSpec], numbers: &mut Numbers) -> PlanJob {
    let mut spec = shapes[id as usize % shapes.len()].clone();
    let work = 1_800_000 + numbers.below(36_000_000);
    spec.name = format!("job-{id}");
    spec.work = Work::Duration {
        default: Some(Duration::from_millis(work)),
        by_accelerator: Default::default(),
    };
    let submitted = Duration::from_millis(numbers.below(7_200_000));
    let submitted = now.saturating_sub(jiff::SignedDuration::try_from(submitted).expect("short"));
    let submitted = submitted.expect("a time of this century");
    PlanJob {
        id: JobId(id),
        spec: Arc::new(spec),
        submitted,
        deadline: after(submitted, Duration::from_millis(work * 2 + numbers.below(36_000_000))),
        saved: Progress::default(),
        measured: Measured::default(),
        budget_left: None,
        barred: Default::default(),
        quoted: true,
        worker_array: None,
    }
}

fn offer(n: u64, free: u32, now: Timestamp, numbers: &mut Numbers) -> Offer {
    let model = n as usize % 4;
    let spot = !n.is_multiple_of(5);
    let on_demand =
        [526_000, 1_006_000, 3_060_000, 4_100_000][model] + numbers.below(50_000) as i64;
    let price = if spot { on_demand * (25 + numbers.below(30) as i64) / 100 } else { on_demand };
    Offer {
        key: OfferKey::recorded(
            PoolName::new("bench"),
            Zone::new(format!("zone-{n:04}")),
            InstanceType::new(MODELS[model]),
            if spot { CapacityType::Spot } else { CapacityType::OnDemand },
        ),
        shape: NodeShape {
            accelerator: Some(Accelerator::new(MODELS[model])),
            gpus: MACHINE_GPUS as u32,
            gpu_memory_mib: 16_384,
            cpu_milli: 32_000,
            memory_mib: 131_072,
        },
        price: Price::from_micros_per_hour(price),
        on_demand: Price::from_micros_per_hour(on_demand),
        free: free.into(),
        spell_since: now,
        hazard_per_hour: if spot { 0.02 + numbers.below(100) as f64 / 1_000.0 } else { 0.0 },
        changeover: Duration::from_secs(180 + numbers.below(240)),
        paid_for: Vec::new(),
    }
}

/// A linear congruential generator (Knuth, MMIX): the same numbers everywhere.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
