//! Files of a crate that use each other in a circle.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::path::Path;

use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::tree::{FileId, Tree};

/// Names shown of each edge; the rest are counted.
const NAMES_SHOWN: usize = 3;

/// A circle: each of its files is used by each other, at some distance.
#[derive(Debug)]
pub(crate) struct Circle {
    files: BTreeSet<FileId>,
    edges: Edges,
}

/// Lines and paths by which a file uses another.
type Edges = BTreeMap<(FileId, FileId), Vec<(usize, String)>>;

/// All circles of a crate, none of which touch.
pub(crate) fn find(tree: &Tree) -> Vec<Circle> {
    let edges = edges(tree);
    let graph = DiGraph::<(), (), FileId>::from_edges(edges.keys());
    let mut circles: Vec<_> = tarjan_scc(&graph)
        .into_iter()
        .filter(|files| files.len() > 1)
        .map(|files| {
            let files: BTreeSet<_> = files.into_iter().map(NodeIndex::index).collect();
            let inside =
                |edge: &(FileId, FileId)| files.contains(&edge.0) && files.contains(&edge.1);
            let edges = edges.iter().filter(|(edge, _)| inside(edge));
            Circle { edges: edges.map(|(edge, uses)| (*edge, uses.clone())).collect(), files }
        })
        .collect();
    circles.sort_by_key(|circle| circle.files.first().copied());
    circles
}

fn edges(tree: &Tree) -> Edges {
    let mut edges = Edges::new();
    for mention in &tree.mentions {
        let Some(module) = tree.modules.get(mention.module) else { continue };
        let from = module.file;
        let around: BTreeSet<_> = tree.around(mention.module).collect();
        let others = |to: &FileId| *to != from && !around.contains(to);
        for to in tree.definers(mention).into_iter().filter(others) {
            edges.entry((from, to)).or_default().push((mention.line, mention.path.to_string()));
        }
    }
    edges
}

impl Circle {
    /// The circle as a reader needs it: a shortest way round, and every edge.
    pub(crate) fn describe(&self, title: &str, tree: &Tree, root: &Path) -> String {
        let file = |id: &FileId| {
            let path = tree.files.get(*id).map_or(Path::new(""), |path| path.as_path());
            path.strip_prefix(root).unwrap_or(path).display().to_string()
        };
        let mut text = format!("import circle in {title}, {} files", self.files.len());
        let round: Vec<_> = self.shortest().iter().map(file).collect();
        let _ = write!(text, "\n  {}", round.join(" -> "));
        for ((from, to), uses) in &self.edges {
            let Some((line, _)) = uses.first() else { continue };
            let names: BTreeSet<_> = uses.iter().map(|(_, name)| name.as_str()).collect();
            let shown: Vec<_> = names.iter().take(NAMES_SHOWN).copied().collect();
            let more = match names.len().saturating_sub(NAMES_SHOWN) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let (from, to) = (file(from), file(to));
            let _ = write!(text, "\n  {from}:{line} -> {to}: {}{more}", shown.join(", "));
        }
        text
    }

    /// A shortest way from a file back to itself.
    fn shortest(&self) -> Vec<FileId> {
        let rounds = self.files.iter().filter_map(|start| self.shortest_from(*start));
        rounds.min_by_key(Vec::len).unwrap_or_default()
    }

    fn shortest_from(&self, start: FileId) -> Option<Vec<FileId>> {
        let (mut open, mut seen) = (VecDeque::from([vec![start]]), BTreeSet::new());
        while let Some(way) = open.pop_front() {
            let at = *way.last()?;
            for (_, to) in self.edges.keys().filter(|(from, _)| *from == at) {
                let onward = [way.as_slice(), &[*to]].concat();
                if *to == start {
                    return Some(onward);
                }
                if seen.insert(*to) {
                    open.push_back(onward);
                }
            }
        }
        None
    }
}
