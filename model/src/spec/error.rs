//! What is wrong with a document: a stable code, the field, and the remedy.

use std::fmt;

use super::tree::{MAX_DEPTH, Node, Step};

/// A document that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", prefix(.field))]
pub struct SpecError {
    /// Stable, for programs: `unknown_field`, `duplicate_key`, `out_of_range`, ...
    pub code: &'static str,
    /// The path of the field, such as `resources.gpus` or `jobs[2].deadline`; empty for the document.
    pub field: String,
    /// What is wrong and what to write instead.
    pub message: String,
    /// Line and column, from 1, if known.
    pub location: Option<(u32, u32)>,
}

fn prefix(field: &str) -> String {
    if field.is_empty() { String::new() } else { format!("{field}: ") }
}

/// An error on its way out: each level that it passes adds its step.
#[derive(Debug)]
pub(crate) struct Problem {
    code: &'static str,
    message: String,
    /// Innermost first.
    steps: Vec<Step>,
    location: Option<(u32, u32)>,
}

impl Problem {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), steps: Vec::new(), location: None }
    }

    /// What kind it is.
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// At a position in the text, for what is not in the tree (a syntax error).
    pub(crate) fn at(mut self, location: Option<(u32, u32)>) -> Self {
        self.location = self.location.or(location);
        self
    }

    pub(crate) fn key(mut self, key: &str) -> Self {
        self.steps.push(Step::Key(key.to_owned()));
        self
    }

    pub(crate) fn index(mut self, index: usize) -> Self {
        self.steps.push(Step::Index(index));
        self
    }

    /// The finished error; its location is that of the field in `tree`, or of the nearest
    /// enclosing part that exists.
    pub(crate) fn into_error(self, tree: Option<&Node>) -> SpecError {
        let path: Vec<Step> = self.steps.into_iter().rev().collect();
        SpecError {
            code: self.code,
            field: render(&path),
            message: self.message,
            location: self.location.or_else(|| tree.and_then(|tree| tree.locate(&path))),
        }
    }
}

/// Refuses the second of two equal keys.
pub(crate) fn duplicate_key(key: &str) -> Problem {
    Problem::new("duplicate_key", "is given twice; keep one of them").key(key)
}

pub(crate) fn too_deep() -> Problem {
    Problem::new("too_deep", format!("nested more than {MAX_DEPTH} levels deep"))
}

/// Adds the name of the field that a result belongs to.
pub(crate) trait Under {
    fn under(self, key: &str) -> Self;
    fn item(self, index: usize) -> Self;
}

impl<T> Under for Result<T, Problem> {
    fn under(self, key: &str) -> Self {
        self.map_err(|problem| problem.key(key))
    }

    fn item(self, index: usize) -> Self {
        self.map_err(|problem| problem.index(index))
    }
}

/// What a user wrote, cut short and with control characters escaped: messages
/// reach terminals and logs.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let cut: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    let dots = if text.chars().nth(LONGEST).is_some() { "..." } else { "" };
    format!("`{cut}{dots}`")
}

fn render(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Index(index) => text.push_str(&format!("[{index}]")),
            Step::Key(key) if is_plain(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
            Step::Key(key) => text.push_str(&format!("[{}]", shown(key))),
        }
    }
    text
}

fn is_plain(key: &str) -> bool {
    (1..=80).contains(&key.len())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl serde::de::Error for Problem {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new("invalid_value", message.to_string())
    }

    fn invalid_type(found: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        let found = match found {
            serde::de::Unexpected::Map => "fields",
            serde::de::Unexpected::Seq => "a list",
            serde::de::Unexpected::Unit | serde::de::Unexpected::Option => "nothing",
            _ => "a single value",
        };
        Self::new("invalid_type", format!("expected {expected}, found {found}"))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new("unknown_field", format!("no such field; {}", suggestion(field, expected)))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let what = format!("{} is not known; {}", shown(variant), suggestion(variant, expected));
        Self::new("unknown_value", what)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new("missing_field", "is required").key(field)
    }
}

/// The nearest of the names if one is close, otherwise all of them.
fn suggestion(written: &str, known: &[&str]) -> String {
    closest(written, known.iter().copied()).map_or_else(
        || format!("known are {}", known.join(", ")),
        |name| format!("did you mean `{name}`?"),
    )
}

/// The name that was probably meant, ignoring case; `None` if none is close.
pub fn closest<'n>(written: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    /// Jaro-Winkler similarity above which two names are taken to be the same: `bugdet_usd`
    /// has 0.97, `retry` to `retries` 0.90.
    const NEAR: f64 = 0.85;
    let plain = |name: &str| name.chars().take(64).collect::<String>().to_lowercase();
    let written = plain(written);
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&written, &plain(name)), name))
        .filter(|(similarity, _)| *similarity > NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
