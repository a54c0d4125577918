//! A throwaway PostgreSQL for tests: a cluster in a temporary folder, reached by
//! a Unix socket only, with a fresh database for each test.
//!
//! It ends with the test process, however that ends: a watchdog holds one end of
//! a pipe and stops the server when the other end is gone.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::{Gid, Uid, User};
use tempfile::TempDir;

/// Names a folder with `initdb`, `pg_ctl` and `psql`.
const BIN: &str = "SPOTWISE_TEST_POSTGRES_BIN";

/// The superuser of the cluster.
const USER: &str = "spotwise";

/// Part of the socket's name. Nothing listens on a network.
const PORT: u16 = 5432;

/// Waits for the end of its input, which comes with the end of the test process;
/// then stops the server and removes the folder. `$1` is `pg_ctl`, run by the
/// rest of the arguments after the folder `$2`.
const WATCHDOG: &str = r#"
pg_ctl=$1 folder=$2
shift 2
cat >/dev/null
"$@" "$pg_ctl" -D "$folder/data" -m immediate -w stop >/dev/null 2>&1
rm -rf "$folder"
"#;

/// A running cluster. Stopped and removed when dropped.
pub struct Server {
    bin: PathBuf,
    folder: TempDir,
    owner: Option<(Uid, Gid)>,
    watchdog: Option<(Child, ChildStdin)>,
}

/// The cluster of this test process, started when it is first asked for.
///
/// # Panics
/// Where PostgreSQL cannot be had: a test that needs it must not pass without.
pub fn shared() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| match Server::start() {
        Ok(server) => server,
        Err(error) => panic!("no PostgreSQL for the tests: {error:#}"),
    })
}

impl Server {
    /// Makes a cluster and starts it.
    pub fn start() -> Result<Self> {
        let bin = find_programs()?;
        let folder = tempfile::Builder::new().prefix("spotwise-pg-").tempdir()?;
        let owner = owner()?;
        if let Some((user, group)) = owner {
            std::os::unix::fs::chown(folder.path(), Some(user.as_raw()), Some(group.as_raw()))?;
        }
        let mut server = Self { bin, folder, owner, watchdog: None };
        server.initialise()?;
        server.watch()?;
        server.resume()?;
        Ok(server)
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        let socket = self.socket_folder().display();
        format!("postgres:///{database}?host={socket}&port={PORT}&user={USER}")
    }

    /// The folder of its socket.
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join(format!(".s.PGSQL.{PORT}"))
    }

    /// A fresh, empty database.
    ///
    /// # Panics
    /// Where it cannot be made.
    pub fn database(&'static self) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}")).expect("a new database");
        Database { server: self, name }
    }

    /// Runs SQL as the superuser; answers the bare values, a line a row.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String> {
        let output = Command::new(self.bin.join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", USER])
            .arg("-h")
            .arg(self.socket_folder())
            .args(["-p", &PORT.to_string(), "-d", database, "-c", sql])
            .stdin(Stdio::null())
            .output()
            .context("psql does not start")?;
        Ok(succeeded("psql", &output)?.trim().to_owned())
    }

    /// Stops it as a crash would: no farewell, and recovery at the next start.
    pub fn crash(&self) -> Result<()> {
        self.run("pg_ctl", &["-D", &self.data(), "-m", "immediate", "-w", "stop"]).map(drop)
    }

    /// Starts it (again), and waits until it answers.
    pub fn resume(&self) -> Result<()> {
        // No TCP. Synced to disk as in earnest: tests of crashes rely on it.
        let options = format!(
            "-c listen_addresses='' -c unix_socket_directories='{}' -c port={PORT} \
             -c fsync=on -c shared_buffers=32MB -c max_connections=150",
            self.socket_folder().display()
        );
        let log = self.folder.path().join("log");
        let arguments =
            ["-D", &self.data(), "-l", &log.display().to_string(), "-o", &options, "-w", "start"];
        let started = self.run("pg_ctl", &arguments);
        let log = || std::fs::read_to_string(&log).unwrap_or_default();
        started.with_context(|| format!("the server does not start: {}", log())).map(drop)
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    fn initialise(&self) -> Result<()> {
        let arguments = ["-D", &self.data(), "-U", USER, "--auth=trust", "--no-locale"];
        let arguments = [&arguments[..], &["--encoding=UTF8", "--no-sync"]].concat();
        self.run("initdb", &arguments).map(drop)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut line = self.as_owner();
        line.push(self.bin.join(program).display().to_string());
        let (first, rest) = line.split_first().context("a program")?;
        let output = Command::new(first)
            .args(rest)
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            // The server would keep them open and with them whoever waits for this
            // test's output.
            .stderr(Stdio::piped())
            .output()
            .with_context(|| format!("{program} does not start"))?;
        succeeded(program, &output)
    }

    /// PostgreSQL refuses to run as root.
    fn as_owner(&self) -> Vec<String> {
        let Some((user, group)) = self.owner else { return Vec::new() };
        let line = ["setpriv", &format!("--reuid={user}"), &format!("--regid={group}")];
        let line = [&line[..], &["--clear-groups"]].concat();
        line.into_iter().map(str::to_owned).collect()
    }

    fn watch(&mut self) -> Result<()> {
        let mut command = Command::new("sh");
        command
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(self.bin.join("pg_ctl"))
            .arg(self.folder.path())
            .args(if self.owner.is_some() { self.as_owner() } else { vec!["env".to_owned()] })
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C at the terminal is for the tests.
            .process_group(0);
        let mut child = command.spawn().context("the watchdog does not start")?;
        let pipe = child.stdin.take().context("a pipe to the watchdog")?;
        self.watchdog = Some((child, pipe));
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some((mut child, pipe)) = self.watchdog.take() {
            drop(pipe);
            let _ = child.wait();
        }
    }
}

/// A database of one test. Dropped with it.
pub struct Database {
    server: &'static Server,
    name: String,
}

impl Database {
    /// Its URL.
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs SQL in it as the superuser.
    pub fn psql(&self, sql: &str) -> Result<String> {
        self.server.psql(&self.name, sql)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let _ = self.server.psql("postgres", &sql);
    }
}

fn succeeded(program: &str, output: &Output) -> Result<String> {
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} ended with {}: {errors}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The folder that was named, or the newest version where Debian keeps them.
fn find_programs() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os(BIN) {
        let folder = PathBuf::from(folder);
        ensure!(folder.join("initdb").exists(), "{BIN}={}: no initdb there", folder.display());
        return Ok(folder);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten() {
        let version = entry.file_name().to_string_lossy().parse::<u32>();
        let bin = entry.path().join("bin");
        if let (Ok(version), true) = (version, bin.join("initdb").exists()) {
            found.push((version, bin));
        }
    }
    let Some((_, bin)) = found.into_iter().max() else {
        bail!("its programs are not installed: run `make tools`, or name their folder in {BIN}");
    };
    Ok(bin)
}

/// Whom the server runs as, where that cannot be us.
fn owner() -> Result<Option<(Uid, Gid)>> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(None);
    }
    let user = User::from_name("postgres")?.or(User::from_name("nobody")?);
    let user = user.context("there is no user to run PostgreSQL as: it refuses to run as root")?;
    Ok(Some((user.uid, user.gid)))
}
