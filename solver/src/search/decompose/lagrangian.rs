//! What every job would take under some prices, and what the prices become by it.

use spotwise_model::mig::FRESH_MEASURES;
use spotwise_model::resources::GPU_UNITS;
use spotwise_model::{NodeShape, Share};

use super::limit_scopes::LimitScopes;
use super::usage::Usage;
use crate::parallel::in_chunks;
use crate::statement::demand::{Candidate, JobDemand};
use crate::statement::market::Listing;
use crate::statement::prices::{
    ListingPrice, Prices, RESOURCES, add, dot, left_of, most, parts, pool_left, sum, takes, whole,
};
use crate::statement::round::Round;

/// Jobs that one thread prices at a time.
const CHUNK: usize = 4_096;

/// What stays the same from step to step.
pub(crate) struct Lagrangian<'r, 'a> {
    round: &'r Round<'a>,
    /// Jobs that have any candidate.
    pub(crate) asking: usize,
    listings: Vec<Scope>,
    /// Whether a candidate's cost is one look into that table: nothing runs yet, and
    /// no pool has a limit.
    plain: bool,
    /// Whether any job takes a slice.
    slices: bool,
    /// The part of a machine that each kind of each demand takes with all nodes.
    factors: Vec<Box<[f64]>>,
    pool_left: Vec<[u64; RESOURCES]>,
    /// What all jobs would pay at most for all that a pool has left.
    pool_worth: f64,
    limits: LimitScopes<'r, 'a>,
}

/// A listing as the prices see it.
struct Scope {
    openable: f64,
    /// What jobs would pay for one of its machines on average: the measure of a
    /// step.
    worth: f64,
    weights: [f64; RESOURCES],
    pool: Option<usize>,
    machines_used: f64,
    /// What is left on its running machines, all together and the most on one.
    left: [u64; RESOURCES],
    most: [u64; RESOURCES],
}

/// Dollars of a machine of each listing and lifetime.
pub(crate) struct Table(Vec<f64>);

impl<'r, 'a> Lagrangian<'r, 'a> {
    pub(crate) fn new(round: &'r Round<'a>) -> Self {
        let slices = round.demands.iter().any(JobDemand::takes_slice);
        let weights = weights(round, slices);
        let factors = factors(round, slices, &weights);
        let worths = worths(round, &factors);
        let names: Vec<_> = round.market.limits.keys().collect();
        let listings = round.market.listings.iter().map(|listing| {
            let pool = names.iter().position(|name| **name == &listing.offer.key.pool);
            let left = listing.used.iter().map(|(_, free)| left_of(free));
            Scope {
                openable: listing.openable() as f64,
                worth: worths.get(listing.group).copied().unwrap_or(0.0),
                weights: weights.get(listing.group).copied().unwrap_or_default(),
                pool,
                left: left.clone().fold([0; RESOURCES], sum),
                most: left.fold([0; RESOURCES], most),
                machines_used: listing.used.len() as f64,
            }
        });
        let listings: Vec<Scope> = listings.collect();
        let limits = round.market.limits.values();
        let pool_left = limits.map(|limit| {
            let gpus = limit.gpus.map_or(u64::MAX, |gpus| u64::from(gpus) * GPU_UNITS);
            pool_left(limit, gpus)
        });
        let machines = listings.iter().map(|scope| (scope.openable, scope.worth));
        let limits = LimitScopes::new(&round.market, &machines.collect::<Vec<_>>());
        Self {
            round,
            limits,
            asking: round.demands.iter().filter(|demand| !demand.candidates.is_empty()).count(),
            plain: listings.iter().all(|scope| scope.pool.is_none() && scope.machines_used <= 0.0),
            listings,
            slices,
            factors,
            pool_left: pool_left.collect(),
            pool_worth: round.demands.iter().map(|demand| demand.wait).sum(),
        }
    }

    /// Nothing is scarce.
    pub(crate) fn start(&self) -> Prices {
        let free = |scope: &Scope| ListingPrice { weights: scope.weights, ..Default::default() };
        Prices {
            listings: self.listings.iter().map(free).collect(),
            pools: vec![[0.0; RESOURCES]; self.pool_left.len()],
            limits: self.limits.start(),
        }
    }

    pub(crate) fn table(&self, prices: &Prices) -> Table {
        let rows = self.round.market.listings.iter().zip(&self.round.lifetimes);
        let rows = rows.zip(&self.listings).zip(&prices.listings);
        let machines = rows.flat_map(|(((listing, lives), scope), price)| {
            let none = if scope.openable > 0.0 { 0.0 } else { f64::INFINITY };
            let none = none + prices.of_limits(listing);
            lives.iter().map(move |life| listing.marginal(*life) + price.shortage + none)
        });
        Table(machines.collect())
    }

    /// What each candidate of a job costs under the prices, into `dollars`.
    pub(crate) fn offered(
        &self,
        table: &Table,
        prices: &Prices,
        at: usize,
        demand: &JobDemand<'_>,
        dollars: &mut Vec<f64>,
    ) {
        let factors = self.factors.get(at).map_or(&[][..], |kinds| kinds);
        let machine =
            |candidate: &Candidate| table.0.get(candidate.cell()).copied().unwrap_or(f64::INFINITY);
        let opened = |candidate: &Candidate| {
            factors
                .get(candidate.kind())
                .map_or(f64::INFINITY, |factor| part_of(machine(candidate), *factor))
        };
        dollars.clear();
        if let (true, [factor]) = (self.plain, factors) {
            dollars.extend(
                demand
                    .candidates
                    .iter()
                    .map(|candidate| candidate.extra() + machine(candidate) * factor),
            );
        } else if self.plain {
            dollars.extend(
                demand.candidates.iter().map(|candidate| candidate.extra() + opened(candidate)),
            );
        } else {
            let special = |candidate| self.special(prices, demand, candidate, opened(candidate));
            let of = |candidate| special(candidate).map_or(f64::INFINITY, |(dollars, _)| dollars);
            dollars.extend(demand.candidates.iter().map(of));
        }
    }

    /// What a candidate costs where there are running machines or a pool's limit,
    /// and how many of its nodes would go to running machines.
    fn special(
        &self,
        prices: &Prices,
        demand: &JobDemand<'_>,
        candidate: &Candidate,
        opened: f64,
    ) -> Option<(f64, f64)> {
        let scope = self.listings.get(candidate.listing())?;
        let price = prices.listings.get(candidate.listing())?;
        let add_use = demand.request(candidate);
        let listing = self.round.market.listings.get(candidate.listing())?;
        let takes = takes_of(&add_use.share, &listing.offer.shape, self.slices);
        let nodes = f64::from(demand.nodes);
        let fits = takes.iter().zip(&scope.most).all(|(take, most)| take <= most);
        let one_opened = opened / nodes;
        let one_used = if fits && scope.machines_used > 0.0 {
            self.round.share_cost(&add_use) + dot(&price.used, &parts(takes, scope.left))
        } else {
            f64::INFINITY
        };
        let on_used = if one_used < one_opened { nodes.min(scope.machines_used) } else { 0.0 };
        let mut dollars = candidate.extra();
        if on_used > 0.0 {
            dollars += one_used * on_used;
        }
        if on_used < nodes {
            dollars += one_opened * (nodes - on_used);
        }
        if let Some(pool) = scope.pool {
            let parts = parts(takes, *self.pool_left.get(pool)?);
            dollars += nodes * dot(prices.pools.get(pool)?, &parts);
        }
        Some((dollars, on_used))
    }

    /// What the jobs would take, each with the number of jobs like it, and each standing for
    /// `weight` of them. A job's choice is
    /// spread over what costs little more than its best, within `spread` of what
    /// a machine is worth: else all jobs would rush from one offer to the next.
    pub(crate) fn usage(
        &self,
        prices: &Prices,
        asking: &[(usize, f64)],
        weight: f64,
        spread: f64,
    ) -> Usage {
        let table = self.table(prices);
        let none = Usage {
            dollars: 0.0,
            opened: vec![0.0; self.listings.len()],
            used: vec![[0.0; RESOURCES]; self.listings.len()],
            pools: vec![[0.0; RESOURCES]; self.pool_left.len()],
        };
        let parts = in_chunks(asking, CHUNK, |_, chunk| {
            let mut usage = none.clone();
            let mut dollars = Vec::new();
            for (at, count) in chunk {
                let Some(demand) = self.round.demands.get(*at) else { continue };
                self.offered(&table, prices, *at, demand, &mut dollars);
                let (at, count) = (*at, *count);
                let choices =
                    Choices { lagrangian: self, table: &table, prices, at, demand, count };
                choices.add(&mut usage, &dollars, spread);
            }
            usage
        });
        let mut usage = parts.into_iter().reduce(Usage::plus).unwrap_or(none);
        usage.scale(weight);
        usage
    }

    /// The part of a machine that a candidate takes with all nodes.
    pub(crate) fn factor(&self, at: usize, candidate: &Candidate) -> f64 {
        self.factors.get(at).and_then(|kinds| kinds.get(candidate.kind())).copied().unwrap_or(0.0)
    }

    /// No plan costs less than what all jobs pay, less what is scarce.
    pub(crate) fn bound(&self, prices: &Prices, usage: &Usage) -> f64 {
        let listings =
            prices.listings.iter().zip(&self.listings).map(|(price, scope)| {
                price.shortage * scope.openable + price.used.iter().sum::<f64>()
            });
        let scarce = listings.sum::<f64>() + prices.pools.iter().flatten().sum::<f64>();
        usage.dollars - scarce - self.limits.worth(&prices.limits)
    }

    /// Makes dearer what is short, and cheaper what is left over.
    pub(crate) fn step(&self, prices: &mut Prices, usage: &Usage, length: f64) {
        let moved = |price: f64, worth: f64, excess: f64| {
            (price + length * worth * excess.clamp(-1.0, 1.0)).max(0.0)
        };
        let rows = prices.listings.iter_mut().zip(&self.listings);
        for ((price, scope), (opened, used)) in rows.zip(usage.opened.iter().zip(&usage.used)) {
            if scope.openable > 0.0 {
                let excess = (opened - scope.openable) / scope.openable;
                price.shortage = moved(price.shortage, scope.worth, excess);
            }
            let all = scope
                .left
                .iter()
                .zip(&scope.most)
                .map(|(all, most)| if *most > 0 { *all as f64 / *most as f64 } else { 0.0 });
            for ((price, used), machines) in price.used.iter_mut().zip(used).zip(all) {
                *price = moved(*price, scope.worth * machines, used - 1.0);
            }
        }
        for (price, part) in prices.pools.iter_mut().zip(&usage.pools) {
            for (price, part) in price.iter_mut().zip(part) {
                *price = moved(*price, self.pool_worth, part - 1.0);
            }
        }
        self.limits.step(&mut prices.limits, &usage.opened, moved);
    }
}

/// What one job would take under some prices.
struct Choices<'s, 'r, 'a> {
    lagrangian: &'s Lagrangian<'r, 'a>,
    table: &'s Table,
    prices: &'s Prices,
    at: usize,
    demand: &'s JobDemand<'a>,
    /// Jobs like it, itself among them.
    count: f64,
}

impl Choices<'_, '_, '_> {
    /// Adds them, `dollars` being what each candidate costs.
    fn add(&self, usage: &mut Usage, dollars: &[f64], spread: f64) {
        let (lagrangian, demand) = (self.lagrangian, self.demand);
        let best = dollars.iter().copied().fold(demand.wait, f64::min);
        usage.dollars += best * self.count;
        let priced = || dollars.iter().copied().zip(demand.candidates.iter());
        let Some((_, cheapest)) =
            priced().find(|(dollars, _)| *dollars <= best).or(priced().next())
        else {
            return;
        };
        let worth = lagrangian.listings.get(cheapest.listing()).map_or(0.0, |scope| scope.worth);
        let width = (spread * worth * lagrangian.factor(self.at, cheapest)).max(1e-9);
        let near = || priced().filter(|(dollars, _)| *dollars < best + width);
        let share = |dollars: f64| (1.0 - (dollars - best) / width).max(0.0).powi(2);
        let all = share(demand.wait) + near().map(|(dollars, _)| share(dollars)).sum::<f64>();
        for (dollars, candidate) in near() {
            self.add_use(usage, candidate, self.count * share(dollars) / all);
        }
    }

    fn add_use(&self, usage: &mut Usage, candidate: &Candidate, part: f64) -> Option<()> {
        let (lagrangian, demand) = (self.lagrangian, self.demand);
        let factor = lagrangian.factor(self.at, candidate);
        let opened = usage.opened.get_mut(candidate.listing())?;
        if lagrangian.plain {
            *opened += part * factor;
            return None;
        }
        let scope = lagrangian.listings.get(candidate.listing())?;
        let machine = self.table.0.get(candidate.cell())?;
        let (_, on_used) =
            lagrangian.special(self.prices, demand, candidate, part_of(*machine, factor))?;
        let nodes = f64::from(demand.nodes);
        *opened += part * factor * (1.0 - on_used / nodes);
        let listing = lagrangian.round.market.listings.get(candidate.listing())?;
        let takes = takes_of(&demand.share(candidate), &listing.offer.shape, lagrangian.slices);
        add(usage.used.get_mut(candidate.listing())?, parts(takes, scope.left), part * on_used);
        if let Some(pool) = scope.pool {
            let parts = parts(takes, *lagrangian.pool_left.get(pool)?);
            add(usage.pools.get_mut(pool)?, parts, part * nodes);
        }
        Some(())
    }
}

/// What a part of a machine costs. Where none can be opened that is no price, not even for a
/// job that takes nothing of what the machine is measured by.
fn part_of(machine: f64, factor: f64) -> f64 {
    if machine.is_finite() { machine * factor } else { f64::INFINITY }
}

/// By which resource a group's machines fill up: that which its jobs together
/// take the largest part of.
fn weights(round: &Round<'_>, slices: bool) -> Vec<[f64; RESOURCES]> {
    let first = |group: &Vec<usize>| round.market.listings.get(*group.first()?);
    let machines: Vec<_> = round.market.groups.iter().map(first).collect();
    let mut takes_all = vec![[0.0; RESOURCES]; machines.len()];
    for demand in &round.demands {
        for kind in demand.kinds.iter() {
            if let (Some(sum), Some(Some(machine))) =
                (takes_all.get_mut(kind.group), machines.get(kind.group))
            {
                let takes = takes_of(&kind.share, &machine.offer.shape, slices);
                add(sum, parts(takes, whole(machine)), f64::from(demand.nodes));
            }
        }
    }
    let fullest = |sums: [f64; RESOURCES]| {
        let most = sums.iter().copied().fold(0.0, f64::max);
        let first = sums.iter().position(|sum| *sum >= most).unwrap_or(0);
        std::array::from_fn(|r| f64::from(u8::from(r == first)))
    };
    takes_all.into_iter().map(fullest).collect()
}

fn factors(round: &Round<'_>, slices: bool, weights: &[[f64; RESOURCES]]) -> Vec<Box<[f64]>> {
    let of = |demand: &JobDemand<'_>, share: &Share, group: usize| {
        let first = *round.market.groups.get(group)?.first()?;
        let listing: &Listing<'_> = round.market.listings.get(first)?;
        let parts = parts(takes_of(share, &listing.offer.shape, slices), whole(listing));
        Some(f64::from(demand.nodes) * dot(weights.get(group)?, &parts))
    };
    let demand = |demand: &JobDemand<'_>| {
        demand.kinds.iter().map(|kind| of(demand, &kind.share, kind.group).unwrap_or(0.0)).collect()
    };
    round.demands.iter().map(demand).collect()
}

/// What waiting jobs would pay for a machine of each group, on average.
fn worths(round: &Round<'_>, factors: &[Box<[f64]>]) -> Vec<f64> {
    let mut sums = vec![(0.0, 0.0); round.market.groups.len()];
    for (demand, factors) in round.demands.iter().zip(factors) {
        for (kind, factor) in demand.kinds.iter().zip(factors) {
            if let Some((dollars, machines)) = sums.get_mut(kind.group) {
                *dollars += demand.wait;
                *machines += factor;
            }
        }
    }
    sums.into_iter().map(|(dollars, n)| if n > 0.0 { dollars / n } else { 0.0 }).collect()
}

/// What a share takes. Where nobody takes a slice one measure says it all: the
/// others stay without a price.
fn takes_of(share: &Share, shape: &NodeShape, slices: bool) -> [u64; RESOURCES] {
    let mut takes = takes(share, shape);
    if !slices {
        takes.iter_mut().take(FRESH_MEASURES).skip(1).for_each(|same| *same = 0);
    }
    takes
}
