//! Refused for the value of one field.

use super::super::{Format, check_deadline, parse};
use super::{json, table, values, with, yaml};

#[test]
fn rows_8_to_10_money_is_a_plain_decimal() {
    let amounts = [
        ".nan",
        ".inf",
        "-.inf",
        "-1",
        "-0",
        "1e308",
        "1e400",
        "0x10",
        "\"12,50\"",
        "1_000",
        "+1",
        "0.0000001",
        "9.3e12",
        "9300000000000",
        "\"\"",
        "\" 1\"",
        "true",
        "$5",
        "１",
    ];
    values("budget_usd", "invalid_money", &amounts);
    values("budget_usd", "out_of_range", &["0", "0.00", "\"0\""]);
    for number in ["-0", "-1", "1e308", "0.0000001", "9300000000000", "true", "\"1e3\""] {
        let text = format!("{{\"name\": \"a\", \"command\": [\"x\"], \"budget_usd\": {number}}}");
        assert_eq!(json(&text).code, "invalid_money", "{number}");
    }
}

#[test]
fn row_11_deadlines_have_a_zone_and_a_sane_year() {
    values(
        "deadline",
        "invalid_deadline",
        &[
            "9999-12-31T23:59:59Z",
            "1970-01-01T00:00:00Z",
            "2026-08-01T24:00:00Z",
            "2026-08-01T08:00:00",
            "2026-08-01",
            "2026-02-30T08:00:00Z",
            "2026-08-01T08:00Z",
            "2026-08-01 08:00:00Z",
            "2026-08-01T08:00:60Z",
            "2026-08-01T08:00:00.Z",
            "2026-08-01T08:00:00+0200",
            "\"2026-08-01T08:00:00Z[Europe/Berlin]\"",
            "20260801T080000Z",
            "tomorrow",
            "5",
            "-8h",
            "0h",
            "900d",
            "\"\"",
            "2026-08-01T08:00:0Ｚ",
            "\"2026-08-01T08:00:00é\"",
        ],
    );
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    let job =
        &parse(with("deadline: 2026-08-01T08:00:00Z").as_bytes(), Format::Yaml).unwrap().jobs[0];
    let code = |now| check_deadline(job, at(now)).map_err(|error| error.code);
    assert_eq!(code("2026-08-01T07:59:59Z"), Ok(()));
    assert_eq!(code("2026-08-01T08:00:00Z"), Err("deadline_in_the_past"));
    assert_eq!(code("2027-01-01T00:00:00Z"), Err("deadline_in_the_past"));
    assert_eq!(code("2025-07-01T00:00:00Z"), Err("deadline_too_far"));
}

#[test]
fn row_12_durations_have_units() {
    let bad = ["1e9h", "-5m", "5", "PT", "PT5M", "\"\"", "0s", "1.5h", "forever"];
    for field in ["timeout", "work.duration", "checkpoint.interval", "checkpoint.grace"] {
        for value in bad {
            let lines = match field.split_once('.') {
                Some((outer, inner)) => format!("{outer}: {{{inner}: {value}}}"),
                None => format!("{field}: {value}"),
            };
            table(&[(lines.as_str(), "invalid_duration", field)]);
        }
    }
    table(&[
        ("work: {duration: {V100: 5}}", "invalid_duration", "work.duration.V100"),
        ("work: {duration: {V100: 5h, v100: 6h}}", "duplicate_key", "work.duration.v100"),
        ("work: {duration: {}}", "out_of_range", "work.duration"),
        ("work: {duration: {a/b: 1h}}", "invalid_accelerator", "work.duration[`a/b`]"),
        ("work: {duration: 2h, steps: 5}", "conflicting_fields", "work"),
        ("work: {}", "missing_field", "work"),
        ("work: {steps_per_hour: 5}", "missing_field", "work.steps"),
        ("work: {steps: 0}", "out_of_range", "work.steps"),
        ("work: {steps: 5, steps_per_hour: 0}", "invalid_number", "work.steps_per_hour"),
        ("checkpoint: {grace: 2h}", "out_of_range", "checkpoint.grace"),
        ("checkpoint: {keep: 1}", "out_of_range", "checkpoint.keep"),
        ("checkpoint: {size: 0GB}", "out_of_range", "checkpoint.size"),
        ("checkpoint: {resumable: \"true\"}", "invalid_boolean", "checkpoint.resumable"),
        ("interruptible: yes", "invalid_boolean", "interruptible"),
    ]);
}

#[test]
fn row_13_names_are_dns_labels() {
    let long = "x".repeat(64);
    let huge = "x".repeat(60_000);
    for name in
        ["\"\"", "\"   \"", "A", "a_b", "-a", "a-", "a.b", "ä", "аcme", "j12", "../x", &long, &huge]
    {
        let error = yaml(&format!("name: {name}\ncommand: [x]"));
        assert_eq!((error.code, error.field.as_str()), ("invalid_name", "name"), "{name}");
        assert!(error.message.len() < 300, "messages stay short");
    }
}

#[test]
fn rows_17_and_20_titles_hide_nothing() {
    let long = "x".repeat(201);
    values(
        "title",
        "invalid_title",
        &[
            r#""a\0b""#,
            r#""a\u202Eb""#,
            r#""a\u200Bb""#,
            r#""x\nINFO admin login ok""#,
            r#""\e[31m""#,
            r#""a\tb""#,
            r#""a\u2028b""#,
            r#""a\uFEFFb""#,
            "\"\"",
            "\"  \"",
            &long,
        ],
    );
    values("model", "invalid_model", &["\"\"", "=x", "\"a b\"", "../x", r#""a\nb""#]);
}

#[test]
fn rows_22_and_23_commands_are_lists() {
    let command = |value: &str| yaml(&format!("name: a\ncommand: {value}"));
    let error = command("train.py; curl evil");
    assert_eq!((error.code, error.field.as_str()), ("command_not_a_list", "command"));
    assert!(error.message.contains(r#"["sh", "-c", "..."]"#), "{error}");
    let many = format!("[{}]", vec!["x"; 1_001].join(","));
    let wide = format!("[{}]", "x".repeat(33_000));
    for bad in ["[]", "[\"\"]", r#"["a\0b"]"#, &many, &wide] {
        assert_eq!(command(bad).code, "invalid_command");
    }
    assert_eq!(command("{a: b}").code, "invalid_type");
    assert_eq!(command("[[a]]").field, "command[0]");
}

#[test]
fn rows_27_and_28_images_and_sources_have_one_grammar() {
    let long = "x".repeat(4_096);
    values(
        "image",
        "invalid_image",
        &[
            "../../x",
            ";id",
            "http://x",
            "https://x/y",
            "\"\"",
            "a//b",
            "/a",
            "a/",
            "A/B",
            "a:b:c",
            "a@sha256:12",
            "\"a b\"",
            "\"a:\"",
            "-x",
            "host:0/a",
            r#""a\n""#,
            &long,
        ],
    );
    for from in [
        "ext::sh -c x",
        "--upload-pack=x",
        "file:///etc",
        "http://x/y",
        "https://x/y",
        "../x",
        "a/../b",
        "~/x",
        "s3://b",
        "s3://bucket/../other",
        "s3://bucket/a//b",
        "s3://BUCKET/x",
        "gs://b/x",
        "",
        "git@host:x",
        r"a\\b",
        "s3://bucket/%2e%2e/x",
    ] {
        let lines = format!("inputs: [{{from: \"{from}\", to: x}}]");
        table(&[(lines.as_str(), "invalid_source", "inputs[0].from")]);
    }
}

#[test]
fn row_29_paths_stay_below_the_working_folder() {
    let paths = [
        "../../etc/passwd",
        "..%2f",
        "%252e%252e",
        r"..\\..",
        "/abs",
        "file://x",
        "s3://bucket/../other",
        "a/./b",
        "a//b",
        "",
        "a/",
        ".",
        "..",
        r"a\0b",
        "a b",
        "ä",
        "~",
    ];
    for path in paths {
        table(&[
            (&format!("checkpoint: {{dir: \"{path}\"}}"), "invalid_path", "checkpoint.dir"),
            (&format!("outputs: [\"{path}\"]"), "invalid_path", "outputs[0]"),
            (&format!("outputs: [{{path: \"{path}\"}}]"), "invalid_path", "outputs[0].path"),
            (&format!("inputs: [{{from: x, to: \"{path}\"}}]"), "invalid_path", "inputs[0].to"),
        ]);
    }
    let in_workdir: Vec<String> =
        paths.iter().filter(|p| **p != "/abs").map(|p| format!("\"{p}\"")).collect();
    let in_workdir: Vec<&str> = in_workdir.iter().map(String::as_str).collect();
    values("workdir", "invalid_path", &in_workdir);
    values("workdir", "invalid_path", &["/", "//a", "/a/../b"]);
    table(&[("inputs: [{from: a, to: x}, {from: b, to: x}]", "duplicate_path", "inputs[1].to")]);
}

#[test]
fn row_68_resources_are_those_of_a_machine() {
    let rows = [
        ("gpus: 0.5", "fractional_gpu", "gpus"),
        ("gpus: \"A100:0.5\"", "fractional_gpu", "gpus"),
        ("gpus: 1000000", "out_of_range", "gpus"),
        ("gpus: 99999999999999999999", "out_of_range", "gpus"),
        ("gpus: \"V100:0\"", "out_of_range", "gpus"),
        ("gpus: -1", "invalid_gpus", "gpus"),
        ("gpus: \"V100:x\"", "invalid_gpus", "gpus"),
        ("gpus: \"\"", "invalid_gpus", "gpus"),
        ("gpus: \"A100:1g.5gb\"", "invalid_gpus", "gpus"),
        ("gpus: []", "out_of_range", "gpus"),
        ("gpus: [\"V100:1\", \"v100:2\"]", "duplicate_gpu", "gpus[1]"),
        ("gpus: [\"V100:1\", \"<b>:2\"]", "invalid_accelerator", "gpus[1]"),
        ("gpus: {V100: 1}", "invalid_type", "gpus"),
        ("gpus: 1\n  mig: 1g.5gb", "conflicting_fields", "mig"),
        ("mig: 9g.5gb", "invalid_mig", "mig"),
        ("mig: \"V100:1g.5gb\"", "invalid_mig", "mig"),
        ("mig: \"H100:1g.5gb\"", "invalid_mig", "mig"),
        ("gpu_sharing: {mps: 8GB}", "invalid_sharing", "gpu_sharing"),
        ("gpus: 2\n  gpu_sharing: {mps: 8GB}", "invalid_sharing", "gpu_sharing"),
        ("gpus: [\"L4:1\", \"T4:2\"]\n  gpu_sharing: {mps: 8GB}", "invalid_sharing", "gpu_sharing"),
        ("mig: 1g.5gb\n  gpu_sharing: {mps: 8GB}", "conflicting_fields", "gpu_sharing"),
        ("gpus: 1\n  gpu_sharing: {}", "invalid_sharing", "gpu_sharing"),
        ("gpus: 1\n  gpu_sharing: {mps: 8GB, time_slicing: 4}", "invalid_sharing", "gpu_sharing"),
        ("gpus: 1\n  gpu_sharing: {mps: 8}", "invalid_memory", "gpu_sharing.mps"),
        ("gpus: 1\n  gpu_sharing: {mps: 0GB}", "out_of_range", "gpu_sharing.mps"),
        ("gpus: 1\n  gpu_sharing: {time_slicing: 1}", "out_of_range", "gpu_sharing.time_slicing"),
        ("gpus: 1\n  gpu_sharing: {time_slicing: 65}", "out_of_range", "gpu_sharing.time_slicing"),
        ("gpus: 1\n  gpu_sharing: {time_slicing: x}", "invalid_number", "gpu_sharing.time_slicing"),
        ("gpus: 1\n  gpu_sharing: {turns: 4}", "unknown_field", "gpu_sharing.turns"),
        ("gpus: 1\n  gpu_sharing: mps", "invalid_type", "gpu_sharing"),
        ("cpus: 0", "out_of_range", "cpus"),
        ("cpus: -1", "invalid_number", "cpus"),
        ("cpus: .inf", "invalid_number", "cpus"),
        ("memory: 0GB", "out_of_range", "memory"),
        ("memory: 16", "invalid_memory", "memory"),
        ("memory: 999999TB", "out_of_range", "memory"),
        ("nodes: 0", "out_of_range", "nodes"),
        ("nodes: 1001", "out_of_range", "nodes"),
        ("nodes: -1", "out_of_range", "nodes"),
        ("nodes: 0x2", "invalid_number", "nodes"),
        ("nodes: \"2\"", "invalid_number", "nodes"),
        ("nodes: 99999999999999999999999999999999999999999999", "out_of_range", "nodes"),
    ];
    for (lines, code, field) in rows {
        let field = format!("resources.{field}");
        table(&[(&format!("resources:\n  {lines}"), code, &field)]);
    }
}

#[test]
fn row_70_arrays_have_at_most_10_000_elements() {
    let wide: Vec<String> = (0..101).map(|n| n.to_string()).collect();
    let wide = format!("sweep: {{a: [{0}], b: [{0}]}}", wide.join(","));
    table(&[
        ("array: {size: 0}", "out_of_range", "array.size"),
        ("array: {size: 1000000000}", "out_of_range", "array.size"),
        ("array: {size: 10001}", "out_of_range", "array.size"),
        ("array: {size: 2, max_parallel: 0}", "out_of_range", "array.max_parallel"),
        ("array: {size: 2, reuse_workers: 1}", "invalid_boolean", "array.reuse_workers"),
        (
            "array: {size: 2, reuse_workers: true}\nresources: {nodes: 2}",
            "conflicting_fields",
            "array.reuse_workers",
        ),
        ("array: {size: 2}\nsweep: {a: [1]}", "conflicting_fields", "sweep"),
        (&wide, "out_of_range", "sweep"),
        ("sweep: {a: []}", "out_of_range", "sweep.a"),
        ("sweep: {a: 1}", "invalid_type", "sweep.a"),
        ("sweep: {a: [1], A: [1]}", "duplicate_key", "sweep.a"),
        ("sweep: {a b: [1]}", "invalid_variable", "sweep[`a b`]"),
        ("sweep: {max_parallel: 2}", "out_of_range", "sweep"),
        ("sweep: {a: [1], max_parallel: [2]}", "invalid_number", "sweep.max_parallel"),
        ("sweep: {a: [AKIAIOSFODNN7EXAMPLE]}", "secret_in_plain_text", "sweep.a[0]"),
    ]);
    let job = |n: usize| format!("{{name: a{n}, command: [x], array: {{size: 6000}}}}");
    let error = yaml(&format!("jobs: [{}, {}]", job(1), job(2)));
    assert_eq!((error.code, error.field.as_str()), ("too_many_jobs", "jobs[1].array.size"));
}

#[test]
fn rows_71_and_72_priorities_and_tags_are_bounded() {
    values("priority", "out_of_range", &["101", "-101", "9223372036854775807"]);
    values("priority", "invalid_number", &["1e2", "high", "+1", "010"]);
    values("class", "unknown_value", &["trainin", "Training", "\"\""]);
    assert!(yaml(&with("class: trainin")).message.contains("`training`"));
    for key in ["a b", "kubernetes.io/x", "node.kubernetes.io/x", "aws:x", "x:y", "spotwise/job"] {
        assert_eq!(yaml(&with(&format!("tags: {{\"{key}\": x}}"))).code, "invalid_tag", "{key}");
    }
    let (key, value) = ("x".repeat(64), "x".repeat(256));
    let many: Vec<String> = (0..51).map(|n| format!("k{n}: v")).collect();
    let many = format!("tags: {{{}}}", many.join(", "));
    table(&[
        (&format!("tags: {{{key}: x}}"), "invalid_tag", &format!("tags.{key}")),
        (&format!("tags: {{a: {value}}}"), "invalid_tag", "tags.a"),
        (r#"tags: {a: "x\ny"}"#, "invalid_tag", "tags.a"),
        (&many, "out_of_range", "tags"),
        ("retries: {errors: 101}", "out_of_range", "retries.errors"),
        ("retries: {interruptions: many}", "invalid_number", "retries.interruptions"),
    ]);
}

#[test]
fn data_lies_in_a_region_and_has_a_size_with_its_unit() {
    table(&[
        ("data: {region: us-east-1}", "missing_field", "data.size"),
        ("data: {size: 160GB}", "missing_field", "data.region"),
        ("data: {region: us-east-1, size: 160}", "invalid_size", "data.size"),
        ("data: {region: us-east-1, size: -1GB}", "invalid_size", "data.size"),
        ("data: {region: us-east-1, size: 0GB}", "out_of_range", "data.size"),
        ("data: {region: us-east-1, size: 10001TB}", "out_of_range", "data.size"),
        ("data: {region: us-east-1a, size: 160GB}", "invalid_region", "data.region"),
        ("data: {region: \"US East\", size: 160GB}", "invalid_region", "data.region"),
        ("data: {region: \"\", size: 160GB}", "invalid_region", "data.region"),
        ("data: {region: us-east-1, gb: 160}", "unknown_field", "data.gb"),
        ("data: us-east-1", "invalid_type", "data"),
    ]);
}
