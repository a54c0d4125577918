//! Identifiers. All are small numbers assigned by the one leading scheduler, so that a
//! person can type them: job `j17`, its second attempt `j17.2`, instance `i5`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// An identifier that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct InvalidId {
    text: String,
    expected: &'static str,
}

impl InvalidId {
    fn new(text: &str, expected: &'static str) -> Self {
        Self { text: text.chars().take(80).collect(), expected }
    }
}

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&format!(concat!($prefix, "{}"), self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            /// Reads the printed form; the bare number is accepted too.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                number(text.strip_prefix($prefix).unwrap_or(text))
                    .map(Self)
                    .ok_or_else(|| InvalidId::new(text, $expected))
            }
        }

        text_serde!($name);
    };
}

macro_rules! text_serde {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// Digits only, no sign, no leading zero, at least 1: one spelling per number.
fn number(text: &str) -> Option<u64> {
    let plain =
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    plain.then(|| text.parse().ok()).flatten().filter(|n| *n <= i64::MAX as u64)
}

numbered!(
    /// A submitted job. Printed `j17`.
    JobId, "j", "a job id such as j17"
);
numbered!(
    /// One machine (or local slot) that we pay for. Printed `i5`.
    InstanceId, "i", "an instance id such as i5"
);

/// One try at a job: the job and the number of the try, from 1. Printed `j17.2`. The number
/// is the fence: reports from an older attempt are refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// The job that is tried.
    pub job: JobId,
    /// 1 for the first try.
    pub number: u32,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.job, self.number))
    }
}

impl fmt::Debug for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AttemptId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId::new(text, "an attempt id such as j17.2");
        let (job, try_number) = text.split_once('.').ok_or_else(invalid)?;
        let job = job.parse().map_err(|_| invalid())?;
        let number = number(try_number).and_then(|n| u32::try_from(n).ok()).ok_or_else(invalid)?;
        Ok(Self { job, number })
    }
}

text_serde!(AttemptId);

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the text as is.
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(Arc::from(text.as_ref()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d).map(Self::new)
            }
        }
    };
}

name!(
    /// Where capacity comes from: an ECS cluster, an EKS cluster, this machine (`local`).
    PoolName
);
name!(
    /// A provider's account: one bill, one set of quotas. An AWS account id, or `local`.
    Account
);
name!(
    /// A region of a provider, such as `us-east-1`.
    Region
);
name!(
    /// The provider's name of a machine, such as `i-0abc…`; ours is [`InstanceId`].
    ProviderId
);
name!(
    /// An availability zone, such as `us-east-1a`: its id (`use1-az1`) where the provider
    /// has one, since names differ between accounts.
    Zone
);
name!(
    /// A machine type, such as `p3.2xlarge`.
    InstanceType
);
name!(
    /// An accelerator model in its canonical spelling, such as `V100` or `A100-80GB`.
    Accelerator
);

impl Account {
    /// Where nobody is billed by anybody else: this machine, and recordings.
    pub fn local() -> Self {
        Self::new("local")
    }
}

impl Zone {
    /// The region of the zone: `us-east-1` for `us-east-1a`. A name that does
    /// not end in a digit and a letter is its own region.
    pub fn region(&self) -> &str {
        let name = self.as_str();
        name.strip_suffix(|c: char| c.is_ascii_lowercase())
            .filter(|region| region.ends_with(|c: char| c.is_ascii_digit()))
            .unwrap_or(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_what_they_print() {
        let attempt: AttemptId = "j17.2".parse().unwrap();
        assert_eq!(attempt, AttemptId { job: JobId(17), number: 2 });
        assert_eq!(attempt.to_string(), "j17.2");
        assert_eq!("17".parse::<JobId>().unwrap(), JobId(17));
    }

    #[test]
    fn odd_spellings_are_refused() {
        for text in ["", "j", "j0", "j01", "j-1", "j+1", "j1.", "jj1", "j99999999999999999999"] {
            assert!(text.parse::<JobId>().is_err(), "{text}");
        }
        for text in ["j1", "j1.0", "j1.x", "j1.2.3", ".1"] {
            assert!(text.parse::<AttemptId>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_zone_knows_its_region() {
        assert_eq!(Zone::new("us-east-1a").region(), "us-east-1");
        assert_eq!(Zone::new("local").region(), "local");
    }
}
