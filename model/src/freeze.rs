//! A stop of all buying.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Nothing is bought and nothing is started while it lasts; what runs goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// Who has ordered it.
    pub by: String,
    /// Since when (wall time).
    pub since: Timestamp,
    /// Why, in the words of who ordered it; may be empty.
    pub reason: String,
}

impl Freeze {
    /// As in "nothing is bought: ...".
    pub fn words(&self) -> String {
        let because = if self.reason.is_empty() { "" } else { ": " };
        format!(
            "{} froze all buying at {}{because}{}; `spotwise unfreeze` ends it",
            self.by, self.since, self.reason
        )
    }
}
