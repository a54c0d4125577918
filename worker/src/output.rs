//! Captures the command's output byte for byte, bounded on disk, from where it is
//! uploaded. The pipe is always drained, so that the command never waits for us.

use std::io::{self, PipeReader, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use spotwise_api::spool::{Bounds, Spool, Writer};
use tokio::sync::watch;

/// Bytes read from the pipe at once.
const READ: usize = 64 * 1024;

/// A note waits for the end of the command's current line, but not for longer than this: a
/// progress bar rewrites its line for hours.
const LONGEST_WAIT: usize = 4 * 1024;

/// How much has been captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Level {
    /// Where kept output ends.
    pub(crate) bytes: u64,
    /// The command and its children have closed the pipe.
    pub(crate) drained: bool,
    /// Nothing will be added.
    pub(crate) closed: bool,
}

/// The captured output of one command.
pub(crate) struct Capture {
    sink: Arc<Mutex<Sink>>,
    level: watch::Receiver<Level>,
}

impl Capture {
    /// A capture whose first bytes are in the file `path`. It continues where an earlier
    /// one ended.
    pub(crate) fn create(path: &Path, bounds: Bounds) -> io::Result<Self> {
        let (sender, level) = watch::channel(Level::default());
        let sink = Sink::new(Writer::open(Spool::at(path.to_owned()), bounds)?, sender);
        Ok(Self { sink: Arc::new(Mutex::new(sink)), level })
    }

    /// Drains the pipe in a thread of its own, until all writers are gone.
    pub(crate) fn drain(&self, mut pipe: PipeReader) -> io::Result<()> {
        let sink = Arc::clone(&self.sink);
        std::thread::Builder::new().name("output".to_owned()).spawn(move || {
            let mut buffer = vec![0; READ];
            loop {
                match pipe.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => lock(&sink).write(buffer.get(..count).unwrap_or_default()),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
            lock(&sink).publish(|level| level.drained = true);
        })?;
        Ok(())
    }

    /// A line of the worker's own, for the owner of the job.
    pub(crate) fn note(&self, text: &str) {
        lock(&self.sink).note(text);
    }

    /// Waits until the pipe is drained, but not longer than `patience`: an escaped process
    /// may hold it open.
    pub(crate) async fn drained(&self, patience: Duration) {
        let mut level = self.level.clone();
        // Its end is as good as a drained pipe.
        let _ = tokio::time::timeout(patience, level.wait_for(|level| level.drained)).await;
    }

    /// Ends the capture.
    pub(crate) fn close(&self) {
        lock(&self.sink).close();
    }

    /// Follows how much has been captured.
    pub(crate) fn level(&self) -> watch::Receiver<Level> {
        self.level.clone()
    }
}

fn lock(sink: &Mutex<Sink>) -> std::sync::MutexGuard<'_, Sink> {
    sink.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Sink {
    writer: Writer,
    /// Bytes received, kept or not.
    taken: u64,
    /// The last line has no end yet.
    open: bool,
    /// Notes that wait for that end.
    notes: Vec<String>,
    /// Bytes that arrived while they waited.
    waited: usize,
    failing: bool,
    closed: bool,
    level: watch::Sender<Level>,
}

impl Sink {
    fn new(writer: Writer, level: watch::Sender<Level>) -> Self {
        let taken = writer.end();
        Self {
            writer,
            taken,
            open: false,
            notes: Vec::new(),
            waited: 0,
            failing: false,
            closed: false,
            level,
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.closed || bytes.is_empty() {
            return;
        }
        let mut rest = bytes;
        if !self.notes.is_empty() {
            let line = bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
            self.waited += bytes.len();
            let due = line.or((self.waited > LONGEST_WAIT).then_some(bytes.len()));
            let Some((first, later)) = due.and_then(|due| bytes.split_at_checked(due)) else {
                return self.put(bytes);
            };
            self.put(first);
            self.say_notes();
            rest = later;
        }
        self.put(rest);
    }

    fn note(&mut self, text: &str) {
        if self.closed {
            return;
        }
        self.notes.push(format!("[spotwise: {text}]\n"));
        if !self.open {
            self.say_notes();
        }
    }

    fn close(&mut self) {
        self.say_notes();
        self.closed = true;
        self.publish(|level| level.closed = true);
    }

    /// Each on a line of its own.
    fn say_notes(&mut self) {
        self.waited = 0;
        for note in std::mem::take(&mut self.notes) {
            if self.open {
                self.put(b"\n");
            }
            self.put(note.as_bytes());
        }
    }

    /// What a full disk does not take becomes a gap; the command continues.
    fn put(&mut self, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        self.open = *last != b'\n';
        self.taken += bytes.len() as u64;
        let kept = self.writer.append(bytes);
        if let Err(error) = &kept {
            self.writer.skip_to(self.taken);
            if !self.failing {
                tracing::warn!(%error, "output cannot be kept");
            }
        }
        self.failing = kept.is_err();
        let end = self.writer.end();
        self.publish(|level| level.bytes = end);
    }

    fn publish(&self, change: impl FnOnce(&mut Level)) {
        self.level.send_modify(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(work: impl FnOnce(&mut Sink)) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (sender, level) = watch::channel(Level::default());
        let writer = Writer::open(Spool::at(path.clone()), Bounds::of(0)).unwrap();
        let mut sink = Sink::new(writer, sender);
        work(&mut sink);
        sink.close();
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(level.borrow().bytes, bytes.len() as u64);
        bytes
    }

    #[test]
    fn bytes_stay_as_they_are_wherever_the_reads_fall() {
        let mut whole = vec![b'x'; 200_000];
        whole.extend(b"\r\n\0\xff\xe6\xa8");
        for piece in [1, 1_000, 70_000, 300_000] {
            let bytes = captured(|sink| whole.chunks(piece).for_each(|it| sink.write(it)));
            assert!(bytes == whole, "reads of {piece}");
        }
    }

    #[test]
    fn a_note_waits_for_the_end_of_the_line() {
        let bytes = captured(|sink| {
            sink.note("first");
            sink.write(b"half");
            sink.note("a word");
            sink.note("another");
            sink.write(b" a line");
            sink.write(b" ends\nnext");
        });
        let text =
            "[spotwise: first]\nhalf a line ends\n[spotwise: a word]\n[spotwise: another]\nnext";
        assert_eq!(String::from_utf8(bytes).unwrap(), text);
        let open = captured(|sink| {
            sink.write(b"open");
            sink.note("the end");
        });
        assert_eq!(open, b"open\n[spotwise: the end]\n");
        let bar = captured(|sink| {
            sink.write(b"0 %");
            sink.note("told");
            (0..1_000).for_each(|step| sink.write(format!("\r{step} %").as_bytes()));
        });
        assert!(!bar.ends_with(b"told]\n"), "it does not wait for ever");
    }
}
