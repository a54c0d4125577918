//! Which scheduler a command talks to: flag, then environment, then the
//! configuration file, then this machine.
//!
//! ```yaml
//! # $XDG_CONFIG_HOME/spotwise/config.yaml
//! default_profile: lab
//! profiles:
//!   lab: { server: "http://127.0.0.1:7717" }
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use spotwise_api::client::{Client, DEFAULT_SERVER, credentials};

use crate::exit::Failure;

/// Which scheduler a person asked for on the command line.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Target {
    /// Address of the scheduler, such as https://HOST:7717 [env: SPOTWISE_SERVER]
    #[arg(
        long,
        global = true,
        value_name = "URL",
        conflicts_with = "profile",
        help_heading = "Global options"
    )]
    pub(crate) server: Option<String>,
    /// Profile of the configuration file [env: SPOTWISE_PROFILE]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Global options")]
    pub(crate) profile: Option<String>,
}

impl Target {
    /// Connects to it.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        Ok(Client::connect(&self.server()?).await?)
    }

    /// The address.
    pub(crate) fn server(&self) -> Result<String, Failure> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let environment =
            Self { server: variable("SPOTWISE_SERVER"), profile: variable("SPOTWISE_PROFILE") };
        resolve(self, &environment, || file_path().map_or(Ok(None), |path| read(&path)))
    }
}

/// What the file may hold.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    default_profile: Option<String>,
    profiles: BTreeMap<String, Profile>,
    #[serde(skip)]
    path: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    server: String,
}

/// Flags win over the environment, the environment over the file, whichever of
/// server and profile each names. The file is read only where it decides.
fn resolve(
    flags: &Target,
    environment: &Target,
    file: impl FnOnce() -> Result<Option<File>, Failure>,
) -> Result<String, Failure> {
    let named = match (flags, environment) {
        (Target { server: Some(server), .. }, _) => return Ok(server.clone()),
        (Target { profile: Some(profile), .. }, _) => Some(profile),
        (_, Target { server: Some(server), .. }) => return Ok(server.clone()),
        (_, Target { profile: Some(profile), .. }) => Some(profile),
        _ => None,
    };
    let file = file()?;
    let Some(file) = file else {
        return named.map_or_else(
            || Ok(default_server()),
            |name| {
                Err(Failure::usage(format!("no profile `{name}`: there is no configuration file")))
            },
        );
    };
    let Some(name) = named.or(file.default_profile.as_ref()) else {
        return Ok(default_server());
    };
    file.profiles.get(name).map(|profile| profile.server.clone()).ok_or_else(|| {
        let known: Vec<&str> = file.profiles.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Failure::usage(format!("no profile `{name}` in {} (known: {known})", file.path.display()))
    })
}

/// This machine's, under TLS if it was heard to speak that.
fn default_server() -> String {
    let pinned = credentials::authority_for(DEFAULT_SERVER).ok().flatten();
    let Some((_, host)) = DEFAULT_SERVER.split_once("://") else { return DEFAULT_SERVER.into() };
    credentials::with_scheme(host, pinned.is_some())
}

/// `$XDG_CONFIG_HOME/spotwise/config.yaml`, by default under `~/.config`.
fn file_path() -> Option<PathBuf> {
    credentials::config_folder().map(|folder| folder.join("config.yaml"))
}

fn read(path: &Path) -> Result<Option<File>, Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(Failure::usage(format!("cannot read {}: {error}", path.display())));
        }
    };
    parse(&text, path).map(Some)
}

fn parse(text: &str, path: &Path) -> Result<File, Failure> {
    if text.trim().is_empty() {
        return Ok(File::default());
    }
    let file: File = serde_saphyr::from_str(text)
        .map_err(|error| Failure::usage(format!("{}: {}", path.display(), yaml_error(&error))))?;
    Ok(File { path: path.to_owned(), ..file })
}

/// What a YAML parser says, on one line and without the excerpt.
pub(crate) fn yaml_error(error: &serde_saphyr::Error) -> String {
    let error = error.without_snippet().to_string();
    error.lines().next().unwrap_or("not well formed").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    const FILE: &str = "default_profile: lab\nprofiles:\n  lab: {server: 'http://lab:1'}\n  \
                        home: {server: 'http://home:2'}\n";

    fn target(server: Option<&str>, profile: Option<&str>) -> Target {
        Target { server: server.map(Into::into), profile: profile.map(Into::into) }
    }

    fn with_file(flags: &Target, environment: &Target) -> String {
        resolve(flags, environment, || parse(FILE, Path::new("config.yaml")).map(Some)).unwrap()
    }

    #[test]
    fn the_nearest_wish_wins() {
        let none = target(None, None);
        assert_eq!(resolve(&none, &none, || Ok(None)).unwrap(), DEFAULT_SERVER);
        assert_eq!(with_file(&none, &none), "http://lab:1");
        assert_eq!(with_file(&none, &target(None, Some("home"))), "http://home:2");
        let environment = target(Some("http://env:3"), Some("home"));
        assert_eq!(with_file(&none, &environment), "http://env:3");
        assert_eq!(with_file(&target(None, Some("lab")), &environment), "http://lab:1");
        assert_eq!(with_file(&target(Some("http://flag:4"), None), &environment), "http://flag:4");
    }

    #[test]
    fn mistakes_are_one_clear_line() {
        let none = target(None, None);
        let unknown = parse("profils: {}\n", Path::new("config.yaml")).unwrap_err();
        assert_eq!(unknown.exit(), Some(Exit::Usage));
        let message = unknown.message().unwrap();
        assert!(message.starts_with("config.yaml: ") && message.contains("profils"), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");

        let missing = resolve(&target(None, Some("moon")), &none, || {
            parse(FILE, Path::new("config.yaml")).map(Some)
        });
        assert_eq!(
            missing.unwrap_err().message(),
            Some("no profile `moon` in config.yaml (known: home, lab)")
        );
        assert!(resolve(&target(None, Some("x")), &none, || Ok(None)).is_err());
    }
}
