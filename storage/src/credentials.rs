//! Credentials that do not last: held in memory, renewed in time.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use tokio::sync::Mutex;

/// While what is held is still good, whoever issues credentials and has failed is left
/// alone for this long.
const PAUSE: Duration = Duration::from_secs(20);

/// What is asked for at the end of its life is not used for the last of it: a request with
/// it may take this long.
const MARGIN: Duration = Duration::from_secs(15);

/// Keys of an object store, for a time.
#[derive(Clone)]
pub struct Credentials {
    /// The access key's id.
    pub key_id: String,
    /// The secret key.
    pub secret_key: String,
    /// The session's token, if it is one.
    pub session_token: Option<String>,
    /// How long they are good, from when they were asked for; `None` without an end.
    pub lasts: Option<Duration>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("lasts", &self.lasts).finish_non_exhaustive()
    }
}

/// Why no credentials were issued.
#[derive(Debug, thiserror::Error)]
#[error("no credentials for the storage: {0}")]
pub struct IssueError(pub String);

/// Whoever issues credentials.
#[async_trait]
pub trait Issuer: fmt::Debug + Send + Sync {
    /// New ones.
    async fn issue(&self) -> Result<Credentials, IssueError>;
}

/// Credentials that are renewed when half of their time is over: so they outlast an
/// absence of whoever issues them by the other half.
#[derive(Debug)]
pub struct Renewing {
    issuer: Arc<dyn Issuer>,
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    key: Arc<AwsCredential>,
    renew_at: Option<Instant>,
    ends: Option<Instant>,
}

impl Renewing {
    /// Issued when first needed.
    pub fn new(issuer: Arc<dyn Issuer>) -> Self {
        Self { issuer, held: Mutex::default() }
    }

    /// The store has refused what is held: it is not used again.
    pub async fn discard(&self) {
        *self.held.lock().await = None;
    }
}

#[async_trait]
impl CredentialProvider for Renewing {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut held = self.held.lock().await;
        let now = Instant::now();
        if let Some(held) = held.as_ref()
            && held.renew_at.is_none_or(|at| now < at)
        {
            return Ok(held.key.clone());
        }
        match self.issuer.issue().await {
            Ok(new) => Ok(held.insert(Held::new(new, now)).key.clone()),
            Err(error) => match held.as_mut() {
                Some(held) if held.ends.is_none_or(|ends| now + MARGIN < ends) => {
                    tracing::warn!(%error, "credentials are not renewed yet; those held are good");
                    held.renew_at = Some(now + PAUSE);
                    Ok(held.key.clone())
                }
                _ => Err(object_store::Error::Generic { store: "S3", source: Box::new(error) }),
            },
        }
    }
}

impl Held {
    fn new(new: Credentials, asked: Instant) -> Self {
        let Credentials { key_id, secret_key, session_token, lasts } = new;
        Self {
            key: Arc::new(AwsCredential { key_id, secret_key, token: session_token }),
            renew_at: lasts.map(|lasts| asked + lasts / 2),
            ends: lasts.map(|lasts| asked + lasts),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[derive(Debug, Default)]
    struct Counted {
        calls: AtomicU32,
        /// From this call on nothing is issued.
        until: u32,
        lasts: Duration,
    }

    #[async_trait]
    impl Issuer for Counted {
        async fn issue(&self) -> Result<Credentials, IssueError> {
            let call = self.calls.fetch_add(1, Ordering::Relaxed);
            if call >= self.until {
                return Err(IssueError("nobody leads".to_owned()));
            }
            Ok(Credentials {
                key_id: call.to_string(),
                secret_key: "hush".to_owned(),
                session_token: None,
                lasts: Some(self.lasts),
            })
        }
    }

    fn renewing(until: u32, lasts: Duration) -> (Arc<Counted>, Renewing) {
        let issuer = Arc::new(Counted { until, lasts, ..Counted::default() });
        (issuer.clone(), Renewing::new(issuer))
    }

    async fn key(renewing: &Renewing) -> Option<String> {
        renewing.get_credential().await.ok().map(|key| key.key_id.clone())
    }

    #[tokio::test]
    async fn they_are_held_until_half_of_their_time_and_then_renewed() {
        let (issuer, it) = renewing(9, Duration::from_millis(400));
        assert_eq!(key(&it).await.as_deref(), Some("0"));
        assert_eq!(key(&it).await.as_deref(), Some("0"));
        tokio::time::sleep(Duration::from_millis(210)).await;
        assert_eq!(key(&it).await.as_deref(), Some("1"));
        assert_eq!(issuer.calls.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn while_nobody_issues_those_held_are_used_as_long_as_they_are_good() {
        let (issuer, it) = renewing(1, Duration::from_secs(3_600));
        assert_eq!(key(&it).await.as_deref(), Some("0"));
        it.held.lock().await.as_mut().unwrap().renew_at = Some(Instant::now());
        for _ in 0..3 {
            assert_eq!(key(&it).await.as_deref(), Some("0"));
        }
        assert_eq!(issuer.calls.load(Ordering::Relaxed), 2, "it is left alone for a while");
        let mut held = it.held.lock().await;
        let last = held.as_mut().unwrap();
        (last.renew_at, last.ends) = (Some(Instant::now()), Some(Instant::now()));
        drop(held);
        assert_eq!(key(&it).await, None, "expired");
    }

    #[tokio::test]
    async fn what_the_store_has_refused_is_asked_for_anew_and_never_shown() {
        let (_, it) = renewing(2, Duration::from_secs(3_600));
        assert_eq!(key(&it).await.as_deref(), Some("0"));
        it.discard().await;
        assert_eq!(key(&it).await.as_deref(), Some("1"));
        it.discard().await;
        let error = it.get_credential().await.unwrap_err();
        assert!(error.to_string().contains("nobody leads"), "{error}");
        assert!(!format!("{it:?}").contains("hush"));
    }
}
