//! An opened storage.

use std::fmt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::aws::{AmazonS3, AwsCredentialProvider};
use object_store::local::LocalFileSystem;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use serde::Deserialize;
use url::Url;

use crate::bucket::{self, S3Settings};
use crate::error::StorageError;
use crate::location::StorageLocation;
use crate::signed::{Signed, SignedError};

/// How a bucket is reached.
#[derive(Clone)]
pub struct Access {
    /// Where it is.
    pub settings: S3Settings,
    /// What opens it.
    pub credentials: AwsCredentialProvider,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A large object of which parts were sent, and that was not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfinishedUpload {
    /// Below the location that was opened.
    pub path: Path,
    id: String,
}

/// A folder or a prefix of a bucket, opened.
#[derive(Clone, Debug)]
pub struct Storage {
    objects: Arc<dyn ObjectStore>,
    kind: Kind,
    behind: bool,
}

#[derive(Clone, Debug)]
enum Kind {
    Folder(PathBuf),
    Bucket(Arc<Bucket>),
}

#[derive(Debug)]
struct Bucket {
    store: AmazonS3,
    prefix: Path,
    url: String,
    credentials: AwsCredentialProvider,
    requests: Signed,
}

impl Storage {
    /// Opens it; a folder is created.
    ///
    /// # Errors
    /// The folder cannot be made, or nobody said how the bucket is reached. That nothing
    /// answers there is not noticed yet.
    pub fn open(location: &StorageLocation, access: Option<&Access>) -> Result<Self, StorageError> {
        match location {
            StorageLocation::Folder(path) => Self::folder(path),
            StorageLocation::Bucket { bucket, prefix } => {
                let none = || StorageError::NoAccess(location.to_string());
                Self::bucket(bucket, prefix, access.ok_or_else(none)?)
            }
        }
    }

    fn folder(path: &FilePath) -> Result<Self, StorageError> {
        let failed = |source| StorageError::Folder { path: path.to_owned(), source };
        std::fs::create_dir_all(path).map_err(failed)?;
        // What is written has to outlive the machine: the crate writes under a temporary
        // name and renames; with this it also syncs the file and its folder.
        let objects = LocalFileSystem::new_with_prefix(path)?.with_fsync(true);
        let objects = Arc::new(objects.with_automatic_cleanup(true));
        Ok(Self { objects, kind: Kind::Folder(path.to_owned()), behind: false })
    }

    fn bucket(name: &str, prefix: &str, access: &Access) -> Result<Self, StorageError> {
        let Access { settings, credentials } = access;
        let store = bucket::open(name, settings, Arc::clone(credentials))?;
        let prefix = Path::from(prefix);
        let objects: Arc<dyn ObjectStore> =
            Arc::new(PrefixStore::new(store.clone(), prefix.clone()));
        let bucket = Bucket {
            store,
            prefix,
            url: settings.bucket_url(name),
            credentials: Arc::clone(credentials),
            requests: Signed::new(settings, "s3")?,
        };
        Ok(Self { objects, kind: Kind::Bucket(Arc::new(bucket)), behind: false })
    }

    /// The objects.
    pub const fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    /// The same storage, with its objects behind something.
    #[must_use]
    pub fn behind(self, wrap: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>) -> Self {
        Self { objects: wrap(self.objects), behind: true, ..self }
    }

    /// Whether something is.
    pub const fn is_behind(&self) -> bool {
        self.behind
    }

    /// The folder, if it is one.
    pub fn as_folder(&self) -> Option<&FilePath> {
        match &self.kind {
            Kind::Folder(path) => Some(path),
            Kind::Bucket(_) => None,
        }
    }

    /// What was begun below this location and not finished: it is no object, and is paid
    /// for like one. A folder has none.
    ///
    /// # Errors
    /// The store does not list them.
    pub async fn unfinished_uploads(&self) -> Result<Vec<UnfinishedUpload>, StorageError> {
        match &self.kind {
            Kind::Folder(_) => Ok(Vec::new()),
            Kind::Bucket(bucket) => bucket.unfinished().await,
        }
    }

    /// Drops the parts of an unfinished upload.
    ///
    /// # Errors
    /// The store's.
    pub async fn abort(&self, upload: &UnfinishedUpload) -> Result<(), StorageError> {
        let Kind::Bucket(bucket) = &self.kind else { return Ok(()) };
        let path = bucket.prefix.parts().chain(upload.path.parts()).collect();
        match bucket.store.abort_multipart(&path, &upload.id).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default, rename = "Upload")]
    uploads: Vec<Listed>,
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_key_marker: String,
    #[serde(default)]
    next_upload_id_marker: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    key: String,
    upload_id: String,
}

impl Bucket {
    async fn unfinished(&self) -> Result<Vec<UnfinishedUpload>, StorageError> {
        let failed = |error: &dyn fmt::Display| StorageError::Uploads(error.to_string());
        let mut found = Vec::new();
        let mut marker: Option<(String, String)> = None;
        loop {
            let mut url = Url::parse(&self.url).map_err(|error| failed(&error))?;
            {
                let mut query = url.query_pairs_mut();
                query.append_pair("uploads", "");
                if self.prefix.parts().next().is_some() {
                    query.append_pair("prefix", &format!("{}/", self.prefix));
                }
                if let Some((key, id)) = &marker {
                    query.append_pair("key-marker", key).append_pair("upload-id-marker", id);
                }
            }
            let keys = self.credentials.get_credential().await?;
            let page: Result<Page, SignedError> = self.requests.send(&url, None, &keys).await;
            let page = page.map_err(|error| failed(&error))?;
            for Listed { key, upload_id } in page.uploads {
                let path = Path::from(key);
                if let Some(below) = path.prefix_match(&self.prefix) {
                    found.push(UnfinishedUpload { path: below.collect(), id: upload_id });
                }
            }
            if !page.is_truncated || page.next_key_marker.is_empty() {
                return Ok(found);
            }
            marker = Some((page.next_key_marker, page.next_upload_id_marker));
        }
    }
}
