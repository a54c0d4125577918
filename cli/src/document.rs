//! Job files and pools files: read with a bound on their size, and checked on this machine.

use std::io::Read;
use std::path::Path;

use serde::Serialize;
use spotwise_model::pools_file::PoolsFile;
use spotwise_model::spec::{self, MAX_DOCUMENT_BYTES, SpecError, Submission};

use crate::exit::{Exit, Failure};

/// A job file that is valid.
#[derive(Debug)]
pub(crate) struct Document {
    /// How it is called in messages.
    pub(crate) name: String,
    /// What it says.
    pub(crate) text: String,
    /// `yaml` or `json`, as the wire calls them.
    pub(crate) format: &'static str,
    /// What it submits.
    pub(crate) submission: Submission,
}

/// A job file that is not valid.
#[derive(Debug, Serialize)]
pub(crate) struct Defect {
    /// Which.
    pub(crate) file: String,
    /// 0 where it is not known.
    line: u32,
    /// 0 where it is not known.
    column: u32,
    /// Stable, for programs.
    code: String,
    /// Empty for the whole document.
    field: String,
    /// What is wrong and what to write instead.
    message: String,
}

impl Document {
    /// Reads and checks one; `-` is standard input.
    pub(crate) fn read(path: &Path) -> Result<Self, Defect> {
        let name = name_of(path);
        let bytes = bounded(path).map_err(|error| Defect::io(&name, &error))?;
        if bytes.len() >= MOST_READ {
            return Err(endless(&name));
        }
        Self::parse(name, path, bytes)
    }

    fn parse(name: String, path: &Path, bytes: Vec<u8>) -> Result<Self, Defect> {
        let (format, word) = format_of(path, &bytes);
        let submission =
            spec::parse(&bytes, format).map_err(|error| Defect::spec(&name, &error))?;
        let text = utf8(&name, bytes)?;
        Ok(Self { name, text, format: word, submission })
    }

    /// Jobs it makes, each element of an array counted.
    pub(crate) fn jobs(&self) -> usize {
        let elements = |job: &spec::JobSpec| job.array.as_ref().map_or(1, |a| a.elements.len());
        self.submission.jobs.iter().map(elements).sum()
    }
}

impl Defect {
    fn nameless(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            code: String::new(),
            field: String::new(),
            message: String::new(),
        }
    }

    fn io(file: &str, error: &std::io::Error) -> Self {
        let message = match error.kind() {
            std::io::ErrorKind::NotFound => "no such file".to_owned(),
            std::io::ErrorKind::IsADirectory => "is a folder, not a file".to_owned(),
            _ => format!("cannot be read: {error}"),
        };
        Self { code: "unreadable_file".to_owned(), message, ..Self::nameless(file) }
    }

    fn spec(file: &str, error: &SpecError) -> Self {
        let (line, column) = error.location.unwrap_or_default();
        Self {
            line,
            column,
            code: error.code.to_owned(),
            field: error.field.clone(),
            message: error.message.clone(),
            ..Self::nameless(file)
        }
    }
}

/// `train.yaml:3:5: resources.gpus: no such accelerator [unknown_value]`.
impl std::fmt::Display for Defect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:", self.file)?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        if !self.field.is_empty() {
            write!(f, " {}:", self.field)?;
        }
        write!(f, " {} [{}]", self.message, self.code)
    }
}

impl From<Defect> for Failure {
    fn from(defect: Defect) -> Self {
        Self::new(Exit::Usage, defect.to_string())
    }
}

/// All that is wrong with a file.
#[derive(Debug)]
pub(crate) struct Defects {
    /// In the order of its lines.
    pub(crate) errors: Vec<Defect>,
    /// How many more there are.
    pub(crate) more: usize,
}

/// Reads and checks a pools file; `-` is standard input. With it goes its name in messages.
pub(crate) fn read_pools(path: &Path) -> (String, Result<PoolsFile, Defects>) {
    let name = name_of(path);
    let text = bounded(path).map_err(|error| Defect::io(&name, &error)).and_then(|bytes| {
        if bytes.len() >= MOST_READ { Err(endless(&name)) } else { utf8(&name, bytes) }
    });
    let read = text.map_err(|defect| Defects { errors: vec![defect], more: 0 }).and_then(|text| {
        PoolsFile::parse(&text, &name).map_err(|refused| Defects {
            errors: refused.errors.iter().map(|error| Defect::spec(&name, error)).collect(),
            more: refused.more,
        })
    });
    (name, read)
}

fn name_of(path: &Path) -> String {
    if path == Path::new("-") { "<stdin>".to_owned() } else { path.display().to_string() }
}

fn utf8(name: &str, bytes: Vec<u8>) -> Result<String, Defect> {
    String::from_utf8(bytes).map_err(|_| Defect {
        code: "invalid_utf8".to_owned(),
        message: "the document is not UTF-8 text".to_owned(),
        ..Defect::nameless(name)
    })
}

/// At most so much is read, whatever a file says of its size: enough to tell the true
/// size of most that are too large.
const MOST_READ: usize = 16 * MAX_DOCUMENT_BYTES;

/// Reads a document, and no further than its end can matter.
fn bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let limit = u64::try_from(MOST_READ).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// The error of a document that is larger than what was read of it.
fn endless(name: &str) -> Defect {
    Defect {
        code: "document_too_large".to_owned(),
        message: format!("{MOST_READ} bytes or more: a document has at most {MAX_DOCUMENT_BYTES}"),
        ..Defect::nameless(name)
    }
}

/// By the name's ending; else a document that begins with `{` or `[` is JSON.
fn format_of(path: &Path, bytes: &[u8]) -> (spec::Format, &'static str) {
    let json = match path.extension().and_then(|e| e.to_str()) {
        Some("json") => true,
        Some("yaml" | "yml") => false,
        _ => bytes.trim_ascii_start().first().is_some_and(|b| matches!(b, b'{' | b'[')),
    };
    if json { (spec::Format::Json, "json") } else { (spec::Format::Yaml, "yaml") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_seen() {
        let word = |path: &str, text: &str| format_of(Path::new(path), text.as_bytes()).1;
        assert_eq!(word("a.json", "name: x"), "json");
        assert_eq!(word("a.yml", "{}"), "yaml");
        assert_eq!(word("-", "\n {\"name\": 1}"), "json");
        assert_eq!(word("-", "name: x"), "yaml");
    }

    #[test]
    fn a_file_without_an_end_is_read_to_the_bound() {
        assert_eq!(bounded(Path::new("/dev/zero")).unwrap().len(), MOST_READ);
        let defect = Document::read(Path::new("/dev/zero")).unwrap_err();
        let expected = "/dev/zero: 16777216 bytes or more: a document has at most 1048576 \
                        [document_too_large]";
        assert_eq!(defect.to_string(), expected);
    }

    #[test]
    fn defects_name_the_place() {
        let error = SpecError {
            code: "unknown_field",
            field: "budget".into(),
            message: "no such field".into(),
            location: Some((3, 5)),
        };
        let text = Defect::spec("a.yaml", &error).to_string();
        assert_eq!(text, "a.yaml:3:5: budget: no such field [unknown_field]");
        let whole = SpecError { field: String::new(), location: None, ..error };
        assert_eq!(
            Defect::spec("a.yaml", &whole).to_string(),
            "a.yaml: no such field [unknown_field]"
        );
    }
}
