//! `prepare`: text to tokens in the shared folder.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::contract::{Contract, Progress};
use crate::pace::{Pacer, parse_pace};
use crate::stop::Stop;
use crate::text::{self, Corpus};

/// What to prepare.
#[derive(Debug, Args)]
pub struct PrepareArgs {
    /// Text files and folders [default: 20 kB that are built in].
    #[arg(long, num_args = 1.., value_name = "PATH")]
    pub text: Vec<PathBuf>,
    /// Least time for each thousand characters, such as 300ms.
    #[arg(long, default_value = "0ms", value_parser = parse_pace)]
    pub pace: Duration,
}

/// Characters cleaned between two lines of progress.
const CHUNK: usize = 1000;

/// Cleans and tokenises the text, and leaves `tokens/` in the shared folder.
///
/// # Errors
/// A text that cannot be read, or no shared folder.
pub fn prepare(args: &PrepareArgs, contract: &Contract) -> Result<()> {
    let target = contract.shared_dir()?.join("tokens");
    let raw: Vec<char> = text::read(&args.text)?.chars().collect();
    let chunks: Vec<&[char]> = raw.chunks(CHUNK).collect();
    let mut cleaned = String::with_capacity(raw.len());
    let mut pacer = Pacer::start(args.pace);
    for (done, chunk) in (1..).zip(&chunks) {
        append_clean(chunk, &mut cleaned);
        let total = u64::try_from(chunks.len())?;
        contract.report(Progress { step: done, total, loss: 0.0 })?;
        pacer.end_round(&Stop::default());
    }
    let corpus = Corpus::of(&cleaned);
    corpus.save(&target)?;
    println!(
        "prepared {} tokens to learn from and {} to be examined with, {} different",
        corpus.train.len(),
        corpus.heldout.len(),
        corpus.vocab.size() - 1
    );
    Ok(())
}

/// Appends the text with each run of spaces and tabs as one space: how far a
/// line is indented says nothing about the language.
fn append_clean(chunk: &[char], cleaned: &mut String) {
    for c in chunk {
        let blank = matches!(c, ' ' | '\t');
        if !(blank && cleaned.ends_with([' ', '\n'])) {
            cleaned.push(if blank { ' ' } else { *c });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_blanks_become_one_over_chunks_too() {
        let mut cleaned = String::new();
        for chunk in ["a  \t", "  b\n", "   c"] {
            append_clean(&chunk.chars().collect::<Vec<_>>(), &mut cleaned);
        }
        assert_eq!(cleaned, "a b\nc");
    }
}
