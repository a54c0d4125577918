//! `spotwise logs`.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;
use spotwise_api::v1::{LogChunk, LogsRequest};

use super::Context;
use crate::exit::Failure;
use crate::output::Output;
use crate::text;

/// Print what a job wrote, oldest first.
///
/// On a terminal, characters that act on it are shown as escapes; `--raw`
/// passes them through. Into a file or a pipe the output goes as it was
/// written.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// `j17`, `17`, a job's name (the newest of that name that is not over), or an
    /// element's: `big[3]`
    #[arg(value_name = "JOB")]
    job: String,
    /// Go on until the job has ended
    #[arg(short, long)]
    follow: bool,
    /// Of this attempt; by default the newest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,
    /// Of all attempts, each line with its attempt
    #[arg(long, conflicts_with = "attempt")]
    all_attempts: bool,
    /// Only the last so many lines
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    tail: Option<u32>,
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
        };
        let mut chunks = client.logs(request).await?;
        let mut printer = Printer {
            output: *output,
            escaped: output.terminal && !self.raw,
            named: self.all_attempts,
            rest: BTreeMap::new(),
        };
        while let Some(chunk) = chunks.next().await? {
            if output.is_json() {
                let text = String::from_utf8_lossy(&chunk.data);
                output.json_line(
                    &json!({ "attempt": chunk.attempt, "rank": chunk.rank, "text": text }),
                )?;
            } else {
                printer.take(chunk)?;
            }
        }
        printer.flush()
    }
}

/// A line longer than this is printed in parts rather than kept.
const LONGEST_LINE: usize = 64 * 1024;

/// Puts chunks of several ranks together to whole lines.
struct Printer {
    output: Output,
    escaped: bool,
    /// Whether lines carry the name of their attempt.
    named: bool,
    /// What each rank has begun and not ended.
    rest: BTreeMap<(String, u32), Vec<u8>>,
}

impl Printer {
    fn take(&mut self, chunk: LogChunk) -> Result<(), Failure> {
        if !self.escaped && !self.named && chunk.rank == 0 && self.rest.is_empty() {
            return self.output.raw(&chunk.data);
        }
        let who = (chunk.attempt, chunk.rank);
        let mut bytes = self.rest.remove(&who).unwrap_or_default();
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

    fn print(&self, who: &(String, u32), bytes: &[u8]) -> Result<(), Failure> {
        let mut lines = Vec::with_capacity(bytes.len() + 64);
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            for part in self.parts(line) {
                lines.extend_from_slice(self.prefix(who).as_bytes());
                lines.extend_from_slice(&part);
                lines.push(b'\n');
            }
        }
        self.output.raw(&lines)
    }

    /// Escaped, a progress bar that rewrites its line becomes one line a state.
    fn parts(&self, line: &[u8]) -> Vec<Vec<u8>> {
        if !self.escaped {
            return vec![line.to_vec()];
        }
        let line = String::from_utf8_lossy(line);
        let line = line.strip_suffix('\r').unwrap_or(&line);
        line.split('\r').map(|part| text::output_line(part).into_owned().into_bytes()).collect()
    }

    fn prefix(&self, (attempt, rank): &(String, u32)) -> String {
        match (self.named, rank) {
            (false, 0) => String::new(),
            (false, rank) => format!("[{rank}] "),
            (true, 0) => format!("{attempt} | "),
            (true, rank) => format!("{attempt}[{rank}] | "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;

    fn printer(escaped: bool, named: bool) -> Printer {
        let output = Output::new(Format::Table, false);
        Printer { output, escaped, named, rest: BTreeMap::new() }
    }

    fn shown(printer: &Printer, line: &[u8]) -> Vec<String> {
        let text = |part: Vec<u8>| String::from_utf8_lossy(&part).into_owned();
        printer.parts(line).into_iter().map(text).collect()
    }

    #[test]
    fn a_terminal_gets_no_escapes() {
        let printer = printer(true, false);
        assert_eq!(shown(&printer, b"\x1b[31mred\x1b[0m"), ["\\x1b[31mred\\x1b[0m"]);
        assert_eq!(shown(&printer, b"10 %\r20 %\r"), ["10 %", "20 %"]);
        assert_eq!(shown(&printer, b"dos\r"), ["dos"]);
        assert_eq!(shown(&printer, b"bad \xff byte"), ["bad \u{fffd} byte"]);
    }

    #[test]
    fn a_pipe_gets_what_was_written() {
        let line = b"\x1b[31m\xff\r".to_vec();
        assert_eq!(printer(false, false).parts(&line), [line]);
    }

    #[test]
    fn half_a_line_waits_for_its_end() {
        let mut printer = printer(true, true);
        let chunk = |data: &[u8]| LogChunk { attempt: "j1.1".into(), rank: 1, data: data.to_vec() };
        printer.take(chunk(b"\xc3")).unwrap();
        printer.take(chunk(b"\xbc and on")).unwrap();
        assert_eq!(printer.rest[&("j1.1".to_owned(), 1)], "ü and on".as_bytes());
        printer.take(chunk(b"\n")).unwrap();
        assert!(printer.rest.values().all(Vec::is_empty));
        assert_eq!(printer.prefix(&("j1.1".into(), 1)), "j1.1[1] | ");
    }
}
