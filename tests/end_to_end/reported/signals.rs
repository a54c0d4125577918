//! Who gets a signal is a choice, and no job inherits ignored ones.
