//! How far a backtest is, on a terminal's standard error.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Between two lines.
const PAUSE: Duration = Duration::from_millis(200);

/// A line that is written over again and again; nothing where nobody looks.
pub(super) struct Progress {
    last: Option<Mutex<Instant>>,
}

impl Progress {
    /// Silent where standard error is no terminal.
    pub(super) fn new() -> Self {
        Self { last: std::io::stderr().is_terminal().then(|| Mutex::new(Instant::now())) }
    }

    /// Says how far it is.
    pub(super) fn show(&self, done: usize, of: usize, what: &str) {
        let Some(last) = &self.last else { return };
        // A thread that finds another one writing has nothing newer to say.
        let Ok(mut last) = last.try_lock() else { return };
        if last.elapsed() >= PAUSE {
            *last = Instant::now();
            let _ = write!(std::io::stderr(), "\r\x1b[K{done}/{of} {what}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.last.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
