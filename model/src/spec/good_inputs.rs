//! Documents that must be accepted, and what they mean; and that no input makes the reader
//! panic.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::id::JobId;

const TRAINING: &str = r#"
name: train-resnet
title: "ResNet-50, {{7*7}} <b>bold</b> =1+1"
model: resnet-50
image: registry.example.com:5000/vision/train:1.4
command: [python, train.py, --epochs, 90]
workdir: code
resources: {gpus: ["a100:1", "V100:2"], cpus: 7.5, memory: 16GiB, nodes: 2}
work: {duration: {default: 6h, V100: 9h}}
deadline: 2026-08-01T08:00:00+02:00
budget_usd: 12.50
checkpoint: {dir: out/checkpoints, interval: 10m}
retries: {errors: 2, interruptions: unlimited}
timeout: 1d
env: {DEBUG: true, PORT: 8080, COUNTRY: no, VERSION: "1.10"}
secrets: {HF_TOKEN: "env:TEAM_HF_TOKEN", DB: "file:/run/secrets/db"}
tags: {Team: vision, CostCenter: 0042}
priority: 10
after: [j12]
inputs: [{from: ., to: code}, {from: s3://bucket/data/day=1/, to: data}]
outputs: [out/model.pt, {path: out/metrics}]
"#;

const PIPELINE: &str = r#"
defaults: &d
  command: [python, step.py]
  tags: {Team: vision}
  deadline: 8h
jobs:
- name: prepare
- name: search
  class: dev
  after: [prepare]
  sweep: {seed: [1, 2], lr: [0.1, 0.01], max_parallel: 3}
- name: report
  class: critical
  after: [search, prepare]
  deadline: null
  tags: {}
"#;

fn read(text: &str) -> Submission {
    assert_eq!(schema_tests::takes(text.as_bytes(), Format::Yaml), Some(true), "{text}");
    parse(text.as_bytes(), Format::Yaml).unwrap_or_else(|error| panic!("{error:?}"))
}

#[test]
fn variables_that_are_no_secrets_are_allowed() {
    let pem = |what: &str| {
        format!("env:\n  PEM: |\n    -----BEGIN {what}-----\n    MIIB\n    -----END {what}-----\n")
    };
    for name in [
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_PROFILE",
        "AWS_ENDPOINT_URL",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "PATH",
        "RANK",
        "MASTER_PORT",
        "TOKENIZERS_PARALLELISM",
    ] {
        assert_eq!(one(&format!("env: {{{name}: x}}")).env[name], "x");
    }
    for what in ["CERTIFICATE", "PUBLIC KEY", "RSA PUBLIC KEY", "PGP PUBLIC KEY BLOCK"] {
        assert!(one(&pem(what)).env["PEM"].contains("BEGIN"), "{what}");
    }
    let job = one(
        "env: {DEBUG: true, KEY: {value: AKIAIOSFODNN7EXAMPLE, not_secret: AWS's own example}}",
    );
    assert_eq!(
        (job.env["KEY"].as_str(), job.env["DEBUG"].as_str()),
        ("AKIAIOSFODNN7EXAMPLE", "true")
    );
    assert_eq!(job.not_secret["KEY"], "AWS's own example");
    assert_eq!(job.not_secret.len(), 1);
    let job = one("secrets: {AWS_ACCESS_KEY_ID: \"env:TEAM_KEY\"}");
    assert_eq!(job.secrets["AWS_ACCESS_KEY_ID"], SecretRef::Env { name: "TEAM_KEY".to_owned() });
}

#[test]
fn a_thousand_jobs_of_a_kilobyte_fit() {
    let job = |n: usize| {
        format!("- name: job-{n:04}\n  command: [x]\n  env: {{A: {}}}\n", "x".repeat(980))
    };
    let text: String = std::iter::once("jobs:\n".to_owned()).chain((0..1_000).map(job)).collect();
    assert!(text.len() > 1_000_000 && text.len() <= MAX_DOCUMENT_BYTES, "{}", text.len());
    assert_eq!(parse(text.as_bytes(), Format::Yaml).unwrap().jobs.len(), 1_000);
}

fn one(lines: &str) -> JobSpec {
    read(&format!("name: a\ncommand: [x]\n{lines}")).jobs.remove(0)
}

#[test]
fn a_training_job_means_what_it_says() {
    let job = &read(TRAINING).jobs[0];
    assert_eq!(job.command, ["python", "train.py", "--epochs", "90"]);
    assert_eq!(job.budget, Some(Money::from_micros(12_500_000)));
    assert_eq!(job.deadline, Some(Deadline::At("2026-08-01T06:00:00Z".parse().unwrap())));
    let v100 = Accelerator::new("V100");
    assert_eq!(job.expected_duration(Some(&v100)), Duration::from_secs(9 * 3_600));
    assert_eq!(job.share_on(Some(&v100)).unwrap().gpus, 2);
    assert_eq!(job.share_on(Some(&Accelerator::new("A100"))).unwrap().gpus, 1);
    assert_eq!((job.resources.cpu_milli, job.resources.memory_mib), (7_500, 16_384));
    assert_eq!(job.retries, Retries { errors: 2, interruptions: None });
    let env = |name: &str| job.env[name].as_str();
    assert_eq!(
        [env("DEBUG"), env("PORT"), env("COUNTRY"), env("VERSION")],
        ["true", "8080", "no", "1.10"]
    );
    assert_eq!(job.tags["CostCenter"], "0042");
    assert_eq!(job.secrets["DB"], SecretRef::File { path: "/run/secrets/db".to_owned() });
    assert_eq!(job.after, [Dependency::success(Needed::Id(JobId(12)))]);
    assert_eq!(job.checkpoint.as_ref().unwrap().keep, 3);
    assert_eq!(job.outputs[1].path, "out/metrics");
}

#[test]
fn the_smallest_job_gets_the_defaults() {
    let job = one("");
    assert_eq!(job.class, Class::Training);
    assert_eq!(
        job.resources,
        Resources { gpus: GpuRequest::None, cpu_milli: 1_000, memory_mib: 954, nodes: 1 }
    );
    assert_eq!((job.work, job.deadline, job.budget), (Work::Unknown, None, None));
    assert_eq!(job.retries, Retries { errors: 1, interruptions: None });
    assert!(job.interruptible);
    assert!(!one("class: critical").interruptible);
    assert!(one("class: critical\ninterruptible: true").interruptible, "said is said");
    let checkpoint = one("checkpoint: {}").checkpoint.unwrap();
    assert_eq!(
        checkpoint,
        Checkpoint {
            dir: None,
            interval: Duration::from_secs(900),
            grace: Duration::from_secs(30),
            resumable: true,
            keep: 3,
            bytes: None,
            signal: Default::default(),
        }
    );
}

#[test]
fn gpus_have_short_spellings() {
    let gpus = |text: &str| one(&format!("resources: {{{text}}}")).resources.gpus;
    let whole = |kind: Option<&str>, count| GpuRequest::Whole {
        alternatives: vec![GpuAlternative { accelerator: kind.map(Accelerator::new), count }],
    };
    assert_eq!(gpus("gpus: 2"), whole(None, 2));
    assert_eq!(gpus("gpus: \":2\""), whole(None, 2));
    assert_eq!(gpus("gpus: v100"), whole(Some("V100"), 1));
    assert_eq!(gpus("gpus: \"A100-80GB:8\""), whole(Some("A100-80GB"), 8));
    assert_eq!(gpus("gpus: 0"), GpuRequest::None);
    let slice = |kind: Option<&str>, profile| GpuRequest::Slice {
        profile,
        accelerator: kind.map(Accelerator::new),
    };
    assert_eq!(gpus("mig: 1g.5gb"), slice(None, MigProfile::G1));
    assert_eq!(gpus("mig: \"A100:1g.10gb\""), slice(Some("A100"), MigProfile::G1Double));
}

#[test]
fn a_gpu_may_be_shared_softly() {
    let job = one("resources: {gpus: [L4, T4], gpu_sharing: {mps: 8GiB}}");
    let sharing = SoftSharing::Mps { memory_mib: 8_192 };
    let GpuRequest::Shared { alternatives, sharing: read } = &job.resources.gpus else {
        panic!("{:?}", job.resources.gpus)
    };
    assert_eq!((alternatives.len(), *read), (2, sharing));
    let t4 = Accelerator::new("T4");
    let share = job.share_on(Some(&t4)).expect("a T4 will do");
    assert_eq!((share.gpus, share.mig, share.shared), (0, None, Some(sharing.of(Some(&t4)))));
    assert_eq!(job.share_on(Some(&Accelerator::new("V100"))), None);
    assert_eq!(job.share_on(None), None);
    let turns = one("resources: {gpus: 1, gpu_sharing: {time_slicing: 4}}").resources.gpus;
    assert!(matches!(
        turns,
        GpuRequest::Shared { sharing: SoftSharing::TimeSlicing { jobs: 4 }, .. }
    ));
}

#[test]
fn work_may_be_counted_in_steps() {
    let job = one("work: {steps: 3000, steps_per_hour: {default: 500, V100: 1000}}");
    assert_eq!(job.expected_duration(None), Duration::from_secs(6 * 3_600));
    let v100 = Accelerator::new("V100");
    assert_eq!(job.expected_duration(Some(&v100)), Duration::from_secs(3 * 3_600));
    let job = one("work: {steps: 3000}");
    assert!(matches!(job.work, Work::Steps { total: 3_000, steps_per_hour: None, .. }));
}

#[test]
fn dependencies_have_conditions() {
    let Submission { jobs } = read(
        "jobs:\n- {name: a, command: [x], array: {size: 2}}\n\
         - {name: b, command: [x], sweep: {lr: [1, 2]}, after: [{job: a, elementwise: true}]}\n\
         - {name: c, command: [x], after: [{job: a, on: failed}, {\"job\": j7, \"on\": ended}, b]}",
    );
    assert!(jobs[1].after[0].elementwise && jobs[1].after[0].on == Condition::Succeeded);
    let on: Vec<_> = jobs[2].after.iter().map(|after| after.on).collect();
    assert_eq!(on, [Condition::Failed, Condition::Ended, Condition::Succeeded]);
    assert_eq!(jobs[2].after[1].id(), Some(JobId(7)));
}

#[test]
fn a_pipeline_shares_its_defaults() {
    let Submission { jobs } = read(PIPELINE);
    let [prepare, search, report] = jobs.as_slice() else { panic!("three jobs") };
    assert_eq!(prepare.tags["Team"], "vision");
    assert_eq!(prepare.deadline, Some(Deadline::Within(Duration::from_secs(8 * 3_600))));
    assert_eq!((report.deadline, report.tags.len()), (None, 0), "a job's own field wins");
    assert_eq!(report.after[0], Dependency::success(Needed::Name("search".to_owned())));
    let array = search.array.as_ref().unwrap();
    assert_eq!((array.max_parallel, array.reuse_workers), (Some(3), false));
    assert!(one("array: {size: 2, reuse_workers: true}").array.unwrap().reuse_workers);
    let pairs: Vec<_> = array
        .elements
        .iter()
        .map(|e| (e["SPOTWISE_PARAM_LR"].as_str(), e["SPOTWISE_PARAM_SEED"].as_str()))
        .collect();
    assert_eq!(pairs, [("0.1", "1"), ("0.1", "2"), ("0.01", "1"), ("0.01", "2")]);
    assert_eq!(one("array: {size: 10000}").array.unwrap().elements.len(), 10_000);
}

#[test]
fn text_for_people_is_kept_as_it_is() {
    for title in [
        "<script>alert(1)</script>",
        "{{7*7}}",
        "${{x}}",
        "=HYPERLINK(1)",
        "@SUM",
        "-1",
        "＝1",
        "Größe 👩‍👩‍👧 نمی‌خواهم",
    ] {
        assert_eq!(one(&format!("title: \"{title}\"")).title.as_deref(), Some(title));
    }
    for image in ["python:3.13-slim", "localhost/x", "ghcr.io/Team/x".to_lowercase().as_str()] {
        assert_eq!(one(&format!("image: {image}")).image.as_deref(), Some(image));
    }
    let digest = format!("a/b:1@sha256:{}", "0a".repeat(32));
    assert_eq!(one(&format!("image: {digest}")).image, Some(digest));
    assert_eq!(one("workdir: /opt/app").workdir.as_deref(), Some("/opt/app"));
}

#[test]
fn yaml_and_json_mean_the_same() {
    let yaml =
        "\u{feff}%YAML 1.2\n---\nname: a\ncommand: &c [x, \"1\"]\nbudget_usd: 0.10\nenv: {N: 5}\n";
    let json = r#" {"env": {"N": 5}, "budget_usd": 0.1, "title": null,
        "command": ["x", 1], "name": "a"} "#;
    let json = parse(json.as_bytes(), Format::Json).unwrap();
    assert_eq!(parse(yaml.as_bytes(), Format::Yaml).unwrap(), json);
    assert_eq!(canonical(&read(yaml)), canonical(&json));
    assert_ne!(canonical(&read(TRAINING)), canonical(&json));
}

#[test]
fn the_canonical_text_holds_everything() {
    #[derive(serde::Deserialize)]
    struct Canonical {
        jobs: Vec<JobSpec>,
    }
    for document in [TRAINING, PIPELINE] {
        let submission = read(document);
        let read: Canonical = serde_json::from_str(&canonical(&submission)).unwrap();
        assert_eq!(read.jobs, submission.jobs);
    }
}

/// Parses both ways; a refusal must name a code.
fn survives(bytes: &[u8]) {
    for format in [Format::Yaml, Format::Json] {
        if let Err(error) = parse(bytes, format) {
            assert!(!error.code.is_empty() && error.message.len() < 2_000, "{error:?}");
        }
    }
}

/// A valid document with a few bytes replaced, removed or doubled.
fn mutate(document: &str, edits: &[(usize, u8, u8)]) -> Vec<u8> {
    /// Bytes that mean something to a parser.
    const SHARP: &[u8] = b"\0\n\t :,-[]{}&*!|>'\"%@`#?<~\\.0e\xff\xc3";
    let mut bytes = document.as_bytes().to_vec();
    for (place, kind, byte) in edits {
        let at = place % bytes.len();
        let sharp = SHARP[usize::from(*byte) % SHARP.len()];
        match kind % 5 {
            0 => bytes[at] = *byte,
            1 => bytes[at] = sharp,
            2 => bytes.insert(at, sharp),
            3 => drop(bytes.drain(at..(at + usize::from(*byte) % 40).min(bytes.len() - 1))),
            _ => bytes.extend_from_within(at..(at + 30).min(bytes.len())),
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        survives(&bytes);
    }

    #[test]
    fn random_yaml_signs_never_panic(text in "[-a1 \n:,\\[\\]{}&*!|>'\"%#?~<.]{0,80}") {
        survives(text.as_bytes());
    }

    #[test]
    fn mutated_documents_never_panic(
        which in 0usize..3,
        edits in proptest::collection::vec(any::<(usize, u8, u8)>(), 1..6),
    ) {
        let json = canonical(&parse(PIPELINE.as_bytes(), Format::Yaml).unwrap());
        survives(&mutate([TRAINING, PIPELINE, &json][which], &edits));
    }
}

#[test]
fn data_and_checkpoints_have_a_size_in_bytes() {
    let job = one("data: {region: eu-west-2, size: 160.5GB}\ncheckpoint: {size: 2GiB}");
    let data = job.data.unwrap();
    assert_eq!((data.region.as_str(), data.bytes), ("eu-west-2", 160_500_000_000));
    assert_eq!(job.checkpoint.unwrap().bytes, Some(2 << 30));
    assert_eq!(one("").data, None);
}
