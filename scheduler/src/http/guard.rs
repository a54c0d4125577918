//! Who may call: programs on this machine, but no page of another site shown by a browser
//! on this machine.

use std::net::IpAddr;

use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Request};

use crate::service::ServiceError;

/// Refuses calls to a name other than this machine's (a foreign name that resolves to it is
/// DNS rebinding), and calls that change something from a page of another origin.
pub fn check_origin<B>(request: &Request<B>) -> Result<(), ServiceError> {
    let headers = request.headers();
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => {
            Some(host.to_str().ok().and_then(|h| h.parse().ok()).ok_or_else(misled)?)
        }
        (None, _) => None,
        (Some(_), Some(_)) => return Err(misled()),
    };
    let named: Vec<&Authority> = request.uri().authority().into_iter().chain(&host).collect();
    if named.is_empty() || !named.iter().all(|authority| is_loopback(authority)) {
        return Err(misled());
    }
    let safe = matches!(*request.method(), Method::GET | Method::HEAD);
    if safe || same_origin(headers, &named) {
        return Ok(());
    }
    Err(ServiceError::Forbidden("calls from pages of other sites are refused".to_owned()))
}

fn misled() -> ServiceError {
    let message = "call this machine by its loopback name: localhost, 127.0.0.1 or [::1]";
    ServiceError::invalid("host_not_allowed", "host", message)
}

fn is_loopback(authority: &Authority) -> bool {
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let user_info = authority.as_str().contains('@');
    !user_info
        && (host.eq_ignore_ascii_case("localhost")
            || address.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback()))
}

/// Programs send no `Origin`; a page of ours would send our own.
fn same_origin(headers: &HeaderMap, named: &[&Authority]) -> bool {
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    let own_site = matches!(site, None | Some(b"same-origin" | b"none"));
    own_site
        && headers.get_all(ORIGIN).iter().all(|origin| {
            let origin = origin.to_str().ok().and_then(|o| o.strip_prefix("http://"));
            origin.is_some_and(|o| named.iter().any(|n| n.as_str().eq_ignore_ascii_case(o)))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: &str, uri: &str, headers: &[(&str, &str)]) -> Result<(), ServiceError> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check_origin(&request.body(()).unwrap())
    }

    #[test]
    fn only_names_of_this_machine_are_answered() {
        for host in ["localhost", "LocalHost:7717", "127.0.0.1:7717", "127.9.9.9", "[::1]:7717"] {
            assert!(call("GET", "/x", &[("host", host)]).is_ok(), "{host}");
            assert!(call("GET", &format!("http://{host}/x"), &[]).is_ok(), "{host} by HTTP/2");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "0.0.0.0",
            "localhost@evil.example",
            "evil@localhost",
            "",
            "a b",
            "[::2]",
        ] {
            assert!(call("GET", "/x", &[("host", host)]).is_err(), "{host}");
        }
        assert!(call("GET", "/x", &[]).is_err(), "no name at all");
        assert!(call("GET", "http://evil.example/x", &[("host", "localhost")]).is_err());
        assert!(call("GET", "/x", &[("host", "localhost"), ("host", "evil")]).is_err());
    }

    #[test]
    fn pages_of_other_sites_change_nothing() {
        let from = |origin| call("POST", "/x", &[("host", "localhost:7717"), ("origin", origin)]);
        assert!(from("http://localhost:7717").is_ok());
        for origin in
            ["http://evil.example", "null", "http://localhost:8080", "https://localhost:7717"]
        {
            assert!(from(origin).is_err(), "{origin}");
        }
        let site = |site| call("DELETE", "/x", &[("host", "localhost"), ("sec-fetch-site", site)]);
        assert!(site("cross-site").is_err() && site("same-site").is_err());
        assert!(site("same-origin").is_ok());
        assert!(call("POST", "/x", &[("host", "localhost")]).is_ok(), "programs send no origin");
    }
}
