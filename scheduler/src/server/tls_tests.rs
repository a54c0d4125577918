//! What is spoken under TLS, and who is believed.

use std::path::Path;
use std::time::Duration;

use spotwise_api::trust::{self, Fingerprint, Trust};
use spotwise_api::v1;
use spotwise_api::v1::system_client::SystemClient;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Endpoint;

use super::tests::TestServer;
use super::*;
use crate::tls::{Certificates, TlsSetting};
use spotwise_api::client::Bearer;

async fn server(folder: &Path, names: &[&str]) -> (TestServer, Fingerprint) {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let certificates = Certificates::open(&TlsSetting::Own, folder, names).unwrap();
    let authority = certificates.as_ref().and_then(|it| it.authority()).unwrap();
    let door = Door::new(certificates.as_ref(), Vec::new(), Vec::new()).unwrap();
    (TestServer::behind(door, Limits::of_process()).await, authority)
}

async fn call(server: &TestServer, host: &str, trust: Trust) -> Result<(), String> {
    let address = format!("https://{host}:{}", server.address.port());
    let endpoint = Endpoint::from_shared(address).unwrap();
    let channel = trust.secure(endpoint).unwrap().connect().await.map_err(|error| {
        std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default()
    })?;
    let token = server.bearer();
    let bearer = Bearer::new(token.strip_prefix("Bearer "));
    let mut client = SystemClient::new(InterceptedService::new(channel, bearer));
    client.info(v1::InfoRequest {}).await.map(drop).map_err(|status| status.to_string())
}

#[tokio::test]
async fn only_the_pinned_authority_is_believed_and_only_for_its_names() {
    let (folder, foreign) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, authority) = server(folder.path(), &["localhost", "127.0.0.1"]).await;
    for host in ["localhost", "127.0.0.1"] {
        assert_eq!(call(&server, host, Trust::Pinned(authority)).await, Ok(()), "{host}");
    }
    let other = Certificates::open(&TlsSetting::Own, foreign.path(), Vec::new()).unwrap().unwrap();
    let other = other.authority().unwrap();
    assert!(call(&server, "localhost", Trust::Pinned(other)).await.is_err(), "another authority");
    let port = server.address.port();
    assert_eq!(trust::look("127.0.0.1", port).await.unwrap(), authority);
    assert!(!trust::is_trusted("localhost", port).await);
}

/// A certificate of the right authority for another name: somebody who has one stands
/// between.
#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (server, authority) = server(folder.path(), &["spot.example"]).await;
    let refused = call(&server, "localhost", Trust::Pinned(authority)).await;
    assert!(refused.is_err(), "{refused:?}");
}

/// The chain shows the pinned authority, and the certificate is of another.
#[tokio::test]
async fn to_show_the_pinned_authority_is_not_to_be_issued_by_it() {
    let (real, fake) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let names = || vec!["localhost".to_owned()];
    let pinned = Certificates::open(&TlsSetting::Own, real.path(), names()).unwrap().unwrap();
    let files = crate::tls::CertificateFiles {
        certificate: fake.path().join("cert.pem"),
        key: fake.path().join("key.pem"),
        authority: Some(real.path().join("authority.pem")),
    };
    let key = rcgen::KeyPair::generate().unwrap();
    let made = rcgen::CertificateParams::new(names()).unwrap().self_signed(&key).unwrap();
    std::fs::write(&files.certificate, made.pem()).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    let shown = Certificates::open(&TlsSetting::Files(files), fake.path(), names());
    let door = Door::new(shown.unwrap().as_ref(), Vec::new(), Vec::new()).unwrap();
    let server = TestServer::behind(door, Limits::of_process()).await;
    let refused = call(&server, "localhost", Trust::Pinned(pinned.authority().unwrap())).await;
    assert!(refused.is_err(), "{refused:?}");
}

#[tokio::test]
async fn who_speaks_plainly_is_told_and_who_says_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = server(folder.path(), &["localhost"]).await;
    let answer = server.call("GET /v1/info", "", "").await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("write https"), "{answer}");
    let port = server.address.port();
    let plain = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
    let plain = tokio::time::timeout(Duration::from_secs(5), async {
        let channel = plain.connect().await.map_err(|error| error.to_string())?;
        SystemClient::new(channel).info(v1::InfoRequest {}).await.map_err(|e| e.to_string())
    });
    assert!(plain.await.expect("it is answered").is_err(), "no HTTP/2 without TLS");
}

#[test]
fn a_proxy_says_whom_it_answers_for_and_nobody_else_does() {
    let proxies = vec!["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
    let door = Door::new(None, proxies, Vec::new()).unwrap();
    let seen = |peer: &str, said: &[&str]| {
        let mut request = Request::builder();
        for said in said {
            request = request.header("x-forwarded-for", *said);
        }
        let mut request = request.body(()).unwrap();
        request.extensions_mut().insert(PeerAddress(peer.parse().unwrap()));
        door.see_through_proxy(&mut request);
        request.extensions().get::<PeerAddress>().unwrap().0.to_string()
    };
    assert_eq!(seen("10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
    assert_eq!(seen("10.0.0.1", &["1.1.1.1, 203.0.113.9, 10.0.0.2"]), "203.0.113.9");
    assert_eq!(seen("10.0.0.1", &["1.1.1.1", "203.0.113.9"]), "203.0.113.9");
    for (peer, said) in
        [("10.0.0.1", vec![]), ("10.0.0.1", vec!["what"]), ("203.0.113.9", vec!["1.1.1.1"])]
    {
        assert_eq!(seen(peer, &said), peer, "{said:?}");
    }
}
