//! Checks of text: names, titles, commands, variables, tags.

use std::collections::BTreeMap;

use super::SecretRef;
use super::document::{PlainDocument, Scalar, VariableDocument};
use super::error::{Problem, Under, shown};
use super::paths;
use super::read::{TextOr, TextOrFields};
use crate::access::TEAM;

pub(super) const MAX_TITLE_CHARS: usize = 200;
pub(super) const MAX_ARGUMENTS: usize = 1_000;
const MAX_COMMAND_BYTES: usize = 32 * 1024;
pub(super) const MAX_VARIABLES: usize = 200;
pub(super) const MAX_VARIABLE_BYTES: usize = 8 * 1024;
pub(crate) const MAX_TAGS: usize = 50;

/// Prefixes and names of variables that no job may set, in upper case.
pub(super) const RESERVED_PREFIXES: [&str; 3] = ["LD_", "DYLD_", "SPOTWISE_"];
pub(super) const RESERVED_NAMES: [&str; 8] = [
    "IFS",
    "ENV",
    "BASH_ENV",
    "BASHOPTS",
    "SHELLOPTS",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "GLIBC_TUNABLES",
];
/// Parts of the names of AWS variables that are credentials.
pub(super) const AWS_CREDENTIALS: [&str; 4] = ["ACCESS_KEY", "SECRET", "TOKEN", "CREDENTIALS"];

/// A DNS label. A name that looks like an id (`j12`) would make `after: [j12]`
/// mean two things.
pub(super) fn name(text: String) -> Result<String, Problem> {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let label = (1..=63).contains(&text.len())
        && text.bytes().all(legal)
        && !text.starts_with('-')
        && !text.ends_with('-');
    if !label {
        let message = format!(
            "{} is not a name: write 1 to 63 of a-z, 0-9 and `-`, with no `-` at the ends (free \
             text belongs in `title`)",
            shown(&text)
        );
        return Err(Problem::new("invalid_name", message));
    }
    if is_id(&text) {
        let message = format!("{} reads like a job id; choose another name", shown(&text));
        return Err(Problem::new("invalid_name", message));
    }
    Ok(text)
}

/// Whether the text has the form of a job id: `j` and digits.
pub(super) fn is_id(text: &str) -> bool {
    text.strip_prefix('j')
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
}

/// One line of text for people. Characters that hide or reorder others are refused, not
/// stripped: what is stored is what was written.
pub(super) fn title(text: String) -> Result<String, Problem> {
    let problem = |message: String| Err(Problem::new("invalid_title", message));
    if text.trim().is_empty() {
        return problem("is empty; write some text or leave the field out".to_owned());
    }
    if text.chars().count() > MAX_TITLE_CHARS {
        return problem(format!("is longer than {MAX_TITLE_CHARS} characters"));
    }
    match text.chars().find(|c| c.is_control() || is_deceptive(*c)) {
        Some(c) => problem(format!(
            "holds the control or invisible character U+{:04X}; remove it",
            u32::from(c)
        )),
        None => Ok(text),
    }
}

/// Bidirectional controls, zero-width characters, line separators and tag
/// characters. U+200C and U+200D stay: Persian and emoji need them.
pub(crate) fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The name of what is trained, as model registries write it.
pub(super) fn model(text: String) -> Result<String, Problem> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"._/:@+-".contains(&b);
    let good = (1..=128).contains(&text.len())
        && text.bytes().all(legal)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric());
    good.then_some(()).ok_or_else(|| {
        let message = "write 1 to 128 of letters, digits and `._/:@+-`, such as `resnet-50`";
        Problem::new("invalid_model", message)
    })?;
    Ok(text)
}

/// The argument list. It is never given to a shell, and never split by us.
pub(super) fn command(command: TextOr<Vec<Scalar>>) -> Result<Vec<String>, Problem> {
    let TextOr::Other(arguments) = command else {
        let message = "write the program and its arguments as a list, such as [python, train.py]; \
                       where a shell is needed, ask for it: [\"sh\", \"-c\", \"...\"]";
        return Err(Problem::new("command_not_a_list", message));
    };
    let arguments: Vec<String> = arguments.into_iter().map(|Scalar(text)| text).collect();
    let problem = |message: String| Err(Problem::new("invalid_command", message));
    if arguments.first().is_none_or(|program| program.trim().is_empty()) {
        return problem("names no program".to_owned());
    }
    if arguments.len() > MAX_ARGUMENTS {
        return problem(format!("has more than {MAX_ARGUMENTS} arguments; use a file"));
    }
    if arguments.iter().map(String::len).sum::<usize>() > MAX_COMMAND_BYTES {
        return problem(format!("is longer than {MAX_COMMAND_BYTES} bytes; use a file"));
    }
    for (index, argument) in arguments.iter().enumerate() {
        if argument.contains('\0') {
            return problem("holds a NUL character".to_owned()).item(index);
        }
        refuse_secret(argument).item(index)?;
    }
    Ok(arguments)
}

/// Texts by variable name.
type Variables = BTreeMap<String, String>;

/// Variables of the command, and why those that look like secrets are not.
pub(super) fn env(
    variables: BTreeMap<String, VariableDocument>,
) -> Result<(Variables, Variables), Problem> {
    if variables.len() > MAX_VARIABLES {
        let message = format!("more than {MAX_VARIABLES} variables; use a file");
        return Err(Problem::new("out_of_range", message));
    }
    let (mut values, mut reasons) = (BTreeMap::new(), BTreeMap::new());
    for (name, VariableDocument(variable)) in variables {
        variable_name(&name).and_then(|()| set_by_job(&name)).under(&name)?;
        let (value, reason) = match variable {
            TextOrFields::Text(value) => (value, None),
            TextOrFields::Fields(PlainDocument { value: Scalar(value), not_secret }) => {
                (value, not_secret)
            }
        };
        match &reason {
            None => variable_value(&value).under(&name)?,
            Some(why) => {
                not_secret(why).under("not_secret").under(&name)?;
                plain_value(&value).under("value").under(&name)?;
            }
        }
        reasons.extend(reason.map(|why| (name.clone(), why)));
        values.insert(name, value);
    }
    Ok((values, reasons))
}

/// A reason is a sentence for whoever reads the job later.
fn not_secret(why: &str) -> Result<(), Problem> {
    let readable = !why.chars().any(|c| c.is_control() || is_deceptive(c));
    let good = (3..=200).contains(&why.trim().chars().count()) && readable;
    good.then_some(()).ok_or_else(|| {
        let message = "say in 3 to 200 printable characters why this is no secret";
        Problem::new("invalid_reason", message)
    })
}

pub(super) fn variable_value(value: &str) -> Result<(), Problem> {
    plain_value(value)?;
    refuse_secret(value)
}

fn plain_value(value: &str) -> Result<(), Problem> {
    let invalid = |message: String| Err(Problem::new("invalid_variable", message));
    if value.len() > MAX_VARIABLE_BYTES {
        return invalid(format!("the value is longer than {MAX_VARIABLE_BYTES} bytes"));
    }
    if value.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        return invalid("the value holds a control character".to_owned());
    }
    Ok(())
}

fn variable_name(name: &str) -> Result<(), Problem> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let good = (1..=128).contains(&name.len())
        && name.bytes().all(legal)
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if !good {
        let message = "a variable's name is letters, digits and `_`, with no digit in front";
        return Err(Problem::new("invalid_variable", message));
    }
    if is_reserved(name) {
        let message = "this variable belongs to spotwise, or changes how programs are loaded; \
                       choose another name";
        return Err(Problem::new("reserved_variable", message));
    }
    Ok(())
}

/// Variables that spotwise sets (`SPOTWISE_`), that change how programs and shells
/// load what they run, or that choose the GPUs that a job was given.
fn is_reserved(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let begins = |prefix: &&str| upper.starts_with(*prefix);
    RESERVED_PREFIXES.iter().any(begins) || RESERVED_NAMES.contains(&upper.as_str())
}

/// AWS variables that are credentials come by reference only; its region, profile and
/// endpoints are not secret.
fn set_by_job(name: &str) -> Result<(), Problem> {
    let upper = name.to_ascii_uppercase();
    let carries = |part: &&str| upper.contains(*part) && !upper.ends_with("_FILE");
    if !upper.starts_with("AWS_") || !AWS_CREDENTIALS.iter().any(carries) {
        return Ok(());
    }
    let message = format!(
        "this variable carries credentials, which would be stored; name where they live: \
         `secrets: {{{name}: env:OTHER}}` or `secrets: {{{name}: file:/path}}`"
    );
    Err(Problem::new("reserved_variable", message))
}

/// What spotwise and launchers such as torchrun set on each node of a gang.
pub(super) fn gang(variables: &BTreeMap<String, String>) -> Result<(), Problem> {
    const PREFIXES: [&str; 3] = ["PET_", "MASTER_", "TORCHELASTIC_"];
    const NAMES: [&str; 8] = [
        "RANK",
        "LOCAL_RANK",
        "NODE_RANK",
        "GROUP_RANK",
        "WORLD_SIZE",
        "LOCAL_WORLD_SIZE",
        "NNODES",
        "NPROC_PER_NODE",
    ];
    let set = |name: &&String| {
        PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || NAMES.contains(&name.as_str())
    };
    let Some(name) = variables.keys().find(set) else { return Ok(()) };
    let message = "is another one on each node: spotwise and the launcher set it; leave it out, \
                   or ask for one node";
    Err(Problem::new("reserved_variable", message).key(name))
}

/// Values that look like well-known credentials. The message never repeats the value.
fn refuse_secret(value: &str) -> Result<(), Problem> {
    const MARKS: [&str; 6] = ["ghp_", "gho_", "github_pat_", "xoxb-", "xoxp-", "glpat-"];
    let key_id = |mark: &str| {
        value.match_indices(mark).any(|(at, _)| {
            let tail = value.get(at + mark.len()..).unwrap_or_default();
            tail.bytes().take(12).filter(|b| b.is_ascii_uppercase() || b.is_ascii_digit()).count()
                == 12
        })
    };
    let marked = MARKS.iter().any(|mark| value.contains(mark));
    if marked || is_private_key(value) || key_id("AKIA") || key_id("ASIA") {
        let message = "looks like a secret, and would be stored; name where it lives instead: \
                       `secrets: {NAME: env:OTHER}` or `secrets: {NAME: file:/path}`; if it is \
                       none, say why: `env: {NAME: {value: ..., not_secret: \"the reason\"}}`";
        return Err(Problem::new("secret_in_plain_text", message));
    }
    Ok(())
}

/// Armoured keys say what they are in their first line: certificates and public keys are
/// not secret.
fn is_private_key(value: &str) -> bool {
    value.match_indices("-----BEGIN").any(|(at, mark)| {
        let label = value.get(at + mark.len()..).unwrap_or_default();
        let label = label.split(['\n', '-']).next().unwrap_or_default();
        !["CERTIFICATE", "PUBLIC KEY", "PARAMETERS", " CRL"]
            .iter()
            .any(|known| label.contains(known))
    })
}

/// Secrets by reference. A reserved variable must not be read either, and no AWS variable:
/// `env:AWS_SESSION_TOKEN` would hand out the worker's own rights.
pub(super) fn secrets(
    secrets: BTreeMap<String, String>,
    env: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, SecretRef>, Problem> {
    if secrets.len() > MAX_VARIABLES {
        let message = format!("more than {MAX_VARIABLES} secrets");
        return Err(Problem::new("out_of_range", message));
    }
    secrets
        .into_iter()
        .map(|(name, reference)| {
            variable_name(&name).under(&name)?;
            if env.contains_key(&name) {
                let problem = Problem::new("duplicate_variable", "is also in `env`; keep one");
                return Err(problem.key(&name));
            }
            let reference = secret(&reference).under(&name)?;
            Ok((name, reference))
        })
        .collect()
}

fn secret(reference: &str) -> Result<SecretRef, Problem> {
    if let Some(name) = reference.strip_prefix("env:") {
        variable_name(name)?;
        if name.to_ascii_uppercase().starts_with("AWS_") {
            let message = "the worker's own rights are not a job's; keep the job's under another \
                           name";
            return Err(Problem::new("reserved_variable", message));
        }
        return Ok(SecretRef::Env { name: name.to_owned() });
    }
    if let Some(path) = reference.strip_prefix("file:") {
        paths::secret_file(path)?;
        return Ok(SecretRef::File { path: path.to_owned() });
    }
    let message = "write where the secret lives, `env:NAME` or `file:/path`, never its value";
    Err(Problem::new("invalid_secret", message))
}

/// Cost dimensions, legal as AWS tags and, with the pools' own spelling, as Kubernetes
/// annotations.
pub(super) fn tags(tags: BTreeMap<String, Scalar>) -> Result<BTreeMap<String, String>, Problem> {
    if tags.len() > MAX_TAGS {
        return Err(Problem::new("out_of_range", format!("more than {MAX_TAGS} tags")));
    }
    tags.into_iter()
        .map(|(key, Scalar(value))| {
            tag(&key, &value).under(&key)?;
            Ok((key, value))
        })
        .collect()
}

pub(crate) fn tag(key: &str, value: &str) -> Result<(), Problem> {
    let invalid = |message: &str| Err(Problem::new("invalid_tag", message));
    let lower = key.to_ascii_lowercase();
    let owner = lower.split('/').next().filter(|_| lower.contains('/')).unwrap_or_default();
    if lower.starts_with("aws:")
        || owner.ends_with("kubernetes.io")
        || owner.ends_with("k8s.io")
        || owner == "spotwise"
    {
        return invalid("this prefix is reserved; choose another key");
    }
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"._/-".contains(&b);
    if !(1..=63).contains(&key.len()) || !key.bytes().all(legal) {
        return invalid("a tag's key is 1 to 63 of letters, digits and `._/-`");
    }
    if value.chars().count() > 255 || value.chars().any(|c| c.is_control() || is_deceptive(c)) {
        return invalid("a tag's value is at most 255 characters, all of them printable");
    }
    if key == TEAM && !value.is_ascii() {
        return invalid("a team's name is ASCII, so that none looks like another's");
    }
    Ok(())
}
