//! What all operations and messages have in common, and what the attributes of handlers and
//! wire types cannot express: it also covers routes and fields added later.

use serde_json::{Map, Value, json};

use super::rules::{freeze, new_token, rule};
use crate::access::Gate;

/// Refusals by status: the name of the shared response, and what it means.
const REFUSALS: [(&str, &str, &str); 11] = [
    (
        "400",
        "BadRequest",
        "What was sent is not acceptable; `field` says where, `detail` what to write instead",
    ),
    ("401", "Unauthenticated", "Who asks is not known: send a token that is good"),
    ("403", "Forbidden", "The caller may not do that; or it comes from a page of another site"),
    ("404", "NotFound", "There is no such thing"),
    ("408", "TimedOut", "The body did not come in time, or the answer took too long"),
    ("409", "Conflict", "It does not fit the state of things"),
    ("413", "TooLarge", "More than this address takes"),
    ("415", "UnsupportedType", "A body of a kind that is not read here"),
    ("429", "Overloaded", "Too much is going on: later, and less often"),
    ("500", "Internal", "A defect; the scheduler's log has the cause"),
    (
        "503",
        "Unavailable",
        "The scheduler stops or stands by, or its store does not answer: later, or elsewhere",
    ),
];

/// Fields that always hold a time; other times are empty text if there is none.
const TIMES: [&str; 5] = ["submitted", "market_time", "wall_time", "as_of", "quoted_at"];

/// Fields that are a time or empty text.
const OPTIONAL_TIMES: [&str; 14] = [
    "billed_since",
    "deadline",
    "ended",
    "launched",
    "listed",
    "paid_until",
    "reclaim_at",
    "refused_until",
    "started",
    "finished",
    "finish_p50",
    "finish_p90",
    "since",
    "spell_since",
];

const PROBLEM: &str = "application/problem+json";

/// Completes the document; `job_document` is the JSON Schema of submissions, `changes` that
/// of changes to a job.
pub(super) fn finish(document: &mut Value, job_document: Value, mut changes: Value) {
    let submitted = take_in(document, job_document);
    move_references(&mut changes);
    each_operation(document, |path, method, operation| {
        parameters(operation);
        body(method, operation, &submitted, &changes);
        responses(path, operation);
        if Gate::is_open(path) {
            *entry(operation, "security") = json!([]);
        }
    });
    let components = entry(document, "components");
    let shared = REFUSALS
        .iter()
        .map(|(status, name, meaning)| ((*name).to_owned(), refusal(status, meaning)));
    *entry(components, "responses") = Value::Object(shared.collect());
    if let Some(schemas) = entry(components, "schemas").as_object_mut() {
        for (name, schema) in schemas.iter_mut() {
            if name == "CreateTokenRequest" {
                schema.clone_from(&new_token());
            } else if name == "SetFreezeRequest" {
                schema.clone_from(&freeze());
            } else if !name.starts_with(SUBMITTED) {
                message(name, schema);
            }
        }
    }
    let components = entry(document, "components");
    *entry(components, "securitySchemes") = json!({ "token": {
        "type": "http", "scheme": "bearer",
        "description": "A token of `spotwise tokens`, which begins with swt_",
    } });
    *entry(document, "security") = json!([{ "token": [] }]);
}

/// Prefix of the names of schemas that describe submissions.
const SUBMITTED: &str = "Document";

/// Moves the schema of documents, and what it refers to, to the other schemas. Returns a
/// reference to it.
fn take_in(document: &mut Value, mut schema: Value) -> Value {
    let definitions = schema.as_object_mut().and_then(|schema| {
        schema.remove("$schema");
        schema.remove("$defs")
    });
    let mut named = Map::from_iter([(SUBMITTED.to_owned(), schema)]);
    for (name, definition) in definitions.as_ref().and_then(Value::as_object).into_iter().flatten()
    {
        named.insert(format!("{SUBMITTED}{name}"), definition.clone());
    }
    named.values_mut().for_each(move_references);
    if let Some(schemas) = entry(entry(document, "components"), "schemas").as_object_mut() {
        schemas.extend(named);
    }
    json!({ "$ref": format!("#/components/schemas/{SUBMITTED}") })
}

fn move_references(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                let moved = value.as_str().filter(|_| name == "$ref").and_then(|reference| {
                    let name = reference.strip_prefix("#/$defs/")?;
                    Some(format!("#/components/schemas/{SUBMITTED}{name}"))
                });
                match moved {
                    Some(moved) => *value = moved.into(),
                    None => move_references(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(move_references),
        _ => {}
    }
}

fn each_operation(document: &mut Value, mut work: impl FnMut(&str, &str, &mut Value)) {
    let paths = entry(document, "paths").as_object_mut();
    for (path, methods) in paths.into_iter().flatten() {
        for (method, operation) in methods.as_object_mut().into_iter().flatten() {
            work(path, method, operation);
        }
    }
}

/// The exact rules of parameters, by name: they mean the same everywhere.
fn parameters(operation: &mut Value) {
    let given = operation.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in given.into_iter().flatten() {
        let name = parameter.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(rule) = rule(&name) {
            entry(parameter, "schema").clone_from(&rule);
            if rule["type"] == "array" {
                entry(parameter, "style").clone_from(&"form".into());
                entry(parameter, "explode").clone_from(&false.into());
            }
        }
    }
}

/// Job documents, and changes to a job, are accepted as YAML and as JSON.
fn body(method: &str, operation: &mut Value, submitted: &Value, changes: &Value) {
    let content = operation.pointer_mut("/requestBody/content").and_then(Value::as_object_mut);
    let schema = if method == "patch" { changes } else { submitted };
    let mut untyped = false;
    for media in content.into_iter().flat_map(Map::values_mut) {
        if media.get("schema").is_none() {
            *media = json!({ "schema": schema });
            untyped = true;
        }
    }
    // A job is submitted again with a mended document, or as it was.
    let optional = operation["operationId"] == "resubmitJob";
    if untyped && !optional {
        *entry(entry(operation, "requestBody"), "required") = true.into();
    }
}

/// Every response has a description, and every refusal that may come is listed.
fn responses(path: &str, operation: &mut Value) {
    let body = operation.get("requestBody").is_some();
    let names_one = path.contains('{')
        || operation
            .get("parameters")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .any(|parameter| parameter["name"] == "job");
    let Some(responses) = entry(operation, "responses").as_object_mut() else { return };
    for (status, name, _) in REFUSALS {
        let comes = match status {
            "401" | "403" => !Gate::is_open(path),
            "404" => names_one || responses.contains_key(status),
            "409" => responses.contains_key(status),
            "415" => body,
            _ => true,
        };
        if comes {
            let reference = json!({ "$ref": format!("#/components/responses/{name}") });
            responses.insert(status.to_owned(), reference);
        }
    }
    for (status, response) in responses.iter_mut().filter(|(_, it)| it.get("$ref").is_none()) {
        let said = response.get("description").and_then(Value::as_str).unwrap_or_default();
        if said.is_empty() {
            let said = if status == "201" { "It is done, durably" } else { "The answer" };
            *entry(response, "description") = said.into();
        }
        if status == "201" && path.starts_with("/api/v1/jobs") {
            let first = json!({ "description": "Where the first of the new jobs is", "schema": { "type": "string" } });
            *entry(response, "headers") = json!({ "Location": first });
        }
        if let Some(stream) = response.pointer_mut("/content/text~1event-stream") {
            *stream = json!({ "schema": server_sent(&stream["schema"]) });
        }
    }
    responses.sort_keys();
}

/// One message of a stream: an event with its number, or the error that ends it.
fn server_sent(event: &Value) -> Value {
    let text = json!({ "type": "string" });
    let data = |content: &Value| json!({ "type": "string", "contentMediaType": "application/json", "contentSchema": content });
    let error = json!({ "$ref": "#/components/schemas/Problem" });
    json!({ "anyOf": [
        {
            "type": "object", "required": ["id", "data"],
            "properties": { "id": text, "event": { "const": "message" }, "data": data(event) },
        },
        {
            "type": "object", "required": ["event", "data"],
            "properties": { "event": { "const": "error" }, "data": data(&error) },
        },
    ] })
}

fn refusal(status: &str, meaning: &str) -> Value {
    let problem = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
    let mut refusal = json!({ "description": meaning, "content": { PROBLEM: problem } });
    if ["429", "503"].contains(&status) {
        let seconds =
            json!({ "description": "Seconds", "schema": { "type": "integer", "minimum": 0 } });
        *entry(&mut refusal, "headers") = json!({ "Retry-After": seconds });
    }
    refusal
}

/// Responses always have all of their fields, unless serde leaves one out; those that may
/// be sent by clients have defaults and are marked by the handler's attribute.
fn message(name: &str, schema: &mut Value) {
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for (field, property) in properties.iter_mut() {
        let Some(property) = property.as_object_mut() else { continue };
        property.remove("default");
        let text = property.get("type").is_some_and(|kind| kind == "string");
        if text && (TIMES.contains(&field.as_str()) || (name == "Event" && field == "at")) {
            property.insert("format".to_owned(), "date-time".into());
        } else if text && OPTIONAL_TIMES.contains(&field.as_str()) {
            property.insert("pattern".to_owned(), r"^(\d{4}-\d\d-\d\dT.*Z)?$".into());
        }
        // 32 bits without a sign are more than an int32 holds.
        if property.get("format").is_some_and(|format| format == "int32")
            && property.get("minimum").is_some()
        {
            property.insert("format".to_owned(), "int64".into());
        }
    }
    let left_out =
        |field: &&String| name == "LogLine" && ["base64", "missing"].contains(&field.as_str());
    let required: Vec<String> =
        properties.keys().filter(|field| !left_out(field)).cloned().collect();
    *entry(schema, "required") = required.into();
}

/// A field of an object, created if missing.
fn entry<'a>(object: &'a mut Value, name: &str) -> &'a mut Value {
    &mut object[name]
}
