//! What this machine has.

use std::fs;

use nvml_wrapper::Nvml;
use spotwise_model::pool::HostLimits;

use crate::config::ServeConfig;

/// Real CPUs, memory and GPUs, unless the configuration says less or more. GPUs are not
/// limited if accelerators are simulated.
pub(super) fn of_this_machine(config: &ServeConfig) -> HostLimits {
    let gpus = (!config.simulate_accelerators).then(gpus);
    HostLimits {
        cpu_milli: config.cpu_milli.unwrap_or_else(cpu_milli),
        memory_mib: config.memory_mib.unwrap_or_else(memory_mib),
        gpus,
    }
}

/// Takes affinity and cgroup quotas into account.
fn cpu_milli() -> u64 {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    u64::try_from(cpus).unwrap_or(1).saturating_mul(1000)
}

/// The machine's memory, or less if a container has less.
fn memory_mib() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(total_kib);
    let machine = machine.unwrap_or(0).saturating_mul(1024);
    // Both read "max" or a huge number where there is no limit.
    let cgroups = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limit =
        cgroups.iter().find_map(|path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    limit.map_or(machine, |limit| limit.min(machine)) / (1024 * 1024)
}

fn total_kib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// 0 without NVML: then there is no usable GPU either.
fn gpus() -> u32 {
    Nvml::init().and_then(|nvml| nvml.device_count()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_machine_has_something_and_the_configuration_the_last_word() {
        let mut config = ServeConfig::new(PathBuf::from("data"), PathBuf::from("worker"));
        let real = of_this_machine(&config);
        assert!(real.cpu_milli >= 1000 && real.memory_mib > 0);
        assert!(real.gpus.is_some());
        config.cpu_milli = Some(500);
        config.memory_mib = Some(64);
        config.simulate_accelerators = true;
        let chosen = of_this_machine(&config);
        assert_eq!((chosen.cpu_milli, chosen.memory_mib, chosen.gpus), (500, 64, None));
    }

    #[test]
    fn meminfo_is_read() {
        assert_eq!(total_kib("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16384));
        assert_eq!(total_kib(""), None);
    }
}
