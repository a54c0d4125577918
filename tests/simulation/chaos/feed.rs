//! What goes wrong with the price feed, and until when.

use super::faults::Kind;
use super::time::Ms;

/// Until when the feed does what it should not.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    pub(super) silent: Ms,
    /// From when to when it was silent, whoever asked.
    pub(super) silences: Vec<(Ms, Ms)>,
    pub(super) absurd: Ms,
    pub(super) disordered: Ms,
}

impl Feed {
    pub(crate) fn strike(&mut self, kind: Kind, now: Ms, until: Ms) {
        match kind {
            Kind::FeedSilent => {
                self.silences.push((now, until));
                self.silent = until;
            }
            Kind::FeedAbsurd => self.absurd = until,
            Kind::FeedDisordered => self.disordered = until,
            _ => {}
        }
    }
}
