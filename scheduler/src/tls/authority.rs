//! An authority of this installation alone: a key and a certificate in the data folder,
//! made by the first start. People and workers pin its fingerprint.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use spotwise_api::client::credentials::write_private;
use spotwise_api::trust::Fingerprint;
use spotwise_model::time::after;

use super::TlsError;

/// How long an authority is good: longer than an installation lives.
const AUTHORITY_YEARS: i32 = 20;
/// How long a certificate is good that is made anew each day and at each start.
const CERTIFICATE_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Issues the certificates of one installation.
pub(super) struct Authority {
    certificate: CertificateDer<'static>,
    key: String,
}

impl Authority {
    /// That of a folder, made by the first call.
    pub(super) fn open(folder: &Path) -> Result<Self, TlsError> {
        let file = |name: &str| folder.join(name);
        let (certificate_file, key_file) = (file("authority.pem"), file("authority.key"));
        let at = |path: &Path| {
            let path: PathBuf = path.to_owned();
            move |source: io::Error| TlsError::File { path, source }
        };
        if !certificate_file.exists() {
            let key = KeyPair::generate()?;
            let made = params()?.self_signed(&key)?;
            // The certificate last: with it, all is there.
            write_private(&key_file, key.serialize_pem().trim_end()).map_err(at(&key_file))?;
            write_private(&certificate_file, made.pem().trim_end())
                .map_err(at(&certificate_file))?;
        }
        let key = std::fs::read_to_string(&key_file).map_err(at(&key_file))?;
        let certificate = CertificateDer::from_pem_file(&certificate_file)
            .map_err(|error| super::content(&certificate_file, "certificate", &error))?;
        Ok(Self { certificate, key })
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// A new certificate for these names and addresses.
    pub(super) fn issue(&self, names: &[String]) -> Result<CertifiedKey, TlsError> {
        let issuer = Issuer::new(params()?, KeyPair::from_pem(&self.key)?);
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        let now = crate::clock::now();
        // Clocks of other machines may be behind.
        let (year, month, day) = parts(yesterday(now));
        params.not_before = date_time_ymd(year, month, day);
        let (year, month, day) = parts(date(after(now, CERTIFICATE_LIFE)));
        params.not_after = date_time_ymd(year, month, day);
        params.distinguished_name = named("spotwise scheduler");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let issued = params.signed_by(&key, &issuer)?;
        let der = PrivateKeyDer::try_from(key.serialize_der())
            .map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
        let chain = vec![issued.der().clone(), self.certificate.clone()];
        Ok(CertifiedKey::new(chain, ring::sign::any_supported_type(&der)?))
    }
}

/// Keeps the key out of logs.
impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({})", self.fingerprint())
    }
}

/// What the authority says of itself; the same in its certificate and in what it issues.
fn params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = named("spotwise authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let (year, month, day) = parts(yesterday(crate::clock::now()));
    params.not_before = date_time_ymd(year, month, day);
    params.not_after = date_time_ymd(year + AUTHORITY_YEARS, 1, 1);
    Ok(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn date(at: jiff::Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

fn yesterday(now: jiff::Timestamp) -> Date {
    date(now).yesterday().unwrap_or(date(now))
}

/// Year, month and day, as `rcgen` takes them.
fn parts(date: Date) -> (i32, u8, u8) {
    let part = |part: i8| u8::try_from(part).unwrap_or(1);
    (date.year().into(), part(date.month()), part(date.day()))
}
