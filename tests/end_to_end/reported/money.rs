//! A period's cost is what was consumed in it, and a closed period stays.
