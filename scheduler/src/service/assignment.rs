//! What a worker is given to run: the job's command, and the environment that
//! jobs rely on.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use spotwise_api::convert::{checkpoint_name, secret_reference, time_text};
use spotwise_api::v1;
use spotwise_model::sharing::{SoftSharing, WHOLE_GPU};
use spotwise_model::{AttemptId, CapacityType, Job, JobId, Share};

use super::millis;
use crate::config::ServeConfig;
use crate::storage::BucketChoice;
use spotwise_control::reply::Assigned;
use spotwise_storage::S3Settings;

/// A commit writes and verifies files: doing it more often than this (wall time) is only
/// extra work. It matters in fast replays.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(500);

/// Ports for gangs whose workers name none: below the range that Linux uses for outgoing
/// connections (32768 to 60999).
const FIRST_PORT: u64 = 20_000;
const PORTS: u64 = 10_000;

/// The answer while a gang is incomplete.
pub fn not_ready(config: &ServeConfig) -> v1::Assignment {
    v1::Assignment {
        heartbeat_ms: millis(config.heartbeat),
        lease_ms: millis(config.control.lease),
        ..v1::Assignment::default()
    }
}

/// What the worker of this rank runs. `install` names this data folder: it identifies
/// processes as ours.
pub fn assignment(
    assigned: &Assigned,
    rank: u32,
    config: &ServeConfig,
    install: &str,
) -> v1::Assignment {
    let Assigned { job, attempt, restore, newest_saved, addresses, money_lasts } = assigned;
    let spec = &job.spec;
    let grace = spec.checkpoint.as_ref().map_or(config.control.default_grace, |c| c.grace);
    let input = |input: &spotwise_model::spec::Input| v1::InputFile {
        from: input.from.clone(),
        to: input.to.clone(),
    };
    v1::Assignment {
        ready: true,
        job: job.id.to_string(),
        name: job.display_name(),
        command: spec.command.clone(),
        workdir: spec.workdir.clone().unwrap_or_default(),
        env: environment(assigned, rank, config, install),
        secrets: spec.secrets.iter().map(|(k, v)| (k.clone(), secret_reference(v))).collect(),
        inputs: spec.inputs.iter().map(input).collect(),
        outputs: spec.outputs.iter().map(|output| output.path.clone()).collect(),
        checkpoint: Some(checkpoint_settings(job, config)),
        restore: Some(checkpoint_name(restore.as_ref().or(attempt.restore.as_ref()))),
        newest_saved: *newest_saved,
        addresses: addresses.clone(),
        heartbeat_ms: millis(config.heartbeat),
        lease_ms: millis(config.control.lease),
        grace_ms: millis(grace),
        output_store: config.outputs_dir().join(job.id.to_string()).display().to_string(),
        // SIGUSR1 ends a command that does not expect it, and no spec asks for
        // it yet.
        signal_on_notice: false,
        money_lasts_ms: money_lasts.map(millis),
        memory_bytes: attempt.share.memory_mib.saturating_mul(1 << 20),
        stop_signal_to: spec.checkpoint.as_ref().map_or_else(String::new, signal_to),
        output_bytes: config.output_bytes,
        object_store: config.storage.bucket().map(object_store),
        takes_next: job.array.is_some_and(|place| place.reuse_workers),
        // Given by who has seen what the worker shows.
        credential: String::new(),
    }
}

fn signal_to(checkpoint: &spotwise_model::spec::Checkpoint) -> String {
    checkpoint.signal.name().to_owned()
}

fn checkpoint_settings(job: &Job, config: &ServeConfig) -> v1::CheckpointSettings {
    let store_of = |job: JobId| match &config.storage.bucket() {
        Some(bucket) => bucket.checkpoints_of(job).to_string(),
        None => format!("file://{}", config.checkpoints_dir().join(job.to_string()).display()),
    };
    let store = store_of(job.id);
    let lineage = job.resubmission.iter().flat_map(|it| &it.lineage);
    let earlier = lineage
        .map(|id| v1::EarlierCheckpoints { job: id.to_string(), store: store_of(*id) })
        .collect();
    let Some(checkpoint) = &job.spec.checkpoint else {
        return v1::CheckpointSettings { store, ..v1::CheckpointSettings::default() };
    };
    let interval = checkpoint.interval / config.control.speed.max(1);
    v1::CheckpointSettings {
        enabled: true,
        store,
        dir: checkpoint.dir.clone().unwrap_or_default(),
        interval_ms: millis(interval.max(SHORTEST_INTERVAL)),
        keep: checkpoint.keep,
        resumable: checkpoint.resumable,
        earlier,
    }
}

fn object_store(bucket: &BucketChoice) -> v1::ObjectStoreSettings {
    let S3Settings { region, endpoint, retry_timeout, .. } = &bucket.settings;
    v1::ObjectStoreSettings {
        region: region.clone(),
        endpoint: endpoint.clone().unwrap_or_default(),
        retry_ms: millis(*retry_timeout),
    }
}

/// The folder shared by the jobs of one submission: it exists before the first of them
/// starts.
pub(super) fn shared_dir(job: &Job, config: &ServeConfig) -> std::path::PathBuf {
    config.files_dir().join("shared").join(job.shared().to_string())
}

/// The spec's variables, then ours: ours win, since the spec may not set them.
fn environment(
    assigned: &Assigned,
    rank: u32,
    config: &ServeConfig,
    install: &str,
) -> BTreeMap<String, String> {
    let Assigned { job, attempt, addresses, .. } = assigned;
    let mut env = job.spec.env.clone();
    let mut set = |name: &str, value: String| {
        env.insert(name.to_owned(), value);
    };
    let spot = attempt.offer.market.capacity_type == CapacityType::Spot;
    let shared = shared_dir(job, config);
    set("SPOTWISE_JOB_ID", job.id.to_string());
    set("SPOTWISE_JOB_NAME", job.display_name());
    set("SPOTWISE_ATTEMPT", attempt.id.number.to_string());
    set("SPOTWISE_ATTEMPT_ID", attempt.id.to_string());
    set("SPOTWISE_INSTALL", install.to_owned());
    set("SPOTWISE_ARRAY_INDEX", job.array.map_or(0, |place| place.index).to_string());
    set("SPOTWISE_ARRAY_SIZE", job.array.map_or(1, |place| place.size).to_string());
    set("SPOTWISE_DEADLINE", time_text(job.deadline));
    set("SPOTWISE_IS_SPOT", spot.to_string());
    set("SPOTWISE_SHARED_DIR", shared.display().to_string());
    let nodes = job.spec.resources.nodes;
    if nodes > 1 {
        let gang = Gang {
            nodes,
            rank,
            processes: attempt.share.gpus.max(1),
            master: master(addresses.first().map_or("", String::as_str), attempt.id),
        };
        env.extend(gang.variables());
    }
    let slot = attempt.slots.get(rank as usize).map(|slot| slot.to_string());
    env.extend(slot.map(|slot| ("SPOTWISE_GPU_SEAT".to_owned(), slot)));
    env.extend(mps_limits(&attempt.share));
    env
}

/// What CUDA reads if an MPS daemon is running: the job's memory on the GPU that it sees
/// first, and its part of the GPU's threads, in whole percent, if the memory of a whole GPU
/// is known. A time-slicing job has no limits to read.
fn mps_limits(share: &Share) -> BTreeMap<String, String> {
    let mut limits = BTreeMap::new();
    if let Some(shared) = share.shared
        && let SoftSharing::Mps { memory_mib } = shared.sharing
    {
        // MPS reads M and MB as MiB.
        let memory = format!("0={memory_mib}MB");
        limits.insert("CUDA_MPS_PINNED_DEVICE_MEM_LIMIT".to_owned(), memory);
        if shared.millionths < WHOLE_GPU {
            let percent = shared.millionths.div_ceil(WHOLE_GPU / 100).max(1);
            limits.insert("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE".to_owned(), percent.to_string());
        }
    }
    limits
}

/// The position of a node among the others.
struct Gang {
    nodes: u32,
    rank: u32,
    processes: u32,
    master: (String, u64),
}

impl Gang {
    /// What torchrun reads on each node. The per-process ones (RANK, LOCAL_RANK and so on)
    /// are for torchrun to set: with all of them present Lightning would take a bare
    /// container for one of its processes.
    fn variables(&self) -> BTreeMap<String, String> {
        let (host, port) = &self.master;
        let values = [
            ("MASTER_ADDR", host.clone()),
            ("MASTER_PORT", port.to_string()),
            ("NODE_RANK", self.rank.to_string()),
            ("NNODES", self.nodes.to_string()),
            ("NPROC_PER_NODE", self.processes.to_string()),
        ];
        let torchrun = values.iter().map(|(name, value)| (format!("PET_{name}"), value.clone()));
        let plain = values.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        torchrun.chain(plain).collect()
    }
}

/// Host and port of the first node. If it names no port, one that is the attempt's own as
/// far as possible: gangs may share a machine.
fn master(address: &str, attempt: AttemptId) -> (String, u64) {
    let derived = FIRST_PORT + (attempt.job.0 * 7 + u64::from(attempt.number)) % PORTS;
    let bare = address.trim_matches(['[', ']']);
    if bare.parse::<IpAddr>().is_ok() {
        return (bare.to_owned(), derived);
    }
    match address.rsplit_once(':').and_then(|(h, port)| Some((h, port.parse::<u16>().ok()?))) {
        Some((host, port)) => (host.trim_matches(['[', ']']).to_owned(), u64::from(port)),
        None => (address.to_owned(), derived),
    }
}

#[cfg(test)]
#[path = "assignment_tests.rs"]
pub(super) mod tests;
