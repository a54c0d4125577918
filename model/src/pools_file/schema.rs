//! The JSON Schema of a pools file.

use serde_json::{Map, Value, json};

use super::document::PoolsDocument;
use super::fields::Read as _;

/// The JSON Schema (2020-12) of a pools file, for editors. What it refuses
/// [`PoolsFile::parse`](super::PoolsFile::parse) refuses as well; it cannot express what
/// several entries show together.
pub fn json_schema() -> Value {
    let mut definitions = Map::new();
    let root = PoolsDocument::schema(&mut definitions);
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "spotwise pools",
    });
    schema["$ref"] = root["$ref"].clone();
    schema["$defs"] = definitions.into();
    schema
}
