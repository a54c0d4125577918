//! JSON into a tree, more strictly than JSON parsers usually are: a key may be given once,
//! and nesting is shallow.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::error::{Problem, duplicate_key, too_deep};
use super::tree::{Entry, MAX_DEPTH, Node, Value};

/// Reads exactly one value.
pub(super) fn read(text: &str) -> Result<Node, Problem> {
    if text.trim().is_empty() {
        return Ok(Node { value: Value::Empty, at: None });
    }
    let problem = RefCell::new(None);
    let mut parser = serde_json::Deserializer::from_str(text);
    let node = Part { depth: 0, problem: &problem }
        .deserialize(&mut parser)
        .map_err(|error| problem.take().unwrap_or_else(|| syntax(&error)).at(place(&error)))?;
    parser.end().map_err(|error| {
        let message = "text after the JSON value; submit one, or list several jobs under `jobs`";
        Problem::new("multiple_documents", message).at(place(&error))
    })?;
    Ok(node)
}

fn syntax(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let text = text.split_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    Problem::new("invalid_json", format!("not valid JSON: {text}"))
}

fn place(error: &serde_json::Error) -> Option<(u32, u32)> {
    let line = u32::try_from(error.line()).ok().filter(|line| *line > 0)?;
    Some((line, u32::try_from(error.column()).ok()?))
}

/// One value at a depth. Our own refusals travel in `problem`, because an error of the
/// parser carries only text.
#[derive(Clone, Copy)]
struct Part<'p> {
    depth: usize,
    problem: &'p RefCell<Option<Problem>>,
}

impl Part<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(self.refuse(too_deep()));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }

    fn refuse<E: serde::de::Error>(self, problem: Problem) -> E {
        *self.problem.borrow_mut() = Some(problem);
        E::custom("refused")
    }

    /// Adds a step to a refusal that passes through here.
    fn passing<E>(self, error: E, step: impl FnOnce(Problem) -> Problem) -> E {
        let problem = self.problem.take();
        *self.problem.borrow_mut() = problem.map(step);
        error
    }
}

fn node(value: Value) -> Node {
    Node { value, at: None }
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = Node;
    fn deserialize<D: serde::Deserializer<'de>>(self, parser: D) -> Result<Node, D::Error> {
        parser.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(node(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(node(Value::Plain(value.to_string())))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(node(Value::Plain(value.to_string())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(node(Value::Plain(value.to_string())))
    }

    /// Printed in full, without exponent: 0.1 is `0.1` and -0 is `-0`.
    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(node(Value::Plain(value.to_string())))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(node(Value::Quoted(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let part = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = list
            .next_element_seed(part)
            .map_err(|e| self.passing(e, |problem| problem.index(items.len())))?
        {
            items.push(item);
        }
        Ok(node(Value::List(items)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let part = self.deeper()?;
        let mut entries = Vec::new();
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(self.refuse(duplicate_key(&key)));
            }
            let value = map
                .next_value_seed(part)
                .map_err(|e| self.passing(e, |problem| problem.key(&key)))?;
            entries.push(Entry { key, at: None, value });
        }
        Ok(node(Value::Map(entries)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_text() {
        for (written, text) in [("0.1", "0.1"), ("-0", "-0"), ("12.50", "12.5"), ("7", "7")] {
            let Value::Plain(read) = read(written).unwrap().value else { panic!("{written}") };
            assert_eq!(read, text);
        }
    }
}
