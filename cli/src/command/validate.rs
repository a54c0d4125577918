//! `spotwise validate`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::Context;
use crate::document::Document;
use crate::exit::{Exit, Failure};
use crate::format::count;
use crate::output::note;
use crate::text::one_line;

/// Check job files, without a scheduler. The first mistake of each is one line:
/// `file:line:column: field: what is wrong [code]`.
#[derive(Debug, Args)]
pub(crate) struct Validate {
    /// Job files, YAML or JSON; `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Validate {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let output = &context.output;
        let several = self.files.len() > 1;
        let mut results = Vec::new();
        let mut good = true;
        for path in &self.files {
            match Document::read(path) {
                Ok(document) => {
                    let jobs = document.jobs();
                    results.push(json!({ "file": document.name, "valid": true, "jobs": jobs }));
                    if !output.is_json() {
                        let file =
                            if several { format!("{}: ", document.name) } else { String::new() };
                        output.line(one_line(&format!("{file}ok: {}", count(jobs, "job"))))?;
                    }
                }
                Err(defect) => {
                    good = false;
                    if !output.is_json() {
                        note(one_line(&defect.to_string()));
                    }
                    results.push(json!({ "file": defect.file, "valid": false, "error": defect }));
                }
            }
        }
        if output.is_json() {
            output.json(&results)?;
        }
        if good { Ok(()) } else { Err(Failure::said(Exit::Usage)) }
    }
}
