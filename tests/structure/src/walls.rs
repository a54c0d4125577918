//! Which crates may know which.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::workspace::{Package, Workspace, cargo};

/// Members that must not stand below a member, at any depth. What it needs for
/// its tests only is free.
const ABOVE: [(&str, &[&str]); 10] = [
    ("spotwise-api", &["spotwise-solver", "spotwise-scheduler", "spotwise-worker", "spotwise-cli"]),
    ("spotwise-market", &["spotwise-solver", "spotwise-control"]),
    ("spotwise-control", &["spotwise-api", "spotwise-store", "spotwise-scheduler"]),
    ("spotwise-simulated-cloud", &["spotwise-solver", "spotwise-control", "spotwise-scheduler"]),
    ("spotwise-store", &["spotwise-api", "spotwise-scheduler"]),
    ("spotwise-storage", &["spotwise-model", "spotwise-api"]),
    ("spotwise-scheduler", &["spotwise-worker", "spotwise-cli", "spotwise-solver-lab"]),
    ("spotwise-worker", &["spotwise-solver", "spotwise-scheduler", "spotwise-cli"]),
    ("spotwise-cli", &["spotwise-solver-lab"]),
    ("spotwise-examples", &["spotwise-model", "spotwise-api"]),
];

/// What reaches the world: no pure crate links it, at any depth.
const WORLD: [&str; 10] = [
    "async-std",
    "axum",
    "hyper",
    "mio",
    "object_store",
    "reqwest",
    "rusqlite",
    "sqlx",
    "tokio",
    "tonic",
];

/// Clocks that the `clippy.toml` of a pure crate forbids.
const CLOCKS: [&str; 4] = [
    "std::time::SystemTime::now",
    "std::time::Instant::now",
    "jiff::Timestamp::now",
    "jiff::Zoned::now",
];

/// A wall that does not hold, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Breach {
    /// The table names a member that is not there.
    Unknown { name: String },
    /// A member stands below one that must not know it.
    Above { package: String, known: String },
    /// A pure crate links what reaches the world.
    World { package: String, linked: String },
    /// The clippy.toml of a pure crate does not forbid a clock.
    Clock { package: String, clock: &'static str, file: Option<PathBuf> },
}

/// All of the workspace's.
pub(crate) fn breaches(workspace: &Workspace) -> Result<Vec<Breach>> {
    let mut breaches = misplaced(workspace, &ABOVE);
    for package in workspace.packages.iter().filter(|package| package.is_pure()) {
        let links = cargo(&[
            "tree",
            "--package",
            &package.name,
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
            "--locked",
        ])?;
        breaches.extend(linked(&package.name, &links));
        breaches.extend(unforbidden(package, &workspace.root));
    }
    Ok(breaches)
}

fn misplaced(workspace: &Workspace, above: &[(&str, &[&str])]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (package, forbidden) in above {
        let below = workspace.below(package);
        for name in std::iter::once(package).chain(*forbidden) {
            if !workspace.packages.iter().any(|package| package.name == *name) {
                breaches.push(Breach::Unknown { name: (*name).to_owned() });
            }
        }
        for known in forbidden.iter().filter(|name| below.contains(*name)) {
            let (package, known) = ((*package).to_owned(), (*known).to_owned());
            breaches.push(Breach::Above { package, known });
        }
    }
    breaches
}

/// What `cargo tree` lists, one crate a line, name first.
fn linked(package: &str, tree: &str) -> Vec<Breach> {
    let names = tree.lines().filter_map(|line| line.split_whitespace().next());
    let mut linked: Vec<_> = names.filter(|name| WORLD.contains(name)).collect();
    linked.sort_unstable();
    linked.dedup();
    let breach =
        |linked: &str| Breach::World { package: package.to_owned(), linked: linked.to_owned() };
    linked.into_iter().map(breach).collect()
}

fn unforbidden(package: &Package, root: &Path) -> Vec<Breach> {
    let file = clippy_file(&package.manifest_path, root);
    let text = file.as_deref().and_then(|file| std::fs::read_to_string(file).ok());
    let missing = missing_clocks(&text.unwrap_or_default());
    let breach = |clock| Breach::Clock { package: package.name.clone(), clock, file: file.clone() };
    missing.into_iter().map(breach).collect()
}

/// The file that clippy reads for a crate: in its folder, or the next above.
fn clippy_file(manifest: &Path, root: &Path) -> Option<PathBuf> {
    let folders = manifest.ancestors().skip(1).take_while(|folder| folder.starts_with(root));
    folders.map(|folder| folder.join("clippy.toml")).find(|file| file.is_file())
}

fn missing_clocks(text: &str) -> Vec<&'static str> {
    let lines: Vec<_> = text.lines().map(|line| line.split('#').next().unwrap_or("")).collect();
    let forbids = |clock: &str| lines.iter().any(|line| line.contains(&format!("\"{clock}\"")));
    CLOCKS.into_iter().filter(|clock| !forbids(clock)).collect()
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name } => write!(
                f,
                "tests/structure/src/walls.rs speaks of {name}, which is no member: \
                 give it the new name, or drop the line"
            ),
            Self::Above { package, known } => write!(
                f,
                "{package} must not know {known}: move what it needs down to a crate that both \
                 may know\n  cargo tree -p {package} -e normal,build -i {known}"
            ),
            Self::World { package, linked } => write!(
                f,
                "{package} is pure and links {linked}: let the caller do it\n  \
                 cargo tree -p {package} -e normal -i {linked}"
            ),
            Self::Clock { package, clock, file: None } => {
                write!(f, "{package} is pure and has no clippy.toml to forbid {clock}")
            }
            Self::Clock { package, clock, file: Some(file) } => {
                let file = file.display();
                write!(f, "{package} is pure, but {file} does not forbid {clock}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> Workspace {
        let member = |name: &str, below: &str| {
            format!(
                r#"{{"name":"{name}","manifest_path":"/{name}/Cargo.toml","targets":[],
                "dependencies":[{below}],"metadata":{{"spotwise":{{"pure":true}}}}}}"#
            )
        };
        let members = [
            member("top", r#"{"name":"middle","kind":null},{"name":"low","kind":"dev"}"#),
            member("middle", r#"{"name":"deep","kind":"build"},{"name":"serde","kind":null}"#),
            member("deep", ""),
            member("low", ""),
        ];
        let text = format!(r#"{{"workspace_root":"/","packages":[{}]}}"#, members.join(","));
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_member_below_one_that_must_not_know_it_is_found_at_any_depth() {
        let workspace = workspace();
        let breach = |known: &str| Breach::Above { package: "top".into(), known: known.into() };
        assert_eq!(misplaced(&workspace, &[("top", &["deep", "low"])]), [breach("deep")]);
        assert_eq!(misplaced(&workspace, &[("deep", &["top"]), ("middle", &["low"])]), []);
    }

    #[test]
    fn a_table_that_names_nobody_is_no_table() {
        let unknown = |name: &str| Breach::Unknown { name: name.into() };
        let breaches = misplaced(&workspace(), &[("tpo", &["deep", "lo"])]);
        assert_eq!(breaches, [unknown("tpo"), unknown("lo")]);
    }

    #[test]
    fn a_pure_crate_that_links_what_reaches_the_world_is_found() {
        let tree = "control v0.1.0 (/control)\nserde v1.0.1\ntokio v1.54.0\ntokio v1.54.0 (*)\n";
        let world = Breach::World { package: "control".into(), linked: "tokio".into() };
        assert_eq!(linked("control", tree), [world]);
        assert_eq!(linked("control", "control v0.1.0\ntokio-not v1.0.0\n"), []);
    }

    #[test]
    fn a_clock_that_is_not_forbidden_is_found() {
        let text = include_str!("../../../model/clippy.toml");
        assert_eq!(missing_clocks(text), [""; 0]);
        let commented = text.replace("  { path = \"jiff::Zoned", "  # { path = \"jiff::Zoned");
        assert_eq!(missing_clocks(&commented), ["jiff::Zoned::now"]);
        assert_eq!(missing_clocks("").len(), CLOCKS.len());
        let package = workspace().packages.remove(0);
        assert!(package.is_pure());
        assert_eq!(unforbidden(&package, Path::new("/")).len(), CLOCKS.len());
    }
}
