//! `spotwise tokens` and `spotwise whoami`: who may do what.

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use spotwise_api::client::credentials;
use spotwise_api::v1::{CallerView, CreateTokenRequest, TokenView};
use spotwise_model::access::Role;

use super::Context;
use crate::exit::{Exit, Failure};
use crate::format::moment;
use crate::output::{Grid, note};
use crate::text::one_line;

/// Say who you are to the scheduler, and what you may do
#[derive(Debug, Args)]
pub(crate) struct WhoAmI {}

/// List tokens; create or revoke one, or print your own
#[derive(Debug, Args)]
pub(crate) struct Tokens {
    #[command(subcommand)]
    command: Option<TokensCommand>,
}

#[derive(Debug, Subcommand)]
enum TokensCommand {
    Create(Create),
    Revoke(Revoke),
    Print(Print),
}

/// Create a token. It is shown once, and kept nowhere
#[derive(Debug, Args)]
struct Create {
    /// The person or program that it is for
    #[arg(value_name = "NAME")]
    subject: String,
    /// What it may do; may be repeated
    #[arg(long, value_name = "ROLE", required = true, value_delimiter = ',',
          value_parser = PossibleValuesParser::new(Role::ALL.map(Role::name)))]
    role: Vec<String>,
    /// Only for jobs with this value of the tag `Team`; may be repeated [default: what you see]
    #[arg(long, value_name = "TEAM", value_delimiter = ',')]
    team: Vec<String>,
    /// How long it is good: 30d, 12h; at most 366d
    #[arg(long, value_name = "DURATION", default_value = "30d")]
    expires_in: String,
    /// It is for a program, not for a person
    #[arg(long)]
    service_account: bool,
}

/// Revoke a token, at once
#[derive(Debug, Args)]
struct Revoke {
    /// Its id, as listed
    #[arg(value_name = "ID")]
    id: String,
}

/// Print the token that this command line uses, for other programs:
/// `curl -H "Authorization: Bearer $(spotwise tokens print)" ...`
#[derive(Debug, Args)]
struct Print {}

impl WhoAmI {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let caller = context.target.connect().await?.who_am_i().await?;
        if context.output.is_json() {
            return context.output.json(&caller);
        }
        context.output.line(one_line(&format!(
            "{} ({}): {} of {}",
            caller.subject,
            caller.kind,
            caller.roles.join(", "),
            teams(&caller)
        )))
    }
}

impl Tokens {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self.command {
            None => list(context).await,
            Some(TokensCommand::Create(command)) => command.run(context).await,
            Some(TokensCommand::Revoke(command)) => command.run(context).await,
            Some(TokensCommand::Print(command)) => command.run(context),
        }
    }
}

impl Create {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let kind = if self.service_account { "service-account" } else { "person" };
        let request = CreateTokenRequest {
            subject: self.subject,
            kind: kind.to_owned(),
            roles: self.role,
            teams: self.team,
            expires_in: self.expires_in,
        };
        let answer = context.target.connect().await?.create_token(request).await?;
        if context.output.is_json() {
            return context.output.json(&answer);
        }
        let token = answer.token.unwrap_or_default();
        let caller = token.caller.unwrap_or_default();
        note(one_line(&format!(
            "{} of {}: {} of {}, until {}; this is shown once",
            token.id,
            caller.subject,
            caller.roles.join(", "),
            teams(&caller),
            moment(&token.expires)
        )));
        context.output.line(answer.secret)
    }
}

impl Revoke {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let token = context.target.connect().await?.revoke_token(&self.id).await?;
        if context.output.is_json() {
            return context.output.json(&token);
        }
        let subject = token.caller.unwrap_or_default().subject;
        context.output.line(one_line(&format!("{} of {subject}: good no more", token.id)))
    }
}

impl Print {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let server = context.target.server()?;
        let first = server.split(',').next().unwrap_or_default();
        let token = credentials::token_for(first)?.ok_or_else(|| {
            let message = format!("no token for {first}: set {}", credentials::VARIABLE);
            Failure::new(Exit::Auth, message)
        })?;
        context.output.line(token)
    }
}

async fn list(context: &Context) -> Result<(), Failure> {
    let answer = context.target.connect().await?.tokens().await?;
    if context.output.is_json() {
        return context.output.json(&answer.tokens);
    }
    if answer.tokens.is_empty() {
        return context.output.line("no tokens");
    }
    let mut grid = Grid::new(&["ID", "FOR", "ROLES", "TEAMS", "STATE", "EXPIRES", "LAST USED"]);
    for token in &answer.tokens {
        grid.row(row(token));
    }
    context.output.table(&grid)
}

fn row(token: &TokenView) -> Vec<String> {
    let caller = token.caller.clone().unwrap_or_default();
    let or_never = |text: &str| if text.is_empty() { "never".to_owned() } else { moment(text) };
    vec![
        token.id.clone(),
        one_line(&caller.subject).to_string(),
        caller.roles.join(","),
        one_line(&teams(&caller)).to_string(),
        token.state.clone(),
        or_never(&token.expires),
        or_never(&token.last_used),
    ]
}

fn teams(caller: &CallerView) -> String {
    if caller.all_teams { "all teams".to_owned() } else { caller.teams.join(", ") }
}
