//! Outputs belong to a job over all its attempts, also when it fails.
