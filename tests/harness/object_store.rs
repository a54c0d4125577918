//! An object store for tests: ministack, which speaks S3, STS and IAM, and enforces the
//! policies of roles and sessions.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::{free_port, http, workspace};

/// The longest it may take to answer after its start.
const START: Duration = Duration::from_secs(30);

/// Who may do everything there.
const KEYS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", "operators-key"), ("AWS_SECRET_ACCESS_KEY", "operators-secret")];

/// A store of its own. Ended when dropped.
pub struct ObjectStore {
    /// Where it answers.
    pub url: String,
    /// The role for workers.
    pub role: String,
    child: Child,
    /// What it writes down for itself.
    _folder: tempfile::TempDir,
}

/// The programs of `tests/object_store/requirements.txt`, which `make tools` installs.
/// Without them there is nothing to see, and in CI that is a failure.
fn tools() -> Option<PathBuf> {
    let tools = workspace().join("target/object-store/bin");
    if tools.join("ministack").exists() {
        return Some(tools);
    }
    assert!(std::env::var_os("CI").is_none(), "the object store is missing: make tools");
    None
}

impl ObjectStore {
    /// Starts one with a bucket `models`; `None` where it is not installed.
    ///
    /// # Errors
    /// It does not start.
    pub fn start() -> Result<Option<Self>> {
        let Some(tools) = tools() else { return Ok(None) };
        let (port, folder) = (free_port()?, tempfile::tempdir()?);
        let child = Command::new(tools.join("ministack"))
            .envs(KEYS)
            .env("AUTH", "true")
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("ministack does not start")?;
        let url = format!("http://127.0.0.1:{port}");
        let mut store = Self { url, role: String::new(), child, _folder: folder };
        let begun = Instant::now();
        while !http("GET", &format!("{}/_localstack/health", store.url), None)
            .is_ok_and(|answer| answer.status == 200)
        {
            if begun.elapsed() > START || store.child.try_wait()?.is_some() {
                bail!("ministack does not answer");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        store.role = store.ask(&["prepare"])?.trim().to_owned();
        Ok(Some(store))
    }

    /// What a scheduler needs in its environment.
    pub fn variables(&self) -> BTreeMap<String, String> {
        self.variables_at(&self.url)
    }

    /// The same, with the store behind another address.
    pub fn variables_at(&self, url: &str) -> BTreeMap<String, String> {
        let rest = [("AWS_REGION", "us-east-1"), ("AWS_ENDPOINT_URL", url)];
        KEYS.iter().chain(&rest).map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    /// What `tests/object_store/store.py` says, with the keys of whoever may do everything.
    ///
    /// # Errors
    /// It fails.
    pub fn ask(&self, arguments: &[&str]) -> Result<String> {
        self.ask_with(&KEYS, arguments)
    }

    /// The same with other keys.
    ///
    /// # Errors
    /// It fails.
    pub fn ask_with(&self, keys: &[(&str, &str)], arguments: &[&str]) -> Result<String> {
        let python = tools().context("it runs")?.join("python");
        let output = Command::new(python)
            .arg(workspace().join("tests/object_store/store.py"))
            .arg(&self.url)
            .args(arguments)
            .env_remove("AWS_SESSION_TOKEN")
            .env("NO_PROXY", "*")
            .envs(keys.iter().copied())
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        Ok(said)
    }

    /// Keys and sizes of all objects.
    ///
    /// # Errors
    /// It does not answer.
    pub fn objects(&self) -> Result<BTreeMap<String, u64>> {
        let listed = self.ask(&["list"])?;
        let line = |line: &str| {
            let (key, size) = line.rsplit_once(' ')?;
            Some((key.to_owned(), size.parse().ok()?))
        };
        Ok(listed.lines().filter_map(line).collect())
    }
}

impl Drop for ObjectStore {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
