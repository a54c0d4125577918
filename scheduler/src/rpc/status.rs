//! Service errors as gRPC statuses: the only place that maps them.

use spotwise_api::convert::{ERROR_CODE_KEY, ERROR_FIELD_KEY};
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::service::{Kind, ServiceError};

/// The status of a refused call. If the caller has to send something else the text is
/// `code: field: message`; the code and the field are in the metadata too, for every kind.
pub fn status(error: &ServiceError) -> Status {
    error.log();
    let (code, field) = (error.code(), error.field());
    let text = match error.kind() {
        Kind::Invalid | Kind::TooLarge => format!("{code}: {field}: {}", error.message()),
        _ => error.message(),
    };
    let mut status = Status::new(grpc_code(error.kind()), text);
    let metadata = status.metadata_mut();
    metadata.insert(ERROR_CODE_KEY, MetadataValue::from_static(code));
    // A field's name may quote what the user wrote, in any script.
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    let field: String = field.chars().map(plain).collect();
    if let Some(value) = Some(field).filter(|f| !f.is_empty()).and_then(|f| f.parse().ok()) {
        metadata.insert(ERROR_FIELD_KEY, value);
    }
    status
}

const fn grpc_code(kind: Kind) -> Code {
    match kind {
        Kind::Invalid | Kind::UnsupportedType => Code::InvalidArgument,
        Kind::TooLarge => Code::ResourceExhausted,
        Kind::NotFound => Code::NotFound,
        Kind::NoSuchMethod => Code::Unimplemented,
        Kind::Exists => Code::AlreadyExists,
        Kind::Conflict => Code::FailedPrecondition,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::Forbidden => Code::PermissionDenied,
        Kind::TimedOut => Code::DeadlineExceeded,
        Kind::Overloaded | Kind::Unavailable => Code::Unavailable,
        Kind::Internal => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_names_code_and_field() {
        let error = ServiceError::invalid("out_of_range", "jobs[1].`é`", "too much");
        let status = status(&error);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "out_of_range: jobs[1].`é`: too much");
        assert_eq!(status.metadata().get(ERROR_CODE_KEY).unwrap(), "out_of_range");
        assert_eq!(status.metadata().get(ERROR_FIELD_KEY).unwrap(), "jobs[1].`?`");
    }

    #[test]
    fn the_cause_of_a_defect_stays_here() {
        let error = ServiceError::internal("reading the store", "SELECT secret FROM jobs");
        let status = status(&error);
        assert_eq!(status.code(), Code::Internal);
        assert!(!status.message().contains("SELECT"), "{}", status.message());
    }

    #[test]
    fn codes_are_those_that_clients_know() {
        let of = |error: ServiceError| status(&error).code();
        assert_eq!(of(ServiceError::Overloaded), Code::Unavailable);
        assert_eq!(of(ServiceError::KeyReused), Code::AlreadyExists);
        assert_eq!(of(ServiceError::Forbidden("no".to_owned())), Code::PermissionDenied);
        assert_eq!(of(ServiceError::conflict("fenced", "old")), Code::FailedPrecondition);
        assert_eq!(of(ServiceError::NotFound("no".to_owned())), Code::NotFound);
    }
}
