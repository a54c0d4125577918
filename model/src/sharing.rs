//! Soft sharing of one GPU: several jobs on it at a time, kept apart only by agreement. It
//! is not isolation: a job can slow the others down, and a fault in one can end them all. A
//! slice (MIG) is isolated; see [`MigProfile`](crate::gpu::MigProfile).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::Accelerator;

/// Parts of one GPU, in millionths.
pub const WHOLE_GPU: u32 = 1_000_000;

/// How jobs share a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum SoftSharing {
    /// At the same time, through NVIDIA's Multi-Process Service, each limited to
    /// its memory. Jobs are placed by memory alone.
    Mps {
        /// Memory of the GPU that the job may use, in MiB.
        memory_mib: u64,
    },
    /// In turns, each with the whole GPU and its memory; nothing limits the memory.
    TimeSlicing {
        /// At most this many jobs take turns; above 1.
        jobs: u32,
    },
}

/// What a job takes of a GPU that it shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SharedGpu {
    /// How it is shared.
    pub sharing: SoftSharing,
    /// The part of the GPU that the job is charged for, in millionths.
    pub millionths: u32,
}

impl SoftSharing {
    /// What a job takes of an accelerator. By memory, it is a fraction of the smallest
    /// model of this name; of an unknown one, the whole.
    pub fn of(self, accelerator: Option<&Accelerator>) -> SharedGpu {
        let millionths = match self {
            Self::TimeSlicing { jobs } => WHOLE_GPU / jobs.max(1),
            Self::Mps { memory_mib } => {
                let whole = u64::from(WHOLE_GPU);
                let part = accelerator
                    .and_then(Accelerator::memory_mib)
                    .map_or(whole, |all| memory_mib.saturating_mul(whole).div_ceil(all));
                u32::try_from(part.min(whole)).expect("at most a million")
            }
        };
        SharedGpu { sharing: self, millionths }
    }
}

/// Worded to say what it is not.
impl fmt::Display for SoftSharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mps { memory_mib } => {
                write!(f, "{memory_mib} MiB of a GPU shared by MPS (not isolated)")
            }
            Self::TimeSlicing { jobs } => {
                write!(f, "a GPU shared in turns by up to {jobs} jobs (not isolated)")
            }
        }
    }
}

/// Memory in MiB of the smallest GPU of each name that AWS sells. Source:
/// aws/karpenter-provider-aws, instance types of 2026-08 (Apache-2.0); V100, K80
/// and M60, which it no longer lists, from NVIDIA's data sheets. The machines'
/// own figures decide what fits; these only weigh a part.
const MEMORY_MIB: [(&str, u64); 14] = [
    ("A10G", 22_888),
    ("A100", 40_960),
    ("A100-80GB", 81_920),
    ("B200", 183_359),
    ("B300", 275_040),
    ("H100", 81_920),
    ("H200", 144_384),
    ("K80", 12_288),
    ("L4", 22_888),
    ("L40S", 45_776),
    ("M60", 8_192),
    ("RTX-PRO-6000", 98_304),
    ("T4", 16_384),
    ("V100", 16_384),
];

impl Accelerator {
    /// Memory of the smallest GPU of this name in MiB, if known.
    pub fn memory_mib(&self) -> Option<u64> {
        MEMORY_MIB.iter().find(|(name, _)| *name == self.as_str()).map(|(_, memory)| *memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_that_of_the_memory_or_of_the_turns() {
        let part =
            |sharing: SoftSharing, name| sharing.of(Some(&Accelerator::new(name))).millionths;
        assert_eq!(part(SoftSharing::Mps { memory_mib: 4_096 }, "T4"), 250_000);
        assert_eq!(part(SoftSharing::Mps { memory_mib: 99_999 }, "T4"), WHOLE_GPU);
        assert_eq!(part(SoftSharing::Mps { memory_mib: 1 }, "X9"), WHOLE_GPU, "unknown");
        assert_eq!(part(SoftSharing::TimeSlicing { jobs: 4 }, "X9"), 250_000);
        assert_eq!(part(SoftSharing::TimeSlicing { jobs: 0 }, "X9"), WHOLE_GPU);
    }

    #[test]
    fn the_words_say_that_it_is_not_isolation() {
        for sharing in [SoftSharing::Mps { memory_mib: 1 }, SoftSharing::TimeSlicing { jobs: 2 }] {
            assert!(sharing.to_string().contains("not isolated"));
        }
    }
}
