//! Asking before something costs money or is lost.

use std::io::{BufRead, IsTerminal};

use crate::exit::Failure;
use crate::output::{self, Output};

/// Refuses at once where nobody could answer: `remedy` says what to add.
pub(crate) fn possible(output: &Output, what: &str) -> Result<(), Failure> {
    let somebody = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if somebody && !output.is_json() {
        return Ok(());
    }
    let why = if output.is_json() {
        "--output json asks no questions"
    } else {
        "this is not a terminal, so nobody can be asked"
    };
    Err(Failure::usage(format!("{why}: add --yes to {what}")))
}

/// Asks; anything but yes is no.
pub(crate) fn yes(question: &str) -> Result<bool, Failure> {
    output::prompt(&format!("{question} [y/N] "));
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| Failure::usage(format!("cannot read the answer: {error}")))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
