//! A character-level language model: the last characters go through an
//! embedding and one hidden layer, and out comes how likely each next one is
//! (Bengio et al., 2003, without the direct connections).

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::folder;
use crate::tensor::{self, Tensor, linear, linear_backward};
use crate::text::Vocab;

/// Positions scored at once: 256 rows of the hidden layer are 130 kB.
const SCORED_AT_ONCE: usize = 256;

/// Sizes of the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Different characters, the unknown one included.
    pub vocab: usize,
    /// Characters that it looks back.
    pub context: usize,
    /// Numbers that stand for one character.
    pub embed: usize,
    /// Width of the hidden layer.
    pub hidden: usize,
}

/// The weights.
#[derive(Clone, Debug, PartialEq)]
pub struct CharModel {
    shape: Shape,
    weights: Weights,
}

/// One tensor for each part of the network; also what belongs to each of them,
/// such as its gradient.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Weights {
    table: Tensor,
    hidden: Tensor,
    hidden_bias: Tensor,
    output: Tensor,
    output_bias: Tensor,
}

impl Weights {
    /// By name, always in the same order.
    pub(crate) fn named(&self) -> [(&'static str, &Tensor); 5] {
        [
            ("table", &self.table),
            ("hidden", &self.hidden),
            ("hidden_bias", &self.hidden_bias),
            ("output", &self.output),
            ("output_bias", &self.output_bias),
        ]
    }

    /// The same, to be changed.
    pub(crate) fn named_mut(&mut self) -> [(&'static str, &mut Tensor); 5] {
        [
            ("table", &mut self.table),
            ("hidden", &mut self.hidden),
            ("hidden_bias", &mut self.hidden_bias),
            ("output", &mut self.output),
            ("output_bias", &mut self.output_bias),
        ]
    }

    /// Replaces every tensor.
    ///
    /// # Errors
    /// One that is missing or of another shape.
    pub(crate) fn set<'a>(&mut self, find: impl Fn(&str) -> Option<&'a Tensor>) -> Result<()> {
        for (name, weight) in self.named_mut() {
            let value = find(name).with_context(|| format!("weight {name} is missing"))?;
            ensure!(value.shape() == weight.shape(), "weight {name} does not fit");
            weight.clone_from(value);
        }
        Ok(())
    }
}

/// A batch on its way through the network.
struct Pass {
    windows: Vec<u32>,
    seen: Tensor,
    hidden: Tensor,
    logits: Tensor,
}

/// What lies beside the weights of a finished model.
#[derive(Serialize, Deserialize)]
struct Description {
    shape: Shape,
    vocab: Vocab,
}

impl CharModel {
    /// Random weights; the same for the same seed, on every machine.
    pub fn new(shape: Shape, seed: u64) -> Self {
        let Shape { vocab, context, embed, hidden } = shape;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // Uniform with the variance 2 / inputs (He et al., 2015), since the
        // hidden layer cuts off what is negative.
        let mut uniform = |rows: usize, columns: usize, inputs: usize| {
            let bound = (6.0 / inputs as f32).sqrt();
            Tensor::from_fn(&[rows, columns], || rng.random_range(-bound..bound))
        };
        let weights = Weights {
            table: uniform(vocab, embed, 6),
            hidden: uniform(context * embed, hidden, context * embed),
            hidden_bias: Tensor::zeros(&[hidden]),
            output: uniform(hidden, vocab, hidden),
            output_bias: Tensor::zeros(&[vocab]),
        };
        Self { shape, weights }
    }

    /// Sizes of its layers.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    pub(crate) fn weights(&self) -> &Weights {
        &self.weights
    }

    pub(crate) fn weights_mut(&mut self) -> &mut Weights {
        &mut self.weights
    }

    /// Mean cross-entropy in nats of the tokens that follow the windows starting
    /// at `starts`.
    ///
    /// # Errors
    /// A window that reaches over the end of `tokens`.
    pub fn loss(&self, tokens: &[u32], starts: &[usize]) -> Result<f32> {
        let (windows, targets) = self.batch(tokens, starts)?;
        Ok(cross_entropy(&self.forward(windows)?.logits, &targets)?.0)
    }

    /// The same, and how it changes with each weight.
    ///
    /// # Errors
    /// A window that reaches over the end of `tokens`.
    pub(crate) fn loss_and_gradients(
        &self,
        tokens: &[u32],
        starts: &[usize],
    ) -> Result<(f32, Weights)> {
        let (windows, targets) = self.batch(tokens, starts)?;
        let pass = self.forward(windows)?;
        let (loss, back) = cross_entropy(&pass.logits, &targets)?;
        Ok((loss, self.backward(&pass, &back)?))
    }

    /// Mean cross-entropy over a text, in nats a character; `each` is called
    /// after each batch with the characters scored so far, all of them, and the
    /// mean up to there.
    ///
    /// # Errors
    /// A text not longer than the context; what `each` returns.
    pub fn score(
        &self,
        tokens: &[u32],
        mut each: impl FnMut(usize, usize, f32) -> Result<()>,
    ) -> Result<f32> {
        let total = tokens.len().saturating_sub(self.shape.context);
        ensure!(total > 0, "the text has no more than {} characters", self.shape.context);
        let starts: Vec<usize> = (0..total).collect();
        let (mut sum, mut done, mut mean) = (0.0, 0, 0.0);
        for batch in starts.chunks(SCORED_AT_ONCE) {
            let (weight, all) = (batch.len() as f32, (done + batch.len()) as f32);
            sum += self.loss(tokens, batch)? * weight;
            mean = sum / all;
            done += batch.len();
            each(done, total, mean)?;
        }
        Ok(mean)
    }

    /// Goes on writing after `start`, by chance but the same for the same seed.
    ///
    /// # Errors
    /// A start shorter than the context.
    pub fn write(&self, start: &[u32], length: usize, seed: u64) -> Result<Vec<u32>> {
        /// Below 1 the likely becomes likelier: fewer invented words.
        const TEMPERATURE: f32 = 0.7;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut text = start.to_vec();
        for _ in 0..length {
            let seen = text.len().checked_sub(self.shape.context).and_then(|at| text.get(at..));
            let mut logits = self.forward(seen.context("too short a start")?.to_vec())?.logits;
            let chances = logits.values_mut();
            chances.iter_mut().for_each(|logit| *logit /= TEMPERATURE);
            softmax(chances);
            let mut left: f32 = rng.random();
            let chosen = chances.iter().position(|chance| {
                left -= chance;
                left <= 0.0
            });
            text.push(u32::try_from(chosen.unwrap_or(0))?);
        }
        Ok(text)
    }

    /// Writes the folder that [`CharModel::load`] reads.
    ///
    /// # Errors
    /// The file system's.
    pub fn save(&self, dir: &Path, vocab: &Vocab) -> Result<()> {
        folder::write_whole(dir, |dir| {
            let weights: BTreeMap<_, _> =
                self.weights.named().map(|(name, weight)| (name.to_owned(), weight)).into();
            tensor::save(&dir.join("model.safetensors"), &weights)?;
            let description = Description { shape: self.shape, vocab: vocab.clone() };
            folder::write_json(&dir.join("model.json"), &description)
        })
        .with_context(|| format!("writing the model to {}", dir.display()))
    }

    /// Reads a finished model and its characters.
    ///
    /// # Errors
    /// A file that is missing, or does not fit the other.
    pub fn load(dir: &Path) -> Result<(Self, Vocab)> {
        let Description { shape, vocab } = folder::read_json(&dir.join("model.json"))?;
        let mut model = Self::new(shape, 0);
        let tensors = tensor::load(&dir.join("model.safetensors"))?;
        model.weights.set(|name| tensors.get(name))?;
        Ok((model, vocab))
    }

    /// Windows laid end to end, and what follows each.
    fn batch(&self, tokens: &[u32], starts: &[usize]) -> Result<(Vec<u32>, Vec<u32>)> {
        let context = self.shape.context;
        let mut windows = Vec::with_capacity(starts.len() * context);
        let mut targets = Vec::with_capacity(starts.len());
        for start in starts {
            let window =
                tokens.get(*start..start + context + 1).context("a window over the end")?;
            let (seen, next) = window.split_at(context);
            windows.extend_from_slice(seen);
            targets.extend_from_slice(next);
        }
        Ok((windows, targets))
    }

    /// Scores of each next character, for windows laid end to end.
    fn forward(&self, windows: Vec<u32>) -> Result<Pass> {
        let Shape { context, embed, .. } = self.shape;
        let mut seen = Tensor::zeros(&[windows.len() / context, context * embed]);
        for (token, place) in windows.iter().zip(seen.values_mut().chunks_exact_mut(embed)) {
            place.copy_from_slice(self.weights.table.row(index(*token)?).context("no such token")?);
        }
        let mut hidden = linear(&seen, &self.weights.hidden, &self.weights.hidden_bias);
        hidden.values_mut().iter_mut().for_each(|value| *value = value.max(0.0));
        let logits = linear(&hidden, &self.weights.output, &self.weights.output_bias);
        Ok(Pass { windows, seen, hidden, logits })
    }

    /// The gradient of each weight, from that of the scores.
    fn backward(&self, pass: &Pass, back: &Tensor) -> Result<Weights> {
        let [output, output_bias, mut back] =
            linear_backward(&pass.hidden, &self.weights.output, back);
        for (back, value) in back.values_mut().iter_mut().zip(pass.hidden.values()) {
            if *value <= 0.0 {
                *back = 0.0;
            }
        }
        let [hidden, hidden_bias, back] = linear_backward(&pass.seen, &self.weights.hidden, &back);
        let mut table = Tensor::zeros(self.weights.table.shape());
        let places = back.values().chunks_exact(self.shape.embed);
        for (token, back) in pass.windows.iter().zip(places) {
            let row = table.row_mut(index(*token)?).context("no such token")?;
            tensor::add_scaled(row, 1.0, back);
        }
        Ok(Weights { table, hidden, hidden_bias, output, output_bias })
    }
}

/// Mean cross-entropy of rows of scores, and its gradient.
fn cross_entropy(logits: &Tensor, targets: &[u32]) -> Result<(f32, Tensor)> {
    let mut gradient = logits.clone();
    let (mut sum, share) = (0.0, 1.0 / targets.len() as f32);
    for (row, target) in gradient.rows_mut().zip(targets) {
        let target = index(*target)?;
        let score = *row.get(target).context("no such token")?;
        sum += softmax(row) - score;
        if let Some(chance) = row.get_mut(target) {
            *chance -= 1.0;
        }
        row.iter_mut().for_each(|value| *value *= share);
    }
    Ok((sum * share, gradient))
}

/// Turns scores into chances; returns the logarithm of what they were divided by.
fn softmax(scores: &mut [f32]) -> f32 {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.iter_mut().for_each(|score| *score = (*score - highest).exp());
    let sum: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
    highest + sum.ln()
}

fn index(token: u32) -> Result<usize> {
    Ok(usize::try_from(token)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { vocab: 7, context: 4, embed: 3, hidden: 5 };

    #[test]
    fn a_saved_model_scores_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let vocab = Vocab::of("abcdef");
        let model = CharModel::new(SHAPE, 1);
        model.save(&dir.path().join("model"), &vocab).unwrap();
        let (loaded, characters) = CharModel::load(&dir.path().join("model")).unwrap();
        assert_eq!(characters, vocab);
        let text = vocab.encode("abcdefabcdef");
        let score = |model: &CharModel| model.score(&text, |_, _, _| Ok(())).unwrap();
        assert_eq!(score(&loaded).to_bits(), score(&model).to_bits());
        assert_ne!(score(&CharModel::new(SHAPE, 2)), score(&model));
    }

    #[test]
    fn the_score_is_the_mean_over_batches() {
        let model = CharModel::new(SHAPE, 1);
        let tokens: Vec<u32> = (0..600).map(|n| n * n % 7).collect();
        let mut calls = Vec::new();
        let mean = model
            .score(&tokens, |done, total, _| {
                calls.push((done, total));
                Ok(())
            })
            .unwrap();
        assert_eq!(calls, [(256, 596), (512, 596), (596, 596)]);
        let starts: Vec<usize> = (0..596).collect();
        let at_once = model.loss(&tokens, &starts).unwrap();
        assert!((mean - at_once).abs() < 1e-5, "{mean} and {at_once}");
    }

    #[test]
    fn what_it_writes_goes_on_from_the_start_and_repeats() {
        let model = CharModel::new(SHAPE, 1);
        let text = model.write(&[1, 2, 3, 4, 5], 20, 9).unwrap();
        assert_eq!((text.len(), &text[..5]), (25, &[1, 2, 3, 4, 5][..]));
        assert_eq!(model.write(&[1, 2, 3, 4, 5], 20, 9).unwrap(), text);
        assert_ne!(model.write(&[1, 2, 3, 4, 5], 20, 8).unwrap(), text);
        assert!(model.write(&[1, 2, 3], 1, 9).is_err());
    }

    #[test]
    fn texts_without_a_full_window_are_refused() {
        let model = CharModel::new(SHAPE, 1);
        assert!(model.score(&[1, 2, 3, 4], |_, _, _| Ok(())).is_err());
        assert!(model.loss(&[1, 2, 3, 4, 5], &[1]).is_err());
    }

    /// Against small changes of each weight in turn, as a network is checked.
    #[test]
    fn gradients_are_what_the_loss_does() {
        let model = CharModel::new(SHAPE, 1);
        let tokens: Vec<u32> = (0..40).map(|n| n * n % 7).collect();
        let starts: Vec<usize> = (0..30).collect();
        let (_, gradients) = model.loss_and_gradients(&tokens, &starts).unwrap();
        for (part, (name, gradient)) in gradients.named().into_iter().enumerate() {
            for (at, expected) in gradient.values().iter().enumerate() {
                let loss = |change: f32| {
                    let mut model = model.clone();
                    model.weights.named_mut()[part].1.values_mut()[at] += change;
                    model.loss(&tokens, &starts).unwrap()
                };
                let found = (loss(0.01) - loss(-0.01)) / 0.02;
                assert!((found - expected).abs() < 5e-3, "{name}[{at}]: {found}, {expected}");
            }
        }
    }

    #[test]
    fn the_loss_of_even_chances_is_the_logarithm_of_their_number() {
        let (loss, gradient) = cross_entropy(&Tensor::zeros(&[2, 8]), &[0, 7]).unwrap();
        assert!((loss - 8.0_f32.ln()).abs() < 1e-6);
        assert_eq!(gradient.row(0).unwrap()[..2], [-0.875 / 2.0, 0.125 / 2.0]);
        assert!(cross_entropy(&Tensor::zeros(&[1, 8]), &[8]).is_err());
    }
}
