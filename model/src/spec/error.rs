//! What is wrong with a document: a stable code, the field, and the remedy.

/// A document that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct SpecError {
    /// Stable, for programs: `unknown_field`, `duplicate_key`, `out_of_range`, ...
    pub code: &'static str,
    /// The path of the field, such as `resources.gpus` or `jobs[2].deadline`; empty for the document.
    pub field: String,
    /// What is wrong and what to write instead.
    pub message: String,
    /// Line and column, from 1, where they are known.
    pub location: Option<(u32, u32)>,
}
