use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::folder::Folder;
use crate::meta::{set_mode, set_modified};
use crate::survey::Stamp;

struct Bench {
    dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("outputs/j1")
    }

    fn plan(&self, attempt: &str, named: &[&str]) -> Plan {
        Plan {
            attempt: attempt.parse().unwrap(),
            rank: 0,
            nodes: 1,
            store: self.store(),
            named: named.iter().map(ToString::to_string).collect(),
        }
    }

    fn folder(&self, plan: &Plan) -> Folder {
        let name = format!("work/{}-{}", plan.attempt, plan.rank);
        Folder::enter(&self.dir.path().join(name)).unwrap()
    }

    fn begin(&self, plan: &Plan) -> (Folder, Brought) {
        let folder = self.folder(plan);
        Gate::of(plan).begin().unwrap();
        let brought = bring(plan, &folder, &CancellationToken::new()).unwrap();
        (folder, brought)
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.store().join(path)).ok()
    }
}

fn end(plan: &Plan, folder: &Folder, brought: &Brought, succeeded: bool) -> Collected {
    let cut = CancellationToken::new();
    collect(plan, &Gate::of(plan), folder, brought, succeeded, &cut)
}

#[test]
fn a_job_has_what_all_its_attempts_have_left() {
    let bench = Bench::new();
    let plan = bench.plan("j1.1", &["logs"]);
    let (folder, brought) = bench.begin(&plan);
    assert_eq!(brought.count(), 0);
    for shard in 0..26 {
        fs::write(folder.output().join(format!("shard-{shard}")), "first").unwrap();
    }
    fs::write(folder.output().join("metrics"), "1\n").unwrap();
    fs::write(folder.output().join("old"), "x").unwrap();
    fs::create_dir(folder.work().join("logs")).unwrap();
    fs::write(folder.work().join("logs/a"), "a").unwrap();
    let first = end(&plan, &folder, &brought, false);
    assert_eq!((first.files, first.whole, first.notes), (29, true, vec![]));

    let plan = bench.plan("j1.2", &["logs"]);
    let (folder, brought) = bench.begin(&plan);
    assert_eq!(fs::read_to_string(folder.work().join("logs/a")).unwrap(), "a");
    let metrics = folder.output().join("metrics");
    fs::write(&metrics, fs::read_to_string(&metrics).unwrap() + "2\n").unwrap();
    for shard in 26..40 {
        fs::write(folder.output().join(format!("shard-{shard}")), "second").unwrap();
    }
    fs::remove_file(folder.output().join("old")).unwrap();
    let second = end(&plan, &folder, &brought, true);
    assert_eq!((second.files, second.notes), (42, vec![]));
    for shard in 0..40 {
        let text = if shard < 26 { "first" } else { "second" };
        assert_eq!(bench.read(&format!("shard-{shard}")).as_deref(), Some(text));
    }
    assert_eq!(bench.read("metrics").as_deref(), Some("1\n2\n"));
    assert_eq!(bench.read("logs/a").as_deref(), Some("a"));
    assert_eq!(bench.read("old"), None, "its owner has removed it");
}

#[test]
fn links_modes_and_times_are_kept_and_what_is_left_out_is_named() {
    let bench = Bench::new();
    let plan = bench.plan("j1.1", &["gone", "../x", "etc/hostname"]);
    let (folder, brought) = bench.begin(&plan);
    let output = folder.output();
    fs::write(output.join("epoch=3.ckpt"), "w").unwrap();
    fs::hard_link(output.join("epoch=3.ckpt"), output.join("final.ckpt")).unwrap();
    set_mode(&output.join("epoch=3.ckpt"), 0o750).unwrap();
    set_modified(&output.join("epoch=3.ckpt"), Stamp { seconds: 5, nanos: 6 }).unwrap();
    symlink("epoch=3.ckpt", output.join("best.ckpt")).unwrap();
    symlink(output.join("epoch=3.ckpt"), output.join("absolute")).unwrap();
    symlink("/etc/passwd", output.join("passwd")).unwrap();
    symlink("/etc", folder.work().join("etc")).unwrap();
    nix::unistd::mkfifo(&output.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::write(output.join(".tmp-half"), "half").unwrap();
    fs::write(output.join("n".repeat(255)), "long").unwrap();
    fs::create_dir(output.join("empty")).unwrap();
    let said = end(&plan, &folder, &brought, true).notes.join("\n");
    for word in
        ["\"passwd\" (a link to", "\"pipe\" (a named pipe)", ".tmp-half", "gone (", "../x ("]
    {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(said.contains("etc/hostname (it is not inside"), "{said}");
    let best = bench.store().join("best.ckpt");
    assert_eq!(fs::read_link(&best).unwrap(), Path::new("epoch=3.ckpt"));
    assert_eq!(fs::read_link(bench.store().join("absolute")).unwrap(), Path::new("epoch=3.ckpt"));
    let kept = best.metadata().unwrap();
    assert_eq!(kept.permissions().mode() & 0o777, 0o750);
    assert_eq!((kept.mtime(), kept.mtime_nsec()), (5, 6));
    assert_eq!(kept.ino(), bench.store().join("final.ckpt").metadata().unwrap().ino());
    assert!(bench.store().join("empty").is_dir());
    assert_eq!(bench.read(&"n".repeat(255)).as_deref(), Some("long"));
    assert_eq!(bench.read(".tmp-half"), None);
}

#[test]
fn an_older_attempt_that_comes_late_replaces_nothing() {
    let bench = Bench::new();
    let plan = bench.plan("j1.1", &[]);
    let (old, nothing) = bench.begin(&plan);
    fs::write(old.output().join("model"), "old").unwrap();
    fs::write(old.output().join("only-old"), "old").unwrap();
    let newer = bench.plan("j1.2", &[]);
    let (folder, brought) = bench.begin(&newer);
    fs::write(folder.output().join("model"), "new").unwrap();
    end(&newer, &folder, &brought, true);
    let late = end(&plan, &old, &nothing, true);
    assert!(late.notes[0].contains("a newer attempt of the job has begun"), "{:?}", late.notes);
    assert_eq!((bench.read("model").as_deref(), bench.read("only-old")), (Some("new"), None));
    // Who rescues them adds what is not there.
    let note = serde_json::to_vec(&plan).unwrap();
    fs::write(old.outputs_note(), note).unwrap();
    rescue_here(&bench.dir.path().join("work/j1.1-0")).unwrap();
    assert_eq!(bench.read("model").as_deref(), Some("new"));
    assert_eq!(bench.read("only-old").as_deref(), Some("old"));
    assert!(!old.outputs_note().exists());
}

#[test]
fn what_a_killed_worker_has_left_is_brought_by_the_next() {
    let bench = Bench::new();
    let plan = bench.plan("j1.1", &[]);
    let (killed, _) = bench.begin(&plan);
    fs::write(killed.output().join("shard-1"), "one").unwrap();
    fs::write(killed.outputs_note(), serde_json::to_vec(&plan).unwrap()).unwrap();
    let next = bench.plan("j1.2", &[]);
    let folder = bench.folder(&next);
    let notes = rescue_earlier(&next, &folder, &CancellationToken::new());
    assert!(notes[0].contains("did not come to keep its outputs: 1 files"), "{notes:?}");
    let (folder, _) = bench.begin(&next);
    assert_eq!(fs::read_to_string(folder.output().join("shard-1")).unwrap(), "one");
    assert_eq!(rescue_earlier(&next, &folder, &CancellationToken::new()), [""; 0], "once");
}

#[test]
fn an_output_folder_that_was_removed_takes_nothing_with_it() {
    let bench = Bench::new();
    let plan = bench.plan("j1.1", &[]);
    let (folder, brought) = bench.begin(&plan);
    fs::write(folder.output().join("model"), "x").unwrap();
    end(&plan, &folder, &brought, false);
    let plan = bench.plan("j1.2", &[]);
    let (folder, brought) = bench.begin(&plan);
    fs::remove_dir_all(folder.output()).unwrap();
    let said = end(&plan, &folder, &brought, true).notes;
    assert!(said[0].contains("its output folder was removed"), "{said:?}");
    assert_eq!(bench.read("model").as_deref(), Some("x"));
}

#[test]
fn a_name_that_was_a_folder_or_a_link_before_is_replaced() {
    let bench = Bench::new();
    let plan = bench.plan("j1.1", &[]);
    let (folder, brought) = bench.begin(&plan);
    fs::create_dir(folder.output().join("run")).unwrap();
    fs::write(folder.output().join("run/a"), "a").unwrap();
    symlink("run", folder.output().join("latest")).unwrap();
    end(&plan, &folder, &brought, false);
    let plan = bench.plan("j1.2", &[]);
    let (folder, brought) = bench.begin(&plan);
    fs::remove_file(folder.output().join("latest")).unwrap();
    fs::create_dir(folder.output().join("latest")).unwrap();
    fs::write(folder.output().join("latest/b"), "b").unwrap();
    end(&plan, &folder, &brought, true);
    assert_eq!(bench.read("latest/b").as_deref(), Some("b"));
    assert_eq!(bench.read("run/b"), None, "nothing is written through an old link");
}

#[test]
fn nodes_of_a_gang_do_not_write_over_each_other() {
    let bench = Bench::new();
    let gang = |rank| Plan { rank, nodes: 2, ..bench.plan("j1.1", &[]) };
    for rank in [1, 0] {
        let (folder, brought) = bench.begin(&gang(rank));
        let name = if rank == 0 { "rank-1" } else { "." };
        fs::create_dir_all(folder.output().join(name)).unwrap();
        fs::write(folder.output().join(name).join("x"), format!("of {rank}")).unwrap();
        let said = end(&gang(rank), &folder, &brought, true).notes;
        assert_eq!(said.len(), usize::from(rank == 0), "{said:?}");
    }
    assert_eq!(bench.read("rank-1/x").as_deref(), Some("of 1"));
    assert_eq!(bench.read("rank-0/rank-1/x").as_deref(), Some("of 0"));
    let next = |rank| Plan { rank, nodes: 2, ..bench.plan("j1.2", &[]) };
    let (folder, _) = bench.begin(&next(0));
    assert_eq!(fs::read_to_string(folder.output().join("rank-1/x")).unwrap(), "of 0");
    let (folder, _) = bench.begin(&next(1));
    assert_eq!(fs::read_to_string(folder.output().join("x")).unwrap(), "of 1");
}
