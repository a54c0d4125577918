//! The operator's pools file: read at start, and again whenever it changes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use spotwise_model::PoolSet;
use spotwise_model::pools_file::{MAX_FILE_BYTES, PoolsFile, PoolsFileErrors};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::capacity::{self, Clouds};
use crate::config::ServeConfig;

/// How often the file is looked at (wall time).
const LOOK: Duration = Duration::from_secs(2);

/// A pools file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PoolsError {
    /// It cannot be read.
    #[error("cannot read the pools file {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not one, or says what cannot be.
    #[error(transparent)]
    Invalid(#[from] PoolsFileErrors),
}

/// The pools that the operator wants.
#[derive(Debug)]
pub(super) struct OperatorsPools {
    path: Option<PathBuf>,
    config: Arc<ServeConfig>,
    clouds: Arc<Clouds>,
    first: PoolSet,
}

impl OperatorsPools {
    /// Those of the file; without one, this machine.
    pub(super) fn open(
        path: Option<PathBuf>,
        config: Arc<ServeConfig>,
        clouds: Arc<Clouds>,
    ) -> Result<Self, PoolsError> {
        let first = match &path {
            Some(path) => read(path, &config, &clouds)?,
            None => capacity::only_pool(&config),
        };
        Ok(Self { path, config, clouds, first })
    }

    /// The pools as the file says at any time, until `shutdown`. A file that cannot be used
    /// changes nothing.
    pub(super) fn watch(self, shutdown: CancellationToken) -> watch::Receiver<PoolSet> {
        let (sender, receiver) = watch::channel(self.first);
        let Some(path) = self.path else { return receiver };
        let (config, clouds) = (self.config, self.clouds);
        tokio::spawn(async move {
            let mut seen = changed_at(&path);
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(LOOK) => {}
                }
                let now = changed_at(&path);
                if now == seen {
                    continue;
                }
                seen = now;
                match read(&path, &config, &clouds) {
                    Ok(set) => {
                        let news = sender.send_if_modified(|known| {
                            let news = *known != set;
                            *known = set;
                            news
                        });
                        tracing::info!(path = %path.display(), news, "the pools file was read again");
                    }
                    Err(error) => {
                        tracing::error!(%error, "the pools file is left aside; the pools stay");
                    }
                }
            }
        });
        receiver
    }
}

fn changed_at(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read(path: &Path, config: &ServeConfig, clouds: &Clouds) -> Result<PoolSet, PoolsError> {
    let failed = |source| PoolsError::Read { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > MAX_FILE_BYTES as u64 {
        let what = format!("it has {size} bytes, more than {MAX_FILE_BYTES}");
        return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, what)));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let file = PoolsFile::parse(&text, &path.display().to_string())?;
    clouds.describe(file.clouds.clone());
    Ok(capacity::pools_of(file, config))
}
