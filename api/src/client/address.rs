//! What an address of a scheduler may be.

use std::time::Duration;

use tonic::codegen::http::uri::Uri;
use tonic::transport::Endpoint;

use super::{ClientError, DEFAULT_SERVER, ErrorKind, credentials};
use crate::trust::{Fingerprint, Trust};

/// A local scheduler answers a connection in milliseconds; a remote one has
/// three round trips.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

fn refuse(message: String) -> ClientError {
    ClientError {
        kind: ErrorKind::Invalid { code: "invalid_server".to_owned(), field: "server".to_owned() },
        message,
        source: None,
    }
}

/// One address. Nothing is sent unencrypted where others could read it, or to a scheduler
/// that was known to speak TLS.
pub(super) fn endpoint(server: &str, pinned: Option<Fingerprint>) -> Result<Endpoint, ClientError> {
    let unclear = || refuse(format!("`{server}` is not an address such as {DEFAULT_SERVER}"));
    let address = credentials::with_scheme(server.trim(), pinned.is_some());
    let uri: Uri = address.parse().map_err(|_| unclear())?;
    let secure = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => {
            return Err(refuse(format!("`{server}`: write http://host:port or https://host:port")));
        }
    };
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(unclear)?;
    if uri.path().len() > 1 || uri.query().is_some() {
        return Err(unclear());
    }
    if !secure && pinned.is_some() {
        return Err(refuse(format!(
            "`{server}`: this scheduler speaks TLS: write https, or forget its authority with \
             `spotwise logout`"
        )));
    }
    if !secure && !credentials::is_this_machine(host) {
        return Err(refuse(format!(
            "`{server}`: other machines are called under TLS only, so that nobody between reads \
             the token: write https"
        )));
    }
    let endpoint = Endpoint::from(uri.clone()).connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true);
    if !secure {
        return Ok(endpoint);
    }
    Trust::of(pinned).secure(endpoint).map_err(|error| ClientError {
        kind: ErrorKind::Unavailable,
        message: format!("`{server}`: TLS cannot be used"),
        source: Some(error.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        let pinned = Some(Fingerprint::of(b"authority"));
        for good in ["http://127.0.0.1:7717", "localhost:7717", "http://[::1]:7717/"] {
            assert!(endpoint(good, None).is_ok(), "{good}");
        }
        for good in ["https://host:1", "host:1", "localhost:7717", "https://[::1]:7717"] {
            assert!(endpoint(good, pinned).is_ok(), "{good}");
        }
        for bad in ["", "ftp://localhost", "http://", "http://[::1]/path", "a b", "http://[::1]?q"]
        {
            assert!(endpoint(bad, None).is_err(), "{bad}");
        }
        for bad in ["http://10.0.0.7:7717", "host:7717", "http://localhost.example"] {
            let error = endpoint(bad, None).unwrap_err();
            assert!(error.message.contains("write https"), "{bad}: {}", error.message);
        }
        let downgraded = endpoint("http://localhost:7717", pinned).unwrap_err();
        assert!(downgraded.message.contains("speaks TLS"), "{}", downgraded.message);
    }
}
