//! The exact rules of parameters, by name: they mean the same everywhere.

use serde_json::{Value, json};
use spotwise_model::access::{CallerKind, Role};
use spotwise_model::{InstanceState, JobState};

/// One line of text without control characters.
const PRINTABLE: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";

/// The name of a caller.
const SUBJECT: &str = "^[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}$";

/// A day and time without a zone: in the requested time zone.
const LOCAL_TIME: &str = concat!(
    "^([1-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)",
    "|02-(0[1-9]|1[0-9]|2[0-8]))|[1-9][0-9](0[48]|[2468][048]|[13579][26])-02-29)",
    r"[T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?$"
);

/// The allowed values of a parameter; `None` if its type says everything.
pub(super) fn rule(name: &str) -> Option<Value> {
    let number = |least: u64, most: u64, format| json!({ "type": "integer", "format": format, "minimum": least, "maximum": most });
    Some(match name {
        "job" => {
            json!({ "type": "string", "minLength": 1, "maxLength": 74, "pattern": r"^[a-z0-9-]{1,63}(\[[0-9]{1,9}\])?$", "examples": ["j17"] })
        }
        "state" => {
            json!({ "type": "array", "minItems": 1, "items": { "type": "string", "enum": JobState::NAMES } })
        }
        "machine" => {
            json!({ "type": "string", "minLength": 1, "maxLength": 20, "pattern": "^i?[1-9][0-9]{0,17}$", "examples": ["i5"] })
        }
        "machine_state" => {
            json!({ "type": "array", "minItems": 1, "items": { "type": "string", "enum": InstanceState::UNSETTLED } })
        }
        "group_by" => json!({
            "type": "array", "minItems": 1, "maxItems": 8, "uniqueItems": true,
            "items": { "type": "string", "minLength": 1, "maxLength": 256, "pattern": r"^[^,\u0000-\u001f\u007f-\u009f]+$" },
        }),
        "resume" => json!({
            "type": "array", "minItems": 1,
            "items": { "type": "string", "pattern": "^[1-9][0-9]{0,8}:[0-9]{1,9}:[0-9]{1,18}$" },
        }),
        "name" | "accelerator" | "pool" => {
            json!({ "type": "string", "minLength": 1, "maxLength": 256, "pattern": PRINTABLE })
        }
        "tag" => labels(None),
        // Hours, days and months are periods, which `since` and `until` choose.
        "filter" => labels(Some(json!({ "enum": ["hour", "day", "month"] }))),
        "since" | "until" => json!({ "anyOf": [
            { "type": "string", "format": "date-time" },
            { "type": "string", "format": "date" },
            { "type": "string", "pattern": LOCAL_TIME },
        ] }),
        "timezone" => json!({
            "type": "string", "minLength": 1, "maxLength": 256,
            "pattern": "^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$", "examples": ["Europe/Berlin"],
        }),
        "token" => {
            json!({ "type": "string", "pattern": "^[0-9a-f]{12}$", "examples": ["0123456789ab"] })
        }
        "page_size" => number(0, 500, "int32"),
        // Empty for the first page, as in the answer with the last one.
        "page_token" => json!({ "type": "string", "pattern": "^([0-9a-f]{24})?$" }),
        "attempt" | "rank" | "tail" => number(0, u32::MAX.into(), "int64"),
        "offset" | "after" | "Last-Event-ID" => number(0, u64::MAX, "uint64"),
        "Idempotency-Key" => {
            json!({ "type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$" })
        }
        _ => return None,
    })
}

/// What a new token is asked for with.
pub(super) fn new_token() -> Value {
    let kinds = ["", CallerKind::Person.name(), CallerKind::ServiceAccount.name()];
    json!({
        "type": "object", "required": ["subject", "roles"], "additionalProperties": false,
        "properties": {
            "subject": { "type": "string", "pattern": SUBJECT },
            "kind": { "type": "string", "enum": kinds },
            "roles": { "type": "array", "minItems": 1, "items": { "type": "string", "enum": Role::ALL.map(Role::name) } },
            "teams": { "type": "array", "maxItems": 64, "items": {
                "type": "string", "minLength": 1, "maxLength": 256, "pattern": "^[ -~]+$",
            } },
            "expires_in": { "type": "string", "description": "Such as 30d or 12h, at most 366d; 30d where it is empty" },
        },
    })
}

/// What buying is stopped with.
pub(super) fn freeze() -> Value {
    json!({
        "type": "object", "required": ["frozen"], "additionalProperties": false,
        "properties": {
            "frozen": { "type": "boolean" },
            "reason": { "type": "string", "maxLength": 200, "pattern": PRINTABLE },
        },
    })
}

/// Names and values to compare with.
fn labels(barred: Option<Value>) -> Value {
    let mut names = json!({ "maxLength": 256, "pattern": PRINTABLE });
    if let Some(barred) = barred {
        names["not"] = barred;
    }
    json!({
        "type": "object", "maxProperties": 20, "propertyNames": names,
        "additionalProperties": { "type": "string", "maxLength": 256, "pattern": PRINTABLE },
    })
}
