//! The modules of a crate: what each defines, imports and names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

/// Index of a module in [`Tree::modules`].
pub(crate) type ModuleId = usize;

/// Index of a file in [`Tree::files`].
pub(crate) type FileId = usize;

/// A crate. The root is module 0.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) modules: Vec<Module>,
    pub(crate) mentions: Vec<Mention>,
}

/// A module, in a file of its own or in its parent's.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) file: FileId,
    pub(crate) parent: Option<ModuleId>,
    pub(crate) children: BTreeMap<String, ModuleId>,
    /// Names that it defines: types, functions, constants, macros.
    pub(crate) items: BTreeSet<String>,
    pub(crate) imports: Vec<Import>,
}

/// One name, or all of a module, that a `use` brings in.
#[derive(Debug)]
pub(crate) struct Import {
    /// The name in this module; none for `*`.
    pub(crate) name: Option<String>,
    pub(crate) path: Route,
}

/// A path as written: `crate::market::Row`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// Begins with `::`: another crate's.
    pub(crate) foreign: bool,
    pub(crate) segments: Vec<String>,
}

/// A place where a module names something.
#[derive(Debug)]
pub(crate) struct Mention {
    pub(crate) module: ModuleId,
    pub(crate) line: usize,
    pub(crate) path: Route,
}

impl Tree {
    /// Adds an empty module.
    pub(crate) fn add(&mut self, file: FileId, parent: Option<ModuleId>) -> ModuleId {
        self.modules.push(Module {
            file,
            parent,
            children: BTreeMap::new(),
            items: BTreeSet::new(),
            imports: Vec::new(),
        });
        self.modules.len() - 1
    }

    /// The files of the modules around a module, the next one first.
    pub(crate) fn around(&self, module: ModuleId) -> impl Iterator<Item = FileId> {
        let parent = |id: ModuleId| self.modules.get(id).and_then(|module| module.parent);
        std::iter::successors(parent(module), move |id| parent(*id))
            .filter_map(|id| self.modules.get(id).map(|module| module.file))
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = if self.foreign { "::" } else { "" };
        write!(f, "{start}{}", self.segments.join("::"))
    }
}
