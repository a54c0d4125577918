//! The members of the workspace, as cargo describes them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// What `cargo metadata --no-deps` says.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    pub(crate) packages: Vec<Package>,
}

/// A member.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) targets: Vec<Target>,
    dependencies: Vec<Dependency>,
    metadata: Option<Metadata>,
}

/// Something that is compiled on its own.
#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) src_path: PathBuf,
    kind: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// `dev`, `build`, or none for a normal one.
    kind: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    spotwise: Declared,
}

/// What a crate declares of itself.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    #[serde(default)]
    pure: bool,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn load() -> Result<Self> {
        let printed = cargo(&["metadata", "--no-deps", "--format-version", "1"])?;
        serde_json::from_str(&printed).context("reading what `cargo metadata` says")
    }

    /// The members that each member is built on, at any depth. What it needs
    /// for its tests only is left out.
    pub(crate) fn below(&self, package: &str) -> BTreeSet<&str> {
        let direct: BTreeMap<&str, Vec<&str>> = self
            .packages
            .iter()
            .map(|package| (package.name.as_str(), package.dependencies().collect()))
            .collect();
        let (mut below, mut open) = (BTreeSet::new(), vec![package]);
        while let Some(next) = open.pop() {
            for name in direct.get(next).into_iter().flatten() {
                if direct.contains_key(name) && below.insert(*name) {
                    open.push(name);
                }
            }
        }
        below
    }
}

impl Package {
    /// Whether it says that it reaches neither clock nor world.
    pub(crate) fn is_pure(&self) -> bool {
        self.metadata.as_ref().is_some_and(|metadata| metadata.spotwise.pure)
    }

    fn dependencies(&self) -> impl Iterator<Item = &str> {
        let normal = |dependency: &&Dependency| dependency.kind.as_deref() != Some("dev");
        self.dependencies.iter().filter(normal).map(|dependency| dependency.name.as_str())
    }
}

impl Target {
    /// `lib`, `bin`, `test`, `bench`, `custom-build`, …
    pub(crate) fn kind(&self) -> &str {
        self.kind.first().map_or("", String::as_str)
    }

    /// Whether `cfg(test)` holds in all of it.
    pub(crate) fn is_test(&self) -> bool {
        self.kind() == "test"
    }
}

/// Runs the cargo that runs us, and returns what it prints.
pub(crate) fn cargo(arguments: &[&str]) -> Result<String> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let done = Command::new(program).args(arguments).output().context("starting cargo")?;
    let errors = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "cargo {}: {}", arguments.join(" "), errors.trim());
    Ok(String::from_utf8(done.stdout)?)
}
