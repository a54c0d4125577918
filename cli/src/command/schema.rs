//! `spotwise schema`.

use clap::Args;

use super::Context;
use crate::exit::Failure;

/// Print the JSON Schema of job files, for editors and other programs.
#[derive(Debug, Args)]
pub(crate) struct Schema {}

impl Schema {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        context.output.json(&spotwise_model::spec::json_schema())
    }
}
