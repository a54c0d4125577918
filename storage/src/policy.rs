//! What a worker's credentials may do: a session policy, which takes rights away from those
//! of the role and never adds any.

use serde_json::json;

/// What may be done below a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Read, write and remove objects.
    Write,
    /// Read objects.
    Read,
}

/// Rights to everything below a prefix of a bucket, and to nothing else: objects by their
/// keys, listings by their prefix. AWS allows 2,048 characters of it; this has fewer than
/// 1,500 with the longest prefix there is.
pub fn session_policy(bucket: &str, prefix: &str, rights: Rights) -> String {
    let actions: &[&str] = match rights {
        Rights::Write => &[
            "s3:GetObject",
            "s3:PutObject",
            "s3:DeleteObject",
            "s3:AbortMultipartUpload",
            "s3:ListMultipartUploadParts",
        ],
        Rights::Read => &["s3:GetObject"],
    };
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": actions,
                "Resource": format!("arn:aws:s3:::{bucket}/{prefix}/*"),
            },
            {
                "Effect": "Allow",
                "Action": "s3:ListBucket",
                "Resource": format!("arn:aws:s3:::{bucket}"),
                "Condition": {"StringLike": {"s3:prefix": format!("{prefix}/*")}},
            },
        ],
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_policy_is_accepted_by_aws() {
        let (bucket, prefix) =
            ("b".repeat(63), format!("{}/checkpoints/j{}", "p".repeat(512), u64::MAX));
        let policy = session_policy(&bucket, &prefix, Rights::Write);
        assert!(policy.len() < 2_048, "{}", policy.len());
        assert!(!session_policy("b", "p", Rights::Read).contains("Put"));
    }
}
