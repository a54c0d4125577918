//! Checks the walls of the house; `make structure` runs it.
//!
//! **No import circle.** Within a crate the files that use each other form no
//! circle, so that each can be read, tested and moved after those below it.
//! - A file uses another where code that is not `#[cfg(test)]` names something
//!   that is defined there: in a `use`, a path in a type, an expression or a
//!   pattern, in the arguments of a macro, or in an attribute.
//! - A name counts for the file that defines it, whichever way it came: who
//!   uses `super::Job` where `super` only re-exports it uses the file of `Job`.
//!   So `mod x;` and `pub use x::Job` make no edge, and no facade is in a circle
//!   for being a facade; nor does the import of a module before something in it
//!   is used.
//! - A module may use what the modules around it define, as privacy has it: its
//!   parent is its context. The parent may use its children. Only those of which
//!   none contains the other need an order.
//! - An inline module belongs to its file.
//! - What nobody names is not seen: methods, fields, inherited types, and what
//!   macros generate.
//!
//! **Who may know whom.** [`walls`] lists it: crates that must not stand below
//! others, and pure crates, which link nothing that reaches the world and whose
//! `clippy.toml` forbids clocks. A crate declares itself pure in its manifest:
//!
//! ```toml
//! [package.metadata.spotwise]
//! pure = true
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

mod circles;
mod read;
mod resolve;
#[cfg(test)]
mod tests;
mod tokens;
mod tree;
mod walls;
mod workspace;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;

use crate::workspace::Workspace;

const REMEDY: &str = "\
What closes a circle is nearly always small: a type, a constant or a function that
both sides need. Move it down, into a file of its own or to the lowest file that
uses it; or let the caller pass what the callee looks up. A re-export does not help:
a name counts for the file that defines it.";

fn main() -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let (circles, files) = circles_of(&workspace)?;
    for circle in &circles {
        println!("{circle}\n");
    }
    if !circles.is_empty() {
        println!("{REMEDY}\n");
    }
    let breaches = walls::breaches(&workspace)?;
    for breach in &breaches {
        println!("{breach}\n");
    }
    let (crates, circles, breaches) = (workspace.packages.len(), circles.len(), breaches.len());
    println!("{crates} packages, {files} files: {circles} import circles, {breaches} broken walls");
    Ok(if circles + breaches == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All circles, and how many files were read.
fn circles_of(workspace: &Workspace) -> Result<(Vec<String>, usize)> {
    let texts = |file: &Path| std::fs::read_to_string(file).ok();
    let (mut files, mut circles) = (BTreeSet::<PathBuf>::new(), Vec::new());
    for package in &workspace.packages {
        for target in &package.targets {
            let tree = read::read(&target.src_path, target.is_test(), &texts)?;
            let title = format!("{} ({} {})", package.name, target.kind(), target.name);
            for circle in circles::find(&tree) {
                circles.push(circle.describe(&title, &tree, &workspace.root));
            }
            files.extend(tree.files);
        }
    }
    Ok((circles, files.len()))
}
