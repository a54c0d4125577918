//! Captured output as lines of JSON and as text: the same for REST and the command
//! line.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::v1::LogChunk;

/// A part of the captured output, as one line of JSON.
///
/// The texts (or, where a part has `base64`, those bytes) of one attempt and rank one
/// after the other are byte for byte what it wrote, but for what is `missing`. No
/// character is cut. A client that comes back goes on at `next_offset`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LogLine {
    /// Such as `j17.2`.
    pub attempt: String,
    /// The node of a gang; 0 otherwise.
    pub rank: u32,
    /// Where it begins in what the attempt and rank wrote, in bytes.
    pub offset: u64,
    /// Where the next part of the same attempt and rank begins.
    pub next_offset: u64,
    /// The output. Where it is not UTF-8, U+FFFD stands for what cannot be read, and
    /// `base64` has the bytes.
    pub text: String,
    /// The bytes themselves, where they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, content_encoding = "base64")]
    pub base64: Option<String>,
    /// So many bytes from `offset` on were not kept, since the output was too long;
    /// `text` is empty then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1)]
    pub missing: Option<u64>,
}

impl From<LogChunk> for LogLine {
    fn from(chunk: LogChunk) -> Self {
        let LogChunk { attempt, rank, data, offset, missing } = chunk;
        let next_offset = offset + missing + data.len() as u64;
        let missing = (missing > 0).then_some(missing);
        let (text, base64) = match String::from_utf8(data) {
            Ok(text) => (text, None),
            Err(error) => (
                String::from_utf8_lossy(error.as_bytes()).into_owned(),
                Some(STANDARD.encode(error.as_bytes())),
            ),
        };
        Self { attempt, rank, offset, next_offset, text, base64, missing }
    }
}

/// The line that stands for output that was not kept.
pub fn missing_line(bytes: u64) -> String {
    format!(
        "[spotwise: {bytes} bytes of output are missing here: only the first and the last are kept]\n"
    )
}

/// Puts chunks together to text: no attempt or rank goes on in the middle of
/// another's line.
#[derive(Clone, Debug, Default)]
pub struct LogText {
    /// Whose line has no end yet.
    open: Option<(String, u32)>,
}

impl LogText {
    /// The text of the next chunk, which is its bytes as they are, but for a line's
    /// end where another one's line had none. `prefix` goes before every line.
    pub fn add(&mut self, chunk: &LogChunk, prefix: &str) -> Vec<u8> {
        let mut text = Vec::with_capacity(chunk.data.len() + 64);
        let other = |(attempt, rank): &(String, u32)| {
            *attempt != chunk.attempt || *rank != chunk.rank || chunk.missing > 0
        };
        if self.open.take_if(|open| other(open)).is_some() {
            text.push(b'\n');
        }
        if chunk.missing > 0 {
            text.extend(prefix.bytes().chain(missing_line(chunk.missing).bytes()));
        }
        for line in chunk.data.split_inclusive(|byte| *byte == b'\n') {
            if self.open.is_none() {
                text.extend(prefix.bytes());
            }
            text.extend(line);
            let ended = line.ends_with(b"\n");
            self.open = (!ended).then(|| (chunk.attempt.clone(), chunk.rank));
        }
        text
    }

    /// Whether the last line has no end.
    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(rank: u32, data: &[u8]) -> LogChunk {
        LogChunk { attempt: "j1.1".to_owned(), rank, data: data.to_vec(), offset: 3, missing: 0 }
    }

    #[test]
    fn json_loses_no_byte() {
        let text = LogLine::from(chunk(0, "模\0\r".as_bytes()));
        assert_eq!((text.text.as_str(), text.base64, text.next_offset), ("模\0\r", None, 8));
        let bytes = LogLine::from(chunk(0, b"a\xff\n"));
        assert_eq!((bytes.text.as_str(), bytes.next_offset), ("a\u{fffd}\n", 6));
        assert_eq!(STANDARD.decode(bytes.base64.unwrap()).unwrap(), b"a\xff\n");
        let gap = LogLine::from(LogChunk { missing: 10, ..chunk(0, b"") });
        assert_eq!((gap.missing, gap.next_offset, gap.text.as_str()), (Some(10), 13, ""));
    }

    #[test]
    fn lines_of_ranks_are_not_spliced() {
        let mut text = LogText::default();
        let mut all = Vec::new();
        for (rank, data) in
            [(0, &b"one\nha"[..]), (0, b"lf\n"), (0, b"open"), (1, b"two\n"), (0, b"a"), (0, b"b")]
        {
            let prefix = if rank == 0 { "" } else { "[1] " };
            all.extend(text.add(&chunk(rank, data), prefix));
        }
        assert!(text.is_open());
        all.extend(text.add(&LogChunk { missing: 7, ..chunk(0, b"") }, ""));
        assert!(!text.is_open());
        let gap = missing_line(7);
        assert_eq!(String::from_utf8(all).unwrap(), format!("one\nhalf\nopen\n[1] two\nab\n{gap}"));
    }
}
