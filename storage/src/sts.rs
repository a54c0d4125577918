//! The security token service: credentials for a role, for a time, with fewer rights.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use url::Url;

use crate::bucket::{OwnCredentials, S3Settings};
use crate::credentials::Credentials;
use crate::error::StorageError;
use crate::signed::{Signed, SignedError};

/// What every role gives, also where the scheduler itself runs under a role (AWS limits
/// that to an hour).
const SESSION: Duration = Duration::from_secs(3_600);

/// The name of a role: `arn:aws:iam::123456789012:role/name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role(String);

/// Not the name of a role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no role: write its ARN, as in arn:aws:iam::123456789012:role/spotwise-worker")]
pub struct RoleError(String);

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        let parts: Vec<_> = text.splitn(6, ':').collect();
        let named = matches!(
            parts.as_slice(),
            ["arn", partition, "iam", "", account, role]
                if partition.starts_with("aws")
                    && account.len() == 12
                    && account.bytes().all(|byte| byte.is_ascii_digit())
                    && role.strip_prefix("role/").is_some_and(|name| !name.is_empty())
        );
        if named && text.len() <= 2_048 && text.chars().all(|c| c.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(RoleError(text.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why there are no credentials for a role.
#[derive(Debug, thiserror::Error)]
pub enum StsError {
    /// The service says no.
    #[error("AssumeRole of {role} is refused: {source}")]
    Refused {
        /// Which.
        role: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The scheduler has none to ask with.
    #[error("the scheduler's own credentials")]
    Own(#[source] StorageError),
}

/// Asks for credentials.
#[derive(Debug)]
pub struct SecurityTokens {
    own: OwnCredentials,
    role: Role,
    url: Url,
    requests: Signed,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    assume_role_result: Assumed,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Assumed {
    credentials: Keys,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Keys {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: Timestamp,
}

impl SecurityTokens {
    /// Asks in the name of `own` for what `role` may do.
    ///
    /// # Errors
    /// An endpoint that is none.
    pub fn new(
        settings: &S3Settings,
        own: OwnCredentials,
        role: Role,
    ) -> Result<Self, StorageError> {
        let url = settings.sts_endpoint.clone();
        let url = url.unwrap_or_else(|| format!("https://sts.{}.amazonaws.com/", settings.region));
        let url = Url::parse(&url).map_err(|_| StorageError::Endpoint(url))?;
        Ok(Self { own, role, url, requests: Signed::new(settings, "sts")? })
    }

    /// Credentials that may do what `policy` says, as far as the role may. `session` is
    /// what the provider's own log calls them. `now` is compared with their end.
    ///
    /// # Errors
    /// They are refused, or nobody answers.
    pub async fn assume(
        &self,
        session: &str,
        policy: &str,
        now: Timestamp,
    ) -> Result<Credentials, StsError> {
        let keys = self.own.keys().await.map_err(StsError::Own)?;
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", "AssumeRole")
            .append_pair("Version", "2011-06-15")
            .append_pair("RoleArn", &self.role.0)
            .append_pair("RoleSessionName", session)
            .append_pair("DurationSeconds", &SESSION.as_secs().to_string())
            .append_pair("Policy", policy)
            .finish();
        let answer: Result<Answer, SignedError> =
            self.requests.send(&self.url, Some(form), &keys).await;
        let keys = answer
            .map_err(|error| StsError::Refused {
                role: self.role.to_string(),
                source: Box::new(error),
            })?
            .assume_role_result
            .credentials;
        let lasts = Duration::try_from(keys.expiration.duration_since(now)).unwrap_or_default();
        Ok(Credentials {
            key_id: keys.access_key_id,
            secret_key: keys.secret_access_key,
            session_token: Some(keys.session_token),
            // A clock that goes wrong makes it no longer than what was asked for.
            lasts: Some(lasts.min(SESSION)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_named_by_their_arn() {
        for good in ["arn:aws:iam::123456789012:role/x", "arn:aws-cn:iam::123456789012:role/a/b"] {
            assert_eq!(good.parse::<Role>().unwrap().to_string(), good);
        }
        for bad in ["", "worker", "arn:aws:iam::12:role/x", "arn:aws:iam::123456789012:user/x"] {
            let message = bad.parse::<Role>().unwrap_err().to_string();
            assert!(message.contains("write its ARN"), "{message}");
        }
    }

    #[test]
    fn answers_are_read() {
        let text = "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
            <AssumeRoleResult><AssumedRoleUser><Arn>a</Arn><AssumedRoleId>b</AssumedRoleId>\
            </AssumedRoleUser><Credentials><AccessKeyId>ASIA1</AccessKeyId>\
            <SecretAccessKey>s/+=</SecretAccessKey><SessionToken>t//=</SessionToken>\
            <Expiration>2019-11-09T13:34:41Z</Expiration></Credentials>\
            <PackedPolicySize>6</PackedPolicySize></AssumeRoleResult><ResponseMetadata>\
            <RequestId>c6104cbe</RequestId></ResponseMetadata></AssumeRoleResponse>";
        let keys = quick_xml::de::from_str::<Answer>(text).unwrap().assume_role_result.credentials;
        assert_eq!((keys.access_key_id.as_str(), keys.session_token.as_str()), ("ASIA1", "t//="));
    }
}
