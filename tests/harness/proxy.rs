//! A TCP proxy that breaks what passes through it: the network between a worker
//! and its scheduler, or between a scheduler and its database.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;

/// What happens to bytes on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Network {
    /// They arrive.
    Whole,
    /// They are dropped both ways, without notice: a black hole.
    Stalled,
    /// Requests arrive, answers are dropped.
    NoAnswers,
    /// Connections break, and new ones are refused.
    Cut,
}

/// Where the proxy forwards to.
#[derive(Clone, Debug)]
pub enum Target {
    /// A port of this machine.
    Tcp(SocketAddr),
    /// A socket in the file system, such as PostgreSQL's.
    Unix(PathBuf),
}

/// A proxy on a free port of this machine. Its threads end with the process.
#[derive(Clone)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    network: AtomicU8,
    swallowed: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Starts one.
    pub fn start(target: Target) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            network: AtomicU8::new(Network::Whole as u8),
            swallowed: AtomicU64::new(0),
            open: Mutex::default(),
        });
        let proxy = Self { address, shared: shared.clone() };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.is(Network::Cut) {
                    continue;
                }
                // A target that is down is a connection that breaks.
                let _ = shared.clone().join(client, &target);
            }
        });
        Ok(proxy)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what happens to bytes from now on.
    pub fn set(&self, network: Network) {
        self.shared.network.store(network as u8, Ordering::SeqCst);
        if network == Network::Cut {
            let mut open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
            for stream in open.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// Bytes that were dropped: a test that dropped none has shown nothing.
    pub fn swallowed(&self) -> u64 {
        self.shared.swallowed.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn is(&self, network: Network) -> bool {
        self.network.load(Ordering::SeqCst) == network as u8
    }

    fn join(self: Arc<Self>, client: TcpStream, target: &Target) -> Result<()> {
        client.set_nodelay(true)?;
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(client.try_clone()?);
        let (from_client, to_client) = (client.try_clone()?, client);
        match target {
            Target::Tcp(address) => {
                let server = TcpStream::connect(address)?;
                server.set_nodelay(true)?;
                let back = server.try_clone()?;
                self.clone().pump(from_client, server, false);
                self.pump(back, to_client, true);
            }
            Target::Unix(path) => {
                let server = UnixStream::connect(path)?;
                let back = server.try_clone()?;
                self.clone().pump(from_client, server, false);
                self.pump(back, to_client, true);
            }
        }
        Ok(())
    }

    /// Forwards until one side ends; `answers` says which way.
    fn pump(
        self: Arc<Self>,
        mut from: impl Read + Send + 'static,
        mut to: impl Write + Send + 'static,
        answers: bool,
    ) {
        std::thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                let lost = self.is(Network::Stalled) || (answers && self.is(Network::NoAnswers));
                if lost {
                    self.swallowed.fetch_add(count as u64, Ordering::SeqCst);
                    // What was lost is lost: the rest of this connection is noise.
                    while !self.is(Network::Whole) && !self.is(Network::Cut) {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    return;
                }
                if to.write_all(&buffer[..count]).and_then(|()| to.flush()).is_err() {
                    return;
                }
            }
        });
    }
}
