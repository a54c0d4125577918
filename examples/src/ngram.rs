//! A model made by counting: how often each character follows the two before it.

use std::collections::BTreeMap;

/// Counts of characters alone, in pairs, and in threes.
#[derive(Clone, Debug)]
pub struct Trigram {
    vocab: usize,
    total: u32,
    ones: BTreeMap<u32, u32>,
    pairs: BTreeMap<[u32; 2], u32>,
    threes: BTreeMap<[u32; 3], u32>,
}

impl Trigram {
    /// Counts a text of tokens below `vocab`.
    pub fn of(tokens: &[u32], vocab: usize) -> Self {
        let mut counts = Self {
            vocab,
            total: 0,
            ones: BTreeMap::new(),
            pairs: BTreeMap::new(),
            threes: BTreeMap::new(),
        };
        for token in tokens {
            *counts.ones.entry(*token).or_default() += 1;
            counts.total += 1;
        }
        for pair in tokens.array_windows::<2>() {
            *counts.pairs.entry(*pair).or_default() += 1;
        }
        for three in tokens.array_windows::<3>() {
            *counts.threes.entry(*three).or_default() += 1;
        }
        counts
    }

    /// How likely `next` is after `before`. The three counts are mixed (Jelinek
    /// and Mercer, 1980), and nothing is impossible, so that a text with a new
    /// pair of letters still has a finite perplexity.
    pub fn chance(&self, before: [u32; 2], next: u32) -> f64 {
        let [first, second] = before;
        let count = |found: Option<&u32>| f64::from(found.copied().unwrap_or(0));
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let one = (count(self.ones.get(&next)) + 1.0) / (f64::from(self.total) + self.vocab as f64);
        let pair = share(count(self.pairs.get(&[second, next])), count(self.ones.get(&second)));
        let three =
            share(count(self.threes.get(&[first, second, next])), count(self.pairs.get(&before)));
        0.1 * one + 0.3 * pair + 0.6 * three
    }

    /// Mean cross-entropy in nats a character, from the third one on; 0 for a
    /// text of fewer than three.
    pub fn score(&self, tokens: &[u32]) -> f32 {
        let surprises =
            tokens.array_windows().map(|[a, b, next]| -self.chance([*a, *b], *next).ln());
        let count = tokens.len().saturating_sub(2).max(1);
        (surprises.sum::<f64>() / count as f64) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_often_is_likely_and_the_new_is_possible() {
        let counts = Trigram::of(&[1, 2, 3, 1, 2, 3, 1, 2, 3], 5);
        assert!(counts.chance([1, 2], 3) > 0.9);
        assert!(counts.chance([1, 2], 4) > 0.0);
        assert!(counts.score(&[1, 2, 3, 1, 2, 3]) < 0.2);
        assert!(counts.score(&[3, 2, 1, 3, 2, 1]) > 2.0);
    }

    #[test]
    fn chances_add_up_to_no_more_than_one() {
        let counts = Trigram::of(&[1, 2, 3, 1, 2, 0, 1, 3], 4);
        let sum: f64 = (0..4).map(|next| counts.chance([1, 2], next)).sum();
        assert!((0.99..=1.0 + 1e-9).contains(&sum), "{sum}");
    }
}
