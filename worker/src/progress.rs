//! How far the command says it is: the last complete line of its progress file, and how
//! that changed over time.

use std::fs::OpenOptions;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::fcntl::OFlag;
use serde_json::Value;
use spotwise_api::v1::Progress;

/// Only the end of the file is read: a line is far shorter.
const TAIL: u64 = 4096;

/// A note is one figure, not a text.
const NOTE_CHARS: usize = 64;

/// When full, every second sample is dropped, so that the whole life of the command stays
/// covered.
const SAMPLES: usize = 1024;

/// The progress file and its contents over time.
#[derive(Debug)]
pub(crate) struct ProgressLog {
    path: PathBuf,
    samples: Vec<(SystemTime, Progress)>,
}

impl ProgressLog {
    /// Nothing has been read yet.
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { path, samples: Vec::new() }
    }

    /// Reads the file again and returns the newest progress. A file that is missing or
    /// makes no sense changes nothing.
    pub(crate) fn refresh(&mut self, now: SystemTime) -> Option<Progress> {
        if let Some(progress) = tail(&self.path).ok().as_deref().and_then(last_line)
            && self.samples.last().is_none_or(|(_, last)| *last != progress)
        {
            self.remember(now, progress);
        }
        self.samples.last().map(|(_, progress)| progress.clone())
    }

    /// What was known at that time: a checkpoint holds what had been done when
    /// it was written, not when it was committed.
    pub(crate) fn at(&self, time: SystemTime) -> Option<Progress> {
        let known = self.samples.partition_point(|(at, _)| *at <= time);
        self.samples.get(known.checked_sub(1)?).map(|(_, progress)| progress.clone())
    }

    fn remember(&mut self, now: SystemTime, progress: Progress) {
        if self.samples.len() >= SAMPLES {
            let mut keep = false;
            self.samples.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.samples.push((now, progress));
    }
}

/// The end of a file, bounded. Never waits: anything but a plain file is refused.
fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW).bits();
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    file.seek(SeekFrom::Start(metadata.len().saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The last line that is complete and makes sense.
fn last_line(bytes: &[u8]) -> Option<Progress> {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n')?;
    bytes.get(..whole)?.rsplit(|byte| *byte == b'\n').find_map(parse)
}

fn parse(line: &[u8]) -> Option<Progress> {
    let line: Value = serde_json::from_slice(line).ok()?;
    let step = count(line.get("step")?)?;
    let total = line.get("total").or_else(|| line.get("total_steps")).and_then(count);
    let total_steps = total.unwrap_or(0);
    let step = if total_steps > 0 { step.min(total_steps) } else { step };
    let note = ["note", "loss"].iter().find_map(|name| match line.get(*name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    });
    let plain = |c: &char| !c.is_control();
    let note = note.unwrap_or_default().chars().filter(plain).take(NOTE_CHARS).collect();
    Some(Progress { step, total_steps, note })
}

/// A count from 0; some frameworks write it as a float.
fn count(value: &Value) -> Option<u64> {
    const MOST: u64 = i64::MAX.cast_unsigned();
    if let Some(count) = value.as_u64() {
        return Some(count.min(MOST));
    }
    let float = value.as_f64().filter(|float| float.is_finite() && *float >= 0.0)?;
    Some((float as u64).min(MOST))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn steps(text: &str) -> Option<(u64, u64)> {
        last_line(text.as_bytes()).map(|progress| (progress.step, progress.total_steps))
    }

    #[test]
    fn the_last_whole_line_counts() {
        let text = "{\"step\":1,\"total\":9}\n{\"step\":2,\"total\":9}\n{\"step\":3,\"to";
        assert_eq!(steps(text), Some((2, 9)));
        assert_eq!(steps("{\"step\":1}"), None, "not whole");
        assert_eq!(steps("{\"step\":4}\nnoise\n\n"), Some((4, 0)), "noise is skipped");
    }

    #[test]
    fn nonsense_is_clamped_or_skipped() {
        assert_eq!(steps("{\"step\":99,\"total\":10}\n"), Some((10, 10)));
        assert_eq!(steps("{\"step\":2.9}\n"), Some((2, 0)));
        assert_eq!(steps("{\"step\":1e300}\n"), Some((i64::MAX as u64, 0)));
        for line in ["{\"step\":-1}\n", "{\"step\":\"7\"}\n", "[1]\n", "{\"total\":3}\n", "\u{0}\n"]
        {
            assert_eq!(steps(line), None, "{line}");
        }
        let long = format!("{{\"step\":1,\"note\":\"{}\"}}\n", "x".repeat(500));
        assert_eq!(last_line(long.as_bytes()).unwrap().note.len(), NOTE_CHARS);
        assert_eq!(last_line(b"{\"step\":1,\"loss\":0.5}\n").unwrap().note, "0.5");
    }

    #[test]
    fn a_huge_file_is_read_at_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("progress");
        let text = "{\"step\":7}\n".repeat(100_000) + "{\"step\":8}\n";
        std::fs::write(&path, text).unwrap();
        let mut log = ProgressLog::new(path);
        assert_eq!(log.refresh(SystemTime::UNIX_EPOCH).unwrap().step, 8);
    }

    #[test]
    fn a_checkpoint_gets_the_progress_of_its_time() {
        let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let mut log = ProgressLog::new(PathBuf::new());
        for second in 10..5_000 {
            log.remember(at(second), Progress { step: second, ..Progress::default() });
        }
        assert!(log.samples.len() <= SAMPLES);
        assert_eq!(log.at(at(9)), None);
        assert_eq!(log.at(at(4_999)).unwrap().step, 4_999);
        let middle = log.at(at(2_500)).unwrap().step;
        assert!((2_400..=2_500).contains(&middle), "{middle}");
    }

    #[test]
    fn a_fifo_is_no_progress_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("progress");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(ProgressLog::new(path).refresh(SystemTime::UNIX_EPOCH), None);
    }
}
