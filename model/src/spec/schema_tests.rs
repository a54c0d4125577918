//! The schema against the parser: good input passes both, bad input neither, except for
//! rules that a schema cannot express.

use std::cell::RefCell;
use std::collections::BTreeMap;

use regex_lite::Regex;
use serde_json::{Value, json};

use super::tree::{Node, Value as Tree};
use super::validate::parse_tree;
use super::{Format, json_schema, json_schema_of_changes};

/// Whether a value conforms to a schema. It knows the keywords that ours uses, and no
/// others.
pub(crate) fn accepts(root: &Value, schema: &Value, value: &Value) -> bool {
    let Value::Object(words) = schema else { return schema != &json!(false) };
    words.iter().all(|(word, rule)| keeps(root, words, (word, rule), value))
}

type Words = serde_json::Map<String, Value>;

fn keeps(root: &Value, words: &Words, (word, rule): (&str, &Value), value: &Value) -> bool {
    let is = |schema: &Value| accepts(root, schema, value);
    let list = || rule.as_array().expect("a list").iter();
    match word {
        "$ref" => {
            let name = rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
            is(root["$defs"].get(name).unwrap_or_else(|| panic!("no {name}")))
        }
        "type" => match rule {
            Value::Array(kinds) => kinds.iter().any(|kind| is_of(kind, value)),
            kind => is_of(kind, value),
        },
        "anyOf" => list().any(is),
        "oneOf" => list().filter(|schema| is(schema)).count() == 1,
        "allOf" => list().all(is),
        "not" => !is(rule),
        "const" => rule == value,
        "enum" => list().any(|one| one == value),
        "title" | "description" | "$schema" | "$defs" | "format" | "examples" => true,
        _ => match value {
            Value::String(text) => of_text(word, rule, text),
            Value::Number(number) => of_number(word, rule, number.as_f64().unwrap()),
            Value::Array(items) => of_list(root, words, (word, rule), items),
            Value::Object(fields) => of_fields(root, words, (word, rule), fields),
            _ => true,
        },
    }
}

fn is_of(kind: &Value, value: &Value) -> bool {
    match kind.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        other => panic!("{other}"),
    }
}

fn size(rule: &Value) -> usize {
    rule.as_u64().unwrap().try_into().unwrap()
}

fn of_text(word: &str, rule: &Value, text: &str) -> bool {
    match word {
        "minLength" => text.chars().count() >= size(rule),
        "maxLength" => text.chars().count() <= size(rule),
        "pattern" => matches(rule.as_str().unwrap(), text),
        _ => other(word),
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    thread_local!(static READ: RefCell<BTreeMap<String, Regex>> = RefCell::default());
    READ.with_borrow_mut(|read| {
        if !read.contains_key(pattern) {
            read.insert(pattern.to_owned(), Regex::new(pattern).unwrap());
        }
        read[pattern].is_match(text)
    })
}

fn of_number(word: &str, rule: &Value, number: f64) -> bool {
    match word {
        "minimum" => number >= rule.as_f64().unwrap(),
        "maximum" => number <= rule.as_f64().unwrap(),
        "exclusiveMinimum" => number > rule.as_f64().unwrap(),
        _ => other(word),
    }
}

fn of_list(root: &Value, words: &Words, (word, rule): (&str, &Value), items: &[Value]) -> bool {
    let first = words.get("prefixItems").and_then(Value::as_array).map_or(0, Vec::len);
    match word {
        "minItems" => items.len() >= size(rule),
        "maxItems" => items.len() <= size(rule),
        "uniqueItems" => items.iter().enumerate().all(|(n, item)| !items[..n].contains(item)),
        "items" => items.iter().skip(first).all(|item| accepts(root, rule, item)),
        "prefixItems" => {
            let rules = rule.as_array().unwrap().iter();
            rules.zip(items).all(|(rule, item)| accepts(root, rule, item))
        }
        _ => other(word),
    }
}

fn of_fields(root: &Value, words: &Words, (word, rule): (&str, &Value), fields: &Words) -> bool {
    let known = |name: &str| words.get("properties").is_some_and(|p| p.get(name).is_some());
    match word {
        "required" => {
            rule.as_array().unwrap().iter().all(|name| fields.contains_key(name.as_str().unwrap()))
        }
        "minProperties" => fields.len() >= size(rule),
        "maxProperties" => fields.len() <= size(rule),
        "properties" => fields
            .iter()
            .all(|(name, value)| rule.get(name).is_none_or(|rule| accepts(root, rule, value))),
        "propertyNames" => fields.keys().all(|name| accepts(root, rule, &json!(name))),
        "additionalProperties" => fields
            .iter()
            .filter(|(name, _)| !known(name))
            .all(|(_, value)| accepts(root, rule, value)),
        _ => other(word),
    }
}

/// A keyword for another kind of value says nothing about this one.
fn other(word: &str) -> bool {
    const KNOWN: [&str; 18] = [
        "minLength",
        "maxLength",
        "pattern",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "minItems",
        "maxItems",
        "uniqueItems",
        "items",
        "prefixItems",
        "required",
        "minProperties",
        "maxProperties",
        "properties",
        "propertyNames",
        "additionalProperties",
        "default",
    ];
    assert!(KNOWN.contains(&word), "{word}");
    true
}

/// What an editor sees of a document: plain scalars are numbers and booleans where YAML
/// 1.2 says so.
pub(crate) fn seen(node: &Node) -> Value {
    match &node.value {
        Tree::Empty | Tree::Null => Value::Null,
        Tree::Quoted(text) => json!(text),
        Tree::Plain(text) => match (text.as_str(), text.parse::<i64>(), text.parse::<f64>()) {
            ("true", ..) => json!(true),
            ("false", ..) => json!(false),
            (_, Ok(number), _) => json!(number),
            (_, _, Ok(number)) if number.is_finite() => json!(number),
            _ => json!(text),
        },
        Tree::List(items) => items.iter().map(seen).collect(),
        Tree::Map(entries) => {
            entries.iter().map(|entry| (entry.key.clone(), seen(&entry.value))).collect()
        }
    }
}

/// Whether the schema accepts a document; `None` if it is not YAML or JSON at all.
pub(super) fn takes(text: &[u8], format: Format) -> Option<bool> {
    thread_local!(static SCHEMA: Value = json_schema());
    let tree = parse_tree(text, format).ok()?;
    Some(SCHEMA.with(|schema| accepts(schema, schema, &seen(&tree))))
}

#[test]
#[expect(clippy::disallowed_methods, reason = "only this test reads files: the examples")]
fn the_schema_takes_every_example() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "yaml") {
            let text = std::fs::read(&path).unwrap();
            assert_eq!(takes(&text, Format::Yaml), Some(true), "{}", path.display());
            read += 1;
        }
    }
    assert!(read >= 9, "{read}");
}

#[test]
fn the_schema_explains_every_field_and_allows_no_other() {
    let schema = json_schema();
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        let Some(properties) = definition["properties"].as_object() else { continue };
        for (field, property) in properties {
            assert!(property["description"].is_string(), "{name}.{field}");
        }
        assert_eq!(definition["additionalProperties"], false, "{name}");
    }
}

/// A text without a rule is one that was forgotten.
#[test]
fn every_text_and_number_has_a_rule() {
    fn look(at: &str, schema: &Value) {
        let Some(words) = schema.as_object() else { return };
        let kinds = words.get("type").map_or_else(Vec::new, |kind| match kind {
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            kind => kind.as_str().into_iter().collect(),
        });
        let has = |names: &[&str]| names.iter().any(|name| words.contains_key(*name));
        if kinds.contains(&"string") {
            assert!(has(&["pattern", "enum", "const"]), "{at}: {schema}");
        } else if kinds.contains(&"integer") || kinds.contains(&"number") {
            assert!(has(&["minimum"]) && has(&["maximum"]), "{at}: {schema}");
        }
        if kinds.contains(&"array") {
            assert!(has(&["maxItems"]), "{at}: {schema}");
        }
        for (word, inner) in words.iter().filter(|(word, _)| *word != "not") {
            let at = format!("{at}/{word}");
            match inner {
                Value::Array(all) if word != "type" => all.iter().for_each(|one| look(&at, one)),
                Value::Object(named) if ["properties", "$defs"].contains(&word.as_str()) => {
                    named.iter().for_each(|(name, one)| look(&format!("{at}/{name}"), one));
                }
                Value::Object(_) if word != "propertyNames" => look(&at, inner),
                _ => {}
            }
        }
    }
    look("", &json_schema());
    look("", &json_schema_of_changes());
}

#[test]
fn fields_are_taken_as_the_parser_takes_them() {
    for (field, good, bad) in [
        ("name", "[12, true, job, 7b, j, j-1]", "[1.5, -3, j12, '', A]"),
        ("title", "[2026, 1.5, true]", "[[], {}, '  ']"),
        ("timeout", "[1s, 366d, 8784h, 001h, 0d1s]", "[0s, 0d0h, 367d, 8785h, 5, h, 1h1d]"),
        ("deadline", "['2024-02-29T23:59:59.5+01:00', 1h]", "['2026-04-31T00:00:00Z', +1h]"),
        ("budget_usd", "[1, 0.000001, '10000000.00', 12.50]", "[0, '0.0', '10000001', -1]"),
        ("workdir", "[..., .a, ..a/b, /a, 5]", "[/, a//b, a/]"),
        ("image", "[a, a.b/c:1, h.x:80/a__b/c, 1.5]", "[a..b, 'a:', '-a', 'h:0/a']"),
        ("resources: {memory", "[64TiB}, 0.001MB}, 70368 GB}]", "[0GB}, 65TiB}, 1GB GB}]"),
        ("resources: {cpus", "[4096}, '4096.0'}, 0.001}, '0.50'}]", "[4097}, '0.000'}, .5.}]"),
        ("resources: {mig", "['a100:1g.5gb'}, 7g.180gb}]", "['A100:1g.18gb'}, 1gx5gb}]"),
        ("resources: {gpus", "[0}, 1024}, 'v100:01'}, :2}]", "[1025}, ':0'}, true}, [0]}]"),
        ("data: {size: 1GB, region", "[local}, eu-west-2}, 5}, a}]", "[eu-west-2a}, A}]"),
        ("retries: {interruptions", "[10000}, '007'}, unlimited}]", "[10001}, -1}, ''}]"),
    ] {
        for (values, expected) in [(good, true), (bad, false)] {
            let values = values.strip_prefix('[').unwrap().strip_suffix(']').unwrap();
            for value in values.split(", ") {
                let text = super::bad_inputs::with(&format!("{field}: {value}"));
                let text =
                    if field == "name" { format!("name: {value}\ncommand: [x]") } else { text };
                let parsed = super::parse(text.as_bytes(), Format::Yaml);
                assert_eq!(parsed.is_ok(), expected, "{text}\n{parsed:?}");
                assert_eq!(takes(text.as_bytes(), Format::Yaml), Some(expected), "{text}");
            }
        }
    }
}

#[test]
fn changes_name_something_to_change() {
    let (schema, whole) = (json_schema_of_changes(), json_schema());
    let takes = |value: Value| accepts(&whole, &schema, &value);
    for good in [
        json!({ "budget_usd": 2, "priority": null }),
        json!({ "deadline": "+4h" }),
        json!({ "deadline": "2026-08-01T08:00:00Z" }),
        json!({ "retries": {} }),
        json!({ "priority": 0 }),
    ] {
        assert!(takes(good.clone()), "{good}");
        assert!(super::parse_edit(good.to_string().as_bytes(), Format::Json).is_ok(), "{good}");
    }
    for bad in [
        json!({}),
        json!({ "budget_usd": null }),
        json!({ "deadline": "+2026-08-01T08:00:00Z" }),
        json!({ "deadline": "" }),
        json!({ "priority": 101 }),
        json!({ "command": ["x"] }),
    ] {
        assert!(!takes(bad.clone()), "{bad}");
        assert!(super::parse_edit(bad.to_string().as_bytes(), Format::Json).is_err(), "{bad}");
    }
}
