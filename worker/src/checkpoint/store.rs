//! The place of one job's checkpoints in a storage.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path as FilePath;
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use spotwise_api::v1::EarlierCheckpoints;
use spotwise_model::JobId;
use spotwise_storage::{Renewing, Storage, StorageLocation, is_refusal};

use super::manifest::{MOST_MANIFEST_BYTES, Manifest};
use super::{CheckpointError, CheckpointId, at, blocking};
use crate::bucket_access::BucketAccess;

const MANIFEST: &str = "manifest.json";

/// The location of one job's checkpoints.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    storage: Storage,
    job: JobId,
    access: Option<BucketAccess>,
    credentials: Option<Arc<Renewing>>,
    /// Those of the jobs that this one resubmits: read, and never written.
    earlier: Vec<Self>,
}

impl Store {
    /// Opens a folder as `file:///folder`, and creates it.
    #[cfg(test)]
    pub(crate) fn open(address: &str, job: JobId) -> Result<Self, CheckpointError> {
        Self::open_with(address, job, None)
    }

    /// Opens a folder, or a bucket as `s3://bucket/prefix`.
    pub(crate) fn open_with(
        address: &str,
        job: JobId,
        access: Option<BucketAccess>,
    ) -> Result<Self, CheckpointError> {
        let unsupported = |why: String| CheckpointError::Unsupported(address.to_owned(), why);
        if !address.contains("://") {
            return Err(unsupported("it is no address".to_owned()));
        }
        let location: StorageLocation =
            address.parse().map_err(|error| unsupported(format!("{error}")))?;
        let opened = access.as_ref().map(|access| access.of(job));
        let storage = Storage::open(&location, opened.as_ref().map(|(access, _)| access));
        let storage = storage.map_err(|error| unsupported(error.to_string()))?;
        let credentials = opened.map(|(_, credentials)| credentials);
        Ok(Self { storage, job, access, credentials, earlier: Vec::new() })
    }

    /// The same store, which also reads what the jobs that this one resubmits have saved.
    /// Those that have saved nothing are left out.
    pub(crate) fn after(mut self, earlier: &[EarlierCheckpoints]) -> Result<Self, CheckpointError> {
        for EarlierCheckpoints { job, store } in earlier {
            let path = store.strip_prefix("file://");
            if path.is_none_or(|path| FilePath::new(path).is_dir()) {
                let job = job.parse().map_err(|_| CheckpointError::Name(job.clone()))?;
                self.earlier.push(Self::open_with(store, job, self.access.clone())?);
            }
        }
        Ok(self)
    }

    /// Where the checkpoints of this job are read, if allowed.
    pub(super) fn of(&self, job: JobId) -> Option<&Self> {
        [self].into_iter().chain(&self.earlier).find(|store| store.job == job)
    }

    /// The job.
    pub(super) const fn job(&self) -> JobId {
        self.job
    }

    /// Whether it is elsewhere: what fails there may succeed a moment later.
    pub(super) fn is_remote(&self) -> bool {
        self.storage.as_folder().is_none()
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
        Self { storage: self.storage.behind(wrap), ..self }
    }

    /// In a storage that is open.
    #[cfg(test)]
    pub(super) const fn at(storage: Storage, job: JobId) -> Self {
        Self { storage, job, access: None, credentials: None, earlier: Vec::new() }
    }

    /// The same store, with credentials that it may renew.
    #[cfg(test)]
    pub(super) fn with_credentials(self, credentials: Arc<Renewing>) -> Self {
        Self { credentials: Some(credentials), ..self }
    }

    /// The objects.
    pub(super) fn objects(&self) -> &dyn ObjectStore {
        self.storage.objects().as_ref()
    }

    /// The folder that it is, unless something is inserted before its files.
    pub(super) fn direct(&self) -> Option<&FilePath> {
        self.storage.as_folder().filter(|_| !self.storage.is_behind())
    }

    /// If the store has refused our credentials: drops them, so that the next request
    /// takes new ones. Returns whether that may help.
    pub(super) async fn renew(&self, error: &CheckpointError) -> bool {
        let CheckpointError::Store(error) = error else { return false };
        if !is_refusal(error) {
            return false;
        }
        let all = [self].into_iter().chain(&self.earlier);
        let all: Vec<_> = all.filter_map(|store| store.credentials.clone()).collect();
        for credentials in &all {
            credentials.discard().await;
        }
        !all.is_empty()
    }

    /// Every checkpoint of the job that was begun, oldest first. Its
    /// manifest tells whether it was finished.
    pub(super) async fn list(&self) -> Result<Vec<CheckpointId>, CheckpointError> {
        let listed = self.objects().list_with_delimiter(None).await?;
        let names = listed.common_prefixes.iter().filter_map(Path::filename);
        let ids = names.filter_map(|name| name.parse::<CheckpointId>().ok());
        let mut ids: Vec<_> = ids.filter(|id| id.attempt.job == self.job).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// The objects of a checkpoint, with their sizes. Listed, since whoever may not list a
    /// bucket is not told that an object is missing.
    async fn parts(&self, id: CheckpointId) -> Result<BTreeMap<String, u64>, CheckpointError> {
        let prefix = Path::from(id.to_string());
        let listed = self.objects().list(Some(&prefix));
        let named = listed.map_ok(|it| (it.location.filename().unwrap_or("").to_owned(), it.size));
        Ok(named.try_collect().await?)
    }

    /// A checkpoint's manifest; `None` if it was never finished.
    pub(super) async fn manifest(
        &self,
        id: CheckpointId,
    ) -> Result<Option<Manifest>, CheckpointError> {
        let Some(size) = self.parts(id).await?.get(MANIFEST).copied() else { return Ok(None) };
        if size > MOST_MANIFEST_BYTES {
            return Err(CheckpointError::Bad(format!("a manifest of {size} bytes")));
        }
        if size == 0 {
            return Err(CheckpointError::Bad("its manifest is empty".to_owned()));
        }
        match self.objects().get_range(&manifest_path(id), 0..size).await {
            Ok(bytes) => Manifest::parse(&bytes, id).map(Some),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Finishes a checkpoint. An existing manifest is never overwritten.
    pub(super) async fn finish(&self, manifest: &Manifest) -> Result<(), CheckpointError> {
        let payload = PutPayload::from(manifest.to_bytes()?);
        let path = manifest_path(manifest.id());
        self.objects().put_opts(&path, payload, PutMode::Create.into()).await?;
        Ok(())
    }

    /// Finishes a checkpoint of this attempt, also where the answer was lost and the
    /// manifest, which nobody else can have written, is there.
    pub(super) async fn finish_own(&self, manifest: &Manifest) -> Result<(), CheckpointError> {
        let Err(error) = self.finish(manifest).await else { return Ok(()) };
        // Where nothing can be read either, the error at hand is the one that matters.
        let there = self.manifest(manifest.id()).await.unwrap_or_default();
        if there.as_ref() == Some(manifest) {
            tracing::info!(id = %manifest.id(), "the answer to a manifest was lost; it is there");
            return Ok(());
        }
        Err(error)
    }

    /// Whether every shard exists with its size: what can be checked without reading all of
    /// it.
    pub(super) async fn is_whole(&self, manifest: &Manifest) -> Result<bool, CheckpointError> {
        let mut listed = BTreeMap::new();
        for id in manifest.places().into_keys() {
            listed.insert(id, self.parts(id).await?);
        }
        Ok(manifest.shards().all(|(_, shard)| {
            let parts = listed.get(&manifest.place_of(shard));
            parts.and_then(|parts| parts.get(&shard_name(shard.number))) == Some(&shard.size)
        }))
    }

    /// Removes a shard that the checkpoint, not yet finished, will not name.
    pub(super) async fn remove_shard(
        &self,
        id: CheckpointId,
        number: u32,
    ) -> Result<(), CheckpointError> {
        match self.objects().delete(&shard_path(id, number)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a checkpoint, the manifest first: what remains after an interrupted removal
    /// is not a checkpoint. Shards that others name stay.
    pub(super) async fn remove(
        &self,
        id: CheckpointId,
        named: &BTreeSet<u32>,
    ) -> Result<(), CheckpointError> {
        match self.objects().delete(&manifest_path(id)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let kept: BTreeSet<String> = named.iter().map(|number| shard_name(*number)).collect();
        let parts = self.parts(id).await?;
        let gone = parts.into_keys().filter(|name| !kept.contains(name));
        let gone: Vec<_> = gone.map(|name| Ok(Path::from(format!("{id}/{name}")))).collect();
        let mut deleted = self.objects().delete_stream(stream::iter(gone).boxed());
        while let Some(done) = deleted.next().await {
            match done {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        drop(deleted);
        // What a killed worker was writing is no object, and listed nowhere,
        // but takes its space.
        let Some(root) = self.storage.as_folder() else { return Ok(()) };
        let folder = root.join(id.to_string());
        blocking(move || empty(&folder, &kept)).await
    }
}

/// Removes a folder, or what is in it but a few files.
fn empty(folder: &FilePath, kept: &BTreeSet<String>) -> Result<(), CheckpointError> {
    let gone = |done: io::Result<()>| match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done.map_err(at(folder)),
    };
    if kept.is_empty() {
        return gone(fs::remove_dir_all(folder));
    }
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let entry = entry.map_err(at(folder))?;
        if !entry.file_name().to_str().is_some_and(|name| kept.contains(name)) {
            gone(fs::remove_file(entry.path()))?;
        }
    }
    Ok(())
}

/// Where a shard is.
pub(super) fn shard_path(id: CheckpointId, number: u32) -> Path {
    Path::from(format!("{id}/{}", shard_name(number)))
}

fn shard_name(number: u32) -> String {
    format!("{number:05}.shard")
}

fn manifest_path(id: CheckpointId) -> Path {
    Path::from(format!("{id}/{MANIFEST}"))
}
