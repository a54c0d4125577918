//! The contents of a folder when it was surveyed: files, folders, and the links that stay
//! inside. What cannot be kept elsewhere is named with its reason.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

/// The command is still writing files whose names begin like this.
pub(crate) const UNFINISHED: &str = ".tmp-";

/// The deepest folder that is surveyed.
pub(crate) const DEEPEST: usize = 64;

/// The longest path that is kept, in bytes relative to the folder: with the folder's own
/// path in front, it must be one that the kernel accepts (4,096).
pub(crate) const LONGEST_PATH: usize = 1024;

/// The most entries of one survey; its user may keep fewer.
const MOST_ENTRIES: usize = 1_000_000;

/// Characters of a name that are shown.
const SHOWN: usize = 120;

/// A time of a file: seconds since 1970, and nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp {
    pub(crate) seconds: i64,
    pub(crate) nanos: i64,
}

/// One thing in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Relative to the folder.
    pub(crate) path: PathBuf,
    /// Permissions, including set-user-ID and similar bits; meaningless for a link.
    pub(crate) mode: u32,
    /// When it was last written.
    pub(crate) modified: Stamp,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A folder.
    Folder,
    /// A plain file.
    File(Facts),
    /// A symbolic link that stays inside, with its target as needed in a copy: relative.
    Link(PathBuf),
}

/// What distinguishes one plain file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// In bytes.
    pub(crate) size: u64,
    /// Device and inode: the same for two names of one file.
    pub(crate) identity: (u64, u64),
    /// Creation time, if the file system provides it: a freed inode number is given to the
    /// next file, often at once.
    pub(crate) born: Stamp,
    /// Whether it takes less space than its size.
    pub(crate) sparse: bool,
}

impl Facts {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            size: metadata.size(),
            identity: (metadata.dev(), metadata.ino()),
            born: Stamp::of_birth(metadata),
            sparse: metadata.blocks().saturating_mul(512) < metadata.size(),
        }
    }
}

impl Stamp {
    /// When it was last written.
    pub(crate) fn of(metadata: &fs::Metadata) -> Self {
        Self { seconds: metadata.mtime(), nanos: metadata.mtime_nsec() }
    }

    /// Creation time; the epoch if unknown.
    fn of_birth(metadata: &fs::Metadata) -> Self {
        let born = metadata.created().ok();
        let since = born.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        let since = since.unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        Self { seconds, nanos: since.subsec_nanos().into() }
    }
}

/// A single plain file, under the empty path.
pub(crate) fn plain_file(path: &Path) -> io::Result<Entry> {
    let metadata = path.symlink_metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other(format!("it is {}", special(metadata.file_type()))));
    }
    Ok(Entry::of(PathBuf::new(), &metadata, Kind::File(Facts::of(&metadata))))
}

impl Entry {
    fn of(path: PathBuf, metadata: &fs::Metadata, kind: Kind) -> Self {
        Self { path, mode: metadata.mode() & 0o7777, modified: Stamp::of(metadata), kind }
    }

    /// The facts of a plain file.
    pub(crate) const fn file(&self) -> Option<&Facts> {
        match &self.kind {
            Kind::File(facts) => Some(facts),
            Kind::Folder | Kind::Link(_) => None,
        }
    }

    /// Whether nothing has happened to it. A folder's time changes with everything written
    /// below it, and says nothing.
    pub(crate) fn is_still(&self, other: &Self) -> bool {
        let alike = self.path == other.path && self.kind == other.kind;
        alike
            && match self.kind {
                Kind::File(_) => self.mode == other.mode && self.modified == other.modified,
                Kind::Folder => self.mode == other.mode,
                Kind::Link(_) => true,
            }
    }
}

/// Something that no copy can have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LeftOut {
    pub(crate) path: PathBuf,
    pub(crate) why: Why,
}

/// Why something is left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Why {
    /// A link that leads outside.
    Outside(PathBuf),
    /// Neither file, folder nor link.
    Special(&'static str),
    /// Its name says so.
    Unfinished,
    /// This user has no permission.
    Unreadable,
    /// More than [`DEEPEST`].
    TooDeep,
    /// More than [`LONGEST_PATH`].
    TooLong,
    /// It was written continuously while it was to be read.
    Rewritten,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside(to) => write!(f, "a link to {}, outside of the folder", shown(to)),
            Self::Special(what) => f.write_str(what),
            Self::Unfinished => write!(f, "a name in {UNFINISHED} says that it is unfinished"),
            Self::Unreadable => f.write_str("it may not be read"),
            Self::TooDeep => write!(f, "below more than {DEEPEST} folders"),
            Self::TooLong => write!(f, "a path of more than {LONGEST_PATH} bytes"),
            Self::Rewritten => f.write_str("it is rewritten in place all the time"),
        }
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", shown(&self.path), self.why)
    }
}

/// A path for people: quoted, escaped, and not too long.
pub(crate) fn shown(path: &Path) -> String {
    let quoted = format!("{path:?}");
    if quoted.chars().count() <= SHOWN {
        return quoted;
    }
    let head: String = quoted.chars().take(SHOWN).collect();
    format!("{head}…\"")
}

/// Names the first few, and counts the rest.
pub(crate) fn several<T: fmt::Display>(all: &[T]) -> String {
    const NAMED: usize = 5;
    let named: Vec<_> = all.iter().take(NAMED).map(ToString::to_string).collect();
    match all.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// The whole contents of a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Survey {
    /// In the order of their paths: a folder comes before what is in it.
    pub(crate) entries: Vec<Entry>,
    /// Everything left out.
    pub(crate) left_out: Vec<LeftOut>,
}

impl Survey {
    /// The plain files.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&Entry, &Facts)> {
        self.entries.iter().filter_map(|entry| Some((entry, entry.file()?)))
    }

    /// Whether nothing has happened in between.
    pub(crate) fn is_still(&self, other: &Self) -> bool {
        let pairs = || self.entries.iter().zip(&other.entries);
        self.entries.len() == other.entries.len() && pairs().all(|(a, b)| a.is_still(b))
    }
}

/// Surveys everything below a folder. Links are never followed. A missing folder counts as
/// empty.
///
/// # Errors
/// Errors of this machine, with the path; not what one entry is like.
pub(crate) fn survey(root: &Path) -> Result<Survey, (PathBuf, io::Error)> {
    let mut survey = Survey::default();
    if root.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
        let real = root.canonicalize().map_err(|error| (root.to_owned(), error))?;
        Walk { root, real: &real, survey: &mut survey }.descend(Path::new(""), 0)?;
    }
    survey.entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    survey.left_out.sort_unstable();
    Ok(survey)
}

struct Walk<'a> {
    root: &'a Path,
    real: &'a Path,
    survey: &'a mut Survey,
}

impl Walk<'_> {
    fn descend(&mut self, path: &Path, depth: usize) -> Result<(), (PathBuf, io::Error)> {
        let full = self.root.join(path);
        let inside = match fs::read_dir(&full) {
            Ok(inside) => inside,
            Err(error) => return self.cannot(path, full, error),
        };
        for entry in inside {
            let entry = entry.map_err(|error| (full.clone(), error))?;
            let path = path.join(entry.file_name());
            let why = if entry.file_name().as_bytes().starts_with(UNFINISHED.as_bytes()) {
                Some(Why::Unfinished)
            } else if path.as_os_str().len() > LONGEST_PATH {
                Some(Why::TooLong)
            } else if depth >= DEEPEST {
                Some(Why::TooDeep)
            } else {
                None
            };
            match why {
                Some(why) => self.survey.left_out.push(LeftOut { path, why }),
                None => self.take(path, depth)?,
            }
            if self.survey.entries.len() + self.survey.left_out.len() > MOST_ENTRIES {
                let error = io::Error::other(format!("more than {MOST_ENTRIES} files in it"));
                return Err((self.root.to_owned(), error));
            }
        }
        Ok(())
    }

    fn take(&mut self, path: PathBuf, depth: usize) -> Result<(), (PathBuf, io::Error)> {
        let full = self.root.join(&path);
        let metadata = match full.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) => return self.cannot(&path, full, error),
        };
        let kind = if metadata.is_dir() {
            Kind::Folder
        } else if metadata.is_file() {
            Kind::File(Facts::of(&metadata))
        } else if metadata.is_symlink() {
            match fs::read_link(&full) {
                Err(error) => return self.cannot(&path, full, error),
                Ok(to) => match self.kept_inside(&path, &to) {
                    Some(to) => Kind::Link(to),
                    None => {
                        self.survey.left_out.push(LeftOut { path, why: Why::Outside(to) });
                        return Ok(());
                    }
                },
            }
        } else {
            let why = Why::Special(special(metadata.file_type()));
            self.survey.left_out.push(LeftOut { path, why });
            return Ok(());
        };
        let is_folder = kind == Kind::Folder;
        self.survey.entries.push(Entry::of(path.clone(), &metadata, kind));
        if is_folder { self.descend(&path, depth + 1) } else { Ok(()) }
    }

    /// What was removed between two looks counts as never having existed.
    fn cannot(
        &mut self,
        path: &Path,
        full: PathBuf,
        error: io::Error,
    ) -> Result<(), (PathBuf, io::Error)> {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(()),
            io::ErrorKind::PermissionDenied if !path.as_os_str().is_empty() => {
                let path = path.to_owned();
                self.survey.left_out.push(LeftOut { path, why: Why::Unreadable });
                Ok(())
            }
            _ => Err((full, error)),
        }
    }

    /// The target of the link at `path` in a copy of the folder; `None` if it leads
    /// outside.
    fn kept_inside(&self, path: &Path, to: &Path) -> Option<PathBuf> {
        let parent = path.parent()?;
        let kept = if to.is_absolute() {
            let inside = to.strip_prefix(self.root).or_else(|_| to.strip_prefix(self.real));
            let inside = match inside {
                Ok(inside) => inside.to_owned(),
                Err(_) => to.canonicalize().ok()?.strip_prefix(self.real).ok()?.to_owned(),
            };
            let up = parent.components().map(|_| Component::ParentDir);
            let relative: PathBuf = up.chain(inside.components()).collect();
            if relative.as_os_str().is_empty() { PathBuf::from(".") } else { relative }
        } else {
            to.to_owned()
        };
        // A link to nowhere is judged by its target path alone.
        let real = self.root.join(parent).join(&kept).canonicalize();
        let really = real.map_or(true, |real| real.starts_with(self.real));
        (really && stays_inside(parent, &kept)).then_some(kept)
    }
}

/// Whether a relative target, followed from `parent`, never leaves the folder.
pub(crate) fn stays_inside(parent: &Path, to: &Path) -> bool {
    let mut depth = parent.components().count();
    to.components().all(|part| match part {
        Component::Normal(_) => {
            depth += 1;
            true
        }
        Component::CurDir => true,
        Component::ParentDir => match depth.checked_sub(1) {
            Some(up) => {
                depth = up;
                true
            }
            None => false,
        },
        Component::RootDir | Component::Prefix(_) => false,
    })
}

fn special(kind: fs::FileType) -> &'static str {
    if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(test)]
#[path = "survey_tests.rs"]
mod tests;
