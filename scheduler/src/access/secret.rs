//! Tokens as text: `swt_ID_SECRET`, the secret of 256 bits. What is kept is the SHA-256 of the
//! whole text: of 256 random bits nothing can be guessed, so that no slow hash is needed.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use sha2::{Digest, Sha256};
use spotwise_api::client::credentials::write_private;

use crate::token::hex;

/// How every token begins: those who search code for secrets know it by that.
const PREFIX: &str = "swt_";
const ID_BYTES: usize = 6;
const SECRET_BYTES: usize = 32;

/// A token that has just been made.
pub(crate) struct NewToken {
    /// All of it.
    pub(crate) text: String,
    /// The part that is no secret.
    pub(crate) id: String,
    /// What is kept of it.
    pub(crate) hash: String,
}

impl NewToken {
    /// A new one.
    pub(crate) fn draw() -> io::Result<Self> {
        let (id, secret) = (hex(&random::<ID_BYTES>()?), hex(&random::<SECRET_BYTES>()?));
        let text = format!("{PREFIX}{id}_{secret}");
        let hash = hash(&text);
        Ok(Self { text, id, hash })
    }
}

/// Random bytes of the system.
pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]>
where
    [u8; N]: Default,
{
    let mut bytes = <[u8; N]>::default();
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The id of a token, and its hash; `None` for what is no token.
pub(crate) fn parse(text: &str) -> Option<(&str, String)> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let digits = |text: &str, bytes: usize| {
        text.len() == 2 * bytes && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    (digits(id, ID_BYTES) && digits(secret, SECRET_BYTES)).then(|| (id, hash(text)))
}

fn hash(text: &str) -> String {
    hex(&Sha256::digest(text))
}

/// The admin token of a data folder, made by the first call: whoever may read the folder may
/// read the database's address, and is an admin anyway.
pub(crate) fn admin_token(path: &Path) -> io::Result<String> {
    match std::fs::read_to_string(path) {
        Ok(kept) if parse(kept.trim()).is_some() => Ok(kept.trim().to_owned()),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "holds no token; remove the file, and a new one is made",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let new = NewToken::draw()?.text;
            write_private(path, &new)?;
            Ok(new)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_hash() {
        let (one, other) = (NewToken::draw().unwrap(), NewToken::draw().unwrap());
        assert_eq!(parse(&one.text), Some((one.id.as_str(), one.hash.clone())));
        assert_ne!(one.text, other.text);
        assert!(!one.text.contains(&one.hash));
        let cut = &one.text[..one.text.len() - 1];
        let upper = one.text.to_uppercase();
        for bad in ["", "swt_", "swt_a_b", cut, &upper, &format!("{}0", one.text), "Bearer x"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_admin_token_is_made_once_and_kept_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.token");
        let token = admin_token(&path).unwrap();
        assert_eq!(admin_token(&path).unwrap(), token);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "hello").unwrap();
        assert!(admin_token(&path).unwrap_err().to_string().contains("remove the file"));
    }
}
