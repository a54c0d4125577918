//! The options of `serve` that other machines need.

use std::net::IpAddr;
use std::path::PathBuf;

use spotwise_scheduler::config::ServeConfig;
use spotwise_scheduler::tls::{CertificateFiles, TlsSetting};

use super::readable;
use crate::exit::Failure;

/// Who may reach the scheduler besides programs of its own machine.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Other machines")]
pub(super) struct Reach {
    /// Speak TLS, with a certificate of an authority that the first start makes; others pin
    /// its fingerprint
    #[arg(long, conflicts_with_all = ["tls_cert", "trusted_proxies"])]
    tls: bool,
    /// Speak TLS with this certificate (PEM, with those between it and its authority); read
    /// again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key", conflicts_with = "trusted_proxies")]
    tls_cert: Option<PathBuf>,
    /// The key of --tls-cert (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The authority of --tls-cert (PEM), where the systems of workers do not know it
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_ca: Option<PathBuf>,
    /// A proxy that speaks TLS in place of the scheduler; its X-Forwarded-For is believed,
    /// and nobody else may connect. May be given again
    #[arg(long = "trusted-proxy", value_name = "ADDRESS")]
    trusted_proxies: Vec<IpAddr>,
    /// A name under which it is called, besides those of --advertise, of the machine and of
    /// the address it listens on. May be given again
    #[arg(long = "name", value_name = "HOST", value_parser = host)]
    names: Vec<String>,
}

impl Reach {
    /// Checks what the flags say together, with where it listens.
    pub(super) fn apply(self, config: &mut ServeConfig) -> Result<(), Failure> {
        let listen = config.listen;
        config.tls = match (self.tls, self.tls_cert, self.tls_key) {
            (_, Some(certificate), Some(key)) => {
                readable("--tls-cert", &certificate)?;
                readable("--tls-key", &key)?;
                if let Some(authority) = &self.tls_ca {
                    readable("--tls-ca", authority)?;
                }
                TlsSetting::Files(CertificateFiles { certificate, key, authority: self.tls_ca })
            }
            (true, _, _) => TlsSetting::Own,
            _ => TlsSetting::None,
        };
        let protected = config.tls != TlsSetting::None || !self.trusted_proxies.is_empty();
        if !protected && !listen.ip().to_canonical().is_loopback() {
            return Err(Failure::usage(format!(
                "--listen {listen} can be reached from other machines: add --tls, or --tls-cert \
                 and --tls-key, or name the proxy that speaks TLS with --trusted-proxy"
            )));
        }
        if listen.ip().is_unspecified() && config.advertise.is_none() {
            return Err(Failure::usage(format!(
                "--listen {listen}: say where workers reach it, with --advertise \
                 https://HOST:{}",
                listen.port()
            )));
        }
        config.trusted_proxies = self.trusted_proxies;
        config.names = self.names;
        Ok(())
    }
}

/// A host's name or address, without a port.
fn host(text: &str) -> Result<String, String> {
    let is_address = text.parse::<IpAddr>().is_ok();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    let is_name = !text.is_empty() && text.len() <= 253 && text.bytes().all(plain);
    if is_address || is_name {
        return Ok(text.to_ascii_lowercase());
    }
    Err("write a host without a port, such as spotwise.example".to_owned())
}
