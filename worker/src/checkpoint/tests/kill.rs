//! The writer is killed (SIGKILL) before every system call that changes the store: at least
//! one checkpoint is valid at any time.
//!
//! The writer is this very test in a process of its own, which is traced. What
//! it has written survives it, as with any process that is killed; that it also
//! survives the machine is the second test: everything is synced in order.

#![allow(clippy::print_stdout)] // Figures, and what was skipped and why.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::*;

const STORE: &str = "SPOTWISE_TEST_COMMITS_IN";
const WRITER: &str = "checkpoint::tests::kill::ckpt_kill9_each_syscall_leaves_a_valid_checkpoint";

#[test]
fn ckpt_kill9_each_syscall_leaves_a_valid_checkpoint() {
    if let Some(dir) = std::env::var_os(STORE) {
        return write(Path::new(&dir));
    }
    if !can_trace() {
        return;
    }
    let mut seen = [0; 2];
    for nth in 0.. {
        let bench = before("two!");
        let calls = traced(&bench, Some(nth));
        seen[usize::from(newest_is_whole(&bench, nth, "two!"))] += 1;
        leftovers_are_swept(&bench, nth);
        if calls.len() <= nth {
            assert!(nth >= 20, "{nth} system calls: {calls:?}");
            break;
        }
    }
    println!("killed at {} system calls; {seen:?} before and after the commit", seen[0] + seen[1]);
    assert!(seen[0] > 10 && seen[1] > 1, "{seen:?}");
}

#[test]
fn ckpt_kill9_each_syscall_is_synced_before_the_manifest_appears() {
    if !can_trace() {
        return;
    }
    let calls = traced(&before("two!"), None);
    let at = |call: &str| {
        let found = calls.iter().position(|it| it == call);
        found.unwrap_or_else(|| panic!("no {call} in {calls:#?}"))
    };
    let manifest = at("appear j17.1-000002/manifest.json");
    for early in [
        "sync j17.1-000002/00000.shard#1",
        "appear j17.1-000002/00000.shard",
        "sync j17.1-000002/00001.shard#1",
        "appear j17.1-000002/00001.shard",
        "sync j17.1-000002/manifest.json#1",
    ] {
        assert!(at(early) < manifest, "{early} is late: {calls:#?}");
    }
    let folder = |call: &&String| *call == "sync j17.1-000002";
    let shard = at("appear j17.1-000002/00001.shard");
    assert!(calls[shard..manifest].iter().any(|it| folder(&it)), "{calls:#?}");
    assert!(
        calls[at("create j17.1-000002")..manifest].contains(&"sync .".to_owned()),
        "{calls:#?}"
    );
    let removed = at("remove j17.1-000001/manifest.json");
    assert!(calls[manifest..removed].iter().any(|it| folder(&it)), "{calls:#?}");
}

/// Checkpoints are kept only on file systems so far, and a multipart upload there is a file
/// that grows under a name of its own. No service has to be told to abort it, but it takes
/// space until somebody removes it.
#[test]
fn ckpt_multipart_abort_of_a_killed_upload_is_invisible_and_swept() {
    if !can_trace() {
        return;
    }
    // More than one piece, and so more than one part.
    let large = "0123456789abcdef".repeat(9 * 1024 * 1024 / 16);
    let calls = traced(&before(&large), None);
    let parts = calls.iter().filter(|it| *it == "write j17.1-000002/00000.shard#1").count();
    assert!(parts >= 2, "{calls:#?}");
    let upload = |call: &String| call.contains("j17.1-000002/00000.shard");
    for nth in (0..calls.len()).filter(|nth| upload(&calls[*nth])) {
        let bench = before(&large);
        traced(&bench, Some(nth));
        assert!(!newest_is_whole(&bench, nth, &large), "the upload is not visible");
        leftovers_are_swept(&bench, nth);
    }
}

/// One checkpoint, and what the command writes next.
fn before(next: &str) -> Bench {
    block_on(async {
        let bench = Bench::new();
        fs::write(bench.dir.path().join("next"), next).unwrap();
        let mut committer = bench.committer("j17.1", 1).await;
        bench.write("model", "one");
        bench.write("opt/state", "state of one");
        committer.commit(step(1)).await.unwrap().unwrap();
        bench
    })
}

/// What the child does: one commit, which also removes the checkpoint before.
fn write(dir: &Path) {
    println!("\nready");
    std::io::stdin().lines().next().unwrap().unwrap();
    block_on(async {
        let store = Store::open(&format!("file://{}", dir.join("store").display()), job()).unwrap();
        let (attempt, fence) = ("j17.1".parse().unwrap(), CancellationToken::new());
        let folder = dir.join("checkpoint");
        let committer =
            Committer::new(store, attempt, folder.clone(), 1, fence, AckedCheckpoints::default());
        let mut committer = committer.await.unwrap();
        fs::copy(dir.join("next"), folder.join("model")).unwrap();
        fs::write(folder.join("opt/state"), "state of two").unwrap();
        committer.ended();
        committer.commit(step(2)).await.unwrap().unwrap();
    });
}

fn job() -> spotwise_model::JobId {
    "j17".parse().unwrap()
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Whichever is listed as newest loads completely; returns whether it is the new one.
fn newest_is_whole(bench: &Bench, nth: usize, next: &str) -> bool {
    let (loaded, _, text) = block_on(bench.restore("j17.1-000002"));
    let state = fs::read_to_string(bench.dir.path().join("restored/opt/state")).ok();
    let (expected, expected_state) = match loaded.as_deref() {
        Some("j17.1-000001") => ("one", "state of one"),
        Some("j17.1-000002") => (next, "state of two"),
        other => panic!("killed before call {nth}: {other:?} was loaded"),
    };
    assert!(text.as_deref() == Some(expected), "killed before call {nth}");
    assert_eq!(state.as_deref(), Some(expected_state), "killed before call {nth}");
    expected == next
}

/// The next commit removes whatever the killed writer left.
fn leftovers_are_swept(bench: &Bench, nth: usize) {
    block_on(async {
        let mut committer = bench.committer("j17.2", 1).await;
        bench.write("model", &format!("three {nth}"));
        committer.ended();
        committer.commit(step(3)).await.unwrap().unwrap();
    });
    let left = fs::read_dir(bench.dir.path().join("store")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["j17.2-000001"], "killed before call {nth}");
}

fn can_trace() -> bool {
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let traced = ptrace::seize(Pid::from_raw(child.id().cast_signed()), Options::empty());
    child.kill().unwrap();
    child.wait().unwrap();
    if let Err(error) = traced {
        println!("skipped: processes cannot be traced here: {error}");
    }
    traced.is_ok()
}

/// Runs the writer, and kills it before the `nth` call that changes the store. Returns
/// these calls, including the one that was not made.
fn traced(bench: &Bench, nth: Option<usize>) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([WRITER, "--exact", "--nocapture"])
        .env(STORE, bench.dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(child.id().cast_signed());
    let ready = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(ready.map(Result::unwrap).any(|line| line == "ready"), "the writer starts");
    attach(pid);
    go(&mut child);
    let root = fs::canonicalize(bench.dir.path()).unwrap().join("store");
    let mut calls = Vec::new();
    loop {
        let status = match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
            Err(Errno::EINTR) => continue,
            status => status.unwrap(),
        };
        match status {
            WaitStatus::Exited(ended, code) if ended == pid => {
                assert_eq!(code, 0, "the writer fails");
                return calls;
            }
            WaitStatus::Signaled(ended, Signal::SIGKILL, _) if ended == pid => return calls,
            WaitStatus::PtraceSyscall(thread) => {
                calls.extend(change(thread, &root));
                if nth.is_some_and(|nth| calls.len() > nth) {
                    kill(pid, Signal::SIGKILL).unwrap();
                } else {
                    go_on(thread, None);
                }
            }
            WaitStatus::PtraceEvent(thread, ..) => go_on(thread, None),
            WaitStatus::Stopped(thread, signal) => go_on(thread, Some(signal)),
            _ => {}
        }
    }
}

/// Traces all current and future threads of the writer.
fn attach(pid: Pid) {
    let options =
        Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL;
    for entry in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let thread = entry.unwrap().file_name().to_str().unwrap().parse().unwrap();
        let thread = Pid::from_raw(thread);
        ptrace::seize(thread, options).unwrap();
        ptrace::interrupt(thread).unwrap();
        waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
        go_on(thread, None);
    }
}

fn go(child: &mut Child) {
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
}

fn go_on(thread: Pid, signal: Option<Signal>) {
    match ptrace::syscall(thread, signal) {
        // Killed meanwhile.
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => panic!("{error}"),
    }
}

/// The call that a thread is about to make, if it changes the store.
fn change(thread: Pid, root: &Path) -> Option<String> {
    if ptrace::syscall_info(thread).ok()?.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return None;
    }
    // `number 0xargument ...`; see proc_pid_syscall(5).
    let call = fs::read_to_string(format!("/proc/{thread}/syscall")).ok()?;
    let mut words = call.split_whitespace();
    let number: i64 = words.next()?.parse().ok()?;
    let hex = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).unwrap();
    let args: Vec<u64> = words.map(hex).collect();
    let file = || fs::read_link(format!("/proc/{thread}/fd/{}", args[0])).ok();
    let path = |at: usize| path_at(thread, args[at]);
    let (what, path) = match number {
        libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_writev => ("write", file()?),
        libc::SYS_fsync | libc::SYS_fdatasync => ("sync", file()?),
        libc::SYS_openat if args[2] & libc::O_CREAT as u64 != 0 => ("create", path(1)?),
        libc::SYS_mkdirat => ("create", path(1)?),
        libc::SYS_renameat | libc::SYS_renameat2 | libc::SYS_linkat => ("appear", path(3)?),
        libc::SYS_unlinkat => ("remove", path(1)?),
        other => older(other, path)?,
    };
    // `remove_dir_all` names entries relative to their open folder.
    let base = fs::read_link(format!("/proc/{thread}/fd/{}", args[0])).unwrap_or_default();
    let path = if path.is_absolute() { path } else { base.join(path) };
    let path = path.strip_prefix(root).ok()?;
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    Some(format!("{what} {}", path.display()))
}

/// Calls that newer machines have in one form only.
#[cfg(target_arch = "x86_64")]
fn older(nr: i64, path: impl Fn(usize) -> Option<PathBuf>) -> Option<(&'static str, PathBuf)> {
    match nr {
        libc::SYS_mkdir => Some(("create", path(0)?)),
        libc::SYS_rename | libc::SYS_link => Some(("appear", path(1)?)),
        libc::SYS_unlink | libc::SYS_rmdir => Some(("remove", path(0)?)),
        _ => None,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn older(_: i64, _: impl Fn(usize) -> Option<PathBuf>) -> Option<(&'static str, PathBuf)> {
    None
}

/// The path in the memory of a thread.
fn path_at(thread: Pid, address: u64) -> Option<PathBuf> {
    let memory = fs::File::open(format!("/proc/{thread}/mem")).ok()?;
    let mut bytes = vec![0; 4096];
    let read = memory.read_at(&mut bytes, address).ok()?;
    let end = bytes[..read].iter().position(|byte| *byte == 0)?;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(&bytes[..end])))
}
