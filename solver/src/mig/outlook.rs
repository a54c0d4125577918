//! What a layout is worth: the work that will be lost because of it.
//!
//! One GPU under Poisson arrivals and exponential lifetimes is a Markov decision
//! process over 723 layouts: an instance comes and gets the best start, or is
//! lost where none fits, or one that is there goes. Its relative values
//! (`losses`) say how much more compute is lost, in all time to come, from a
//! layout than from an empty GPU. They are summed over GPUs, which is one step of policy
//! improvement on splitting the stream evenly (Ott and Krishnan, "Separable
//! routing", 1992).

use spotwise_model::gpu::{MIG_COMPUTE_SLICES, MigProfile};

use super::geometry::{Geometry, PerProfile, State};

/// Requests seen before they weigh as much as the prior.
const PRIOR_REQUESTS: f64 = 12.0;
/// Beyond this weight all counts are halved, so that the mix follows the last
/// few thousand requests.
const MEMORY_REQUESTS: f64 = 8_192.0;
/// Sweeps of value iteration, and the change at which they stop.
const SWEEPS: usize = 3_000;
const SETTLED: f64 = 1e-6;

/// Which profiles are asked for, learnt from the requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    weights: PerProfile<f64>,
}

impl Demand {
    /// Nothing seen: every profile is as likely.
    pub fn unknown() -> Self {
        Self { weights: PerProfile::of(|_| PRIOR_REQUESTS / 6.0) }
    }

    /// A demand that is known; weights need not sum to one.
    pub fn known(weights: PerProfile<f64>) -> Self {
        Self {
            weights: PerProfile(weights.0.map(|w| if w.is_finite() { w.max(0.0) } else { 0.0 })),
        }
    }

    /// Learns from one request, whether it was placed or not.
    pub fn observe(&mut self, profile: MigProfile) {
        *self.weights.get_mut(profile) += 1.0;
        if self.weights.0.iter().sum::<f64>() > MEMORY_REQUESTS {
            self.weights = PerProfile(self.weights.0.map(|weight| weight / 2.0));
        }
    }

    /// Probability of each profile; even where nothing has any weight.
    pub fn mix(&self) -> PerProfile<f64> {
        let total: f64 = self.weights.0.iter().sum();
        PerProfile(self.weights.0.map(|w| if total > 0.0 { w / total } else { 1.0 / 6.0 }))
    }
}

/// The worth of every layout under one demand.
#[derive(Clone, Debug)]
pub struct Outlook {
    losses: Vec<f64>,
}

impl Outlook {
    /// Solves the process of one GPU whose offered load is its compute slices:
    /// about 0.1 s.
    pub fn new(geometry: &Geometry, demand: &Demand) -> Self {
        let mix = demand.mix();
        let mean: f64 = mix.iter().map(|(p, share)| share * f64::from(p.compute_slices())).sum();
        let rates = PerProfile(mix.0.map(|share| share * f64::from(MIG_COMPUTE_SLICES) / mean));
        let mut losses = vec![0.0; geometry.states().count()];
        for _ in 0..SWEEPS {
            let next = sweep(geometry, &rates, &losses);
            let change = next.iter().zip(&losses).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            losses = next;
            if change < SETTLED {
                break;
            }
        }
        Self { losses }
    }

    /// Compute slices x lifetimes that will be lost from a layout, beyond those
    /// from an empty GPU.
    pub fn loss(&self, state: State) -> f64 {
        self.losses.get(state.index()).copied().unwrap_or(0.0)
    }
}

/// One step of uniformised value iteration, relative to the empty GPU. A
/// lifetime is the unit of time.
fn sweep(geometry: &Geometry, rates: &PerProfile<f64>, losses: &[f64]) -> Vec<f64> {
    let loss = |state: State| losses.get(state.index()).copied().unwrap_or(0.0);
    let arrivals: f64 = rates.0.iter().sum();
    // At most seven instances can leave.
    let pace = arrivals + 7.0;
    let mut next: Vec<f64> = geometry
        .states()
        .map(|state| {
            let here = loss(state);
            let came = rates.iter().filter(|(_, rate)| **rate > 0.0).map(|(profile, rate)| {
                let adds = geometry.adds(state, profile).iter();
                let best = adds.map(|(_, with)| loss(*with)).min_by(f64::total_cmp);
                rate * best.unwrap_or(here + f64::from(profile.compute_slices()))
            });
            let came: f64 = came.sum();
            let removes = geometry.removes(state);
            let left: f64 = removes.iter().map(|without| loss(*without)).sum();
            let idle = pace - arrivals - removes.len() as f64;
            (came + left + idle * here) / pace
        })
        .collect();
    let empty = next.get(State::EMPTY.index()).copied().unwrap_or(0.0);
    next.iter_mut().for_each(|loss| *loss -= empty);
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(profile: MigProfile) -> Demand {
        Demand::known(PerProfile::of(|p| f64::from(u8::from(p == profile))))
    }

    /// Only 7g at load 1 is M/M/1/1: a busy GPU loses what comes until it is
    /// idle. Relative values of that chain, worked by hand: h = 7 x 1/2.
    #[test]
    fn one_slot_has_the_value_of_an_erlang_loss_system() {
        let geometry = Geometry::new();
        let outlook = Outlook::new(&geometry, &only(MigProfile::G7));
        let (_, busy) = *geometry.adds(State::EMPTY, MigProfile::G7).first().expect("fits");
        assert!((outlook.loss(busy) - 3.5).abs() < 1e-3, "{}", outlook.loss(busy));
    }

    #[test]
    fn a_small_slice_at_the_edge_costs_less_than_in_the_middle() {
        let geometry = Geometry::new();
        let mix = PerProfile([0.2, 0.0, 0.4, 0.3, 0.1, 0.0]);
        let outlook = Outlook::new(&geometry, &Demand::known(mix));
        let at = |wanted| {
            let adds = geometry.adds(State::EMPTY, MigProfile::G1).iter();
            adds.filter(|(start, _)| *start == wanted).map(|(_, s)| outlook.loss(*s)).sum::<f64>()
        };
        assert!(at(6) < at(0), "at 6 it leaves the place of the 4g");
    }

    #[test]
    fn a_demand_is_learnt_and_forgotten() {
        let mut demand = Demand::unknown();
        for _ in 0..20_000 {
            demand.observe(MigProfile::G1);
        }
        assert!(*demand.mix().get(MigProfile::G1) > 0.99);
        for _ in 0..40_000 {
            demand.observe(MigProfile::G3);
        }
        assert!(*demand.mix().get(MigProfile::G3) > 0.99);
        let broken = Demand::known(PerProfile([f64::NAN, -1.0, f64::INFINITY, 0.0, 0.0, 0.0]));
        assert!(broken.mix().0.iter().all(|share| (share - 1.0 / 6.0).abs() < 1e-12));
    }
}
