//! Values of fields: how each is written, and what its JSON Schema says of it.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::cloud::{Chance, TimeRange};
use super::fields::{Problems, Read};
use crate::money::{InvalidMoney, Price};
use crate::offer::CapacityType;
use crate::pool::{PoolKind, SupplyShown};
use crate::spec::Class;
use crate::spec::amounts::decimal;
use crate::spec::error::{Problem, shown};
use crate::spec::patterns;
use crate::spec::tree::Node;
use crate::time::{human, parse_duration};

/// The longest time that a file may name, in seconds: what is longer is a typing error.
pub(super) const DAY: u64 = 86_400;

/// What is written as one word, or one line of text.
pub(super) trait Text: Sized {
    fn parse(text: &str) -> Result<Self, Problem>;
    fn rule() -> Json;
}

impl<T: Text> Read for T {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        problems.take(String::deserialize(node).and_then(|text| T::parse(&text)))
    }

    fn schema(_: &mut Map<String, Json>) -> Json {
        T::rule()
    }
}

/// A choice of words.
fn one_of<T: Copy>(text: &str, known: &[(&'static str, T)]) -> Result<T, Problem> {
    known.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let nearest = crate::spec::closest(text, names.iter().copied());
        let remedy = nearest.map_or_else(
            || format!("known are {}", names.join(", ")),
            |name| format!("did you mean `{name}`?"),
        );
        Problem::new("unknown_value", format!("{} is not known; {remedy}", shown(text)))
    })
}

macro_rules! words {
    ($type:ty: $($word:literal => $value:expr),* $(,)?) => {
        impl Text for $type {
            fn parse(text: &str) -> Result<Self, Problem> {
                one_of(text, &[$(($word, $value)),*])
            }

            fn rule() -> Json {
                json!({ "type": "string", "enum": [$($word),*] })
            }
        }
    };
}

words!(PoolKind:
    "local" => Self::Local, "external" => Self::External, "simulated" => Self::Simulated);
words!(SupplyShown: "counted" => Self::Counted, "unknown" => Self::Unknown);
words!(CapacityType:
    "spot" => Self::Spot, "on-demand" => Self::OnDemand, "reserved" => Self::Reserved);
words!(Class:
    "training" => Self::Training, "inference" => Self::Inference, "dev" => Self::Dev,
    "critical" => Self::Critical);

/// How a quota is counted: reserved machines count as on demand.
#[derive(Clone, Copy, Debug)]
pub(super) struct QuotaCapacity(pub(super) CapacityType);

words!(QuotaCapacity:
    "spot" => Self(CapacityType::Spot), "on-demand" => Self(CapacityType::OnDemand));

/// A duration of `LEAST` seconds at least and a day at most; where none makes sense it is
/// written `0s`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time<const LEAST: u64, const MOST: u64>(pub(super) Duration);

impl<const LEAST: u64, const MOST: u64> Text for Time<LEAST, MOST> {
    fn parse(text: &str) -> Result<Self, Problem> {
        let time = match text {
            "0s" => Duration::ZERO,
            _ => parse_duration(text).map_err(|_| {
                let message =
                    format!("{} is not a duration such as 90s, 15m or 1h30m", shown(text));
                Problem::new("invalid_duration", message)
            })?,
        };
        if !(LEAST..=MOST).contains(&time.as_secs()) {
            let (least, most) = (Duration::from_secs(LEAST), Duration::from_secs(MOST));
            let message = format!("must be {} to {}", human(least), human(most));
            return Err(Problem::new("out_of_range", message));
        }
        Ok(Self(time))
    }

    fn rule() -> Json {
        let time = patterns::duration(MOST);
        let zero = if LEAST == 0 { "0s|" } else { "" };
        json!({ "type": "string", "pattern": format!("^({zero}{time})$") })
    }
}

impl Text for TimeRange {
    fn parse(text: &str) -> Result<Self, Problem> {
        let (least, most) = text.split_once("..").unwrap_or((text, text));
        let range = Self { least: short(least)?, most: short(most)? };
        if range.most < range.least {
            let message = format!("{} ends before it begins; exchange the two", shown(text));
            return Err(Problem::new("invalid_range", message));
        }
        if range.most.as_secs() > DAY {
            return Err(Problem::new("out_of_range", "must be at most a day"));
        }
        Ok(range)
    }

    fn rule() -> Json {
        let time = format!("(0s|[0-9]{{1,6}}ms|{})", patterns::duration(DAY));
        json!({ "type": "string", "pattern": format!(r"^{time}(\.\.{time})?$") })
    }
}

/// A duration that may be none, or a part of a second.
fn short(text: &str) -> Result<Duration, Problem> {
    let millis = text.strip_suffix("ms").filter(|number| {
        (1..=6).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit())
    });
    match millis.and_then(|number| number.parse().ok()) {
        Some(millis) => Ok(Duration::from_millis(millis)),
        None if text == "0s" => Ok(Duration::ZERO),
        None => parse_duration(text).map_err(|_| {
            let message = format!(
                "{} is not a duration: write one such as 30s, or two such as 40s..3m",
                shown(text)
            );
            Problem::new("invalid_duration", message)
        }),
    }
}

impl Text for Chance {
    fn parse(text: &str) -> Result<Self, Problem> {
        let number = text.strip_suffix('%').map(|number| number.trim_end_matches(' '));
        let millionths = number.and_then(|number| decimal(number, 4)).ok_or_else(|| {
            let message = format!("{} is not a percentage such as 0.5 %", shown(text));
            Problem::new("invalid_percentage", message)
        })?;
        let millionths = u32::try_from(millionths).ok().filter(|part| *part <= 1_000_000);
        let too_large = || Problem::new("out_of_range", "must be 0 % to 100 %");
        millionths.map(Self::from_millionths).ok_or_else(too_large)
    }

    fn rule() -> Json {
        let number = format!(r"(0{{1,12}}(\.0+)?|{})", patterns::decimal(100, 4));
        json!({ "type": "string", "pattern": format!("^{number} *%$") })
    }
}

impl Text for Price {
    fn parse(text: &str) -> Result<Self, Problem> {
        let price: Self = text.parse().map_err(|invalid: InvalidMoney| {
            let message =
                format!("{} is {invalid}; write dollars such as 25 or \"12.50\"", shown(text));
            Problem::new("invalid_money", message)
        })?;
        if price == Self::ZERO {
            let message = "must be above 0; leave it out for no limit, or remove the pool";
            return Err(Problem::new("out_of_range", message));
        }
        Ok(price)
    }

    fn rule() -> Json {
        json!({
            "type": ["string", "number"], "minimum": 0.000001, "maximum": 10_000_000,
            "pattern": format!("^{}$", patterns::decimal(10_000_000, 6)),
        })
    }
}

impl Read for bool {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        problems.take(Self::deserialize(node))
    }

    fn schema(_: &mut Map<String, Json>) -> Json {
        json!({ "type": "boolean" })
    }
}

/// A whole number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number<const LEAST: u64, const MOST: u64>(pub(super) u64);

impl<const LEAST: u64, const MOST: u64> Read for Number<LEAST, MOST> {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let out_of_range = || {
            let message = match LEAST == MOST {
                true => format!("must be {LEAST}"),
                false => format!("must be {LEAST} to {MOST}"),
            };
            Problem::new("out_of_range", message)
        };
        let number = u64::deserialize(node).map_err(|problem| match problem.code() {
            "out_of_range" => out_of_range(),
            _ => problem,
        });
        let number = problems.take(number)?;
        if !(LEAST..=MOST).contains(&number) {
            problems.add(out_of_range());
            return None;
        }
        Some(Self(number))
    }

    fn schema(_: &mut Map<String, Json>) -> Json {
        json!({ "type": "integer", "minimum": LEAST, "maximum": MOST })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_types() {
        for kind in [PoolKind::Local, PoolKind::External, PoolKind::Simulated] {
            assert_eq!(PoolKind::parse(kind.name()).unwrap(), kind);
        }
        for class in [Class::Training, Class::Inference, Class::Dev, Class::Critical] {
            assert_eq!(Class::parse(class.name()).unwrap(), class);
        }
        for capacity in [CapacityType::Spot, CapacityType::OnDemand, CapacityType::Reserved] {
            assert_eq!(CapacityType::parse(&capacity.to_string()).unwrap(), capacity);
        }
    }

    #[test]
    fn ranges_and_chances_are_exact() {
        let range = |text: &str| TimeRange::parse(text).map(|range| (range.least, range.most));
        let (secs, millis) = (Duration::from_secs, Duration::from_millis);
        assert_eq!(range("40s..3m").unwrap(), (secs(40), secs(180)));
        assert_eq!(range("0s..250ms").unwrap(), (secs(0), millis(250)));
        assert_eq!(range("30s").unwrap(), (secs(30), secs(30)));
        for (text, millionths) in [
            ("0 %", 0),
            ("0.5 %", 5_000),
            ("0.0001%", 1),
            ("12.50 %", 125_000),
            ("100%", 1_000_000),
        ] {
            assert_eq!(Chance::parse(text).unwrap().millionths(), millionths, "{text}");
        }
    }
}
