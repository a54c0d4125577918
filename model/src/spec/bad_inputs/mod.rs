//! Documents that must be refused, each with its code and field. The numbers
//! name the rows of the catalogue of bad inputs.

mod document;
mod environment;
mod fields;

use super::schema_tests::takes;
use super::{Format, SpecError, parse};

/// What JSON Schema cannot express, by its code and a part of its message: what only
/// several values together show, and how a value was written.
const BEYOND_A_SCHEMA: [(&str, &str); 19] = [
    ("array_size_mismatch", ""),
    ("dependency_cycle", ""),
    ("duplicate_dependency", ""),
    ("duplicate_gpu", ""),
    ("duplicate_key", ""),
    ("duplicate_name", ""),
    ("duplicate_path", ""),
    ("duplicate_variable", ""),
    ("self_dependency", ""),
    ("unknown_dependency", ""),
    ("document_too_large", ""),
    ("too_many_jobs", ""),
    ("empty_value", ""),
    ("out_of_range", "an array has 1 to"),
    ("invalid_command", "is longer than"),
    ("invalid_money", "`+1` is not a plain decimal"),
    ("invalid_number", "is not a whole number such as 8"),
    ("reserved_variable", "is another one on each node"),
    ("conflicting_fields", "the workers of a gang begin and end together"),
];

fn yaml(text: &str) -> SpecError {
    refused(text.as_bytes(), Format::Yaml)
}

fn json(text: &str) -> SpecError {
    refused(text.as_bytes(), Format::Json)
}

fn refused(text: &[u8], format: Format) -> SpecError {
    match parse(text, format) {
        Err(error) => {
            let told = BEYOND_A_SCHEMA
                .iter()
                .any(|(code, part)| error.code == *code && error.message.contains(part));
            let shown = || String::from_utf8_lossy(&text[..text.len().min(300)]);
            let taken = takes(text, format) == Some(true);
            assert!(!taken || told, "the schema takes: {}\n{error:?}", shown());
            error
        }
        Ok(_) => panic!("accepted: {}", String::from_utf8_lossy(&text[..text.len().min(300)])),
    }
}

/// A good job with `lines` added.
pub(super) fn with(lines: &str) -> String {
    format!("name: a\ncommand: [\"true\"]\n{lines}")
}

/// Each row: what is added to a good job, the code, the field.
#[track_caller]
fn table(rows: &[(&str, &str, &str)]) {
    for (lines, code, field) in rows {
        let error = yaml(&with(lines));
        assert_eq!((error.code, error.field.as_str()), (*code, *field), "{lines}\n{error}");
        assert!(error.location.is_some(), "no place: {lines}");
        assert!(!error.message.is_empty());
    }
}

/// The same, for values of one field.
#[track_caller]
fn values(field: &str, code: &str, values: &[&str]) {
    for value in values {
        let error = yaml(&with(&format!("{field}: {value}")));
        assert_eq!((error.code, error.field.as_str()), (code, field), "{value}\n{error}");
    }
}
