//! A quote knows dependencies, and cycles are found before anything is submitted.
