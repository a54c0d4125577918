//! Follows a path through imports and re-exports to the file that defines what
//! it names.

use std::collections::BTreeSet;

use crate::tree::{FileId, Mention, ModuleId, Route, Tree};

/// What a name stands for: modules, and files that define an item of the name.
/// Nothing at all for what comes from another crate.
#[derive(Debug, Default)]
struct Found {
    modules: BTreeSet<ModuleId>,
    files: BTreeSet<FileId>,
}

impl Found {
    fn module(module: Option<ModuleId>) -> Self {
        Self { modules: module.into_iter().collect(), ..Self::default() }
    }

    fn add(&mut self, other: Self) {
        self.modules.extend(other.modules);
        self.files.extend(other.files);
    }
}

/// The imports that are being followed, for those that lead back to themselves.
type Trail = BTreeSet<(ModuleId, String)>;

impl Tree {
    /// The files that define what is mentioned; none for a module, or for what
    /// another crate has.
    pub(crate) fn definers(&self, mention: &Mention) -> BTreeSet<FileId> {
        self.resolve(mention.module, &mention.path, &mut Trail::new()).files
    }

    fn resolve(&self, scope: ModuleId, path: &Route, trail: &mut Trail) -> Found {
        let mut segments = path.segments.iter();
        let Some(first) = segments.next().filter(|_| !path.foreign) else {
            return Found::default();
        };
        let mut found = match first.as_str() {
            "crate" => Found::module(Some(0)),
            "self" => Found::module(Some(scope)),
            "super" => Found::module(self.parent(scope)),
            name => self.lookup(scope, name, trail).unwrap_or_default(),
        };
        for segment in segments {
            if found.modules.is_empty() {
                // A variant or a function of a type.
                return found;
            }
            found = self.step(&found.modules, segment, trail);
        }
        found
    }

    /// From modules to what one of their names stands for.
    fn step(&self, from: &BTreeSet<ModuleId>, segment: &str, trail: &mut Trail) -> Found {
        let mut found = Found::default();
        for module in from {
            match segment {
                "super" => found.add(Found::module(self.parent(*module))),
                "self" => found.add(Found::module(Some(*module))),
                name => match self.lookup(*module, name, trail) {
                    Some(there) => found.add(there),
                    // Made by a macro.
                    None => found.files.extend(self.modules.get(*module).map(|it| it.file)),
                },
            }
        }
        found
    }

    /// What `name` stands for in a module; nothing where it is not known there.
    fn lookup(&self, module: ModuleId, name: &str, trail: &mut Trail) -> Option<Found> {
        let here = self.modules.get(module)?;
        let mut found = Found::module(here.children.get(name).copied());
        if here.items.contains(name) {
            found.files.insert(here.file);
        }
        let mut known = !found.modules.is_empty() || !found.files.is_empty();
        let step = (module, name.to_owned());
        if trail.insert(step.clone()) {
            for import in here.imports.iter().filter(|it| it.name.as_deref() == Some(name)) {
                found.add(self.resolve(module, &import.path, trail));
                known = true;
            }
            if !known {
                for import in here.imports.iter().filter(|it| it.name.is_none()) {
                    let source = self.resolve(module, &import.path, trail);
                    // All of another crate, or the variants of an enum.
                    known |= source.modules.is_empty() && source.files.is_empty();
                    for there in source.modules.into_iter().filter(|it| *it != module) {
                        if let Some(there) = self.lookup(there, name, trail) {
                            found.add(there);
                            known = true;
                        }
                    }
                }
            }
            trail.remove(&step);
        }
        known.then_some(found)
    }

    fn parent(&self, module: ModuleId) -> Option<ModuleId> {
        self.modules.get(module).and_then(|module| module.parent)
    }
}
