//! Query parameters, read strictly: an unknown, repeated or unreadable one is
//! an error, so that a typing mistake never widens a query.

use std::collections::BTreeMap;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;

use super::Refused;
use crate::service::ServiceError;

/// Longest query, in bytes.
const LONGEST_QUERY: usize = 8 * 1024;

/// The parameters that have not been taken yet.
#[derive(Debug)]
pub(super) struct Params(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        if parts.uri.query().is_some_and(|query| query.len() > LONGEST_QUERY) {
            return Err(Refused(ServiceError::TooLarge {
                code: "query_too_large",
                field: String::new(),
                message: "a query has at most 8 KiB".to_owned(),
            }));
        }
        let pairs = Query::try_from_uri(&parts.uri).map_err(|_| {
            ServiceError::invalid("invalid_value", "query", "not a query such as name=train")
        })?;
        Ok(Self(pairs.0))
    }
}

impl Params {
    /// A text; empty where it is not given. Given and empty is a mistake: a name that
    /// a script did not fill in must not mean every name.
    pub(super) fn text(&mut self, name: &'static str) -> Result<String, ServiceError> {
        match self.optional(name)? {
            Some(text) if text.is_empty() => {
                let message = "is empty; leave the parameter out";
                Err(ServiceError::invalid("invalid_value", name, message))
            }
            text => Ok(text.unwrap_or_default()),
        }
    }

    /// The token of a page; empty, given or not, for the first.
    pub(super) fn page_token(&mut self) -> Result<String, ServiceError> {
        Ok(self.optional("page_token")?.unwrap_or_default())
    }

    fn optional(&mut self, name: &'static str) -> Result<Option<String>, ServiceError> {
        let mut found = self.take(|given| given == name);
        match (found.pop(), found.pop()) {
            (value, None) => Ok(value.map(|(_, value)| value)),
            (_, Some(_)) => {
                Err(ServiceError::invalid("duplicate_parameter", name, "is given twice"))
            }
        }
    }

    /// A number; 0 where it is not given.
    pub(super) fn number<N: FromStr + Default>(
        &mut self,
        name: &'static str,
    ) -> Result<N, ServiceError> {
        Ok(self.optional_number(name)?.unwrap_or_default())
    }

    /// A number; none where it is not given.
    pub(super) fn optional_number<N: FromStr>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<N>, ServiceError> {
        let Some(text) = self.optional(name)? else { return Ok(None) };
        let plain = text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse().ok().filter(|_| plain);
        number
            .map(Some)
            .ok_or_else(|| ServiceError::invalid("invalid_value", name, "not a whole number"))
    }

    /// `true` or `false`; false where it is not given.
    pub(super) fn flag(&mut self, name: &'static str) -> Result<bool, ServiceError> {
        match self.optional(name)?.as_deref() {
            Some("true") => Ok(true),
            Some("false") | None => Ok(false),
            _ => Err(ServiceError::invalid("invalid_value", name, "write true or false")),
        }
    }

    /// A list: `name=a,b` or `name=a&name=b`.
    pub(super) fn list(&mut self, name: &'static str) -> Result<Vec<String>, ServiceError> {
        let found = self.take(|given| given == name);
        let parts = found.iter().flat_map(|(_, value)| value.split(','));
        let parts: Vec<String> = parts.map(str::to_owned).collect();
        if parts.iter().any(String::is_empty) {
            let message = "has an empty part; leave the parameter out for none";
            return Err(ServiceError::invalid("invalid_value", name, message));
        }
        Ok(parts)
    }

    /// A map: `name[key]=value`.
    pub(super) fn map(
        &mut self,
        name: &'static str,
    ) -> Result<BTreeMap<String, String>, ServiceError> {
        let key = |given: &str| -> Option<String> {
            Some(given.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')?.to_owned())
        };
        let mut map = BTreeMap::new();
        for (given, value) in self.take(|given| key(given).is_some()) {
            let key = key(&given).unwrap_or_default();
            if map.insert(key, value).is_some() {
                return Err(ServiceError::invalid("duplicate_parameter", name, "has a key twice"));
            }
        }
        Ok(map)
    }

    /// Refuses whatever was not taken.
    pub(super) fn end(self) -> Result<(), ServiceError> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().take(60).flat_map(char::escape_debug).collect();
                let message = "this address has no such parameter";
                Err(ServiceError::invalid("unknown_parameter", &name, message))
            }
        }
    }

    fn take(&mut self, wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        let (found, left) =
            std::mem::take(&mut self.0).into_iter().partition(|(name, _)| wanted(name));
        self.0 = left;
        found
    }
}

/// The job in an address, as it was written.
#[derive(Debug)]
pub(super) struct JobPath(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for JobPath {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(job) = path
            .map_err(|_| ServiceError::invalid("invalid_value", "job", "not a job such as j17"))?;
        Ok(Self(job))
    }
}

/// The pool or machine in an address, as it was written.
#[derive(Debug)]
pub(super) struct NamePath(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for NamePath {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(name) = path
            .map_err(|_| ServiceError::invalid("invalid_value", "path", "not a name in UTF-8"))?;
        Ok(Self(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn params(query: &str) -> Params {
        let request = axum::http::Request::builder().uri(format!("/x?{query}")).body(()).unwrap();
        Params::from_request_parts(&mut request.into_parts().0, &()).await.unwrap()
    }

    #[tokio::test]
    async fn parameters_are_taken_one_by_one() {
        let mut given =
            params("state=waiting,held&state=active&page_size=5&tag[Team]=a%20b&all=true").await;
        assert_eq!(given.list("state").unwrap(), ["waiting", "held", "active"]);
        assert_eq!(given.number::<u32>("page_size").unwrap(), 5);
        assert_eq!(given.map("tag").unwrap()["Team"], "a b");
        assert!(given.flag("all").unwrap() && !given.flag("follow").unwrap());
        assert!(given.end().is_ok());
    }

    #[tokio::test]
    async fn what_is_not_known_is_refused() {
        let error = params("team=*").await.end().unwrap_err();
        assert_eq!((error.code(), error.field()), ("unknown_parameter", "team"));
        for bad in ["n=-1", "n=1e9", "n=99999999999", "n=+5", "n=1&n=2", "n=x", "n="] {
            assert!(params(bad).await.number::<u32>("n").is_err(), "{bad}");
        }
        assert!(params("state=").await.list("state").is_err());
        assert!(params("name=").await.text("name").is_err());
        assert_eq!(params("").await.text("name").unwrap(), "");
        assert_eq!(params("page_token=").await.page_token().unwrap(), "", "the first page");
        assert!(params("all=").await.flag("all").is_err());
        assert!(params("all=yes").await.flag("all").is_err());
        assert!(params("tag[a]=1&tag[a]=2").await.map("tag").is_err());
    }
}
