//! Which names are answered, and no page of another site shown by a browser that can reach
//! the scheduler.

use std::net::IpAddr;

use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Request};

use crate::service::ServiceError;

/// Under which names the scheduler is called.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// Besides those of the machine itself: hosts, in lower case.
    pub names: Vec<String>,
    /// Whether it speaks TLS, or a trusted proxy does.
    pub secure: bool,
}

/// The address of this machine that a call came to.
#[derive(Clone, Copy, Debug)]
pub struct LocalAddress(pub IpAddr);

/// Refuses calls to a name that is not the scheduler's (a foreign name that resolves to it
/// is DNS rebinding), and calls that change something from a page of another origin.
pub fn check_origin<B>(request: &Request<B>, site: &Site) -> Result<(), ServiceError> {
    let headers = request.headers();
    let mut hosts = headers.get_all(HOST).iter();
    let misled = || misled(site);
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => {
            Some(host.to_str().ok().and_then(|h| h.parse().ok()).ok_or_else(misled)?)
        }
        (None, _) => None,
        (Some(_), Some(_)) => return Err(misled()),
    };
    let named: Vec<&Authority> = request.uri().authority().into_iter().chain(&host).collect();
    let local = request.extensions().get::<LocalAddress>().map(|local| local.0);
    if named.is_empty() || !named.iter().all(|authority| site.has(authority, local)) {
        return Err(misled());
    }
    let safe = matches!(*request.method(), Method::GET | Method::HEAD);
    if safe || site.is_origin(headers, &named) {
        return Ok(());
    }
    Err(ServiceError::Forbidden("calls from pages of other sites are refused".to_owned()))
}

fn misled(site: &Site) -> ServiceError {
    let names = match site.names.as_slice() {
        [] => String::new(),
        names => format!(", or {} (serve --name HOST adds others)", names.join(", ")),
    };
    let message =
        format!("call this machine by its loopback name: localhost, 127.0.0.1 or [::1]{names}");
    ServiceError::invalid("host_not_allowed", "host", message)
}

impl Site {
    fn has(&self, authority: &Authority, local: Option<IpAddr>) -> bool {
        let host = authority.host();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        let address = address.parse::<IpAddr>().map(|address| address.to_canonical());
        let user_info = authority.as_str().contains('@');
        !user_info
            && (host.eq_ignore_ascii_case("localhost")
                || self.names.iter().any(|name| host.eq_ignore_ascii_case(name))
                // No foreign name can stand for an address itself.
                || address.is_ok_and(|it| it.is_loopback() || local == Some(it)))
    }

    /// Programs send no `Origin`; a page of ours would send our own.
    fn is_origin(&self, headers: &HeaderMap, named: &[&Authority]) -> bool {
        let scheme = if self.secure { "https://" } else { "http://" };
        let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
        let own_site = matches!(site, None | Some(b"same-origin" | b"none"));
        own_site
            && headers.get_all(ORIGIN).iter().all(|origin| {
                let origin = origin.to_str().ok().and_then(|o| o.strip_prefix(scheme));
                origin.is_some_and(|o| named.iter().any(|n| n.as_str().eq_ignore_ascii_case(o)))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: &str, uri: &str, headers: &[(&str, &str)]) -> Result<(), ServiceError> {
        call_to(&Site::default(), method, uri, headers)
    }

    fn call_to(
        site: &Site,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
    ) -> Result<(), ServiceError> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        request.extensions_mut().insert(LocalAddress([10, 0, 0, 7].into()));
        check_origin(&request, site)
    }

    #[test]
    fn a_scheduler_that_others_reach_has_names_of_its_own() {
        let site = Site { names: vec!["spot.example".to_owned()], secure: true };
        for host in ["spot.example", "Spot.Example:7717", "10.0.0.7:7717", "localhost:7717"] {
            assert!(call_to(&site, "GET", "/x", &[("host", host)]).is_ok(), "{host}");
        }
        for host in ["evil.example", "10.0.0.8", "spot.example.evil", "x@spot.example"] {
            assert!(call_to(&site, "GET", "/x", &[("host", host)]).is_err(), "{host}");
        }
        let from =
            |origin| call_to(&site, "POST", "/x", &[("host", "spot.example"), ("origin", origin)]);
        assert!(from("https://spot.example").is_ok());
        assert!(from("http://spot.example").is_err());
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
