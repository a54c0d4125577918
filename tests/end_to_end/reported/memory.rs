//! Memory is measured, limited where that is possible, and its end is told apart.
