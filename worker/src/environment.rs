//! The command's environment: what the scheduler sets, the folders that the
//! worker knows, secrets, and the little of the worker's own that a program
//! needs. Nothing else leaks into the command.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use spotwise_api::v1::Assignment;

use crate::folder::Folder;
use crate::scheduler_client::SchedulerClient;

/// Marks what the reaper of an installation may kill.
const INSTALL: &str = "SPOTWISE_INSTALL";

/// Inherited from the worker's own environment.
const OWN: [&str; 6] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH"];
const OWN_PREFIXES: [&str; 3] = ["CUDA", "NVIDIA", "LC_"];

/// Set unless the job sets it. Python buffers what it prints to a pipe until it has 8 KiB:
/// nobody would see the progress of a job, and what a killed one had printed would be lost.
const DEFAULTS: [(&str, &str); 1] = [("PYTHONUNBUFFERED", "1")];

/// Never given to a command, under any name.
const TOKEN: &str = "SPOTWISE_WORKER_TOKEN";

/// A secret in a file is a key or a password, not a data set.
const MOST_SECRET_BYTES: u64 = 64 * 1024;

/// Builds the environment. `own` reads the worker's; the error's message names
/// a secret's reference, never its value.
pub(crate) fn build(
    assignment: &Assignment,
    folder: &Folder,
    checkpoint: &Path,
    resumed: bool,
    client: &SchedulerClient,
    own: &BTreeMap<String, OsString>,
) -> Result<BTreeMap<String, OsString>, String> {
    let mut environment: BTreeMap<String, OsString> = own
        .iter()
        .filter(|(name, _)| is_own(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    for (name, value) in DEFAULTS {
        environment.insert(name.to_owned(), value.into());
    }
    for (name, value) in &assignment.env {
        environment.insert(checked(name)?, text(name, value)?);
    }
    for (name, reference) in &assignment.secrets {
        environment.insert(checked(name)?, secret(name, reference, own)?);
    }
    gang(&mut environment, assignment, client);
    let paths = [
        ("SPOTWISE_CHECKPOINT_DIR", checkpoint.to_owned()),
        ("SPOTWISE_PROGRESS_FILE", folder.progress()),
        ("SPOTWISE_INTERRUPTION_FILE", folder.interruption()),
        ("SPOTWISE_OUTPUT_DIR", folder.output()),
        ("SPOTWISE_INPUT_DIR", folder.work()),
    ];
    for (name, path) in paths {
        environment.insert(name.to_owned(), path.into_os_string());
    }
    let resume_from = if resumed { checkpoint.as_os_str().to_owned() } else { OsString::new() };
    environment.insert("SPOTWISE_RESUME_FROM".to_owned(), resume_from);
    environment.insert("SPOTWISE_ATTEMPT_ID".to_owned(), client.attempt().into());
    environment.insert("SPOTWISE_RANK".to_owned(), client.rank().to_string().into());
    // The mark by which this installation's reaper knows its own: it is the
    // launcher's to set.
    if let Some(install) = own.get(INSTALL) {
        environment.insert(INSTALL.to_owned(), install.clone());
    }
    environment.remove(TOKEN);
    Ok(environment)
}

/// The worker's own environment, as far as its names are readable.
pub(crate) fn of_this_process() -> BTreeMap<String, OsString> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .collect()
}

fn is_own(name: &str) -> bool {
    OWN.contains(&name) || OWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// What torchrun needs of a node, unless the scheduler has already set it.
fn gang(
    environment: &mut BTreeMap<String, OsString>,
    assignment: &Assignment,
    client: &SchedulerClient,
) {
    let nodes = assignment.addresses.len();
    let Some(first) = assignment.addresses.first().filter(|_| nodes > 1) else { return };
    let facts = [
        ("MASTER_ADDR", first.clone()),
        ("NNODES", nodes.to_string()),
        ("NODE_RANK", client.rank().to_string()),
        ("SPOTWISE_NODE_IPS", assignment.addresses.join("\n")),
    ];
    for (name, value) in facts {
        environment.entry(name.to_owned()).or_insert_with(|| value.into());
    }
}

fn checked(name: &str) -> Result<String, String> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(format!("{name:?} is no name of a variable"));
    }
    Ok(name.to_owned())
}

fn text(name: &str, value: &str) -> Result<OsString, String> {
    if value.contains('\0') {
        return Err(format!("the value of {name} holds a zero byte"));
    }
    Ok(value.into())
}

fn secret(
    name: &str,
    reference: &str,
    own: &BTreeMap<String, OsString>,
) -> Result<OsString, String> {
    if let Some(variable) = reference.strip_prefix("env:").filter(|variable| *variable != TOKEN) {
        let value = own.get(variable).cloned();
        return value
            .ok_or_else(|| format!("secret {name}: `{reference}` is not set on the worker"));
    }
    if let Some(path) = reference.strip_prefix("file:").filter(|path| path.starts_with('/')) {
        let mut value = String::new();
        File::open(path)
            .and_then(|file| file.take(MOST_SECRET_BYTES).read_to_string(&mut value))
            .map_err(|error| format!("secret {name}: `{reference}`: {error}"))?;
        return text(name, value.trim_end_matches(['\n', '\r']));
    }
    Err(format!("secret {name}: `{reference}` is neither env:NAME nor file:/path"))
}

#[cfg(test)]
mod tests {
    use spotwise_api::trust::Trust;

    use crate::scheduler_client::Proofs;

    use super::*;

    fn built(assignment: &Assignment) -> Result<BTreeMap<String, OsString>, String> {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::enter(dir.path()).unwrap();
        let _in = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _guard = _in.enter();
        let server = "http://127.0.0.1:1".to_owned();
        let attempt = "j1.1".to_owned();
        let proofs = Proofs::new("tok".to_owned(), "key".to_owned());
        let client = SchedulerClient::new(&server, Trust::System, attempt, 1, proofs).unwrap();
        let own = [
            ("PATH", "/bin"),
            (TOKEN, "tok"),
            ("AWS_SECRET_ACCESS_KEY", "k"),
            ("CUDA_X", "1"),
            (INSTALL, "here"),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value.into())).into();
        build(assignment, &folder, Path::new("ckpt"), true, &client, &own)
    }

    fn pair(name: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn only_the_allowed_is_taken_over() {
        let env = [("A", "b"), (INSTALL, "elsewhere")];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let environment = built(&Assignment { env, ..Assignment::default() }).unwrap();
        for name in ["PATH", "CUDA_X", "A", "SPOTWISE_CHECKPOINT_DIR", "SPOTWISE_ATTEMPT_ID"] {
            assert!(environment.contains_key(name), "{name}");
        }
        assert_eq!(environment.get(INSTALL).unwrap(), "here", "not what the assignment says");
        assert!(!environment.contains_key("AWS_SECRET_ACCESS_KEY"));
        assert!(!environment.values().any(|value| value == "tok"));
        assert_eq!(environment.get("SPOTWISE_RESUME_FROM").unwrap(), "ckpt");
    }

    #[test]
    fn python_prints_at_once_unless_the_job_says_otherwise() {
        let python = |env| {
            let environment = built(&Assignment { env, ..Assignment::default() }).unwrap();
            environment.get("PYTHONUNBUFFERED").cloned().unwrap()
        };
        assert_eq!(python(BTreeMap::new()), "1");
        assert_eq!(python(pair("PYTHONUNBUFFERED", "")), "", "empty is off");
    }

    #[test]
    fn secrets_are_resolved_but_never_the_token() {
        let with = |reference| {
            built(&Assignment { secrets: pair("S", reference), ..Assignment::default() })
        };
        assert_eq!(with("env:AWS_SECRET_ACCESS_KEY").unwrap().get("S").unwrap(), "k");
        for reference in
            ["env:SPOTWISE_WORKER_TOKEN", "env:NOT_SET", "file:relative", "value", "file:/none"]
        {
            let message = with(reference).unwrap_err();
            assert!(message.contains(reference), "{message}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hush\n").unwrap();
        let environment = with(&format!("file:{}", file.path().display())).unwrap();
        assert_eq!(environment.get("S").unwrap(), "hush");
    }

    #[test]
    fn a_gang_finds_its_first_node_and_the_scheduler_has_the_last_word() {
        let addresses = vec!["10.0.0.1".to_owned(), "10.0.0.2".to_owned()];
        let env = pair("NODE_RANK", "7");
        let environment = built(&Assignment { addresses, env, ..Assignment::default() }).unwrap();
        assert_eq!(environment.get("MASTER_ADDR").unwrap(), "10.0.0.1");
        assert_eq!(environment.get("NODE_RANK").unwrap(), "7");
        assert!(built(&Assignment { env: pair("A=B", "x"), ..Assignment::default() }).is_err());
    }
}
