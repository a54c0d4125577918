//! Names: of pools and accounts, of what providers have.

use serde_json::{Value as Json, json};

use super::values::Text;
use crate::id::{InstanceType, PoolName, Region, Zone};
use crate::spec::amounts::region;
use crate::spec::error::{Problem, shown};
use crate::spec::patterns;
use crate::spec::text::is_deceptive;

/// Letters of one name.
const MOST_LETTERS: usize = 63;

/// A name as a DNS label.
fn is_label(text: &str) -> bool {
    (1..=MOST_LETTERS).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

impl Text for PoolName {
    fn parse(text: &str) -> Result<Self, Problem> {
        is_label(text).then(|| Self::new(text)).ok_or_else(|| {
            let message = format!(
                "{} is not a name: write 1 to {MOST_LETTERS} of a-z, 0-9 and `-`, with no `-` at \
                 the ends",
                shown(text)
            );
            Problem::new("invalid_name", message)
        })
    }

    fn rule() -> Json {
        named("^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
    }
}

fn named(pattern: &str) -> Json {
    // A name of digits alone may be written without quotes.
    json!({
        "type": ["string", "integer"], "minLength": 1, "maxLength": MOST_LETTERS,
        "pattern": pattern, "minimum": 0,
    })
}

/// An account as it is declared, or referred to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AccountName(pub(super) String);

impl Text for AccountName {
    fn parse(text: &str) -> Result<Self, Problem> {
        let invalid = |message| Err(Problem::new("invalid_account", message));
        match text {
            "local" => invalid("`local` is this machine, which has no account; choose another name, or leave the field out".to_owned()),
            _ if is_label(text) => Ok(Self(text.to_owned())),
            _ => invalid(format!(
                "{} is not an account: write its id, such as \"123456789012\", or a name of 1 to \
                 {MOST_LETTERS} of a-z, 0-9 and `-`",
                shown(text)
            )),
        }
    }

    fn rule() -> Json {
        let mut rule = PoolName::rule();
        rule["not"] = json!({ "const": "local" });
        rule
    }
}

impl Text for Region {
    fn parse(text: &str) -> Result<Self, Problem> {
        region(text).map(Self::new)
    }

    fn rule() -> Json {
        json!({ "type": ["string", "integer"], "maxLength": 64, "pattern": patterns::REGION })
    }
}

impl Text for Zone {
    fn parse(text: &str) -> Result<Self, Problem> {
        is_label(text).then(|| Self::new(text)).ok_or_else(|| {
            let message = format!("{} is not a zone such as us-east-1a", shown(text));
            Problem::new("invalid_zone", message)
        })
    }

    fn rule() -> Json {
        PoolName::rule()
    }
}

impl Text for InstanceType {
    fn parse(text: &str) -> Result<Self, Problem> {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
        let good = text.len() <= MOST_LETTERS
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(legal);
        good.then(|| Self::new(text)).ok_or_else(|| {
            let message = format!(
                "{} is not a machine type such as `g4dn.xlarge`, nor a family such as `g4dn.`",
                shown(text)
            );
            Problem::new("invalid_type_name", message)
        })
    }

    fn rule() -> Json {
        json!({ "type": "string", "maxLength": MOST_LETTERS, "pattern": "^[a-z][a-z0-9.-]*$" })
    }
}

/// The provider's name of families that share a quota.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Family(pub(super) String);

impl Text for Family {
    fn parse(text: &str) -> Result<Self, Problem> {
        let good = (1..=MOST_LETTERS).contains(&text.chars().count())
            && text.trim() == text
            && !text.chars().any(|c| c.is_control() || is_deceptive(c));
        good.then(|| Self(text.to_owned())).ok_or_else(|| {
            let message = format!(
                "{} is not the name of a quota: write 1 to {MOST_LETTERS} printable characters, \
                 such as `G and VT`",
                shown(text)
            );
            Problem::new("invalid_family", message)
        })
    }

    fn rule() -> Json {
        json!({
            "type": ["string", "number", "boolean"], "minLength": 1, "maxLength": MOST_LETTERS,
            "pattern": patterns::printable(),
        })
    }
}
