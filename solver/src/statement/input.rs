//! What a planning round may know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::attempt::Progress;
use spotwise_model::id::{Accelerator, InstanceType, PoolName, Zone};
use spotwise_model::limit::LimitUse;
use spotwise_model::plan::Reservation;
use spotwise_model::policy::Policy;
use spotwise_model::resources::Free;
use spotwise_model::spec::Class;
use spotwise_model::{InstanceId, Job, JobId, JobSpec, Measured, Money, Offer, OfferKey, Share};

use crate::spot::forecast::Forecast;

/// A snapshot of everything a round decides on. Lists are in a fixed order
/// (jobs by id, offers by key), so that the same snapshot gives the same plan.
#[derive(Clone, Debug)]
pub struct PlanInput {
    /// Market time.
    pub now: Timestamp,
    /// Jobs that could start now.
    pub jobs: Vec<PlanJob>,
    /// Jobs that run now: their moves, and their safety net.
    pub running: Vec<RunningJob>,
    /// Everything on the market, whether free or not.
    pub offers: Vec<Offer>,
    /// Machines that run already and accept work.
    pub instances: Vec<PlanInstance>,
    /// What each pool has left over all its offers; a pool that is not listed
    /// has no limit of its own.
    pub limits: Vec<PoolLimit>,
    /// What machines bought in this round may take together, over several offers. Machines
    /// that run already are in their use, and a job on one of those takes nothing more.
    pub machine_limits: Vec<MachineLimit>,
    /// Room that the last plan keeps: a quote leaves it alone. A plan reserves anew.
    pub reservations: Vec<Reservation>,
    /// What is known of the spot markets; where there is none, a job goes by the
    /// even pace of its deadline.
    pub forecasts: Vec<Forecast>,
    /// What each class has run on lately: what the operator's bands are held
    /// against. A class that is not listed has no band.
    pub shares: BTreeMap<Class, ClassShare>,
    /// The operator's settings.
    pub policy: Policy,
    /// Longest time the solver may take.
    pub time_limit: Duration,
}

/// What a class has run on within the policy's window, and runs on now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassShare {
    /// Machine-hours on spot.
    pub spot_hours: f64,
    /// Machine-hours on demand; reserved ones count as neither.
    pub on_demand_hours: f64,
    /// Its live machines by pool.
    pub machines: BTreeMap<(Zone, InstanceType), u32>,
}

impl ClassShare {
    /// The part of the hours that ran on spot; `None` if nothing ran.
    pub fn spot_share(&self) -> Option<f64> {
        let share = self.spot_hours / (self.spot_hours + self.on_demand_hours);
        (0.0..=1.0).contains(&share).then_some(share)
    }
}

/// A job that could start now.
#[derive(Clone, Debug)]
pub struct PlanJob {
    /// Its number.
    pub id: JobId,
    /// What it asks for.
    pub spec: Arc<JobSpec>,
    /// When it was submitted: the start of the pace that its deadline asks for.
    pub submitted: Timestamp,
    /// By when it must be done, pulled forward by the jobs that wait for it.
    pub deadline: Timestamp,
    /// What a start now would begin with (its checkpoint, or nothing).
    pub saved: Progress,
    /// How long the whole work takes, where it has been measured.
    pub measured: Measured,
    /// What its budget still holds; none without a budget.
    pub budget_left: Option<Money>,
    /// Pools that it may not use.
    pub barred: BTreeSet<PoolName>,
    /// Whether it has its quote: a plan quotes the jobs that it sees for the
    /// first time.
    pub quoted: bool,
    /// Its array, if the worker of an element that has succeeded goes on with the next one:
    /// where one of it runs, others begin without a start.
    pub worker_array: Option<JobId>,
}

/// A job that runs now.
#[derive(Clone, Debug)]
pub struct RunningJob {
    /// The job, with `saved` = what its newest checkpoint holds.
    pub job: PlanJob,
    /// How far it is, saved or not.
    pub progress: Progress,
    /// Where it runs.
    pub offer: OfferKey,
    /// Its machines.
    pub instances: Vec<InstanceId>,
    /// Since when the attempt is launched (market time).
    pub since: Timestamp,
    /// Whether it is being stopped already.
    pub stopping: bool,
}

/// A machine that runs already and accepts work.
#[derive(Clone, Debug)]
pub struct PlanInstance {
    /// Its number.
    pub id: InstanceId,
    /// What was bought.
    pub offer: OfferKey,
    /// What is left of it.
    pub free: Free,
}

/// What a pool has left over all its machines together: for the local pool the
/// real CPUs and memory behind the borrowed names.
#[derive(Clone, Debug)]
pub struct PoolLimit {
    /// The pool.
    pub pool: PoolName,
    /// Thousandths of a CPU.
    pub cpu_milli: u64,
    /// MiB of memory.
    pub memory_mib: u64,
    /// Real GPUs; `None` if accelerators are simulated.
    pub gpus: Option<u32>,
}

/// A limit on what machines bought in this round may take together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineLimit {
    /// The limit and what open machines use of it now.
    pub state: LimitUse,
    /// What one new machine of each offer takes, in the limit's unit; an offer that is not
    /// listed takes nothing.
    pub takes: BTreeMap<OfferKey, u64>,
}

impl PlanJob {
    /// A job as it stands, begun again from what it has saved.
    pub fn new(job: &Job, deadline: Timestamp, budget_left: Option<Money>) -> Self {
        Self {
            id: job.id,
            spec: job.spec.clone(),
            submitted: job.submitted,
            deadline,
            saved: job.saved_progress(),
            measured: job.measured.clone(),
            budget_left,
            barred: BTreeSet::new(),
            // What has run before is no forecast of the whole any more.
            quoted: job.quoted.is_some() || job.attempts > 0,
            worker_array: job.array.filter(|it| it.reuse_workers).map(|it| it.first),
        }
    }

    /// Whether it may be placed on an offer, whatever that holds.
    pub fn may_use(&self, offer: &OfferKey) -> bool {
        !self.barred.contains(&offer.pool)
    }

    /// Expected duration of the whole work on `accelerator`.
    pub fn duration(&self, accelerator: Option<&Accelerator>) -> Duration {
        self.measured.duration(&self.spec, accelerator)
    }

    /// The longest expected duration of the whole work, on any machine.
    pub fn longest(&self) -> Duration {
        self.measured.longest(&self.spec)
    }

    /// What one node takes on that accelerator; `None` if it cannot run.
    pub fn share_on(&self, accelerator: Option<&Accelerator>) -> Option<Share> {
        self.spec.share_on(accelerator)
    }
}
