//! Fields of a document, read one by one, so that one mistake does not hide the next.

use serde::de::Error as _;
use serde_json::{Map, Value as Json, json};

use crate::spec::error::Problem;
use crate::spec::tree::{Entry, Node, Step, Value};

/// How many problems are kept of one file; the rest are counted.
const MOST_PROBLEMS: usize = 100;

/// A field of a document.
#[derive(Debug)]
pub(super) enum Field<T> {
    /// Not given, or null.
    Absent,
    /// Given, and refused: its problems are known.
    Refused,
    /// Given.
    Given(T),
}

impl<T> Field<T> {
    pub(super) fn get(&self) -> Option<&T> {
        match self {
            Self::Given(value) => Some(value),
            Self::Absent | Self::Refused => None,
        }
    }

    pub(super) fn given(self) -> Option<T> {
        match self {
            Self::Given(value) => Some(value),
            Self::Absent | Self::Refused => None,
        }
    }

    /// Whether something is written there, good or bad.
    pub(super) fn is_written(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    pub(super) fn is_refused(&self) -> bool {
        matches!(self, Self::Refused)
    }
}

/// What can be read from a part of a document, and described by a JSON Schema.
pub(super) trait Read: Sized {
    /// `None` if it is refused, with at least one problem added.
    fn read(node: &Node, problems: &mut Problems) -> Option<Self>;

    /// Its JSON Schema; a type with fields of its own goes into `definitions`.
    fn schema(definitions: &mut Map<String, Json>) -> Json;
}

/// The problems of a file, each with its path.
#[derive(Debug, Default)]
pub(super) struct Problems {
    path: Vec<Step>,
    found: Vec<Problem>,
    /// How many more there are.
    more: usize,
}

impl Problems {
    /// Adds one, below where the reader is now.
    pub(super) fn add(&mut self, problem: Problem) {
        if self.found.len() == MOST_PROBLEMS {
            self.more += 1;
            return;
        }
        let above = |problem: Problem, step: &Step| match step {
            Step::Key(key) => problem.key(key),
            Step::Index(index) => problem.index(*index),
        };
        self.found.push(self.path.iter().rev().fold(problem, above));
    }

    /// The value of a result, or its problem added.
    pub(super) fn take<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.add(problem)).ok()
    }

    /// Reads or checks a field.
    pub(super) fn under<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.within(Step::Key(key.to_owned()), read)
    }

    /// Reads or checks an entry of a list.
    pub(super) fn item<T>(&mut self, index: usize, read: impl FnOnce(&mut Self) -> T) -> T {
        self.within(Step::Index(index), read)
    }

    fn within<T>(&mut self, step: Step, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step);
        let value = read(self);
        self.path.pop();
        value
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// What was kept, and how many more there are.
    pub(super) fn into_parts(self) -> (Vec<Problem>, usize) {
        (self.found, self.more)
    }

    /// The entries of a node with fields; names that it cannot have and fields that are
    /// missing are added.
    pub(super) fn fields<'n>(
        &mut self,
        node: &'n Node,
        known: &'static [&'static str],
        required: &'static [&'static str],
    ) -> Option<&'n [Entry]> {
        let Value::Map(entries) = &node.value else {
            self.add(node.mismatch(&"fields"));
            return None;
        };
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            // The nearest name takes a moment to find: only where it will be read.
            let problem = match self.found.len() < MOST_PROBLEMS {
                true => Problem::unknown_field(&entry.key, known),
                false => Problem::new("unknown_field", "no such field"),
            };
            self.add(problem.key(&entry.key));
        }
        let absent = |name: &str| {
            let given = entries.iter().find(|entry| entry.key == name);
            given.is_none_or(|entry| matches!(entry.value.value, Value::Null))
        };
        for name in required.iter().filter(|name| absent(name)) {
            self.add(Problem::missing_field(name));
        }
        Some(entries)
    }

    /// One field of these.
    pub(super) fn field<T: Read>(&mut self, entries: &[Entry], name: &str) -> Field<T> {
        let Some(entry) = entries.iter().find(|entry| entry.key == name) else {
            return Field::Absent;
        };
        if matches!(entry.value.value, Value::Null) {
            return Field::Absent;
        }
        self.under(name, |problems| T::read(&entry.value, problems))
            .map_or(Field::Refused, Field::Given)
    }
}

/// A field as its schema describes it: name, schema, and the lines of its documentation.
pub(super) type Described = (&'static str, Json, &'static [&'static str]);

/// Describes a type with fields, and refers to it.
pub(super) fn define(
    definitions: &mut Map<String, Json>,
    title: &str,
    about: &[&str],
    fields: Vec<Described>,
    required: &[&str],
) -> Json {
    let mut properties = Map::new();
    for (name, schema, lines) in fields {
        let mut property = match required.contains(&name) {
            true => schema,
            false => json!({ "anyOf": [schema, { "type": "null" }] }),
        };
        property["description"] = paragraph(lines).into();
        properties.insert(name.to_owned(), property);
    }
    let mut definition = json!({
        "description": paragraph(about),
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    });
    if !required.is_empty() {
        definition["required"] = required.into();
    }
    definitions.insert(title.to_owned(), definition);
    json!({ "$ref": format!("#/$defs/{title}") })
}

fn paragraph(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

/// Declares what a document has: a struct whose fields are read one by one, and whose
/// documentation is the description in its JSON Schema.
macro_rules! documents {
    ($(
        $(#[doc = $about:literal])*
        $name:ident($title:literal, requires [$($required:ident),*]) {
            $($(#[doc = $doc:literal])* $field:ident: $type:ty,)*
        }
    )*) => {$(
        $(#[doc = $about])*
        #[derive(Debug)]
        pub(super) struct $name {
            $($(#[doc = $doc])* pub(super) $field: Field<$type>,)*
        }

        impl Read for $name {
            fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
                const KNOWN: &[&str] = &[$(stringify!($field)),*];
                const REQUIRED: &[&str] = &[$(stringify!($required)),*];
                let entries = problems.fields(node, KNOWN, REQUIRED)?;
                Some(Self { $($field: problems.field(entries, stringify!($field)),)* })
            }

            fn schema(definitions: &mut Map<String, Json>) -> Json {
                let fields = vec![$({
                    let lines: &'static [&'static str] = &[$($doc),*];
                    (stringify!($field), <$type>::schema(definitions), lines)
                }),*];
                let required = [$(stringify!($required)),*];
                define(definitions, $title, &[$($about),*], fields, &required)
            }
        }
    )*};
}
pub(super) use documents;
