//! Whom a program takes for a scheduler: the certificate that answers under TLS.
//!
//! A scheduler with an authority of its own is known by the [`Fingerprint`] of that
//! authority, which is said once ("pinned") and is no secret. Any other is known by the
//! authorities that this machine's system trusts.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{ClientTlsConfig, Endpoint};

/// The SHA-256 of a certificate, as `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of a certificate (DER).
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Not a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a fingerprint: write sha256: and 64 hexadecimal digits, as `serve` prints it")]
pub struct NotAFingerprint;

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    /// Reads also what `openssl x509 -fingerprint -sha256` prints: capitals, and colons
    /// between bytes.
    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        let text = text.trim().to_ascii_lowercase();
        let digits = text
            .strip_prefix("sha256:")
            .or_else(|| text.strip_prefix("sha256 fingerprint="))
            .ok_or(NotAFingerprint)?;
        let digits: Vec<u8> = digits.bytes().filter(|byte| *byte != b':').collect();
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|it| u8::try_from(it).ok());
        let mut bytes = [0; 32];
        if digits.len() != 2 * bytes.len() {
            return Err(NotAFingerprint);
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = pair else { return Err(NotAFingerprint) };
            let (high, low) = digit(*high).zip(digit(*low)).ok_or(NotAFingerprint)?;
            *byte = 16 * high + low;
        }
        Ok(Self(bytes))
    }
}

/// Whom to believe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Who has a certificate of an authority that the system trusts.
    System,
    /// Who has a certificate of this authority, for the name that was called.
    Pinned(Fingerprint),
}

impl Trust {
    /// What was pinned, else the system.
    pub fn of(pinned: Option<Fingerprint>) -> Self {
        pinned.map_or(Self::System, Self::Pinned)
    }

    /// The endpoint under TLS.
    ///
    /// # Errors
    /// The address has no host, or the system trusts nobody.
    pub fn secure(self, endpoint: Endpoint) -> Result<Endpoint, tonic::transport::Error> {
        match self {
            Self::System => endpoint.tls_config(ClientTlsConfig::new().with_native_roots()),
            Self::Pinned(pinned) => endpoint.tls_config_with_verifier(
                ClientTlsConfig::new(),
                Arc::new(Verifier { pinned: Some(pinned), ..Verifier::new() }),
            ),
        }
    }
}

/// The last certificate that a server shows, of its authority or its own, without believing
/// or telling it anything.
///
/// # Errors
/// It does not answer, or not under TLS.
pub async fn look(host: &str, port: u16) -> std::io::Result<Fingerprint> {
    let verifier = Arc::new(Verifier::new());
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_no_client_auth();
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    let name = ServerName::try_from(host).map_err(std::io::Error::other)?;
    // Nobody is believed, so it always ends in an error: what was shown is kept.
    let refused = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let shown = *verifier.shown.lock().unwrap_or_else(PoisonError::into_inner);
    match (shown, refused) {
        (Some(authority), _) => Ok(authority),
        (None, Err(error)) => Err(error),
        (None, Ok(_)) => Err(std::io::Error::other("it showed no certificate")),
    }
}

/// Whether the system trusts the certificate of a server for the name that was called.
pub async fn is_trusted(host: &str, port: u16) -> bool {
    let address = format!("https://{host}:{port}");
    let Ok(endpoint) = Endpoint::from_shared(address) else { return false };
    match Trust::System.secure(endpoint) {
        Ok(endpoint) => endpoint.connect().await.is_ok(),
        Err(_) => false,
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Believes who shows a certificate for the name called that was issued, as far as the
/// signatures go, by the pinned authority, which is among the certificates shown. Without a
/// pin it believes nobody.
#[derive(Debug)]
struct Verifier {
    pinned: Option<Fingerprint>,
    provider: Arc<CryptoProvider>,
    shown: Mutex<Option<Fingerprint>>,
}

impl Verifier {
    fn new() -> Self {
        Self { pinned: None, provider: provider(), shown: Mutex::default() }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let last = intermediates.last().unwrap_or(end_entity);
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(Fingerprint::of(last));
        let unknown = || Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let pinned = self.pinned.ok_or_else(unknown)?;
        let authority =
            intermediates.iter().find(|it| Fingerprint::of(it) == pinned).ok_or_else(unknown)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
                .build()
                .map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_have_one_spelling_and_are_read_in_others() {
        let one = Fingerprint::of(b"certificate");
        let text = one.to_string();
        assert_eq!(text.len(), "sha256:".len() + 64);
        let upper = text["sha256:".len()..].to_uppercase();
        let pairs: Vec<&str> =
            upper.as_bytes().chunks(2).map(|it| str::from_utf8(it).unwrap()).collect();
        for good in
            [text.clone(), format!(" {text}\n"), format!("SHA256 Fingerprint={}", pairs.join(":"))]
        {
            assert_eq!(good.parse(), Ok(one), "{good}");
        }
        for bad in [
            "",
            "sha256:",
            &text[1..],
            &text[..text.len() - 1],
            &format!("{text}0"),
            &text.replace("256:", "256:+"),
        ] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(NotAFingerprint), "{bad}");
        }
    }
}
