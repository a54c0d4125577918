//! Adds what an attempt has left to the job's outputs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::copy::{copy_file, is_same, make_folder};
use super::gate::{Gate, Turn};
use super::{Brought, Plan, if_there, tidy};
use crate::folder::{Folder, inside};
use crate::meta::{set_mode, set_modified};
use crate::survey::{Entry, Kind, LeftOut, Survey, plain_file, several, shown, survey};

/// What was collected.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Collected {
    /// Files that are now in the store.
    pub(crate) files: u32,
    /// What the owner of the job should know.
    pub(crate) notes: Vec<String>,
    /// Whether everything possible was stored: nothing is left to rescue.
    pub(crate) whole: bool,
}

/// Brings what the job names in its working folder, and all of its output folder, into the
/// store. What is already identical there stays; whatever was `brought` at the start and is
/// gone is removed there too. `succeeded`: what a job names must exist only if it has
/// finished.
pub(crate) fn collect(
    plan: &Plan,
    gate: &Gate,
    folder: &Folder,
    brought: &Brought,
    succeeded: bool,
    cut: &CancellationToken,
) -> Collected {
    let mut it =
        Collector { plan, gate, cut, files: 0, taken: BTreeSet::new(), told: Told::default() };
    let done = it.everything(folder, brought, succeeded);
    if let Err(error) = gate.finish() {
        tracing::debug!(%error, "leftovers beside the outputs");
    }
    let Collector { files, mut told, .. } = it;
    let whole = match &done {
        Ok(()) => true,
        // Who is cut short is told so elsewhere.
        Err(error) if error.kind() == io::ErrorKind::Interrupted => false,
        Err(error) => {
            told.failed.push(format!("the rest ({error})"));
            // A newer attempt has taken over: then they are not wanted.
            error.kind() == io::ErrorKind::ResourceBusy
        }
    };
    Collected { files, notes: told.notes(), whole }
}

struct Collector<'a> {
    plan: &'a Plan,
    gate: &'a Gate,
    cut: &'a CancellationToken,
    files: u32,
    /// Paths in the store, relative to the base.
    taken: BTreeSet<PathBuf>,
    told: Told,
}

/// What the owner is told at the end.
#[derive(Default)]
struct Told {
    left_out: Vec<LeftOut>,
    failed: Vec<String>,
    twice: Vec<String>,
    moved: Vec<String>,
    others: Vec<String>,
}

impl Told {
    fn notes(self) -> Vec<String> {
        let mut notes = self.others;
        let mut add = |words: &str, all: &[String]| {
            if !all.is_empty() {
                notes.push(format!("{words}: {}", several(all)));
            }
        };
        let left: Vec<_> = self.left_out.iter().map(ToString::to_string).collect();
        add("left out of the outputs", &left);
        add("outputs that could not be collected", &self.failed);
        add("both named by the job and in its output folder, from which it was kept", &self.twice);
        add(
            "kept under rank-0/ of the outputs, since other nodes have folders of that name",
            &self.moved,
        );
        notes
    }
}

impl Collector<'_> {
    fn everything(
        &mut self,
        folder: &Folder,
        brought: &Brought,
        succeeded: bool,
    ) -> io::Result<()> {
        let (work, output) = (folder.work(), folder.output());
        for name in &self.plan.named {
            match self.named(&work, name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && !succeeded => {}
                Err(error) if is_ours(&error) => self.told.failed.push(format!("{name} ({error})")),
                done => done?,
            }
        }
        if !output.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
            let words = "its output folder was removed: what it held before is kept";
            self.told.others.push(words.to_owned());
            return Ok(());
        }
        let found = look(&output)?;
        let stored = |path: &Path| self.plan.stored(path);
        let targets: Vec<_> = found.entries.iter().map(|entry| stored(&entry.path)).collect();
        self.take(&output, found, &targets)?;
        self.remove_what_is_gone(brought, &work, &output)
    }

    /// Something in the working folder, if it really is there.
    fn named(&mut self, work: &Path, name: &str) -> io::Result<()> {
        let outside = || io::Error::other("it is not inside the working folder");
        let path = inside(work, name).ok_or_else(outside)?;
        let real = fs::canonicalize(&path)?;
        if !real.starts_with(work.canonicalize()?) {
            return Err(outside());
        }
        let name = tidy(&inside(Path::new(""), name).ok_or_else(outside)?);
        let metadata = real.symlink_metadata()?;
        let (from, found) = if metadata.is_dir() {
            (real.clone(), look(&real)?)
        } else {
            let entries = vec![plain_file(&real)?];
            (real.clone(), Survey { entries, ..Survey::default() })
        };
        self.make_folders(&name, metadata.is_dir())?;
        let targets = found.entries.iter().map(|entry| join(&name, &entry.path));
        let targets: Vec<_> = targets.collect();
        self.take(&from, found, &targets)
    }

    /// The folders above a named output, which have no entries of their own.
    fn make_folders(&mut self, name: &Path, itself: bool) -> io::Result<()> {
        let above: Vec<_> = name.ancestors().skip(usize::from(!itself)).collect();
        self.make_base()?;
        for folder in above.into_iter().rev().filter(|path| !path.as_os_str().is_empty()) {
            let target = self.plan.base().join(folder);
            self.gate.pass(|_| make_folder(&target))?;
        }
        Ok(())
    }

    fn make_base(&self) -> io::Result<()> {
        fs::create_dir_all(self.plan.base())
    }

    fn take(&mut self, from: &Path, found: Survey, targets: &[PathBuf]) -> io::Result<()> {
        if !found.entries.is_empty() {
            self.make_base()?;
        }
        let base = self.plan.base();
        let mut first: BTreeMap<(u64, u64), PathBuf> = BTreeMap::new();
        for (entry, stored) in found.entries.iter().zip(targets) {
            if self.cut.is_cancelled() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            if *stored != entry.path && self.plan.takes_a_rank(&entry.path) {
                let top = entry.path.components().count() == 1;
                self.told.moved.extend(top.then(|| shown(&entry.path)));
                self.make_folders(Path::new("rank-0"), true)?;
            }
            let source = if entry.path.as_os_str().is_empty() {
                from.to_owned()
            } else {
                from.join(&entry.path)
            };
            match self.one(&source, &base.join(stored), entry, &mut first) {
                Ok(()) => {}
                Err(error) if is_ours(&error) => {
                    self.told.failed.push(format!("{} ({error})", shown(stored)));
                    continue;
                }
                Err(error) => return Err(error),
            }
            if !matches!(entry.kind, Kind::Folder) && !self.taken.insert(stored.clone()) {
                self.told.twice.push(shown(stored));
            }
        }
        // From within: what is written into a folder changes its time.
        for (entry, stored) in found.entries.iter().zip(targets).rev() {
            if matches!(entry.kind, Kind::Folder) {
                let target = base.join(stored);
                // Its owner has to be able to add and remove.
                let given = set_mode(&target, entry.mode | 0o700)
                    .and_then(|()| set_modified(&target, entry.modified));
                if let Err(error) = given {
                    tracing::debug!(%error, folder = %target.display(), "mode or time is not kept");
                }
            }
        }
        self.told.left_out.extend(found.left_out);
        Ok(())
    }

    fn one(
        &mut self,
        source: &Path,
        target: &Path,
        entry: &Entry,
        first: &mut BTreeMap<(u64, u64), PathBuf>,
    ) -> io::Result<()> {
        match &entry.kind {
            Kind::Folder => return self.gate.pass(|_| make_folder(target)),
            Kind::Link(to) => {
                let same = fs::read_link(target).is_ok_and(|there| there == *to);
                if !same {
                    let staged = self.gate.staging()?.join("link");
                    if_there(fs::remove_file(&staged))?;
                    symlink(to, &staged)?;
                    set_modified(&staged, entry.modified)?;
                    self.rename(&staged, target)?;
                }
            }
            Kind::File(facts) => {
                if !is_same(target, entry, facts) {
                    let staged = self.gate.staging()?.join("file");
                    if_there(fs::remove_file(&staged))?;
                    match first.get(&facts.identity) {
                        Some(other) => fs::hard_link(other, &staged)?,
                        None => copy_file(source, &staged, entry, facts, self.cut)?,
                    }
                    self.rename(&staged, target)?;
                }
                first.entry(facts.identity).or_insert_with(|| target.to_owned());
                self.files += 1;
            }
        }
        Ok(())
    }

    fn rename(&self, staged: &Path, target: &Path) -> io::Result<()> {
        self.gate.pass(|turn| match turn {
            Turn::Late if target.symlink_metadata().is_ok() => fs::remove_file(staged),
            Turn::Late | Turn::Ours => fs::rename(staged, target),
        })
    }

    /// What earlier attempts left, and this one has removed.
    fn remove_what_is_gone(
        &mut self,
        brought: &Brought,
        work: &Path,
        output: &Path,
    ) -> io::Result<()> {
        let base = self.plan.base();
        // From within, so that folders are empty when their turn comes.
        for stored in brought.paths().rev() {
            let Some(home) = self.plan.home(stored, work, output) else { continue };
            let gone = matches!(
                home.symlink_metadata(),
                Err(error) if error.kind() == io::ErrorKind::NotFound
            );
            if !gone || self.taken.contains(stored) {
                continue;
            }
            let target = base.join(stored);
            self.gate.pass(|turn| match target.symlink_metadata() {
                _ if turn == Turn::Late => Ok(()),
                // One that is not empty holds what others have left.
                Ok(metadata) if metadata.is_dir() => {
                    let _ = fs::remove_dir(&target);
                    Ok(())
                }
                Ok(_) => if_there(fs::remove_file(&target)).map(drop),
                Err(_) => Ok(()),
            })?;
        }
        Ok(())
    }
}

/// Whether an error concerns one file; the rest can still be collected.
fn is_ours(error: &io::Error) -> bool {
    use io::ErrorKind::{
        Interrupted, QuotaExceeded, ReadOnlyFilesystem, ResourceBusy, StorageFull,
    };
    let of_all = [Interrupted, ResourceBusy, StorageFull, QuotaExceeded, ReadOnlyFilesystem];
    !of_all.contains(&error.kind())
}

fn join(name: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { name.to_owned() } else { name.join(path) }
}

fn look(folder: &Path) -> io::Result<Survey> {
    survey(folder).map_err(|(path, error)| {
        io::Error::new(error.kind(), format!("{}: {error}", path.display()))
    })
}
