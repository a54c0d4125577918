//! Recorded data that tests read: it is kept next to the repository and not part of it.

use std::path::{Path, PathBuf};

/// The variable that says where the data is, if it is not in `../shared/data` next to the
/// repository.
const VARIABLE: &str = "SPOTWISE_TEST_DATA";

/// A file or folder of the data. `None` if it is missing, which the output of the test
/// says.
///
/// # Panics
///
/// If it is missing in CI (`CI=true`): there every test runs.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub fn recorded(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let path = std::env::var_os(VARIABLE).map_or_else(beside, PathBuf::from).join(name);
    if path.exists() {
        return Some(path);
    }
    let missing = format!("there is no {} ({VARIABLE} says where the data is)", path.display());
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{missing}");
    eprintln!("skipped: {missing}");
    None
}
