//! What is kept of a shard to know it by.

use sha2::{Digest, Sha256};

use super::hex;

/// The hash of a shard's bytes, in lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    /// Of formats up to the third.
    Sha256(String),
    /// Of this version: a tenth of the work, so that hashing never is what takes the time.
    Blake3(String),
}

/// Computes one, as the bytes go by.
#[derive(Clone, Debug)]
pub(crate) enum Hasher {
    Sha256(Sha256),
    Blake3(Box<blake3::Hasher>),
}

impl Hash {
    pub(crate) fn is_hexadecimal(&self) -> bool {
        let (Self::Sha256(text) | Self::Blake3(text)) = self;
        text.len() == 64
            && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    }

    /// One to compare with this.
    pub(crate) fn hasher(&self) -> Hasher {
        match self {
            Self::Sha256(_) => Hasher::Sha256(Sha256::new()),
            Self::Blake3(_) => Hasher::default(),
        }
    }
}

impl Default for Hasher {
    /// As new shards are hashed.
    fn default() -> Self {
        Self::Blake3(Box::default())
    }
}

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(it) => it.update(bytes),
            Self::Blake3(it) => {
                it.update(bytes);
            }
        }
    }

    pub(crate) fn finish(self) -> Hash {
        match self {
            Self::Sha256(it) => Hash::Sha256(hex(&it.finalize())),
            Self::Blake3(it) => Hash::Blake3(hex(it.finalize().as_bytes())),
        }
    }
}
