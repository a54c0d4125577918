//! How long a planning round takes, and what the integer program gains over
//! greedy on the same input, in one run: `make bench`.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use spotwise_model::attempt::Progress;
use spotwise_model::id::{Accelerator, InstanceType, PoolName, Zone};
use spotwise_model::policy::Policy;
use spotwise_model::spec::{Format, parse};
use spotwise_model::time::after;
use spotwise_model::{CapacityType, JobId, NodeShape, Offer, OfferKey, Price};
use spotwise_solver::{PlanInput, PlanJob, plan};

/// Jobs and offers of a round.
const SIZES: [(u64, u64); 4] = [(100, 20), (300, 60), (1_000, 100), (3_000, 100)];

fn main() {
    println!("jobs  offers  seconds  cost/greedy  columns  method");
    for (jobs, offers) in SIZES {
        let input = input(jobs, offers);
        let begun = Instant::now();
        let (plan, report) = plan(&input);
        let seconds = begun.elapsed().as_secs_f64();
        let ratio = report.objective / report.greedy_objective;
        println!(
            "{jobs:>4}  {offers:>6}  {seconds:>7.2}  {ratio:>11.4}  {:>7}  {:?}",
            report.columns, plan.method
        );
    }
}

/// Distinct jobs of eight shapes on spot and on-demand offers of four models,
/// with capacity for about 60 % of them. The same numbers at every run.
fn input(jobs: u64, offers: u64) -> PlanInput {
    let mut numbers = Numbers(20_261_121);
    let now = Timestamp::from_second(1_800_000_000).expect("a time of this century");
    PlanInput {
        now,
        jobs: (1..=jobs).map(|id| job(id, now, &mut numbers)).collect(),
        running: Vec::new(),
        offers: (0..offers).map(|n| offer(n, jobs, offers, now, &mut numbers)).collect(),
        instances: Vec::new(),
        limits: Vec::new(),
        policy: Policy::default(),
        time_limit: Duration::from_secs(10),
    }
}

const MODELS: [&str; 4] = ["T4", "A10G", "V100", "A100"];

fn job(id: u64, now: Timestamp, numbers: &mut Numbers) -> PlanJob {
    let shape = id as usize % 8;
    let minutes = 30 + numbers.below(600);
    let document = format!(
        "name: job-{id}\ncommand: [x]\nwork: {{duration: {minutes}m}}\ncheckpoint: {{}}\n\
         resources: {{gpus: \"{}:{}\", cpus: {}, memory: 8GB}}\n",
        MODELS[shape % 4],
        1 + shape / 4,
        1 + shape % 3,
    );
    let parsed = parse(document.as_bytes(), Format::Yaml).expect("a valid document");
    let spec = parsed.jobs.into_iter().next().expect("one job");
    let deadline = after(now, Duration::from_secs(60 * (minutes * 2 + numbers.below(600))));
    PlanJob {
        id: JobId(id),
        spec: Arc::new(spec),
        submitted: now,
        deadline,
        saved: Progress::default(),
        measured: None,
        budget_left: None,
    }
}

fn offer(n: u64, jobs: u64, offers: u64, now: Timestamp, numbers: &mut Numbers) -> Offer {
    let model = n as usize % 4;
    let spot = !n.is_multiple_of(5);
    let on_demand =
        [526_000, 1_006_000, 3_060_000, 4_100_000][model] + numbers.below(50_000) as i64;
    let price = if spot { on_demand * (25 + numbers.below(30) as i64) / 100 } else { on_demand };
    Offer {
        key: OfferKey {
            pool: PoolName::new("bench"),
            zone: Zone::new(format!("zone-{n}")),
            instance_type: InstanceType::new(MODELS[model]),
            capacity_type: if spot { CapacityType::Spot } else { CapacityType::OnDemand },
        },
        shape: NodeShape {
            accelerator: Some(Accelerator::new(MODELS[model])),
            gpus: 4,
            gpu_memory_mib: 16_384,
            cpu_milli: 32_000,
            memory_mib: 131_072,
        },
        price: Price::from_micros_per_hour(price),
        on_demand: Price::from_micros_per_hour(on_demand),
        // Jobs take 1.5 GPUs on average, machines have 4.
        free: u32::try_from(jobs * 15 * 6 / (offers * 400)).unwrap_or(u32::MAX).max(1),
        spell_since: now,
        hazard_per_hour: if spot { 0.02 + numbers.below(100) as f64 / 1_000.0 } else { 0.0 },
        changeover: Duration::from_secs(300),
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
