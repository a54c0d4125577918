//! What a policy is.

use super::place::JobLocation;
use super::view::View;

/// Chooses where a job is for the next step. A policy may remember what it has
/// seen; it is made anew for every window.
pub trait Policy {
    /// As on the command line.
    fn name(&self) -> &'static str;
    /// Where the job is during the step that begins now. A spot machine that is
    /// not available counts as [`JobLocation::Idle`].
    fn choose(&mut self, view: &View<'_>) -> JobLocation;
}
