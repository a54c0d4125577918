//! The quote of one job for the wire and as text.

use std::time::Duration;

use jiff::Timestamp;
use spotwise_api::convert::{time_text, transfer};
use spotwise_api::v1;
use spotwise_control::view::pools;
use spotwise_model::pool::PoolFeatures;
use spotwise_model::quote::{Quote, Start};
use spotwise_model::sharing::SoftSharing;
use spotwise_model::spec::GpuRequest;
use spotwise_model::time::{between, human};
use spotwise_model::{JobSpec, Money, Offer, Pool, PoolSet};
use spotwise_solver::PlanInput;

use super::commitments::{beside, is_reserved, paid_offer};

/// Unsaved work on spot triggers a warning from this length on.
const LONG_WITHOUT_CHECKPOINT: Duration = Duration::from_secs(3_600);

/// Jobs that run one after the other, at their best.
pub(super) struct Way {
    /// Their names, in order.
    pub(super) names: Vec<String>,
    /// From now to the end of the last one.
    pub(super) takes: Duration,
    /// When that is.
    pub(super) end: Timestamp,
}

/// A quote for the wire, without what the rest of its document contributes.
pub(super) fn job_quote(
    input: &PlanInput,
    pools: &PoolSet,
    spec: &JobSpec,
    quote: &Quote,
) -> v1::JobQuote {
    let offer = quote.offer.as_ref();
    let is_paid = offer.is_some_and(is_reserved);
    let too_small = pools::too_small(pools, &spec.resources);
    let too_small = too_small.map(|why| format!("it would wait for ever: {why}"));
    v1::JobQuote {
        name: spec.name.clone(),
        elements: 1,
        p50_micros: quote.cost.p50.micros(),
        p90_micros: quote.cost.p90.micros(),
        on_demand_micros: quote.on_demand_cost.map(Money::micros).unwrap_or_default(),
        start: match quote.start {
            _ if offer.is_none() => String::new(),
            Start::Now => time_text(input.now),
            Start::Later { latest } => time_text(latest),
            Start::WhenFree => String::new(),
        },
        finish_p50: offer.map(|_| time_text(quote.finish.p50)).unwrap_or_default(),
        finish_p90: offer.map(|_| time_text(quote.finish.p90)).unwrap_or_default(),
        deadline: time_text(quote.deadline),
        deadline_source: String::new(),
        after: Vec::new(),
        expected_micros: quote.expected_cost.micros(),
        transfer_micros: quote.transfer.micros(),
        transfer: transfer(quote.transfer, spec.data.as_ref()),
        two_more_hours_micros: quote.two_more_hours.map(Money::micros).unwrap_or_default(),
        expected_interruptions: quote.interruptions,
        spot_share: quote.spot_share,
        offer: offer
            .filter(|_| quote.start == Start::Now)
            .map(ToString::to_string)
            .unwrap_or_default(),
        reason: reason(quote, &input.offers),
        alternatives: quote.alternatives.iter().map(|other| beside(other, is_paid)).collect(),
        warnings: too_small.into_iter().chain(warnings(spec, quote, pools)).collect(),
    }
}

/// Why a deadline cannot be met, whatever is bought.
pub(super) fn unmeetable(way: &Way) -> String {
    let takes = human(way.takes);
    match way.names.as_slice() {
        [_] => format!(
            "its deadline cannot be met: on demand from now on it takes {takes}, until {}",
            time_text(way.end)
        ),
        names => format!(
            "its deadline cannot be met: on demand from now on {} take {takes}, until {}",
            names.join(" -> "),
            time_text(way.end)
        ),
    }
}

/// When and where it would start, as text.
pub(super) fn reason(quote: &Quote, offers: &[Offer]) -> String {
    let offer = quote.offer.as_ref();
    match (&quote.unschedulable, offer, quote.start) {
        (Some(detail), _, _) => format!("no machine holds it: {detail}"),
        (None, Some(offer), Start::Now) => {
            format!("would start now on {offer}{}", paid_offer(offers, offer))
        }
        (None, Some(offer), Start::Later { latest }) => format!(
            "would wait for {offer}, and start on demand at {} at the latest",
            time_text(latest)
        ),
        (None, Some(offer), Start::WhenFree) => {
            format!("would wait for any capacity that holds it, such as {offer}")
        }
        (None, None, _) => "no offer holds it now".to_owned(),
    }
}

fn warnings(spec: &JobSpec, quote: &Quote, pools: &PoolSet) -> Vec<String> {
    let pool = quote.offer.as_ref().and_then(|offer| pools.get(&offer.pool));
    let mut warnings = gpu_warnings(&spec.resources.gpus, pool);
    if let Some(pool) = pool.filter(|pool| spec.image.is_some() && !pool.features.containers) {
        let name = &pool.name;
        warnings.push(format!(
            "pool `{name}` has no container engine: its command runs without the image"
        ));
    }
    let long = spec.longest_expected_duration();
    if spec.interruptible
        && !spec.resumable()
        && quote.spot_share > 0.0
        && long > LONG_WITHOUT_CHECKPOINT
    {
        warnings.push(format!(
            "it runs for about {} and saves nothing: every interruption starts it over; \
             add `checkpoint`, or set `interruptible: false`",
            human(long)
        ));
    }
    if quote.offer.is_some() && quote.finish.p50 > quote.deadline {
        warnings.push(format!(
            "it is expected to be done {} after its deadline",
            human(between(quote.deadline, quote.finish.p50))
        ));
    } else if quote.offer.is_some() && quote.finish.p90 > quote.deadline {
        warnings.push("one time in ten it misses its deadline".to_owned());
    }
    if let Some(budget) = spec.budget.filter(|budget| quote.cost.p90 > *budget) {
        warnings.push(format!(
            "its budget of {} does not hold nine of ten outcomes ({})",
            budget.human(),
            quote.cost.p90.human()
        ));
    }
    warnings
}

/// What a part of a GPU does not provide.
fn gpu_warnings(gpus: &GpuRequest, pool: Option<&Pool>) -> Vec<String> {
    let mut warnings = Vec::new();
    let without = |has: fn(&PoolFeatures) -> bool| {
        pool.filter(|pool| !has(&pool.features)).map(|pool| &pool.name)
    };
    match gpus {
        GpuRequest::None | GpuRequest::Whole { .. } => {}
        GpuRequest::Slice { profile, .. } => {
            if let Some(name) = without(|features| features.mig) {
                warnings.push(format!(
                    "pool `{name}` applies no MIG layout: no {profile} slice is made for it, it \
                     sees the machine's GPUs as they are"
                ));
            }
        }
        GpuRequest::Shared { sharing: SoftSharing::Mps { memory_mib }, .. } => {
            warnings.push(format!(
                "it shares a GPU with other jobs, each held to its memory ({memory_mib} MiB for \
                 this one) by MPS, without isolation: they slow each other down, and a fault of \
                 one can end them all"
            ));
            if let Some(name) = without(|features| features.mps) {
                warnings.push(format!(
                    "pool `{name}` starts no MPS daemon: without one that runs already, nothing \
                     limits its GPU memory"
                ));
            }
        }
        GpuRequest::Shared { sharing: SoftSharing::TimeSlicing { jobs }, .. } => {
            warnings.push(format!(
                "it takes turns on a GPU with up to {} other jobs, without isolation: they slow \
                 each other down, nothing limits their memory, and one that takes too much of it \
                 makes the others fail",
                jobs.saturating_sub(1)
            ));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use spotwise_model::id::{InstanceType, PoolName, Zone};
    use spotwise_model::pool::{HostLimits, PoolKind};
    use spotwise_model::quote::Spread;
    use spotwise_model::spec::{Format, parse};
    use spotwise_model::{CapacityType, OfferKey};

    use super::*;

    /// What is said of a job with these resources on a pool.
    fn warned(resources: &str, pool: &str) -> String {
        let text = format!("name: a\ncommand: [x]\nresources: {resources}\n");
        let spec = parse(text.as_bytes(), Format::Yaml).unwrap().jobs.remove(0);
        let at = jiff::Timestamp::from_second(1_772_323_200).unwrap();
        let offer = OfferKey::recorded(
            PoolName::new(pool),
            Zone::new("us-east-1a"),
            InstanceType::new("g4dn.xlarge"),
            CapacityType::OnDemand,
        );
        let quote = Quote {
            expected_cost: Money::ZERO,
            cost: Spread { p50: Money::ZERO, p90: Money::ZERO },
            machines: (Money::ZERO, Spread { p50: Money::ZERO, p90: Money::ZERO }),
            finish: Spread { p50: at, p90: at },
            deadline: at,
            offer: Some(offer),
            start: Start::Now,
            transfer: Money::ZERO,
            interruptions: 0.0,
            spot_share: 0.0,
            on_demand_cost: None,
            two_more_hours: None,
            alternatives: Vec::new(),
            unschedulable: None,
        };
        let host = HostLimits { cpu_milli: 1, memory_mib: 1, gpus: None };
        let local =
            Pool::of_host(PoolName::new("local"), PoolKind::Local, host, std::time::Duration::ZERO);
        let mut cloud = Pool { name: PoolName::new("cloud"), ..local.clone() };
        (cloud.features.mig, cloud.features.mps) = (true, true);
        warnings(&spec, &quote, &PoolSet::of([local, cloud])).join("; ")
    }

    #[test]
    fn a_shared_gpu_is_not_sold_as_isolated() {
        let mps = warned("{gpus: T4, gpu_sharing: {mps: 8GiB}}", "cloud");
        assert!(mps.contains("without isolation") && mps.contains("8192 MiB"), "{mps}");
        assert!(!mps.contains("daemon"), "{mps}");
        let local = warned("{gpus: T4, gpu_sharing: {mps: 8GiB}}", "local");
        assert!(local.contains("no MPS daemon"), "{local}");
        let turns = warned("{gpus: T4, gpu_sharing: {time_slicing: 4}}", "local");
        assert!(turns.contains("up to 3 other jobs, without isolation"), "{turns}");
        assert_eq!(warned("{gpus: T4}", "local"), "");
    }

    #[test]
    fn a_pool_that_cuts_no_gpu_says_so() {
        let local = warned("{mig: \"A100:3g.20gb\"}", "local");
        assert!(local.contains("no MIG layout"), "{local}");
        assert_eq!(warned("{mig: \"A100:3g.20gb\"}", "cloud"), "");
    }
}
