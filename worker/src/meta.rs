//! File metadata that is carried over to a copy.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use crate::survey::Stamp;

/// The part of a mode that is kept: who may read, write and execute. Set-user-ID and
/// similar bits are not given to copies.
pub(crate) const PERMISSIONS: u32 = 0o777;

/// Sets the permissions. Links have no modes.
pub(crate) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode & PERMISSIONS))
}

/// Sets the modification time: of a link itself, not of its target.
pub(crate) fn set_modified(path: &Path, at: Stamp) -> io::Result<()> {
    let modified = TimeSpec::new(at.seconds, at.nanos);
    // When it was last read does not matter.
    let read = TimeSpec::UTIME_OMIT;
    utimensat(AT_FDCWD, path, &read, &modified, UtimensatFlags::NoFollowSymlink)?;
    Ok(())
}

/// The names of a file's extended attributes that a program has set; those kept by the
/// system (`security.`) do not count.
pub(crate) fn attributes(file: &fs::File) -> Vec<String> {
    let mut names = vec![0_u8; 4096];
    // More names than that are as good as the first of them.
    let length = rustix::fs::flistxattr(file, &mut names).unwrap_or(0);
    let names = names.get(..length).unwrap_or_default();
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let names = names.map(|name| String::from_utf8_lossy(name).into_owned());
    names.filter(|name| !name.starts_with("security.")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_link_gets_a_time_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, "x").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        set_mode(&file, 0o4750).unwrap();
        set_modified(&file, Stamp { seconds: -5, nanos: 123_456_789 }).unwrap();
        set_modified(&link, Stamp { seconds: 1_000_000_000, nanos: 7 }).unwrap();
        let (of_file, of_link) = (fs::metadata(&file).unwrap(), link.symlink_metadata().unwrap());
        assert_eq!((of_file.mtime(), of_file.mtime_nsec()), (-5, 123_456_789));
        assert_eq!((of_link.mtime(), of_link.mtime_nsec()), (1_000_000_000, 7));
        assert_eq!(of_file.mode() & 0o7777, 0o750, "no set-user-ID");
    }
}
