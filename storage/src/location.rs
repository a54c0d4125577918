//! The address of a storage, as an operator writes it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The longest prefix in a bucket, in bytes: keys may have 1,024, of which ours take less
/// than 100.
const LONGEST_PREFIX: usize = 512;

/// Where files are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageLocation {
    /// A folder of this machine, or one that all machines share.
    Folder(PathBuf),
    /// A bucket of an object store.
    Bucket {
        /// Its name.
        bucket: String,
        /// What all keys begin with, without slashes at its ends; empty for all of the
        /// bucket.
        prefix: String,
    },
}

/// What is wrong with an address, and what to write instead. It is not quoted where it may
/// hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Nothing was written.
    #[error("it is empty: write a folder, or s3://BUCKET/PREFIX")]
    Empty,
    /// A store that this version does not know.
    #[error("`{0}://` is not supported: write a folder, or s3://BUCKET/PREFIX")]
    Scheme(String),
    /// `file://` and no absolute path.
    #[error("`file://` needs an absolute path, as in file:///srv/spotwise")]
    RelativeFile,
    /// Credentials in the address.
    #[error(
        "it holds credentials: write s3://BUCKET/PREFIX, and give the scheduler AWS_ACCESS_KEY_ID \
         and AWS_SECRET_ACCESS_KEY, or a role of its machine"
    )]
    Credentials,
    /// A query or a fragment.
    #[error(
        "`?` and `#` mean nothing in it: region and endpoint are taken from AWS_REGION and \
         AWS_ENDPOINT_URL"
    )]
    Query,
    /// Not the name of a bucket.
    #[error(
        "`{0}` is no name of a bucket: 3 to 63 lower-case letters, digits, dots and hyphens, with \
         a letter or digit at both ends"
    )]
    Bucket(String),
    /// Not a prefix.
    #[error(
        "`{0}` is no prefix: up to {LONGEST_PREFIX} letters, digits and _ . = - in parts between \
         single slashes, none of them `.` or `..`"
    )]
    Prefix(String),
}

impl StorageLocation {
    /// A place below this one.
    #[must_use]
    pub fn join(&self, below: &str) -> Self {
        match self {
            Self::Folder(path) => Self::Folder(path.join(below)),
            Self::Bucket { bucket, prefix } => {
                let prefix =
                    if prefix.is_empty() { below.to_owned() } else { format!("{prefix}/{below}") };
                Self::Bucket { bucket: bucket.clone(), prefix }
            }
        }
    }
}

impl fmt::Display for StorageLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "file://{}", path.display()),
            Self::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

impl FromStr for StorageLocation {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        if text.is_empty() {
            return Err(LocationError::Empty);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::Folder(PathBuf::from(text)));
        };
        match scheme {
            "file" if rest.starts_with('/') => Ok(Self::Folder(PathBuf::from(rest))),
            "file" => Err(LocationError::RelativeFile),
            "s3" => bucket(rest),
            other => Err(LocationError::Scheme(other.chars().take(20).collect())),
        }
    }
}

fn bucket(text: &str) -> Result<StorageLocation, LocationError> {
    if text.contains('@') {
        return Err(LocationError::Credentials);
    }
    if text.contains(['?', '#']) {
        return Err(LocationError::Query);
    }
    let (bucket, prefix) = text.split_once('/').unwrap_or((text, ""));
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let named = (3..=63).contains(&bucket.len())
        && bucket.chars().all(|c| inner(c) || matches!(c, '.' | '-'))
        && bucket.starts_with(inner)
        && bucket.ends_with(inner)
        && !bucket.contains("..");
    if !named {
        return Err(LocationError::Bucket(bucket.chars().take(80).collect()));
    }
    // No `*`, `?` and `$`: they have a meaning in policies.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '=' | '-');
    let part = |part: &str| !matches!(part, "" | "." | "..") && part.chars().all(plain);
    if !prefix.is_empty() && (prefix.len() > LONGEST_PREFIX || !prefix.split('/').all(part)) {
        return Err(LocationError::Prefix(prefix.chars().take(80).collect()));
    }
    Ok(StorageLocation::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, LocationError> {
        text.parse::<StorageLocation>().map(|location| location.to_string())
    }

    #[test]
    fn folders_and_buckets_are_read_and_written_alike() {
        for (text, shown) in [
            ("/srv/spotwise", "file:///srv/spotwise"),
            ("file:///srv/x", "file:///srv/x"),
            ("s3://models", "s3://models"),
            ("s3://models/", "s3://models"),
            ("s3://my.models-1/team=a/b_c/", "s3://my.models-1/team=a/b_c"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(shown));
        }
        let below = |text: &str| text.parse::<StorageLocation>().unwrap().join("checkpoints/j1");
        assert_eq!(below("s3://models").to_string(), "s3://models/checkpoints/j1");
        assert_eq!(below("s3://models/a").to_string(), "s3://models/a/checkpoints/j1");
        assert_eq!(below("/a").to_string(), "file:///a/checkpoints/j1");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_remedy_and_without_a_secret() {
        for (text, remedy) in [
            ("", "write a folder"),
            ("gs://models", "`gs://` is not supported"),
            ("file://srv", "file:///srv/spotwise"),
            ("s3://AKIA:hush@models/x", "AWS_SECRET_ACCESS_KEY"),
            ("s3://models?region=us-east-1", "AWS_REGION"),
            ("s3://Models", "lower-case"),
            ("s3://mo", "3 to 63"),
            ("s3://-models", "letter or digit at both ends"),
            ("s3://models//x", "single slashes"),
            ("s3://models/../x", "none of them"),
            ("s3://models/a*", "letters, digits"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(remedy), "{text}: {message}");
            assert!(!message.contains("hush"), "{message}");
        }
    }
}
