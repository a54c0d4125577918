//! A character-level language model: the last characters go through an
//! embedding and one hidden layer, and out comes how likely each next one is
//! (Bengio et al., 2003, without the direct connections).

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use candle_core::{D, Device, Tensor, Var, safetensors};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::folder;
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
#[derive(Debug)]
pub struct CharModel {
    shape: Shape,
    table: Var,
    hidden: Var,
    hidden_bias: Var,
    output: Var,
    output_bias: Var,
}

/// What lies beside the weights of a finished model.
#[derive(Serialize, Deserialize)]
struct Description {
    shape: Shape,
    vocab: Vocab,
}

impl CharModel {
    /// Random weights; the same for the same seed, on every machine.
    ///
    /// # Errors
    /// Candle's.
    pub fn new(shape: Shape, seed: u64) -> Result<Self> {
        let Shape { vocab, context, embed, hidden } = shape;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // Uniform with the variance 2 / inputs (He et al., 2015), since the
        // hidden layer cuts off what is negative.
        let mut uniform = |rows: usize, columns: usize, inputs: usize| {
            let bound = (6.0 / inputs as f32).sqrt();
            let values: Vec<f32> =
                (0..rows * columns).map(|_| rng.random_range(-bound..bound)).collect();
            Var::from_vec(values, (rows, columns), &Device::Cpu)
        };
        let zeros = |n: usize| Var::zeros(n, candle_core::DType::F32, &Device::Cpu);
        Ok(Self {
            shape,
            table: uniform(vocab, embed, 6)?,
            hidden: uniform(context * embed, hidden, context * embed)?,
            hidden_bias: zeros(hidden)?,
            output: uniform(hidden, vocab, hidden)?,
            output_bias: zeros(vocab)?,
        })
    }

    /// Sizes of its layers.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// All weights by name, always in the same order.
    pub fn weights(&self) -> [(&'static str, &Var); 5] {
        [
            ("table", &self.table),
            ("hidden", &self.hidden),
            ("hidden_bias", &self.hidden_bias),
            ("output", &self.output),
            ("output_bias", &self.output_bias),
        ]
    }

    /// Mean cross-entropy in nats of the tokens that follow the windows starting
    /// at `starts`.
    ///
    /// # Errors
    /// A window that reaches over the end of `tokens`.
    pub fn loss(&self, tokens: &[u32], starts: &[usize]) -> Result<Tensor> {
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
        let targets = Tensor::from_vec(targets, starts.len(), &Device::Cpu)?;
        Ok(candle_nn::loss::cross_entropy(&self.logits(windows)?, &targets)?)
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
            sum += self.loss(tokens, batch)?.to_scalar::<f32>()? * weight;
            mean = sum / all;
            done += batch.len();
            each(done, total, mean)?;
        }
        Ok(mean)
    }

    /// Goes on writing after `start`, by chance but the same for the same seed.
    ///
    /// # Errors
    /// Candle's; a start shorter than the context.
    pub fn write(&self, start: &[u32], length: usize, seed: u64) -> Result<Vec<u32>> {
        /// Below 1 the likely becomes likelier: fewer invented words.
        const TEMPERATURE: f64 = 0.7;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut text = start.to_vec();
        for _ in 0..length {
            let seen = text.len().checked_sub(self.shape.context).and_then(|at| text.get(at..));
            let logits = self.logits(seen.context("too short a start")?.to_vec())?;
            let chances =
                candle_nn::ops::softmax(&(logits / TEMPERATURE)?, D::Minus1)?.squeeze(0)?;
            let mut left: f32 = rng.random();
            let chosen = chances.to_vec1::<f32>()?.into_iter().position(|chance| {
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
            let weights: HashMap<_, _> = self
                .weights()
                .into_iter()
                .map(|(name, weight)| (name, weight.as_tensor().clone()))
                .collect();
            safetensors::save(&weights, dir.join("model.safetensors"))?;
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
        let model = Self::new(shape, 0)?;
        let file = dir.join("model.safetensors");
        let tensors = safetensors::load(&file, &Device::Cpu)
            .with_context(|| format!("reading {}", file.display()))?;
        model.set_weights(|name| tensors.get(name))?;
        Ok((model, vocab))
    }

    /// Replaces every weight.
    ///
    /// # Errors
    /// One that is missing or of another shape.
    pub fn set_weights<'a>(&self, find: impl Fn(&str) -> Option<&'a Tensor>) -> Result<()> {
        for (name, weight) in self.weights() {
            let value = find(name).with_context(|| format!("weight {name} is missing"))?;
            weight.set(value).with_context(|| format!("weight {name} does not fit"))?;
        }
        Ok(())
    }

    /// Scores of each next character, for windows laid end to end.
    fn logits(&self, windows: Vec<u32>) -> Result<Tensor> {
        let Shape { context, embed, .. } = self.shape;
        let (tokens, rows) = (windows.len(), windows.len() / context);
        let windows = Tensor::from_vec(windows, tokens, &Device::Cpu)?;
        let seen = self.table.index_select(&windows, 0)?.reshape((rows, context * embed))?;
        let hidden = seen.matmul(&self.hidden)?.broadcast_add(&self.hidden_bias)?.relu()?;
        Ok(hidden.matmul(&self.output)?.broadcast_add(&self.output_bias)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { vocab: 7, context: 4, embed: 3, hidden: 5 };

    #[test]
    fn a_saved_model_scores_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let vocab = Vocab::of("abcdef");
        let model = CharModel::new(SHAPE, 1).unwrap();
        model.save(&dir.path().join("model"), &vocab).unwrap();
        let (loaded, characters) = CharModel::load(&dir.path().join("model")).unwrap();
        assert_eq!(characters, vocab);
        let text = vocab.encode("abcdefabcdef");
        let score = |model: &CharModel| model.score(&text, |_, _, _| Ok(())).unwrap();
        assert_eq!(score(&loaded).to_bits(), score(&model).to_bits());
        assert_ne!(score(&CharModel::new(SHAPE, 2).unwrap()), score(&model));
    }

    #[test]
    fn the_score_is_the_mean_over_batches() {
        let model = CharModel::new(SHAPE, 1).unwrap();
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
        let at_once = model.loss(&tokens, &starts).unwrap().to_scalar::<f32>().unwrap();
        assert!((mean - at_once).abs() < 1e-5, "{mean} and {at_once}");
    }

    #[test]
    fn what_it_writes_goes_on_from_the_start_and_repeats() {
        let model = CharModel::new(SHAPE, 1).unwrap();
        let text = model.write(&[1, 2, 3, 4, 5], 20, 9).unwrap();
        assert_eq!((text.len(), &text[..5]), (25, &[1, 2, 3, 4, 5][..]));
        assert_eq!(model.write(&[1, 2, 3, 4, 5], 20, 9).unwrap(), text);
        assert_ne!(model.write(&[1, 2, 3, 4, 5], 20, 8).unwrap(), text);
        assert!(model.write(&[1, 2, 3], 1, 9).is_err());
    }

    #[test]
    fn texts_without_a_full_window_are_refused() {
        let model = CharModel::new(SHAPE, 1).unwrap();
        assert!(model.score(&[1, 2, 3, 4], |_, _, _| Ok(())).is_err());
        assert!(model.loss(&[1, 2, 3, 4, 5], &[1]).is_err());
    }
}
