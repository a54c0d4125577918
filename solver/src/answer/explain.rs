//! Why each job is where it is, and why the others wait, with figures.

use std::collections::BTreeSet;
use std::time::Duration;

use spotwise_model::plan::{
    Alternative, PlacementReason, PlacementRule, PolicyCost, RejectionReason, Target,
};
use spotwise_model::spec::GpuRequest;
use spotwise_model::time::{after, between};
use spotwise_model::{CapacityType, Money, Offer, Share, WaitReason};

use crate::answer::band_report::paid_more;
use crate::answer::limit_reached::{LimitEnds, never_allowed, none_allowed, none_left};
use crate::reserve::start_of;
use crate::room::machines::Room;
use crate::statement::choice::{JobEvaluation, cheapest_spot, evaluate};
use crate::statement::demand::{Candidate, JobDemand};
use crate::statement::ends::SAME;
use crate::statement::input::PlanJob;
use crate::statement::market::{Listing, Market};
use crate::statement::round::Round;
use crate::statement::value::{DeadlineStatus, Estimate, affordable, kind_allows, nodes};

/// How many other offers a placement names.
const ALTERNATIVES: usize = 5;

/// Why a job goes where it goes. `room` is what the whole plan leaves.
pub(crate) fn why(
    round: &Round<'_>,
    room: &Room<'_, '_>,
    demand: &JobDemand<'_>,
    candidate: &Candidate,
    targets: &[Target],
) -> Option<PlacementReason> {
    let evaluation = evaluate(demand.job, round.input, &round.market);
    let chosen = evaluation.estimates.iter().find(|e| e.listing == candidate.listing())?;
    let taken = |e: &Estimate| {
        let request = demand.request(demand.candidate_on(e.listing)?);
        room.fit(&request).is_none().then(|| match room.held_back(&request) {
            Some(_) => RejectionReason::LimitReached,
            None => RejectionReason::Taken,
        })
    };
    let paid = paid_more(round, demand, candidate);
    Some(PlacementReason {
        rule: rule(&round.market, &evaluation, chosen, targets),
        expected_cost: chosen.cost(),
        finish: chosen.finish,
        slack: between(round.input.now, demand.latest_start),
        policy_cost: PolicyCost {
            band: Money::estimate(paid.band),
            pools: Money::estimate(paid.pool),
        },
        transfer: Money::estimate(chosen.transfer),
        alternatives: cheapest_others(
            &round.market,
            &evaluation,
            Some(chosen),
            round.input.now,
            ALTERNATIVES,
            taken,
        ),
    })
}

fn rule(
    market: &Market<'_>,
    evaluation: &JobEvaluation<'_>,
    chosen: &Estimate,
    targets: &[Target],
) -> PlacementRule {
    let kind = market.listings.get(chosen.listing).map(|l| l.offer.key.market.capacity_type);
    let stays = kind != Some(CapacityType::Spot);
    let running = targets.iter().all(|target| matches!(target, Target::Existing(_)));
    match evaluation.deadline_status {
        _ if !evaluation.job.spec.interruptible => PlacementRule::NotInterruptible,
        DeadlineStatus::Late | DeadlineStatus::SafetyNet
            if stays && evaluation.fallback.is_some() =>
        {
            PlacementRule::SafetyNet
        }
        _ if running || kind == Some(CapacityType::Reserved) => PlacementRule::AlreadyPaid,
        DeadlineStatus::Behind if stays && evaluation.fallback.is_some() => {
            PlacementRule::BehindPace
        }
        _ => PlacementRule::Cheapest,
    }
}

/// Every other offer that holds the job, cheapest first, with why it was not
/// taken. `taken` answers whether other jobs took what was free of it, or what a limit left.
pub(crate) fn alternatives(
    market: &Market<'_>,
    evaluation: &JobEvaluation<'_>,
    chosen: Option<&Estimate>,
    now: jiff::Timestamp,
    taken: impl Fn(&Estimate) -> Option<RejectionReason>,
) -> Vec<Alternative> {
    cheapest_others(market, evaluation, chosen, now, usize::MAX, taken)
}

/// The same, the first `most` of them.
fn cheapest_others(
    market: &Market<'_>,
    evaluation: &JobEvaluation<'_>,
    chosen: Option<&Estimate>,
    now: jiff::Timestamp,
    most: usize,
    taken: impl Fn(&Estimate) -> Option<RejectionReason>,
) -> Vec<Alternative> {
    let mut others: Vec<&Estimate> = evaluation
        .estimates
        .iter()
        .filter(|e| chosen.is_none_or(|c| c.listing != e.listing))
        .chain(&evaluation.never_allowed)
        .collect();
    let by_cost =
        |a: &&Estimate, b: &&Estimate| a.alone.total_cmp(&b.alone).then(a.listing.cmp(&b.listing));
    if most < others.len() {
        others.select_nth_unstable_by(most, by_cost);
        others.truncate(most);
    }
    others.sort_by(by_cost);
    others
        .into_iter()
        .filter_map(|e| {
            let listing = market.listings.get(e.listing)?;
            Some(Alternative {
                offer: listing.offer.key.clone(),
                expected_cost: e.cost(),
                finish: e.finish,
                why_not: Some(why_not((market, evaluation), (e, listing), chosen, now, &taken)),
            })
        })
        .collect()
}

fn why_not(
    (market, evaluation): (&Market<'_>, &JobEvaluation<'_>),
    (e, listing): (&Estimate, &Listing<'_>),
    chosen: Option<&Estimate>,
    now: jiff::Timestamp,
    taken: impl Fn(&Estimate) -> Option<RejectionReason>,
) -> RejectionReason {
    let undisturbed = after(now, e.left.saturating_add(listing.changeover));
    let risky = match evaluation.deadline_status {
        DeadlineStatus::Late => false,
        DeadlineStatus::SafetyNet => listing.is_spot() || e.finish > evaluation.job.deadline,
        DeadlineStatus::Behind | DeadlineStatus::Ahead => undisturbed > evaluation.job.deadline,
    };
    if !kind_allows(evaluation.job, listing) {
        RejectionReason::NotInterruptible
    } else if !listing.ever_allows(evaluation.nodes) {
        RejectionReason::OverLimit
    } else if !affordable(evaluation.job, e) {
        RejectionReason::OverBudget
    } else if risky {
        RejectionReason::DeadlineRisk
    } else if !listing.has_room(&e.share, evaluation.nodes) {
        match market.held_back(e.listing, &e.share, evaluation.nodes) {
            Some(_) => RejectionReason::LimitReached,
            None => RejectionReason::NotFree,
        }
    } else if let Some(reason) = taken(e) {
        reason
    } else {
        let surcharge = listing.surcharge(evaluation.job.spec.class);
        match chosen {
            Some(chosen)
                if surcharge.sum() > 0.0
                    && evaluation.carries_surcharges()
                    && e.alone <= chosen.alone =>
            {
                if surcharge.band >= surcharge.pool {
                    RejectionReason::SpotBand
                } else {
                    RejectionReason::TooFewPools
                }
            }
            Some(chosen) if is_later(evaluation, e, chosen) => RejectionReason::Later,
            _ => RejectionReason::Dearer,
        }
    }
}

/// Whether it is its end, not its cost, that speaks against it.
fn is_later(evaluation: &JobEvaluation<'_>, e: &Estimate, chosen: &Estimate) -> bool {
    evaluation.deadline_status == DeadlineStatus::Late
        && e.alone <= chosen.alone
        && e.finish > chosen.finish
}

/// Why a job without machines waits. `room` is what the whole plan leaves,
/// `empty` what there was before it.
pub(crate) fn wait_reason(
    round: &Round<'_>,
    [room, empty]: [&Room<'_, '_>; 2],
    ends: &LimitEnds,
    demand: &JobDemand<'_>,
) -> WaitReason {
    let listings = &round.market.listings;
    if let Some(kept) = round.reserved.of(demand.number).filter(|kept| !kept.by_choice)
        && kept.from > SAME
    {
        // Free, and kept for another.
        if let Some(other) = kept_for(round, [empty, room], demand) {
            return other;
        }
        let start = start_of(round, kept);
        return WaitReason::Reserved { start, behind: kept.behind.clone() };
    }
    let evaluation = &evaluate(demand.job, round.input, &round.market);
    let suitable: Vec<(&Estimate, &Listing<'_>)> = evaluation
        .estimates
        .iter()
        .filter_map(|e| Some((e, listings.get(e.listing)?)))
        .filter(|(_, listing)| kind_allows(evaluation.job, listing))
        .collect();
    if suitable.is_empty() {
        let never = never_allowed(&round.market, evaluation);
        let detail = never.unwrap_or_else(|| unschedulable(evaluation, &round.input.offers));
        return WaitReason::Unschedulable { detail };
    }
    if let Some(left) = evaluation.job.budget_left
        && let Some(needs) = suitable.iter().map(|(e, _)| e.cost()).min()
        && needs > left
    {
        return WaitReason::OverBudget { needs, left };
    }
    let later = cheapest_spot(evaluation, listings);
    if demand.candidates.is_empty() {
        let free = suitable.iter().filter(|(e, listing)| {
            affordable(evaluation.job, e) && listing.has_room(&e.share, evaluation.nodes)
        });
        let now = free.map(|(e, _)| e).min_by(|a, b| a.alone.total_cmp(&b.alone));
        return match (now, later) {
            (Some(now), Some(later)) => cheaper_later(evaluation, now, later),
            _ => none_allowed(round, room, ends, evaluation).unwrap_or_else(|| {
                let suitable_offers = u32::try_from(suitable.len()).unwrap_or(u32::MAX);
                WaitReason::NoCapacity { suitable_offers }
            }),
        };
    }
    let fits = |e: &Estimate| {
        demand
            .candidate_on(e.listing)
            .is_some_and(|candidate| room.fit(&demand.request(candidate)).is_some())
    };
    let fitting = evaluation.estimates.iter().filter(|e| fits(e));
    let now = fitting.min_by(|a, b| a.alone.total_cmp(&b.alone));
    if let (Some(now), Some(fallback)) = (now, &evaluation.fallback) {
        return cheaper_later(evaluation, now, later.unwrap_or(&fallback.estimate));
    }
    let short: Vec<_> = demand
        .candidates
        .iter()
        .map(|candidate| empty.pool_short(&demand.request(candidate)))
        .collect();
    match short.first() {
        Some(Some(resource)) if short.iter().all(Option::is_some) => {
            WaitReason::PoolFull { resource: (*resource).to_owned() }
        }
        _ => kept_for(round, [empty, room], demand)
            .or_else(|| none_left(round, room, ends, (demand, evaluation)))
            .unwrap_or(WaitReason::Outbid),
    }
}

/// The job for which the room is kept that a job would take, if that is what it waits for.
fn kept_for(
    round: &Round<'_>,
    rooms: [&Room<'_, '_>; 2],
    demand: &JobDemand<'_>,
) -> Option<WaitReason> {
    if round.reserved.kept.is_empty() {
        return None;
    }
    let kept = |room: &Room<'_, '_>| {
        demand.candidates.iter().find_map(|candidate| room.kept_from(&demand.request(candidate)))
    };
    let kept = rooms.into_iter().find_map(kept);
    let kept = round.reserved.kept.get(kept?).filter(|kept| {
        // What somebody takes now is no reservation any more.
        kept.number != demand.number && kept.from > SAME
    })?;
    let other = round.demands.get(kept.number)?.job;
    Some(WaitReason::RoomKept {
        job: other.id,
        priority: other.spec.priority,
        deadline: other.deadline,
        start: start_of(round, kept),
    })
}

fn cheaper_later(evaluation: &JobEvaluation<'_>, now: &Estimate, later: &Estimate) -> WaitReason {
    WaitReason::CheaperLater {
        now: Money::estimate(now.alone),
        later: Money::estimate(later.alone),
        latest_start: evaluation.latest_start(),
    }
}

/// What was asked and what the nearest machine has.
pub(crate) fn unschedulable(evaluation: &JobEvaluation<'_>, offers: &[Offer]) -> String {
    if !evaluation.estimates.is_empty() {
        return "may not be interrupted, and only spot machines hold it".to_owned();
    }
    if offers.is_empty() {
        return "no pool offers any machine".to_owned();
    }
    let job = evaluation.job;
    if !offers.iter().any(|offer| job.may_use(&offer.key)) {
        return "no pool admits jobs of its class and tags".to_owned();
    }
    let asked = gpus_asked(job);
    let each = if nodes(job) > 1 { " on each node" } else { "" };
    // Where the GPUs would do, CPU and memory are what is short.
    let shares = |offer: &&Offer| {
        job.may_use(&offer.key)
            && job.share_on(offer.shape.accelerator.as_ref()).is_some_and(|share| {
                offer.shape.holds(&Share { cpu_milli: 0, memory_mib: 0, ..share })
            })
    };
    let near: Vec<&Offer> = offers.iter().filter(shares).collect();
    if !near.is_empty() {
        let cpus = near.iter().map(|o| o.shape.cpu_milli).max().unwrap_or(0);
        let memory = near.iter().map(|o| o.shape.memory_mib).max().unwrap_or(0);
        let beside = asked.map_or(String::new(), |gpus| format!(" beside {gpus}"));
        return format!(
            "asks {} CPUs and {} MiB{beside}{each}; the largest offers have {} CPUs and {memory} MiB",
            cpus_text(job.spec.resources.cpu_milli),
            job.spec.resources.memory_mib,
            cpus_text(cpus),
        );
    }
    let asked = asked.unwrap_or_else(|| "a machine".to_owned());
    format!("asks {asked}{each}; {}", nearest_gpus(job, offers))
}

/// The GPUs a job asks for, in words; `None` for a CPU job.
fn gpus_asked(job: &PlanJob) -> Option<String> {
    match &job.spec.resources.gpus {
        GpuRequest::None => None,
        GpuRequest::Whole { alternatives } => {
            let each = alternatives.iter().map(|a| match &a.accelerator {
                Some(name) => format!("{} x {name}", a.count),
                None => format!("{} GPUs of any kind", a.count),
            });
            Some(each.collect::<Vec<_>>().join(" or "))
        }
        GpuRequest::Slice { profile, accelerator } => Some(match accelerator {
            Some(name) => format!("a {profile} slice of {name}"),
            None => format!("a {profile} slice"),
        }),
        GpuRequest::Shared { sharing, .. } => Some(sharing.to_string()),
    }
}

fn nearest_gpus(job: &PlanJob, offers: &[Offer]) -> String {
    let (GpuRequest::Whole { alternatives } | GpuRequest::Shared { alternatives, .. }) =
        &job.spec.resources.gpus
    else {
        return "no offer has a GPU that can be cut so".to_owned();
    };
    let mut texts = BTreeSet::new();
    for wanted in alternatives {
        let most = offers
            .iter()
            .filter(|offer| match &wanted.accelerator {
                Some(name) => offer.shape.accelerator.as_ref() == Some(name),
                None => offer.shape.accelerator.is_some(),
            })
            .map(|offer| offer.shape.gpus)
            .max();
        if let (Some(1..), GpuRequest::Shared { .. }) = (most, &job.spec.resources.gpus) {
            texts.insert("no GPU that it may share has so much memory".to_owned());
            continue;
        }
        texts.insert(match (most, &wanted.accelerator) {
            (Some(most), Some(name)) => format!("the largest offer with {name} has {most}"),
            (Some(most), None) => format!("the largest offer has {most}"),
            (None, Some(name)) => format!("no offer has {name}"),
            (None, None) => "no offer has a GPU".to_owned(),
        });
    }
    texts.into_iter().collect::<Vec<_>>().join(", ")
}

fn cpus_text(milli: u64) -> String {
    if milli.is_multiple_of(1_000) {
        (milli / 1_000).to_string()
    } else {
        Duration::from_millis(milli).as_secs_f64().to_string()
    }
}
