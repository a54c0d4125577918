//! `infer`: one element of an array takes its share of the files and scores
//! each. The results so far are its checkpoint, so that a later attempt opens
//! only the files that are left.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::checkpoint;
use crate::contract::{Contract, Outcome, Progress};
use crate::folder;
use crate::model::CharModel;
use crate::ngram::Trigram;
use crate::pace::{Pacer, parse_pace};
use crate::stop::Stop;
use crate::text::{self, Vocab};

/// What to score, and with what.
#[derive(Debug, Args)]
pub struct InferArgs {
    /// Folder of text files [default: the input folder, else 12 built-in texts].
    #[arg(long, value_name = "DIR")]
    pub input: Option<PathBuf>,
    /// Folder of a trained model [default: a trigram model of the built-in text].
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Least time for each file, such as 2s.
    #[arg(long, default_value = "0ms", value_parser = parse_pace)]
    pub pace: Duration,
}

/// The result of one file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Score {
    file: String,
    model: String,
    characters: usize,
    loss: f32,
    perplexity: f32,
}

/// Scores this element's share: every `array_size`-th file, by name.
///
/// # Errors
/// Files or a model that cannot be read, or a text too short to score.
pub fn infer(args: &InferArgs, contract: &Contract, stop: &Stop) -> Result<Outcome> {
    let files = inputs(args, contract)?;
    let share: Vec<_> =
        files.into_iter().skip(contract.array_index).step_by(contract.array_size).collect();
    let total = u64::try_from(share.len())?;
    let scorer = Scorer::load(args.model.as_deref())?;
    let load = |dir: &Path| folder::read_json::<Vec<Score>>(&dir.join("scores.json"));
    let mut scores = checkpoint::resume(contract, load)?.unwrap_or_default();
    scores.retain(|score| share.iter().any(|(name, _)| *name == score.file));
    if !scores.is_empty() {
        println!("resumed after {} of {total} files", scores.len());
    }
    let mut pacer = Pacer::start(args.pace);
    for (name, content) in share {
        if scores.iter().any(|score| score.file == name) {
            continue;
        }
        if stop.is_requested() {
            return Ok(stopped(contract, scores.len(), total));
        }
        let score = scorer.score(name, &content)?;
        println!("{}: perplexity {:.2}", score.file, score.perplexity);
        pacer.end_round(stop);
        if stop.is_requested() && args.pace > Duration::ZERO {
            // The pace stands for work that was cut short: this file is not done.
            return Ok(stopped(contract, scores.len(), total));
        }
        scores.push(score);
        let done = u64::try_from(scores.len())?;
        contract.report(Progress { step: done, total, loss: mean(&scores) })?;
        if let Some(dir) = &contract.checkpoint_dir {
            checkpoint::save(dir, done, |folder| {
                folder::write_json(&folder.join("scores.json"), &scores)
            })?;
        }
    }
    if let Some(dir) = &contract.output_dir {
        for score in &scores {
            folder::write_json(&dir.join(format!("{}.json", score.file)), score)?;
        }
    }
    println!("{total} files done, mean loss {:.4}", mean(&scores));
    Ok(Outcome::Done)
}

/// The built-in texts, by name.
const EMBEDDED: [(&str, &str); 12] = [
    ("01-notice", include_str!("../data/prompts/01-notice.txt")),
    ("02-licence", include_str!("../data/prompts/02-licence.txt")),
    ("03-budget", include_str!("../data/prompts/03-budget.txt")),
    ("04-recipe", include_str!("../data/prompts/04-recipe.txt")),
    ("05-timetable", include_str!("../data/prompts/05-timetable.txt")),
    ("06-code", include_str!("../data/prompts/06-code.txt")),
    ("07-deadline", include_str!("../data/prompts/07-deadline.txt")),
    ("08-weather", include_str!("../data/prompts/08-weather.txt")),
    ("09-warranty", include_str!("../data/prompts/09-warranty.txt")),
    ("10-letter", include_str!("../data/prompts/10-letter.txt")),
    ("11-german", include_str!("../data/prompts/11-german.txt")),
    ("12-sand", include_str!("../data/prompts/12-sand.txt")),
];

/// Names without their ending, and contents.
fn inputs(args: &InferArgs, contract: &Contract) -> Result<Vec<(String, String)>> {
    let found = match (&args.input, &contract.input_dir) {
        (Some(dir), _) => {
            let found = read_inputs(dir)?;
            ensure!(!found.is_empty(), "no text files in {}", dir.display());
            found
        }
        (None, Some(dir)) if dir.is_dir() => read_inputs(dir)?,
        (None, _) => Vec::new(),
    };
    if !found.is_empty() {
        return Ok(found);
    }
    Ok(EMBEDDED.map(|(name, content)| (name.to_owned(), content.to_owned())).to_vec())
}

fn read_inputs(dir: &Path) -> Result<Vec<(String, String)>> {
    let files = text::texts_of(dir)?.into_iter().filter(|file| file.is_file());
    files
        .map(|file| {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let content = fs::read_to_string(&file);
            Ok((name, content.with_context(|| format!("reading {}", file.display()))?))
        })
        .collect()
}

enum Scorer {
    Trained { model: Box<CharModel>, vocab: Vocab },
    Counted { counts: Trigram, vocab: Vocab },
}

impl Scorer {
    fn load(dir: Option<&Path>) -> Result<Self> {
        if let Some(dir) = dir {
            let (model, vocab) = CharModel::load(dir)?;
            return Ok(Self::Trained { model: Box::new(model), vocab });
        }
        let text = text::read(&[])?;
        let vocab = Vocab::of(&text);
        Ok(Self::Counted { counts: Trigram::of(&vocab.encode(&text), vocab.size()), vocab })
    }

    fn score(&self, file: String, content: &str) -> Result<Score> {
        let (model, loss) = match self {
            Self::Trained { model, vocab } => {
                let tokens = vocab.encode(content);
                let loss = model.score(&tokens, |_, _, _| Ok(()));
                ("char-mlp", loss.with_context(|| format!("scoring {file}"))?)
            }
            Self::Counted { counts, vocab } => ("trigram", counts.score(&vocab.encode(content))),
        };
        let characters = content.chars().count();
        Ok(Score { file, model: model.to_owned(), characters, loss, perplexity: loss.exp() })
    }
}

fn stopped(contract: &Contract, done: usize, total: u64) -> Outcome {
    println!("stopped after {done} of {total} files");
    match &contract.checkpoint_dir {
        Some(_) => Outcome::Saved,
        None => Outcome::Unsaved,
    }
}

fn mean(scores: &[Score]) -> f32 {
    scores.iter().map(|score| score.loss).sum::<f32>() / scores.len().max(1) as f32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const ARGS: InferArgs = InferArgs { input: None, model: None, pace: Duration::ZERO };

    fn outputs(dir: &Path) -> BTreeSet<String> {
        let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        fs::read_dir(dir).into_iter().flatten().map(|entry| name(entry.unwrap())).collect()
    }

    #[test]
    fn the_shares_cover_all_files_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut seen = BTreeSet::new();
        for index in 0..5 {
            let contract = Contract {
                array_index: index,
                array_size: 5,
                output_dir: Some(dir.path().join(index.to_string())),
                ..Contract::default()
            };
            assert_eq!(infer(&ARGS, &contract, &Stop::default()).unwrap(), Outcome::Done);
            let share = outputs(&dir.path().join(index.to_string()));
            assert!((2..=3).contains(&share.len()), "{share:?}");
            assert!(seen.is_disjoint(&share));
            seen.extend(share);
        }
        assert_eq!(seen.len(), EMBEDDED.len());
    }

    #[test]
    fn a_later_attempt_keeps_the_scores_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = dir.path().join("checkpoints");
        let earlier = Score {
            file: "06-code".to_owned(),
            model: "earlier".to_owned(),
            characters: 1,
            loss: 1.0,
            perplexity: 2.0,
        };
        checkpoint::save(&checkpoints, 1, |folder| {
            folder::write_json(&folder.join("scores.json"), &[&earlier])
        })
        .unwrap();
        let contract = Contract {
            array_size: 1,
            resume_from: Some(checkpoints),
            checkpoint_dir: Some(dir.path().join("new")),
            output_dir: Some(dir.path().join("out")),
            ..Contract::default()
        };
        let stop = Stop::default();
        assert_eq!(infer(&ARGS, &contract, &stop).unwrap(), Outcome::Done);
        assert_eq!(outputs(&dir.path().join("out")).len(), EMBEDDED.len());
        let kept: Score = folder::read_json(&dir.path().join("out/06-code.json")).unwrap();
        assert_eq!(kept, earlier);

        stop.request();
        let again = Contract { resume_from: None, checkpoint_dir: None, ..contract };
        assert_eq!(infer(&ARGS, &again, &stop).unwrap(), Outcome::Unsaved);
    }

    #[test]
    fn familiar_text_surprises_less() {
        let scorer = Scorer::load(None).unwrap();
        let loss = |name: &str| {
            let (_, content) = EMBEDDED.iter().find(|(file, _)| *file == name).unwrap();
            scorer.score(name.to_owned(), content).unwrap().loss
        };
        assert!(loss("02-licence") < loss("08-weather"));
        assert!(loss("08-weather") < loss("06-code"));
    }
}
