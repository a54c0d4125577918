//! Documents: the JSON of whole values, each with the version of its format.

use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;
use super::database::Row;

/// The format that is written. A change to a stored type that old documents do
/// not decode into gets a new number, and a way to read the old one.
pub(super) const FORMAT: i64 = 1;

/// The JSON of a value.
pub(super) fn encode(table: &'static str, value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|source| StoreError::Encode { table, source })
}

/// The value in the columns `format` and `document` of a row.
pub(super) fn decode<T: DeserializeOwned>(row: &Row, key: impl Display) -> Result<T, StoreError> {
    let (table, format) = (row.table(), row.int("format")?);
    if format != FORMAT {
        return Err(StoreError::UnknownFormat { table, key: key.to_string(), format });
    }
    parse(table, key, &row.text("document")?)
}

/// The value of a JSON text.
pub(super) fn parse<T: DeserializeOwned>(
    table: &'static str,
    key: impl Display,
    text: &str,
) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|source| StoreError::BadDocument {
        table,
        key: key.to_string(),
        source,
    })
}
