//! File metadata survives a restore.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;
use crate::meta::{set_mode, set_modified};
use crate::survey::Stamp;

fn restored(bench: &Bench) -> PathBuf {
    bench.dir.path().join("restored")
}

fn ns_of(path: &Path) -> (i64, i64) {
    let it = path.symlink_metadata().unwrap();
    (it.mtime(), it.mtime_nsec())
}

#[tokio::test]
async fn links_modes_times_and_empty_folders_come_back() {
    let bench = Bench::new();
    let mut committer = bench.committer("j17.1", 2).await;
    let folder = bench.folder();
    bench.write("model", "weights");
    bench.write("step-2/state", "two");
    bench.write("step-10/run.sh", "#!/bin/sh\n");
    fs::create_dir_all(folder.join("empty/er")).unwrap();
    symlink("step-10", folder.join("latest")).unwrap();
    symlink(folder.join("step-2/state"), folder.join("step-10/absolute")).unwrap();
    fs::hard_link(folder.join("model"), folder.join("step-2/model")).unwrap();
    set_mode(&folder.join("step-10/run.sh"), 0o755).unwrap();
    set_mode(&folder.join("step-2/state"), 0o400).unwrap();
    let at = |seconds, nanos| Stamp { seconds, nanos };
    set_modified(&folder.join("step-2/state"), at(1_000_000_000, 2)).unwrap();
    set_modified(&folder.join("step-10/run.sh"), at(1_000_000_000, 1)).unwrap();
    set_modified(&folder.join("latest"), at(1_100_000_000, 0)).unwrap();
    set_modified(&folder.join("step-10"), at(1_200_000_000, 5)).unwrap();
    set_modified(&folder.join("step-2"), at(1_200_000_000, 4)).unwrap();
    set_mode(&folder.join("step-2"), 0o555).unwrap();
    committer.commit(step(1)).await.unwrap().unwrap();
    assert_eq!(committer.remarks(), [""; 0], "nothing is lost, and nothing said");

    let (loaded, rejected, text) = bench.restore("j17.1-000001").await;
    assert_eq!((loaded.as_deref(), rejected), (Some("j17.1-000001"), 0));
    assert_eq!(text.as_deref(), Some("weights"));
    let root = restored(&bench);
    assert!(root.join("empty/er").is_dir());
    assert_eq!(fs::read_link(root.join("latest")).unwrap(), Path::new("step-10"));
    let absolute = fs::canonicalize(root.join("step-10/absolute")).unwrap();
    assert_eq!(absolute, fs::canonicalize(root.join("step-2/state")).unwrap(), "in its new folder");
    let inode = |path: &str| root.join(path).metadata().unwrap().ino();
    assert_eq!(inode("model"), inode("step-2/model"), "one file with two names");
    let shards = fs::read_dir(bench.stored("j17.1-000001")).unwrap().count();
    assert_eq!(shards, 4, "three files and the manifest");
    let mode = |path: &str| root.join(path).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("step-10/run.sh"), mode("step-2/state")), (0o755, 0o400));
    assert_eq!(mode("step-2"), 0o555);
    assert_eq!(ns_of(&root.join("step-2/state")), (1_000_000_000, 2));
    assert_eq!(ns_of(&root.join("step-10/run.sh")), (1_000_000_000, 1));
    assert_eq!(ns_of(&root.join("latest")), (1_100_000_000, 0));
    assert_eq!(ns_of(&root.join("step-10")), (1_200_000_000, 5));
    assert_eq!(ns_of(&root.join("step-2")), (1_200_000_000, 4));
    for folder in [folder, root] {
        // Else nobody but root could remove it.
        set_mode(&folder.join("step-2"), 0o755).unwrap();
    }
}

#[tokio::test]
async fn names_that_are_no_text_come_back() {
    let bench = Bench::new();
    let mut committer = bench.committer("j17.1", 2).await;
    let longest = "n".repeat(255);
    let names: [&[u8]; 6] = [
        b"not \xff utf-8",
        b"two\nlines",
        b"quote\"s\\",
        "\u{e9}t\u{e9}".as_bytes(),
        b" ",
        longest.as_bytes(),
    ];
    for name in names {
        fs::write(bench.folder().join(OsStr::from_bytes(name)), name).unwrap();
    }
    fs::create_dir(bench.folder().join(OsStr::from_bytes(b"\xfe"))).unwrap();
    symlink(OsStr::from_bytes(b"not \xff utf-8"), bench.folder().join("link")).unwrap();
    committer.commit(step(1)).await.unwrap().unwrap();
    bench.restore("j17.1-000001").await;
    for name in names {
        assert_eq!(fs::read(restored(&bench).join(OsStr::from_bytes(name))).unwrap(), name);
    }
    assert!(restored(&bench).join(OsStr::from_bytes(b"\xfe")).is_dir());
    assert_eq!(fs::read(restored(&bench).join("link")).unwrap(), names[0]);
}

#[tokio::test]
async fn holes_take_no_room_after_the_restore() {
    let bench = Bench::new();
    let mut committer = bench.committer("j17.1", 2).await;
    let path = bench.folder().join("sparse");
    let file = fs::File::create(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"end", 9 << 20).unwrap();
    if path.metadata().unwrap().blocks() * 512 > 1 << 20 {
        return; // No holes on this file system.
    }
    committer.commit(step(1)).await.unwrap().unwrap();
    bench.restore("j17.1-000001").await;
    let (before, after) = (fs::read(&path).unwrap(), restored(&bench).join("sparse"));
    assert!(fs::read(&after).unwrap() == before);
    assert!(after.metadata().unwrap().blocks() * 512 < 1 << 20);
}

#[tokio::test]
async fn what_does_not_come_back_is_said() {
    let bench = Bench::new();
    let mut committer = bench.committer("j17.1", 2).await;
    bench.write("tool", "x");
    let tool = bench.folder().join("tool");
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o4755)).unwrap();
    let file = fs::File::open(&tool).unwrap();
    let set = rustix::fs::fsetxattr(&file, "user.note", b"x", rustix::fs::XattrFlags::empty());
    committer.commit(step(1)).await.unwrap().unwrap();
    let said = committer.remarks().join("; ");
    assert!(said.contains("mode 4755 of \"tool\""), "{said}");
    assert!(set.is_err() || said.contains("extended attributes (user.note)"), "{said}");
    bench.restore("j17.1-000001").await;
    let mode = restored(&bench).join("tool").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
}

#[tokio::test]
async fn a_folder_alone_is_no_checkpoint_but_a_changed_link_or_mode_is_a_new_one() {
    let bench = Bench::new();
    let mut committer = bench.committer("j17.1", 9).await;
    fs::create_dir(bench.folder().join("logs")).unwrap();
    symlink("logs", bench.folder().join("latest")).unwrap();
    assert!(committer.commit(step(1)).await.unwrap().is_none());
    bench.write("model", "x");
    assert!(committer.commit(step(1)).await.unwrap().is_some());
    fs::remove_file(bench.folder().join("latest")).unwrap();
    symlink("model", bench.folder().join("latest")).unwrap();
    assert!(committer.commit(step(1)).await.unwrap().is_some());
    set_mode(&bench.folder().join("model"), 0o700).unwrap();
    assert!(committer.commit(step(1)).await.unwrap().is_some());
    bench.write(".tmp-next", "half");
    assert!(committer.commit(step(1)).await.unwrap().is_none());
}

/// Checkpoints as earlier versions wrote them, byte by byte.
#[tokio::test]
async fn the_checkpoints_of_earlier_builds_are_restored() {
    for (format, seal) in [
        (1, ""),
        (
            2,
            ",\n  \"sha256\": \"ad0ec0443118b83a8390ad75c9600cc8092415e7107610c2253e1eda53a283cd\"",
        ),
    ] {
        let bench = Bench::new();
        let stored = bench.stored("j17.1-000001");
        fs::create_dir_all(&stored).unwrap();
        let manifest = format!(
            r#"{{
  "format": {format},
  "attempt": "j17.1",
  "sequence": 1,
  "step": 40,
  "total_steps": 0,
  "files": [
    {{
      "path": "model",
      "size": 3,
      "sha256": "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    }},
    {{
      "path": "opt/state",
      "size": 0,
      "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    }}
  ]{seal}
}}"#
        );
        fs::write(stored.join("manifest.json"), manifest).unwrap();
        fs::write(stored.join("00000.shard"), "one").unwrap();
        fs::write(stored.join("00001.shard"), "").unwrap();
        let (loaded, rejected, text) = bench.restore("j17.1-000001").await;
        assert_eq!((loaded.as_deref(), rejected), (Some("j17.1-000001"), 0), "format {format}");
        assert_eq!(text.as_deref(), Some("one"));
        assert!(restored(&bench).join("opt/state").is_file());
    }
}

/// A later version's checkpoint is neither misread, nor skipped, nor removed.
#[tokio::test]
async fn a_checkpoint_of_a_later_build_ends_the_start() {
    let bench = two().await;
    let path = bench.stored("j17.1-000002/manifest.json");
    let mut later: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    later["format"] = 5.into();
    later.as_object_mut().unwrap().shift_remove("sha256");
    let mut bytes = serde_json::to_string_pretty(&later).unwrap();
    let seal = hex(&<sha2::Sha256 as sha2::Digest>::digest(&bytes));
    bytes.truncate(bytes.len() - 2);
    fs::write(&path, format!("{bytes},\n  \"sha256\": \"{seal}\"\n}}")).unwrap();
    let (staging, into) = (bench.dir.path().join("staging"), bench.dir.path().join("restored"));
    let wanted = Wanted::This("j17.1-000002".parse().unwrap());
    let error = restore(&bench.store(), wanted, &staging, &into).await.unwrap_err();
    assert!(error.to_string().contains("is of format 5"), "{error}");
    let mut committer = bench.committer("j17.2", 1).await;
    bench.write("model", "three");
    committer.commit(step(1)).await.unwrap().unwrap();
    assert!(path.exists(), "it is not removed by who cannot read it");
}

#[tokio::test]
async fn a_limit_is_named_with_its_figure() {
    let bench = Bench::new();
    let mut committer = bench.committer("j17.1", 2).await;
    let file = fs::File::create(bench.folder().join("huge")).unwrap();
    if file.set_len(MOST_BYTES + 1).is_err() {
        return; // This file system has no files of that size.
    }
    let error = committer.commit(step(1)).await.unwrap_err().line();
    assert!(error.contains("274877906945 bytes, more than the 274877906944"), "{error}");
}
