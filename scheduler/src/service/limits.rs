//! What callers may send: checked before anything is looked up.

use sha2::{Digest, Sha256};
use spotwise_model::spec::{Format, MAX_DOCUMENT_BYTES};
use spotwise_model::{InstanceState, JobState};

use super::ServiceError;
use crate::token::hex;

/// Rows per page if the caller does not say.
const DEFAULT_PAGE: u32 = 100;

/// Maximum rows per page.
const LARGEST_PAGE: u32 = 500;

/// Longest text of a filter, in characters; a tag's value has at most 256 bytes.
const LONGEST_TEXT: usize = 256;

/// Maximum number of tags or dimensions in a filter.
const MOST_FILTERS: usize = 20;

/// A document is read only if it is small enough: its size is checked first, because
/// reading a hostile one takes time.
pub(crate) fn document_size(bytes: usize) -> Result<(), ServiceError> {
    if bytes <= MAX_DOCUMENT_BYTES {
        return Ok(());
    }
    Err(ServiceError::TooLarge {
        code: "document_too_large",
        field: "document".to_owned(),
        message: format!(
            "a document has at most {MAX_DOCUMENT_BYTES} bytes; split it, or put data into inputs"
        ),
    })
}

/// `yaml` or `json`.
pub(super) fn format(text: &str) -> Result<Format, ServiceError> {
    match text {
        "yaml" => Ok(Format::Yaml),
        "json" => Ok(Format::Json),
        _ => Err(ServiceError::invalid("unknown_value", "format", "write yaml or json")),
    }
}

/// 1 to 128 visible ASCII characters; `None` for empty text.
pub(super) fn idempotency_key(text: &str) -> Result<Option<String>, ServiceError> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > 128 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        let message = "1 to 128 visible ASCII characters without spaces";
        return Err(ServiceError::invalid("invalid_value", "idempotency_key", message));
    }
    Ok(Some(text.to_owned()))
}

/// The names of job states.
pub(super) fn states(names: &[String]) -> Result<(), ServiceError> {
    match names.iter().find(|name| !JobState::NAMES.contains(&name.as_str())) {
        None => Ok(()),
        Some(_) => {
            let message = format!("known are {}", JobState::NAMES.join(", "));
            Err(ServiceError::invalid("unknown_value", "states", message))
        }
    }
}

/// A text that is only ever compared.
pub(super) fn text(field: &str, text: &str) -> Result<(), ServiceError> {
    if text.chars().count() > LONGEST_TEXT || text.chars().any(char::is_control) {
        let message = format!("at most {LONGEST_TEXT} characters without control characters");
        return Err(ServiceError::invalid("invalid_value", field, message));
    }
    Ok(())
}

/// Names and values to compare with.
pub(super) fn filters<'a>(
    field: &str,
    pairs: impl ExactSizeIterator<Item = (&'a String, &'a String)>,
) -> Result<(), ServiceError> {
    if pairs.len() > MOST_FILTERS {
        let message = format!("at most {MOST_FILTERS}");
        return Err(ServiceError::invalid("out_of_range", field, message));
    }
    for (name, value) in pairs {
        text(field, name)?;
        text(field, value)?;
    }
    Ok(())
}

/// Rows of one page.
pub(super) fn page_size(asked: u32) -> Result<u32, ServiceError> {
    match asked {
        0 => Ok(DEFAULT_PAGE),
        1..=LARGEST_PAGE => Ok(asked),
        _ => Err(ServiceError::invalid("out_of_range", "page_size", "between 1 and 500")),
    }
}

/// The names of states of machines.
pub(super) fn machine_states(names: &[String]) -> Result<(), ServiceError> {
    let known = InstanceState::UNSETTLED;
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(_) => {
            let message = format!("known are {}", known.join(", "));
            Err(ServiceError::invalid("unknown_value", "states", message))
        }
    }
}

/// A token for the number of the last row of a page. Opaque: clients send it back unchanged.
pub(super) fn page_token(last: u64) -> String {
    let id = last.to_be_bytes();
    let mut bytes = id.to_vec();
    bytes.extend(token_check(id));
    hex(&bytes)
}

/// The number that a page token holds; `None` for empty text.
pub(super) fn read_page_token(token: &str) -> Result<Option<u64>, ServiceError> {
    if token.is_empty() {
        return Ok(None);
    }
    let plain = token.len() == 24 && token.bytes().all(|b| b.is_ascii_hexdigit());
    token
        .get(..16)
        .filter(|_| plain)
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .filter(|id| page_token(*id) == token)
        .map(Some)
        .ok_or_else(|| {
            let message = "not a token of an earlier page; leave it out for the first page";
            ServiceError::invalid("invalid_page_token", "page_token", message)
        })
}

/// Distinguishes a token from garbage. It is no secret: a token gives nothing that the same
/// list without it would not give.
fn token_check(id: [u8; 8]) -> [u8; 4] {
    let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest([b"page".as_slice(), &id].concat()));
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Kind;

    #[test]
    fn page_tokens_read_what_they_print() {
        for id in [1, 500, u64::MAX] {
            assert_eq!(read_page_token(&page_token(id)).unwrap(), Some(id));
        }
        assert_eq!(read_page_token("").unwrap(), None);
    }

    #[test]
    fn garbage_is_no_page_token() {
        let good = page_token(77);
        let tampered = format!("{}8{}", &good[..15], &good[16..]);
        let upper = page_token(0xabc).to_uppercase();
        let list = ["1", "j1", "' OR 1=1--", &good[..23], &tampered, &upper, "é", &"f".repeat(24)];
        for token in list {
            let error = read_page_token(token).unwrap_err();
            assert_eq!(error.code(), "invalid_page_token", "{token}");
        }
    }

    #[test]
    fn documents_and_pages_are_bounded() {
        assert!(document_size(MAX_DOCUMENT_BYTES).is_ok());
        let error = document_size(MAX_DOCUMENT_BYTES + 1).unwrap_err();
        assert_eq!(error.kind(), Kind::TooLarge);
        assert!(error.message().contains("1048576 bytes"), "{error}");
        assert_eq!(page_size(0).unwrap(), 100);
        assert_eq!(page_size(500).unwrap(), 500);
        assert_eq!(page_size(501).unwrap_err().field(), "page_size");
    }

    #[test]
    fn idempotency_keys_are_visible_ascii() {
        assert_eq!(idempotency_key("").unwrap(), None);
        assert_eq!(idempotency_key("run-1!").unwrap().as_deref(), Some("run-1!"));
        for bad in ["a b", "é", "a\n", &"x".repeat(129)] {
            assert_eq!(idempotency_key(bad).unwrap_err().field(), "idempotency_key", "{bad}");
        }
    }

    #[test]
    fn unknown_states_are_named() {
        assert!(states(&["waiting".to_owned(), "failed".to_owned()]).is_ok());
        let error = states(&["running".to_owned()]).unwrap_err();
        assert!(error.message().contains("waiting"), "{error}");
    }
}
