//! What a dead worker leaves in its folder.

use std::io;
use std::path::{Path, PathBuf};

use spotwise_api::spool::{Bounds, Found, Spool, Writer};

/// Bytes copied at once.
const CHUNK: usize = 256 * 1024;

/// Appends to `log` what the worker of this folder had captured and not delivered.
pub(super) fn take_output(folder: &Path, log: PathBuf, bounds: Bounds) -> io::Result<()> {
    let (captured, log) = (Spool::at(folder.join("output.log")), Spool::at(log));
    let (end, mut at) = (captured.end()?, log.end()?);
    if at >= end {
        return Ok(());
    }
    let mut writer = Writer::open(log, bounds)?;
    loop {
        match captured.read(at, CHUNK)? {
            Found::Data(data) => {
                writer.append(&data)?;
                at += data.len() as u64;
            }
            Found::Missing { to } => {
                writer.skip_to(to);
                at = to;
            }
            Found::End => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_handed_over_is_added_once() {
        let folder = tempfile::tempdir().unwrap();
        let bounds = Bounds::of(32);
        let log = || Spool::at(folder.path().join("logs/j1.1-0.log"));
        let take = || take_output(folder.path(), folder.path().join("logs/j1.1-0.log"), bounds);
        take().unwrap();
        assert_eq!(log().end().unwrap(), 0, "there is nothing");
        let captured = Spool::at(folder.path().join("output.log"));
        Writer::open(captured, bounds).unwrap().append(&[b'x'; 100]).unwrap();
        Writer::open(log(), bounds).unwrap().append(b"xxx").unwrap();
        for _ in 0..2 {
            take().unwrap();
            assert_eq!(log().end().unwrap(), 100);
            assert_eq!(log().read(0, 100).unwrap(), Found::Data(vec![b'x'; 16]));
            assert_eq!(log().read(16, 100).unwrap(), Found::Missing { to: 84 });
        }
    }
}
