//! The listener: gRPC and REST on one port, under TLS where others reach it.

mod calls;
mod connections;
mod door;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Request, Response};
use axum::response::IntoResponse;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::{Service as _, ServiceExt, service_fn};
use tower_http::catch_panic::CatchPanicLayer;

use crate::access::{Gate, PeerAddress};
use crate::http::{LocalAddress, Refused, check_origin};
use crate::rpc::status;
use crate::service::{Service, ServiceError};
use crate::tls::TlsError;
use calls::{Call, Calls};
use connections::{Connection, ConnectionLimiter, ConnectionPermit};
pub use door::Door;
use door::Opened;

/// Connections at once, if the system allows that many descriptors: every worker has one.
const MOST_CONNECTIONS: usize = 16_384;
/// Descriptors that are not for connections: database, logs, pipes.
const OTHER_DESCRIPTORS: usize = 512;
/// Calls whose answer has not started; more are refused as overload.
const MOST_CALLS: usize = 2_048;
/// Streams of one HTTP/2 connection.
const MOST_STREAMS: u32 = 128;
/// Resets that a peer may leave unread (CVE-2023-44487, rapid reset).
const MOST_RESETS: usize = 32;
/// Headers of one call.
const MOST_HEADER_BYTES: u32 = 16 * 1024;
/// The time a peer has to send its request headers.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// An answer starts within this time: twice the longest planning round and more.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
/// A silent HTTP/2 peer is pinged after this long.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// At shutdown, requests in progress get this long.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Wait after the system has run out of descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// The path of the liveness check.
const LIVENESS_PATH: &str = "/healthz";

/// Why the servers did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Other machines could reach it, and their tokens would go there unencrypted.
    #[error(
        "{0} can be reached from other machines: show a certificate with --tls, or with \
         --tls-cert and --tls-key, or name the proxy that does so with --trusted-proxy"
    )]
    NotLoopback(SocketAddr),
    /// There is no certificate to show.
    #[error("no TLS")]
    Tls(#[from] TlsError),
    /// The port is taken, or not allowed.
    #[error("cannot listen on {address}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The port was taken, but the system does not say which one it is.
    #[error("cannot tell where it listens")]
    NoAddress(#[source] io::Error),
    /// A defect of the build.
    #[error("cannot describe the services")]
    Reflection(#[source] tonic_reflection::server::Error),
}

/// Binds the port; 0 for any free one. What is not `protected` is for this machine only.
pub async fn bind(address: SocketAddr, protected: bool) -> Result<TcpListener, ServerError> {
    if !protected && !address.ip().to_canonical().is_loopback() {
        return Err(ServerError::NotLoopback(address));
    }
    TcpListener::bind(address).await.map_err(|source| ServerError::Bind { address, source })
}

/// Where it listens: the actual port if port 0 was requested.
pub fn local_address(listener: &TcpListener) -> Result<SocketAddr, ServerError> {
    listener.local_addr().map_err(ServerError::NoAddress)
}

/// What is behind the port.
#[derive(Clone)]
pub enum ServingState {
    /// Nothing yet: this scheduler does not lead.
    Standby {
        /// The leader's address; empty if nobody leads.
        leader: String,
    },
    /// A scheduler that leads.
    Open(Services),
}

/// How much a listener accepts at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections; idle ones make room for others.
    pub connections: usize,
    /// Calls whose answer has not started.
    pub calls: usize,
}

impl Limits {
    /// The limits of this process. Requests as many descriptors from the system as that
    /// takes and it allows.
    pub fn of_process() -> Self {
        let wanted = (MOST_CONNECTIONS + OTHER_DESCRIPTORS) as u64;
        let mut limit = getrlimit(Resource::Nofile);
        let allowed = limit.maximum.unwrap_or(wanted).min(wanted);
        if limit.current.is_some_and(|current| current < allowed) {
            limit.current = Some(allowed);
            // Where that is not allowed after all, the old limit holds.
            let _ = setrlimit(Resource::Nofile, limit);
        }
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(wanted).min(wanted);
        let descriptors = usize::try_from(descriptors).unwrap_or(MOST_CONNECTIONS);
        // Of few descriptors half are for connections.
        let connections = descriptors.saturating_sub(OTHER_DESCRIPTORS).max(descriptors / 2);
        if connections < MOST_CONNECTIONS {
            tracing::warn!(descriptors, connections, "few descriptors: room for few workers");
        }
        Self { connections, calls: MOST_CALLS }
    }
}

/// Serves until `shutdown`, then lets requests in progress finish. Each call goes to the
/// current serving state.
pub async fn serve(
    listener: TcpListener,
    serving_state: watch::Receiver<ServingState>,
    limits: Limits,
    door: Door,
    shutdown: CancellationToken,
) -> Result<(), ServerError> {
    let door = Arc::new(door);
    let calls = Calls::new(limits.calls);
    let app = Dispatcher { serving_state, calls, door: door.clone() }.app();
    let limiter = ConnectionLimiter::new(limits.connections);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &limiter) => accepted,
            () = shutdown.cancelled() => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, permit)) => {
                let (app, door) = (app.clone(), door.clone());
                connections.spawn(connection(stream, permit, app, door, graceful.watcher()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("some calls did not finish in time and were broken off");
    }
    connections.shutdown().await;
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    limiter: &Arc<ConnectionLimiter>,
) -> io::Result<(TcpStream, ConnectionPermit)> {
    let (stream, _) = listener.accept().await?;
    Ok((stream, limiter.acquire().await))
}

async fn connection(
    stream: TcpStream,
    permit: ConnectionPermit,
    app: Router,
    door: Arc<Door>,
    watcher: Watcher,
) {
    let connection = permit.connection.clone();
    // Small answers go out at once. It may fail where the peer has gone.
    let _ = stream.set_nodelay(true);
    let Some(ends) = door.ends(&stream) else { return };
    let serve = async {
        match tokio::time::timeout(HEADER_READ_TIMEOUT, door.open(stream)).await {
            Ok(Some(Opened::Plain(stream))) => {
                serve_connection(stream, &permit.connection, app, ends, watcher, builder()).await;
            }
            Ok(Some(Opened::Secure { stream, http2 })) => {
                let builder = builder();
                let builder = if http2 { builder.http2_only() } else { builder.http1_only() };
                serve_connection(stream, &permit.connection, app, ends, watcher, builder).await;
            }
            Ok(None) | Err(_) => {}
        }
    };
    tokio::select! {
        () = serve => {}
        () = connection.evicted() => {}
    }
}

async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    connection: &Arc<Connection>,
    app: Router,
    (peer, local): (PeerAddress, LocalAddress),
    watcher: Watcher,
    builder: Builder<TokioExecutor>,
) {
    let connection = connection.clone();
    let calls = service_fn(move |mut request: Request<_>| {
        request.extensions_mut().insert(connection.clone());
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(local);
        app.clone().call(request)
    });
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(calls));
    if let Err(error) = watcher.watch(served).await {
        tracing::debug!(error, "a connection broke");
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_READ_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(MOST_HEADER_BYTES)
        .max_pending_accept_reset_streams(MOST_RESETS)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_INTERVAL);
    builder
}

/// Both interfaces of a scheduler that leads.
#[derive(Clone)]
pub struct Services {
    grpc: Router,
    http: Router,
    gate: Arc<Gate>,
}

impl Services {
    /// The interfaces of a service.
    ///
    /// # Errors
    /// The services cannot be described: a defect of the build.
    pub async fn of(service: Service, gate: Arc<Gate>) -> Result<Self, ServerError> {
        let grpc = crate::rpc::routes(&service).await.map_err(ServerError::Reflection)?;
        Ok(Self { grpc, http: crate::http::router(service), gate })
    }
}

/// The entry point of every call.
#[derive(Clone)]
struct Dispatcher {
    serving_state: watch::Receiver<ServingState>,
    calls: Arc<Calls>,
    door: Arc<Door>,
}

impl Dispatcher {
    fn app(self) -> Router {
        let panicked = |_: Box<dyn std::any::Any + Send>| {
            tracing::error!("a call panicked");
            Refused(ServiceError::internal("answering", "a panic")).into_response()
        };
        Router::new()
            .fallback(move |request: Request<Body>| async move { self.answer(request).await })
            .layer(CatchPanicLayer::custom(panicked))
    }

    async fn answer(self, mut request: Request<Body>) -> Response<Body> {
        let grpc = is_grpc(&request);
        let refuse = |error: ServiceError| {
            if grpc { status(&error).into_http() } else { Refused(error).into_response() }
        };
        if let Err(error) = check_origin(&request, &self.door.site) {
            return refuse(error);
        }
        self.door.see_through_proxy(&mut request);
        let Some(_permit) = self.calls.acquire().await else {
            return refuse(ServiceError::Overloaded);
        };
        let serving_state = self.serving_state.borrow().clone();
        let router = match serving_state {
            ServingState::Open(services) => {
                if !Gate::is_open(request.uri().path()) {
                    match services.gate.admit(&request) {
                        Ok(asker) => drop(request.extensions_mut().insert(asker)),
                        Err(error) => return refuse(error),
                    }
                }
                if grpc { services.grpc } else { services.http }
            }
            // A process that stands by lives, and is not ready.
            ServingState::Standby { .. } if request.uri().path() == LIVENESS_PATH => {
                return "ok\n".into_response();
            }
            ServingState::Standby { leader } => return refuse(ServiceError::Standby { leader }),
        };
        let call = Call::begin(&self.calls, request.extensions_mut().remove::<Arc<Connection>>());
        let answer = router.oneshot(request.map(|body| call.request_body(body)));
        tokio::select! {
            answer = tokio::time::timeout(RESPONSE_TIMEOUT, answer) => match answer {
                Ok(Ok(response)) => {
                    call.request_complete();
                    too_large(response).map(|body| call.response_body(body))
                }
                Err(_) => refuse(ServiceError::TimedOut(RESPONSE_TIMEOUT.as_secs())),
            },
            () = call.aborted() => refuse(ServiceError::Overloaded),
        }
    }
}

/// A message beyond the limit is OUT_OF_RANGE (11) in tonic, which nothing else here
/// returns; callers know it as RESOURCE_EXHAUSTED (8).
fn too_large(mut response: Response<Body>) -> Response<Body> {
    if let Some(code) = response.headers_mut().get_mut("grpc-status")
        && code == "11"
    {
        *code = HeaderValue::from_static("8");
    }
    response
}

fn is_grpc<B>(request: &Request<B>) -> bool {
    let kind = request.headers().get(CONTENT_TYPE).map(|kind| kind.as_bytes());
    kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;

#[cfg(test)]
mod flood_tests;

#[cfg(test)]
mod tls_tests;
