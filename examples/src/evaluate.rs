//! `evaluate`: the last step of a pipeline, which reports how good the model is.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::contract::{Contract, Progress};
use crate::folder;
use crate::model::CharModel;
use crate::ngram::Trigram;
use crate::pace::{Pacer, parse_pace};
use crate::stop::Stop;
use crate::text::Corpus;

/// What to evaluate.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// Folder of the model [default: where `train --prepared` left it].
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Least time for each 256 characters, such as 500ms.
    #[arg(long, default_value = "0ms", value_parser = parse_pace)]
    pub pace: Duration,
}

/// `report.json`.
#[derive(Serialize)]
struct Report {
    characters: usize,
    loss: f32,
    perplexity: f32,
    bits_per_character: f32,
    /// Of counting which character follows which two: what any model must beat.
    trigram_loss: f32,
    better_than_trigram: bool,
}

/// Scores the held-out tokens and writes `report.json` to the output folder.
///
/// # Errors
/// Tokens or a model that are missing, or that do not belong together.
pub fn evaluate(args: &EvaluateArgs, contract: &Contract) -> Result<()> {
    let shared = contract.shared_dir()?;
    let corpus = Corpus::load(&shared.join("tokens"))?;
    let folder = args.model.clone().unwrap_or_else(|| shared.join("model"));
    let (model, vocab) = CharModel::load(&folder)?;
    // The model may know other characters than the text: go by its numbers.
    let heldout = vocab.encode(&corpus.vocab.decode(&corpus.heldout));
    let train = vocab.encode(&corpus.vocab.decode(&corpus.train));
    let mut pacer = Pacer::start(args.pace);
    let loss = model.score(&heldout, |done, total, loss| {
        let (step, total) = (u64::try_from(done)?, u64::try_from(total)?);
        contract.report(Progress { step, total, loss })?;
        pacer.end_round(&Stop::default());
        Ok(())
    })?;
    let trigram_loss = Trigram::of(&train, vocab.size()).score(&heldout);
    let report = Report {
        characters: heldout.len(),
        loss,
        perplexity: loss.exp(),
        bits_per_character: loss / std::f32::consts::LN_2,
        trigram_loss,
        better_than_trigram: loss < trigram_loss,
    };
    println!("held-out loss {loss:.4}, perplexity {:.2}; trigram {trigram_loss:.4}", loss.exp());
    match &contract.output_dir {
        Some(dir) => folder::write_json(&dir.join("report.json"), &report),
        None => Ok(()),
    }
}
