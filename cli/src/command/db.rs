//! `spotwise db`: backup, restore, check and migrate the scheduler's database.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;
use spotwise_store::{BackupReport, CheckReport, Location};

use super::Context;
use super::serve::{default_data_dir, location};
use crate::exit::{Exit, Failure, chain};
use crate::output::Output;
use crate::text::one_line;

/// Look after the scheduler's database
#[derive(Debug, Args)]
pub(crate) struct Db {
    #[command(subcommand)]
    task: Task,
}

/// Where the database is.
#[derive(Debug, Args)]
struct Place {
    /// Folder of the scheduler. Default: .spotwise if it exists here, else
    /// $XDG_DATA_HOME/spotwise
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A path, or postgres://USER@HOST/DATABASE with its password in the file that
    /// PGPASSFILE names. Default: spotwise.db in the data folder
    #[arg(long, value_name = "URL|PATH", env = "SPOTWISE_DATABASE_URL", hide_env_values = true)]
    database: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Write everything into one file; the scheduler may run meanwhile
    Backup {
        #[command(flatten)]
        place: Place,
        /// The file to write
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Overwrite the file if it exists
        #[arg(long)]
        force: bool,
    },
    /// Put a backup into a new, empty database, of either kind
    Restore {
        #[command(flatten)]
        place: Place,
        /// The backup
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Look for damage and contradictions; exit code 1 where there are any
    Check {
        #[command(flatten)]
        place: Place,
    },
    /// Bring the schema up to date, as `serve` does when it starts
    Migrate {
        #[command(flatten)]
        place: Place,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

impl Place {
    fn location(self) -> Result<Location, Failure> {
        if let Some(text) = self.database {
            return location(&text);
        }
        let folder = self.data_dir.or_else(default_data_dir).ok_or_else(|| {
            Failure::usage("neither XDG_DATA_HOME nor HOME is set: name a folder with --data-dir")
        })?;
        Ok(folder.join("spotwise.db").into())
    }
}

impl Db {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let output = &context.output;
        let now = Timestamp::now();
        match self.task {
            Task::Backup { place, file, force } => {
                let done = spotwise_store::backup(&place.location()?, &file, force, now).await;
                told(output, "backed up", &done.map_err(|e| failed(&e))?)
            }
            Task::Restore { place, file } => {
                let done = spotwise_store::restore(&place.location()?, &file, now).await;
                told(output, "restored", &done.map_err(|e| failed(&e))?)
            }
            Task::Check { place } => {
                let report =
                    spotwise_store::check(&place.location()?).await.map_err(|e| failed(&e))?;
                findings(output, &report)
            }
            Task::Migrate { place, dry_run } => {
                let done = spotwise_store::migrate(&place.location()?, dry_run).await;
                let done = done.map_err(|e| failed(&e))?;
                if output.is_json() {
                    let changed = !dry_run && done.from != done.to;
                    return output
                        .json(&json!({ "from": done.from, "to": done.to, "changed": changed }));
                }
                output.line(match (done.from == done.to, dry_run) {
                    (true, _) => format!("schema {} is up to date", done.to),
                    (false, true) => format!("schema {} would become {}", done.from, done.to),
                    (false, false) => format!("schema {} became {}", done.from, done.to),
                })
            }
        }
    }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(Exit::Failed, chain(error))
}

fn told(output: &Output, what: &str, report: &BackupReport) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(report);
    }
    let rows: u64 = report.rows.values().sum();
    let BackupReport { schema, round, made, .. } = report;
    output.line(format!("{what}: {rows} rows, schema {schema}, round {round}, made {made}"))
}

fn findings(output: &Output, report: &CheckReport) -> Result<(), Failure> {
    let rows: u64 = report.rows.values().sum();
    if output.is_json() {
        output.json(report)?;
    } else {
        for finding in &report.findings {
            let row =
                if finding.row.is_empty() { String::new() } else { format!(" {}", finding.row) };
            output.line(one_line(&format!(
                "{}{row}: {}; {}",
                finding.table, finding.problem, finding.remedy
            )))?;
        }
        output.line(format!("schema {}, {rows} rows, {} findings", report.schema, report.found))?;
    }
    if report.found == 0 { Ok(()) } else { Err(Failure::said(Exit::Failed)) }
}
