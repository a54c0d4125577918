//! A scheduler on one machine; workers, the command line and an impostor on others.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use spotwise_control::WorkerId;
use spotwise_scheduler::token::WorkerTokens;
use spotwise_tests::namespaces::TwoMachines;
use spotwise_tests::{programs, spotwise, text};

const LIMIT: Duration = Duration::from_secs(60);
const PORT: u16 = 7717;
/// The machine of the scheduler, and the other one.
const SERVER: usize = 0;
const OTHER: usize = 1;

/// Two machines, where they can be made.
fn machines() -> Option<TwoMachines> {
    match TwoMachines::new() {
        Ok(machines) => Some(machines),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{error:#}");
            println!("skipped: no network namespaces here: {error:#}");
            None
        }
    }
}

/// A process that ends with its test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Apart {
    machines: TwoMachines,
    folder: tempfile::TempDir,
}

impl Apart {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn url(&self) -> String {
        format!("https://{}:{PORT}", self.machines.address(SERVER))
    }

    /// A scheduler with this data folder that starts no workers; answers once it leads.
    fn serve(&self, data: &str) -> Ends {
        let log = self.path(&format!("{data}.log"));
        let mut serve = spotwise();
        serve
            .arg("serve")
            .args(["--data-dir", &self.path(data).display().to_string()])
            .args(["--listen", &format!("{}:{PORT}", self.machines.address(SERVER)), "--tls"])
            .args(["--outside-workers", "--market", "synthetic"])
            .env("XDG_CONFIG_HOME", self.path("server-config"));
        let file = File::create(&log).expect("a log");
        let child = self
            .machines
            .on(SERVER, &serve)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log"))
            .stderr(file)
            .spawn()
            .expect("it starts");
        let child = Ends(child);
        until("the scheduler is ready", || read(&log).contains("ready on https"));
        child
    }

    /// The command line on the other machine.
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = spotwise();
        command.args(arguments).env("XDG_CONFIG_HOME", self.path("other-config"));
        command.env("SPOTWISE_SERVER", self.url());
        self.machines.on(OTHER, &command).stdin(Stdio::null()).output().expect("it runs")
    }

    /// A worker on the other machine, with a token for an attempt; what it printed and how
    /// it ended.
    fn worker(&self, attempt: &str, folder: &str, token: &str, authority: &str) -> (Ends, PathBuf) {
        let mut worker = Command::new(programs().join("spotwise-worker"));
        worker
            .args(["--server", &self.url(), "--attempt", attempt, "--rank", "0"])
            .args(["--dir", &self.path(folder).display().to_string()])
            .args(["--authority", authority])
            .env("SPOTWISE_WORKER_TOKEN", token);
        let log = self.path(&format!("{folder}.log"));
        let file = File::create(&log).expect("a log");
        let child = self
            .machines
            .on(OTHER, &worker)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log"))
            .stderr(file)
            .spawn();
        (Ends(child.expect("it starts")), log)
    }
}

fn until(what: &str, mut look: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !look() {
        assert!(begun.elapsed() < LIMIT, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn fingerprint(log: &str) -> String {
    let (_, rest) = log.split_once("--fingerprint ").expect("it is printed");
    rest.split_whitespace().next().expect("a word").to_owned()
}

#[test]
fn another_machine_is_reached_under_tls_and_nobody_stands_between() {
    let Some(machines) = machines() else { return };
    let apart = Apart { machines, folder: tempfile::tempdir().expect("a folder") };
    let server = apart.serve("data");
    let authority = fingerprint(&read(&apart.path("data.log")));
    let token = apart.path("data/admin.token").display().to_string();
    let url = apart.url();

    // Whom to believe is not guessed, and the token goes to nobody before that.
    let unknown = apart.run(&["login", &url, "--token-file", &token]);
    assert_eq!(code(&unknown), 5, "{}", said(&unknown));
    assert!(said(&unknown).contains(&format!("add --fingerprint {authority}")));
    let wrong = format!("sha256:{}", "0".repeat(64));
    let wrong = apart.run(&["login", &url, "--fingerprint", &wrong, "--token-file", &token]);
    assert_eq!(code(&wrong), 5, "{}", said(&wrong));
    let plain = apart.run(&["whoami", "--server", &url.replace("https", "http")]);
    assert_eq!(code(&plain), 2, "{}", said(&plain));
    assert!(said(&plain).contains("write https"), "{}", said(&plain));

    let login = apart.run(&["login", &url, "--fingerprint", &authority, "--token-file", &token]);
    assert_eq!(code(&login), 0, "{}", said(&login));
    assert!(text(&login).contains("you are admin"), "{}", text(&login));
    // Another implementation of TLS, and HTTP/1.1.
    let script = "import ssl,sys,urllib.request as r\n\
        c=ssl.create_default_context(cafile=sys.argv[1])\n\
        print(r.urlopen(sys.argv[2]+'/healthz',context=c).read().decode())";
    let mut python = Command::new("python3");
    python.args(["-c", script, &apart.path("data/tls/authority.pem").display().to_string(), &url]);
    let healthy = apart.machines.on(OTHER, &python).output().expect("python3 is there");
    assert_eq!(text(&healthy).trim(), "ok", "{}", said(&healthy));

    // The address is another's by now, with a certificate of its own authority.
    drop(server);
    let impostor = apart.serve("impostor");
    let refused = apart.run(&["whoami"]);
    assert_eq!(code(&refused), 7, "{}", said(&refused));
    drop(impostor);
    let database = fs::read(apart.path("impostor/spotwise.db")).expect("its database");
    let heard = String::from_utf8_lossy(&database).contains("login_failed");
    assert!(!heard, "the token was sent to the impostor");

    let _server = apart.serve("data");
    assert_eq!(code(&apart.run(&["whoami"])), 0);
    let gone = apart.run(&["logout"]);
    assert_eq!(code(&gone), 0, "{}", said(&gone));
    assert_eq!(code(&apart.run(&["whoami"])), 7, "whom to believe is forgotten");
}

#[test]
fn a_worker_of_another_machine_has_its_own_attempt_and_no_other() {
    let Some(machines) = machines() else { return };
    let apart = Apart { machines, folder: tempfile::tempdir().expect("a folder") };
    let _server = apart.serve("data");
    let authority = fingerprint(&read(&apart.path("data.log")));
    let token = apart.path("data/admin.token").display().to_string();
    let login =
        apart.run(&["login", &apart.url(), "--fingerprint", &authority, "--token-file", &token]);
    assert_eq!(code(&login), 0, "{}", said(&login));
    let document = apart.path("job.yaml");
    let go = apart.path("go");
    fs::write(
        &document,
        format!(
            "name: far\ncommand: [sh, -c, \"echo begun; until [ -e {} ]; do sleep 0.05; done; echo over\"]\n\
             resources: {{cpus: 1, memory: 64MB}}\narray: {{size: 2}}\n",
            go.display()
        ),
    )
    .expect("written");
    let submitted = apart.run(&["submit", &document.display().to_string(), "--yes"]);
    assert_eq!(code(&submitted), 0, "{}", said(&submitted));
    let placed = |attempt: &str| {
        let job = attempt.split('.').next().expect("a job");
        text(&apart.run(&["get", job, "-o", "json"])).contains(&format!("\"{attempt}\""))
    };
    until("both elements are placed", || placed("j1.1") && placed("j2.1"));

    let tokens = WorkerTokens::open(&apart.path("data/worker-secret")).expect("the secret");
    let start = |attempt: &str| {
        let worker = WorkerId { attempt: attempt.parse().expect("an attempt"), rank: 0 };
        tokens.bootstrap(worker, Timestamp::now())
    };
    let end = |what: &str, (mut child, log): (Ends, PathBuf), expected: &str| {
        until(what, || child.0.try_wait().expect("it is ours").is_some());
        assert!(read(&log).contains(expected), "{what}: {}", read(&log));
    };
    let first = start("j1.1");
    let (own, log) = apart.worker("j1.1", "own", &first, &authority);
    until("its command has begun", || text(&apart.run(&["logs", "j1"])).contains("begun"));
    let stranger = "the scheduler does not know this worker";
    end("replay", apart.worker("j1.1", "thief", &first, &authority), stranger);
    end("another attempt", apart.worker("j2.1", "other", &first, &authority), stranger);
    let refused = text(&apart.run(&["get", "j1"]));
    assert!(refused.contains("shown again, by another process: it was refused"), "{refused}");

    fs::write(&go, "").expect("written");
    let mut own = own;
    until("the worker has ended", || own.0.try_wait().expect("it is ours").is_some());
    until("the job has succeeded", || {
        text(&apart.run(&["get", "j1", "-o", "json"])).contains("\"succeeded\"")
    });
    assert!(text(&apart.run(&["logs", "j1"])).ends_with("begun\nover\n"), "{}", read(&log));
    end("after the end", apart.worker("j1.1", "late", &first, &authority), "superseded");

    // An impostor of the scheduler gets no word of a worker.
    let wrong = format!("sha256:{}", "0".repeat(64));
    let (mut lost, log) = apart.worker("j2.1", "lost", &start("j2.1"), &wrong);
    std::thread::sleep(Duration::from_secs(2));
    assert!(lost.0.try_wait().expect("it is ours").is_none(), "it goes on looking: {}", read(&log));
    let waits = text(&apart.run(&["get", "j2"]));
    assert!(!waits.contains("started on"), "{waits}");
}
