//! The folder of one job's checkpoints in an object store.

use std::fs;
use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use spotwise_api::v1::EarlierCheckpoints;
use spotwise_model::JobId;

use super::manifest::{MOST_MANIFEST_BYTES, Manifest};
use super::{CheckpointError, CheckpointId, at, blocking};

/// The location of one job's checkpoints.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    objects: Arc<dyn ObjectStore>,
    root: PathBuf,
    job: JobId,
    /// Those of the jobs that this one resubmits: read, and never written.
    earlier: Vec<Self>,
}

impl Store {
    /// Opens `file:///folder`, and creates the folder.
    pub(crate) fn open(address: &str, job: JobId) -> Result<Self, CheckpointError> {
        let Some(folder) = address.strip_prefix("file://").filter(|path| path.starts_with('/'))
        else {
            return Err(CheckpointError::Unsupported(address.to_owned()));
        };
        fs::create_dir_all(folder).map_err(at(FilePath::new(folder)))?;
        // A committed checkpoint has to outlive the machine: the crate writes
        // under a temporary name and renames; with this it also syncs the file
        // and its folder.
        let objects = LocalFileSystem::new_with_prefix(folder)?.with_fsync(true);
        let objects = Arc::new(objects.with_automatic_cleanup(true));
        Ok(Self { objects, root: PathBuf::from(folder), job, earlier: Vec::new() })
    }

    /// The same store, which also reads what the jobs that this one resubmits have saved.
    /// Those that have saved nothing are left out.
    pub(crate) fn after(mut self, earlier: &[EarlierCheckpoints]) -> Result<Self, CheckpointError> {
        for EarlierCheckpoints { job, store } in earlier {
            let path = store.strip_prefix("file://");
            if path.is_none_or(|path| FilePath::new(path).is_dir()) {
                let job = job.parse().map_err(|_| CheckpointError::Name(job.clone()))?;
                self.earlier.push(Self::open(store, job)?);
            }
        }
        Ok(self)
    }

    /// Where the checkpoints of this job are read, if allowed.
    pub(super) fn of(&self, job: JobId) -> Option<&Self> {
        [self].into_iter().chain(&self.earlier).find(|store| store.job == job)
    }

    /// Every checkpoint that may be read, oldest first: a job has a higher number than
    /// those it resubmits.
    pub(super) async fn list_all(&self) -> Result<Vec<CheckpointId>, CheckpointError> {
        let mut ids = self.list().await?;
        for store in &self.earlier {
            ids.extend(store.list().await?);
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// The same store, behind something inserted by a test.
    #[cfg(test)]
    pub(super) fn behind(
        self,
        wrap: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>,
    ) -> Self {
        Self { objects: wrap(self.objects), ..self }
    }

    /// The objects.
    pub(super) fn objects(&self) -> &dyn ObjectStore {
        self.objects.as_ref()
    }

    /// Every checkpoint of the job that was begun, oldest first. Its
    /// manifest tells whether it was finished.
    pub(super) async fn list(&self) -> Result<Vec<CheckpointId>, CheckpointError> {
        let listed = self.objects.list_with_delimiter(None).await?;
        let names = listed.common_prefixes.iter().filter_map(Path::filename);
        let ids = names.filter_map(|name| name.parse::<CheckpointId>().ok());
        let mut ids: Vec<_> = ids.filter(|id| id.attempt.job == self.job).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// A checkpoint's manifest; `None` if it was never finished.
    pub(super) async fn manifest(
        &self,
        id: CheckpointId,
    ) -> Result<Option<Manifest>, CheckpointError> {
        let path = manifest_path(id);
        let size = match self.objects.head(&path).await {
            Ok(meta) => meta.size,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if size > MOST_MANIFEST_BYTES {
            return Err(CheckpointError::Bad(format!("a manifest of {size} bytes")));
        }
        let bytes = self.objects.get_range(&path, 0..size).await?;
        Manifest::parse(&bytes, id).map(Some)
    }

    /// Finishes a checkpoint. An existing manifest is never overwritten.
    pub(super) async fn finish(&self, manifest: &Manifest) -> Result<(), CheckpointError> {
        let payload = PutPayload::from(manifest.to_bytes()?);
        let path = manifest_path(manifest.id());
        self.objects.put_opts(&path, payload, PutMode::Create.into()).await?;
        Ok(())
    }

    /// Whether every shard exists with its size: what can be checked without reading all of
    /// it.
    pub(super) async fn is_whole(&self, manifest: &Manifest) -> bool {
        for (_, shard) in manifest.shards() {
            match self.objects.head(&shard_path(manifest.id(), shard.number)).await {
                Ok(meta) if meta.size == shard.size => {}
                _ => return false,
            }
        }
        true
    }

    /// Removes a shard that the checkpoint, not yet finished, will not name.
    pub(super) async fn remove_shard(
        &self,
        id: CheckpointId,
        number: u32,
    ) -> Result<(), CheckpointError> {
        match self.objects.delete(&shard_path(id, number)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a checkpoint, the manifest first: what remains after an interrupted removal
    /// is not a checkpoint.
    pub(super) async fn remove(&self, id: CheckpointId) -> Result<(), CheckpointError> {
        match self.objects.delete(&manifest_path(id)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let prefix = Path::from(id.to_string());
        let objects: Vec<_> = self.objects.list(Some(&prefix)).try_collect().await?;
        for object in objects {
            self.objects.delete(&object.location).await?;
        }
        // What a killed worker was writing is no object, and listed nowhere,
        // but takes its space.
        let folder = self.root.join(id.to_string());
        blocking(move || match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(at(&folder)),
        })
        .await
    }
}

/// Where a shard is.
pub(super) fn shard_path(id: CheckpointId, number: u32) -> Path {
    Path::from(format!("{id}/{number:05}.shard"))
}

fn manifest_path(id: CheckpointId) -> Path {
    Path::from(format!("{id}/manifest.json"))
}
