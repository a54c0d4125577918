//! The command line, one file a command.

mod ask;
mod audit;
mod backtest;
mod cancel;
mod completions;
mod cost;
mod db;
mod demo;
mod edit;
mod explain;
mod freeze;
mod get;
mod login;
mod logs;
mod machines;
mod offers;
mod pools;
mod ps;
mod quote;
mod resubmit;
mod schema;
mod serve;
mod submit;
mod tokens;
mod validate;
mod version;
mod wait;
mod whose;
mod worker;

use clap::{Parser, Subcommand};

use crate::config::Target;
use crate::exit::Failure;
use crate::output::{Format, Output};

/// The cheapest GPUs on which a job still finishes in time.
///
/// Give spotwise a job, a deadline and a budget. It buys the cheapest capacity
/// on which the job still finishes in time, carries it through every
/// interruption, and says to the cent what it cost, and why.
#[derive(Debug, Parser)]
#[command(name = "spotwise", version, propagate_version = false, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Understood by every command.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// How answers are written: table or json
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        hide_possible_values = true
    )]
    pub(crate) output: Format,
    /// No colours, on a terminal either (as NO_COLOR=1)
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// What every command is given.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// Where answers go.
    pub(crate) output: Output,
    /// Which scheduler to talk to.
    pub(crate) target: Target,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What runs beside other things.
    #[command(flatten)]
    Task(Task),
    Worker(Box<worker::Worker>),
}

/// The commands but the worker; each says at its own place what it does.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    Demo(demo::Demo),
    Serve(Box<serve::Serve>),
    Submit(submit::Submit),
    Validate(validate::Validate),
    Schema(schema::Schema),
    Quote(quote::Quote),
    Ps(ps::Ps),
    Get(get::Get),
    Logs(logs::Logs),
    Explain(explain::Explain),
    Cancel(cancel::Cancel),
    Edit(edit::Edit),
    Wait(wait::Wait),
    Resubmit(resubmit::Resubmit),
    Cost(cost::Cost),
    Offers(offers::Offers),
    Pools(pools::Pools),
    Machines(machines::Machines),
    Tokens(tokens::Tokens),
    Freeze(freeze::FreezeBuying),
    Unfreeze(freeze::Unfreeze),
    Login(login::Login),
    Logout(login::Logout),
    #[command(name = "whoami")]
    WhoAmI(tokens::WhoAmI),
    Audit(audit::Audit),
    Db(db::Db),
    Backtest(backtest::Backtest),
    Version(version::Version),
    Completions(completions::Completions),
}

impl Task {
    /// Does it.
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Demo(command) => Box::pin(command.run(context)).await,
            Self::Serve(command) => Box::pin(command.run(context)).await,
            Self::Submit(command) => Box::pin(command.run(context)).await,
            Self::Validate(command) => command.run(context),
            Self::Schema(command) => command.run(context),
            Self::Quote(command) => command.run(context).await,
            Self::Ps(command) => Box::pin(command.run(context)).await,
            Self::Get(command) => command.run(context).await,
            Self::Logs(command) => command.run(context).await,
            Self::Explain(command) => command.run(context).await,
            Self::Cancel(command) => command.run(context).await,
            Self::Wait(command) => Box::pin(command.run(context)).await,
            Self::Edit(command) => Box::pin(command.run(context)).await,
            Self::Resubmit(command) => Box::pin(command.run(context)).await,
            Self::Cost(command) => command.run(context).await,
            Self::Offers(command) => command.run(context).await,
            Self::Pools(command) => command.run(context).await,
            Self::Machines(command) => command.run(context).await,
            Self::Tokens(command) => command.run(context).await,
            Self::Freeze(command) => command.run(context).await,
            Self::Unfreeze(command) => command.run(context).await,
            Self::Login(command) => Box::pin(command.run(context)).await,
            Self::Logout(command) => command.run(context),
            Self::WhoAmI(command) => command.run(context).await,
            Self::Audit(command) => command.run(context).await,
            Self::Db(command) => Box::pin(command.run(context)).await,
            Self::Backtest(command) => command.run(context),
            Self::Version(command) => command.run(context).await,
            Self::Completions(command) => command.run(context),
        }
    }
}

/// Reads `key=value`.
fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as key=value".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn pairs() {
        assert_eq!(key_value("Team=ml=x"), Ok(("Team".into(), "ml=x".into())));
        assert_eq!(key_value("Team="), Ok(("Team".into(), String::new())));
        assert!(key_value("=x").is_err() && key_value("x").is_err());
    }
}
