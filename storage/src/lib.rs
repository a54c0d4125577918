//! Where jobs' files are kept: a folder, or a bucket of S3 or of what speaks its protocol.
//! The scheduler and the workers open it here and nowhere else.
//!
//! This crate knows no job and no checkpoint, and decides nothing: whoever opens a bucket
//! brings the credentials. It reads environment variables for the scheduler only
//! ([`S3Settings::from_environment`]); a worker is told what it needs.

mod bucket;
mod credentials;
mod error;
mod location;
mod policy;
mod signed;
mod storage;
mod sts;

pub use bucket::{CREDENTIAL_VARIABLES, OwnCredentials, S3Settings, ring_for_tls};
pub use credentials::{Credentials, IssueError, Issuer, Renewing};
pub use error::{StorageError, is_refusal};
pub use location::{LocationError, StorageLocation};
pub use policy::{Rights, session_policy};
pub use storage::{Access, Storage, UnfinishedUpload};
pub use sts::{Role, RoleError, SecurityTokens, StsError};
