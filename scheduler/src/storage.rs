//! The object store of jobs' files, where there is one: what it is checked for at the start,
//! who gets keys of it, and what unfinished uploads are dropped.

use std::collections::BTreeSet;
use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use futures::stream::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutPayload};
use spotwise_model::{AttemptId, JobId};
use spotwise_storage::{
    Access, Credentials, OwnCredentials, Rights, Role, S3Settings, SecurityTokens, Storage,
    StorageError, StorageLocation, StsError, UnfinishedUpload, session_policy,
};

use crate::clock;

/// Where jobs' files are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StorageChoice {
    /// In the data folder.
    #[default]
    DataFolder,
    /// In another folder.
    Folder(PathBuf),
    /// Checkpoints in a bucket, what else there is in the data folder.
    Bucket(BucketChoice),
}

/// A bucket, and what opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketChoice {
    /// The bucket and the prefix.
    pub bucket: String,
    /// What all keys begin with; may be empty.
    pub prefix: String,
    /// Where it is.
    pub settings: S3Settings,
    /// What workers open it with.
    pub keys: WorkerKeys,
}

/// What workers open the object store with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerKeys {
    /// Keys of this role for an hour, limited to the files of one job.
    Role(Role),
    /// The scheduler's own keys, which open all that it may open itself.
    Own,
}

impl BucketChoice {
    fn location(&self) -> StorageLocation {
        StorageLocation::Bucket { bucket: self.bucket.clone(), prefix: self.prefix.clone() }
    }

    /// Where the checkpoints of a job are.
    pub fn checkpoints_of(&self, job: JobId) -> StorageLocation {
        self.location().join(CHECKPOINTS).join(&job.to_string())
    }
}

/// As below the data folder.
const CHECKPOINTS: &str = "checkpoints";

/// Keys without a known end are asked for again this often, so that changed ones reach
/// workers.
const OWN_LASTS: Duration = Duration::from_secs(600);

/// Why the object store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ObjectStorageError {
    /// It does not answer as it should.
    #[error("--storage {location}")]
    Store {
        /// Which.
        location: String,
        /// Why.
        #[source]
        source: StorageError,
    },
    /// It overwrites what must not be overwritten.
    #[error(
        "--storage {0}: it ignores If-None-Match, which keeps an attempt that should have ended \
         from overwriting what another has saved: use a store that knows conditional writes"
    )]
    Unconditional(String),
    /// No keys for workers.
    #[error("--storage-role")]
    Role(#[source] StsError),
}

/// The opened object store.
#[derive(Debug)]
pub struct ObjectStorage {
    choice: BucketChoice,
    own: OwnCredentials,
    access: Access,
    tokens: Option<SecurityTokens>,
}

impl ObjectStorage {
    /// Opens it, and tries what everything else relies on.
    ///
    /// # Errors
    /// It does not answer, is no store for us, or the role is refused.
    pub async fn open(choice: &BucketChoice) -> Result<Self, ObjectStorageError> {
        let failed =
            |source| ObjectStorageError::Store { location: choice.location().to_string(), source };
        let settings = &choice.settings;
        let own = OwnCredentials::find(&choice.bucket, settings).map_err(failed)?;
        let tokens = match &choice.keys {
            WorkerKeys::Own => None,
            WorkerKeys::Role(role) => {
                let tokens = SecurityTokens::new(settings, own.clone(), role.clone());
                Some(tokens.map_err(failed)?)
            }
        };
        let access = Access { settings: settings.clone(), credentials: own.provider() };
        let it = Self { choice: choice.clone(), own, access, tokens };
        it.probe().await?;
        it.keys("spotwise-probe", JobId(0), Rights::Read)
            .await
            .map_err(ObjectStorageError::Role)?;
        Ok(it)
    }

    fn at(&self, location: &StorageLocation) -> Result<Storage, StorageError> {
        Storage::open(location, Some(&self.access))
    }

    /// Writes a small object twice, the second time only if there is none.
    async fn probe(&self) -> Result<(), ObjectStorageError> {
        let location = self.choice.location();
        let failed = |source| ObjectStorageError::Store { location: location.to_string(), source };
        let storage = self.at(&location).map_err(failed)?;
        let path = Path::from(format!("probe/{}-{}", std::process::id(), clock::now()));
        let write = || {
            let payload = PutPayload::from_static(b"spotwise");
            storage.objects().put_opts(&path, payload, PutMode::Create.into())
        };
        write().await.map_err(|error| failed(error.into()))?;
        let second = write().await;
        storage.objects().delete(&path).await.map_err(|error| failed(error.into()))?;
        match second {
            Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(failed(error.into())),
            Ok(_) => Err(ObjectStorageError::Unconditional(location.to_string())),
        }
    }

    /// How workers reach it.
    pub const fn settings(&self) -> &S3Settings {
        &self.choice.settings
    }

    /// Keys for the files of a job. `holder` is who uses them, for the provider's own log.
    ///
    /// # Errors
    /// They are refused, or nobody answers.
    pub async fn keys(
        &self,
        holder: &str,
        job: JobId,
        rights: Rights,
    ) -> Result<Credentials, StsError> {
        let Some(tokens) = &self.tokens else {
            let keys = self.own.keys().await.map_err(StsError::Own)?;
            return Ok(Credentials {
                key_id: keys.key_id.clone(),
                secret_key: keys.secret_key.clone(),
                session_token: keys.token.clone(),
                lasts: Some(OWN_LASTS),
            });
        };
        let location = self.choice.checkpoints_of(job);
        let StorageLocation::Bucket { bucket, prefix } = location else {
            unreachable!("it is made of a bucket");
        };
        tokens.assume(holder, &session_policy(&bucket, &prefix, rights), clock::now()).await
    }

    /// What attempts have begun to send and not finished: of one job, or of all. Whether
    /// they are over is asked afterwards, so that who has just begun is not taken for over.
    ///
    /// # Errors
    /// The store's.
    pub async fn unfinished(&self, job: Option<JobId>) -> Result<Unfinished, StorageError> {
        let location = self.choice.location().join(CHECKPOINTS);
        let storage = self.at(&match job {
            Some(job) => location.join(&job.to_string()),
            None => location,
        })?;
        let uploads = storage.unfinished_uploads().await?.into_iter().filter_map(|upload| {
            let attempt = upload.path.parts().find_map(|part| attempt_in(part.as_ref()))?;
            Some((attempt, upload))
        });
        let uploads = uploads.collect();
        Ok(Unfinished { storage, uploads })
    }

    /// The jobs that have checkpoints here, and their attempts, by the names of folders.
    ///
    /// # Errors
    /// The store's.
    pub async fn names(&self) -> Result<BTreeSet<String>, StorageError> {
        let storage = self.at(&self.choice.location().join(CHECKPOINTS))?;
        let mut listed = storage.objects().list(None);
        let mut names = BTreeSet::new();
        while let Some(object) = listed.next().await {
            for part in object?.location.parts().take(2) {
                names.insert(part.as_ref().to_owned());
            }
        }
        Ok(names)
    }
}

/// Uploads that were begun and not finished, by the attempts that began them.
#[derive(Debug)]
pub struct Unfinished {
    storage: Storage,
    uploads: Vec<(AttemptId, UnfinishedUpload)>,
}

impl Unfinished {
    /// Drops those of attempts that are not `live`. Returns how many.
    ///
    /// # Errors
    /// The store's.
    pub async fn drop_but(
        self,
        live: impl Fn(AttemptId) -> bool + Send,
    ) -> Result<usize, StorageError> {
        let Self { storage, uploads } = self;
        let over: Vec<_> = uploads.into_iter().filter(|(attempt, _)| !live(*attempt)).collect();
        for (attempt, upload) in &over {
            storage.abort(upload).await?;
            tracing::info!(attempt.id = %attempt, path = %upload.path, "dropped an unfinished upload");
        }
        Ok(over.len())
    }
}

/// Names of checkpoints begin with those of their attempts: `j17.2-000003`.
fn attempt_in(name: &str) -> Option<AttemptId> {
    name.rsplit_once('-')?.0.parse().ok()
}

impl StorageChoice {
    /// The folder of what is kept in folders; `None` for the data folder.
    pub fn folder(&self) -> Option<&FilePath> {
        match self {
            Self::Folder(path) => Some(path),
            Self::DataFolder | Self::Bucket(_) => None,
        }
    }

    /// The bucket, if there is one.
    pub const fn bucket(&self) -> Option<&BucketChoice> {
        match self {
            Self::Bucket(choice) => Some(choice),
            Self::DataFolder | Self::Folder(_) => None,
        }
    }
}
