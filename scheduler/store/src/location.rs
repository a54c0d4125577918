//! The location of the store: a file, or a PostgreSQL server.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;

/// The location of a store. Shown without its password.
#[derive(Clone, Debug)]
pub enum Location {
    /// An SQLite file, created if missing.
    Sqlite(PathBuf),
    /// A database on a PostgreSQL server.
    Postgres(Box<Server>),
}

/// A database on a PostgreSQL server, and how to reach it. Neither `Debug` nor `Display`
/// shows the password.
#[derive(Clone)]
pub struct Server {
    options: PgConnectOptions,
    password_in_url: bool,
}

/// Why a text is not the location of a database. Never quotes the text, which may hold a
/// password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Nothing was given.
    #[error("the database is empty: give a path, or postgres://USER@HOST/DATABASE")]
    Empty,
    /// An unsupported scheme.
    #[error(
        "databases of the kind {scheme}:// are unknown: give a path, or postgres://USER@HOST/DATABASE"
    )]
    UnknownScheme {
        /// The one that was given.
        scheme: String,
    },
    /// An unknown parameter, which drivers would ignore.
    #[error("the database URL has an unknown parameter `{name}`: known are {}", PARAMETERS.join(", "))]
    UnknownParameter {
        /// Its name.
        name: String,
    },
    /// Not a URL, or an impossible value.
    #[error(
        "the database URL cannot be read: write postgres://USER@HOST:PORT/DATABASE, with %XX for special characters"
    )]
    Malformed,
}

/// What may follow the `?` of a URL.
const PARAMETERS: [&str; 9] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "port",
    "user",
    "dbname",
    "application_name",
];

impl Server {
    /// How to connect.
    pub(super) const fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Whether the URL itself held a password: on a command line, anyone who lists the
    /// machine's processes can see it.
    pub const fn has_password_in_url(&self) -> bool {
        self.password_in_url
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.options;
        let database = options.get_database().unwrap_or(options.get_username());
        write!(f, "postgres://{}@", options.get_username())?;
        match options.get_socket() {
            Some(socket) => write!(f, "{}/{database}", socket.display()),
            None => write!(f, "{}:{}/{database}", options.get_host(), options.get_port()),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({self})")
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "{}", path.display()),
            Self::Postgres(server) => write!(f, "{server}"),
        }
    }
}

impl From<&Path> for Location {
    fn from(path: &Path) -> Self {
        Self::Sqlite(path.to_owned())
    }
}

impl From<PathBuf> for Location {
    fn from(path: PathBuf) -> Self {
        Self::Sqlite(path)
    }
}

impl From<&PathBuf> for Location {
    fn from(path: &PathBuf) -> Self {
        Self::Sqlite(path.clone())
    }
}

impl From<&Self> for Location {
    fn from(location: &Self) -> Self {
        location.clone()
    }
}

impl FromStr for Location {
    type Err = LocationError;

    /// A URL if there is a scheme, otherwise a path.
    fn from_str(text: &str) -> Result<Self, LocationError> {
        if text.is_empty() {
            return Err(LocationError::Empty);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            // Else a mistake would make a file whose name shows the password.
            let meant = ["postgres:", "postgresql:"].iter().any(|start| text.starts_with(start));
            return if meant || text.contains("password=") {
                Err(LocationError::Malformed)
            } else {
                Ok(Self::Sqlite(PathBuf::from(text)))
            };
        };
        match scheme {
            "postgres" | "postgresql" => postgres(text, rest).map(Box::new).map(Self::Postgres),
            "sqlite" | "file" => Ok(Self::Sqlite(PathBuf::from(rest))),
            _ if is_scheme(scheme) => {
                Err(LocationError::UnknownScheme { scheme: scheme.to_owned() })
            }
            _ => Ok(Self::Sqlite(PathBuf::from(text))),
        }
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

fn postgres(url: &str, rest: &str) -> Result<Server, LocationError> {
    // In front of the host these stand for a password that is not escaped: what
    // follows is part of it.
    let end = rest.split_once('?').map_or("", |(_, end)| end);
    if rest.contains('#') || end.contains('@') {
        return Err(LocationError::Malformed);
    }
    // The driver would write unknown parameters to the log, with their values.
    for parameter in end.split('&').filter(|parameter| !parameter.is_empty()) {
        let name = parameter.split('=').next().unwrap_or_default();
        if name != "password" && !PARAMETERS.contains(&name) {
            return Err(LocationError::UnknownParameter { name: name.to_owned() });
        }
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    let password_in_url = user.contains(':') || end.split('&').any(|p| p.starts_with("password="));
    // The driver's words may quote the URL.
    let options = url.parse::<PgConnectOptions>().map_err(|_| LocationError::Malformed)?;
    // Statements hold names and commands of jobs: they belong to no log.
    let options = options.disable_statement_logging();
    Ok(Server { options, password_in_url })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_path_or_a_url() {
        for (text, shown) in [
            ("spotwise.db", "spotwise.db"),
            ("/a b/c", "/a b/c"),
            ("sqlite:///a/b.db", "/a/b.db"),
            ("postgres://ann@db.example/jobs", "postgres://ann@db.example:5432/jobs"),
            ("postgresql://ann@db:1/jobs?sslmode=verify-full", "postgres://ann@db:1/jobs"),
            ("postgres:///jobs?host=/run/pg&port=5432&user=ann", "postgres://ann@/run/pg/jobs"),
        ] {
            assert_eq!(text.parse::<Location>().unwrap().to_string(), shown, "{text}");
        }
    }

    /// Neither an error nor any way of printing tells the password.
    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "postgres://ann:hunter2@db/jobs",
            "postgresql://ann:hunter2@db:77/jobs?sslmode=require",
            "postgres:///jobs?host=db&user=ann&password=hunter2",
            "postgres://ann:hunter2@db/jobs?colour=red",
            "postgres://ann:a?hunter2&b=c@db/jobs",
            "postgres://ann:a#hunter2@db/jobs",
            "postgres://ann:hunter2@db:port/jobs",
            "postgres://ann:hunter2@db/jobs?sslmode=hunter2",
            "postgre://ann:hunter2@db/jobs",
            "postgres:ann:hunter2@db/jobs",
            "host=db user=ann password=hunter2",
        ] {
            let shown = match url.parse::<Location>() {
                Ok(Location::Postgres(server)) => {
                    assert!(server.has_password_in_url(), "{url}");
                    format!("{server} {server:?} {:?}", Location::Postgres(server.clone()))
                }
                Ok(file) => panic!("{url} is taken for the file {file}"),
                Err(error) => format!("{error} {error:?}"),
            };
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn mistakes_name_the_remedy() {
        for (text, expected) in [
            ("", "give a path"),
            ("mysql://db/jobs", "mysql://"),
            ("postgres://db/jobs?colour=red", "`colour`"),
            ("postgres://db:port/jobs", "%XX"),
        ] {
            let error = text.parse::<Location>().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
