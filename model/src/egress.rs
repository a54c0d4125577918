//! What moving data between regions costs.

use std::collections::BTreeMap;

use crate::money::Money;

/// Bytes per GB, the unit in which providers bill data transfer.
const GB: f64 = 1e9;

/// Dollars per GB from region to region. Transfer within a region is free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Egress {
    listed: BTreeMap<String, BTreeMap<String, Money>>,
    other: Money,
}

impl Default for Egress {
    /// $0.02 per GB between any two regions: what AWS charges between most of its regions
    /// (its EC2 on-demand price page, data transfer to other regions).
    fn default() -> Self {
        Self { listed: BTreeMap::new(), other: Money::from_micros(20_000) }
    }
}

impl Egress {
    /// A price per GB for each pair of regions; unlisted pairs have the default price.
    pub fn of(prices: impl IntoIterator<Item = (String, String, Money)>) -> Self {
        let mut listed: BTreeMap<String, BTreeMap<String, Money>> = BTreeMap::new();
        for (from, to, price) in prices {
            listed.entry(from).or_default().insert(to, price);
        }
        Self { listed, ..Self::default() }
    }

    /// Dollars for a number of bytes, for the solver and for forecasts. A charge is never
    /// made this way: the bytes have not been counted.
    pub fn dollars(&self, from: &str, to: &str, bytes: u64) -> f64 {
        if from == to {
            return 0.0;
        }
        let listed = self.listed.get(from).and_then(|prices| prices.get(to));
        listed.copied().unwrap_or(self.other).dollars() * bytes as f64 / GB
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listed_price_counts_and_a_stated_one_for_the_rest() {
        let listed = [("a".to_owned(), "b".to_owned(), Money::from_micros(90_000))];
        let egress = Egress::of(listed);
        let dollars = |from, to| Money::estimate(egress.dollars(from, to, 160_000_000_000));
        assert_eq!(dollars("a", "b"), Money::from_micros(14_400_000));
        assert_eq!(dollars("b", "a"), Money::from_micros(3_200_000), "one way is not the other");
        assert_eq!(dollars("a", "a"), Money::ZERO);
    }
}
