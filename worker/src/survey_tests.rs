use std::ffi::OsStr;
use std::os::unix::fs::symlink;

use super::*;

fn link_of(survey: &Survey, path: &str) -> Option<PathBuf> {
    let found = survey.entries.iter().find(|entry| entry.path == Path::new(path))?;
    match &found.kind {
        Kind::Link(to) => Some(to.clone()),
        Kind::Folder | Kind::File(_) => None,
    }
}

#[test]
fn links_that_stay_inside_are_kept_and_made_relative() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("folder");
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/file"), "x").unwrap();
    fs::write(dir.path().join("secret"), "x").unwrap();
    symlink("a/file", root.join("relative")).unwrap();
    symlink(root.join("a/file"), root.join("a/b/absolute")).unwrap();
    symlink(&root, root.join("itself")).unwrap();
    symlink("step-9", root.join("dangling")).unwrap();
    symlink("..", root.join("a/up")).unwrap();
    for (name, to) in [
        ("passwd", "/etc/passwd"),
        ("out", "../secret"),
        ("a/out", "b/../../../secret"),
        // Inside by its words, outside by the way of another link.
        ("sly", "a/up/../secret"),
        ("nowhere", "/no/such/file"),
    ] {
        symlink(to, root.join(name)).unwrap();
    }
    let survey = survey(&root).unwrap();
    let link = |path: &str| link_of(&survey, path).map(|to| to.display().to_string());
    assert_eq!(link("relative").as_deref(), Some("a/file"));
    assert_eq!(link("a/b/absolute").as_deref(), Some("../../a/file"));
    assert_eq!(link("itself").as_deref(), Some("."));
    assert_eq!(link("dangling").as_deref(), Some("step-9"));
    assert_eq!(link("a/up").as_deref(), Some(".."));
    let left: Vec<_> = survey.left_out.iter().map(|it| it.path.display().to_string()).collect();
    assert_eq!(left, ["a/out", "nowhere", "out", "passwd", "sly"]);
    assert!(survey.left_out[3].to_string().contains("a link to \"/etc/passwd\""));
}

#[test]
fn what_no_copy_can_have_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    nix::unistd::mkfifo(&root.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    fs::write(root.join(".tmp-model"), "half").unwrap();
    let mut deep = PathBuf::new();
    for _ in 0..=DEEPEST {
        deep.push("d");
    }
    fs::create_dir_all(root.join(&deep)).unwrap();
    let long: PathBuf = std::iter::repeat_n("n".repeat(250), 5).collect();
    fs::create_dir_all(root.join(&long)).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"odd \xff\n name")), "kept").unwrap();
    let survey = survey(root).unwrap();
    let said = several(&survey.left_out);
    for word in ["a named pipe", "a socket", ".tmp-", "64 folders", "1024 bytes"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(survey.files().count(), 1);
    assert_eq!(shown(&survey.files().next().unwrap().0.path), r#""odd \xFF\n name""#);
}

#[test]
fn a_change_of_anything_but_a_folder_s_time_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::create_dir(root.join("a")).unwrap();
    fs::write(root.join("a/x"), "x").unwrap();
    symlink("a/x", root.join("latest")).unwrap();
    let before = survey(root).unwrap();
    fs::write(root.join("a/.tmp-y"), "half").unwrap();
    assert!(before.is_still(&survey(root).unwrap()), "a folder's time has changed only");
    fs::remove_file(root.join("latest")).unwrap();
    symlink("a/y", root.join("latest")).unwrap();
    assert!(!before.is_still(&survey(root).unwrap()));
}
