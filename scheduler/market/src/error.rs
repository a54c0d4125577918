//! What can be wrong with a market.

use std::fmt;
use std::path::PathBuf;

use super::catalog::{CatalogError, UnknownType};

/// A market that cannot be loaded. Loading happens at start; none of these errors goes away
/// on a retry.
#[derive(Debug, thiserror::Error)]
pub enum MarketError {
    /// A file cannot be read.
    #[error("cannot read the market file {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is not a table of comma-separated values.
    #[error("{file} is not a well-formed CSV table")]
    Csv {
        /// Which.
        file: String,
        /// The parser's message, with the line.
        #[source]
        source: csv::Error,
    },
    /// A file is not JSON of the expected form.
    #[error("{file} is not JSON of the expected form")]
    Json {
        /// Which.
        file: String,
        /// The parser's message, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// One value is wrong.
    #[error("{file}, {place}, `{column}`: {problem}")]
    Value {
        /// The file.
        file: String,
        /// Where in it.
        place: FilePosition,
        /// The column or field.
        column: &'static str,
        /// What is wrong.
        problem: Problem,
    },
    /// A machine type of the market is not in the catalogue.
    #[error("{file}, {place}, `{column}`")]
    Type {
        /// The file, or what asked for the type.
        file: String,
        /// Where in it.
        place: FilePosition,
        /// The column or field.
        column: &'static str,
        /// Which type, and what to do.
        #[source]
        source: UnknownType,
    },
    /// A file has no usable row.
    #[error("{file} has no rows{detail}")]
    Empty {
        /// Which.
        file: String,
        /// What was looked for.
        detail: &'static str,
    },
    /// A recorded market counts seconds, and nothing says from when.
    #[error(
        "nothing says when the recording {file} began; give a start date, or an index.json beside it that has a `start_date`"
    )]
    NoStart {
        /// Which recording.
        file: String,
    },
    /// An option of the synthetic market makes no sense.
    #[error("the synthetic market's `{field}` {problem}")]
    Option {
        /// Which.
        field: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The catalogue cannot be used.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// A position in a file, as people count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilePosition {
    /// A line, from 1.
    Line(u64),
    /// An entry of a list, from 1.
    Entry(usize),
}

impl fmt::Display for FilePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Entry(entry) => write!(f, "entry {entry}"),
        }
    }
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The table has no such column.
    #[error("the column is missing")]
    MissingColumn,
    /// Not a whole number in range.
    #[error("`{text}` is not a whole number from 0 to {max}")]
    NotWhole {
        /// What was found.
        text: String,
        /// The largest that is accepted.
        max: u64,
    },
    /// Not a number at all.
    #[error("`{text}` is not a price in dollars per hour")]
    NotPrice {
        /// What was found.
        text: String,
    },
    /// Not a number at all.
    #[error("`{text}` is not a price in dollars per GB such as 0.02")]
    NotPricePerGb {
        /// What was found.
        text: String,
    },
    /// Not a name of a zone or a machine type.
    #[error("`{text}` {}", super::catalog::NAME_RULE)]
    NotName {
        /// What was found.
        text: String,
    },
    /// Not a point in time.
    #[error("`{text}` is not a time such as 2023-02-15T00:00:00Z")]
    NotTime {
        /// What was found.
        text: String,
    },
    /// Not a day.
    #[error("`{text}` is not a date such as 2023-02-15")]
    NotDate {
        /// What was found.
        text: String,
    },
    /// Not later than the previous row of the same zone and type.
    #[error("{seconds} is not later than {previous}, the row before of this zone and type")]
    OutOfOrder {
        /// This row's time.
        seconds: u64,
        /// The row before.
        previous: u64,
    },
}

/// The part of a text that goes into an error: enough to find it.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().take(40).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
