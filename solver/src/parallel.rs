//! Work on many jobs at once. Chunks and their order depend on the items alone,
//! so that the answer is the same for any number of threads.

use std::thread;

/// More threads than this gain nothing: the work is bound by memory.
const MAX_THREADS: usize = 8;

/// Applies `work` to chunks of `size` items, with the index of the first item
/// of each; the answers are in the order of the chunks.
pub(crate) fn in_chunks<T: Sync, R: Send>(
    items: &[T],
    size: usize,
    work: impl Fn(usize, &[T]) -> R + Sync,
) -> Vec<R> {
    let size = size.max(1);
    let chunks = items.len().div_ceil(size);
    // To ask for the number of threads reads files: not for a small round.
    let threads = || thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let threads = if chunks <= 1 { 1 } else { threads() };
    if threads <= 1 {
        return items.chunks(size).enumerate().map(|(n, chunk)| work(n * size, chunk)).collect();
    }
    let work = &work;
    let of_thread = move |thread: usize| {
        let mine = items.chunks(size).enumerate().skip(thread).step_by(threads);
        mine.map(|(n, chunk)| (n, work(n * size, chunk))).collect::<Vec<_>>()
    };
    let mut answers: Vec<(usize, R)> = thread::scope(|scope| {
        let running: Vec<_> =
            (0..threads.min(chunks)).map(|t| scope.spawn(move || of_thread(t))).collect();
        running
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|e| std::panic::resume_unwind(e)))
            .collect()
    });
    answers.sort_by_key(|(n, _)| *n);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_back_in_their_order() {
        let items: Vec<usize> = (0..1_001).collect();
        let sums = in_chunks(&items, 10, |first, chunk| (first, chunk.iter().sum::<usize>()));
        assert_eq!(sums.len(), 101);
        assert!(sums.iter().enumerate().all(|(n, (first, _))| n * 10 == *first));
        assert_eq!(sums.iter().map(|(_, sum)| sum).sum::<usize>(), 500_500);
        assert!(in_chunks(&[] as &[u8], 0, |_, _| ()).is_empty());
    }
}
