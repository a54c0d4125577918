//! Plain HTTP for tests, and ports.

use std::net::TcpListener;

use anyhow::Result;

/// A client of HTTP, which in this workspace has TLS with ring.
pub fn http_client() -> reqwest::ClientBuilder {
    spotwise_storage::ring_for_tls();
    reqwest::Client::builder().no_proxy()
}

/// A port on which nothing is listening.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
