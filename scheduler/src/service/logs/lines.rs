//! Where a chunk of output ends: after a line if possible, and never within a character.

use std::io;

use spotwise_api::spool::{Found, Spool};

use super::CHUNK;

/// How a chunk is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// A line that has no end yet, and is not longer than a chunk, is held back until it
    /// has one.
    pub(super) whole_lines: bool,
    /// More may come: the first bytes of a character wait for the rest.
    pub(super) more: bool,
}

/// The next chunk from `offset` on. A gap begins after a line and ends before one, as far
/// as lines are shorter than a chunk.
pub(super) fn next(spool: &Spool, offset: u64, cut: Cut) -> io::Result<Found> {
    let mut data = match spool.read(offset, CHUNK)? {
        Found::Data(data) => data,
        Found::Missing { to } => return gap(spool, to),
        Found::End => return Ok(Found::End),
    };
    if let Some(last) = data.iter().rposition(|byte| *byte == b'\n') {
        data.truncate(last + 1);
        return Ok(Found::Data(data));
    }
    if data.len() < CHUNK {
        if let Found::Missing { to } = spool.read(offset + data.len() as u64, 1)? {
            return gap(spool, to);
        }
        if cut.more && cut.whole_lines {
            return Ok(Found::End);
        }
    }
    if cut.more || data.len() == CHUNK {
        data.truncate(whole_characters(&data));
    }
    Ok(if data.is_empty() { Found::End } else { Found::Data(data) })
}

/// Nothing is kept before `to`: the first complete line begins at or after it.
fn gap(spool: &Spool, to: u64) -> io::Result<Found> {
    let Found::Data(data) = spool.read(to, CHUNK)? else { return Ok(Found::Missing { to }) };
    let line = data.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
    let begun = || data.iter().take(3).take_while(|byte| is_continuation(**byte)).count();
    Ok(Found::Missing { to: to + line.unwrap_or_else(begun) as u64 })
}

/// Bytes before a UTF-8 character at the end that is incomplete.
fn whole_characters(data: &[u8]) -> usize {
    let tail = data.iter().rev().take(3).take_while(|byte| is_continuation(**byte)).count();
    let Some(begin) = data.len().checked_sub(tail + 1) else { return data.len() };
    let length = match data.get(begin) {
        Some(0xc2..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf4) => 4,
        _ => 1,
    };
    if tail + 1 < length { begin } else { data.len() }
}

const fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

#[cfg(test)]
mod tests {
    use spotwise_api::spool::{Bounds, Writer};

    use super::*;

    const LIVE: Cut = Cut { whole_lines: false, more: true };
    const GANG: Cut = Cut { whole_lines: true, more: true };
    const LAST: Cut = Cut { whole_lines: true, more: false };

    fn spool() -> (tempfile::TempDir, Spool, Writer) {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::at(folder.path().join("j1.1-0.log"));
        let writer = Writer::open(spool.clone(), Bounds::of(4 * CHUNK as u64)).unwrap();
        (folder, spool, writer)
    }

    fn data(bytes: &[u8]) -> Found {
        Found::Data(bytes.to_vec())
    }

    #[test]
    fn lines_are_read_whole_where_they_end() {
        let (_folder, spool, mut writer) = spool();
        assert_eq!(next(&spool, 0, LIVE).unwrap(), Found::End);
        writer.append(b"one\ntwo\nhal").unwrap();
        assert_eq!(next(&spool, 0, LIVE).unwrap(), data(b"one\ntwo\n"));
        assert_eq!(next(&spool, 8, LIVE).unwrap(), data(b"hal"), "a progress bar is seen");
        assert_eq!(next(&spool, 8, GANG).unwrap(), Found::End, "another rank may speak");
        assert_eq!(next(&spool, 8, LAST).unwrap(), data(b"hal"));
        assert_eq!(next(&spool, 11, LAST).unwrap(), Found::End);
    }

    #[test]
    fn characters_are_not_cut() {
        let text = "a\u{e9}\u{6a21}\u{1f680}";
        for end in 0..=text.len() {
            let whole = (0..=end).rev().find(|at| text.is_char_boundary(*at)).unwrap();
            assert_eq!(whole_characters(&text.as_bytes()[..end]), whole, "{end}");
        }
        for other in [&b"\xff"[..], b"a\x80\x80\x80\x80", b"\xc0", b"\xf5\x80", b"\x80"] {
            assert_eq!(whole_characters(other), other.len(), "no character: {other:?}");
        }
        let (_folder, spool, mut writer) = spool();
        writer.append(&"\u{6a21}".as_bytes()[..2]).unwrap();
        assert_eq!(next(&spool, 0, LIVE).unwrap(), Found::End);
        assert_eq!(next(&spool, 0, LAST).unwrap(), data(&[0xe6, 0xa8]), "it stays what it is");
        writer.append("\u{6a21}".repeat(CHUNK).as_bytes()).unwrap();
        let Found::Data(chunk) = next(&spool, 2, LAST).unwrap() else { panic!() };
        assert_eq!(chunk.len(), CHUNK - 1);
    }

    #[test]
    fn a_gap_lies_between_lines() {
        let (_folder, spool, mut writer) = spool();
        writer.append(b"one\nhal").unwrap();
        writer.skip_to(100);
        writer.append(b"f\nlast\n").unwrap();
        assert_eq!(next(&spool, 0, GANG).unwrap(), data(b"one\n"));
        assert_eq!(next(&spool, 4, GANG).unwrap(), Found::Missing { to: 102 });
        assert_eq!(next(&spool, 50, GANG).unwrap(), Found::Missing { to: 102 });
        assert_eq!(next(&spool, 102, GANG).unwrap(), data(b"last\n"));
        writer.skip_to(200);
        writer.append(&[0x80, b'x']).unwrap();
        assert_eq!(next(&spool, 107, LIVE).unwrap(), Found::Missing { to: 201 });
    }
}
