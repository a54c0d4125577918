//! Refused for their shape, or for what only the whole document shows.

use std::fmt::Write as _;

use super::super::{Format, MAX_DOCUMENT_BYTES, parse};
use super::{json, refused, table, with, yaml};

#[test]
fn rows_1_to_3_hostile_shapes_are_refused_by_limits() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        writeln!(bomb, "a{level}: &a{level} [{aliases}]").unwrap();
    }
    assert_eq!(yaml(&bomb).code, "yaml_alias_limit");
    assert_eq!(yaml("a: &a [*a]").code, "yaml_alias_limit");
    let long = format!("a: &a {}\nb: [{}]", "x".repeat(1_000), vec!["*a"; 2_000].join(", "));
    assert_eq!(yaml(&long).code, "yaml_alias_limit", "few nodes, many bytes");

    assert_eq!(yaml(&"[".repeat(MAX_DOCUMENT_BYTES + 1)).code, "document_too_large");
    assert_eq!(yaml(&"[".repeat(100_000)).code, "too_deep");
    let mut blocks = String::new();
    for level in 0..300 {
        writeln!(blocks, "{}a:", " ".repeat(level)).unwrap();
    }
    for deep in ["[".repeat(60_000), "{a: ".repeat(16_000), "- ".repeat(30_000), blocks] {
        assert_eq!(yaml(&deep).code, "too_deep", "{}", &deep[..40]);
    }
    assert_eq!(
        yaml("a: [[[[[[[[&a [[[[[[[x]]]]]]]]]]]]]]]\nb: [[[[[[[[[[*a]]]]]]]]]]").code,
        "too_deep"
    );

    let padded = |size: usize| with("") + &"#".repeat(size - with("").len());
    assert_eq!(yaml(&padded(MAX_DOCUMENT_BYTES + 1)).code, "document_too_large");
    assert!(parse(padded(MAX_DOCUMENT_BYTES).as_bytes(), Format::Yaml).is_ok());
}

#[test]
fn rows_4_to_7_documents_say_one_thing() {
    table(&[
        ("budget_usd: 1\nbudget_usd: 9999", "duplicate_key", "budget_usd"),
        ("resources: {cpus: 1, cpus: 2}", "duplicate_key", "resources.cpus"),
        ("bugdet_usd: 2", "unknown_field", "bugdet_usd"),
        ("resources: {gpu: 1}", "unknown_field", "resources.gpu"),
        ("---\nname: b", "multiple_documents", ""),
        ("title: !!python/object/apply:os.system [id]", "tag_not_allowed", "title"),
        ("title: !!str x", "tag_not_allowed", "title"),
        ("env: {A: !x y}", "tag_not_allowed", "env.A"),
        ("<<: {title: x}", "merge_key_not_allowed", ""),
        ("[a]: b", "invalid_key", ""),
        ("budget_usd:", "empty_value", "budget_usd"),
        ("env: {A: }", "empty_value", "env.A"),
        ("title: *nothing", "invalid_yaml", "title"),
    ]);
    let error = yaml(&with("bugdet_usd: 2"));
    assert!(error.message.contains("did you mean `budget_usd`?"), "{error}");
    assert_eq!(error.location, Some((3, 1)));
    assert!(yaml(&with("resources: {gpu: 1}")).message.contains("`gpus`"));
    for nothing in ["", "\n", "# only a remark", "---", "null", "~"] {
        assert_eq!(yaml(nothing).code, "empty_document", "{nothing}");
    }
    for other in ["[]", "text", "1"] {
        assert_eq!(yaml(other).code, "invalid_type", "{other}");
    }
    assert_eq!(yaml("command: [x]").code, "missing_field");
    assert_eq!(yaml("name: x").field, "command");
}

#[test]
fn row_18_text_is_utf8() {
    let error = refused(b"name: a\ntitle: \xff\xfe", Format::Yaml);
    assert_eq!(error.code, "not_utf8");
    assert_eq!(refused(b"{\"name\": \"\xc3\x28\"}", Format::Json).code, "not_utf8");
}

#[test]
fn row_57_json_is_strict() {
    let job = |field: &str| format!("{{\"name\": \"a\", \"command\": [\"x\"], {field}}}");
    let rows = [
        ("[".repeat(10_000), "too_deep", ""),
        ("{\"a\":".repeat(9_000), "too_deep", ""),
        (job("\"budget_usd\": 1e999"), "invalid_json", ""),
        (job("\"priority\": 9223372036854775808"), "out_of_range", "priority"),
        (job("\"priority\": 1.5"), "invalid_number", "priority"),
        (job("\"priority\": \"1\""), "invalid_number", "priority"),
        (job("\"title\": \"a\", \"title\": \"b\""), "duplicate_key", "title"),
        (job("\"env\": {\"A\": \"1\", \"A\": \"2\"}"), "duplicate_key", "env.A"),
        (job("\"title\": \"\\ud800\""), "invalid_json", ""),
        (job("\"__proto__\": {}"), "unknown_field", "__proto__"),
        (job("\"title\": \"a\tb\""), "invalid_json", ""),
        (job("\"title\": NaN"), "invalid_json", ""),
        ("{} {}".to_owned(), "multiple_documents", ""),
        ("{\"name\": ".to_owned(), "invalid_json", ""),
        (String::new(), "empty_document", ""),
    ];
    for (text, code, field) in rows {
        let error = json(&text);
        let shown = &text[..text.len().min(200)];
        assert!(error.code == code && error.field.starts_with(field), "{shown}\n{error:?}");
        if code == "invalid_json" || code == "too_deep" {
            assert!(error.location.is_some(), "{shown}");
        }
    }
}

#[test]
fn row_69_dependencies_are_other_jobs() {
    let many: Vec<String> = (1..=1_001).map(|n| format!("j{n}")).collect();
    let many = format!("after: [{}]", many.join(","));
    table(&[
        ("after: [a]", "self_dependency", "after[0]"),
        ("after: [j1, j1]", "duplicate_dependency", "after[1]"),
        ("after: [b]", "unknown_dependency", "after[0]"),
        ("after: [j99999999999999999999]", "unknown_dependency", "after[0]"),
        ("after: [j0]", "unknown_dependency", "after[0]"),
        (&many, "too_many_dependencies", "after"),
        ("after: b", "invalid_type", "after"),
        ("after: [{job: a}]", "self_dependency", "after[0]"),
        ("after: [{on: failed}]", "missing_field", "after[0].job"),
        ("after: [{job: j1, on: afternotok}]", "unknown_value", "after[0].on"),
        ("after: [{job: j1, when: failed}]", "unknown_field", "after[0].when"),
        ("after: [{job: j1, elementwise: 1}]", "invalid_boolean", "after[0].elementwise"),
        ("after: [j1, {job: j1, on: failed}]", "duplicate_dependency", "after[1]"),
    ]);
    let jobs = |second: &str| yaml(&format!("jobs:\n- {{name: a, command: [x]}}\n- {{{second}}}"));
    let error = jobs("name: b, command: [x], after: [a, c]");
    assert_eq!((error.code, error.field.as_str()), ("unknown_dependency", "jobs[1].after[1]"));
    assert_eq!(error.location, Some((3, 38)));
    assert_eq!(jobs("name: a, command: [x]").field, "jobs[1].name");
    let sizes = |first: &str, second: &str| {
        yaml(&format!(
            "jobs:\n- {{name: a, command: [x]{first}}}\n\
             - {{name: b, command: [x], after: [{{job: a, elementwise: true}}]{second}}}"
        ))
    };
    let error = sizes(", array: {size: 8}", ", sweep: {lr: [1, 2, 3]}");
    assert_eq!((error.code, error.field.as_str()), ("array_size_mismatch", "jobs[1].after[0]"));
    assert!(error.message.contains("an array of 8") && error.message.contains("of 3"), "{error}");
    assert!(error.location.is_some(), "{error}");
    for (first, second) in [("", ", array: {size: 2}"), (", array: {size: 2}", ""), ("", "")] {
        assert_eq!(sizes(first, second).code, "array_size_mismatch", "{first} {second}");
    }
    assert_eq!(jobs("name: b, command: [x], deadline: x").field, "jobs[1].deadline");
    assert_eq!(jobs("name: b").field, "jobs[1].command");
    let circle = yaml(
        "jobs:\n- {name: a, command: [x]}\n- {name: x, command: [x], after: [a, z]}\n\
         - {name: y, command: [x], after: [x]}\n- {name: z, command: [x], after: [j3, y]}\n",
    );
    assert_eq!((circle.code, circle.field.as_str()), ("dependency_cycle", "jobs[1].after[1]"));
    assert!(circle.message.contains("x -> z -> y -> x;"), "{circle}");
    assert_eq!(circle.location.map(|(line, _)| line), Some(3));
    assert_eq!(yaml("jobs: []").code, "out_of_range");
    assert_eq!(yaml("jobs: 5").code, "invalid_type");
    assert_eq!(yaml("jobs: []\nname: x").code, "unknown_field");
    let defaults =
        |lines: &str| yaml(&format!("defaults: {lines}\njobs: [{{name: a, command: [x]}}]"));
    assert_eq!(defaults("{name: x}").field, "defaults.name");
    assert_eq!(defaults("{titel: x}").field, "defaults.titel");
    assert_eq!(defaults("{deadline: x}").location, Some((1, 12)), "the place of the default");
    let taken = "{deadline: x}\njobs: [{name: a, command: [x], deadline: 1h}]";
    let error = yaml(&format!("defaults: {taken}"));
    assert_eq!((error.code, error.field.as_str()), ("invalid_deadline", "defaults.deadline"));
    let wide = format!("{{env: {{A: {}}}}}", "x".repeat(8_000));
    let many = format!("defaults: {wide}\njobs: [{}]", vec!["{name: a}"; 900].join(","));
    assert_eq!(yaml(&many).code, "document_too_large");
}
