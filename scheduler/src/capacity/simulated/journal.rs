//! The calls that were made to a simulated account, one JSON document a line.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use spotwise_model::id::{PoolName, ProviderId};
use spotwise_model::{AttemptId, InstanceId, MarketKey};

/// One call, or one worker on a machine, and when (market time).
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) at: Timestamp,
    #[serde(flatten)]
    pub(super) what: What,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "kebab-case")]
pub(super) enum What {
    Launch { token: String, pool: PoolName, instance: InstanceId, market: MarketKey },
    Terminate { machine: ProviderId },
    List { pool: PoolName },
    Place { attempt: AttemptId, rank: u32, machine: ProviderId },
}

/// The file.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
}

impl Journal {
    /// Opens it, with what was written before. A last line that was cut off was never
    /// carried out.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<Entry>)> {
        let mut entries = Vec::new();
        let mut whole = 0;
        if let Ok(file) = File::open(path) {
            let mut reader = BufReader::new(file);
            let mut line = String::new();
            while reader.read_line(&mut line)? > 0 && line.ends_with('\n') {
                let entry = serde_json::from_str(&line).map_err(|error| {
                    io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("{}: {error}", path.display()),
                    )
                })?;
                entries.push(entry);
                whole += line.len() as u64;
                line.clear();
            }
        }
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        file.set_len(whole)?;
        Ok((Self { file }, entries))
    }

    /// Writes a call down. One that cannot be written is made all the same: the account only
    /// forgets it with the next restart.
    pub(super) fn write(&mut self, entry: &Entry) {
        let written = serde_json::to_string(entry)
            .map_err(io::Error::from)
            .and_then(|text| self.file.write_all(format!("{text}\n").as_bytes()));
        if let Err(error) = written {
            tracing::warn!(%error, "a call of the simulated cloud is not written down");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_half_a_line_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("account.jsonl");
        let entry = |second| Entry {
            at: Timestamp::from_second(second).unwrap(),
            what: What::List { pool: PoolName::new("a") },
        };
        let (mut journal, before) = Journal::open(&path).unwrap();
        assert!(before.is_empty());
        journal.write(&entry(1));
        journal.write(&entry(2));
        std::fs::write(&path, [std::fs::read(&path).unwrap(), b"{\"at\"".to_vec()].concat())
            .unwrap();
        let (mut journal, before) = Journal::open(&path).unwrap();
        assert_eq!(before.len(), 2);
        journal.write(&entry(3));
        assert_eq!(Journal::open(&path).unwrap().1.len(), 3);
    }
}
