//! What programs of a user know of schedulers: a token and, under TLS, the authority of
//! each. One file for each scheduler, readable by its owner only, in
//! `$XDG_CONFIG_HOME/spotwise/tokens` and `.../authorities`, by default under `~/.config`.
//!
//! A scheduler on this machine leaves its admin token there for its own user, so that what
//! works on one machine needs no step more.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tonic::codegen::http::uri::Uri;

use super::{ClientError, ErrorKind};
use crate::trust::{Fingerprint, NotAFingerprint};

/// A token given here goes before every file.
pub const VARIABLE: &str = "SPOTWISE_TOKEN";

/// The fingerprint of an authority given here goes before every file.
pub const AUTHORITY_VARIABLE: &str = "SPOTWISE_AUTHORITY";

/// What is kept of a scheduler.
const TOKENS: &str = "tokens";
const AUTHORITIES: &str = "authorities";

/// The folder with the configuration of the user: absolute, as its specification asks.
pub fn config_folder() -> Option<PathBuf> {
    let absolute =
        |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CONFIG_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".config")))
        .map(|folder| folder.join("spotwise"))
}

/// The token for a scheduler: of the environment, else of the file for its address.
///
/// # Errors
/// Others can read the file: whoever did may use the token.
pub fn token_for(server: &str) -> Result<Option<String>, ClientError> {
    let given = std::env::var(VARIABLE).ok().filter(|token| !token.is_empty());
    let path = || file_for(&config_folder()?, TOKENS, server);
    match (given, path()) {
        (Some(token), _) => Ok(Some(token)),
        (None, Some(path)) => read_private(&path),
        (None, None) => Ok(None),
    }
}

fn read_private(path: &Path) -> Result<Option<String>, ClientError> {
    let Ok(metadata) = std::fs::metadata(path) else { return Ok(None) };
    if metadata.permissions().mode() & 0o077 != 0 {
        let path = path.display();
        return Err(ClientError {
            kind: ErrorKind::Invalid {
                code: "token_file_not_private".to_owned(),
                field: "token".to_owned(),
            },
            message: format!(
                "others can read your token in {path}: revoke it if they may have, and \
                 `chmod 600 {path}`"
            ),
            source: None,
        });
    }
    Ok(text_of(path))
}

fn text_of(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The authority that was pinned for a scheduler: by the environment, else by the file for
/// its address.
///
/// # Errors
/// What was pinned is no fingerprint: nobody must be believed in its place.
pub fn authority_for(server: &str) -> Result<Option<Fingerprint>, ClientError> {
    let given = std::env::var(AUTHORITY_VARIABLE).ok().filter(|pinned| !pinned.is_empty());
    let pinned = given.or_else(|| kept(AUTHORITIES, server));
    pinned.map(|pinned| pinned.parse()).transpose().map_err(|error: NotAFingerprint| ClientError {
        kind: ErrorKind::Invalid {
            code: "invalid_authority".to_owned(),
            field: "authority".to_owned(),
        },
        message: format!("the authority pinned for `{server}` is {error}"),
        source: None,
    })
}

fn kept(what: &str, server: &str) -> Option<String> {
    text_of(&file_for(&config_folder()?, what, server)?)
}

/// An address with its scheme: that which was written, else `https` for who is known to
/// speak TLS.
pub fn with_scheme(server: &str, speaks_tls: bool) -> String {
    match (server.contains("://"), speaks_tls) {
        (true, _) => server.to_owned(),
        (false, true) => format!("https://{server}"),
        (false, false) => format!("http://{server}"),
    }
}

/// Whether a host is a name of this machine that no network resolves.
pub fn is_this_machine(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = host.parse::<std::net::IpAddr>().map(|address| address.to_canonical());
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// The file for a scheduler's address: `local-7717` for every name of this machine.
fn file_for(folder: &Path, what: &str, server: &str) -> Option<PathBuf> {
    let uri: Uri = with_scheme(server.trim(), false).parse().ok()?;
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    let port = uri.port_u16().unwrap_or(default);
    let local = is_this_machine(&host);
    let name = if local { format!("local-{port}") } else { format!("{host}-{port}") };
    // A host's name has no slash; whatever else it has makes no path.
    Some(folder.join(what).join(name.replace(['/', ':'], "_")))
}

/// Keeps a token for a scheduler.
///
/// # Errors
/// The file cannot be written.
pub fn keep(server: &str, token: &str) -> io::Result<()> {
    write_private(&own_file(TOKENS, server)?, token)
}

/// Keeps the authority of a scheduler; `None` forgets it.
///
/// # Errors
/// The file cannot be written.
pub fn keep_authority(server: &str, authority: Option<Fingerprint>) -> io::Result<()> {
    let path = own_file(AUTHORITIES, server)?;
    match authority {
        Some(authority) => write_private(&path, &authority.to_string()),
        None => remove(&path).map(drop),
    }
}

/// Forgets the token and the authority of a scheduler; whether anything was known.
///
/// # Errors
/// A file cannot be removed.
pub fn forget(server: &str) -> io::Result<bool> {
    let token = remove(&own_file(TOKENS, server)?)?;
    Ok(remove(&own_file(AUTHORITIES, server)?)? || token)
}

fn own_file(what: &str, server: &str) -> io::Result<PathBuf> {
    let nowhere = || io::Error::new(io::ErrorKind::NotFound, "there is no home folder");
    let folder = config_folder().ok_or_else(nowhere)?;
    file_for(&folder, what, server)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not an address"))
}

fn remove(path: &Path) -> io::Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes a file that only its owner may read, in place of what was there.
///
/// # Errors
/// It cannot be written.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let _ = std::fs::remove_file(&new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_this_machine_has_one_file() {
        let name = |server: &str| {
            let path = file_for(Path::new("/c"), TOKENS, server)?;
            Some(path.strip_prefix("/c/tokens").unwrap().display().to_string())
        };
        for server in [
            "http://127.0.0.1:7717",
            "localhost:7717",
            "http://[::1]:7717",
            "http://LOCALHOST:7717/",
        ] {
            assert_eq!(name(server).as_deref(), Some("local-7717"), "{server}");
        }
        assert_eq!(name("https://spot.example").as_deref(), Some("spot.example-443"));
        assert_eq!(name("http://10.0.0.7:7717").as_deref(), Some("10.0.0.7-7717"));
        assert_eq!(name("http://[2001:db8::1]:7").as_deref(), Some("2001_db8__1-7"));
        assert_eq!(name("no address"), None);
    }

    #[test]
    fn a_token_that_others_can_read_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("local-1");
        assert_eq!(read_private(&path).unwrap(), None);
        write_private(&path, "swt_1").unwrap();
        assert_eq!(read_private(&path).unwrap().as_deref(), Some("swt_1"));
        for mode in [0o640, 0o604, 0o660] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = read_private(&path).unwrap_err();
            assert!(error.message.contains("chmod 600"), "{}", error.message);
        }
    }

    #[test]
    fn what_is_kept_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens/local-1");
        for text in ["one", "two"] {
            write_private(&path, text).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), text);
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}
