//! Accelerator names and MIG profiles (NVIDIA multi-instance GPU).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::Accelerator;

/// The accelerator models that spotwise knows, in canonical spelling. A name outside this
/// list is accepted as written: a catalogue may know more.
pub const KNOWN_ACCELERATORS: [&str; 20] = [
    "A10G",
    "A100",
    "A100-80GB",
    "B200",
    "B300",
    "GB200",
    "Gaudi",
    "H100",
    "H200",
    "Inferentia",
    "Inferentia2",
    "K80",
    "L4",
    "L40S",
    "M60",
    "RTX-PRO-6000",
    "T4",
    "Trainium",
    "Trainium2",
    "V100",
];

impl Accelerator {
    /// The canonical spelling of a name: `v100` becomes `V100`.
    pub fn canonical(text: &str) -> Self {
        KNOWN_ACCELERATORS
            .iter()
            .find(|known| known.eq_ignore_ascii_case(text))
            .map_or_else(|| Self::new(text), Self::new)
    }

    /// Whether the model can be cut into MIG slices.
    pub fn supports_mig(&self) -> bool {
        MIG_ACCELERATORS.contains(&self.as_str())
    }
}

/// The accelerators that can be cut into MIG slices.
pub(crate) const MIG_ACCELERATORS: [&str; 5] = ["A100", "A100-80GB", "H100", "H200", "B200"];

/// Units per GPU, so that parts of one are computed in whole numbers: MIG's 2, 3, 4 and 7
/// slices divide it and so do the usual numbers of turns; any other part is rounded down,
/// by less than two hundred-millionths of a GPU.
pub const GPU_UNITS: u64 = 84_000_000;

/// A MIG profile by its size; memory names differ by GPU (`1g.5gb` on an
/// A100-40GB is `1g.10gb` on an H100). Source: NVIDIA MIG user guide, profile
/// tables of A100, H100, H200 and B200.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MigProfile {
    /// One compute, one memory slice.
    #[serde(rename = "1g")]
    G1,
    /// One compute slice, two memory slices.
    #[serde(rename = "1g-double")]
    G1Double,
    /// Two compute, two memory slices.
    #[serde(rename = "2g")]
    G2,
    /// One compute slice and one memory slice.
    #[serde(rename = "3g")]
    G3,
    /// Four compute, four memory slices.
    #[serde(rename = "4g")]
    G4,
    /// The whole GPU.
    #[serde(rename = "7g")]
    G7,
}

/// A MIG profile that no GPU offers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown MIG profile; known are 1g.5gb, 1g.10gb, 2g.10gb, 3g.20gb, 4g.20gb and 7g.40gb, or their names on larger GPUs"
)]
pub struct UnknownMigProfile;

/// Memory slices of a GPU that can be cut (A100, H100, H200, B200).
pub const MIG_MEMORY_SLICES: u32 = 8;
/// Compute slices of such a GPU.
pub const MIG_COMPUTE_SLICES: u32 = 7;

/// What NVIDIA's driver allows of one profile. Sources: placements of the A100
/// in NVIDIA/go-nvml at 2f9e261 (`pkg/nvml/mock/gpus/a100.go`), of H100 and H200
/// in openshift/instaslice-operator (`test/utils/emulated.go`), names and counts
/// in NVIDIA/mig-parted at bd7160f; all three Apache-2.0. The B200's placements
/// are inferred from the same geometry and have not been seen on a machine.
struct MigRule {
    memory: u32,
    compute: u32,
    starts: &'static [u8],
    most: u32,
}

/// Every profile with its names on A100-40GB; A100-80GB and H100; H200; B200.
const MIG_NAMES: [(MigProfile, [&str; 4]); 6] = [
    (MigProfile::G1, ["1g.5gb", "1g.10gb", "1g.18gb", "1g.23gb"]),
    (MigProfile::G1Double, ["1g.10gb", "1g.20gb", "1g.35gb", "1g.45gb"]),
    (MigProfile::G2, ["2g.10gb", "2g.20gb", "2g.35gb", "2g.45gb"]),
    (MigProfile::G3, ["3g.20gb", "3g.40gb", "3g.71gb", "3g.90gb"]),
    (MigProfile::G4, ["4g.20gb", "4g.40gb", "4g.71gb", "4g.90gb"]),
    (MigProfile::G7, ["7g.40gb", "7g.80gb", "7g.141gb", "7g.180gb"]),
];

/// The columns of [`MIG_NAMES`] for an accelerator; all of them if none is given.
fn mig_columns(accelerator: Option<&str>) -> std::ops::Range<usize> {
    match accelerator {
        Some("A100") => 0..1,
        Some("A100-80GB" | "H100") => 1..2,
        Some("H200") => 2..3,
        Some("B200") => 3..4,
        _ => 0..4,
    }
}

/// The spellings of profiles on an accelerator, or on any.
pub(crate) fn mig_spellings(accelerator: Option<&str>) -> std::collections::BTreeSet<&'static str> {
    let columns = mig_columns(accelerator);
    let names = |names: &'static [&'static str; 4]| names.get(columns.clone()).unwrap_or_default();
    MIG_NAMES.iter().flat_map(|(_, spelt)| names(spelt)).copied().collect()
}

impl MigProfile {
    /// Every profile, smallest first: the order of [`Self::index`].
    pub const ALL: [Self; 6] = [Self::G1, Self::G1Double, Self::G2, Self::G3, Self::G4, Self::G7];

    /// Position in [`Self::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// How many of this profile alone fit on one GPU.
    pub const fn max_per_gpu(self) -> u32 {
        self.rule().most
    }

    /// Compute slices (of 7).
    pub const fn compute_slices(self) -> u32 {
        self.rule().compute
    }

    /// Memory slices (of 8).
    pub const fn memory_slices(self) -> u32 {
        self.rule().memory
    }

    /// The memory slices at which an instance may start.
    pub const fn starts(self) -> &'static [u8] {
        self.rule().starts
    }

    const fn rule(self) -> MigRule {
        match self {
            Self::G1 => MigRule { memory: 1, compute: 1, starts: &[0, 1, 2, 3, 4, 5, 6], most: 7 },
            Self::G1Double => MigRule { memory: 2, compute: 1, starts: &[0, 2, 4, 6], most: 4 },
            Self::G2 => MigRule { memory: 2, compute: 2, starts: &[0, 2, 4], most: 3 },
            Self::G3 => MigRule { memory: 4, compute: 3, starts: &[0, 4], most: 2 },
            Self::G4 => MigRule { memory: 4, compute: 4, starts: &[0], most: 1 },
            Self::G7 => MigRule { memory: 8, compute: 7, starts: &[0], most: 1 },
        }
    }

    /// Reads a profile name as spelled on `accelerator`; if none is given, on any GPU
    /// (`1g.10gb` is then the small slice of an H100).
    pub fn parse(name: &str, accelerator: Option<&Accelerator>) -> Result<Self, UnknownMigProfile> {
        let columns = mig_columns(accelerator.map(Accelerator::as_str));
        MIG_NAMES
            .iter()
            .find(|(_, names)| names.get(columns.clone()).is_some_and(|n| n.contains(&name)))
            .map(|(profile, _)| *profile)
            .ok_or(UnknownMigProfile)
    }
}

impl FromStr for MigProfile {
    type Err = UnknownMigProfile;
    fn from_str(name: &str) -> Result<Self, UnknownMigProfile> {
        Self::parse(name, None)
    }
}

impl fmt::Display for MigProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::G1 => "1g",
            Self::G1Double => "1g-double",
            Self::G2 => "2g",
            Self::G3 => "3g",
            Self::G4 => "4g",
            Self::G7 => "7g",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_name_depends_on_the_gpu() {
        let h100 = Accelerator::canonical("h100");
        assert_eq!(MigProfile::parse("1g.10gb", Some(&h100)), Ok(MigProfile::G1));
        let a100 = Accelerator::canonical("A100");
        assert_eq!(MigProfile::parse("1g.10gb", Some(&a100)), Ok(MigProfile::G1Double));
        assert_eq!(MigProfile::parse("5g.30gb", None), Err(UnknownMigProfile));
    }
}
