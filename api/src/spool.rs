//! Captured output on disk, bounded: the form in which a worker and the scheduler
//! keep it.
//!
//! The first bytes are in one file (`j17.2-0.log`), byte for byte as they were
//! written. What comes after is in pieces beside it (`j17.2-0.tail/`), each named by
//! the place in the whole output at which it begins; the oldest of them are removed.
//! Names and lengths alone say what is kept, so that nothing is lost where a writer
//! dies. All offsets count bytes of the whole output, kept or not.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The largest piece of a tail, in bytes.
const PIECE: u64 = 1024 * 1024;

/// Pieces of a tail, however small they are.
const MOST_PIECES: usize = 256;

/// How much is kept of one output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The first bytes.
    pub head: u64,
    /// The last bytes, at least; at most one piece more.
    pub tail: u64,
}

impl Bounds {
    /// Kept where nobody says otherwise: 8 MiB from the beginning, 8 MiB from the end.
    pub const DEFAULT_BYTES: u64 = 16 * 1024 * 1024;

    /// Half for the beginning, half for the end. 0 for the default.
    pub const fn of(bytes: u64) -> Self {
        let bytes = if bytes == 0 { Self::DEFAULT_BYTES } else { bytes };
        Self { head: bytes / 2, tail: bytes - bytes / 2 }
    }

    /// Bytes of one piece of the tail.
    fn piece(self) -> u64 {
        (self.tail / 8).clamp(1, PIECE)
    }
}

/// What is found at an offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Bytes from there on, as many as were asked for where they are kept without a gap.
    Data(Vec<u8>),
    /// Nothing is kept before `to`.
    Missing {
        /// Where kept output goes on.
        to: u64,
    },
    /// Nothing comes after, so far.
    End,
}

/// A part of the output that is kept in one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    begin: u64,
    end: u64,
}

/// The output of one attempt and rank, for those who read it.
#[derive(Clone, Debug)]
pub struct Spool {
    head: PathBuf,
}

impl Spool {
    /// The output whose first bytes are in the file `head`.
    pub const fn at(head: PathBuf) -> Self {
        Self { head }
    }

    /// Where kept output ends; 0 where there is none.
    ///
    /// # Errors
    /// The files cannot be looked at.
    pub fn end(&self) -> io::Result<u64> {
        Ok(self.extents()?.last().map_or(0, |last| last.end))
    }

    /// Up to `most` bytes from `offset` on.
    ///
    /// # Errors
    /// The files cannot be read.
    pub fn read(&self, offset: u64, most: usize) -> io::Result<Found> {
        let mut data = read_at(&self.head, offset, most)?;
        if data.len() < most {
            for extent in self.pieces()? {
                let at = offset.saturating_add(data.len() as u64);
                if extent.end <= at {
                    continue;
                }
                if extent.begin > at {
                    let gap = Found::Missing { to: extent.begin };
                    return Ok(if data.is_empty() { gap } else { Found::Data(data) });
                }
                let path = self.file(extent.begin);
                data.extend(read_at(&path, at - extent.begin, most - data.len())?);
                if data.len() >= most {
                    break;
                }
            }
        }
        Ok(if data.is_empty() { Found::End } else { Found::Data(data) })
    }

    /// Where the last `lines` lines begin. A gap ends a line.
    ///
    /// # Errors
    /// The files cannot be read.
    pub fn last_lines(&self, lines: u32) -> io::Result<u64> {
        const BLOCK: u64 = 64 * 1024;
        let extents = self.extents()?;
        let Some(last) = extents.last() else { return Ok(0) };
        let (mut found, mut next) = (0, last.end);
        for extent in extents.iter().rev() {
            // A line that ends where kept output ends, or before a gap.
            let mut closing = extent.end;
            if extent.end < next {
                found += 1;
                if found == lines {
                    return Ok(next);
                }
            } else if next < last.end {
                // The piece goes on in the next one: its last byte may end a line.
                closing = u64::MAX;
            }
            let mut end = extent.end;
            while end > extent.begin {
                let begin = end.saturating_sub(BLOCK).max(extent.begin);
                let length = usize::try_from(end - begin).unwrap_or(0);
                let block = read_at(&self.file(extent.begin), begin - extent.begin, length)?;
                for (at, _) in block.iter().enumerate().rev().filter(|(_, b)| **b == b'\n') {
                    let line = begin + at as u64 + 1;
                    if line == closing {
                        continue;
                    }
                    found += 1;
                    if found == lines {
                        return Ok(line);
                    }
                }
                end = begin;
            }
            next = extent.begin;
        }
        Ok(next)
    }

    fn extents(&self) -> io::Result<Vec<Extent>> {
        let head = length(&self.head)?;
        let mut extents: Vec<Extent> =
            (head > 0).then_some(Extent { begin: 0, end: head }).into_iter().collect();
        extents.extend(self.pieces()?);
        Ok(extents)
    }

    /// The pieces of the tail, in order.
    fn pieces(&self) -> io::Result<Vec<Extent>> {
        let entries = match fs::read_dir(self.tail()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut pieces = Vec::new();
        for entry in entries {
            let entry = entry?;
            let begin = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let Some(begin) = begin else { continue };
            // One that was removed meanwhile holds nothing.
            let end = begin + length(&entry.path())?;
            if end > begin {
                pieces.push(Extent { begin, end });
            }
        }
        pieces.sort_unstable_by_key(|piece: &Extent| piece.begin);
        Ok(pieces)
    }

    fn tail(&self) -> PathBuf {
        self.head.with_extension("tail")
    }

    fn file(&self, begin: u64) -> PathBuf {
        if begin == 0 { self.head.clone() } else { self.tail().join(format!("{begin:020}")) }
    }
}

/// The one who writes an output.
#[derive(Debug)]
pub struct Writer {
    spool: Spool,
    bounds: Bounds,
    head: u64,
    pieces: VecDeque<Extent>,
    /// Where the next byte belongs.
    at: u64,
    /// The file that was written last, and where it begins.
    open: Option<(u64, File)>,
}

impl Writer {
    /// Goes on where kept output ends. Creates the first file.
    ///
    /// # Errors
    /// The files cannot be read or created.
    pub fn open(spool: Spool, bounds: Bounds) -> io::Result<Self> {
        let file = create(&spool.head)?;
        let head = file.metadata()?.len();
        let pieces: VecDeque<Extent> = spool.pieces()?.into();
        let at = pieces.back().map_or(head, |last| last.end);
        Ok(Self { spool, bounds, head, pieces, at, open: Some((0, file)) })
    }

    /// Where kept output ends.
    pub fn end(&self) -> u64 {
        self.pieces.back().map_or(self.head, |last| last.end)
    }

    /// What lies before `offset` and is not kept never will be. It does nothing
    /// where output is kept up to there.
    pub fn skip_to(&mut self, offset: u64) {
        self.at = self.at.max(offset);
    }

    /// Adds bytes, and removes the oldest of the tail where there are too many.
    ///
    /// # Errors
    /// The disk takes no more; a part may have been written, up to [`end`](Self::end).
    pub fn append(&mut self, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            let (begin, room) = self.place();
            let count = usize::try_from(room).unwrap_or(usize::MAX).min(data.len());
            let (now, later) = data.split_at(count);
            let written = self.write(begin, now);
            let length = match &written {
                Ok(()) => self.at - begin + count as u64,
                Err(_) => length(&self.spool.file(begin)).unwrap_or(self.at - begin),
            };
            self.keep(begin, length);
            written?;
            data = later;
        }
        Ok(())
    }

    /// The file in which the next byte belongs, and how many fit.
    fn place(&self) -> (u64, u64) {
        if self.pieces.is_empty() && self.at == self.head && self.head < self.bounds.head {
            return (0, self.bounds.head - self.head);
        }
        let piece = self.bounds.piece();
        match self.pieces.back() {
            Some(last) if last.end == self.at && last.end - last.begin < piece => {
                (last.begin, piece - (last.end - last.begin))
            }
            _ => (self.at, piece),
        }
    }

    fn write(&mut self, begin: u64, data: &[u8]) -> io::Result<()> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != begin) {
            self.open = Some((begin, create(&self.spool.file(begin))?));
        }
        match &self.open {
            Some((_, file)) => file.write_all_at(data, self.at - begin),
            None => Ok(()),
        }
    }

    /// Takes note of a file's new length, and of what is too old.
    fn keep(&mut self, begin: u64, length: u64) {
        let end = begin + length;
        if begin == 0 {
            self.head = length;
        } else if let Some(last) = self.pieces.back_mut().filter(|last| last.begin == begin) {
            last.end = end;
        } else if length > 0 {
            self.pieces.push_back(Extent { begin, end });
        }
        self.at = end;
        let mut kept: u64 = self.pieces.iter().map(|piece| piece.end - piece.begin).sum();
        while let Some(oldest) = self.pieces.front().copied() {
            kept -= oldest.end - oldest.begin;
            if kept < self.bounds.tail && self.pieces.len() <= MOST_PIECES {
                break;
            }
            self.pieces.pop_front();
            // One that stays is found again, and is old then too.
            let _ = fs::remove_file(self.spool.file(oldest.begin));
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    let create = || OpenOptions::new().write(true).create(true).truncate(false).open(path);
    match create() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.parent().map(fs::create_dir_all).transpose()?;
            create()
        }
        created => created,
    }
}

/// Bytes of a file; 0 where there is none.
fn length(path: &Path) -> io::Result<u64> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        metadata => Ok(metadata?.len()),
    }
}

/// Up to `most` bytes; none where there is no such file.
fn read_at(path: &Path, offset: u64, most: usize) -> io::Result<Vec<u8>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    let left = file.metadata()?.len().saturating_sub(offset);
    let mut data = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(most)];
    let mut filled = 0;
    while let Some(rest) = data.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    data.truncate(filled);
    Ok(data)
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
