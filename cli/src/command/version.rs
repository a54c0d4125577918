//! `spotwise version`.

use clap::Args;
use serde_json::json;

use super::Context;
use crate::exit::Failure;
use crate::text::one_line;

/// Print the versions of this program and of the scheduler.
#[derive(Debug, Args)]
pub(crate) struct Version {
    /// Only this program: ask no scheduler
    #[arg(long)]
    client: bool,
}

const OWN: &str = env!("CARGO_PKG_VERSION");

impl Version {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let output = &context.output;
        if self.client {
            return if output.is_json() {
                output.json(&json!({ "client": OWN }))
            } else {
                output.line(format!("spotwise {OWN}"))
            };
        }
        let server = context.target.server()?;
        // The own version is worth knowing where no scheduler answers, too.
        let info = match context.target.connect().await {
            Ok(client) => Some(client.info().await?),
            Err(failure) if failure.exit() == Some(crate::exit::Exit::Unavailable) => None,
            Err(failure) => return Err(failure),
        };
        if output.is_json() {
            let scheduler = info.as_ref().map(|info| info.version.as_str());
            return output
                .json(&json!({ "client": OWN, "server": server, "scheduler": scheduler }));
        }
        output.line(format!("spotwise {OWN}"))?;
        let scheduler = info.map_or_else(|| "does not answer".to_owned(), |info| info.version);
        output.line(one_line(&format!("scheduler at {server}: {scheduler}")))
    }
}
