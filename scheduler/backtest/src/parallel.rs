//! Independent runs, on every available processor.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::error::BacktestError;

/// Does all of `work` on every available processor; returns the results in the order of the
/// work, or the first error in that order.
pub(super) fn in_parallel<W: Sync, A: Send>(
    work: &[W],
    act: impl Fn(&W) -> Result<A, BacktestError> + Sync,
) -> Result<Vec<A>, BacktestError> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(work.len());
    let next = AtomicUsize::new(0);
    let take_all = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = work.get(at) else { return done };
            done.push((at, act(item)));
        }
    };
    let mut answers = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(take_all)).collect();
        let ended = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        let lists = ended.map(|end| end.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        lists.flatten().collect::<Vec<_>>()
    });
    answers.sort_by_key(|(at, _)| *at);
    answers.into_iter().map(|(_, answer)| answer).collect()
}
