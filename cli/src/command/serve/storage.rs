//! What the flags of the storage say together.

use std::time::Duration;

use spotwise_scheduler::storage::{BucketChoice, StorageChoice, WorkerKeys};
use spotwise_storage::{S3Settings, StorageLocation};

use super::{Serve, absolute};
use crate::exit::Failure;

/// A request takes a quarter of the notice at most, so that a second one has its turn; and
/// not so long that a store that is gone is not noticed.
const RETRY: (u32, Duration, Duration) = (4, Duration::from_secs(2), Duration::from_secs(30));

impl Serve {
    pub(super) fn storage(&self) -> Result<StorageChoice, Failure> {
        let usage =
            |flag: &str, why: &dyn std::fmt::Display| Failure::usage(format!("{flag}: {why}"));
        let location: Option<StorageLocation> = match &self.storage {
            Some(text) => Some(text.parse().map_err(|error| usage("--storage", &error))?),
            None => None,
        };
        let (bucket, prefix) = match location {
            Some(StorageLocation::Bucket { bucket, prefix }) => (bucket, prefix),
            folder => {
                let flag = match (&self.storage_role, self.storage_share_keys) {
                    (Some(_), _) => Some("--storage-role"),
                    (None, true) => Some("--storage-share-keys"),
                    (None, false) => None,
                };
                if let Some(flag) = flag {
                    return Err(usage(
                        flag,
                        &"it is for a bucket: add --storage s3://BUCKET/PREFIX",
                    ));
                }
                return match folder {
                    Some(StorageLocation::Folder(path)) => {
                        Ok(StorageChoice::Folder(absolute(&path)?))
                    }
                    _ => Ok(StorageChoice::DataFolder),
                };
            }
        };
        let keys = match (&self.storage_role, self.storage_share_keys) {
            (Some(role), _) => {
                WorkerKeys::Role(role.parse().map_err(|error| usage("--storage-role", &error))?)
            }
            (None, true) => WorkerKeys::Own,
            (None, false) => {
                return Err(usage(
                    "--storage",
                    &"workers need keys of the bucket: add --storage-role ARN, whose keys are \
                      limited to the files of one job; or --storage-share-keys, and every worker \
                      has the keys of this scheduler",
                ));
            }
        };
        let mut settings = S3Settings::from_environment(|name| std::env::var(name).ok())
            .map_err(|error| usage("--storage", &error))?;
        let (part, least, most) = RETRY;
        settings.retry_timeout = (self.notice_lead / part).clamp(least, most);
        Ok(StorageChoice::Bucket(BucketChoice { bucket, prefix, settings, keys }))
    }
}
