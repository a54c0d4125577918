//! The options of `serve`.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::config::ServeConfig;

/// Everything that a scheduler is started with.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The operator's settings.
    pub config: ServeConfig,
    /// Where prices and availability come from.
    pub market: MarketChoice,
    /// A catalogue of machine types; `None` for the built-in one.
    pub catalog: Option<PathBuf>,
    /// The file of the pools; `None` for this machine alone.
    pub pools: Option<PathBuf>,
    /// The file of what is already paid for, if any.
    pub commitments: Option<PathBuf>,
}

/// Where prices and availability come from.
#[derive(Clone, Debug, PartialEq)]
pub enum MarketChoice {
    /// An artificial market, calibrated to recorded ones.
    Synthetic {
        /// The seed it is drawn from.
        seed: u64,
        /// By what factor spells are shorter than recorded.
        turbulence: f64,
        /// Its length in days, from the first start on.
        days: u32,
        /// Market time of the first start; `None` for now. The same seed and start give the
        /// same market.
        start: Option<Timestamp>,
    },
    /// A recorded market: our CSV, or AWS's `describe-spot-price-history` JSON
    /// (distinguished by the file extension).
    File {
        /// The file.
        path: PathBuf,
        /// When its second 0 was, if its index does not say.
        start: Option<Timestamp>,
    },
}

impl MarketChoice {
    /// A description as text, for reports.
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
