//! Training whose every step is determined by the settings, the text and the
//! number of the step, so that it can be cut anywhere and put together again.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::folder;
use crate::model::{CharModel, Shape};
use crate::optimizer::Adam;
use crate::tensor;

/// Everything that decides what the final weights are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Sizes of the layers.
    pub shape: Shape,
    /// Steps in all.
    pub steps: u64,
    /// Windows in one step.
    pub batch: usize,
    /// Learning rate at the start; it falls to a tenth along a cosine.
    pub rate: f64,
    /// Of the first weights and of the choice of windows.
    pub seed: u64,
    /// Which text: [`crate::text::Corpus::fingerprint`].
    pub text: String,
}

/// A model on its way.
#[derive(Debug)]
pub struct Trainer {
    settings: Settings,
    model: CharModel,
    optimizer: Adam,
    step: u64,
    loss: f32,
}

/// What a checkpoint holds beside the tensors.
#[derive(Serialize, Deserialize)]
struct Meta {
    step: u64,
    loss: f32,
    settings: Settings,
}

impl Trainer {
    /// Before the first step.
    pub fn new(settings: Settings) -> Self {
        let model = CharModel::new(settings.shape, settings.seed);
        Self { optimizer: Adam::new(&model), model, settings, step: 0, loss: 0.0 }
    }

    /// Does the next step.
    ///
    /// # Errors
    /// A text too short for one window, or a loss that is no number any more.
    pub fn advance(&mut self, tokens: &[u32]) -> Result<()> {
        let (loss, gradients) = self.model.loss_and_gradients(tokens, &self.windows(tokens)?)?;
        let rate = self.rate() as f32;
        self.step += 1;
        self.optimizer.step(self.model.weights_mut(), &gradients, rate, self.step);
        if !loss.is_finite() {
            bail!("the loss is {loss} at step {}: try a lower learning rate", self.step);
        }
        // A mean over some 20 steps: that of a single batch jumps about.
        self.loss = if self.step == 1 { loss } else { 0.95 * self.loss + 0.05 * loss };
        Ok(())
    }

    /// Steps done.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Cross-entropy of late, in nats a character; 0 before the first step.
    pub fn loss(&self) -> f32 {
        self.loss
    }

    /// What it was started with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The weights as they are now.
    pub fn model(&self) -> &CharModel {
        &self.model
    }

    /// Writes all that the next step depends on: the weights, both moments of
    /// each, and the number of the step.
    ///
    /// # Errors
    /// The file system's.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let named = self.model.weights().named();
        let mut tensors: BTreeMap<_, _> =
            named.map(|(name, weight)| (format!("weight.{name}"), weight)).into();
        self.optimizer.store(&mut tensors);
        tensor::save(&dir.join("state.safetensors"), &tensors)?;
        let meta = Meta { step: self.step, loss: self.loss, settings: self.settings.clone() };
        folder::write_json(&dir.join("meta.json"), &meta)
    }

    /// Reads what [`Trainer::save`] wrote.
    ///
    /// # Errors
    /// Files that are missing or broken, or that belong to other settings: going
    /// on with those would give weights that no settings explain.
    pub fn load(dir: &Path, settings: &Settings) -> Result<Self> {
        let meta: Meta = folder::read_json(&dir.join("meta.json"))?;
        ensure!(
            meta.settings == *settings,
            "it was made with {:?}, and now it is {settings:?}",
            meta.settings
        );
        let tensors = tensor::load(&dir.join("state.safetensors"))?;
        let mut model = CharModel::new(settings.shape, settings.seed);
        model.weights_mut().set(|name| tensors.get(&format!("weight.{name}")))?;
        let optimizer = Adam::restore(&model, &tensors)?;
        Ok(Self { settings: meta.settings, model, optimizer, step: meta.step, loss: meta.loss })
    }

    /// Where the windows of the next step start: a function of seed and step
    /// alone, so there is no state of a generator to save.
    fn windows(&self, tokens: &[u32]) -> Result<Vec<usize>> {
        let places = tokens.len().saturating_sub(self.settings.shape.context);
        ensure!(places > 0, "the text is too short to learn from");
        let mut rng = ChaCha8Rng::seed_from_u64(self.settings.seed);
        // Stream 0 made the first weights.
        rng.set_stream(self.step + 1);
        Ok((0..self.settings.batch).map(|_| rng.random_range(0..places)).collect())
    }

    fn rate(&self) -> f64 {
        let done = self.step as f64 / self.settings.steps as f64;
        self.settings.rate * (0.1 + 0.45 * (1.0 + (done * std::f64::consts::PI).cos()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{self, Corpus};

    const STEPS: u64 = 24;

    fn corpus() -> Corpus {
        Corpus::of(&text::read(&[]).unwrap())
    }

    fn settings(corpus: &Corpus) -> Settings {
        Settings {
            shape: Shape { vocab: corpus.vocab.size(), context: 8, embed: 6, hidden: 20 },
            steps: STEPS,
            batch: 16,
            rate: 0.003,
            seed: 7,
            text: corpus.fingerprint(),
        }
    }

    fn bits(trainer: &Trainer) -> Vec<Vec<u32>> {
        let bits = |(_, weight): (_, &tensor::Tensor)| {
            weight.values().iter().map(|value| value.to_bits()).collect()
        };
        trainer.model().weights().named().map(bits).to_vec()
    }

    fn undisturbed(corpus: &Corpus) -> Trainer {
        let mut trainer = Trainer::new(settings(corpus));
        while trainer.step() < STEPS {
            trainer.advance(&corpus.train).unwrap();
        }
        trainer
    }

    #[test]
    fn interrupted_twice_it_ends_with_the_same_bits() {
        let corpus = corpus();
        let expected = undisturbed(&corpus);
        let dir = tempfile::tempdir().unwrap();
        let mut trainer = Trainer::new(settings(&corpus));
        while trainer.step() < STEPS {
            trainer.advance(&corpus.train).unwrap();
            if [1, 13].contains(&trainer.step()) {
                trainer.save(dir.path()).unwrap();
                trainer = Trainer::load(dir.path(), &settings(&corpus)).unwrap();
            }
        }
        assert_eq!(bits(&trainer), bits(&expected));
        assert_eq!(trainer.loss().to_bits(), expected.loss().to_bits());
    }

    #[test]
    fn without_its_moments_it_would_not() {
        let corpus = corpus();
        let mut trainer = Trainer::new(settings(&corpus));
        while trainer.step() < STEPS {
            if trainer.step() == 13 {
                trainer.optimizer = Adam::new(&trainer.model);
            }
            trainer.advance(&corpus.train).unwrap();
        }
        assert_ne!(bits(&trainer), bits(&undisturbed(&corpus)));
    }

    #[test]
    fn it_learns() {
        let corpus = corpus();
        let mut settings = settings(&corpus);
        (settings.steps, settings.rate) = (150, 0.01);
        let mut trainer = Trainer::new(settings);
        let score =
            |trainer: &Trainer| trainer.model().score(&corpus.heldout, |_, _, _| Ok(())).unwrap();
        let before = score(&trainer);
        while trainer.step() < 150 {
            trainer.advance(&corpus.train).unwrap();
        }
        let after = score(&trainer);
        assert!(after < 0.75 * before, "{before} before, {after} after");
    }

    #[test]
    fn a_checkpoint_of_other_settings_is_refused() {
        let corpus = corpus();
        let dir = tempfile::tempdir().unwrap();
        Trainer::new(settings(&corpus)).save(dir.path()).unwrap();
        let other = Settings { seed: 8, ..settings(&corpus) };
        assert!(Trainer::load(dir.path(), &other).is_err());
    }
}
