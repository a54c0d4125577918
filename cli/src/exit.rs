//! How a command ends when it does not succeed: a message and an exit code.

use std::error::Error;
use std::process::ExitCode;

use spotwise_api::client::{ClientError, ErrorKind};

/// Exit codes. Documented by [`EXIT_CODES`]; scripts rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The job failed, or something not named below went wrong.
    Failed = 1,
    /// Wrong use of the command line, or invalid input.
    Usage = 2,
    /// A policy or a budget forbids it.
    Rejected = 3,
    /// There is no such job.
    NotFound = 4,
    /// Not allowed.
    Auth = 5,
    /// No end within the time given.
    Timeout = 6,
    /// The scheduler cannot be reached.
    Unavailable = 7,
    /// Of several files the first were submitted, and then one was refused.
    Partial = 8,
}

/// For `--help` of commands whose exit code scripts look at.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done; when waiting: every job succeeded, or was skipped as not needed
  1  a job failed or was cancelled (only when waiting), or another error
  2  wrong use, or a document that is not valid
  3  rejected by a policy or a budget; when waiting: a budget holds up what is left
  4  not found
  5  not allowed
  6  not done within --timeout, or no answer in time
  7  the scheduler cannot be reached
  8  some of the files were submitted, and then one was refused";

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    /// Empty where everything has been said, or where nobody reads any more.
    message: String,
    silent_success: bool,
}

impl Failure {
    /// With a message for people: lower case, no full stop.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), silent_success: false }
    }

    /// Wrong use or invalid input.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// What went wrong has been printed already.
    pub(crate) fn said(exit: Exit) -> Self {
        Self::new(exit, String::new())
    }

    /// Writing to standard output failed. A reader that has gone away
    /// (`spotwise ps | head -1`) is no failure.
    pub(crate) fn output(error: &std::io::Error) -> Self {
        let gone = error.kind() == std::io::ErrorKind::BrokenPipe;
        let message =
            if gone { String::new() } else { format!("cannot write the output: {error}") };
        Self { exit: Exit::Failed, message, silent_success: gone }
    }

    /// With what was being tried in front.
    #[must_use]
    pub(crate) fn context(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The same with another exit code.
    #[must_use]
    pub(crate) fn with_exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// What to print after `error: `, if anything.
    pub(crate) fn message(&self) -> Option<&str> {
        (!self.message.is_empty()).then_some(self.message.as_str())
    }

    /// The code, if it is not success after all.
    pub(crate) fn exit(&self) -> Option<Exit> {
        (!self.silent_success).then_some(self.exit)
    }

    /// For the operating system.
    pub(crate) fn code(&self) -> ExitCode {
        self.exit().map_or(ExitCode::SUCCESS, |exit| ExitCode::from(exit as u8))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match error.kind() {
            ErrorKind::NotFound => Exit::NotFound,
            ErrorKind::Invalid { .. } | ErrorKind::Conflict => Exit::Usage,
            ErrorKind::Unavailable => Exit::Unavailable,
            ErrorKind::PermissionDenied => Exit::Auth,
            ErrorKind::Timeout => Exit::Timeout,
            ErrorKind::Other => Exit::Failed,
        };
        let code = match error.kind() {
            ErrorKind::Invalid { code, .. } if !code.is_empty() => format!(" [{code}]"),
            _ => String::new(),
        };
        Self::new(exit, format!("{}{code}", chain(&error)))
    }
}

/// An error and its causes on one line, without saying anything twice.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let gone = Failure::output(&std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!((gone.exit(), gone.message()), (None, None));
        let full = Failure::output(&std::io::Error::from(std::io::ErrorKind::StorageFull));
        assert_eq!(full.exit(), Some(Exit::Failed));
    }

    #[test]
    fn every_code_is_documented() {
        for exit in [
            Exit::Failed,
            Exit::Usage,
            Exit::Rejected,
            Exit::NotFound,
            Exit::Auth,
            Exit::Timeout,
            Exit::Unavailable,
            Exit::Partial,
        ] {
            assert!(EXIT_CODES.contains(&format!("\n  {}  ", exit as u8)), "{exit:?}");
        }
    }
}
