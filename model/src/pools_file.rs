//! The operator's pools file: which pools there are, what their accounts may have open at
//! once, and how simulated clouds behave.
//!
//! ```yaml
//! version: 1
//! accounts:
//!   - name: "123456789012"
//! pools:
//!   - name: local
//!     kind: local
//!   - name: east
//!     kind: simulated
//!     account: "123456789012"
//!     region: us-east-1
//! ```
//!
//! It lies here, beside the job specification, because the two read documents in the same
//! way: over a tree that keeps places, so that every problem has a line and a field.

mod account;
mod build;
mod cloud;
mod document;
mod fields;
mod lists;
mod names;
mod pool;
mod schema;
#[cfg(test)]
mod tests;
mod times;
mod values;

use std::collections::BTreeMap;
use std::fmt;

use crate::id::Account;
use crate::pool::{HostLimits, PoolKind, PoolSet};
use crate::spec::error::Problem;
use crate::spec::tree::{Node, Value};
use crate::spec::{SpecError, yaml};

pub use cloud::{Chance, CloudOptions, TimeRange};
pub use schema::json_schema;

use build::{Built, build};
use document::PoolsDocument;
use fields::{Problems, Read as _};

/// The largest file, in bytes: 1 MiB.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;

/// A pools file that is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolsFile {
    /// The pools and the quotas of their accounts, as version 1.
    pub set: PoolSet,
    /// How the cloud of each account behaves that simulated pools buy with.
    pub clouds: BTreeMap<Account, CloudOptions>,
}

/// A pools file that is refused: all that is wrong with it, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolsFileErrors {
    /// Where the text came from.
    pub origin: String,
    /// At least one.
    pub errors: Vec<SpecError>,
    /// How many more there are.
    pub more: usize,
}

/// One error a line: `pools.yaml:7:5: pools[1].zones[0]: what is wrong [code]`.
impl fmt::Display for PoolsFileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{}:", self.origin)?;
            if let Some((line, column)) = error.location {
                write!(f, "{line}:{column}:")?;
            }
            write!(f, " {error} [{}]", error.code)?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\n{}: {more} more", self.origin),
        }
    }
}

impl std::error::Error for PoolsFileErrors {}

impl PoolsFile {
    /// Reads a pools file from its text; `origin` names it in errors. Whatever the text is,
    /// it takes time and memory in proportion to [`MAX_FILE_BYTES`] at most, and never
    /// panics.
    pub fn parse(text: &str, origin: &str) -> Result<Self, PoolsFileErrors> {
        let one = |error| PoolsFileErrors {
            origin: origin.to_owned(),
            errors: vec![reworded(error)],
            more: 0,
        };
        let tree = tree(text).map_err(|problem| one(problem.into_error(None)))?;
        let mut problems = Problems::default();
        let built = match PoolsDocument::read(&tree, &mut problems) {
            Some(document) => build(document, &mut problems),
            None => Built::default(),
        };
        if problems.is_empty() {
            let Built { pools, quotas, clouds } = built;
            return Ok(Self { set: PoolSet { version: 1, pools, quotas }, clouds });
        }
        let (found, more) = problems.into_parts();
        let mut errors: Vec<SpecError> =
            found.into_iter().map(|problem| problem.into_error(Some(&tree))).collect();
        errors.sort_by_key(|error| error.location);
        Err(PoolsFileErrors { origin: origin.to_owned(), errors, more })
    }

    /// The same with the real machine that it runs on: what its local pool has, and the
    /// workers that somebody else starts.
    #[must_use]
    pub fn with_host(mut self, host: HostLimits) -> Self {
        for pool in self.set.pools.values_mut() {
            pool.limits.host = match pool.kind {
                PoolKind::Local | PoolKind::External => Some(host),
                PoolKind::Simulated => None,
            };
        }
        self
    }
}

fn tree(text: &str) -> Result<Node, Problem> {
    if text.len() > MAX_FILE_BYTES {
        let message = format!("{} bytes are more than {MAX_FILE_BYTES}", text.len());
        return Err(Problem::new("document_too_large", message));
    }
    let tree = yaml::read(text.strip_prefix('\u{feff}').unwrap_or(text))?;
    if matches!(tree.value, Value::Empty | Value::Null) {
        let message = "is empty; write `version: 1` and at least one pool under `pools`";
        return Err(Problem::new("empty_document", message));
    }
    Ok(tree)
}

/// The remedies of the YAML reader are those of job files.
fn reworded(mut error: SpecError) -> SpecError {
    let message = match error.code {
        "multiple_documents" => "more than one YAML document; write all pools in one",
        "merge_key_not_allowed" => "merge keys are not read; write the fields out",
        "yaml_alias_limit" => "aliases (`*name`) repeat too much; write the values out",
        _ => return error,
    };
    message.clone_into(&mut error.message);
    error
}
