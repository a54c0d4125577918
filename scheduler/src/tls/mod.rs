//! The certificate that the scheduler shows: the operator's, read again when its files
//! change, or one of an authority of its own.

mod authority;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use spotwise_api::trust::Fingerprint;
use tokio_util::sync::CancellationToken;

use authority::Authority;

/// How often the operator's files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// How often an own certificate is made anew; it is good for thirty times as long.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// What a listener shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TlsSetting {
    /// No TLS: on loopback, or behind a trusted proxy.
    #[default]
    None,
    /// A certificate of an own authority, kept in the data folder.
    Own,
    /// The operator's.
    Files(CertificateFiles),
}

/// Files of the operator, all PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Its authority, for workers whose system does not know it.
    pub authority: Option<PathBuf>,
}

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not PEM, or nothing of the kind in it.
    #[error("{} holds no {what} (PEM): {why}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// `certificate` or `key`.
        what: &'static str,
        /// The parser's words.
        why: String,
    },
    /// The key is not the certificate's.
    #[error("the key in {} is not that of the certificate in {}", key.display(), certificate.display())]
    Mismatch {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The own authority cannot make one.
    #[error("cannot make a certificate")]
    Issue(#[from] rcgen::Error),
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Setup(#[from] rustls::Error),
}

/// When files were last written, and their sizes.
type Stamps = Vec<Option<(SystemTime, u64)>>;

/// What is shown now.
#[derive(Debug)]
pub struct Certificates {
    source: Source,
    current: RwLock<Arc<CertifiedKey>>,
    authority: Option<Fingerprint>,
}

#[derive(Debug)]
enum Source {
    Own { authority: Authority, names: Vec<String> },
    Files(CertificateFiles),
}

impl Certificates {
    /// What a setting says; `None` for no TLS. An own certificate is for these names.
    ///
    /// # Errors
    /// There is nothing to show.
    pub fn open(
        setting: &TlsSetting,
        folder: &Path,
        names: Vec<String>,
    ) -> Result<Option<Arc<Self>>, TlsError> {
        let (source, authority) = match setting {
            TlsSetting::None => return Ok(None),
            TlsSetting::Own => {
                let authority = Authority::open(folder)?;
                let fingerprint = authority.fingerprint();
                (Source::Own { authority, names }, Some(fingerprint))
            }
            TlsSetting::Files(files) => {
                let own = files.authority.as_deref().map(certificates).transpose()?;
                let authority = own.and_then(|own| own.first().map(|own| Fingerprint::of(own)));
                (Source::Files(files.clone()), authority)
            }
        };
        let current = RwLock::new(source.read()?);
        Ok(Some(Arc::new(Self { source, current, authority })))
    }

    /// The authority that workers and people pin; `None` where systems know it.
    pub fn authority(&self) -> Option<Fingerprint> {
        self.authority
    }

    /// How the listener speaks.
    ///
    /// # Errors
    /// A defect of the build.
    pub(crate) fn server_config(self: &Arc<Self>) -> Result<ServerConfig, TlsError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Keeps what is shown fresh. A certificate that cannot be used changes nothing.
    pub(crate) async fn renew(self: Arc<Self>, shutdown: CancellationToken) {
        let mut seen = self.source.stamps();
        let interval = match self.source {
            Source::Own { .. } => RENEWAL_INTERVAL,
            Source::Files(_) => LOOK_INTERVAL,
        };
        loop {
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = shutdown.cancelled() => return,
            }
            self.look_again(&mut seen);
        }
    }

    /// Shows what is there now, where that may be something else than before.
    fn look_again(&self, seen: &mut Stamps) {
        let stamps = self.source.stamps();
        if stamps != *seen || matches!(self.source, Source::Own { .. }) {
            *seen = stamps;
            self.take_fresh();
        }
    }

    fn take_fresh(&self) {
        match self.source.read() {
            Ok(fresh) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
                tracing::info!("a fresh certificate is shown");
            }
            // Between two files that are written one after the other, too.
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the fresh certificate cannot be used; the old one is shown");
            }
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Source {
    fn read(&self) -> Result<Arc<CertifiedKey>, TlsError> {
        Ok(Arc::new(match self {
            Self::Own { authority, names } => authority.issue(names)?,
            Self::Files(files) => read(files)?,
        }))
    }

    /// Changes when the files do.
    fn stamps(&self) -> Stamps {
        let Self::Files(files) = self else { return Vec::new() };
        let stamp = |path: &PathBuf| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        vec![stamp(&files.certificate), stamp(&files.key)]
    }
}

fn read(files: &CertificateFiles) -> Result<CertifiedKey, TlsError> {
    let mut chain = certificates(&files.certificate)?;
    // Who pins the authority must see it.
    for authority in files.authority.iter().map(|path| certificates(path)) {
        chain.extend(authority?.into_iter().take(1));
    }
    chain.dedup();
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| content(&files.key, "key", &error))?;
    let key = ring::sign::any_supported_type(&key)?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(certified)
        }
        Err(_) => Err(TlsError::Mismatch {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
        }),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| content(path, "certificate", &error))?;
    if found.is_empty() {
        let why = "no section of a certificate".to_owned();
        return Err(TlsError::Content { path: path.to_owned(), what: "certificate", why });
    }
    Ok(found)
}

fn content(path: &Path, what: &'static str, error: &rustls::pki_types::pem::Error) -> TlsError {
    let path = path.to_owned();
    match error {
        rustls::pki_types::pem::Error::Io(source) => {
            TlsError::File { path, source: io::Error::new(source.kind(), source.to_string()) }
        }
        error => TlsError::Content { path, what, why: error.to_string() },
    }
}

#[cfg(test)]
mod tests;
