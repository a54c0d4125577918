//! How a connection begins: who may connect, under TLS or plainly, and which HTTP is spoken.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Request;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::ServerError;
use crate::access::PeerAddress;
use crate::http::{LocalAddress, Site};
use crate::tls::Certificates;

/// A partly received preface is checked at least this often.
const PEEK_INTERVAL: Duration = Duration::from_millis(500);
/// The first bytes of every HTTP/2 connection (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The first byte of every TLS connection: a handshake record (RFC 8446, 5.1).
const HANDSHAKE: u8 = 0x16;
/// Said to who speaks plainly where TLS is spoken.
const PLAIN_HERE: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n\
    connection: close\r\ncontent-length: 49\r\n\r\nTLS is spoken here: write https instead of http.\n";

/// What stands before a listener.
#[derive(Clone)]
pub struct Door {
    tls: Option<TlsAcceptor>,
    /// Who speaks TLS with others for us, and says who they are.
    proxies: Vec<IpAddr>,
    /// Under which names it is called.
    pub(super) site: Site,
}

/// A connection on which calls can come.
pub(super) enum Opened {
    Plain(TcpStream),
    Secure { stream: Box<BufReader<TlsStream<TcpStream>>>, http2: bool },
}

impl Door {
    /// With what there is to show, and the proxies that show it otherwise.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(
        certificates: Option<&Arc<Certificates>>,
        proxies: Vec<IpAddr>,
        names: Vec<String>,
    ) -> Result<Self, ServerError> {
        let config = certificates.map(Certificates::server_config).transpose()?;
        let tls = config.map(|config| TlsAcceptor::from(Arc::new(config)));
        let secure = tls.is_some() || !proxies.is_empty();
        Ok(Self { tls, proxies, site: Site { names, secure } })
    }

    /// Whether others may connect.
    pub fn is_protected(&self) -> bool {
        self.site.secure
    }

    /// The two ends of a connection; `None` for who may not connect: without TLS of our
    /// own, others come through the proxy.
    pub(super) fn ends(&self, stream: &TcpStream) -> Option<(PeerAddress, LocalAddress)> {
        let peer = stream.peer_addr().ok()?.ip().to_canonical();
        let local = stream.local_addr().ok()?.ip().to_canonical();
        let may = self.tls.is_some() || peer.is_loopback() || self.proxies.contains(&peer);
        may.then_some((PeerAddress(peer), LocalAddress(local)))
    }

    /// The address that a proxy answers for, in place of its own: the last one that is not
    /// a proxy of ours. What others say of themselves is not believed.
    pub(super) fn see_through_proxy<B>(&self, request: &mut Request<B>) {
        let Some(PeerAddress(peer)) = request.extensions().get().copied() else { return };
        if !self.proxies.contains(&peer) {
            return;
        }
        let said = request.headers().get_all("x-forwarded-for").iter();
        let said: Vec<&str> = said.filter_map(|it| it.to_str().ok()).collect();
        let addresses = said.iter().flat_map(|it| it.split(','));
        let client = addresses
            .rev()
            .map(|it| it.trim().parse::<IpAddr>().map(|it| it.to_canonical()))
            .find(|it| !it.as_ref().is_ok_and(|it| self.proxies.contains(it)));
        if let Some(Ok(client)) = client {
            request.extensions_mut().insert(PeerAddress(client));
        }
    }

    /// Waits until the peer's first bytes tell what is spoken. `None` where nothing is that
    /// we understand.
    pub(super) async fn open(&self, stream: TcpStream) -> Option<Opened> {
        let opened = match &self.tls {
            None => await_preface(&stream).await.map(|()| Some(Opened::Plain(stream))),
            Some(tls) => accept(tls, stream).await,
        };
        opened.unwrap_or_else(|error| {
            tracing::debug!(%error, "a connection did not begin");
            None
        })
    }
}

async fn accept(tls: &TlsAcceptor, mut stream: TcpStream) -> io::Result<Option<Opened>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Ok(None);
    }
    if first != [HANDSHAKE] {
        stream.write_all(PLAIN_HERE).await?;
        stream.shutdown().await?;
        return Ok(None);
    }
    let stream = tls.accept(stream).await?;
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let mut stream = Box::new(BufReader::new(stream));
    // Who says nothing after the handshake is waited for no longer than others.
    stream.fill_buf().await?;
    Ok(Some(Opened::Secure { stream, http2 }))
}

/// Waits until the peer's first bytes distinguish HTTP/2 from HTTP/1: the builder, which
/// has to know, would wait for them indefinitely.
async fn await_preface(stream: &TcpStream) -> io::Result<()> {
    let mut first = [0; PREFACE.len()];
    let mut pause = Duration::from_millis(5);
    loop {
        let length = stream.peek(&mut first).await?;
        let so_far = first.get(..length).unwrap_or_default();
        if length == 0 || length == PREFACE.len() || !PREFACE.starts_with(so_far) {
            return Ok(());
        }
        // Peeking again is answered at once, with the same bytes.
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(PEEK_INTERVAL);
    }
}
