//! What each node takes: GPUs, slices, CPUs, memory.

use super::document::{Number, ResourcesDocument, Scalar, SharingDocument};
use super::error::{Problem, Under, shown};
use super::read::TextOr;
use super::{GpuAlternative, GpuRequest, Resources};
use crate::gpu::MigProfile;
use crate::id::{Accelerator, Zone};
use crate::sharing::SoftSharing;

/// More than any machine has; it catches a typing error.
pub(super) const MAX_GPUS_PER_NODE: u32 = 1_024;
pub(super) const MAX_ALTERNATIVES: usize = 16;
pub(super) const MAX_CPUS: u64 = 4_096;
const MAX_MEMORY_MIB: u64 = 64 * 1024 * 1024;
const MAX_NODES: u32 = 1_000;
/// Ten petabytes; it catches a wrong unit.
const MAX_BYTES: u128 = 10_000_000_000_000_000;
/// More than 64 jobs in turns on one GPU are more switching than work.
const MAX_TURNS: u32 = 64;

const DEFAULT_CPU_MILLI: u64 = 1_000;
/// 1 GB (10^9 bytes), rounded up.
const DEFAULT_MEMORY_MIB: u64 = 954;

pub(super) fn resources(document: ResourcesDocument) -> Result<Resources, Problem> {
    let gpus = match (document.gpus, document.mig) {
        (Some(_), Some(_)) => {
            let message = "is given together with `gpus`; keep one of them";
            return Err(Problem::new("conflicting_fields", message).key("mig"));
        }
        (Some(gpus), None) => whole_gpus(gpus).under("gpus")?,
        (None, Some(slice)) => mig(&slice).under("mig")?,
        (None, None) => GpuRequest::None,
    };
    let gpus = match document.gpu_sharing {
        None => gpus,
        Some(sharing) => shared(gpus, sharing).under("gpu_sharing")?,
    };
    let cpu_milli = document.cpus.map(|Number(n)| cpus(&n)).transpose().under("cpus")?;
    let memory_mib = document.memory.map(|text| memory(&text)).transpose().under("memory")?;
    let nodes = document.nodes.unwrap_or(1);
    if !(1..=MAX_NODES).contains(&nodes) {
        let message = format!("must be 1 to {MAX_NODES}");
        return Err(Problem::new("out_of_range", message).key("nodes"));
    }
    Ok(Resources {
        gpus,
        cpu_milli: cpu_milli.unwrap_or(DEFAULT_CPU_MILLI),
        memory_mib: memory_mib.unwrap_or(DEFAULT_MEMORY_MIB),
        nodes,
    })
}

fn whole_gpus(gpus: TextOr<Vec<Scalar>>) -> Result<GpuRequest, Problem> {
    let listed = match gpus {
        TextOr::Text(text) if text == "0" => return Ok(GpuRequest::None),
        TextOr::Text(text) => {
            return Ok(GpuRequest::Whole { alternatives: vec![alternative(&text)?] });
        }
        TextOr::Other(listed) => listed,
    };
    if listed.is_empty() || listed.len() > MAX_ALTERNATIVES {
        let message = format!("list 1 to {MAX_ALTERNATIVES} alternatives");
        return Err(Problem::new("out_of_range", message));
    }
    let mut alternatives: Vec<GpuAlternative> = Vec::with_capacity(listed.len());
    for (index, Scalar(text)) in listed.into_iter().enumerate() {
        let read = alternative(&text).item(index)?;
        if alternatives.iter().any(|other| other.accelerator == read.accelerator) {
            let message = "this GPU is listed twice; only the first would ever be used";
            return Err(Problem::new("duplicate_gpu", message).index(index));
        }
        alternatives.push(read);
    }
    Ok(GpuRequest::Whole { alternatives })
}

/// `V100:2`, `V100`, `:2` or `2`.
fn alternative(text: &str) -> Result<GpuAlternative, Problem> {
    let (kind, count) = match text.split_once(':') {
        Some((kind, count)) => (kind, count),
        // What YAML reads as a boolean names no GPU.
        None if matches!(text, "true" | "false") => ("", text),
        None if text.starts_with(|c: char| c.is_ascii_alphabetic()) => (text, "1"),
        None => ("", text),
    };
    if count.contains("g.") {
        let message = "is a slice; write it under `mig` instead of `gpus`";
        return Err(Problem::new("invalid_gpus", message));
    }
    if is_fraction(count) {
        let message = "a GPU is taken whole; for a part of one write such as `mig: 1g.5gb`";
        return Err(Problem::new("fractional_gpu", message));
    }
    let plain = !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit());
    if !plain {
        let message = format!("{} is not GPUs such as `V100:1` or `2`", shown(text));
        return Err(Problem::new("invalid_gpus", message));
    }
    let count = count.parse().ok().filter(|n| (1..=MAX_GPUS_PER_NODE).contains(n));
    let count = count.ok_or_else(|| {
        Problem::new("out_of_range", format!("1 to {MAX_GPUS_PER_NODE} GPUs a node"))
    })?;
    let accelerator = if kind.is_empty() { None } else { Some(accelerator(kind)?) };
    Ok(GpuAlternative { accelerator, count })
}

fn is_fraction(text: &str) -> bool {
    text.contains('.') && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// Any name that looks like an accelerator's: a catalogue may know more than we do.
pub(super) fn accelerator(name: &str) -> Result<Accelerator, Problem> {
    let good = (1..=40).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if good {
        return Ok(Accelerator::canonical(name));
    }
    let message = format!("{} is not an accelerator such as `V100` or `A100-80GB`", shown(name));
    Err(Problem::new("invalid_accelerator", message))
}

fn mig(text: &str) -> Result<GpuRequest, Problem> {
    let (kind, name) = match text.split_once(':') {
        Some((kind, name)) => (Some(accelerator(kind)?), name),
        None => (None, text),
    };
    if let Some(kind) = kind.as_ref().filter(|kind| !kind.supports_mig()) {
        let message = format!("{kind} has no MIG; use an A100, H100, H200 or B200");
        return Err(Problem::new("invalid_mig", message));
    }
    let profile = MigProfile::parse(name, kind.as_ref())
        .map_err(|unknown| Problem::new("invalid_mig", format!("{}: {unknown}", shown(name))))?;
    Ok(GpuRequest::Slice { profile, accelerator: kind })
}

/// One GPU of those asked for, shared.
fn shared(gpus: GpuRequest, document: SharingDocument) -> Result<GpuRequest, Problem> {
    let alternatives = match gpus {
        GpuRequest::Whole { alternatives } if alternatives.iter().all(|a| a.count == 1) => {
            alternatives
        }
        GpuRequest::Slice { .. } => {
            let message = "is given together with `mig`; a slice is a job's own, keep one of them";
            return Err(Problem::new("conflicting_fields", message));
        }
        _ => {
            let message = "is about one GPU: write `gpus: 1` or such as `gpus: L4` beside it";
            return Err(Problem::new("invalid_sharing", message));
        }
    };
    let sharing = match (document.mps, document.time_slicing) {
        (Some(text), None) => SoftSharing::Mps { memory_mib: memory(&text).under("mps")? },
        (None, Some(jobs)) if (2..=MAX_TURNS).contains(&jobs) => SoftSharing::TimeSlicing { jobs },
        (None, Some(_)) => {
            let message = format!("must be 2 to {MAX_TURNS} jobs");
            return Err(Problem::new("out_of_range", message).key("time_slicing"));
        }
        _ => {
            let message = "needs one of `mps: 8GB` and `time_slicing: 4`";
            return Err(Problem::new("invalid_sharing", message));
        }
    };
    Ok(GpuRequest::Shared { alternatives, sharing })
}

fn cpus(text: &str) -> Result<u64, Problem> {
    let milli = decimal(text, 3).ok_or_else(|| {
        let message = format!("{} is not a number of CPUs such as 4 or 0.5", shown(text));
        Problem::new("invalid_number", message)
    })?;
    if milli == 0 || milli > u128::from(MAX_CPUS) * 1_000 {
        let message = format!("must be above 0 and at most {MAX_CPUS}");
        return Err(Problem::new("out_of_range", message));
    }
    Ok(u64::try_from(milli).expect("at most 4,096,000"))
}

fn memory(text: &str) -> Result<u64, Problem> {
    let thousandths = thousandths_of_bytes(text).ok_or_else(|| {
        let message = format!(
            "{} is not memory with a unit: write such as 16GB, 512MB or 64GiB",
            shown(text)
        );
        Problem::new("invalid_memory", message)
    })?;
    let mib = thousandths.div_ceil(1_000 << 20);
    if mib == 0 || mib > u128::from(MAX_MEMORY_MIB) {
        return Err(Problem::new("out_of_range", "must be above 0 and at most 64TiB"));
    }
    Ok(u64::try_from(mib).expect("at most 64 TiB"))
}

/// What is stored or moved, in bytes.
pub(super) fn bytes(text: &str) -> Result<u64, Problem> {
    let thousandths = thousandths_of_bytes(text).ok_or_else(|| {
        let message =
            format!("{} is not a size with a unit: write such as 160GB or 512MB", shown(text));
        Problem::new("invalid_size", message)
    })?;
    let bytes = thousandths.div_ceil(1_000);
    if bytes == 0 || bytes > MAX_BYTES {
        return Err(Problem::new("out_of_range", "must be above 0 and at most 10000TB"));
    }
    Ok(u64::try_from(bytes).expect("at most ten petabytes"))
}

/// `us-east-1`: the name of a region, not of a zone in it.
pub(crate) fn region(text: &str) -> Result<String, Problem> {
    let plain = (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let invalid = |message: String| Err(Problem::new("invalid_region", message));
    if !plain {
        return invalid(format!("{} is not a region such as us-east-1", shown(text)));
    }
    match Zone::new(text).region() {
        region if region == text => Ok(text.to_owned()),
        region => invalid(format!("{} is a zone: write its region {region}", shown(text))),
    }
}

fn thousandths_of_bytes(text: &str) -> Option<u128> {
    const UNITS: [(&str, u128); 6] = [
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
    ];
    UNITS.iter().find_map(|(unit, bytes)| {
        decimal(text.strip_suffix(unit)?.trim_end_matches(' '), 3).map(|n| n * bytes)
    })
}

/// A plain decimal scaled by 10^`places`: `0.5` with 3 is 500. At most 12
/// digits before the point, so that nothing overflows.
pub(crate) fn decimal(text: &str, places: usize) -> Option<u128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || whole.len() > 12 {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > places {
        return None;
    }
    format!("{whole}{fraction:0<places$}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_rounded_up_to_whole_mib() {
        assert_eq!(memory("1GB").unwrap(), DEFAULT_MEMORY_MIB);
        assert_eq!(memory("1GiB").unwrap(), 1_024);
        assert_eq!(memory("1.5 GiB").unwrap(), 1_536);
        assert_eq!(memory("512MB").unwrap(), 489);
        for text in ["", "16", "16G", "GB", "-1GB", "1e3GB", "0x1GB", "1,5GB", "１GB"] {
            assert!(memory(text).is_err(), "{text}");
        }
    }

    #[test]
    fn cpus_are_exact_thousandths() {
        assert_eq!(cpus("4").unwrap(), 4_000);
        assert_eq!(cpus("0.5").unwrap(), 500);
        assert_eq!(cpus("0.001").unwrap(), 1);
        for text in ["0", "0.0", "0.0001", "-1", "5000", ".5", "5.", "1e2", ".inf"] {
            assert!(cpus(text).is_err(), "{text}");
        }
    }
}
