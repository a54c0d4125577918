//! Calls that did not succeed: one place reads statuses.

use tonic::{Code, Status};

/// A call that did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ClientError {
    pub(super) kind: ErrorKind,
    pub(super) message: String,
    #[source]
    pub(super) source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What kind of failure it was: what callers may decide on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// There is no such job.
    NotFound,
    /// What was sent is not acceptable.
    Invalid {
        /// Stable, for programs; empty where the server gave none.
        code: String,
        /// The path of the field; empty for the whole request.
        field: String,
    },
    /// It does not fit the state of things: an idempotency key used for another
    /// document, a job that is over.
    Conflict,
    /// Nobody answers, or the scheduler has too much to do.
    Unavailable,
    /// Not allowed.
    PermissionDenied,
    /// No answer in time. The call may have had its effect.
    Timeout,
    /// Anything else: a defect on one of the two sides.
    Other,
}

impl ClientError {
    /// What kind of failure it was.
    pub const fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// Whether the same call may succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Timeout)
    }
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        let plain = |kind| (kind, status.message().to_owned());
        let (kind, message) = match status.code() {
            Code::InvalidArgument | Code::OutOfRange => invalid(status.message()),
            Code::NotFound => plain(ErrorKind::NotFound),
            Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => {
                plain(ErrorKind::Conflict)
            }
            // Too large a document says so in the form of an invalid argument;
            // anything else of this code is overload.
            Code::ResourceExhausted => match invalid(status.message()) {
                (ErrorKind::Invalid { code, field }, message) if !code.is_empty() => {
                    (ErrorKind::Invalid { code, field }, message)
                }
                _ => plain(ErrorKind::Unavailable),
            },
            Code::Unavailable => plain(ErrorKind::Unavailable),
            Code::PermissionDenied | Code::Unauthenticated => plain(ErrorKind::PermissionDenied),
            Code::DeadlineExceeded | Code::Cancelled => plain(ErrorKind::Timeout),
            _ => plain(ErrorKind::Other),
        };
        let message = if message.is_empty() {
            format!("the scheduler answered {:?} without a reason", status.code())
        } else {
            message
        };
        Self { kind, message, source: None }
    }
}

/// Reads `code: field: message`. Text of another form is a message alone.
fn invalid(text: &str) -> (ErrorKind, String) {
    let is_code = |s: &str| {
        !s.is_empty()
            && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let parts = text
        .split_once(": ")
        .filter(|(code, _)| is_code(code))
        .map(|(code, rest)| (code, rest.split_once(": ").unwrap_or(("", rest))));
    match parts {
        Some((code, (field, message))) => {
            let kind = ErrorKind::Invalid { code: code.to_owned(), field: field.to_owned() };
            (
                kind,
                if field.is_empty() { message.to_owned() } else { format!("{field}: {message}") },
            )
        }
        None => (ErrorKind::Invalid { code: String::new(), field: String::new() }, text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: Status) -> ErrorKind {
        ClientError::from(status).kind().clone()
    }

    #[test]
    fn an_invalid_argument_is_taken_apart() {
        let error = ClientError::from(Status::invalid_argument(
            "out_of_range: jobs[2].deadline: is past: no",
        ));
        assert_eq!(error.to_string(), "jobs[2].deadline: is past: no");
        let expected =
            ErrorKind::Invalid { code: "out_of_range".into(), field: "jobs[2].deadline".into() };
        assert_eq!(error.kind(), &expected);

        let whole = ClientError::from(Status::invalid_argument("empty_document: : nothing here"));
        assert_eq!(whole.to_string(), "nothing here");
        let odd = ClientError::from(Status::invalid_argument("Something: else"));
        assert_eq!(odd.to_string(), "Something: else");
    }

    #[test]
    fn overload_and_too_large_share_a_code() {
        assert_eq!(
            kind(Status::resource_exhausted("the scheduler is overloaded")),
            ErrorKind::Unavailable
        );
        let large = Status::resource_exhausted("document_too_large: : at most 64 KiB");
        assert!(
            matches!(kind(large), ErrorKind::Invalid { code, .. } if code == "document_too_large")
        );
    }
}
