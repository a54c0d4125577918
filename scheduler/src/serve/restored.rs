//! After a restore: jobs that were accepted after the backup are gone from the
//! database, and yet their folders, and maybe their workers, are there. Their
//! numbers are not given again, so that no new job meets an old one's traces.

use std::path::Path;

use crate::config::Config;

/// The highest number of a job that the data folder knows of; 0 for none.
pub(super) fn highest_job(config: &Config) -> u64 {
    let folders =
        [config.work_dir(), config.logs_dir(), config.checkpoints_dir(), config.outputs_dir()];
    folders.iter().map(|folder| highest_in(folder)).max().unwrap_or(0)
}

/// Names are those of jobs (`j17`) or of attempts (`j17.2-0.log`).
fn highest_in(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let numbers = entries.flatten().filter_map(|entry| {
        let name = entry.file_name();
        let digits = name.to_str()?.strip_prefix('j')?;
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits.get(..end)?.parse().ok()
    });
    numbers.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_the_names_of_folders_and_files() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(highest_in(folder.path()), 0);
        for name in ["j17", "j9.2-0.log", "j101.1-0", "jobs", "k7000", "j"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(highest_in(folder.path()), 101);
        assert_eq!(highest_in(&folder.path().join("nowhere")), 0);
    }
}
