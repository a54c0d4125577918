//! A recorded market of one machine type: steps x zones.

/// A zone during a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedStep {
    /// Whether as many machines as the job needs can be had, and kept.
    pub available: bool,
    /// Micro-dollars an hour for them; the last one known while there are none.
    pub price_micros: i64,
}

/// One zone of a market.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedZone {
    /// Its name.
    pub name: String,
    /// How many of `quotes` lie before the market begins: an earlier recording,
    /// in the market's steps.
    pub before: usize,
    /// One a step, oldest first.
    pub quotes: Vec<RecordedStep>,
}

/// A recorded market of one machine type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedMarket {
    step_seconds: u32,
    steps: usize,
    on_demand_micros: i64,
    zones: Vec<RecordedZone>,
}

/// A market that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MarketError {
    /// A step of no length.
    #[error("`step_seconds` must be at least 1")]
    NoStep,
    /// Costs are told as a share of this price.
    #[error("the on-demand price must be above zero")]
    NoOnDemandPrice,
    /// A price below zero.
    #[error("zone {zone} has a price below zero")]
    NegativePrice {
        /// The zone.
        zone: String,
    },
    /// There is nothing to choose from.
    #[error("a market needs at least one zone")]
    NoZone,
    /// The same zone twice.
    #[error("zone {zone} is named twice")]
    ZoneTwice {
        /// The zone.
        zone: String,
    },
    /// A zone is longer or shorter than the market.
    #[error("zone {zone} has {quotes} quotes of its own for {steps} steps")]
    WrongLength {
        /// The zone.
        zone: String,
        /// Quotes from the market's first step on.
        quotes: usize,
        /// Steps of the market.
        steps: usize,
    },
}

impl RecordedMarket {
    /// A market of `steps` steps.
    pub fn new(
        step_seconds: u32,
        steps: usize,
        on_demand_micros: i64,
        zones: Vec<RecordedZone>,
    ) -> Result<Self, MarketError> {
        if step_seconds == 0 {
            return Err(MarketError::NoStep);
        }
        if on_demand_micros <= 0 {
            return Err(MarketError::NoOnDemandPrice);
        }
        if zones.is_empty() {
            return Err(MarketError::NoZone);
        }
        let mut seen = std::collections::BTreeSet::new();
        for zone in &zones {
            let name = || zone.name.clone();
            if !seen.insert(&zone.name) {
                return Err(MarketError::ZoneTwice { zone: name() });
            }
            let quotes = zone.quotes.len().saturating_sub(zone.before);
            if zone.before > zone.quotes.len() || quotes != steps {
                return Err(MarketError::WrongLength { zone: name(), quotes, steps });
            }
            if zone.quotes.iter().any(|quote| quote.price_micros < 0) {
                return Err(MarketError::NegativePrice { zone: name() });
            }
        }
        Ok(Self { step_seconds, steps, on_demand_micros, zones })
    }

    /// Seconds of a step.
    pub fn step_seconds(&self) -> u32 {
        self.step_seconds
    }

    /// How many steps there are.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Micro-dollars an hour on demand.
    pub fn on_demand_micros(&self) -> i64 {
        self.on_demand_micros
    }

    /// The zones, in the order in which ties are broken.
    pub fn zones(&self) -> &[RecordedZone] {
        &self.zones
    }

    /// A zone during a step of the market; none outside of it.
    pub fn quote(&self, zone: usize, step: usize) -> Option<RecordedStep> {
        let zone = self.zones.get(zone)?;
        zone.quotes.get(zone.before.checked_add(step)?).copied()
    }

    /// What can be had in a zone during a step.
    pub fn price_if_available(&self, zone: usize, step: usize) -> Option<i64> {
        self.quote(zone, step).filter(|quote| quote.available).map(|quote| quote.price_micros)
    }

    /// Everything known of a zone up to and including a step of the market.
    pub(super) fn up_to(&self, zone: usize, step: usize) -> &[RecordedStep] {
        let Some(zone) = self.zones.get(zone) else { return &[] };
        let end = zone.before.saturating_add(step).saturating_add(1).min(zone.quotes.len());
        zone.quotes.get(..end).unwrap_or(&[])
    }
}
