//! The files that hold captured output: `j17.2-0.log` for attempt `j17.2` and
//! rank 0. Appended to by offset, so that a repeated call changes nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use spotwise_model::AttemptId;

/// The largest file of one attempt and rank: 64 MiB. What comes after is
/// dropped, and the file says so.
pub(super) const MOST_OUTPUT: u64 = 64 * 1024 * 1024;

/// The last line of a file that was cut.
const CUT: &[u8] = b"\n[more than 64 MiB of output; the rest is not kept]\n";

/// Read at once.
pub(super) const CHUNK: usize = 64 * 1024;

/// Where the output of one attempt and rank is kept.
pub(super) fn path(logs_dir: &Path, attempt: AttemptId, rank: u32) -> PathBuf {
    logs_dir.join(format!("{attempt}-{rank}.log"))
}

/// Stores `data` that begins at `offset` of the whole output; what is stored
/// already is passed over. Answers up to where everything is stored. An offset
/// beyond that stores nothing: the caller has to send what lies between.
pub(super) fn append(path: &Path, offset: u64, data: &[u8]) -> io::Result<u64> {
    let mut file = open(path)?;
    let stored = file.metadata()?.len();
    let end = offset.saturating_add(data.len() as u64);
    if stored >= MOST_OUTPUT {
        // Cut: the worker shall let go of what it holds.
        return Ok(end.max(stored));
    }
    if offset > stored || end <= stored {
        return Ok(stored);
    }
    let new = usize::try_from(stored - offset).ok().and_then(|at| data.get(at..)).unwrap_or(&[]);
    let room = usize::try_from(MOST_OUTPUT - stored).unwrap_or(usize::MAX);
    file.seek(SeekFrom::Start(stored))?;
    match new.get(..room) {
        Some(kept) if kept.len() < new.len() => {
            file.write_all(kept)?;
            file.write_all(CUT)?;
        }
        _ => file.write_all(new)?,
    }
    Ok(end)
}

/// Up to [`CHUNK`] bytes from `offset` on, cut behind their last line where
/// they hold one. Empty at the end, and where there is no such file.
pub(super) fn read(path: &Path, offset: u64) -> io::Result<Vec<u8>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    file.seek(SeekFrom::Start(offset))?;
    let mut data = Vec::with_capacity(CHUNK);
    file.take(CHUNK as u64).read_to_end(&mut data)?;
    if let Some(last) = data.iter().rposition(|byte| *byte == b'\n') {
        data.truncate(last + 1);
    }
    Ok(data)
}

/// Where the last `lines` lines begin.
pub(super) fn tail_offset(path: &Path, lines: u32) -> io::Result<u64> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        opened => opened?,
    };
    let length = file.metadata()?.len();
    let mut end = length;
    let mut found = 0;
    while end > 0 {
        let begin = end.saturating_sub(CHUNK as u64);
        file.seek(SeekFrom::Start(begin))?;
        let mut block = Vec::with_capacity(CHUNK);
        Read::by_ref(&mut file).take(end - begin).read_to_end(&mut block)?;
        for (at, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let next_line = begin + at as u64 + 1;
            // The newline at the very end closes the last line.
            if next_line == length {
                continue;
            }
            found += 1;
            if found == lines {
                return Ok(next_line);
            }
        }
        end = begin;
    }
    Ok(0)
}

fn open(path: &Path) -> io::Result<File> {
    let open = || OpenOptions::new().write(true).create(true).truncate(false).open(path);
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.parent().map(std::fs::create_dir_all).transpose()?;
            open()
        }
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = path(&folder.path().join("logs"), "j1.2".parse().unwrap(), 0);
        (folder, path)
    }

    #[test]
    fn repeats_are_harmless_and_gaps_are_refused() {
        let (_folder, path) = file();
        assert_eq!(append(&path, 0, b"one\n").unwrap(), 4);
        assert_eq!(append(&path, 0, b"one\n").unwrap(), 4, "repeated");
        assert_eq!(append(&path, 9, b"late\n").unwrap(), 4, "a gap: from 4 on, please");
        assert_eq!(append(&path, 2, b"e\ntwo\n").unwrap(), 8, "overlaps");
        assert_eq!(append(&path, u64::MAX, b"x").unwrap(), 8);
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\n");
        assert!(path.ends_with("logs/j1.2-0.log"));
    }

    #[test]
    fn output_is_cut_where_it_is_too_long() {
        let (_folder, path) = file();
        append(&path, 0, b"").unwrap();
        File::options().write(true).open(&path).unwrap().set_len(MOST_OUTPUT - 3).unwrap();
        assert_eq!(append(&path, MOST_OUTPUT - 3, b"abcdef").unwrap(), MOST_OUTPUT + 3);
        let length = std::fs::metadata(&path).unwrap().len();
        assert_eq!(length, MOST_OUTPUT + CUT.len() as u64);
        let far = MOST_OUTPUT + 1_000_000;
        assert_eq!(append(&path, far, b"more").unwrap(), far + 4, "let go");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), length);
    }

    #[test]
    fn lines_are_read_whole_where_they_end() {
        let (_folder, path) = file();
        assert_eq!(read(&path, 0).unwrap(), b"", "no file yet");
        append(&path, 0, b"one\ntwo\nhal").unwrap();
        assert_eq!(read(&path, 0).unwrap(), b"one\ntwo\n");
        assert_eq!(read(&path, 8).unwrap(), b"hal");
        assert_eq!(read(&path, 11).unwrap(), b"");
    }

    #[test]
    fn the_tail_begins_at_a_line() {
        let (_folder, path) = file();
        assert_eq!(tail_offset(&path, 3).unwrap(), 0);
        append(&path, 0, b"one\ntwo\nthree\n").unwrap();
        assert_eq!(tail_offset(&path, 1).unwrap(), 8);
        assert_eq!(tail_offset(&path, 2).unwrap(), 4);
        assert_eq!(tail_offset(&path, 9).unwrap(), 0);
        append(&path, 14, b"open").unwrap();
        assert_eq!(tail_offset(&path, 1).unwrap(), 14, "an open line is a line");
        let long = vec![b'x'; CHUNK * 2];
        append(&path, 18, &long).unwrap();
        assert_eq!(tail_offset(&path, 2).unwrap(), 8, "over several blocks");
    }
}
