//! The tokens that programs of a user keep: one file for each scheduler, readable by its
//! owner only, in `$XDG_CONFIG_HOME/spotwise/tokens`, by default under `~/.config`.
//!
//! A scheduler on this machine leaves its admin token there for its own user, so that what
//! works on one machine needs no step more.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tonic::codegen::http::uri::Uri;

/// A token given here goes before every file.
pub const VARIABLE: &str = "SPOTWISE_TOKEN";

/// The folder with the configuration of the user: absolute, as its specification asks.
pub fn config_folder() -> Option<PathBuf> {
    let absolute =
        |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CONFIG_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".config")))
        .map(|folder| folder.join("spotwise"))
}

/// The token for a scheduler: of the environment, else of the file for its address.
pub fn token_for(server: &str) -> Option<String> {
    let given = std::env::var(VARIABLE).ok().filter(|token| !token.is_empty());
    given.or_else(|| {
        let text = std::fs::read_to_string(file_for(&config_folder()?, server)?).ok()?;
        Some(text.trim().to_owned()).filter(|token| !token.is_empty())
    })
}

/// The file for a scheduler's address: `local-7717` for every name of this machine.
fn file_for(folder: &Path, server: &str) -> Option<PathBuf> {
    let server = server.trim();
    let server =
        if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
    let uri: Uri = server.parse().ok()?;
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    let port = uri.port_u16().unwrap_or(default);
    let address = host.parse::<std::net::IpAddr>().map(|address| address.to_canonical());
    let local = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    let name = if local { format!("local-{port}") } else { format!("{host}-{port}") };
    // A host's name has no slash; whatever else it has makes no path.
    Some(folder.join("tokens").join(name.replace(['/', ':'], "_")))
}

/// Keeps a token for a scheduler.
///
/// # Errors
/// The file cannot be written.
pub fn keep(server: &str, token: &str) -> io::Result<()> {
    let nowhere = || io::Error::new(io::ErrorKind::NotFound, "there is no home folder");
    let folder = config_folder().ok_or_else(nowhere)?;
    let path = file_for(&folder, server)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not an address"))?;
    write_private(&path, token)
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
            let path = file_for(Path::new("/c"), server)?;
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
    fn what_is_kept_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens/local-1");
        for text in ["one", "two"] {
            write_private(&path, text).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), text);
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}
