use std::ffi::OsStr;

use super::*;

fn id() -> CheckpointId {
    "j17.2-000003".parse().unwrap()
}

fn meta() -> Option<Meta> {
    Some(Meta { mode: 0o640, modified: Stamp { seconds: -3, nanos: 999_999_999 } })
}

fn file(path: impl Into<PathBuf>, number: u32, size: u64) -> Item {
    let (hash, lies_in) = (Hash::Blake3("0a".repeat(32)), None);
    let shard = Shard { number, lies_in, size, hash, sparse: false };
    Item { path: path.into(), meta: meta(), what: What::File(shard) }
}

fn item(path: &str, what: What) -> Item {
    let meta = match what {
        What::Link(_) => Some(Meta { mode: 0, ..meta().unwrap() }),
        What::Same(_) => None,
        What::Folder | What::File(_) => meta(),
    };
    Item { path: PathBuf::from(path), meta, what }
}

fn made(items: Vec<Item>) -> Result<Manifest, CheckpointError> {
    Manifest::new(id(), &Progress::default(), items)
}

/// A manifest of one file that has been changed and sealed again.
fn refused(change: impl FnOnce(&mut serde_json::Value)) -> String {
    let good = made(vec![file("a", 0, 1)]).unwrap().to_bytes().unwrap();
    let mut value: serde_json::Value = serde_json::from_slice(&good).unwrap();
    value.as_object_mut().unwrap().shift_remove("sha256");
    change(&mut value);
    let bytes = sealed(&value);
    Manifest::parse(&bytes, id()).unwrap_err().to_string()
}

fn sealed(value: &serde_json::Value) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).unwrap();
    let seal = hex(&Sha256::digest(&bytes));
    bytes.truncate(bytes.len() - 2);
    bytes.extend_from_slice([SEAL.0, &seal, SEAL.1].concat().as_bytes());
    bytes
}

#[test]
fn what_is_written_is_read() {
    let odd = PathBuf::from(OsStr::from_bytes(b"step-1/odd \xff\n"));
    let items = vec![
        item("empty", What::Folder),
        item("latest", What::Link(PathBuf::from("step-1"))),
        item("step-1", What::Folder),
        file("step-1/model.bin", 0, 5),
        file(odd, 1, 0),
        item("step-1/same", What::Same(PathBuf::from("step-1/model.bin"))),
    ];
    let progress = Progress { step: 120, total_steps: 200, ..Progress::default() };
    let manifest = Manifest::new(id(), &progress, items).unwrap();
    assert_eq!(Manifest::parse(&manifest.to_bytes().unwrap(), id()).unwrap(), manifest);
    assert_eq!((manifest.bytes(), manifest.progress().step), (5, 120));
}

#[test]
fn the_formats_before_are_read_but_not_one_that_lost_its_seal() {
    let old = |format: u32, seal: bool| {
        let value = serde_json::json!({
            "format": format, "attempt": "j17.2", "sequence": 3, "step": 5, "total_steps": 9,
            "files": [{"path": "b/a", "size": 1, "sha256": "0a".repeat(32)}],
        });
        if seal { sealed(&value) } else { serde_json::to_vec_pretty(&value).unwrap() }
    };
    for bytes in [old(1, false), old(2, true)] {
        let manifest = Manifest::parse(&bytes, id()).unwrap();
        assert_eq!((manifest.progress().step, manifest.bytes()), (5, 1));
        assert_eq!(manifest.items()[0].meta, None, "nothing is known of it");
    }
    for bytes in
        [old(2, false), old(3, true), old(1, true), old(0, true), old(2, true)[1..].to_vec()]
    {
        assert!(Manifest::parse(&bytes, id()).is_err());
    }
    let mut torn = old(2, true);
    let last = torn.len() - 10;
    torn[last] = if torn[last] == b'0' { b'1' } else { b'0' };
    assert!(Manifest::parse(&torn, id()).is_err());
}

#[test]
fn one_of_a_later_build_is_told_from_a_torn_one() {
    let later = serde_json::json!({ "format": 5, "attempt": "j17.2", "surprise": [] });
    let error = Manifest::parse(&sealed(&later), id()).unwrap_err();
    assert!(matches!(error, CheckpointError::TooNew { format: 5, .. }), "{error}");
    assert!(error.to_string().contains("is of format 5; this worker reads 1 to 4"), "{error}");
    let mut torn = sealed(&later);
    torn[10] ^= 1;
    assert!(matches!(Manifest::parse(&torn, id()), Err(CheckpointError::Bad(_))));
}

#[test]
fn hostile_manifests_are_refused() {
    refused(|it| it["attempt"] = "j17.1".into());
    refused(|it| it["attempt"] = "j18.2".into());
    refused(|it| it["sequence"] = 4.into());
    refused(|it| it["sequence"] = serde_json::json!(1e300));
    refused(|it| it["surprise"] = 1.into());
    refused(|it| it["entries"] = serde_json::json!([]));
    refused(|it| it["entries"][0]["surprise"] = 1.into());
    refused(|it| it["entries"][0]["kind"] = "device".into());
    refused(|it| it["entries"][0]["size"] = (-1).into());
    refused(|it| it["entries"][0]["size"] = u64::MAX.into());
    refused(|it| it["entries"][0]["shard"] = MOST_ENTRIES.into());
    refused(|it| it["entries"][0]["mode"] = 0o4755.into());
    refused(|it| it["entries"][0]["mtime"] = serde_json::json!([0, 1_000_000_000]));
    refused(|it| it["entries"][0]["sha256"] = "short".into());
    refused(|it| it["entries"][0]["sha256"] = "0A".repeat(32).into());
    for path in ["", "/etc/passwd", "../a", "a/../../b", "a//b", "./a", "a/", "a\0b"] {
        let message = refused(|it| it["entries"][0]["path"] = path.into());
        assert!(message.contains("is no path"), "{path}: {message}");
    }
    for hex in ["2f657463", "2e2e2f61", "6100", "6", "zz", ""] {
        refused(|it| it["entries"][0]["path"] = serde_json::json!({ "hex": hex }));
    }
    let message = refused(|it| it["entries"][0]["path"] = serde_json::json!({ "hex": "61" }));
    assert!(message.contains("not what was written"), "one spelling each: {message}");
}

#[test]
fn links_and_names_never_lead_out() {
    let link = |path: &str, to: &str| item(path, What::Link(PathBuf::from(to)));
    for (path, to) in [("l", "/etc"), ("l", ".."), ("d/l", "../../x"), ("l", ""), ("l", "a\0")] {
        assert!(made(vec![item("d", What::Folder), file("a", 0, 1), link(path, to)]).is_err());
    }
    let below = vec![link("l", "d"), file("l/a", 0, 1)];
    assert!(made(below).unwrap_err().to_string().contains("lies in what is no folder"));
    for file_of in ["b", "d", "s"] {
        let same = item("s", What::Same(PathBuf::from(file_of)));
        assert!(made(vec![file("a", 0, 1), item("d", What::Folder), same]).is_err(), "{file_of}");
    }
}

#[test]
fn counts_and_sums_are_bounded() {
    let many: Vec<_> =
        (0..=u32::try_from(MOST_ENTRIES).unwrap()).map(|n| file(n.to_string(), n, 1)).collect();
    assert!(made(many).is_err());
    assert!(made(vec![item("only", What::Folder)]).is_err());
    assert!(made(vec![file("a", 0, MOST_BYTES), file("b", 1, 1)]).is_err());
    assert!(made(vec![file("a", 0, 1), file("b", 0, 1)]).is_err(), "a shard for two");
    for paths in [["a", "a"], ["a", "a/b"], ["a/b/c", "a"]] {
        let files = vec![file(paths[0], 0, 1), file(paths[1], 1, 1)];
        assert!(made(files).is_err(), "{paths:?}");
    }
}

#[test]
fn deep_nesting_is_an_error_not_a_crash() {
    let bytes = "[".repeat(1_000_000);
    assert!(Manifest::parse(bytes.as_bytes(), id()).is_err());
}
