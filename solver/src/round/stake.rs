//! What deciding needs of a valued job: what it may take, and what it costs to leave it
//! waiting.

use jiff::Timestamp;
use spotwise_model::time::hours;

use super::{Ask, BUCKET_RATIO, BUCKETS, Kind, Pair};
use crate::bands::{extra_of, is_wished};
use crate::choice::{Case, LEAST_WAIT, MUST_GO_HOURS, hourly, options, weight};
use crate::ends::reach;
use crate::market::{Listing, Market};
use crate::scarcity::{Later, LaterPrices};
use crate::value::{Estimate, Standing, affordable, kind_allows};

/// What waiting costs a job, before the lifetimes of machines are known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stake {
    pub(super) must_go: bool,
    /// Whether it waits for spot where it gets none, rather than go on demand now.
    pub(super) may_wait: bool,
    /// Dollars of its way out on on-demand.
    pub(super) way_out: f64,
    /// The most that the operator's wishes cost it.
    pub(super) wishes: f64,
    /// Dollars an hour of its machines, by its weight.
    pub(super) hourly: f64,
}

/// Keeps of a valued job what deciding needs.
pub(super) fn ask<'a>(case: &Case<'a>, market: &Market<'_>, now: Timestamp) -> Ask<'a> {
    let listings = &market.listings;
    let mut kinds: Vec<Kind> = Vec::new();
    let options = options(case, listings);
    let mut pairs = Vec::with_capacity(options.len());
    pairs.extend(options.iter().filter_map(|(estimate, lateness)| {
        let group = listings.get(estimate.listing)?.group;
        let kind = Kind { group, share: estimate.share };
        let at = kinds.iter().position(|known| *known == kind).unwrap_or_else(|| {
            kinds.push(kind);
            kinds.len() - 1
        });
        let seconds = estimate.occupied.as_secs_f64().max(1.0);
        // At least 0; what is beyond the last bucket is in it.
        let bucket = ((seconds.ln() / BUCKET_RATIO.ln()) as usize).min(BUCKETS - 1);
        Some(Pair {
            listing: u32::try_from(estimate.listing).ok()?,
            cell: 0,
            bucket: u16::try_from(bucket).ok()?,
            kind: u16::try_from(at).ok()?,
            hours: (hours(estimate.occupied) as f32).max(f32::MIN_POSITIVE),
            extra: *lateness as f32,
        })
    }));
    let first = options.first().map(|(estimate, _)| *estimate);
    // Waiting carries the most that a wish costs: wishes never make a job wait.
    let wishes = options.iter().map(|(e, _)| extra_of(case, e, listings)).fold(0.0, f64::max);
    let longest = case.estimates.iter().filter_map(|e| listings.get(e.listing));
    let longest = longest.map(|listing| listing.changeover).max().unwrap_or_default();
    Ask {
        job: case.job,
        number: 0,
        nodes: case.nodes,
        latest_start: case.latest_start(),
        wait: 0.0,
        kinds: kinds.into(),
        blocked: pairs.is_empty() && is_blocked(case, listings),
        pairs: pairs.into(),
        must_go: case.must_go(),
        reach: reach(case.job, longest),
        wished: is_wished(case),
        later: Later::of(case, market, now),
        stake: Stake {
            must_go: case.must_go(),
            may_wait: may_wait(case, &options, listings),
            wishes,
            way_out: case.net.as_ref().map_or(0.0, |net| net.bought) + wishes,
            hourly: hourly(case, first, listings) * weight(case.job),
        },
    }
}

/// Whether machines hold a job and none of them is free.
fn is_blocked(case: &Case<'_>, listings: &[Listing<'_>]) -> bool {
    let mut suitable = case.estimates.iter().filter_map(|e| Some((e, listings.get(e.listing)?)));
    let mut suits = false;
    let free = suitable.any(|(e, listing)| {
        let takes = kind_allows(case.job, listing) && affordable(case.job, e);
        suits |= takes;
        takes && listing.has_room(&e.share, case.nodes)
    });
    suits && !free
}

/// A job behind its pace that may go on demand now does, where it gets no spot.
fn may_wait(case: &Case<'_>, options: &[(&Estimate, f64)], listings: &[Listing<'_>]) -> bool {
    let stays = |e: &Estimate| listings.get(e.listing).is_some_and(|l| !l.is_spot());
    case.standing == Standing::Ahead || !options.iter().any(|(e, _)| stays(e))
}

/// What leaving a job waiting costs: its way out on on-demand, and more the
/// more it matters. A job that must go gains by anything that it may take;
/// another takes nothing dearer than its way out. Where there is no choice,
/// waiting is no one's fault and costs nothing. Where later machines have prices, a
/// job that can wait for them loses no more than its cheapest later start.
pub(super) fn wait_cost(
    ask: &Ask<'_>,
    market: &Market<'_>,
    lifetimes: &[Vec<f64>],
    later: Option<&LaterPrices>,
) -> f64 {
    if ask.pairs.is_empty() {
        return 0.0;
    }
    let life = |pair: &Pair| {
        let lives = lifetimes.get(pair.listing());
        lives.and_then(|lives| lives.get(pair.bucket())).copied().unwrap_or(0.0)
    };
    let dearest = ask.pairs.iter().map(|pair| {
        let machine = market.listings.get(pair.listing()).map_or(0.0, |l| l.marginal(life(pair)));
        pair.extra() + machine * f64::from(ask.nodes)
    });
    let dearest = dearest.fold(0.0, f64::max);
    let Stake { must_go, may_wait, way_out, wishes, hourly } = ask.stake;
    if must_go {
        return dearest + hourly * MUST_GO_HOURS + LEAST_WAIT;
    }
    // As much longer as its bucket makes any of its choices.
    let longer = ask
        .pairs
        .iter()
        .map(|pair| life(pair) / pair.hours().max(f64::MIN_POSITIVE))
        .filter(|ratio| *ratio <= BUCKET_RATIO)
        .fold(1.0, f64::max);
    let out = way_out * longer;
    let starts = later.filter(|_| may_wait);
    let starts = starts.and_then(|later| later.later_start(ask.nodes, &ask.later));
    // A machine that nobody else wants is taken, whatever later ones may cost.
    let waits = starts.map_or(out, |dollars| ((dollars + wishes) * longer).max(dearest).min(out));
    waits + hourly + LEAST_WAIT
}
