//! Documents that must be refused, each with its code and field. The numbers
//! name the rows of the catalogue of bad inputs.

mod document;
mod environment;
mod fields;

use super::{Format, SpecError, parse};

fn yaml(text: &str) -> SpecError {
    refused(text.as_bytes(), Format::Yaml)
}

fn json(text: &str) -> SpecError {
    refused(text.as_bytes(), Format::Json)
}

fn refused(text: &[u8], format: Format) -> SpecError {
    match parse(text, format) {
        Err(error) => error,
        Ok(_) => panic!("accepted: {}", String::from_utf8_lossy(&text[..text.len().min(300)])),
    }
}

/// A good job with `lines` added.
fn with(lines: &str) -> String {
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
