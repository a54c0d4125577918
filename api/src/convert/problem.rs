//! What a refused call looks like on the wire.

use serde::{Deserialize, Serialize};

/// gRPC metadata with the stable code of an error.
pub const ERROR_CODE_KEY: &str = "spotwise-code";

/// gRPC metadata with the field that an error is about, where there is one.
pub const ERROR_FIELD_KEY: &str = "spotwise-field";

/// In front of the code in a problem's `type`.
pub const PROBLEM_TYPE_PREFIX: &str = "urn:spotwise:problem:";

/// A problem of the HTTP API (RFC 9457, `application/problem+json`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Problem {
    /// A name for the kind of problem, not an address to open.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem, in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong and what to do.
    pub detail: String,
    /// Stable, for programs.
    pub code: String,
    /// The field that it is about; empty for none.
    #[serde(default)]
    pub field: String,
}
