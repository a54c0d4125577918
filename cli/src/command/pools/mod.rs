//! `spotwise pools`: what pools there are, and the operator's file that says so.

mod list;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use spotwise_model::pools_file;

use super::Context;
use crate::document::read_pools;
use crate::exit::{Exit, Failure};
use crate::format::count;
use crate::output::note;
use crate::text::one_line;

/// List pools, where capacity comes from; show one, or check the file that declares them
#[derive(Debug, Args)]
pub(crate) struct Pools {
    #[command(subcommand)]
    command: Option<PoolsCommand>,
}

#[derive(Debug, Subcommand)]
enum PoolsCommand {
    Show(list::Show),
    Validate(Validate),
    Schema(Schema),
}

/// Check pools files, without a scheduler. Each mistake is one line:
/// `file:line:column: field: what is wrong [code]`
#[derive(Debug, Args)]
struct Validate {
    /// Pools files, YAML; `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Print the JSON Schema of pools files, for editors and other programs
#[derive(Debug, Args)]
struct Schema {}

impl Pools {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self.command {
            None => list::list(context).await,
            Some(PoolsCommand::Show(command)) => command.run(context).await,
            Some(PoolsCommand::Validate(command)) => command.run(context),
            Some(PoolsCommand::Schema(Schema {})) => {
                context.output.json(&pools_file::json_schema())
            }
        }
    }
}

impl Validate {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let output = &context.output;
        let several = self.files.len() > 1;
        let mut results = Vec::new();
        let mut good = true;
        for path in &self.files {
            let (name, read) = read_pools(path);
            match read {
                Ok(file) => {
                    let pools = file.set.pools.len();
                    results.push(json!({ "file": name, "valid": true, "pools": pools }));
                    if !output.is_json() {
                        let file = if several { format!("{name}: ") } else { String::new() };
                        output.line(one_line(&format!("{file}ok: {}", count(pools, "pool"))))?;
                    }
                }
                Err(defects) => {
                    good = false;
                    if !output.is_json() {
                        defects.errors.iter().for_each(|one| note(one_line(&one.to_string())));
                        if defects.more > 0 {
                            note(one_line(&format!("{name}: {} more", defects.more)));
                        }
                    }
                    results.push(json!({
                        "file": name, "valid": false,
                        "errors": defects.errors, "more": defects.more,
                    }));
                }
            }
        }
        if output.is_json() {
            output.json(&results)?;
        }
        if good { Ok(()) } else { Err(Failure::said(Exit::Usage)) }
    }
}
