//! Room is kept for who must run, and others fill what is left.
