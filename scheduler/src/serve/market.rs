//! The market of a scheduler, and how its time follows ours.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use spotwise_model::Commitment;
use spotwise_model::time::{TimeScale, add};

use super::ServeError;
use crate::options::MarketChoice;
use spotwise_market::{Catalog, Declared, Market, MarketSource, SyntheticOptions};
use spotwise_store::Store;

/// The age of a synthetic market when the scheduler first looks at it, so that spells have
/// a history.
const PAST: SignedDuration = SignedDuration::from_hours(14 * 24);

/// The database stores under this key how market time follows ours.
const TIME_KEY: &str = "time";

/// What the database stores about market time.
#[derive(Serialize, Deserialize)]
struct RememberedTime {
    /// When a synthetic market was first looked at.
    origin: Timestamp,
    /// How market time follows wall time since the last change of speed.
    scale: TimeScale,
}

/// The market, and how its time follows ours: as at the first start of this database, so
/// that jobs that continued in the meantime are charged for it.
pub(super) async fn open(
    store: &Store,
    choice: &MarketChoice,
    catalog: &Catalog,
    speed: u32,
) -> Result<(Market, TimeScale), ServeError> {
    let wall = crate::clock::now();
    let remembered: Option<RememberedTime> =
        store.meta(TIME_KEY).await?.and_then(|text| serde_json::from_str(&text).ok());
    let first_start = match choice {
        MarketChoice::Synthetic { start, .. } => start.unwrap_or(wall),
        MarketChoice::File { .. } => wall,
    };
    let origin = remembered.as_ref().map_or(first_start, |time| time.origin);
    let source = match choice {
        MarketChoice::Synthetic { seed, turbulence, days, .. } => {
            let past_days = u32::try_from(PAST.as_hours() / 24).unwrap_or(0);
            MarketSource::Synthetic(SyntheticOptions {
                turbulence: *turbulence,
                days: days.saturating_add(past_days),
                ..SyntheticOptions::new(*seed, add(origin, -PAST))
            })
        }
        MarketChoice::File { path, .. } if path.extension().is_some_and(|end| end == "json") => {
            MarketSource::PriceHistory { path: path.clone() }
        }
        MarketChoice::File { path, start } => {
            MarketSource::Recording { path: path.clone(), start: *start }
        }
    };
    let market = spotwise_market::load(&source, catalog)?;
    let begin = match choice {
        MarketChoice::Synthetic { .. } => origin,
        MarketChoice::File { .. } => market.start(),
    };
    let scale = match remembered {
        Some(time) if time.scale.speed == speed => time.scale,
        Some(time) => {
            TimeScale { market_start: time.scale.at(wall).market, wall_start: wall, speed }
        }
        None => TimeScale { market_start: begin, wall_start: wall, speed },
    };
    let text = serde_json::to_string(&RememberedTime { origin, scale })
        .expect("times and numbers are JSON");
    store.set_meta(TIME_KEY, &text).await?;
    if scale.at(wall).market > market.end() {
        tracing::warn!("the market's recording is over: its last prices hold from here on");
    }
    Ok((market, scale))
}

/// The database stores the commitments under this key.
const COMMITMENTS_KEY: &str = "commitments";

/// The market with what is already paid for: what is declared now, and what the database
/// has stored, so that past periods are reported as they were.
pub(super) async fn apply_commitments(
    store: &Store,
    market: Market,
    declared: &Declared,
    now: Timestamp,
) -> Result<Market, ServeError> {
    let (declared, warnings) = declared.on(&market)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let remembered = store.meta(COMMITMENTS_KEY).await?;
    let known: Vec<Commitment> = match &remembered {
        Some(text) => serde_json::from_str(text).unwrap_or_else(|error| {
            tracing::error!(%error, "what the database remembers of commitments is not readable");
            Vec::new()
        }),
        None => Vec::new(),
    };
    let kept = spotwise_market::keep(known.clone(), &declared, now);
    if kept != known {
        let text = serde_json::to_string(&kept).expect("names, numbers and times are JSON");
        store.set_meta(COMMITMENTS_KEY, &text).await?;
    }
    Ok(market.with_commitments(kept))
}
