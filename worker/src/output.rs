//! Captures the command's output in a bounded file, from which it is shipped.
//! The pipe is always drained, so that the command never waits for us.

use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// Kept of one attempt's output. More is a program that prints in a loop.
pub(crate) const KEPT: u64 = 16 * 1024 * 1024;

/// Longer lines are broken.
const LINE: usize = 64 * 1024;

const MARKER: &[u8] = b"\n[spotwise: output beyond 16 MiB dropped]\n";

/// How much has been captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Level {
    /// Bytes in the file.
    pub(crate) bytes: u64,
    /// The command and its children have closed the pipe.
    pub(crate) drained: bool,
    /// Nothing will be added.
    pub(crate) closed: bool,
}

/// The captured output of one command.
pub(crate) struct Capture {
    spool: Arc<Mutex<Spool>>,
    level: watch::Receiver<Level>,
}

impl Capture {
    /// An empty capture in a new file.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let (sender, level) = watch::channel(Level::default());
        let spool = Spool::new(File::create(path)?, KEPT, sender);
        Ok(Self { spool: Arc::new(Mutex::new(spool)), level })
    }

    /// Drains the pipe in a thread of its own, until all writers are gone.
    pub(crate) fn drain(&self, mut pipe: PipeReader) -> io::Result<()> {
        let spool = Arc::clone(&self.spool);
        std::thread::Builder::new().name("output".to_owned()).spawn(move || {
            let mut buffer = vec![0; LINE];
            loop {
                match pipe.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => lock(&spool).write(buffer.get(..count).unwrap_or_default()),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
            lock(&spool).publish(|level| level.drained = true);
        })?;
        Ok(())
    }

    /// A line of the worker's own, for the owner of the job.
    pub(crate) fn note(&self, text: &str) {
        lock(&self.spool).note(text);
    }

    /// Waits until the pipe is drained, but not longer than `patience`: a
    /// process that escaped may hold it open.
    pub(crate) async fn drained(&self, patience: Duration) {
        let mut level = self.level.clone();
        // Its end is as good as a drained pipe.
        let _ = tokio::time::timeout(patience, level.wait_for(|level| level.drained)).await;
    }

    /// Ends the capture.
    pub(crate) fn close(&self) {
        let mut spool = lock(&self.spool);
        spool.closed = true;
        spool.publish(|level| level.closed = true);
    }

    /// Follows how much there is.
    pub(crate) fn level(&self) -> watch::Receiver<Level> {
        self.level.clone()
    }
}

fn lock(spool: &Mutex<Spool>) -> std::sync::MutexGuard<'_, Spool> {
    spool.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Spool {
    file: File,
    kept: u64,
    limit: u64,
    line: usize,
    full: bool,
    closed: bool,
    level: watch::Sender<Level>,
}

impl Spool {
    const fn new(file: File, limit: u64, level: watch::Sender<Level>) -> Self {
        Self { file, kept: 0, limit, line: 0, full: false, closed: false, level }
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.closed || self.full {
            return;
        }
        let broken = self.break_lines(bytes);
        let room = usize::try_from(self.limit.saturating_sub(self.kept)).unwrap_or(usize::MAX);
        if let Some(fitting) = broken.get(..room).filter(|_| broken.len() > room) {
            self.full = true;
            self.put(fitting);
            self.put(MARKER);
        } else {
            self.put(&broken);
        }
    }

    fn note(&mut self, text: &str) {
        if self.closed {
            return;
        }
        let open = if self.line > 0 && !self.full { "\n" } else { "" };
        self.line = 0;
        self.put(format!("{open}[spotwise: {text}]\n").as_bytes());
    }

    /// Puts an end into every line that grows too long.
    fn break_lines(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut broken = Vec::with_capacity(bytes.len() + 1);
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let mut rest = part;
            while self.line + rest.len() > LINE {
                let (head, tail) = rest.split_at(LINE - self.line);
                broken.extend_from_slice(head);
                broken.push(b'\n');
                self.line = 0;
                rest = tail;
            }
            broken.extend_from_slice(rest);
            self.line = if rest.ends_with(b"\n") { 0 } else { self.line + rest.len() };
        }
        broken
    }

    /// A full disk ends the capture, not the command.
    fn put(&mut self, bytes: &[u8]) {
        if let Err(error) = self.file.write_all(bytes) {
            tracing::warn!(%error, "output cannot be kept");
            self.full = true;
        }
        self.kept = self.file.metadata().map_or(self.kept, |metadata| metadata.len());
        let kept = self.kept;
        self.publish(|level| level.bytes = kept);
    }

    fn publish(&self, change: impl FnOnce(&mut Level)) {
        self.level.send_modify(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(limit: u64, work: impl FnOnce(&mut Spool)) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (sender, level) = watch::channel(Level::default());
        let mut spool = Spool::new(File::create(&path).unwrap(), limit, sender);
        work(&mut spool);
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(level.borrow().bytes, bytes.len() as u64);
        bytes
    }

    #[test]
    fn output_beyond_the_limit_is_dropped_once() {
        let bytes = captured(10, |spool| {
            for _ in 0..5 {
                spool.write(b"1234\n");
            }
        });
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text, format!("1234\n1234\n{}", std::str::from_utf8(MARKER).unwrap()));
    }

    #[test]
    fn long_lines_are_broken_wherever_the_reads_fall() {
        let whole = vec![b'x'; 2 * LINE + 10];
        for piece in [1_000, LINE, 3 * LINE] {
            let bytes = captured(KEPT, |spool| whole.chunks(piece).for_each(|it| spool.write(it)));
            let lengths: Vec<usize> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::len).collect();
            assert_eq!(lengths, [LINE, LINE, 10], "reads of {piece}");
        }
    }

    #[test]
    fn a_note_begins_its_own_line() {
        let bytes = captured(KEPT, |spool| {
            spool.write(b"half");
            spool.note("a word");
        });
        assert_eq!(bytes, b"half\n[spotwise: a word]\n");
    }
}
