//! Lists and tags.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use super::fields::{Problems, Read};
use super::values::Text;
use crate::spec::error::{Problem, Under};
use crate::spec::patterns;
use crate::spec::text::{MAX_TAGS, tag};
use crate::spec::tree::{Node, Value};

/// Entries of one list.
const MOST_ENTRIES: usize = 1_000;

/// Documents in the order of the file; `None` for one that was refused.
impl<T: Read> Read for Vec<Option<T>> {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let items = listed(node, problems)?;
        let read = |(index, item)| problems.item(index, |problems| T::read(item, problems));
        Some(items.iter().enumerate().map(read).collect())
    }

    fn schema(definitions: &mut Map<String, Json>) -> Json {
        list(&T::schema(definitions))
    }
}

/// Values in the order of the file, none of which is given twice.
#[derive(Debug)]
pub(super) struct Distinct<T>(pub(super) Vec<T>);

impl<T: Ord> Distinct<T> {
    pub(super) fn set(self) -> BTreeSet<T> {
        self.0.into_iter().collect()
    }
}

impl<T: Read + Ord + Clone> Read for Distinct<T> {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let (mut values, mut seen) = (Vec::new(), BTreeSet::new());
        let mut good = true;
        for (index, item) in listed(node, problems)?.iter().enumerate() {
            let Some(value) = problems.item(index, |problems| T::read(item, problems)) else {
                good = false;
                continue;
            };
            if !seen.insert(value.clone()) {
                let message = "is listed already; keep one of the two";
                problems.add(Problem::new("duplicate_value", message).index(index));
                good = false;
            }
            values.push(value);
        }
        good.then_some(Self(values))
    }

    fn schema(definitions: &mut Map<String, Json>) -> Json {
        let mut schema = list(&T::schema(definitions));
        schema["uniqueItems"] = true.into();
        schema
    }
}

fn listed<'n>(node: &'n Node, problems: &mut Problems) -> Option<&'n [Node]> {
    let Value::List(items) = &node.value else {
        problems.add(node.mismatch(&"a list such as [a, b]"));
        return None;
    };
    if items.is_empty() {
        let message = "is empty; list at least one, or leave the field out where it is optional";
        problems.add(Problem::new("empty_list", message));
        return None;
    }
    if items.len() > MOST_ENTRIES {
        problems.add(Problem::new("out_of_range", format!("lists more than {MOST_ENTRIES}")));
        return None;
    }
    Some(items)
}

fn list(items: &Json) -> Json {
    json!({ "type": "array", "minItems": 1, "maxItems": MOST_ENTRIES, "items": items })
}

/// Tags, each with the values of which a job has one.
#[derive(Debug)]
pub(super) struct Tags(pub(super) BTreeMap<String, BTreeSet<String>>);

/// A value of a tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TagValue(String);

impl Text for TagValue {
    fn parse(text: &str) -> Result<Self, Problem> {
        tag("Team", text).map(|()| Self(text.to_owned()))
    }

    fn rule() -> Json {
        json!({
            "type": ["string", "number", "boolean"], "maxLength": 255,
            "pattern": patterns::printable(),
        })
    }
}

impl Read for Tags {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            problems.add(node.mismatch(&"tags such as {Team: [vision, speech]}"));
            return None;
        };
        if entries.is_empty() || entries.len() > MAX_TAGS {
            let most = MAX_TAGS;
            let message = format!("name 1 to {most} tags, or leave the field out");
            problems.add(Problem::new("out_of_range", message));
            return None;
        }
        let mut tags = Some(BTreeMap::new());
        for entry in entries {
            let key = problems.take(tag(&entry.key, "").under(&entry.key));
            let values =
                problems.under(&entry.key, |p| Distinct::<TagValue>::read(&entry.value, p));
            tags = tags.zip(key.and(values)).map(|(mut tags, values)| {
                let values = values.0.into_iter().map(|TagValue(value)| value).collect();
                tags.insert(entry.key.clone(), values);
                tags
            });
        }
        tags.map(Self)
    }

    fn schema(definitions: &mut Map<String, Json>) -> Json {
        json!({
            "type": "object", "minProperties": 1, "maxProperties": MAX_TAGS,
            "propertyNames": { "maxLength": 63, "pattern": patterns::TAG },
            "additionalProperties": Distinct::<TagValue>::schema(definitions),
        })
    }
}
