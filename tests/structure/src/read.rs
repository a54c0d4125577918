//! Reads a crate: what each module defines and imports, and every path in its
//! code.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use proc_macro2::{Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::visit::{self, Visit};
use syn::{Attribute, Ident, Item, ItemMod, ItemUse, Meta, UseTree, Visibility};

use crate::tokens::{self, colons, path_at, path_in_text};
use crate::tree::{Import, Mention, ModuleId, Route, Tree};

/// Where the text of a file comes from; none where there is no such file.
pub(crate) type Texts<'a> = dyn Fn(&Path) -> Option<String> + 'a;

/// Reads the crate whose root is `root`; with `tests`, what is `#[cfg(test)]`
/// belongs to it.
///
/// # Errors
/// A file that is missing or no Rust.
pub(crate) fn read(root: &Path, tests: bool, texts: &Texts<'_>) -> Result<Tree> {
    let mut tree = Tree::default();
    let reading = Reading { tests, texts };
    reading.file(&mut tree, root.to_owned(), None, true)?;
    Ok(tree)
}

/// How a crate is read.
struct Reading<'a> {
    /// Whether `cfg(test)` holds.
    tests: bool,
    texts: &'a Texts<'a>,
}

/// Where the files of a module's children lie.
struct Place {
    /// Where `mod x;` finds `x.rs` or `x/mod.rs`.
    children: PathBuf,
    /// What a `#[path]` starts from.
    relative: PathBuf,
}

impl Reading<'_> {
    /// Adds a module with a file of its own, and all below it. The children of
    /// one that owns its folder lie beside its file.
    fn file(
        &self,
        tree: &mut Tree,
        file: PathBuf,
        parent: Option<ModuleId>,
        owns_folder: bool,
    ) -> Result<ModuleId> {
        let shown = || file.display().to_string();
        let text = (self.texts)(&file).with_context(|| format!("cannot read {}", shown()))?;
        let parsed = syn::parse_file(&text).with_context(|| format!("parsing {}", shown()))?;
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        let children = match file.file_stem() {
            Some(stem) if !owns_folder => folder.join(stem),
            _ => folder.clone(),
        };
        tree.files.push(file);
        let module = tree.add(tree.files.len() - 1, parent);
        if !self.leaves_out(&parsed.attrs) {
            self.items(tree, module, &Place { children, relative: folder }, &parsed.items)?;
        }
        Ok(module)
    }

    fn items(
        &self,
        tree: &mut Tree,
        module: ModuleId,
        place: &Place,
        items: &[Item],
    ) -> Result<()> {
        let locals = BTreeSet::new();
        let mut reader = Reader { reading: self, tree, module, place, locals, failure: None };
        for item in items {
            reader.visit_item(item);
        }
        reader.failure.map_or(Ok(()), Err)
    }

    fn leaves_out(&self, attributes: &[Attribute]) -> bool {
        !self.tests && attributes.iter().any(tokens::is_for_tests)
    }
}

struct Reader<'a> {
    reading: &'a Reading<'a>,
    tree: &'a mut Tree,
    module: ModuleId,
    place: &'a Place,
    /// Variables of the function that is read: they hide what was imported.
    locals: BTreeSet<String>,
    failure: Option<anyhow::Error>,
}

impl Reader<'_> {
    fn mention(&mut self, path: Route, span: Span) {
        let local = path.segments.len() == 1
            && path.segments.first().is_some_and(|name| self.locals.contains(name));
        if !local {
            let line = span.start().line;
            self.tree.mentions.push(Mention { module: self.module, line, path });
        }
    }

    fn define(&mut self, name: &Ident) {
        if let Some(module) = self.tree.modules.get_mut(self.module) {
            module.items.insert(name.unraw().to_string());
        }
    }

    fn import(&mut self, name: Option<String>, path: Route) {
        if let Some(module) = self.tree.modules.get_mut(self.module) {
            module.imports.push(Import { name, path });
        }
    }

    /// A `use` of a module's own is a mention; one for others is a facade.
    fn read_use(&mut self, tree: &UseTree, path: &mut Route, facade: bool) {
        match tree {
            UseTree::Path(step) => {
                path.segments.push(step.ident.unraw().to_string());
                self.read_use(&step.tree, path, facade);
                path.segments.pop();
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.read_use(tree, path, facade);
                }
            }
            UseTree::Name(leaf) => self.leaf(&leaf.ident, &leaf.ident, path, facade),
            UseTree::Rename(leaf) => self.leaf(&leaf.ident, &leaf.rename, path, facade),
            UseTree::Glob(leaf) => {
                self.import(None, path.clone());
                if !facade {
                    self.mention(path.clone(), leaf.star_token.spans[0]);
                }
            }
        }
    }

    fn leaf(&mut self, ident: &Ident, name: &Ident, path: &Route, facade: bool) {
        let mut path = path.clone();
        if ident != "self" {
            path.segments.push(ident.unraw().to_string());
        }
        let name = if name == "self" {
            path.segments.last().cloned()
        } else {
            Some(name.unraw().to_string())
        };
        self.import(name, path.clone());
        if !facade {
            self.mention(path, ident.span());
        }
    }

    fn read_module(&mut self, item: &ItemMod) -> Result<()> {
        let name = item.ident.unraw().to_string();
        let path = tokens::named_path(&item.attrs);
        let child = match &item.content {
            Some((_, items)) => {
                let file = self.tree.modules.get(self.module).context("a module")?.file;
                let child = self.tree.add(file, Some(self.module));
                let inside = self.place.children.join(path.unwrap_or_else(|| PathBuf::from(&name)));
                let place = Place { children: inside.clone(), relative: inside };
                self.reading.items(self.tree, child, &place, items)?;
                child
            }
            None => {
                let (file, owns_folder) = match path {
                    Some(path) => (self.place.relative.join(path), true),
                    None => self.find(&name)?,
                };
                self.reading.file(self.tree, file, Some(self.module), owns_folder)?
            }
        };
        if let Some(module) = self.tree.modules.get_mut(self.module) {
            module.children.insert(name, child);
        }
        Ok(())
    }

    /// The file of a child, and whether its folder is its own.
    fn find(&self, name: &str) -> Result<(PathBuf, bool)> {
        let folder = self.place.children.join(name);
        [(folder.with_extension("rs"), false), (folder.join("mod.rs"), true)]
            .into_iter()
            .find(|(file, _)| (self.reading.texts)(file).is_some())
            .with_context(|| format!("no file of module {}", folder.display()))
    }

    /// Reads a function, whose variables hide what has their names.
    fn within(&mut self, locals: &BTreeSet<String>, read: impl FnOnce(&mut Self)) {
        let outer = std::mem::take(&mut self.locals);
        self.locals = outer.union(locals).cloned().collect();
        read(self);
        self.locals = outer;
    }

    /// Paths in what is not parsed: arguments of macros and attributes.
    fn scan(&mut self, tokens: TokenStream, texts: bool) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            match token {
                TokenTree::Group(group) => self.scan(group.stream(), texts),
                TokenTree::Literal(text) if texts => {
                    if let Some(path) = path_in_text(&text.to_string()) {
                        self.mention(path, text.span());
                    }
                }
                TokenTree::Ident(_) => {
                    let (path, end) = path_at(&tokens, at);
                    let single = path.segments.len() == 1;
                    let goes_on = colons(&tokens, at.wrapping_sub(2));
                    let a_name = |name: &String| name.starts_with(char::is_uppercase);
                    if !goes_on && (!single || path.segments.iter().all(a_name)) {
                        self.mention(path, token.span());
                    }
                    at = end;
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if self.reading.leaves_out(tokens::attributes(item)) {
            return;
        }
        if let Some(name) = tokens::name_of(item) {
            self.define(name);
        }
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if let Err(error) = self.read_module(item) {
            self.failure.get_or_insert(error);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let mut path = Route { foreign: item.leading_colon.is_some(), segments: Vec::new() };
        let facade = !matches!(item.vis, Visibility::Inherited);
        self.read_use(&item.tree, &mut path, facade);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.within(&variables(|found| found.visit_item_fn(item)), |reader| {
            visit::visit_item_fn(reader, item);
        });
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !self.reading.leaves_out(&item.attrs) {
            self.within(&variables(|found| found.visit_impl_item_fn(item)), |reader| {
                visit::visit_impl_item_fn(reader, item);
            });
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.within(&variables(|found| found.visit_trait_item_fn(item)), |reader| {
            visit::visit_trait_item_fn(reader, item);
        });
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter().map(|segment| segment.ident.unraw().to_string());
        let route = Route { foreign: path.leading_colon.is_some(), segments: segments.collect() };
        if let Some(first) = path.segments.first() {
            self.mention(route, first.ident.span());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.scan(call.tokens.clone(), false);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.scan(list.tokens.clone(), true);
        }
    }

    /// `pub(in path)` names an ancestor.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

/// Names of the variables that `visit` comes by.
fn variables(visit: impl FnOnce(&mut Variables)) -> BTreeSet<String> {
    let mut found = Variables(BTreeSet::new());
    visit(&mut found);
    found.0
}

struct Variables(BTreeSet<String>);

impl Visit<'_> for Variables {
    fn visit_pat_ident(&mut self, pattern: &syn::PatIdent) {
        self.0.insert(pattern.ident.unraw().to_string());
        visit::visit_pat_ident(self, pattern);
    }
}
