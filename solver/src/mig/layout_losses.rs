//! What layouts are worth under a demand, solved once for each: [`Outlook`] takes
//! a tenth of a second.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use spotwise_model::mig::MigLayout;

use super::geometry::{Geometry, PerProfile};
use super::outlook::{Demand, Outlook};

/// Parts that a demand is rounded to, so that a job more or less makes no other
/// demand. There are 1,287 ways to deal eight parts to six profiles: few enough to
/// keep.
const PARTS: u64 = 8;

static GEOMETRY: LazyLock<Geometry> = LazyLock::new(Geometry::new);
static KNOWN: Mutex<BTreeMap<[u64; 6], Arc<LayoutLosses>>> = Mutex::new(BTreeMap::new());

/// The expected loss of every layout under one demand.
#[derive(Debug)]
pub struct LayoutLosses {
    outlook: Outlook,
}

impl LayoutLosses {
    /// Under a demand of so many requests for each profile, the smallest first.
    pub fn of(requests: [u32; 6]) -> Arc<Self> {
        let total: u64 = requests.iter().map(|n| u64::from(*n)).sum();
        let part = |n: u32| (u64::from(n) * 2 * PARTS + total).checked_div(2 * total).unwrap_or(1);
        let mix = requests.map(part);
        let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(&mix).cloned();
        known.unwrap_or_else(|| {
            let demand = Demand::known(PerProfile(mix.map(|part| part as f64)));
            let worth = Arc::new(Self { outlook: Outlook::new(&GEOMETRY, &demand) });
            let mut all = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
            all.insert(mix, worth.clone());
            worth
        })
    }

    /// Compute slices x lifetimes that will be lost from a layout beyond those
    /// from an empty GPU, in ten-thousandths.
    pub fn loss(&self, layout: MigLayout) -> i64 {
        (self.outlook.loss(GEOMETRY.state(layout)) * 10_000.0).round() as i64
    }
}

#[cfg(test)]
mod tests {
    use spotwise_model::gpu::MigProfile;

    use super::*;

    #[test]
    fn a_small_slice_leaves_the_half_that_is_asked_for() {
        let worth = LayoutLosses::of([50, 0, 0, 0, 50, 0]);
        let at = |start| MigLayout::EMPTY.with(MigProfile::G1, start).expect("legal");
        assert!(worth.loss(at(5)) < worth.loss(at(0)));
        assert!(worth.loss(MigLayout::EMPTY) == 0);
    }

    #[test]
    fn demands_that_are_nearly_alike_are_solved_once() {
        let one = LayoutLosses::of([100, 100, 0, 0, 0, 0]);
        assert!(Arc::ptr_eq(&one, &LayoutLosses::of([101, 99, 1, 0, 0, 0])));
        assert!(!Arc::ptr_eq(&one, &LayoutLosses::of([0, 100, 100, 0, 0, 0])));
        let none = LayoutLosses::of([0; 6]);
        assert!(Arc::ptr_eq(&none, &LayoutLosses::of([7; 6])), "nothing known is all alike");
    }
}
