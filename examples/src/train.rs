//! `train`: the loop around [`Trainer`] that keeps the contract with the worker.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;

use crate::checkpoint;
use crate::contract::{Contract, Outcome, Progress};
use crate::folder;
use crate::model::Shape;
use crate::pace::{Pacer, parse_pace};
use crate::stop::Stop;
use crate::text::{self, Corpus};
use crate::trainer::{Settings, Trainer};

/// What to train, and how.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// Text files and folders to learn from [default: 20 kB that are built in].
    #[arg(long, num_args = 1.., value_name = "PATH", conflicts_with = "prepared")]
    pub text: Vec<PathBuf>,
    /// Learn from the tokens that `prepare` left in the shared folder, and leave
    /// the model there for `evaluate`.
    #[arg(long)]
    pub prepared: bool,
    /// Steps in all, those of earlier attempts included.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    pub steps: u64,
    /// Learning rate at the start.
    #[arg(long, env = "SPOTWISE_PARAM_LR", default_value_t = 0.003)]
    pub lr: f64,
    /// Seed of the first weights and of the order of the text.
    #[arg(long, env = "SPOTWISE_PARAM_SEED", default_value_t = 1)]
    pub seed: u64,
    /// Windows of text in one step.
    #[arg(long, default_value_t = 64, value_parser = size)]
    pub batch: usize,
    /// Characters that the model looks back; more than 8 need more text than is
    /// built in.
    #[arg(long, default_value_t = 8, value_parser = size)]
    pub context: usize,
    /// Width of the hidden layer.
    #[arg(long, default_value_t = 128, value_parser = size)]
    pub hidden: usize,
    /// Steps between two checkpoints.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub checkpoint_every: u64,
    /// Steps between two lines of progress.
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u64).range(1..))]
    pub log_every: u64,
    /// Least time of a step, such as 20ms: lets a CPU stand for an accelerator
    /// whose speed is known.
    #[arg(long, default_value = "0ms", value_parser = parse_pace)]
    pub pace: Duration,
}

/// `metrics.json`.
#[derive(Serialize)]
struct Metrics {
    attempt: Option<String>,
    steps: u64,
    lr: f64,
    seed: u64,
    loss: f32,
    heldout_loss: f32,
    heldout_perplexity: f32,
    sample: String,
}

/// Numbers that stand for one character: enough for some 90 of them.
const EMBED: usize = 12;

/// Trains to the end, or until `stop`.
///
/// # Errors
/// No text, a checkpoint of other work, a loss that is no number, or the file system.
pub fn train(args: &TrainArgs, contract: &Contract, stop: &Stop) -> Result<Outcome> {
    let corpus = if args.prepared {
        Corpus::load(&contract.shared_dir()?.join("tokens"))?
    } else {
        Corpus::of(&text::read(&args.text)?)
    };
    let mut trainer = start(args, contract, &corpus)?;
    let total = args.steps;
    let mut pacer = Pacer::start(args.pace);
    let mut noticed = false;
    while trainer.step() < total {
        if stop.is_requested() {
            return stopped(&trainer, contract);
        }
        if !noticed && contract.noticed() {
            noticed = true;
            save(&trainer, contract)?;
            println!("interruption notice at step {}: saved, going on", trainer.step());
        }
        trainer.advance(&corpus.train)?;
        let (step, loss) = (trainer.step(), trainer.loss());
        if step.is_multiple_of(args.log_every) || step == total {
            println!("step {step}/{total} loss {loss:.4}");
            contract.report(Progress { step, total, loss })?;
        }
        if step.is_multiple_of(args.checkpoint_every) {
            save(&trainer, contract)?;
        }
        pacer.end_round(stop);
    }
    finish(&trainer, args, contract, &corpus)?;
    Ok(Outcome::Done)
}

fn start(args: &TrainArgs, contract: &Contract, corpus: &Corpus) -> Result<Trainer> {
    let shape = Shape {
        vocab: corpus.vocab.size(),
        context: args.context,
        embed: EMBED,
        hidden: args.hidden,
    };
    let settings = Settings {
        shape,
        steps: args.steps,
        batch: args.batch,
        rate: args.lr,
        seed: args.seed,
        text: corpus.fingerprint(),
    };
    if !(args.lr > 0.0 && args.lr.is_finite()) {
        bail!("the learning rate is {}: it must be above 0", args.lr);
    }
    if let Some(trainer) = checkpoint::resume(contract, |dir| Trainer::load(dir, &settings))? {
        println!("resumed from step {} (loss {:.4})", trainer.step(), trainer.loss());
        return Ok(trainer);
    }
    println!(
        "training on {} characters, {} different; lr {}, seed {}",
        corpus.train.len(),
        corpus.vocab.size() - 1,
        args.lr,
        args.seed
    );
    Ok(Trainer::new(settings))
}

fn save(trainer: &Trainer, contract: &Contract) -> Result<()> {
    match &contract.checkpoint_dir {
        Some(dir) => checkpoint::save(dir, trainer.step(), |folder| trainer.save(folder)),
        None => Ok(()),
    }
}

fn stopped(trainer: &Trainer, contract: &Contract) -> Result<Outcome> {
    let (step, loss) = (trainer.step(), trainer.loss());
    if contract.checkpoint_dir.is_none() {
        println!("stopped at step {step}; nothing is saved without a checkpoint folder");
        return Ok(Outcome::Unsaved);
    }
    // Before the checkpoint: it is known by the progress it was made at.
    contract.report(Progress { step, total: trainer.settings().steps, loss })?;
    save(trainer, contract)?;
    println!("stopped at step {step} (loss {loss:.4}): saved");
    Ok(Outcome::Saved)
}

fn finish(trainer: &Trainer, args: &TrainArgs, contract: &Contract, corpus: &Corpus) -> Result<()> {
    save(trainer, contract)?;
    let model = trainer.model();
    let heldout_loss = model.score(&corpus.heldout, |_, _, _| Ok(()))?;
    let start = corpus.heldout.get(..args.context).unwrap_or_default();
    let sample = corpus.vocab.decode(&sample(trainer, start)?);
    println!("held-out loss {heldout_loss:.4}; it writes: {sample:?}");
    if args.prepared {
        model.save(&contract.shared_dir()?.join("model"), &corpus.vocab)?;
    }
    let Some(dir) = &contract.output_dir else { return Ok(()) };
    model.save(&dir.join("model"), &corpus.vocab)?;
    let metrics = Metrics {
        attempt: contract.attempt_id.clone(),
        steps: trainer.step(),
        lr: args.lr,
        seed: args.seed,
        loss: trainer.loss(),
        heldout_loss,
        heldout_perplexity: heldout_loss.exp(),
        sample,
    };
    folder::write_json(&dir.join("metrics.json"), &metrics)
}

/// 160 characters more than `start`.
fn sample(trainer: &Trainer, start: &[u32]) -> Result<Vec<u32>> {
    trainer.model().write(start, 160, trainer.settings().seed)
}

fn size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(size @ 1..=4096) => Ok(size),
        _ => Err("write a number from 1 to 4096".to_owned()),
    }
}
