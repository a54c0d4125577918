//! What `serve` is started with.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::config::ServeConfig;

/// Everything that a scheduler is started with.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The operator's choices.
    pub config: ServeConfig,
    /// Where prices and availability come from.
    pub market: MarketChoice,
    /// A catalogue of machine types; the built-in one where none is named.
    pub catalog: Option<PathBuf>,
    /// What is paid for already; nothing where no file is named.
    pub commitments: Option<PathBuf>,
}

/// Where prices and availability come from.
#[derive(Clone, Debug, PartialEq)]
pub enum MarketChoice {
    /// An invented market, calibrated to recorded ones.
    Synthetic {
        /// What it is drawn from.
        seed: u64,
        /// How many times shorter spells are than recorded.
        turbulence: f64,
        /// How many days of it, from the first start on.
        days: u32,
        /// Market time of the first start; now where none is named. The same
        /// seed and start give the same market.
        start: Option<Timestamp>,
    },
    /// A recorded market: our CSV, or AWS's `describe-spot-price-history` JSON
    /// (told apart by the file's ending).
    File {
        /// The file.
        path: PathBuf,
        /// When its second 0 was, where its index does not say.
        start: Option<Timestamp>,
    },
}

impl MarketChoice {
    /// In words, for reports.
    pub fn describe(&self) -> String {
        match self {
            Self::Synthetic { seed, turbulence, .. } => {
                format!("synthetic, seed {seed}, turbulence {turbulence}")
            }
            Self::File { path, .. } => {
                let name = path.file_name().unwrap_or(path.as_os_str());
                format!("recorded, {}", name.to_string_lossy())
            }
        }
    }
}
