//! YAML into a tree. It works on parser events, where tags, aliases and the text of numbers
//! are still visible; typed deserialisation hides them.

use std::collections::{BTreeMap, BTreeSet};

use serde_saphyr::granit_parser::{
    self, ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StrInput,
};

use super::error::{Problem, Under, duplicate_key, too_deep};
use super::tree::{Entry, Location, MAX_DEPTH, Node, Value, Weight};

/// How many nodes all aliases of a document together may copy. An alias bomb of 342 bytes
/// stands for a billion nodes.
const MAX_ALIAS_NODES: usize = 50_000;
const MAX_ALIAS_BYTES: usize = 1024 * 1024;

/// Reads exactly one document.
pub(crate) fn read(text: &str) -> Result<Node, Problem> {
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut reader = Reader {
        events: Parser::new_from_str_with_options(text, options),
        anchors: BTreeMap::new(),
        copied: Weight::default(),
    };
    reader.document()
}

struct Reader<'t> {
    events: Parser<'t, StrInput<'t>>,
    /// Finished anchored nodes; an alias inside its own anchor finds nothing.
    anchors: BTreeMap<usize, Node>,
    copied: Weight,
}

impl<'t> Reader<'t> {
    fn document(&mut self) -> Result<Node, Problem> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_some() => {
                    let message = "more than one YAML document; submit one, or list several jobs \
                                   under `jobs:`";
                    return Err(Problem::new("multiple_documents", message).at(start(&span)));
                }
                Event::DocumentStart(..) => {
                    let (event, span) = self.next()?;
                    root = Some(self.node(event, &span, 0)?);
                }
                Event::StreamEnd => break,
                _ => return Err(unexpected(&span)),
            }
        }
        Ok(root.unwrap_or(Node { value: Value::Empty, at: None }))
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), Problem> {
        match self.events.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(syntax(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'t>, span: &Span, depth: usize) -> Result<Node, Problem> {
        let at = start(span);
        let (value, anchor) = match event {
            Event::Alias(id) => return self.alias(id, at, depth),
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, _, Some(_))
            | Event::MappingStart(_, _, Some(_)) => {
                let message = "YAML tags (`!...`) are not allowed; write the plain value";
                return Err(Problem::new("tag_not_allowed", message).at(at));
            }
            Event::Scalar(text, style, anchor, None) => {
                (scalar(&text, style == ScalarStyle::Plain, span), anchor)
            }
            Event::SequenceStart(..) | Event::MappingStart(..) if depth == MAX_DEPTH => {
                return Err(too_deep().at(at));
            }
            Event::SequenceStart(_, anchor, None) => (self.list(depth + 1)?, anchor),
            Event::MappingStart(_, anchor, None) => (self.map(depth + 1)?, anchor),
            _ => return Err(unexpected(span)),
        };
        let node = Node { value, at };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Value, Problem> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next().item(items.len())?;
            if event == Event::SequenceEnd {
                return Ok(Value::List(items));
            }
            let item = self.node(event, &span, depth).item(items.len())?;
            items.push(item);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Problem> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = BTreeSet::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Value::Map(entries));
            }
            let at = start(&span);
            let key = key(self.node(event, &span, depth)?)?;
            if !seen.insert(key.clone()) {
                return Err(duplicate_key(&key).at(at));
            }
            let (event, span) = self.next().under(&key)?;
            let value = self.node(event, &span, depth).under(&key)?;
            entries.push(Entry { key, at, value });
        }
    }

    /// A copy of what an anchor holds, counted before it is created.
    fn alias(&mut self, id: usize, at: Option<Location>, depth: usize) -> Result<Node, Problem> {
        let Some(node) = self.anchors.get(&id) else {
            let message = "an alias inside its own anchor has no end; write the value out";
            return Err(Problem::new("yaml_alias_limit", message).at(at));
        };
        let weight = node.weight();
        self.copied.nodes += weight.nodes;
        self.copied.bytes += weight.bytes;
        if self.copied.nodes > MAX_ALIAS_NODES || self.copied.bytes > MAX_ALIAS_BYTES {
            let message = format!(
                "aliases (`*name`) repeat more than {MAX_ALIAS_NODES} values; write fewer, or use \
                 `defaults:` or `sweep:`"
            );
            return Err(Problem::new("yaml_alias_limit", message).at(at));
        }
        if depth + weight.height > MAX_DEPTH {
            return Err(too_deep().at(at));
        }
        Ok(Node { value: node.value.clone(), at })
    }
}

/// YAML 1.2 core: `no` and `on` are text, and numbers stay as written. The parser reports
/// `~` for a missing value; only its span is empty.
fn scalar(text: &str, plain: bool, span: &Span) -> Value {
    match text {
        _ if plain && (text.is_empty() || span.is_empty()) => Value::Empty,
        "~" | "null" | "Null" | "NULL" if plain => Value::Null,
        _ if plain => Value::Plain(text.to_owned()),
        _ => Value::Quoted(text.to_owned()),
    }
}

fn key(node: Node) -> Result<String, Problem> {
    match node.value {
        Value::Plain(key) if key == "<<" => {
            let message = "merge keys are not read; write the fields out, or use `defaults:`";
            Err(Problem::new("merge_key_not_allowed", message).at(node.at))
        }
        Value::Plain(key) | Value::Quoted(key) => Ok(key),
        _ => Err(Problem::new("invalid_key", "a field name must be plain text").at(node.at)),
    }
}

fn start(span: &Span) -> Option<Location> {
    place(span.start.line(), span.start.col())
}

fn place(line: usize, column: usize) -> Option<Location> {
    let line = u32::try_from(line).ok().filter(|line| *line > 0)?;
    Some((line, u32::try_from(column).ok()?.saturating_add(1)))
}

fn syntax(error: &ScanError) -> Problem {
    let problem = match error.kind() {
        ErrorKind::RecursionLimitExceeded => too_deep(),
        ErrorKind::UndeclaredTagHandle | ErrorKind::MissingIncludeResolver => {
            Problem::new("tag_not_allowed", "YAML tags (`!...`) are not allowed")
        }
        kind => Problem::new("invalid_yaml", format!("not valid YAML: {kind}")),
    };
    problem.at(place(error.marker().line(), error.marker().col()))
}

fn unexpected(span: &Span) -> Problem {
    Problem::new("invalid_yaml", "not valid YAML: a value is missing here").at(start(span))
}
