//! What a job would cost and when it would be done, were it alone.

use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::quote::{Quote, Spread, Start};
use spotwise_model::time::{after, between, hours, whole_second};
use spotwise_model::{CapacityType, Money};

use crate::choice::{Case, assess, cheapest_spot};
use crate::explain::{alternatives, unschedulable};
use crate::input::{PlanInput, PlanJob};
use crate::market::{Listing, Market};
use crate::value::{Estimate, Net, expected_interruptions, kind_allows, rework, stretched};

/// How many other offers a quote names.
const ALTERNATIVES: usize = 3;
/// The span of which a quote tells the worth.
const TWO_HOURS: Duration = Duration::from_secs(7_200);
/// The standard normal's 90 % point, for many interruptions.
const NORMAL_P90: f64 = 1.2816;

/// Forecasts one job on the input's market, as it stands, without the input's
/// other jobs. Interruptions come as a Poisson process of the offer's hazard;
/// where they would cost the deadline, on-demand takes over at its latest start.
pub fn quote(input: &PlanInput, job: &PlanJob) -> Quote {
    let market = Market::new(input);
    let case = assess(job, input, &market);
    let (chosen, start) = choose(&case, &market);
    let none = alternatives(&market, &case, chosen, input.now, |_| false);
    let on_demand = case.net.as_ref().map(|net| &net.estimate).or_else(|| {
        cheapest(
            case.estimates.iter().filter(|e| listing(&market, e).is_some_and(|l| !l.is_spot())),
        )
    });
    let mut quote = Quote {
        cost: Spread { p50: Money::ZERO, p90: Money::ZERO },
        finish: Spread { p50: job.deadline, p90: job.deadline },
        deadline: job.deadline,
        offer: None,
        start,
        spot_share: 0.0,
        on_demand_cost: on_demand.map(Estimate::cost),
        two_more_hours: more_time(&case, &market, TWO_HOURS),
        alternatives: none.into_iter().take(ALTERNATIVES).collect(),
        unschedulable: None,
    };
    match chosen.and_then(|e| Some((e, listing(&market, e)?))) {
        Some((e, listing)) => forecast(&case, e, listing, input.now, &mut quote),
        None => quote.unschedulable = Some(unschedulable(&case, &input.offers)),
    }
    quote
}

/// What so much more time would save a job that can make use of it.
fn more_time(case: &Case<'_>, market: &Market<'_>, more: Duration) -> Option<Money> {
    let spec = &case.job.spec;
    if !spec.interruptible || !spec.resumable() || !case.net.as_ref()?.meets {
        return None;
    }
    let spot = cheapest_spot(case, &market.listings)?;
    let outlook = market.outlook(&listing(market, spot)?.offer.key)?;
    let of_machine = outlook.saved_by(spot.left, case.time_left?, more);
    Some(Money::estimate(of_machine * f64::from(case.nodes)))
}

fn listing<'m, 'a>(market: &'m Market<'a>, e: &Estimate) -> Option<&'m Listing<'a>> {
    market.listings.get(e.listing)
}

fn cheapest<'e>(estimates: impl Iterator<Item = &'e Estimate>) -> Option<&'e Estimate> {
    estimates.min_by(|a, b| a.alone.total_cmp(&b.alone))
}

/// What the job would take: the best that it may take now, else spot that it
/// waits for, else the cheapest that holds it.
fn choose<'c>(case: &'c Case<'_>, market: &Market<'_>) -> (Option<&'c Estimate>, Start) {
    let best = case
        .choices
        .iter()
        .min_by(|a, b| (a.lateness + a.estimate.alone).total_cmp(&(b.lateness + b.estimate.alone)));
    if let Some(best) = best {
        return (Some(&best.estimate), Start::Now);
    }
    let spot = cheapest_spot(case, &market.listings);
    if let (Some(spot), Some(net)) = (spot, &case.net)
        && net.meets
    {
        return (Some(spot), Start::Later { latest: net.latest_start });
    }
    let suitable = case
        .estimates
        .iter()
        .filter(|e| listing(market, e).is_some_and(|listing| kind_allows(case.job, listing)));
    (cheapest(suitable), Start::WhenFree)
}

fn forecast(
    case: &Case<'_>,
    e: &Estimate,
    listing: &Listing<'_>,
    now: Timestamp,
    quote: &mut Quote,
) {
    let job = case.job;
    let expected = expected_interruptions(job, listing, e.left);
    let whole = job.duration(listing.offer.shape.accelerator.as_ref());
    let each = rework(job, whole, e.left).saturating_add(listing.changeover);
    let hourly = listing.marginal_price() * f64::from(case.nodes);
    let net = case.net.as_ref().filter(|net| net.meets && listing.is_spot());
    let outcome = |interruptions: f64| {
        let span = e
            .left
            .saturating_add(listing.changeover)
            .saturating_add(stretched(each, interruptions));
        with_net(job.deadline, now, span, hourly, net)
    };
    let (p50, p90) = (outcome(poisson(expected, 0.5)), outcome(poisson(expected, 0.9)));
    // A start that waits may never get its spot: then on-demand does it all.
    let p90 = match (quote.start, net) {
        (Start::Later { latest }, Some(net)) => {
            let done = after(latest, net.estimate.left.saturating_add(net.changeover));
            (p90.0.max(net.estimate.alone), p90.1.max(done))
        }
        _ => p90,
    };
    quote.cost = Spread { p50: Money::estimate(p50.0), p90: Money::estimate(p90.0.max(p50.0)) };
    quote.finish = Spread { p50: p50.1, p90: p90.1.max(p50.1) };
    quote.offer = Some(listing.offer.key.clone());
    quote.spot_share = match listing.offer.key.capacity_type {
        CapacityType::Spot => spot_share(job.deadline, now, e.occupied, net),
        CapacityType::OnDemand | CapacityType::Reserved => 0.0,
    };
}

/// Dollars and finish of a span on spot; where it would be late, on-demand
/// takes over at its latest start and, at worst, does all of what was left.
fn with_net(
    deadline: Timestamp,
    now: Timestamp,
    span: Duration,
    hourly: f64,
    net: Option<&Net>,
) -> (f64, Timestamp) {
    let finish = whole_second(after(now, span));
    match net {
        Some(net) if finish > deadline => {
            let spot = hourly * hours(between(now, net.latest_start));
            (spot + net.estimate.alone, deadline)
        }
        _ => (hourly * hours(span), finish),
    }
}

fn spot_share(deadline: Timestamp, now: Timestamp, span: Duration, net: Option<&Net>) -> f64 {
    match net {
        Some(net) if after(now, span) > deadline => {
            let spot = hours(between(now, net.latest_start));
            let all = spot + hours(net.estimate.occupied);
            if all > 0.0 { spot / all } else { 0.0 }
        }
        _ => 1.0,
    }
}

/// The least number of events that a Poisson process of this mean stays within
/// with the chance `level`.
fn poisson(mean: f64, level: f64) -> f64 {
    // The sum below needs exp(-mean) above zero; so many events are normal.
    if mean > 500.0 {
        let beyond = if level > 0.5 { NORMAL_P90 * mean.sqrt() } else { 0.0 };
        return (mean + beyond).round();
    }
    let (mut count, mut chance) = (0.0, (-mean).exp());
    let mut within = chance;
    while within < level && count < 1_000.0 {
        count += 1.0;
        chance *= mean / count;
        within += chance;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{HOUR, at, gpu_offer, input, job, on_demand, spec, spot};
    use spotwise_model::plan::WhyNot;

    #[test]
    fn poisson_quantiles_are_the_tabled_ones() {
        let two: Vec<f64> = [0.5, 0.9].map(|level| poisson(2.0, level)).into();
        assert_eq!(two, [2.0, 4.0]);
        assert!(poisson(0.0, 0.9).abs() < 1e-9);
        assert!((poisson(10_000.0, 0.9) - 10_128.0).abs() < 1e-9);
    }

    #[test]
    fn a_quote_on_spot_says_what_interruptions_may_cost() {
        let mut offers = vec![spot("a", 1.0, 1), on_demand("a", 3.0, 1)];
        offers[0].hazard_per_hour = 0.2;
        let input = input(offers, vec![]);
        let quote = quote(&input, &job(1, spec(10 * HOUR), 0, 40));
        assert_eq!(quote.start, Start::Now);
        assert!(quote.cost.p50 > Money::estimate(10.0) && quote.cost.p50 < Money::estimate(13.0));
        assert!(quote.cost.p90 > quote.cost.p50 && quote.finish.p90 > quote.finish.p50);
        assert!((quote.spot_share - 1.0).abs() < 1e-9);
        assert_eq!(quote.alternatives.len(), 1);
        assert!(quote.on_demand_cost.is_some_and(|cost| cost > Money::estimate(30.0)));
    }

    #[test]
    fn a_quote_without_free_spot_waits_for_it() {
        let input = input(vec![spot("a", 1.0, 0), on_demand("a", 3.0, 1)], vec![]);
        let quote = quote(&input, &job(1, spec(10 * HOUR), 0, 40));
        assert!(
            matches!(quote.start, Start::Later { latest } if latest < at(30) && latest > at(29))
        );
        assert!(quote.cost.p90 >= quote.on_demand_cost.unwrap(), "at worst all on on-demand");
        assert_eq!(quote.alternatives[0].why_not, Some(WhyNot::Dearer));
    }

    #[test]
    fn a_quote_names_what_is_missing() {
        let input = input(vec![gpu_offer("a", "H100", 4, 30.0)], vec![]);
        let mut wants = spec(HOUR);
        crate::fixture::ask_gpus(&mut wants, "H100", 8);
        let quote = quote(&input, &job(1, wants, 0, 40));
        assert_eq!(
            quote.unschedulable.as_deref(),
            Some("asks 8 x H100; the largest offer with H100 has 4")
        );
    }
}
