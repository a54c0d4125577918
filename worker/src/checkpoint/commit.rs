//! Writing checkpoints: when, and of which state of the folder.

mod known;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use spotwise_api::v1::{CheckpointCommitted, Progress};
use spotwise_model::AttemptId;
use tokio_util::sync::CancellationToken;

use super::acked::AckedCheckpoints;
use super::freeze::{Frozen, Held, freeze, thaw};
use super::movers::{Manner, Movers};
use super::prune::prune;
use super::scan::{newest, scan};
use super::store::Store;
use super::{CheckpointError, CheckpointId, Restored, blocking};
use crate::survey::{Survey, Why, several, shown};
use known::KnownShards;

/// Time between two looks at a folder that is being written.
const LOOKS_APART: Duration = Duration::from_millis(100);

/// A file written this recently may still be in the process of being written: it is looked
/// at again before it counts as stable.
const SETTLES_IN: Duration = Duration::from_millis(500);

/// This many consecutive looks must find no file that is being written.
const LOOKS: u32 = 10;

/// And up to this many more until no file has just arrived.
const MORE_LOOKS: u32 = 20;

/// A small folder whose files replace each other is tried again at once, this many times.
const SWAPS: u32 = 5;

/// Files that have prevented every checkpoint for this long are named to the owner.
const COMPLAIN_AFTER: Duration = Duration::from_secs(20);

/// Commits what one attempt's command leaves in its checkpoint folder.
#[derive(Debug)]
pub(crate) struct Committer {
    store: Store,
    attempt: AttemptId,
    folder: PathBuf,
    keep: usize,
    fence: CancellationToken,
    acked: AckedCheckpoints,
    next: u32,
    /// What is already known to be saved.
    saved: Survey,
    /// The shards that it lies in.
    known: KnownShards,
    last: Option<CheckpointCommitted>,
    /// Where a constantly changing folder is held.
    room: Option<PathBuf>,
    movers: Movers,
    /// Since when the folder has been changing.
    restless: Option<Instant>,
    /// The last try took no time, and failed only because complete files replaced each
    /// other.
    swapped: bool,
    /// The command has ended: nothing should be writing.
    ended: bool,
    /// Ends the wait for a constantly changing folder.
    hurry: CancellationToken,
    remarks: Vec<String>,
}

/// What is to be committed.
struct Cut {
    survey: Survey,
    /// Where files are read from, for those not read in place.
    sources: BTreeMap<PathBuf, Held>,
    /// Empty if the folder is stable.
    movers: BTreeMap<PathBuf, Manner>,
}

impl Committer {
    /// The folder holds what was restored, which is not committed again.
    /// Nothing is committed once `fence` is cancelled.
    pub(crate) async fn new(
        store: Store,
        attempt: AttemptId,
        folder: PathBuf,
        keep: u32,
        fence: CancellationToken,
        acked: AckedCheckpoints,
    ) -> Result<Self, CheckpointError> {
        let own = store.list().await?.into_iter().filter(|id| id.attempt == attempt);
        let next = own.map(|id| id.sequence).max().unwrap_or(0).saturating_add(1);
        let looked = folder.clone();
        let saved = match blocking(move || scan(&looked)).await {
            // The first commit reports it.
            Err(CheckpointError::Refused(_)) => Survey::default(),
            saved => saved?,
        };
        let keep = usize::try_from(keep.max(1)).unwrap_or(usize::MAX);
        Ok(Self {
            store,
            attempt,
            folder,
            keep,
            fence,
            acked,
            next,
            saved,
            known: KnownShards::default(),
            last: None,
            room: None,
            movers: Movers::default(),
            restless: None,
            swapped: false,
            ended: false,
            hurry: CancellationToken::new(),
            remarks: Vec::new(),
        })
    }

    /// Holds a constantly changing folder in `room`, which is on the same file system and
    /// not used by others.
    pub(crate) fn with_room(self, room: PathBuf) -> Self {
        Self { room: Some(room), ..self }
    }

    /// The folder holds what was restored; what of it does not change is not sent again.
    pub(crate) fn after(mut self, restored: &Restored) -> Self {
        if restored.loaded.is_some_and(|id| id.attempt.job == self.store.job()) {
            self.known = KnownShards::restored(&self.saved, &restored.shards);
        }
        self
    }

    /// The newest checkpoint of this attempt.
    pub(crate) const fn last(&self) -> Option<&CheckpointCommitted> {
        self.last.as_ref()
    }

    /// Cancelled when the command has ended: then looking ends.
    pub(crate) fn hurry(&mut self, hurry: CancellationToken) {
        self.hurry = hurry;
    }

    /// The command has ended.
    pub(crate) const fn ended(&mut self) {
        self.ended = true;
    }

    /// What the owner of the job should know; may repeat itself.
    pub(crate) fn remarks(&mut self) -> Vec<String> {
        std::mem::take(&mut self.remarks)
    }

    /// Commits the folder if it holds something new. `progress` tells how far the command
    /// was at a given time.
    ///
    /// A failure leaves all earlier checkpoints as they were.
    pub(crate) async fn commit(
        &mut self,
        progress: impl Fn(SystemTime) -> Option<Progress>,
    ) -> Result<Option<CheckpointCommitted>, CheckpointError> {
        let done = self.commit_once(&progress).await;
        match &done {
            Err(error) if self.may_help(error).await => self.commit_once(&progress).await,
            _ => done,
        }
    }

    /// Whether a second try is another one.
    async fn may_help(&mut self, error: &CheckpointError) -> bool {
        if matches!(error, CheckpointError::ShardGone) {
            // All of it is sent.
            self.known = KnownShards::default();
            return true;
        }
        self.store.renew(error).await
    }

    async fn commit_once(
        &mut self,
        progress: &impl Fn(SystemTime) -> Option<Progress>,
    ) -> Result<Option<CheckpointCommitted>, CheckpointError> {
        let cut = match self.restless {
            Some(_) if !self.ended => self.watch().await?,
            _ if self.ended => self.as_it_is().await?,
            _ => self.settled().await?,
        };
        let mut done = self.commit_cut(cut, progress).await;
        for _ in 0..SWAPS {
            if !self.swapped || !matches!(done, Err(CheckpointError::Unstable)) {
                break;
            }
            let cut = self.as_it_is().await?;
            done = self.commit_cut(cut, progress).await;
        }
        if self.ended && matches!(done, Err(CheckpointError::Unstable)) {
            // A process that does not belong to the command still writes there.
            let movers = self.movers.changed().into_iter().map(|it| (it, Manner::Rewritten));
            let cut = self.held(movers.collect()).await?;
            done = self.commit_cut(cut, progress).await;
        }
        if let Some(room) = self.room.clone() {
            blocking(move || thaw(&room)).await?;
        }
        if matches!(done, Err(CheckpointError::Unstable)) {
            self.restless.get_or_insert_with(Instant::now);
        }
        done
    }

    async fn commit_cut(
        &mut self,
        cut: Cut,
        progress: impl Fn(SystemTime) -> Option<Progress>,
    ) -> Result<Option<CheckpointCommitted>, CheckpointError> {
        self.remark_left_out(&cut.survey);
        if cut.survey.files().next().is_none() || cut.survey.is_still(&self.saved) {
            return Ok(None);
        }
        self.check_fence().await?;
        let id = CheckpointId { attempt: self.attempt, sequence: self.next };
        // A number is used once, even for a commit that fails.
        self.next = self.next.saturating_add(1);
        let at = newest(&cut.survey, |path| cut.movers.contains_key(path));
        let progress = at.and_then(progress).unwrap_or_default();
        let (manifest, saved, sent_bytes) = match self.write(id, cut, &progress).await {
            Ok(written) => written,
            Err(error) => {
                // Without a manifest it is no checkpoint; this only frees space.
                if let Err(error) = self.store.remove(id, &BTreeSet::new()).await {
                    tracing::warn!(%id, error = error.line(), "leftovers stay in the store");
                }
                return Err(error);
            }
        };
        self.saved = saved;
        let committed = CheckpointCommitted {
            sequence: id.sequence,
            bytes: manifest.bytes(),
            progress: Some(progress),
            sent_bytes,
        };
        self.last = Some(committed.clone());
        if let Err(error) = prune(&self.store, &self.acked, self.keep, &manifest).await {
            tracing::warn!(error = error.line(), "old checkpoints stay in the store");
        }
        Ok(Some(committed))
    }

    async fn look(&self) -> Result<Survey, CheckpointError> {
        let folder = self.folder.clone();
        blocking(move || scan(&folder)).await
    }

    /// A folder that counts as stable.
    async fn as_it_is(&self) -> Result<Cut, CheckpointError> {
        let survey = self.look().await?;
        Ok(Cut { survey, sources: BTreeMap::new(), movers: BTreeMap::new() })
    }

    /// The same, except that files written just now are looked at twice.
    async fn settled(&mut self) -> Result<Cut, CheckpointError> {
        let cut = self.as_it_is().await?;
        let settled = |at: SystemTime| at.elapsed().is_ok_and(|age| age >= SETTLES_IN);
        if newest(&cut.survey, |_| false).is_none_or(settled) {
            return Ok(cut);
        }
        self.movers.look(&cut.survey, Instant::now());
        tokio::select! {
            biased;
            () = self.hurry.cancelled() => return Ok(cut),
            () = tokio::time::sleep(SETTLES_IN) => {}
        }
        let cut = self.as_it_is().await?;
        if self.movers.look(&cut.survey, Instant::now()).being_written.is_empty() {
            return Ok(cut);
        }
        self.restless.get_or_insert_with(Instant::now);
        Err(CheckpointError::Unstable)
    }

    /// Watches a changing folder until no file is being written. Then it is held as it is.
    async fn watch(&mut self) -> Result<Cut, CheckpointError> {
        let mut moved = false;
        for look in 0..LOOKS + MORE_LOOKS {
            let begun = Instant::now();
            let survey = self.look().await?;
            let change = self.movers.look(&survey, Instant::now());
            if look > 0 {
                moved |= change.any;
                if !change.being_written.is_empty() {
                    self.remark_blockers(&change.being_written);
                    return Err(CheckpointError::Unstable);
                }
                if look >= LOOKS && !change.arrivals {
                    if moved {
                        return self.held(self.movers.all()).await;
                    }
                    self.restless = None;
                    return self.as_it_is().await;
                }
            }
            // A large folder takes a while to look at: no more than a fifth of the time.
            let pause = LOOKS_APART.max(begun.elapsed() * 4);
            tokio::select! {
                biased;
                () = self.hurry.cancelled() => return Err(CheckpointError::Unstable),
                () = tokio::time::sleep(pause) => {}
            }
        }
        // Whole files take each other's place all the time: this moment is as good as any.
        self.restless = None;
        self.held(self.movers.all()).await
    }

    async fn held(&self, movers: BTreeMap<PathBuf, Manner>) -> Result<Cut, CheckpointError> {
        let Some(room) = self.room.clone() else { return Err(CheckpointError::Unstable) };
        let folder = self.folder.clone();
        blocking(move || {
            let Frozen { survey, sources } = freeze(&folder, &room, &movers)?;
            Ok(Cut { survey, sources, movers })
        })
        .await
    }

    /// An attempt whose lease is lost, or which finds traces of a newer one, writes
    /// nothing.
    async fn check_fence(&self) -> Result<(), CheckpointError> {
        if self.fence.is_cancelled() {
            return Err(CheckpointError::Fenced("the lease is lost".to_owned()));
        }
        let newer = self.store.list().await?.into_iter().find(|id| id.attempt > self.attempt);
        newer.map_or(Ok(()), |id| Err(CheckpointError::Fenced(id.to_string())))
    }

    fn remark(&mut self, text: String) {
        if !self.remarks.contains(&text) {
            self.remarks.push(text);
        }
    }

    /// Unfinished files are left out at the command's own wish.
    fn remark_left_out(&mut self, survey: &Survey) {
        let named = survey.left_out.iter().filter(|left| left.why != Why::Unfinished);
        let named: Vec<_> = named.collect();
        if !named.is_empty() {
            self.remark(format!("left out of checkpoints: {}", several(&named)));
        }
    }

    fn remark_blockers(&mut self, paths: &[PathBuf]) {
        if self.restless.is_some_and(|since| since.elapsed() >= COMPLAIN_AFTER) {
            let named: Vec<_> = paths.iter().map(|path| shown(path)).collect();
            self.remark(format!(
                "no checkpoint is made while {} is being written: write files under a name in \
                 .tmp- and rename them when they are whole",
                several(&named)
            ));
        }
    }
}
