use rcgen::{CertificateParams, KeyPair};

use super::*;

fn own(folder: &Path, names: &[&str]) -> Arc<Certificates> {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    Certificates::open(&TlsSetting::Own, folder, names).unwrap().unwrap()
}

fn shown(certificates: &Certificates) -> Vec<Fingerprint> {
    certificates.current.read().unwrap().cert.iter().map(|it| Fingerprint::of(it)).collect()
}

/// A self-signed certificate and its key, PEM.
fn self_signed() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["spot.example".to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn files(folder: &Path, certificate: &str, key: &str) -> CertificateFiles {
    let files = CertificateFiles {
        certificate: folder.join("cert.pem"),
        key: folder.join("key.pem"),
        authority: None,
    };
    std::fs::write(&files.certificate, certificate).unwrap();
    std::fs::write(&files.key, key).unwrap();
    files
}

fn open(files: &CertificateFiles) -> Result<Arc<Certificates>, TlsError> {
    let setting = TlsSetting::Files(files.clone());
    Certificates::open(&setting, Path::new("/nowhere"), Vec::new()).map(Option::unwrap)
}

#[test]
fn an_authority_is_made_once_and_its_key_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("tls");
    let first = own(&folder, &["localhost", "127.0.0.1"]);
    let again = own(&folder, &["localhost"]);
    assert_eq!(first.authority(), again.authority());
    let (first, again) = (shown(&first), shown(&again));
    assert_eq!((first.len(), first.get(1)), (2, again.get(1)), "the authority comes along");
    assert_ne!(first.first(), again.first(), "each start has a certificate of its own");
    let mode = std::fs::metadata(folder.join("authority.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let other = tempfile::tempdir().unwrap();
    assert_ne!(own(other.path(), &[]).authority(), own(&folder, &[]).authority());
}

#[test]
fn what_the_operator_gives_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let ((certificate, key), (_, other)) = (self_signed(), self_signed());
    assert!(open(&files(folder.path(), &certificate, &key)).is_ok());
    let message = |certificate: &str, key: &str| {
        open(&files(folder.path(), certificate, key)).unwrap_err().to_string()
    };
    assert!(message(&certificate, &other).contains("is not that of the certificate"));
    assert!(message("", &key).contains("cert.pem holds no certificate"));
    assert!(message(&certificate, "hello").contains("key.pem holds no key"));
    let gone = files(folder.path(), &certificate, &key);
    std::fs::remove_file(&gone.key).unwrap();
    assert!(matches!(open(&gone), Err(TlsError::File { path, .. }) if path == gone.key));
}

#[test]
fn a_renewed_file_is_shown_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = self_signed();
    let certificates = open(&files(folder.path(), &certificate, &key)).unwrap();
    let (old, mut seen) = (shown(&certificates), certificates.source.stamps());

    std::fs::write(folder.path().join("cert.pem"), "half of it").unwrap();
    certificates.look_again(&mut seen);
    assert_eq!(shown(&certificates), old);

    let (certificate, key) = self_signed();
    files(folder.path(), &certificate, &key);
    certificates.look_again(&mut seen);
    assert_ne!(shown(&certificates), old);
}
