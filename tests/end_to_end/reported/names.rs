//! Names, words and environments mean what users expect.
