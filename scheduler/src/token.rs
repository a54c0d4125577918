//! How a worker authenticates: one token for each attempt and rank, derived from a secret
//! that never leaves the scheduler. Nothing about it is stored.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use spotwise_control::WorkerId;

/// Creates and checks workers' tokens.
#[derive(Clone)]
pub struct WorkerTokens {
    secret: [u8; SECRET_BYTES],
}

const SECRET_BYTES: usize = 32;

/// The block size of SHA-256, in bytes (FIPS 180-4).
const BLOCK: usize = 64;

impl WorkerTokens {
    /// From a secret.
    pub const fn new(secret: [u8; SECRET_BYTES]) -> Self {
        Self { secret }
    }

    /// From the secret kept in a file, created by the first call: workers that outlive a
    /// restart remain trusted. Only the owner may read the file.
    ///
    /// # Errors
    /// The file cannot be read or created, or does not hold a secret.
    pub fn open(path: &Path) -> io::Result<Self> {
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        match made {
            Ok(mut file) => {
                let mut secret = [0; SECRET_BYTES];
                File::open("/dev/urandom")?.read_exact(&mut secret)?;
                file.write_all(&secret)?;
                file.sync_all()?;
                Ok(Self { secret })
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let kept = std::fs::read(path)?;
                let secret = kept.try_into().map_err(|_| {
                    io::Error::new(io::ErrorKind::InvalidData, "not a secret of 32 bytes")
                })?;
                Ok(Self { secret })
            }
            Err(error) => Err(error),
        }
    }

    /// The name of this installation, which identifies processes and machines as ours:
    /// `sw-` and 16 hex digits derived from the secret.
    pub fn install(&self) -> String {
        let digest = hex(&hmac(&self.secret, b"install"));
        format!("sw-{}", digest.get(..16).unwrap_or(&digest))
    }

    /// The token of one worker: HMAC-SHA-256 of its name, in hex.
    pub fn token(&self, worker: WorkerId) -> String {
        let name = format!("worker:{}-{}", worker.attempt, worker.rank);
        hex(&hmac(&self.secret, name.as_bytes()))
    }

    /// Whether `token` is that worker's. Takes the same time for every wrong
    /// token of the right length.
    pub fn verify(&self, worker: WorkerId, token: &str) -> bool {
        are_equal(&self.token(worker), token)
    }
}

/// Whether two texts are equal, in the same time for all that differ and are of one length.
pub(crate) fn are_equal(expected: &str, given: &str) -> bool {
    let pairs = expected.bytes().zip(given.bytes());
    let differing = pairs.fold(0, |differing, (expected, given)| differing | (expected ^ given));
    expected.len() == given.len() && std::hint::black_box(differing) == 0
}

/// Keeps the secret out of logs.
impl std::fmt::Debug for WorkerTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WorkerTokens(..)")
    }
}

/// RFC 2104 for keys of at most one block.
fn hmac(key: &[u8; SECRET_BYTES], message: &[u8]) -> [u8; 32] {
    let mut inner = [0x36u8; BLOCK];
    let mut outer = [0x5cu8; BLOCK];
    for ((inner, outer), key) in inner.iter_mut().zip(outer.iter_mut()).zip(key) {
        *inner ^= key;
        *outer ^= key;
    }
    let first = Sha256::new().chain_update(inner).chain_update(message).finalize();
    Sha256::new().chain_update(outer).chain_update(first).finalize().into()
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(attempt: &str, rank: u32) -> WorkerId {
        WorkerId { attempt: attempt.parse().unwrap(), rank }
    }

    #[test]
    fn hmac_agrees_with_the_rfc() {
        // RFC 4231, test case 2 has the key "Jefe"; zeros behind it change nothing.
        let mut key = [0; SECRET_BYTES];
        key[..4].copy_from_slice(b"Jefe");
        assert_eq!(
            hex(&hmac(&key, b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn a_token_is_good_for_one_worker_only() {
        let tokens = WorkerTokens::new([7; SECRET_BYTES]);
        let token = tokens.token(worker("j17.2", 0));
        assert!(tokens.verify(worker("j17.2", 0), &token));
        for other in [worker("j17.2", 1), worker("j17.1", 0), worker("j1.72", 0)] {
            assert!(!tokens.verify(other, &token), "{other:?}");
        }
        assert!(!WorkerTokens::new([8; SECRET_BYTES]).verify(worker("j17.2", 0), &token));
    }

    #[test]
    fn forged_tokens_are_refused() {
        let tokens = WorkerTokens::new([7; SECRET_BYTES]);
        let good = tokens.token(worker("j1.1", 0));
        let cut = &good[..good.len() - 1];
        let long = format!("{good}0");
        let zeros = "0".repeat(64);
        for forged in ["", "x", cut, &long, &zeros, &good.to_uppercase()] {
            assert!(!tokens.verify(worker("j1.1", 0), forged), "{forged}");
        }
    }

    #[test]
    fn a_secret_is_made_once_and_kept_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let token = WorkerTokens::open(&path).unwrap().token(worker("j1.1", 0));
        assert!(WorkerTokens::open(&path).unwrap().verify(worker("j1.1", 0), &token));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "short").unwrap();
        assert!(WorkerTokens::open(&path).is_err());
    }
}
