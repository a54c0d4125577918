//! Text as numbers: the vocabulary, the tokens, and how a pipeline hands them on.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::folder;

/// 20 kB that travel with the program, so that it runs in any folder. Prose
/// last: the held-out tenth is then prose, not the end of a licence.
const EMBEDDED: [&str; 2] =
    [include_str!("../data/apache-2.0.txt"), include_str!("../data/fleet.txt")];

/// The text of `paths` in their order, or the embedded text where there are
/// none. Of a folder all `.md` and `.txt` files are read, by name.
///
/// # Errors
/// A path that is missing or is no text.
pub fn read(paths: &[PathBuf]) -> Result<String> {
    if paths.is_empty() {
        return Ok(EMBEDDED.concat());
    }
    let mut text = String::new();
    for path in paths {
        append(path, &mut text)?;
    }
    Ok(text)
}

/// The characters that are known, each with a number. 0 is any other character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub struct Vocab(Vec<char>);

impl Vocab {
    /// All characters of `text`.
    pub fn of(text: &str) -> Self {
        let mut chars: Vec<char> = text.chars().collect();
        chars.sort_unstable();
        chars.dedup();
        Self(chars)
    }

    /// Numbers in use, the one for unknown characters included.
    pub fn size(&self) -> usize {
        self.0.len() + 1
    }

    /// The numbers of `text`.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let number = |c| self.0.binary_search(&c).map_or(0, |at| at + 1);
        text.chars().filter_map(|c| u32::try_from(number(c)).ok()).collect()
    }

    /// The text of numbers; an unknown character becomes U+FFFD.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let char = |token: u32| self.0.get(usize::try_from(token).ok()?.checked_sub(1)?).copied();
        tokens.iter().map(|token| char(*token).unwrap_or('\u{fffd}')).collect()
    }
}

impl From<Vocab> for String {
    fn from(vocab: Vocab) -> Self {
        vocab.0.into_iter().collect()
    }
}

impl From<String> for Vocab {
    fn from(chars: String) -> Self {
        Self::of(&chars)
    }
}

/// Tokens to learn from and tokens to be examined with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    /// The characters of the whole text.
    pub vocab: Vocab,
    /// The first nine tenths.
    pub train: Vec<u32>,
    /// The last tenth, never learnt from.
    pub heldout: Vec<u32>,
}

impl Corpus {
    /// Tokenises a text.
    pub fn of(text: &str) -> Self {
        let vocab = Vocab::of(text);
        let mut train = vocab.encode(text);
        let heldout = train.split_off(train.len() - train.len() / 10);
        Self { vocab, train, heldout }
    }

    /// A short name of exactly these tokens (FNV-1a, 64 bits): work that goes
    /// on with another text would not be the same work.
    pub fn fingerprint(&self) -> String {
        let numbers = self.train.iter().chain(&self.heldout).flat_map(|token| token.to_le_bytes());
        let chars = String::from(self.vocab.clone()).into_bytes();
        let hash =
            chars.into_iter().chain(numbers).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        format!("{hash:016x}")
    }

    /// Writes the folder that [`Corpus::load`] reads: `vocab.json`, and tokens
    /// as 16-bit little-endian numbers in `train.bin` and `heldout.bin`.
    ///
    /// # Errors
    /// The file system's, or more than 65,535 different characters.
    pub fn save(&self, dir: &Path) -> Result<()> {
        folder::write_whole(dir, |dir| {
            folder::write_json(&dir.join("vocab.json"), &self.vocab)?;
            fs::write(dir.join("train.bin"), to_bytes(&self.train)?)?;
            fs::write(dir.join("heldout.bin"), to_bytes(&self.heldout)?)?;
            Ok(())
        })
        .with_context(|| format!("writing tokens to {}", dir.display()))
    }

    /// Reads what [`Corpus::save`] wrote.
    ///
    /// # Errors
    /// A file that is missing or broken.
    pub fn load(dir: &Path) -> Result<Self> {
        let vocab: Vocab = folder::read_json(&dir.join("vocab.json"))?;
        let tokens = |name: &str| {
            let file = dir.join(name);
            let bytes = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
            from_bytes(&bytes, vocab.size())
                .with_context(|| format!("{} holds no tokens of this text", file.display()))
        };
        let (train, heldout) = (tokens("train.bin")?, tokens("heldout.bin")?);
        Ok(Self { vocab, train, heldout })
    }
}

fn append(path: &Path, text: &mut String) -> Result<()> {
    if !path.is_dir() {
        let content = fs::read_to_string(path);
        text.push_str(&content.with_context(|| format!("reading {}", path.display()))?);
        return Ok(());
    }
    for file in texts_of(path)? {
        append(&file, text)?;
    }
    Ok(())
}

/// Folders and text files of a folder, by name.
pub(crate) fn texts_of(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    let mut files = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .with_context(|| format!("reading {}", dir.display()))?;
    files.retain(|file| {
        file.is_dir() || file.extension().is_some_and(|end| end == "md" || end == "txt")
    });
    files.sort_unstable();
    Ok(files)
}

fn to_bytes(tokens: &[u32]) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(tokens.len() * 2);
    for token in tokens {
        let token = u16::try_from(*token).context("more than 65,535 different characters")?;
        bytes.extend(token.to_le_bytes());
    }
    Ok(bytes)
}

fn from_bytes(bytes: &[u8], vocab: usize) -> Result<Vec<u32>> {
    let (pairs, []) = bytes.as_chunks::<2>() else { bail!("an odd number of bytes") };
    let tokens: Vec<u32> = pairs.iter().map(|pair| u16::from_le_bytes(*pair).into()).collect();
    match tokens.iter().max() {
        Some(largest) if usize::try_from(*largest)? >= vocab => bail!("token {largest} of {vocab}"),
        _ => Ok(tokens),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives_the_numbers_and_strangers_are_marked() {
        let vocab = Vocab::of("señor, a café");
        assert_eq!(vocab.decode(&vocab.encode("fécaña")), "fécaña");
        assert_eq!(vocab.encode("Z"), [0]);
        assert_eq!(vocab.decode(&[0, 99]), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn tokens_survive_the_shared_folder() {
        let dir = tempfile::tempdir().unwrap();
        let corpus = Corpus::of(&read(&[]).unwrap());
        assert!(corpus.train.len() > 17_000 && corpus.heldout.len() > 1_900);
        corpus.save(&dir.path().join("tokens")).unwrap();
        // A second attempt of the same step replaces what the first one wrote.
        corpus.save(&dir.path().join("tokens")).unwrap();
        assert_eq!(Corpus::load(&dir.path().join("tokens")).unwrap(), corpus);
    }

    #[test]
    fn tokens_of_another_text_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = dir.path().join("tokens");
        Corpus::of(&read(&[]).unwrap()).save(&tokens).unwrap();
        folder::write_json(&tokens.join("vocab.json"), &Vocab::of("ab")).unwrap();
        assert!(Corpus::load(&tokens).is_err());
    }

    #[test]
    fn the_fingerprint_tells_texts_apart() {
        let print = |text: &str| Corpus::of(text).fingerprint();
        assert_eq!(print("abcabcabcabc"), print("abcabcabcabc"));
        assert_ne!(print("abcabcabcabc"), print("abcabcabcacb"));
        // The same numbers, but other characters.
        assert_ne!(print("abcabcabcabc"), print("xyzxyzxyzxyz"));
    }

    #[test]
    fn a_folder_is_read_by_name_and_only_its_texts() {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in [("b.txt", "B"), ("a.md", "A"), ("c.bin", "C")] {
            fs::write(dir.path().join(name), content).unwrap();
        }
        assert_eq!(read(&[dir.path().to_owned()]).unwrap(), "AB");
        assert!(read(&[dir.path().join("missing.txt")]).is_err());
    }
}
