//! What the cloud refuses, in EC2's words.

use spotwise_model::MarketKey;
use spotwise_model::id::ProviderId;
use spotwise_model::limit::LimitKey;

/// Why a call was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloudError {
    /// The market has no machine left.
    #[error("no capacity left for {market}")]
    InsufficientInstanceCapacity {
        /// The market.
        market: MarketKey,
    },
    /// More on-demand vCPUs than the account's quota.
    #[error("{quota} is used up")]
    VcpuLimitExceeded {
        /// The quota.
        quota: LimitKey,
    },
    /// More spot vCPUs than the account's quota.
    #[error("{quota} is used up")]
    MaxSpotInstanceCountExceeded {
        /// The quota.
        quota: LimitKey,
    },
    /// Too many calls.
    #[error("too many calls")]
    RequestLimitExceeded,
    /// The caller's credentials have expired.
    #[error("the credentials have expired")]
    ExpiredToken,
    /// The call did not get through.
    #[error("the endpoint cannot be reached")]
    Unreachable,
    /// Something broke on the provider's side.
    #[error("internal error of the provider")]
    InternalError,
    /// The token has named another request.
    #[error("the token has been used with other parameters")]
    IdempotentParameterMismatch,
    /// The machine that the token named is gone.
    #[error("the machine launched with this token has been terminated")]
    IdempotentInstanceTerminated,
    /// No such machine, or none yet.
    #[error("there is no machine {machine}")]
    NotFound {
        /// The name asked for.
        machine: ProviderId,
    },
    /// The account's region does not sell that.
    #[error("{market} is not sold here")]
    Unsupported {
        /// What was asked for.
        market: MarketKey,
    },
}

/// What a refusal is about, and so what there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorClass {
    /// The market: buy elsewhere, or later.
    Capacity,
    /// An account's quota: buy something else, or have it raised.
    Quota,
    /// The rate of calls: slow down.
    Throttled,
    /// The caller's credentials: renew them.
    Credentials,
    /// The way to the provider, or the provider itself: try again.
    Unreachable,
    /// The token: the caller has named two requests alike, or its machine is gone.
    Mismatch,
    /// A name that the provider does not know, or does not know yet.
    NotFound,
    /// What is never sold here.
    Unsupported,
}

/// Whether a call that was refused was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executed {
    /// It was not.
    No,
    /// It may have been.
    Unknown,
}

impl CloudError {
    /// What it is about.
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::InsufficientInstanceCapacity { .. } => ErrorClass::Capacity,
            Self::VcpuLimitExceeded { .. } | Self::MaxSpotInstanceCountExceeded { .. } => {
                ErrorClass::Quota
            }
            Self::RequestLimitExceeded => ErrorClass::Throttled,
            Self::ExpiredToken => ErrorClass::Credentials,
            Self::Unreachable | Self::InternalError => ErrorClass::Unreachable,
            Self::IdempotentParameterMismatch | Self::IdempotentInstanceTerminated => {
                ErrorClass::Mismatch
            }
            Self::NotFound { .. } => ErrorClass::NotFound,
            Self::Unsupported { .. } => ErrorClass::Unsupported,
        }
    }

    /// EC2's code for it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InsufficientInstanceCapacity { .. } => "InsufficientInstanceCapacity",
            Self::VcpuLimitExceeded { .. } => "VcpuLimitExceeded",
            Self::MaxSpotInstanceCountExceeded { .. } => "MaxSpotInstanceCountExceeded",
            Self::RequestLimitExceeded => "RequestLimitExceeded",
            Self::ExpiredToken => "ExpiredToken",
            Self::Unreachable => "Unavailable",
            Self::InternalError => "InternalError",
            Self::IdempotentParameterMismatch => "IdempotentParameterMismatch",
            Self::IdempotentInstanceTerminated => "IdempotentInstanceTerminated",
            Self::NotFound { .. } => "InvalidInstanceID.NotFound",
            Self::Unsupported { .. } => "Unsupported",
        }
    }

    /// Whether the same call with the same token may succeed later. A launch refused for
    /// capacity or quota has used its token up and is asked for with a new one.
    pub const fn is_retryable(&self) -> bool {
        match self.class() {
            ErrorClass::Throttled
            | ErrorClass::Credentials
            | ErrorClass::Unreachable
            | ErrorClass::NotFound => true,
            ErrorClass::Capacity
            | ErrorClass::Quota
            | ErrorClass::Mismatch
            | ErrorClass::Unsupported => false,
        }
    }

    /// Whether the call may have been carried out all the same. That a machine is not found
    /// proves nothing: it may not be known yet.
    pub const fn executed(&self) -> Executed {
        match self {
            Self::InternalError | Self::NotFound { .. } => Executed::Unknown,
            _ => Executed::No,
        }
    }
}
