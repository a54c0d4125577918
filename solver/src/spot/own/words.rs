//! What an estimate rests on, for people.

use std::fmt;

use super::log::{Launch, OwnMarket};
use super::prior::StatedPrior;

/// What an estimate of one spot market rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RestsOn {
    /// Hours of machines of ours there.
    pub machine_hours: f64,
    /// How many of them were taken.
    pub interruptions: usize,
    /// The last launch, and how many hours ago it was.
    pub last_launch: Option<(Launch, f64)>,
    /// What was believed before.
    pub prior: StatedPrior,
}

impl RestsOn {
    /// Of a market at a time, in hours.
    pub fn of(market: &OwnMarket, prior: StatedPrior, now: f64) -> Self {
        Self {
            machine_hours: market.machine_hours(now),
            interruptions: market.interruptions(now),
            last_launch: market.last_launch(now).map(|launch| (launch, now - launch.at)),
            prior,
        }
    }
}

impl fmt::Display for RestsOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.interruptions == 1 { "" } else { "s" };
        match self.machine_hours {
            0.0 => f.write_str("nothing seen here")?,
            hours => write!(
                f,
                "{} machine-hours seen here, {} interruption{plural}",
                few_digits(hours),
                self.interruptions
            )?,
        }
        if let Some((launch, hours)) = self.last_launch {
            let what = if launch.granted { "granted" } else { "refused" };
            let ago = match hours {
                hours if hours < 1.0 => format!("{:.0} min", hours * 60.0),
                hours => format!("{} h", few_digits(hours)),
            };
            write!(f, "; last launch {what} {ago} ago")?;
        }
        write!(f, "; prior {}", self.prior)
    }
}

fn few_digits(hours: f64) -> String {
    if hours < 10.0 { format!("{hours:.1}") } else { format!("{hours:.0}") }
}
