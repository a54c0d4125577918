//! How a worker proves whose it is. Nothing about it is stored but a hash.
//!
//! It is started with a **bootstrap token**, good for minutes, and draws a key of its own.
//! The first call that shows the token binds the key to the attempt and rank: whoever shows
//! the same token later needs the same key. From then on it shows a **credential**, good
//! for an hour, which heartbeats renew, and the key gets again, while the attempt lives.
//! Both are derived from a secret that never leaves the scheduler (decision 43).

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use spotwise_control::WorkerId;
use spotwise_model::time::after;

/// Longer than a worker that was started looks for a scheduler.
const BOOTSTRAP_LIFE: Duration = Duration::from_secs(15 * 60);
/// How long a credential is good.
const CREDENTIAL_LIFE: Duration = Duration::from_secs(3600);
/// For so long after its end a credential still appends what its attempt has printed.
const OUTPUT_GRACE: Duration = Duration::from_secs(24 * 3600);

/// Creates and checks what workers show.
#[derive(Clone)]
pub struct WorkerTokens {
    secret: [u8; SECRET_BYTES],
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bootstrap,
    Credential,
}

impl Kind {
    /// How it begins: those who search code for secrets know it by that.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Bootstrap => "swb_",
            Self::Credential => "swk_",
        }
    }
}

/// What a token shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It is that worker's.
    Good,
    /// It was.
    Expired,
    /// It never was.
    Forged,
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

    /// What a worker is started with.
    pub fn bootstrap(&self, worker: WorkerId, now: Timestamp) -> String {
        self.token(Kind::Bootstrap, worker, after(now, BOOTSTRAP_LIFE))
    }

    /// What it shows once its key is bound.
    pub fn credential(&self, worker: WorkerId, now: Timestamp) -> String {
        self.token(Kind::Credential, worker, after(now, CREDENTIAL_LIFE))
    }

    /// Whether `token` is what that worker was started with.
    pub fn is_bootstrap(&self, worker: WorkerId, token: &str, now: Timestamp) -> Proof {
        Proof::of(self.until(Kind::Bootstrap, worker, token), now)
    }

    /// Whether `token` is that worker's credential.
    pub fn is_credential(&self, worker: WorkerId, token: &str, now: Timestamp) -> Proof {
        Proof::of(self.until(Kind::Credential, worker, token), now)
    }

    /// The same for output, which is accepted for longer: what an attempt has printed while
    /// no scheduler answered, and it was given up, is worth reading.
    pub fn may_append(&self, worker: WorkerId, token: &str, now: Timestamp) -> bool {
        let until = self.until(Kind::Credential, worker, token);
        until.is_some_and(|until| now < after(until, OUTPUT_GRACE))
    }

    /// Kind, whose, until when, and the HMAC-SHA-256 of these in hex.
    fn token(&self, kind: Kind, worker: WorkerId, until: Timestamp) -> String {
        let claims =
            format!("{}{}-{}_{}", kind.prefix(), worker.attempt, worker.rank, until.as_second());
        let proof = hex(&hmac(&self.secret, claims.as_bytes()));
        format!("{claims}_{proof}")
    }

    /// Until when that worker's token of this kind is good; `None` if it is not that. Takes
    /// the same time for every wrong token of the right length.
    fn until(&self, kind: Kind, worker: WorkerId, token: &str) -> Option<Timestamp> {
        let seconds = token.strip_prefix(kind.prefix())?.split('_').nth(1)?.parse().ok()?;
        let until = Timestamp::from_second(seconds).ok()?;
        are_equal(&self.token(kind, worker, until), token).then_some(until)
    }
}

impl Proof {
    fn of(until: Option<Timestamp>, now: Timestamp) -> Self {
        match until {
            None => Self::Forged,
            Some(until) if now < until => Self::Good,
            Some(_) => Self::Expired,
        }
    }
}

/// The hash by which a worker's key is known; `None` for what is no key: 32 bytes in hex.
pub(crate) fn key_hash(key: &str) -> Option<String> {
    let digits = key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (digits && key.len() == 2 * SECRET_BYTES).then(|| hex(&Sha256::digest(key)))
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

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_token_is_good_for_one_worker_one_purpose_and_a_while() {
        let tokens = WorkerTokens::new([7; SECRET_BYTES]);
        let (own, now) = (worker("j17.2", 0), at(1_000));
        let (bootstrap, credential) = (tokens.bootstrap(own, now), tokens.credential(own, now));
        assert_eq!(tokens.is_bootstrap(own, &bootstrap, now), Proof::Good);
        assert_eq!(tokens.is_credential(own, &credential, now), Proof::Good);
        assert_eq!(tokens.is_credential(own, &bootstrap, now), Proof::Forged, "another purpose");
        assert_eq!(tokens.is_bootstrap(own, &credential, now), Proof::Forged, "another purpose");
        for other in [worker("j17.2", 1), worker("j17.1", 0), worker("j1.72", 0)] {
            assert_eq!(tokens.is_credential(other, &credential, now), Proof::Forged, "{other:?}");
        }
        let others = WorkerTokens::new([8; SECRET_BYTES]);
        assert_eq!(others.is_credential(own, &credential, now), Proof::Forged);
        let over = at(1_000 + 3_600);
        assert_eq!(tokens.is_credential(own, &credential, over), Proof::Expired);
        assert_eq!(tokens.is_bootstrap(own, &bootstrap, at(1_000 + 900)), Proof::Expired);
        assert!(tokens.may_append(own, &credential, over));
        assert!(!tokens.may_append(own, &credential, at(1_000 + 3_600 + 86_400)));
        assert!(!tokens.may_append(own, &bootstrap, now));
    }

    #[test]
    fn forged_tokens_are_refused() {
        let tokens = WorkerTokens::new([7; SECRET_BYTES]);
        let (own, now) = (worker("j1.1", 0), at(1_000));
        let good = tokens.credential(own, now);
        let cut = &good[..good.len() - 1];
        let long = format!("{good}0");
        let later = good.replace("_4600_", "_9999_");
        assert_ne!(later, good);
        let zeros = format!("swk_j1.1-0_4600_{}", "0".repeat(64));
        for forged in ["", "x", "swk_", cut, &long, &later, &zeros, &good.to_uppercase()] {
            assert_eq!(tokens.is_credential(own, forged, now), Proof::Forged, "{forged}");
        }
    }

    #[test]
    fn a_key_has_one_spelling() {
        let key = "0a".repeat(32);
        assert_eq!(key_hash(&key).map(|hash| hash.len()), Some(64));
        for bad in ["", "x", &key[1..], &key.to_uppercase(), &format!("{key}00")] {
            assert_eq!(key_hash(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_secret_is_made_once_and_kept_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let (own, now) = (worker("j1.1", 0), at(0));
        let token = WorkerTokens::open(&path).unwrap().credential(own, now);
        let again = WorkerTokens::open(&path).unwrap();
        assert_eq!(again.is_credential(own, &token, now), Proof::Good);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "short").unwrap();
        assert!(WorkerTokens::open(&path).is_err());
    }
}
