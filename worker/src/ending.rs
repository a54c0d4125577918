//! The last words of a worker: kept until they are heard.

use std::path::PathBuf;
use std::time::Duration;

use spotwise_api::v1::ReportRequest;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::folder::Folder;
use crate::link::Link;
use crate::output::Level;
use crate::supervise::Order;
use crate::{reports, ship};

/// How long the last words are repeated to a scheduler that is away.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// Says what an earlier worker of this folder could not: the rest of the
/// output, then its reports.
pub(crate) async fn repeat(link: Link, folder: &Folder, words: Vec<ReportRequest>) {
    let bytes = std::fs::metadata(folder.log()).map_or(0, |metadata| metadata.len());
    let (_level, level) = watch::channel(Level { bytes, drained: true, closed: true });
    let mut voice = Voice::start(link, folder.log(), level);
    voice.finish(words).await;
}

/// The tasks that speak to the scheduler: one ships output, one reports.
pub(crate) struct Voice {
    tasks: JoinSet<()>,
    reports: Option<mpsc::UnboundedSender<ReportRequest>>,
    orders: mpsc::Receiver<Order>,
}

impl Voice {
    /// Starts both.
    pub(crate) fn start(link: Link, log: PathBuf, level: watch::Receiver<Level>) -> Self {
        let (orders_sender, orders) = mpsc::channel(1);
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(reports::say(link.clone(), receiver, orders_sender));
        tasks.spawn(ship::ship(link, log, level));
        Self { tasks, reports: Some(sender), orders }
    }
}
