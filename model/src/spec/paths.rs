//! Checks of locations: paths, images, sources.

use super::document::{InputDocument, OutputDocument};
use super::error::{Problem, Under, shown};
use super::read::TextOr;
use super::{Input, Output};

pub(super) const MAX_PATH_BYTES: usize = 512;
pub(super) const MAX_PLACES: usize = 100;

/// A path below the working folder. Percent signs are refused, so there is
/// nothing to decode, once or twice.
pub(super) fn relative(path: String) -> Result<String, Problem> {
    let plain =
        path.len() <= MAX_PATH_BYTES && path.split('/').all(|segment| is_segment(segment, b"._-"));
    if plain { Ok(path) } else { Err(bad_path(&path)) }
}

fn bad_path(path: &str) -> Problem {
    let message = format!(
        "{} is not a relative path: write segments of letters, digits and `._-` with single `/` \
         between them, without `.`, `..` or a `/` at the ends",
        shown(path)
    );
    Problem::new("invalid_path", message)
}

/// Not empty, not `.` or `..`, made of ASCII letters, digits and `extra`.
fn is_segment(segment: &str, extra: &[u8]) -> bool {
    !matches!(segment, "" | "." | "..")
        && segment.bytes().all(|b| b.is_ascii_alphanumeric() || extra.contains(&b))
}

/// Where the command starts: relative, or absolute with the same segments.
pub(super) fn workdir(path: String) -> Result<String, Problem> {
    relative(path.strip_prefix('/').unwrap_or(&path).to_owned()).map_err(|_| bad_path(&path))?;
    Ok(path)
}

/// A container image: `[host[:port]/]name[:tag][@sha256:digest]`, the grammar
/// of the OCI distribution specification.
pub(super) fn image(text: String) -> Result<String, Problem> {
    if text.len() <= MAX_PATH_BYTES && is_image(&text) {
        return Ok(text);
    }
    let message = format!(
        "{} is not an image; write such as `registry.example.com/team/train:1.4`, with no `http://`",
        shown(&text)
    );
    Err(Problem::new("invalid_image", message))
}

fn is_image(text: &str) -> bool {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    let (folders, last) = rest.rsplit_once('/').map_or(("", rest), |(f, l)| (f, l));
    let (name, tag) = match last.split_once(':') {
        Some((name, tag)) => (name, Some(tag)),
        None => (last, None),
    };
    let folders_good = folders.is_empty() && !rest.starts_with('/')
        || folders
            .split('/')
            .enumerate()
            .all(|(i, part)| is_image_part(part) || (i == 0 && is_host(part)));
    folders_good
        && is_image_part(name)
        && tag.is_none_or(is_image_tag)
        && digest.is_none_or(is_digest)
}

fn is_image_part(part: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = |b: Option<&u8>| b.is_some_and(|b| word(*b));
    ends(part.as_bytes().first())
        && ends(part.as_bytes().last())
        && part.bytes().all(|b| word(b) || b"._-".contains(&b))
        && !part.contains("..")
}

fn is_host(part: &str) -> bool {
    let (host, port) = part.split_once(':').unwrap_or((part, "443"));
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    host.split('.').all(label) && digits && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_image_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !tag.starts_with(['.', '-'])
}

fn is_digest(digest: &str) -> bool {
    digest.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

pub(super) fn inputs(inputs: Vec<InputDocument>) -> Result<Vec<Input>, Problem> {
    limit(inputs.len())?;
    let mut read: Vec<Input> = Vec::with_capacity(inputs.len());
    for (index, InputDocument { from, to }) in inputs.into_iter().enumerate() {
        let from = source(from).under("from").item(index)?;
        let to = relative(to).under("to").item(index)?;
        if read.iter().any(|other| other.to == to) {
            let message = "another input already goes there";
            return Err(Problem::new("duplicate_path", message).key("to").index(index));
        }
        read.push(Input { from, to });
    }
    Ok(read)
}

pub(super) fn outputs(outputs: Vec<TextOr<OutputDocument>>) -> Result<Vec<Output>, Problem> {
    limit(outputs.len())?;
    let read = |output| match output {
        TextOr::Text(path) => relative(path),
        TextOr::Other(OutputDocument { path }) => relative(path).under("path"),
    };
    outputs
        .into_iter()
        .enumerate()
        .map(|(index, output)| Ok(Output { path: read(output).item(index)? }))
        .collect()
}

fn limit(count: usize) -> Result<(), Problem> {
    if count > MAX_PLACES {
        let message = format!("more than {MAX_PLACES}; put them into folders");
        return Err(Problem::new("out_of_range", message));
    }
    Ok(())
}

/// A local path or an object-store URI.
fn source(text: String) -> Result<String, Problem> {
    let good = match text.strip_prefix("s3://") {
        Some(rest) => is_object(rest),
        None => is_local(&text),
    };
    if good && text.len() <= MAX_PATH_BYTES {
        return Ok(text);
    }
    let message = format!(
        "{} is not an input; write a local path without `..`, or `s3://bucket/key` (no other \
         scheme is read)",
        shown(&text)
    );
    Err(Problem::new("invalid_source", message))
}

fn is_object(rest: &str) -> bool {
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
    let key = key.strip_suffix('/').unwrap_or(key);
    (3..=63).contains(&bucket.len())
        && bucket.bytes().all(legal)
        && bucket.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !bucket.contains("..")
        && !key.is_empty()
        && key.split('/').all(|segment| is_segment(segment, b"._=-"))
}

/// `.`, `./code`, `data/x`, `/data/x`: any printable name, but nothing that looks like a
/// scheme, an option, a home folder or an escape.
fn is_local(text: &str) -> bool {
    let path = text.strip_prefix("./").or_else(|| text.strip_prefix('/')).unwrap_or(text);
    let path = path.strip_suffix('/').unwrap_or(path);
    let segment = |s: &str| {
        !matches!(s, "" | "." | "..") && !s.chars().any(|c| c.is_control() || ":%\\".contains(c))
    };
    matches!(text, "." | "./") || (!text.starts_with(['-', '~']) && path.split('/').all(segment))
}

/// An absolute path to a file that holds a secret; kernel folders hold the
/// worker's own (`/proc/self/environ`).
pub(super) fn secret_file(path: &str) -> Result<(), Problem> {
    let barred = ["proc", "sys", "dev"];
    let good = path.len() <= MAX_PATH_BYTES
        && path.strip_prefix('/').is_some_and(|rest| {
            rest.split('/').all(|segment| is_segment(segment, b"._-"))
                && !rest.split('/').next().is_some_and(|first| barred.contains(&first))
        });
    if good {
        return Ok(());
    }
    let message = format!("{} is not the absolute path of a file of secrets", shown(path));
    Err(Problem::new("invalid_secret", message))
}
