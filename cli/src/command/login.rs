//! `spotwise login` and `spotwise logout`: whom to believe, and who one is.

use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;

use clap::Args;
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use spotwise_api::client::{Client, credentials};
use spotwise_api::trust::{self, Fingerprint};
use tonic::codegen::http::uri::Uri;

use super::Context;
use crate::exit::{Exit, Failure};
use crate::output::note;
use crate::text::one_line;

/// Nothing that is read as a token is longer.
const LONGEST_TOKEN: u64 = 4_096;

/// Remember a scheduler on another machine: its authority, and your token
///
/// Its authority is what `serve` printed; where the system trusts its certificate,
/// there is nothing to pin. The token is one that an admin has created for you
/// (`spotwise tokens create`).
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// Its address, such as https://HOST:7717
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// The fingerprint of its authority, as `serve` printed it
    #[arg(long, value_name = "FINGERPRINT")]
    fingerprint: Option<Fingerprint>,
    /// The file with the token; - for standard input. By default it is asked for
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Forget a scheduler: its authority, and your token. The token stays good
/// elsewhere until it is revoked
#[derive(Debug, Args)]
pub(crate) struct Logout {
    /// Its address
    #[arg(value_name = "URL")]
    url: Option<String>,
}

impl Login {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let url = self.url.clone().map_or_else(|| context.target.server(), Ok)?;
        if url.contains(',') {
            return Err(Failure::usage("login takes one address at a time"));
        }
        let pinned = self.authority(&url).await?;
        let url = credentials::with_scheme(&url, pinned.is_some());
        let token = self.token()?;
        let before = credentials::authority_for(&url).ok().flatten();
        let kept = |result: std::io::Result<()>| {
            result.map_err(|error| Failure::new(Exit::Failed, format!("cannot keep it: {error}")))
        };
        kept(credentials::keep_authority(&url, pinned))?;
        let caller = async { Client::connect_as(&url, Some(&token)).await?.who_am_i().await };
        let caller = match caller.await {
            Ok(caller) => caller,
            Err(error) => {
                kept(credentials::keep_authority(&url, before))?;
                return Err(error.into());
            }
        };
        kept(credentials::keep(&url, &token))?;
        if context.output.is_json() {
            return context.output.json(&caller);
        }
        context.output.line(one_line(&format!(
            "{url}: you are {} ({}), {}",
            caller.subject,
            caller.kind,
            caller.roles.join(", ")
        )))
    }

    /// Whom to believe there: who was named, whom the system trusts, or who a person at
    /// the terminal agrees to.
    async fn authority(&self, url: &str) -> Result<Option<Fingerprint>, Failure> {
        let uri: Uri = credentials::with_scheme(url, true)
            .parse()
            .map_err(|_| Failure::usage(format!("`{url}` is not an address")))?;
        if uri.scheme_str() != Some("https") {
            return match self.fingerprint {
                Some(_) => Err(Failure::usage("--fingerprint needs an address with https")),
                None => Ok(None),
            };
        }
        let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(443));
        let away = |error: std::io::Error| {
            Failure::new(Exit::Unavailable, format!("{url} does not answer under TLS: {error}"))
        };
        let shown = trust::look(host, port).await.map_err(away)?;
        if let Some(named) = self.fingerprint {
            return if shown == named {
                Ok(Some(named))
            } else {
                Err(Failure::new(
                    Exit::Auth,
                    format!(
                        "{url} shows a certificate of {}, not of {named}: somebody may stand \
                         between, or it has another authority by now",
                        shown
                    ),
                ))
            };
        }
        if trust::is_trusted(host, port).await {
            return Ok(None);
        }
        ask_about(url, shown)
    }

    fn token(&self) -> Result<String, Failure> {
        let failed = |error: std::io::Error| {
            Failure::new(Exit::Usage, format!("cannot read the token: {error}"))
        };
        let given = std::env::var(credentials::VARIABLE).ok().filter(|token| !token.is_empty());
        let text = match (&self.token_file, given) {
            (Some(path), _) if path.as_os_str() != "-" => {
                let file = std::fs::File::open(path).map_err(failed)?;
                read(file).map_err(failed)?
            }
            (Some(_), _) => read(std::io::stdin()).map_err(failed)?,
            (None, Some(token)) => token,
            (None, None) if std::io::stdin().is_terminal() => ask_for_token().map_err(failed)?,
            (None, None) => {
                return Err(Failure::usage(
                    "name the token: --token-file FILE, or - for standard input",
                ));
            }
        };
        let token = text.trim();
        if token.is_empty() || token.contains(char::is_whitespace) {
            return Err(Failure::usage("the token must be one word, such as swt_..."));
        }
        Ok(token.to_owned())
    }
}

impl Logout {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let url = self.url.map_or_else(|| context.target.server(), Ok)?;
        let known = credentials::forget(&url)
            .map_err(|error| Failure::new(Exit::Failed, format!("cannot forget it: {error}")))?;
        if context.output.is_json() {
            return context.output.json(&serde_json::json!({ "server": url, "was_known": known }));
        }
        let said = if known { "forgotten" } else { "nothing was known" };
        context.output.line(one_line(&format!("{url}: {said}")))
    }
}

fn ask_about(url: &str, authority: Fingerprint) -> Result<Option<Fingerprint>, Failure> {
    let remedy = format!(
        "the system does not trust the certificate of {url}; if `serve` printed {authority} there, \
         add --fingerprint {authority}"
    );
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(Exit::Auth, remedy));
    }
    note(format!("the certificate of {url} is of {authority}"));
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "did `serve` print this fingerprint there? [y/N] ");
    let _ = stderr.flush();
    let mut answer = String::new();
    let _ = std::io::stdin().read_line(&mut answer);
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(Some(authority));
    }
    Err(Failure::new(Exit::Auth, remedy))
}

fn read(source: impl Read) -> std::io::Result<String> {
    let mut text = String::new();
    source.take(LONGEST_TOKEN).read_to_string(&mut text)?;
    Ok(text)
}

/// Read from the terminal, which does not show it.
fn ask_for_token() -> std::io::Result<String> {
    let stdin = std::io::stdin();
    let shown = tcgetattr(&stdin)?;
    let mut hidden = shown.clone();
    hidden.local_flags.remove(LocalFlags::ECHO);
    let mut stderr = std::io::stderr();
    write!(stderr, "token: ")?;
    stderr.flush()?;
    tcsetattr(&stdin, SetArg::TCSANOW, &hidden)?;
    let mut text = String::new();
    let read = stdin.read_line(&mut text);
    tcsetattr(&stdin, SetArg::TCSANOW, &shown)?;
    writeln!(stderr)?;
    read.map(|_| text)
}
