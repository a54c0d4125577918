//! A document as a tree, the same for YAML and JSON: scalars keep their text,
//! so that no number passes through a float, and nodes keep their place.

/// Line and column, from 1.
pub(crate) type Location = (u32, u32);

/// How deep a document may nest. The specification needs 6; the limit keeps
/// `[[[[...` cheap to refuse.
pub(crate) const MAX_DEPTH: usize = 16;

/// One step from a value down to one of its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) at: Option<Location>,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// `key:` with nothing after it.
    Empty,
    /// `null` or `~`: as if the field were absent.
    Null,
    /// A number, `true`, `false`, or unquoted text.
    Plain(String),
    /// Text in quotes or in a block.
    Quoted(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) at: Option<Location>,
    pub(crate) value: Node,
}

/// What copying a node costs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weight {
    pub(crate) nodes: usize,
    pub(crate) bytes: usize,
    /// Levels of lists and maps.
    pub(crate) height: usize,
}

impl Node {
    pub(crate) fn weight(&self) -> Weight {
        let leaf = |bytes| Weight { nodes: 1, bytes, height: 0 };
        let level = |sum: Weight, part: Weight| Weight {
            nodes: sum.nodes + part.nodes,
            bytes: sum.bytes + part.bytes,
            height: sum.height.max(part.height + 1),
        };
        let empty_level = Weight { nodes: 1, bytes: 0, height: 1 };
        match &self.value {
            Value::Empty | Value::Null => leaf(0),
            Value::Plain(text) | Value::Quoted(text) => leaf(text.len()),
            Value::List(items) => items.iter().map(Self::weight).fold(empty_level, level),
            Value::Map(entries) => entries
                .iter()
                .map(|e| {
                    let value = e.value.weight();
                    Weight { bytes: value.bytes + e.key.len(), ..value }
                })
                .fold(empty_level, level),
        }
    }

    /// The location of the part that `path` leads to, or of the last part on the way that
    /// exists.
    pub(crate) fn locate(&self, path: &[Step]) -> Option<Location> {
        let mut node = self;
        let mut place = None;
        for step in path {
            let next = match (&node.value, step) {
                (Value::Map(entries), Step::Key(key)) => {
                    entries.iter().find(|e| e.key == *key).map(|e| (&e.value, e.at))
                }
                (Value::List(items), Step::Index(i)) => items.get(*i).map(|n| (n, n.at)),
                _ => None,
            };
            let Some((part, at)) = next else { break };
            node = part;
            place = at.or(place);
        }
        place.or(self.at)
    }

    /// The value of a field, if this is a map that has it.
    pub(crate) fn field(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|e| e.key == key).map(|e| &e.value),
            _ => None,
        }
    }
}
