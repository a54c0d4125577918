//! A pools file as operators write it. The doc comments are what editors show.

use serde_json::{Map, Value as Json};

use super::cloud::{Chance, TimeRange};
use super::fields::{Field, Problems, Read, define, documents};
use super::lists::{Distinct, Tags};
use super::names::{AccountName, Family};
use super::values::{DAY, Number, QuotaCapacity, Time};
use crate::id::{InstanceType, PoolName, Region, Zone};
use crate::money::Price;
use crate::offer::CapacityType;
use crate::pool::{PoolKind, SupplyShown};
use crate::spec::Class;
use crate::spec::tree::Node;

const HOUR: u64 = 3_600;

documents! {
    /// The pools of an installation: where its capacity comes from.
    PoolsDocument("Pools", requires [version, pools]) {
        /// The form of this file: 1.
        version: Number<1, 1>,
        /// Accounts of providers, with their quotas. A pool that buys names one of them.
        accounts: Vec<Option<AccountDocument>>,
        /// The pools, in any order; each has a name of its own.
        pools: Vec<Option<PoolDocument>>,
    }

    /// An account of a provider: one bill, one set of quotas.
    AccountDocument("Account", requires [name]) {
        /// Its id, such as "123456789012", or a name of 1 to 63 of a-z, 0-9 and `-`.
        name: AccountName,
        /// What it may have open at once. Default: no limit.
        quotas: Vec<Option<QuotaDocument>>,
        /// How its cloud behaves; only for accounts of simulated pools. Default: a cloud
        /// without faults.
        simulated: CloudDocument,
    }

    /// vCPUs that an account may have open at once in a region, over all of its pools.
    QuotaDocument("Quota", requires [region, family, types, capacity, vcpus]) {
        /// The region, such as `us-east-1`.
        region: Region,
        /// The provider's name of the families that count together, such as `G and VT`.
        family: Family,
        /// The machine types that count, such as `g5.xlarge`, or families: `g4dn.` stands
        /// for all that begin so.
        types: Distinct<InstanceType>,
        /// `spot` or `on-demand`, which have quotas of their own; reserved machines count
        /// as on demand.
        capacity: QuotaCapacity,
        /// vCPUs of machines that are open at once. With 0 nothing of it can be bought.
        vcpus: Number<0, 10_000_000>,
    }

    /// How a simulated cloud behaves. A range such as `40s..3m` is drawn from evenly, a
    /// percentage such as `0.5 %` is the chance of one case. Times are market time.
    CloudDocument("SimulatedCloud", requires []) {
        /// The seed of all chance: the same seed and the same calls give the same answers.
        /// Default: 0.
        seed: Number<0, { i64::MAX as u64 }>,
        /// From the launch of a machine to the moment it runs, when its bill begins.
        /// Default: 20s..1m.
        boot: TimeRange,
        /// From the moment a machine runs to its registration. Default: 10s..1m.
        registration: TimeRange,
        /// From the order to end a machine to the end of its bill. Default: 30s.
        terminate: TimeRange,
        /// How long a call takes to answer. Default: 100ms..1s.
        answers: TimeRange,
        /// Calls that are answered in a second, in the long run; more are throttled.
        /// Default: 5.
        calls_per_second: Number<1, 100_000>,
        /// Calls that are answered at once after a quiet time, before that rate counts.
        /// Default: 100.
        call_burst: Number<1, 1_000_000>,
        /// How old what a listing shows is. Default: 0s..10s.
        list_lag: TimeRange,
        /// A launch is refused for want of capacity, although the market has some.
        /// Default: 0 %.
        no_capacity: Chance,
        /// A machine runs, is billed, and never registers. Default: 0 %.
        never_registers: Chance,
        /// A call is carried out, and its answer is lost. Default: 0 %.
        lost_answers: Chance,
        /// A machine that is taken back is gone without the notice before. Default: 0 %.
        no_notice: Chance,
        /// A spot machine is said to be at risk (a rebalance recommendation) in an hour in
        /// which nothing becomes of it. Default: 0 %.
        rebalance_rumours: Chance,
        /// vCPUs that somebody else uses of each quota of the account. Default: 0.
        foreign_vcpus: Number<0, 10_000_000>,
    }

    /// Where capacity comes from.
    PoolDocument("Pool", requires [name, kind]) {
        /// Its name: 1 to 63 of a-z, 0-9 and `-`. A pool of another name is another pool.
        name: PoolName,
        /// Who gives machines: `local` (processes on this machine; at most one such pool),
        /// `external` (workers that somebody else starts; at most one) or `simulated` (a
        /// simulated cloud, whose workers are processes on this machine).
        kind: PoolKind,
        /// The account that is billed, one of `accounts`. Required where machines are
        /// bought; not for `local` and `external`.
        account: AccountName,
        /// The region, such as `us-east-1`. Required where machines are bought. Default:
        /// every region of the market.
        region: Region,
        /// Zones of that region, such as `us-east-1a`. Default: all.
        zones: Distinct<Zone>,
        /// Machine types, such as `g4dn.xlarge`, or families: `g4dn.` stands for all that
        /// begin so. Default: all.
        types: Distinct<InstanceType>,
        /// `spot`, `on-demand`, `reserved`. Default: all.
        capacity: Distinct<CapacityType>,
        /// What is known of the spot machines that are left: `counted` (the market shows how
        /// many, as recordings do) or `unknown` (nobody says, as on EC2: what there is shows
        /// in our own launches and machines alone; only for kinds that buy). Pools of one
        /// account agree. Default: counted.
        supply: SupplyShown,
        /// What its machines may add up to.
        limits: LimitsDocument,
        /// Which jobs may use it.
        access: AccessDocument,
        /// How long its provider takes.
        times: TimesDocument,
        /// What it can do.
        features: FeaturesDocument,
    }

    /// What the machines of a pool may add up to. The real CPUs, memory and GPUs of a local
    /// pool are those of the machine it runs on.
    LimitsDocument("Limits", requires []) {
        /// Machines open at once. Default: no limit.
        machines: Number<1, 100_000>,
        /// GPUs of open machines. Default: no limit.
        gpus: Number<1, 1_000_000>,
        /// What open machines cost an hour together, in dollars: `25` or `"12.50"`; above 0.
        /// Default: no limit.
        dollars_per_hour: Price,
    }

    /// Which jobs may use a pool: those that meet all of this.
    AccessDocument("Access", requires []) {
        /// Their classes. Default: all.
        classes: Distinct<Class>,
        /// Tags that they must have, each with the values of which one is theirs:
        /// `{Team: [vision, speech]}`. Default: none.
        tags: Tags,
    }

    /// How long a pool's provider takes. Machines of `local` and `external` pools are there
    /// at once: only `start` and `start_timeout` are theirs.
    TimesDocument("Times", requires []) {
        /// From the request of a machine to its registration, as expected. Default: 90s.
        boot: Time<0, DAY>,
        /// From the start of a worker to the first line of its command, as expected.
        /// Default: 20s; 5s for `local` and `external`.
        start: Time<0, DAY>,
        /// A machine that does not exist this long after it was asked for is given up.
        /// Longer than `consistency`. Default: 5m.
        launch_timeout: Time<1, DAY>,
        /// A machine that has not registered this long after its launch is given back.
        /// Longer than `boot`. Default: 15m.
        registration_timeout: Time<1, DAY>,
        /// A worker that has not reported this long after its start is lost (wall time).
        /// Longer than `start`. Default: 3m; 60s for `local` and `external`.
        start_timeout: Time<1, DAY>,
        /// From the order to end a machine to the end of its bill, as expected. Default: 60s.
        termination: Time<0, DAY>,
        /// How old what the provider lists may be. Default: 60s.
        consistency: Time<0, DAY>,
        /// The longest that an idle machine is kept for work that may come; `0s` for never.
        /// Default: 30m.
        keep: Time<0, DAY>,
    }

    /// What a pool can do.
    FeaturesDocument("Features", requires []) {
        /// Commands run in containers of the job's image. Default: false.
        containers: bool,
        /// GPUs are cut into the MIG slices that jobs ask for. Default: false.
        mig: bool,
        /// An MPS daemon is started for jobs that share a GPU. Default: false.
        mps: bool,
        /// From the notice of an interruption to the end of the machine (wall time); `0s`
        /// where there is none. Default: 2m.
        notice: Time<0, HOUR>,
    }
}
