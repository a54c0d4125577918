//! Output is bytes: it comes back as it was written.
