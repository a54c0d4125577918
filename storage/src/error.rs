//! Why a storage cannot be used.

use std::io;
use std::path::PathBuf;

/// Why a storage cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Nobody knows where the bucket is.
    #[error("AWS_REGION is not set: name the region of the bucket, or AWS_ENDPOINT_URL")]
    NoRegion,
    /// An endpoint that is none.
    #[error("the endpoint `{0}` is none: write it as https://HOST or http://HOST")]
    Endpoint(String),
    /// A bucket, and whoever opens it was not told how.
    #[error("{0} needs a region and credentials, and there are none")]
    NoAccess(String),
    /// A folder that cannot be made.
    #[error("the folder {}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The unfinished uploads are not listed.
    #[error("unfinished uploads are not listed: {0}")]
    Uploads(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] object_store::Error),
}

/// Whether the store refuses the credentials: other ones may do.
pub fn is_refusal(error: &object_store::Error) -> bool {
    use object_store::Error::{PermissionDenied, Unauthenticated};
    // S3 answers an expired token with 400 and its code in the body, for which the crate
    // has no kind of its own.
    let expired = |error: &object_store::Error| {
        let text = error.to_string();
        ["ExpiredToken", "InvalidToken", "TokenRefreshRequired"].iter().any(|it| text.contains(it))
    };
    matches!(error, PermissionDenied { .. } | Unauthenticated { .. }) || expired(error)
}
