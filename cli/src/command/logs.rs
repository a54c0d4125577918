//! `spotwise logs`.

mod follow;

use std::collections::BTreeMap;

use clap::Args;
use spotwise_api::convert::{LogLine, LogText, missing_line};
use spotwise_api::v1::{LogChunk, LogsRequest};

use super::Context;
use crate::exit::Failure;
use crate::output::Output;
use crate::text;
use follow::Reader;

/// Print what a job wrote, oldest first.
///
/// Into a file or a pipe the output goes byte for byte as it was written. On a
/// terminal, characters that act on it are shown as escapes; `--raw` passes them
/// through. Of a long output the first and the last part are kept (8 MiB each, see
/// `serve --log-size`), and a line says how many bytes are missing between them.
///
/// With `--output json` each line is one part of the output: its attempt, rank, offset
/// and next_offset in bytes, and its text; where that is not UTF-8 the bytes are in
/// `base64`. A program that comes back goes on at `--offset` NEXT_OFFSET.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// `j17`, `17`, a job's name (the newest of that name that is not over), or an
    /// element's: `big[3]`
    #[arg(value_name = "JOB")]
    job: String,
    /// Go on until the job has ended, over its attempts and over restarts of the
    /// scheduler
    #[arg(short, long)]
    follow: bool,
    /// Of this attempt; by default the newest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,
    /// Of all attempts, each line with its attempt
    #[arg(long, conflicts_with = "attempt")]
    all_attempts: bool,
    /// Only of this node of a gang
    #[arg(long, value_name = "N")]
    rank: Option<u32>,
    /// Only the last so many lines
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    tail: Option<u32>,
    /// From this byte on of what the attempt (and rank, of a gang) wrote
    #[arg(long, value_name = "BYTE", requires = "attempt", conflicts_with = "tail")]
    offset: Option<u64>,
    /// Pass everything through, to a terminal as well
    #[arg(long)]
    raw: bool,
}

impl Logs {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let output = &context.output;
        let client = context.target.connect().await?;
        let request = LogsRequest {
            job: self.job,
            attempt: self.attempt.unwrap_or_default(),
            all_attempts: self.all_attempts,
            follow: self.follow,
            tail: self.tail.unwrap_or_default(),
            rank: self.rank,
            offset: self.offset.unwrap_or_default(),
            resume: Vec::new(),
        };
        let mut chunks = Reader::begin(client, request).await?;
        let mut printer = Printer {
            output: *output,
            escaped: output.terminal && !self.raw,
            named: self.all_attempts,
            text: LogText::default(),
            rest: BTreeMap::new(),
        };
        while let Some(chunk) = chunks.next().await? {
            if output.is_json() {
                output.json_line(&LogLine::from(chunk))?;
            } else {
                printer.take(chunk)?;
            }
        }
        printer.flush()
    }
}

/// On a terminal a line longer than this is printed in parts rather than kept.
const LONGEST_LINE: usize = 64 * 1024;

/// Prints chunks of several ranks, line by line where that matters.
struct Printer {
    output: Output,
    escaped: bool,
    /// Whether lines carry the name of their attempt.
    named: bool,
    text: LogText,
    /// On a terminal: what each rank has begun and not ended.
    rest: BTreeMap<(String, u32), Vec<u8>>,
}

impl Printer {
    fn take(&mut self, chunk: LogChunk) -> Result<(), Failure> {
        if !self.escaped {
            let prefix = self.prefix(&chunk.attempt, chunk.rank);
            return self.output.raw(&self.text.add(&chunk, &prefix));
        }
        let who = (chunk.attempt, chunk.rank);
        let mut bytes = self.rest.remove(&who).unwrap_or_default();
        if chunk.missing > 0 {
            if !bytes.is_empty() {
                bytes.push(b'\n');
            }
            bytes.extend(missing_line(chunk.missing).bytes());
        }
        bytes.extend_from_slice(&chunk.data);
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let whole = if bytes.len() - whole > LONGEST_LINE { bytes.len() } else { whole };
        let rest = bytes.split_off(whole);
        self.print(&who, &bytes)?;
        self.rest.insert(who, rest);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        for (who, bytes) in std::mem::take(&mut self.rest) {
            self.print(&who, &bytes)?;
        }
        Ok(())
    }

    /// Whole lines, escaped.
    fn print(&self, who: &(String, u32), bytes: &[u8]) -> Result<(), Failure> {
        let mut lines = Vec::with_capacity(bytes.len() + 64);
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            for part in escaped(line.strip_suffix(b"\n").unwrap_or(line)) {
                lines.extend_from_slice(self.prefix(&who.0, who.1).as_bytes());
                lines.extend_from_slice(part.as_bytes());
                lines.push(b'\n');
            }
        }
        self.output.raw(&lines)
    }

    fn prefix(&self, attempt: &str, rank: u32) -> String {
        match (self.named, rank) {
            (false, 0) => String::new(),
            (false, rank) => format!("[{rank}] "),
            (true, 0) => format!("{attempt} | "),
            (true, rank) => format!("{attempt}[{rank}] | "),
        }
    }
}

/// A progress bar that rewrites its line becomes one line a state.
fn escaped(line: &[u8]) -> Vec<String> {
    let line = String::from_utf8_lossy(line);
    let line = line.strip_suffix('\r').unwrap_or(&line);
    line.split('\r').map(|part| text::output_line(part).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;

    #[test]
    fn a_terminal_gets_no_escapes() {
        assert_eq!(escaped(b"\x1b[31mred\x1b[0m"), ["\\x1b[31mred\\x1b[0m"]);
        assert_eq!(escaped(b"10 %\r20 %\r"), ["10 %", "20 %"]);
        assert_eq!(escaped(b"dos\r"), ["dos"]);
        assert_eq!(escaped(b"bad \xff byte"), ["bad \u{fffd} byte"]);
    }

    #[test]
    fn on_a_terminal_half_a_line_waits_for_its_end() {
        let output = Output::new(Format::Table, false);
        let (text, rest) = (LogText::default(), BTreeMap::new());
        let mut printer = Printer { output, escaped: true, named: true, text, rest };
        let chunk = |data: &[u8]| LogChunk {
            attempt: "j1.1".into(),
            rank: 1,
            data: data.to_vec(),
            ..LogChunk::default()
        };
        printer.take(chunk(b"\xc3")).unwrap();
        printer.take(chunk(b"\xbc and on")).unwrap();
        assert_eq!(printer.rest[&("j1.1".to_owned(), 1)], "ü and on".as_bytes());
        printer.take(chunk(b"\n")).unwrap();
        assert!(printer.rest.values().all(Vec::is_empty));
        assert_eq!(printer.prefix("j1.1", 1), "j1.1[1] | ");
    }
}
