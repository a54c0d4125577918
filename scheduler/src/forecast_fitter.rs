//! Has forecasts fitted outside the loop, one at a time.

use std::time::{Duration, Instant};

use spotwise_solver::Forecast;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::handle::Handle;
use crate::planner::NICE;
use spotwise_control::phase::forecast::Fit;

/// The fit in progress.
#[derive(Default)]
pub(crate) struct ForecastFitter {
    running: Option<oneshot::Receiver<Forecast>>,
    missing: Option<Instant>,
}

/// The longest that a plan waits for forecasts never fitted before (wall time): all of a
/// large catalogue take a second.
const FIRST_FITS: Duration = Duration::from_secs(2);

impl ForecastFitter {
    /// Whether one is in progress, or waits to be collected.
    pub(crate) fn is_busy(&self) -> bool {
        self.running.is_some()
    }

    /// Records whether forecasts that jobs ask for are missing.
    pub(crate) fn note(&mut self, missing: bool) {
        self.missing = missing.then(|| self.missing.unwrap_or_else(Instant::now));
    }

    /// How much longer a plan waits for them.
    pub(crate) fn holds_plans(&self) -> Duration {
        self.missing.map_or(Duration::ZERO, |since| FIRST_FITS.saturating_sub(since.elapsed()))
    }

    /// The forecast that was being fitted, once it is ready.
    pub(crate) fn finished(&mut self) -> Option<Forecast> {
        let answer = self.running.as_mut()?.try_recv();
        if !matches!(answer, Err(TryRecvError::Empty)) {
            self.running = None;
        }
        if let Err(TryRecvError::Closed) = answer {
            tracing::error!("a forecast could not be fitted; it is asked for again");
        }
        answer.ok()
    }

    /// Begins a fit, and wakes the loop when it is ready.
    pub(crate) fn begin(&mut self, fit: Fit, handle: &Handle) {
        let (sender, receiver) = oneshot::channel();
        let handle = handle.clone();
        let work = move || {
            // Refused only to raise.
            let _ = rustix::process::nice(NICE);
            // The loop may have ended.
            let _ = sender.send(fit.run());
            handle.wake();
        };
        match std::thread::Builder::new().name("fitter".to_owned()).spawn(work) {
            Ok(_) => self.running = Some(receiver),
            Err(error) => tracing::error!(%error, "no thread for a fit; asked again"),
        }
    }
}
