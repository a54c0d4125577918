//! Why a call was refused, whichever interface it came through.

use spotwise_api::convert::InvalidField;
use spotwise_model::spec::SpecError;

use spotwise_control::Refusal;

/// A refused call. In that case nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// What was sent is not acceptable.
    #[error("{field}: {message}")]
    Invalid {
        /// Stable, for programs.
        code: &'static str,
        /// The path of the field; empty for the whole request.
        field: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// More than this interface accepts.
    #[error("{message}")]
    TooLarge {
        /// Stable, for programs.
        code: &'static str,
        /// The field; empty for the whole request.
        field: String,
        /// The limit, as text.
        message: String,
    },
    /// A body of a type that is not accepted here.
    #[error("{0}")]
    UnsupportedType(String),
    /// It does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The method does not exist on this address.
    #[error("this address does not know that method")]
    NoSuchMethod,
    /// The idempotency key was used for a different document.
    #[error("this idempotency key was used for another document; choose a new key")]
    KeyReused,
    /// It does not fit the current state.
    #[error("{message}")]
    Conflict {
        /// Stable, for programs.
        code: &'static str,
        /// Why, and what to do.
        message: String,
    },
    /// Nobody has been named, or not in a way that proves it.
    #[error("{0}")]
    Unauthenticated(String),
    /// Not allowed.
    #[error("{0}")]
    Forbidden(String),
    /// The caller was too slow, or the answer took too long.
    #[error("not done within {0} s")]
    TimedOut(u64),
    /// Too much is in progress.
    #[error("the scheduler is overloaded, try again in a second")]
    Overloaded,
    /// The scheduler is stopping, or its store does not answer.
    #[error("the scheduler is not available: {0}")]
    Unavailable(String),
    /// Another scheduler leads.
    #[error("this scheduler stands by; {}", whom(leader))]
    Standby {
        /// The leader's address; empty if nobody leads.
        leader: String,
    },
    /// A bug. Its cause is logged where the call is answered and never sent.
    #[error("internal error while {doing}; the scheduler's log has the cause")]
    Internal {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Kinds of refusal, to be mapped to statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The caller has to send something else.
    Invalid,
    /// The caller has to send less.
    TooLarge,
    /// The caller has to say what it sends.
    UnsupportedType,
    /// It does not exist.
    NotFound,
    /// It exists, but does not have that method.
    NoSuchMethod,
    /// Something else already exists.
    Exists,
    /// Not in this state.
    Conflict,
    /// Who asks is not known.
    Unauthenticated,
    /// Not allowed.
    Forbidden,
    /// Too slow.
    TimedOut,
    /// Retry later, and less often.
    Overloaded,
    /// Retry later, or elsewhere.
    Unavailable,
    /// A bug.
    Internal,
}

impl ServiceError {
    /// A field that is not acceptable.
    pub fn invalid(code: &'static str, field: &str, message: impl Into<String>) -> Self {
        Self::Invalid { code, field: field.to_owned(), message: message.into() }
    }

    /// Something that does not fit the current state.
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::Conflict { code, message: message.into() }
    }

    /// A bug: `doing` is a phrase such as "reading jobs".
    pub fn internal(
        doing: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Internal { doing, source: source.into() }
    }

    /// What kind of refusal it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Invalid { .. } => Kind::Invalid,
            Self::TooLarge { .. } => Kind::TooLarge,
            Self::UnsupportedType(_) => Kind::UnsupportedType,
            Self::NotFound(_) => Kind::NotFound,
            Self::NoSuchMethod => Kind::NoSuchMethod,
            Self::KeyReused => Kind::Exists,
            Self::Conflict { .. } => Kind::Conflict,
            Self::Unauthenticated(_) => Kind::Unauthenticated,
            Self::Forbidden(_) => Kind::Forbidden,
            Self::TimedOut(_) => Kind::TimedOut,
            Self::Overloaded => Kind::Overloaded,
            Self::Unavailable(_) | Self::Standby { .. } => Kind::Unavailable,
            Self::Internal { .. } => Kind::Internal,
        }
    }

    /// Stable, for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Invalid { code, .. }
            | Self::TooLarge { code, .. }
            | Self::Conflict { code, .. } => code,
            Self::UnsupportedType(_) => "unsupported_media_type",
            Self::NotFound(_) => "not_found",
            Self::NoSuchMethod => "method_not_allowed",
            Self::KeyReused => "idempotency_key_reused",
            Self::Unauthenticated(_) => "unauthenticated",
            Self::Forbidden(_) => "permission_denied",
            Self::TimedOut(_) => "timed_out",
            Self::Overloaded => "overloaded",
            Self::Unavailable(_) => "unavailable",
            Self::Standby { .. } => "standby",
            Self::Internal { .. } => "internal",
        }
    }

    /// The field it concerns; empty for none.
    pub fn field(&self) -> &str {
        match self {
            Self::Invalid { field, .. } | Self::TooLarge { field, .. } => field,
            Self::KeyReused => "idempotency_key",
            _ => "",
        }
    }

    /// What is wrong and what to do, without the field's name.
    pub fn message(&self) -> String {
        match self {
            Self::Invalid { message, .. } => message.clone(),
            other => other.to_string(),
        }
    }

    /// Whether the same call may succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind(), Kind::Overloaded | Kind::Unavailable | Kind::TimedOut)
    }

    /// Logs a bug, once: where the call is answered.
    pub(crate) fn log(&self) {
        if let Self::Internal { doing, source } = self {
            tracing::error!(error = source.as_ref(), "internal error while {doing}");
        }
    }
}

fn whom(leader: &str) -> String {
    if leader.is_empty() {
        "nobody leads at the moment, try again in a second".to_owned()
    } else {
        format!("ask the one that leads, {leader}")
    }
}

impl From<SpecError> for ServiceError {
    fn from(error: SpecError) -> Self {
        let message = match error.location {
            Some((line, column)) => {
                format!("{} (line {line}, column {column})", error.message)
            }
            None => error.message,
        };
        Self::Invalid { code: error.code, field: error.field, message }
    }
}

impl From<InvalidField> for ServiceError {
    fn from(error: InvalidField) -> Self {
        Self::invalid("invalid_value", error.field, error.message)
    }
}

impl From<Refusal> for ServiceError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound(what) => Self::NotFound(format!("{what} does not exist")),
            Refusal::KeyReused => Self::KeyReused,
            Refusal::Invalid { code, field, message } => Self::Invalid { code, field, message },
            Refusal::Conflict { code, message } => Self::Conflict { code, message },
            fenced @ Refusal::Fenced { .. } => Self::conflict("fenced", fenced.to_string()),
            Refusal::Overloaded => Self::Overloaded,
            Refusal::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

impl From<spotwise_store::StoreError> for ServiceError {
    fn from(error: spotwise_store::StoreError) -> Self {
        if error.is_retryable() {
            tracing::warn!(error = error.in_full(), "the store does not answer");
            return Self::Unavailable("its store does not answer".to_owned());
        }
        Self::internal("reading the store", error)
    }
}
