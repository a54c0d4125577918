//! The command's resource usage, for people to look at; never an error.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use spotwise_api::v1::Usage;

use crate::gpu::Gpus;
use crate::memory::Memory;
use crate::process_tree;

/// `/proc` is walked at most this often.
const PERIOD: Duration = Duration::from_secs(1);

/// USER_HZ is 100 on every architecture that Linux currently supports.
const TICKS_PER_SECOND: u128 = 100;

/// Measures everything below this process.
pub(crate) struct Sampler {
    /// The command's `CUDA_VISIBLE_DEVICES`.
    visible: Option<String>,
    /// Looked for with the first sample: NVML takes a while to initialise.
    gpus: OnceCell<Option<Gpus>>,
    last: Option<(Instant, u64)>,
    usage: Usage,
    memory: Memory,
}

impl Sampler {
    /// `visible` is the command's `CUDA_VISIBLE_DEVICES`.
    pub(crate) fn new(visible: Option<&str>, memory: Memory) -> Self {
        let visible = visible.map(str::to_owned);
        Self { visible, gpus: OnceCell::new(), last: None, usage: Usage::default(), memory }
    }

    /// The newest measurement.
    pub(crate) fn sample(&mut self, now: Instant) -> Usage {
        let elapsed = self.last.map(|(at, _)| now.saturating_duration_since(at));
        if elapsed.is_some_and(|elapsed| elapsed < PERIOD) {
            return self.usage;
        }
        let processes = process_tree::descendants(std::process::id().cast_signed());
        let ticks = processes.iter().map(|process| process.ticks).sum::<u64>();
        let before = self.last.replace((now, ticks)).map_or(ticks, |(_, before)| before);
        let gpus = self.gpus.get_or_init(|| Gpus::find(self.visible.as_deref()));
        let gpu = gpus.as_ref().and_then(Gpus::mean_percent);
        let memory_bytes = processes.iter().map(|it| process_tree::resident_bytes(it.pid)).sum();
        self.memory.note(memory_bytes);
        self.usage = Usage {
            cpu_percent: percent(ticks.saturating_sub(before), elapsed.unwrap_or(PERIOD)),
            memory_bytes,
            gpu_percent: gpu.unwrap_or(0),
            gpu_known: gpu.is_some(),
            memory: Some(self.memory.measured()),
        };
        self.usage
    }
}

fn percent(ticks: u64, elapsed: Duration) -> u32 {
    let millis = elapsed.as_millis().max(1);
    let percent = u128::from(ticks) * 100 * 1_000 / (millis * TICKS_PER_SECOND);
    u32::try_from(percent).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_busy_cpus_are_200_percent() {
        assert_eq!(percent(400, Duration::from_secs(2)), 200);
        assert_eq!(percent(0, Duration::ZERO), 0);
    }
}
