//! An attempt that brings nothing is not repeated for ever.
