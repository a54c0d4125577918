//! The JSON Schema of documents. Structure and descriptions come from the types, the
//! rules of fields from [`rules`].

use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::document::{JobDocument, PipelineDocument};
use super::rules;

/// The JSON Schema (2020-12) of a document, for editors and for the REST contract. What it
/// refuses [`parse`](super::parse) refuses as well; it cannot express what depends on the
/// whole document, the time or the other jobs.
pub fn json_schema() -> Value {
    let kinds = ["Single", "Pipeline"].map(reference);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "spotwise job",
        "description": "One job, or several under `jobs`.",
        "type": "object",
        "anyOf": kinds,
        "$defs": definitions(),
    })
}

/// What may be changed in a job that has not ended; it refers to `#/$defs/` of
/// [`json_schema`].
pub fn json_schema_of_changes() -> Value {
    let mut definitions = definitions();
    let job = definitions.remove("Job").unwrap_or_default();
    let mut properties = Map::new();
    for name in ["budget_usd", "deadline", "priority", "retries"] {
        properties.insert(name.to_owned(), job["properties"][name].clone());
    }
    properties["deadline"] = or_null(rules::new_deadline());
    properties["deadline"]["description"] =
        "Another time, a duration from now on such as `8h`, or one from what it is: `+4h`, `-1h`."
            .into();
    let nothing = properties.keys().map(|name| (name.clone(), json!({ "type": "null" })));
    let nothing: Map<String, Value> = nothing.collect();
    json!({
        "type": "object",
        "minProperties": 1,
        "additionalProperties": false,
        "properties": properties,
        "not": { "properties": nothing },
    })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn definitions() -> Map<String, Value> {
    let mut generator = SchemaGenerator::default();
    generator.subschema_for::<JobDocument>();
    generator.subschema_for::<PipelineDocument>();
    let mut definitions = generator.take_definitions(true);
    for (document, schema) in definitions.iter_mut() {
        let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
        for (field, property) in properties.into_iter().flatten() {
            if let Some(rule) = rules::rule(document, field) {
                follow(property, rule);
            }
        }
    }
    together(&mut definitions);
    let job = definitions.remove("Job").unwrap_or_default();
    definitions.insert("Single".to_owned(), single(job.clone()));
    let mut dependency = definitions.get("Dependency").cloned().unwrap_or_default();
    follow(&mut dependency["properties"]["job"], rules::earlier());
    definitions.insert("Earlier".to_owned(), dependency);
    definitions.insert("Defaults".to_owned(), defaults(job.clone()));
    definitions.insert("Job".to_owned(), of_pipeline(job));
    definitions
}

/// Replaces what the type says by the rule, except for its description and whether null
/// means that it is absent.
fn follow(property: &mut Value, rule: Value) {
    let is_null = |kind: &Value| kind == "null" || kind["type"] == "null";
    let kinds = [&property["type"], &property["anyOf"]];
    let nullable = kinds.iter().any(|kinds| kinds.as_array().into_iter().flatten().any(is_null));
    let description = property["description"].take();
    *property = if nullable { or_null(rule) } else { rule };
    if description.is_string() {
        property["description"] = description;
    }
}

fn or_null(mut rule: Value) -> Value {
    if let Some(kinds) = rule.get_mut("anyOf").and_then(Value::as_array_mut) {
        kinds.push(json!({ "type": "null" }));
        return rule;
    }
    let kinds = match rule["type"].take() {
        Value::Array(kinds) => kinds,
        kind => vec![kind],
    };
    rule["type"] = kinds.into_iter().chain(["null".into()]).collect();
    rule
}

/// Removes null from the types of a field.
fn never_null(property: &mut Value) {
    for list in ["type", "anyOf"] {
        let Some(kinds) = property.get_mut(list).and_then(Value::as_array_mut) else { continue };
        kinds.retain(|kind| kind != "null" && kind["type"] != "null");
        if let ([kind], "type") = (kinds.as_slice(), list) {
            property[list] = kind.clone();
        }
    }
}

/// Fields that may not be given together. A field that is null counts as absent.
fn together(definitions: &mut Map<String, Value>) {
    let mut forbid = |name: &str, combinations: Value| {
        if let Some(schema) = definitions.get_mut(name) {
            schema["not"] = json!({ "anyOf": combinations });
        }
    };
    let both = |one: &str, other: &str| {
        let there = |name: &str| json!({ name: { "not": { "type": "null" } } });
        let mut fields = there(one);
        fields[other] = there(other)[other].take();
        json!({ "required": [one, other], "properties": fields })
    };
    let null = json!({ "type": "null" });
    let none = |fields: &[&str]| {
        let fields: Map<_, _> =
            fields.iter().map(|name| ((*name).to_owned(), null.clone())).collect();
        json!({ "properties": fields })
    };
    forbid("Job", json!([both("array", "sweep")]));
    forbid("GpuSharing", json!([both("mps", "time_slicing"), none(&["mps", "time_slicing"])]));
    forbid(
        "Work",
        json!([
            both("duration", "steps"),
            both("duration", "steps_per_hour"),
            none(&["duration", "steps"])
        ]),
    );
    // One GPU is shared.
    let one = "^([A-Za-z][A-Za-z0-9-]*(:0*1)?|:?0*1)$";
    let one = json!({ "type": ["string", "integer"], "pattern": one, "minimum": 1, "maximum": 1 });
    let one = json!({ "anyOf": [one, { "type": "array", "items": one }] });
    let sharing = json!({
        "required": ["gpu_sharing"],
        "properties": { "gpu_sharing": { "type": "object" } },
        "not": { "required": ["gpus"], "properties": { "gpus": one } },
    });
    forbid("Resources", json!([both("gpus", "mig"), sharing]));
    // A command of its own for each job, or one for all.
    let for_all = json!({ "type": "object", "required": ["command"],
        "properties": { "command": { "type": "array" } } });
    let own = json!({ "type": "array", "items": { "required": ["command"] } });
    forbid(
        "Pipeline",
        json!([{
            "not": { "required": ["defaults"], "properties": { "defaults": for_all } },
            "properties": { "jobs": { "not": own } },
        }]),
    );
}

/// A job by itself: it has a name and a command, and can wait only for jobs that were
/// submitted before.
fn single(mut job: Value) -> Value {
    job["required"] = json!(["name", "command"]);
    let fields = &mut job["properties"];
    never_null(&mut fields["name"]);
    never_null(&mut fields["command"]);
    follow(&mut fields["after"], rules::after(&rules::earlier(), "Earlier"));
    job["description"] = "One job.".into();
    job
}

/// A job among others: its command may come from the defaults.
fn of_pipeline(mut job: Value) -> Value {
    job["required"] = json!(["name"]);
    let fields = &mut job["properties"];
    never_null(&mut fields["name"]);
    never_null(&mut fields["command"]);
    job["description"] = "One of several jobs.".into();
    job
}

/// Fields for every job; each has a name of its own.
fn defaults(mut job: Value) -> Value {
    let name = &mut job["properties"]["name"];
    *name = json!({ "type": "null", "description": "Every job needs a name of its own." });
    job["description"] = "Fields for every job that does not have them itself.".into();
    job
}
