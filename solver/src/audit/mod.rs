//! Whether a plan is one, and how near it comes to the best.

pub(crate) mod check;
pub(crate) mod reserved;
pub(crate) mod violation;
pub(crate) mod worth;
