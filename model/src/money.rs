//! Money as whole micro-dollars. Floats never hold money: they appear only
//! inside the solver, as values to compare.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const MICROS_PER_DOLLAR: i64 = 1_000_000;
const SECONDS_PER_HOUR: i128 = 3_600;

/// The largest amount a user may name: ten million dollars. It leaves five orders of
/// magnitude before sums could overflow an `i64`.
pub const MAX_AMOUNT: Money = Money(10_000_000 * MICROS_PER_DOLLAR);

/// An amount in micro-dollars; negative for a credit.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(i64);

/// A price in micro-dollars per instance-hour; never negative.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price(i64);

/// An amount that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMoney {
    /// Not a plain decimal number.
    #[error("not a plain decimal amount such as 25 or 12.50")]
    NotDecimal,
    /// More than six digits after the point.
    #[error("finer than one micro-dollar (0.000001)")]
    TooFine,
    /// Beyond [`MAX_AMOUNT`].
    #[error("more than ten million dollars")]
    TooLarge,
}

impl Money {
    /// No money.
    pub const ZERO: Self = Self(0);

    /// From micro-dollars.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// In micro-dollars.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// In dollars, for the solver and for statistics only.
    pub fn dollars(self) -> f64 {
        self.0 as f64 / MICROS_PER_DOLLAR as f64
    }

    /// From an estimate in dollars, rounded to the nearest micro-dollar. For quotes and
    /// forecasts; a charge is never made this way.
    pub fn estimate(dollars: f64) -> Self {
        let micros = (dollars * MICROS_PER_DOLLAR as f64).round();
        Self(if micros.is_nan() { 0 } else { micros as i64 })
    }

    /// The part `weight / whole` of this amount, rounded half to even.
    pub fn part(self, weight: u64, whole: u64) -> Self {
        Self(divide_half_even(i128::from(self.0) * i128::from(weight), i128::from(whole.max(1))))
    }

    /// Adds, saturating instead of overflowing.
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Price {
    /// Zero per hour.
    pub const ZERO: Self = Self(0);

    /// From micro-dollars per hour; a negative price becomes zero.
    pub const fn from_micros_per_hour(micros: i64) -> Self {
        Self(if micros < 0 { 0 } else { micros })
    }

    /// In micro-dollars per hour.
    pub const fn micros_per_hour(self) -> i64 {
        self.0
    }

    /// In dollars per hour, for the solver and for statistics only.
    pub fn dollars_per_hour(self) -> f64 {
        self.0 as f64 / MICROS_PER_DOLLAR as f64
    }

    /// What `seconds` at this price cost, rounded once, half to even.
    pub fn charge(self, seconds: u64) -> Money {
        Money(divide_half_even(i128::from(self.0) * i128::from(seconds), SECONDS_PER_HOUR))
    }
}

/// `numerator / denominator` for a positive denominator, rounded half to even and clamped
/// to the `i64` range.
fn divide_half_even(numerator: i128, denominator: i128) -> i64 {
    let quotient = numerator.div_euclid(denominator);
    let twice = numerator.rem_euclid(denominator) * 2;
    let up = twice > denominator || (twice == denominator && quotient % 2 != 0);
    let rounded = quotient + i128::from(up);
    rounded.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

/// Reads a plain decimal number of dollars: digits, at most one point, at most six digits
/// after it. No sign, exponent, separator or unit.
fn parse_micros(text: &str) -> Result<i64, InvalidMoney> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(InvalidMoney::NotDecimal);
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 6 {
        return Err(InvalidMoney::TooFine);
    }
    let whole: i64 = whole.parse().map_err(|_| InvalidMoney::TooLarge)?;
    let fraction: i64 = format!("{fraction:0<6}").parse().map_err(|_| InvalidMoney::NotDecimal)?;
    whole
        .checked_mul(MICROS_PER_DOLLAR)
        .and_then(|micros| micros.checked_add(fraction))
        .filter(|micros| *micros <= MAX_AMOUNT.0)
        .ok_or(InvalidMoney::TooLarge)
}

impl FromStr for Money {
    type Err = InvalidMoney;
    fn from_str(text: &str) -> Result<Self, InvalidMoney> {
        parse_micros(text).map(Self)
    }
}

impl FromStr for Price {
    type Err = InvalidMoney;
    fn from_str(text: &str) -> Result<Self, InvalidMoney> {
        parse_micros(text).map(Self)
    }
}

/// Dollars with all six decimals, with no sign or separator other than `-` and `.`.
fn write_exact(micros: i64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    let unit = MICROS_PER_DOLLAR.unsigned_abs();
    f.pad(&format!("{sign}{}.{:06}", micros / unit, micros % unit))
}

macro_rules! amount_text {
    ($name:ident) => {
        /// Exact: `12.345678`. Tables and people get `cents`.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_exact(self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_exact(self.0, f)
            }
        }

        /// Stored and sent as a whole number of micro-dollars.
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_i64(self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                i64::deserialize(d).map(Self)
            }
        }
    };
}

amount_text!(Money);
amount_text!(Price);

impl Money {
    /// For people: `$12.35`, and `$0.0042` below one cent.
    pub fn human(self) -> String {
        let sign = if self.0 < 0 { "-" } else { "" };
        let micros = self.0.unsigned_abs();
        if micros == 0 || micros >= 10_000 {
            let cents = divide_half_even(i128::from(micros), 10_000);
            format!("{sign}${}.{:02}", cents / 100, cents % 100)
        } else {
            format!("{sign}$0.{:04}", divide_half_even(i128::from(micros), 100))
        }
    }
}

impl Add for Money {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for Money {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Neg for Money {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Money {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_round_half_to_even() {
        // 1 s at 1.8 micro-dollars an hour is 0.0005 micro-dollars; 1 h of 1 is 1.
        assert_eq!(Price(1).charge(3_600), Money(1));
        assert_eq!(Price(1).charge(1_800), Money(0));
        assert_eq!(Price(3).charge(1_800), Money(2));
        assert_eq!(Price(3_060_000).charge(3_600), Money(3_060_000));
    }

    #[test]
    fn amounts_are_read_exactly() {
        assert_eq!("12.5".parse(), Ok(Money(12_500_000)));
        assert_eq!("0.000001".parse(), Ok(Money(1)));
        assert_eq!("0.0000010".parse(), Ok(Money(1)));
        assert_eq!("0.0000001".parse::<Money>(), Err(InvalidMoney::TooFine));
        assert_eq!("9300000000000".parse::<Money>(), Err(InvalidMoney::TooLarge));
        for text in [
            "", ".5", "5.", "-1", "-0", "+1", "1e3", "0x10", "12,50", ".nan", "NaN", "1_000", " 1",
            "1 ",
        ] {
            assert_eq!(text.parse::<Money>(), Err(InvalidMoney::NotDecimal), "{text}");
        }
    }

    #[test]
    fn people_read_cents() {
        assert_eq!(Money(12_345_678).human(), "$12.35");
        assert_eq!(Money(4_200).human(), "$0.0042");
        assert_eq!(Money(-1_000_000).human(), "-$1.00");
    }

    proptest::proptest! {
        #[test]
        fn parts_of_a_split_differ_from_the_whole_by_less_than_one_each(
            amount in -1_000_000_000_000i64..1_000_000_000_000,
            weights in proptest::collection::vec(0u64..10_000, 1..8),
        ) {
            let whole: u64 = weights.iter().sum();
            proptest::prop_assume!(whole > 0);
            let sum: Money = weights.iter().map(|w| Money(amount).part(*w, whole)).sum();
            proptest::prop_assert!((sum.0 - amount).abs() <= weights.len() as i64);
        }
    }
}
