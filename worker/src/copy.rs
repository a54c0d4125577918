//! Copies inputs, files and folders, bounded and without surprises: pipes, sockets
//! and devices are left out.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

/// The deepest folder that is copied.
const DEEPEST: usize = 64;

/// How to copy.
#[derive(Debug)]
pub(crate) struct Rules<'a> {
    /// A folder that is never copied, even if it is inside the source.
    pub(crate) except: Option<&'a Path>,
    /// Ends the copy early.
    pub(crate) cut: &'a CancellationToken,
}

/// Copies a file to `to`, or the contents of a folder into the folder `to`. Each file
/// appears in full. Returns the number of files.
pub(crate) fn copy(from: &Path, to: &Path, rules: &Rules<'_>) -> io::Result<u32> {
    // The list is made first: the target may lie inside the source.
    let mut entries = Vec::new();
    list(from, PathBuf::new(), 0, rules, &mut entries)?;
    let mut files = 0;
    for entry in entries {
        if rules.cut.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let source = from.join(&entry.path);
        // Joining an empty path would add a slash to a file's name.
        let target =
            if entry.path.as_os_str().is_empty() { to.to_owned() } else { to.join(&entry.path) };
        match entry.kind {
            Kind::Folder => fs::create_dir_all(&target)?,
            Kind::Link(aim) => replace(&target, |staged| symlink(&aim, staged))?,
            Kind::File => {
                let source = if entry.path.as_os_str().is_empty() { from } else { &source };
                replace(&target, |staged| fs::copy(source, staged).map(drop))?;
                files += 1;
            }
        }
    }
    Ok(files)
}

struct Entry {
    path: PathBuf,
    kind: Kind,
}

enum Kind {
    Folder,
    File,
    Link(PathBuf),
}

fn list(
    from: &Path,
    path: PathBuf,
    depth: usize,
    rules: &Rules<'_>,
    entries: &mut Vec<Entry>,
) -> io::Result<()> {
    if depth > DEEPEST {
        return Err(io::Error::other(format!("folders deeper than {DEEPEST}")));
    }
    let full = if path.as_os_str().is_empty() { from.to_owned() } else { from.join(&path) };
    let metadata = fs::symlink_metadata(&full)?;
    if metadata.is_dir() {
        if rules.except.is_some_and(|except| except == full) {
            return Ok(());
        }
        let mut inside = fs::read_dir(&full)?.collect::<io::Result<Vec<_>>>()?;
        inside.sort_unstable_by_key(fs::DirEntry::file_name);
        entries.push(Entry { path: path.clone(), kind: Kind::Folder });
        for entry in inside {
            list(from, path.join(entry.file_name()), depth + 1, rules, entries)?;
        }
    } else if metadata.is_file() {
        entries.push(Entry { path, kind: Kind::File });
    } else if metadata.is_symlink() {
        entries.push(Entry { path, kind: Kind::Link(fs::read_link(full)?) });
    }
    Ok(())
}

/// Creates `target` under another name first.
fn replace(target: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let Some(parent) = target.parent() else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    fs::create_dir_all(parent)?;
    // Whatever the name: the longest that a file system takes has no room for more.
    let staged = parent.join(".tmp-spotwise");
    let made = make(&staged).and_then(|()| fs::rename(&staged, target));
    if made.is_err() {
        // The error that matters is the one at hand.
        let _ = fs::remove_file(&staged);
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules<'a>(except: Option<&'a Path>, cut: &'a CancellationToken) -> Rules<'a> {
        Rules { except, cut }
    }

    #[test]
    fn a_tree_is_copied_without_pipes() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("a")).unwrap();
        fs::write(from.join("a/file"), "x").unwrap();
        symlink("/etc/hostname", from.join("link")).unwrap();
        nix::unistd::mkfifo(&from.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::write(from.join("n".repeat(255)), "long").unwrap();
        let cut = CancellationToken::new();
        assert_eq!(copy(&from, &to, &rules(None, &cut)).unwrap(), 2);
        assert_eq!(fs::read(to.join("a/file")).unwrap(), b"x");
        assert_eq!(fs::read(to.join("n".repeat(255))).unwrap(), b"long");
        assert!(to.join("fifo").symlink_metadata().is_err());
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/etc/hostname"));
    }

    #[test]
    fn a_folder_is_copied_into_itself_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "x").unwrap();
        let to = dir.path().join("jobs/j1.1-0/work");
        fs::create_dir_all(&to).unwrap();
        let cut = CancellationToken::new();
        let jobs = dir.path().join("jobs");
        assert_eq!(copy(dir.path(), &to, &rules(Some(&jobs), &cut)).unwrap(), 1);
        assert!(!to.join("jobs").exists());
    }

    #[test]
    fn one_file_takes_the_name_it_is_given_and_a_cut_ends_the_copy() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("one"), dir.path().join("sub/other"));
        fs::write(&from, "x").unwrap();
        let cut = CancellationToken::new();
        assert_eq!(copy(&from, &to, &rules(None, &cut)).unwrap(), 1);
        assert_eq!(fs::read(&to).unwrap(), b"x");
        cut.cancel();
        assert!(copy(&from, &to, &rules(None, &cut)).is_err());
    }
}
