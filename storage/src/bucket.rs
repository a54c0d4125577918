//! A bucket: its settings, and how it is opened.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{
    AmazonS3, AmazonS3Builder, AwsCredential, AwsCredentialProvider, Checksum, S3ConditionalPut,
};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};

use crate::error::StorageError;

/// Variables by which a process finds credentials of AWS.
pub const CREDENTIAL_VARIABLES: [&str; 10] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
];

/// A machine that does not take a connection for so long is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a request is tried, unless somebody says otherwise: a quarter of the notice of
/// two minutes that AWS gives before it takes a machine back.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a bucket is, and how patiently it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Settings {
    /// The region that requests are signed for.
    pub region: String,
    /// Where the store answers; `None` for AWS.
    pub endpoint: Option<String>,
    /// Where the security token service answers; `None` where the store does, or for AWS.
    pub sts_endpoint: Option<String>,
    /// A request that fails is repeated for so long at most, the first try included.
    pub retry_timeout: Duration,
}

impl S3Settings {
    /// The usual variables of the environment: `AWS_REGION` (or `AWS_DEFAULT_REGION`),
    /// `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL_STS`, `AWS_ENDPOINT_URL`.
    ///
    /// # Errors
    /// Names what is missing.
    pub fn from_environment(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, StorageError> {
        let set = |names: &[&str]| names.iter().find_map(|n| variable(n).filter(|v| !v.is_empty()));
        let endpoint = set(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]);
        let region = match (set(&["AWS_REGION", "AWS_DEFAULT_REGION"]), &endpoint) {
            (Some(region), _) => region,
            // What is no AWS has no regions, and signs for this one.
            (None, Some(_)) => "us-east-1".to_owned(),
            (None, None) => return Err(StorageError::NoRegion),
        };
        for url in endpoint.iter().chain(&set(&["AWS_ENDPOINT_URL_STS"])) {
            if !url.starts_with("https://") && !url.starts_with("http://") {
                return Err(StorageError::Endpoint(url.chars().take(200).collect()));
            }
        }
        let sts_endpoint = set(&["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"]);
        Ok(Self { region, endpoint, sts_endpoint, retry_timeout: RETRY_TIMEOUT })
    }

    pub(crate) fn bucket_url(&self, bucket: &str) -> String {
        match &self.endpoint {
            Some(endpoint) => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
            None => format!("https://s3.{}.amazonaws.com/{bucket}", self.region),
        }
    }

    pub(crate) fn client_options(&self) -> ClientOptions {
        ClientOptions::new()
            .with_allow_http(true)
            .with_connect_timeout(CONNECT_TIMEOUT.min(self.retry_timeout))
            .with_timeout(self.retry_timeout)
    }

    fn retries(&self) -> RetryConfig {
        let backoff = BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(3),
            base: 2.,
        };
        RetryConfig { backoff, max_retries: 20, retry_timeout: self.retry_timeout }
    }
}

pub(crate) fn open(
    bucket: &str,
    settings: &S3Settings,
    credentials: AwsCredentialProvider,
) -> object_store::Result<AmazonS3> {
    ring_for_tls();
    settings.builder(AmazonS3Builder::new(), bucket).with_credentials(credentials).build()
}

impl S3Settings {
    fn builder(&self, builder: AmazonS3Builder, bucket: &str) -> AmazonS3Builder {
        let builder = builder
            .with_bucket_name(bucket)
            .with_region(&self.region)
            .with_client_options(self.client_options())
            .with_retry(self.retries())
            // The store compares it with what has arrived, and refuses what differs.
            .with_checksum_algorithm(Checksum::SHA256)
            .with_conditional_put(S3ConditionalPut::ETagMatch);
        match &self.endpoint {
            Some(endpoint) => builder.with_endpoint(endpoint),
            None => builder,
        }
    }
}

/// The scheduler's own credentials, found as AWS's programs find theirs: variables of the
/// environment, a projected token, the machine's or the container's role.
#[derive(Clone)]
pub struct OwnCredentials(pub(crate) AwsCredentialProvider);

impl fmt::Debug for OwnCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnCredentials")
    }
}

impl OwnCredentials {
    /// Finds where they come from; they are read when first needed.
    ///
    /// # Errors
    /// Half of a pair of keys, or a client that cannot be made.
    pub fn find(bucket: &str, settings: &S3Settings) -> Result<Self, StorageError> {
        ring_for_tls();
        let store = settings.builder(AmazonS3Builder::from_env(), bucket).build()?;
        Ok(Self(Arc::clone(store.credentials())))
    }

    /// For whoever opens the storage with them.
    pub fn provider(&self) -> AwsCredentialProvider {
        Arc::clone(&self.0)
    }

    /// The keys as they are now.
    ///
    /// # Errors
    /// There are none.
    pub async fn keys(&self) -> Result<Arc<AwsCredential>, StorageError> {
        Ok(self.0.get_credential().await?)
    }
}

/// Connections use ring, as everything else here does. Whoever was first has chosen it
/// already.
pub fn ring_for_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> Result<S3Settings, StorageError> {
        let find = |name: &str| set.iter().find(|it| it.0 == name).map(|it| it.1.to_owned());
        S3Settings::from_environment(find)
    }

    #[test]
    fn settings_are_those_that_other_programs_use() {
        let aws = read(&[("AWS_REGION", "eu-central-1")]).unwrap();
        assert_eq!(aws.bucket_url("models"), "https://s3.eu-central-1.amazonaws.com/models");
        let own = [("AWS_ENDPOINT_URL", "http://127.0.0.1:9000/"), ("AWS_DEFAULT_REGION", "x")];
        let own = read(&own).unwrap();
        assert_eq!(own.bucket_url("models"), "http://127.0.0.1:9000/models");
        assert_eq!((own.region.as_str(), own.sts_endpoint), ("x", own.endpoint));
        let apart = [("AWS_ENDPOINT_URL_S3", "http://s3"), ("AWS_ENDPOINT_URL_STS", "http://sts")];
        assert_eq!(read(&apart).unwrap().sts_endpoint.as_deref(), Some("http://sts"));
    }

    #[test]
    fn what_is_missing_is_named() {
        for (set, named) in [
            (&[][..], "AWS_REGION"),
            (&[("AWS_REGION", "")][..], "AWS_REGION"),
            (&[("AWS_ENDPOINT_URL", "127.0.0.1:9000")][..], "http://"),
        ] {
            let message = read(set).unwrap_err().to_string();
            assert!(message.contains(named), "{message}");
        }
    }
}
