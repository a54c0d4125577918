//! `spotwise freeze` and `spotwise unfreeze`.

use clap::Args;
use spotwise_api::v1::SetFreezeRequest;

use super::Context;
use crate::exit::Failure;
use crate::text::one_line;

/// Stop all buying, at once
///
/// Nothing is started and no machine is asked for until `unfreeze`. What runs
/// goes on, and costs; `cancel` ends it.
#[derive(Debug, Args)]
pub(crate) struct FreezeBuying {
    /// Why, for those who wait
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

/// Let buying go on
#[derive(Debug, Args)]
pub(crate) struct Unfreeze {}

impl FreezeBuying {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        set(context, SetFreezeRequest { frozen: true, reason: self.reason }).await
    }
}

impl Unfreeze {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        set(context, SetFreezeRequest::default()).await
    }
}

async fn set(context: &Context, request: SetFreezeRequest) -> Result<(), Failure> {
    let freeze = context.target.connect().await?.set_freeze(request).await?;
    if context.output.is_json() {
        return context.output.json(&freeze);
    }
    if !freeze.frozen {
        return context.output.line("buying goes on");
    }
    let because = if freeze.reason.is_empty() { "" } else { ": " };
    context.output.line(one_line(&format!(
        "nothing is bought since {}, by order of {}{because}{}; what runs goes on",
        freeze.since, freeze.by, freeze.reason
    )))
}
