//! What the JSON Schema says of each field: as much of the parser's checks as JSON
//! Schema has words for. The parser's own checks stay the law.

use serde_json::{Value, json};

use super::patterns as p;
use super::{amounts, many, paths, text, work};

/// Texts that YAML and JSON may also write as a number or a boolean: `name: 12`.
const WRITTEN: [&str; 3] = ["string", "number", "boolean"];
/// The same where a number with a fraction cannot be meant.
const WHOLE: [&str; 3] = ["string", "integer", "boolean"];

const YEAR: u64 = 366 * 86_400;

/// The rule of a field: what is there where it is not null. None where its type says
/// everything.
pub(super) fn rule(document: &str, field: &str) -> Option<Value> {
    Some(match (document, field) {
        ("Job", field) => return job(field),
        ("Resources" | "GpuSharing", field) => return resources(field),
        ("Work", field) => return amount_of_work(field),
        ("Checkpoint", "dir") | ("Input", "to") | ("Output", "path") => path(&p::relative()),
        ("Checkpoint", "interval") => duration(YEAR),
        ("Checkpoint", "grace") => duration(work::MAX_GRACE.as_secs()),
        ("Checkpoint", "size") | ("Data", "size") => size(),
        ("Retries", "interruptions") => {
            let numbers = format!("^(unlimited|0*{})$", p::up_to(work::MAX_INTERRUPTIONS.into()));
            json!({
                "type": ["string", "integer"], "pattern": numbers,
                "minimum": 0, "maximum": work::MAX_INTERRUPTIONS,
            })
        }
        ("Array", "max_parallel") => {
            json!({ "type": "integer", "minimum": 1, "maximum": u32::MAX })
        }
        ("Dependency", "job") => json!({
            "type": WHOLE, "minLength": 1, "maxLength": 63, "pattern": p::NAME_OR_ID, "minimum": 0,
        }),
        ("Input", "from") => {
            json!({
                "type": WRITTEN, "minLength": 1, "maxLength": paths::MAX_PATH_BYTES, "pattern": p::source(),
                "minimum": 0,
            })
        }
        ("Data", "region") => json!({ "type": WHOLE, "maxLength": 64, "pattern": p::REGION }),
        ("Variable", "value") => value(text::MAX_VARIABLE_BYTES),
        ("Variable", "not_secret") => {
            json!({ "type": WRITTEN, "minLength": 3, "pattern": p::reason() })
        }
        ("Pipeline", "defaults") => json!({ "anyOf": [{ "$ref": "#/$defs/Defaults" }] }),
        ("Pipeline", "jobs") => json!({
            "type": "array", "minItems": 1, "maxItems": 1_000,
            "items": { "$ref": "#/$defs/Job" },
        }),
        _ => return None,
    })
}

fn job(field: &str) -> Option<Value> {
    Some(match field {
        "name" => json!({
            "type": WHOLE, "minLength": 1, "maxLength": 63, "pattern": p::name(), "minimum": 0,
        }),
        "title" => json!({
            "type": WRITTEN, "minLength": 1, "maxLength": text::MAX_TITLE_CHARS,
            "pattern": p::readable(),
        }),
        "model" => json!({
            "type": WRITTEN, "minLength": 1, "maxLength": 128, "pattern": p::MODEL, "minimum": 0,
        }),
        "image" => json!({
            "type": WRITTEN, "minLength": 1, "maxLength": paths::MAX_PATH_BYTES, "pattern": p::image(),
            "minimum": 0,
        }),
        "command" => json!({
            "type": "array", "minItems": 1, "maxItems": text::MAX_ARGUMENTS,
            "prefixItems": [{ "type": WRITTEN, "pattern": p::program(), "not": credential() }],
            "items": { "type": WRITTEN, "pattern": r"^[^\u0000]*$", "not": credential() },
        }),
        "workdir" => path(&p::workdir()),
        "deadline" => json!({
            "type": "string", "pattern": format!("^({}|{})$", p::duration(YEAR), p::time()),
        }),
        "budget_usd" => json!({
            "type": ["string", "number"], "pattern": format!("^{}$", p::decimal(10_000_000, 6)),
            "minimum": 0.000001, "maximum": 10_000_000,
        }),
        "timeout" => duration(YEAR),
        "env" => env(),
        "secrets" => secrets(),
        "tags" => json!({
            "type": "object", "maxProperties": text::MAX_TAGS,
            "propertyNames": {
                "maxLength": 63, "pattern": p::TAG, "not": { "pattern": p::reserved_tag() },
            },
            "additionalProperties": {
                "type": WRITTEN, "maxLength": 255, "pattern": p::printable(),
            },
        }),
        "after" => after(&rule("Dependency", "job")?, "Dependency"),
        "sweep" => sweep(),
        "inputs" => json!({
            "type": "array", "maxItems": paths::MAX_PLACES, "uniqueItems": true,
            "items": { "$ref": "#/$defs/Input" },
        }),
        "outputs" => json!({
            "type": "array", "maxItems": paths::MAX_PLACES,
            "items": { "anyOf": [path(&p::relative()), { "$ref": "#/$defs/Output" }] },
        }),
        _ => return None,
    })
}

/// Jobs that must end first; `job` names one of them.
pub(super) fn after(job: &Value, fields: &str) -> Value {
    let fields = json!({ "$ref": format!("#/$defs/{fields}") });
    json!({
        "type": "array", "maxItems": many::MAX_DEPENDENCIES, "uniqueItems": true,
        "items": { "anyOf": [job, fields] },
    })
}

/// A job that was submitted before.
pub(super) fn earlier() -> Value {
    json!({ "type": "string", "pattern": p::ID })
}

fn credential() -> Value {
    json!({ "type": "string", "pattern": p::CREDENTIAL })
}

/// A value of a variable.
fn value(most: usize) -> Value {
    json!({ "type": WRITTEN, "maxLength": most, "pattern": p::NO_CONTROL_BUT_LINES })
}

/// The same, and no secret.
fn no_secret(most: usize) -> Value {
    let mut value = value(most);
    value["not"] = credential();
    value
}

fn env() -> Value {
    let reserved =
        json!({ "pattern": p::reserved(&text::RESERVED_PREFIXES, &text::RESERVED_NAMES) });
    let file = json!({ "not": { "pattern": p::ends_in_file() } });
    let credentials = json!({ "pattern": p::credentials(&text::AWS_CREDENTIALS) });
    json!({
        "type": "object", "maxProperties": text::MAX_VARIABLES,
        "propertyNames": {
            "maxLength": 128, "pattern": p::VARIABLE,
            "not": { "anyOf": [reserved, { "allOf": [credentials, file] }] },
        },
        "additionalProperties": {
            "anyOf": [no_secret(text::MAX_VARIABLE_BYTES), { "$ref": "#/$defs/Variable" }],
        },
    })
}

fn secrets() -> Value {
    json!({
        "type": "object", "maxProperties": text::MAX_VARIABLES,
        "propertyNames": {
            "maxLength": 128, "pattern": p::VARIABLE,
            "not": { "pattern": p::reserved(&text::RESERVED_PREFIXES, &text::RESERVED_NAMES) },
        },
        "additionalProperties": {
            "type": "string", "maxLength": paths::MAX_PATH_BYTES + 5, "pattern": p::secret(),
            "not": { "pattern": p::barred_secret(&text::RESERVED_PREFIXES, &text::RESERVED_NAMES) },
        },
    })
}

fn sweep() -> Value {
    let most = many::MAX_PARAMETERS;
    json!({
        "type": "object", "minProperties": 1, "maxProperties": most + 1,
        "propertyNames": { "maxLength": 40, "pattern": p::VARIABLE },
        "properties": {
            "max_parallel": {
                "type": ["string", "integer"], "pattern": format!("^0*{}$", p::from_1_to(u32::MAX.into())),
                "minimum": 1, "maximum": u32::MAX,
            },
        },
        "additionalProperties": {
            "type": "array", "minItems": 1, "maxItems": many::MAX_ELEMENTS,
            "items": no_secret(many::MAX_VALUE_BYTES),
        },
        // The limit is no parameter.
        "not": { "anyOf": [
            { "required": ["max_parallel"], "maxProperties": 1 },
            { "not": { "required": ["max_parallel"] }, "minProperties": most + 1 },
        ] },
    })
}

fn resources(field: &str) -> Option<Value> {
    let most = amounts::MAX_GPUS_PER_NODE;
    let gpus = |least: u32| {
        json!({
            "type": ["string", "integer"], "minLength": 1,
            "pattern": if least == 0 {
                p::gpus(most.into()).replacen("^(", "^(0|", 1)
            } else {
                p::gpus(most.into())
            },
            "minimum": least, "maximum": most,
        })
    };
    Some(match field {
        "gpus" => json!({ "anyOf": [gpus(0), {
            "type": "array", "minItems": 1, "maxItems": amounts::MAX_ALTERNATIVES,
            "uniqueItems": true, "items": gpus(1),
        }] }),
        "mig" => json!({ "type": "string", "pattern": p::mig() }),
        "cpus" => json!({
            "type": ["string", "number"],
            "pattern": format!("^{}$", p::decimal(amounts::MAX_CPUS, 3)),
            "minimum": 0.001, "maximum": amounts::MAX_CPUS,
        }),
        "memory" | "mps" => {
            // 64 TiB, and whole units of the others that are not more.
            let most = [("TiB", 64), ("GiB", 65_536), ("MiB", 67_108_864)];
            let tens = [("TB", 70), ("GB", 70_368), ("MB", 70_368_744)];
            json!({ "type": "string", "pattern": p::size(&[most, tens].concat()) })
        }
        _ => return None,
    })
}

fn amount_of_work(field: &str) -> Option<Value> {
    let (rule, by_accelerator) = match field {
        "duration" => (duration(YEAR), duration(YEAR)),
        "steps_per_hour" => {
            let rate = json!({
                "type": ["string", "integer"],
                "pattern": format!("^0{{0,12}}{}$", p::from_1_to(work::MAX_STEPS)),
                "maxLength": 13, "minimum": 1, "maximum": work::MAX_STEPS,
            });
            (rate.clone(), rate)
        }
        "steps" => {
            return Some(json!({
                "type": "integer", "format": "int64", "minimum": 1, "maximum": work::MAX_STEPS,
            }));
        }
        _ => return None,
    };
    let by_accelerator = json!({
        "type": "object", "minProperties": 1, "maxProperties": work::MAX_ACCELERATORS,
        "propertyNames": { "maxLength": 40, "pattern": p::ACCELERATOR },
        "additionalProperties": by_accelerator,
    });
    Some(json!({ "anyOf": [rule, by_accelerator] }))
}

fn path(pattern: &str) -> Value {
    json!({ "type": WRITTEN, "minLength": 1, "maxLength": paths::MAX_PATH_BYTES, "pattern": pattern })
}

fn duration(most: u64) -> Value {
    json!({ "type": "string", "pattern": format!("^{}$", p::duration(most)) })
}

fn size() -> Value {
    // Ten petabytes, and whole units of the others that are not more.
    let most = [("TB", 10_000), ("GB", 10_000_000), ("MB", 10_000_000_000)];
    let twos = [("TiB", 9_094), ("GiB", 9_313_225), ("MiB", 9_536_743_164)];
    json!({ "type": "string", "pattern": p::size(&[most, twos].concat()) })
}

/// A deadline that is moved (`+4h`, `-1h`) or set anew.
pub(super) fn new_deadline() -> Value {
    let (span, time) = (p::duration(YEAR), p::time());
    json!({ "type": "string", "pattern": format!("^([+-]?{span}|{time})$") })
}
