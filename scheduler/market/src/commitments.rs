//! What is already paid for: the operator's file, and what the database keeps of it.
//!
//! ```yaml
//! - name: research-a
//!   instance_type: p3.2xlarge
//!   zone: us-east-1a
//!   machines: 2
//!   usd_per_hour: 1.92     # of one machine, fees up front spread over the hours
//!   from: 2026-08-01T00:00:00Z
//!   until: 2027-08-01T00:00:00Z
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use serde_saphyr::Spanned;
use spotwise_model::id::{InstanceType, Zone};
use spotwise_model::{Commitment, Price};

use super::Market;
use super::error::excerpt;

/// The maximum length of a name.
const MOST_LETTERS: usize = 63;
/// The maximum number of machines of one commitment.
const MOST_MACHINES: u32 = 100_000;
/// The maximum price of one machine, in dollars per hour.
const MOST_PRICE: Price = Price::from_micros_per_hour(1_000_000_000_000);

/// A file of commitments that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CommitmentError {
    /// The file cannot be read.
    #[error("cannot read the commitments {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not a list of commitments.
    #[error("{file}: {message}")]
    Form {
        /// Which file.
        file: String,
        /// The parser's message, with line, column and field.
        message: String,
    },
    /// A field has a value that makes no sense.
    #[error("{file}, line {line}, `{field}` of `{name}`: {problem}")]
    Field {
        /// Which file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// The commitment.
        name: String,
        /// Its field.
        field: &'static str,
        /// What is wrong, and what to write instead.
        problem: String,
    },
}

/// Commitments as declared in a file, each with its position there.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    file: String,
    list: Vec<(Commitment, Lines)>,
}

/// Lines of the fields that only a market can judge.
#[derive(Clone, Copy, Debug)]
struct Lines {
    instance_type: u64,
    zone: u64,
    price: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Spanned<String>,
    instance_type: Spanned<String>,
    zone: Spanned<String>,
    machines: Spanned<u32>,
    usd_per_hour: Spanned<String>,
    from: Spanned<String>,
    until: Spanned<String>,
}

/// A field with its line and what is wrong with it.
type Fault = (&'static str, u64, String);

/// Reads the operator's commitments.
pub fn read_commitments(path: &Path) -> Result<Declared, CommitmentError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| CommitmentError::Read { path: path.to_owned(), source })?;
    parse(&path.display().to_string(), &text)
}

fn parse(file: &str, text: &str) -> Result<Declared, CommitmentError> {
    let form = |message| CommitmentError::Form { file: file.to_owned(), message };
    let entries: Vec<Entry> = serde_saphyr::from_str(text).map_err(|error| {
        let message = error.without_snippet().to_string();
        form(message.lines().next().unwrap_or("not a list of commitments").trim().to_owned())
    })?;
    let mut names: BTreeMap<String, u64> = BTreeMap::new();
    let mut list = Vec::with_capacity(entries.len());
    for entry in entries {
        let name = excerpt(&entry.name.value);
        let fault = |(field, line, problem)| CommitmentError::Field {
            file: file.to_owned(),
            line,
            name: name.clone(),
            field,
            problem,
        };
        let line = entry.name.referenced.line();
        if let Some(before) = names.insert(entry.name.value.clone(), line) {
            let problem = format!("stands in line {before} already; give each its own name");
            return Err(fault(("name", line, problem)));
        }
        list.push(entry.check().map_err(fault)?);
    }
    Ok(Declared { file: file.to_owned(), list })
}

impl Entry {
    fn check(self) -> Result<(Commitment, Lines), Fault> {
        let lines = Lines {
            instance_type: self.instance_type.referenced.line(),
            zone: self.zone.referenced.line(),
            price: self.usd_per_hour.referenced.line(),
        };
        let at = self.name.referenced.line();
        if !is_label(&self.name.value) {
            let problem = format!(
                "must be 1 to {MOST_LETTERS} letters, digits, points, hyphens or underscores, and \
                 begin with a letter or digit"
            );
            return Err(("name", at, problem));
        }
        if !(1..=MOST_MACHINES).contains(&self.machines.value) {
            let problem = format!(
                "{} is not from 1 to {MOST_MACHINES}; leave out a commitment without machines",
                self.machines.value
            );
            return Err(("machines", self.machines.referenced.line(), problem));
        }
        let (from, until) = (time("from", &self.from)?, time("until", &self.until)?);
        if until <= from {
            let problem = format!("{until} is not after `from`, {from}");
            return Err(("until", self.until.referenced.line(), problem));
        }
        let commitment = Commitment {
            price: price(&self.usd_per_hour)?,
            name: self.name.value,
            instance_type: InstanceType::new(self.instance_type.value),
            zone: Zone::new(self.zone.value),
            machines: self.machines.value,
            from,
            until,
        };
        Ok((commitment, lines))
    }
}

fn is_label(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    text.len() <= MOST_LETTERS
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(letter)
}

fn price(text: &Spanned<String>) -> Result<Price, Fault> {
    let wrong = |problem| ("usd_per_hour", text.referenced.line(), problem);
    let price: Price = text.value.parse().map_err(|_| {
        let text = excerpt(&text.value);
        wrong(format!("`{text}` is not a price in dollars an hour of one machine such as 1.92"))
    })?;
    if price < Price::ZERO || price > MOST_PRICE {
        let problem = format!("{price} is not from 0 to {MOST_PRICE} dollars an hour");
        return Err(wrong(problem));
    }
    Ok(price)
}

/// Whole seconds, like charges.
fn time(field: &'static str, text: &Spanned<String>) -> Result<Timestamp, Fault> {
    let wrong = || {
        let text = excerpt(&text.value);
        format!("`{text}` is not a time such as 2026-08-01T00:00:00Z, with its zone")
    };
    let fault = || (field, text.referenced.line(), wrong());
    let at: Timestamp = text.value.parse().map_err(|_| fault())?;
    Timestamp::from_second(at.as_second()).map_err(|_| fault())
}

impl Declared {
    /// The commitments, provided that the market has all their zones and machine types; and
    /// warnings for the operator.
    pub fn on(&self, market: &Market) -> Result<(Vec<Commitment>, Vec<String>), CommitmentError> {
        let mut warnings = Vec::new();
        for (commitment, lines) in &self.list {
            let Commitment { name, instance_type, zone, price, .. } = commitment;
            let fault = |line, field, problem| CommitmentError::Field {
                file: self.file.clone(),
                line,
                name: name.clone(),
                field,
                problem,
            };
            let all = market.places();
            if !all.iter().any(|(_, known)| known == instance_type) {
                let known = listed(all.iter().map(|(_, known)| known.as_str()));
                let problem = format!(
                    "the market has no machine type `{}`; it has {known}",
                    excerpt(instance_type.as_str())
                );
                return Err(fault(lines.instance_type, "instance_type", problem));
            }
            let mut there = all.iter().filter(|(_, known)| known == instance_type);
            let Some((.., on_demand)) = there
                .find(|(known, _)| known == zone)
                .and_then(|place| market.on_demand(&place.0, &place.1).map(|price| (place, price)))
            else {
                let zones = all.iter().filter(|(_, known)| known == instance_type);
                let problem = format!(
                    "the market has no {instance_type} in zone `{}`; it has it in {}",
                    excerpt(zone.as_str()),
                    listed(zones.map(|(zone, _)| zone.as_str()))
                );
                return Err(fault(lines.zone, "zone", problem));
            };
            if *price > on_demand {
                warnings.push(format!(
                    "{}, line {}: commitment `{name}` costs ${price} a machine-hour, more than on \
                     demand (${on_demand})",
                    self.file, lines.price
                ));
            }
        }
        Ok((self.list.iter().map(|(commitment, _)| commitment.clone()).collect(), warnings))
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: std::collections::BTreeSet<&str> = names.collect();
    let shown: Vec<&str> = names.iter().take(8).copied().collect();
    match names.len().saturating_sub(8) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The stored commitments, updated to what is declared now. One that has begun is never
/// forgotten: if it is no longer declared, or not in the same way, it ends at `now`; a new
/// one counts from `now` on, if it says that it began earlier. Nothing before `now`
/// changes.
pub fn keep(known: Vec<Commitment>, declared: &[Commitment], now: Timestamp) -> Vec<Commitment> {
    let same = |a: &Commitment, b: &Commitment| {
        (&a.name, &a.instance_type, &a.zone, a.machines, a.price)
            == (&b.name, &b.instance_type, &b.zone, b.machines, b.price)
    };
    let mut goes_on = vec![false; declared.len()];
    let mut kept: Vec<Commitment> = Vec::with_capacity(known.len());
    for mut commitment in known {
        if commitment.until > now {
            let mut found = declared.iter().zip(&mut goes_on);
            match found.find(|(declared, _)| same(declared, &commitment)) {
                Some((declared, goes_on)) => {
                    *goes_on = true;
                    commitment.until = declared.until.max(now);
                    if commitment.from > now {
                        commitment.from = declared.from.max(now);
                    }
                }
                None => commitment.until = now,
            }
        }
        kept.extend((commitment.from < commitment.until).then_some(commitment));
    }
    for (commitment, goes_on) in declared.iter().zip(goes_on) {
        if !goes_on && commitment.until > now {
            kept.push(Commitment { from: commitment.from.max(now), ..commitment.clone() });
        }
    }
    kept
}

#[cfg(test)]
#[path = "commitments_tests.rs"]
mod tests;
