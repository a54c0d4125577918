//! Refused variables and secrets.

use super::{table, with, yaml};

#[test]
fn rows_24_and_25_variables_are_the_jobs_own() {
    for name in [
        "LD_PRELOAD",
        "SPOTWISE_TOKEN",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "ld_preload",
        "BASH_ENV",
        "CUDA_VISIBLE_DEVICES",
    ] {
        let field = format!("env.{name}");
        table(&[(&format!("env: {{{name}: x}}"), "reserved_variable", &field)]);
        table(&[(&format!("secrets: {{A: \"env:{name}\"}}"), "reserved_variable", "secrets.A")]);
    }
    for name in ["AWS_REGION", "AWS_PROFILE"] {
        let secret = format!("secrets: {{A: \"env:{name}\"}}");
        table(&[(&secret, "reserved_variable", "secrets.A")]);
    }
    for name in ["RANK", "MASTER_ADDR", "PET_NNODES"] {
        let gang = format!("resources: {{nodes: 2}}\nenv: {{{name}: x}}");
        table(&[(&gang, "reserved_variable", &format!("env.{name}"))]);
    }
    for name in ["\"A=B\"", "\"\"", "1A", "a-b", "ä", r#""A\0""#] {
        assert_eq!(yaml(&with(&format!("env: {{{name}: x}}"))).code, "invalid_variable", "{name}");
    }
    for value in ["AKIAIOSFODNN7EXAMPLE", "\"x -----BEGIN RSA PRIVATE KEY-----\"", "ghp_abc"] {
        let error = yaml(&with(&format!("env: {{KEY: {value}}}")));
        assert_eq!((error.code, error.field.as_str()), ("secret_in_plain_text", "env.KEY"));
        assert!(error.message.contains("`secrets:"), "{error}");
        assert!(error.message.contains("not_secret"), "{error}");
        assert!(!error.message.contains("AKIA"), "a secret is never repeated");
    }
    let credentials = yaml(&with("env: {AWS_SECRET_ACCESS_KEY: x}"));
    assert!(credentials.message.contains("`secrets: {AWS_SECRET_ACCESS_KEY:"), "{credentials}");
    table(&[
        ("env: {A: {value: x, not_secret: no}}", "invalid_reason", "env.A.not_secret"),
        ("env: {A: {not_secret: a test key}}", "missing_field", "env.A.value"),
        ("env: {A: {value: x, why: no}}", "unknown_field", "env.A.why"),
        ("env: {A: [x]}", "invalid_type", "env.A"),
        (r#"env: {A: {value: "x\0", not_secret: a test key}}"#, "invalid_variable", "env.A.value"),
    ]);
    assert_eq!(yaml("name: a\ncommand: [x, AKIAIOSFODNN7EXAMPLE]").field, "command[1]");
    table(&[
        (r#"env: {A: "x\0"}"#, "invalid_variable", "env.A"),
        ("env: {A: x}\nsecrets: {A: \"env:B\"}", "duplicate_variable", "secrets.A"),
        ("secrets: {A: hunter2}", "invalid_secret", "secrets.A"),
        ("secrets: {A: \"file:relative\"}", "invalid_secret", "secrets.A"),
        ("secrets: {A: \"file:/a/../b\"}", "invalid_secret", "secrets.A"),
        ("secrets: {A: \"file:/proc/self/environ\"}", "invalid_secret", "secrets.A"),
    ]);
}
