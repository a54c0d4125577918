//! The operator's settings as a file.
//!
//! ```yaml
//! changeover: 5m
//! deadline_margin: 5m
//! interruption_waiver: 1h
//! minimum_billed: 60s
//! ```

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use spotwise_model::policy::Policy;
use spotwise_model::time::parse_duration;

use crate::config::yaml_error;
use crate::exit::Failure;

/// What the file may say; what it does not say stays as it is.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    changeover: Option<Span>,
    deadline_margin: Option<Span>,
    interruption_waiver: Option<Span>,
    minimum_billed: Option<Span>,
}

struct Span(Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        parse_duration(&String::deserialize(d)?).map(Self).map_err(de::Error::custom)
    }
}

/// Reads the operator's settings.
pub(super) fn read(path: &Path) -> Result<Policy, Failure> {
    read_over(path, Policy::default())
}

/// Reads the operator's settings; what the file does not say is as in `policy`.
pub(in crate::command) fn read_over(path: &Path, policy: Policy) -> Result<Policy, Failure> {
    let fail = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    parse(&text, policy).map_err(fail)
}

fn parse(text: &str, mut policy: Policy) -> Result<Policy, String> {
    let file: File = serde_saphyr::from_str(text).map_err(|error| yaml_error(&error))?;
    for (field, value) in [
        (&mut policy.changeover, file.changeover),
        (&mut policy.deadline_margin, file.deadline_margin),
        (&mut policy.interruption_waiver, file.interruption_waiver),
        (&mut policy.minimum_billed, file.minimum_billed),
    ] {
        if let Some(Span(span)) = value {
            *field = span;
        }
    }
    Ok(policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_stays() {
        let policy = parse("changeover: 2m\n", Policy::default()).unwrap();
        assert_eq!(policy.changeover, Duration::from_secs(120));
        assert_eq!(policy.minimum_billed, Policy::default().minimum_billed);
    }

    #[test]
    fn mistakes_are_one_line() {
        for text in ["changover: 2m\n", "changeover: fast\n", "- 1\n"] {
            let message = parse(text, Policy::default()).unwrap_err();
            assert_eq!(message.lines().count(), 1, "{message}");
        }
        assert!(parse("changover: 2m\n", Policy::default()).unwrap_err().contains("changover"));
    }
}
