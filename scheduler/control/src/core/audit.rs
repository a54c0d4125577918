//! Who did what: entries that are only ever added, each with the hash of the one before, so
//! that an altered or removed one is found.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use spotwise_model::access::{Caller, CallerKind, Role, Scope};

/// Who asks for something, and how he came in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asker {
    /// The caller.
    pub caller: Caller,
    /// His network address, or what he is where he has none.
    pub from: String,
    /// The number of his request, as he gave it or was given it.
    pub request: String,
}

impl Asker {
    /// Who writes the files that a scheduler is started with.
    pub fn operators_file() -> Self {
        Self::of_this_machine("pools file", "file")
    }

    /// Who has no need to prove anything: what is on the scheduler's own machine.
    pub fn of_this_machine(subject: &str, from: &str) -> Self {
        let caller = Caller {
            subject: subject.to_owned(),
            kind: CallerKind::ServiceAccount,
            roles: [Role::Admin].into_iter().collect(),
            scope: Scope::default(),
        };
        Self { caller, from: from.to_owned(), request: String::new() }
    }
}

/// One thing that somebody did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// From 1, without gaps; 0 until the state has applied it.
    pub number: u64,
    /// When (wall time).
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// From where.
    pub from: String,
    /// The number of the request.
    pub request: String,
    /// What was done, such as `jobs.cancel`.
    pub action: String,
    /// To what.
    pub resource: String,
    /// What was otherwise before: only what has changed.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub before: Value,
    /// And what it is now.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub after: Value,
    /// The hash of the entry before; [`GENESIS`] for the first.
    pub previous: String,
    /// SHA-256 of the JSON of all of the above, in hex.
    pub hash: String,
}

/// What the first entry names as the hash before it.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The end of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditHead {
    /// The number of the last entry; 0 for none.
    pub number: u64,
    /// Its hash.
    pub hash: String,
}

impl Default for AuditHead {
    fn default() -> Self {
        Self { number: 0, hash: GENESIS.to_owned() }
    }
}

impl AuditHead {
    /// Gives an entry its number and its hashes, and ends with it.
    pub fn seal(&mut self, entry: &mut AuditEntry) {
        entry.number = self.number + 1;
        entry.previous.clone_from(&self.hash);
        entry.hash = entry.digest();
        *self = Self { number: entry.number, hash: entry.hash.clone() };
    }

    /// Takes in the next entry of a chain that is read again.
    ///
    /// # Errors
    /// It is not the next, or not what was written.
    pub fn follow(&mut self, entry: &AuditEntry) -> Result<(), BrokenChain> {
        let number = self.number + 1;
        if entry.number != number {
            return Err(BrokenChain::Missing { number, found: entry.number });
        }
        if entry.previous != self.hash || entry.hash != entry.digest() {
            return Err(BrokenChain::Altered { number });
        }
        *self = Self { number, hash: entry.hash.clone() };
        Ok(())
    }
}

/// Where a chain of entries is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenChain {
    /// One is missing.
    #[error("entry {number} is missing: the next one there is {found}")]
    Missing {
        /// Which.
        number: u64,
        /// What there is instead.
        found: u64,
    },
    /// One, or the one before it, has been changed.
    #[error("entry {number} is not what was written, or the one before it is not")]
    Altered {
        /// Which.
        number: u64,
    },
}

impl AuditEntry {
    /// A new one, not yet in the chain.
    pub fn new(asker: &Asker, action: &str, resource: String, at: Timestamp) -> Self {
        Self {
            number: 0,
            at,
            by: asker.caller.subject.clone(),
            from: asker.from.clone(),
            request: asker.request.clone(),
            action: action.to_owned(),
            resource,
            before: Value::Null,
            after: Value::Null,
            previous: String::new(),
            hash: String::new(),
        }
    }

    /// With what has changed between two values of the same thing.
    #[must_use]
    pub fn changing(mut self, before: &impl Serialize, after: &impl Serialize) -> Self {
        let value = |of: serde_json::Result<Value>| of.unwrap_or(Value::Null);
        let (mut before, mut after) =
            (value(serde_json::to_value(before)), value(serde_json::to_value(after)));
        if let (Value::Object(old), Value::Object(new)) = (&mut before, &mut after) {
            let same: Vec<String> = old
                .iter()
                .filter(|(key, value)| new.get(*key) == Some(value))
                .map(|(key, _)| key.clone())
                .collect();
            for key in same {
                old.remove(&key);
                new.remove(&key);
            }
        }
        (self.before, self.after) = (before, after);
        self
    }

    fn digest(&self) -> String {
        let unsealed = Self { hash: String::new(), ..self.clone() };
        // Field by field in the order of the type, and objects by key: one text for one entry.
        let text = serde_json::to_vec(&unsealed).unwrap_or_default();
        let digest = Sha256::digest(text);
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn chain(length: u64) -> Vec<AuditEntry> {
        let caller = Caller {
            subject: "ada".to_owned(),
            kind: CallerKind::Person,
            roles: BTreeSet::new(),
            scope: Scope::default(),
        };
        let asker = Asker { caller, from: "127.0.0.1".to_owned(), request: "r1".to_owned() };
        let mut head = AuditHead::default();
        let entries = (0..length).map(|n| {
            let at = Timestamp::from_second(i64::try_from(n).unwrap()).unwrap();
            let mut entry = AuditEntry::new(&asker, "jobs.cancel", format!("j{n}"), at);
            head.seal(&mut entry);
            entry
        });
        entries.collect()
    }

    fn verify(entries: &[AuditEntry]) -> Result<(), BrokenChain> {
        let mut head = AuditHead::default();
        entries.iter().try_for_each(|entry| head.follow(entry))
    }

    #[test]
    fn whatever_is_altered_is_found() {
        let entries = chain(5);
        assert_eq!(verify(&entries), Ok(()));
        // Every byte of the text of the third: the entry is refused, or is no entry.
        let text = serde_json::to_string(&entries[2]).unwrap();
        let mut found = 0;
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
            let Ok(entry) = serde_json::from_slice::<AuditEntry>(&bytes) else { continue };
            if entry == entries[2] {
                continue;
            }
            let mut altered = entries.clone();
            altered[2] = entry;
            assert!(verify(&altered).is_err(), "byte {at} of {text}");
            found += 1;
        }
        assert!(found > 150, "{found}");
        let mut cut = entries.clone();
        cut.remove(3);
        assert_eq!(verify(&cut), Err(BrokenChain::Missing { number: 4, found: 5 }));
        let mut swapped = entries;
        swapped.swap(1, 2);
        assert!(verify(&swapped).is_err());
    }

    #[test]
    fn an_entry_has_what_has_changed_and_no_more() {
        let entry = chain(1).remove(0);
        let before = serde_json::json!({"budget": 5, "name": "a", "gone": true});
        let after = serde_json::json!({"budget": 7, "name": "a", "new": 1});
        let entry = entry.changing(&before, &after);
        assert_eq!(entry.before, serde_json::json!({"budget": 5, "gone": true}));
        assert_eq!(entry.after, serde_json::json!({"budget": 7, "new": 1}));
    }
}
