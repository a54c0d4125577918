//! The charges of one machine, billed as EC2 does: whole seconds at the price
//! in force, a minimum, and nothing for a spot machine that the provider takes
//! back within its first hour.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use spotwise_model::commitment;
use spotwise_model::instance::EndedBy;
use spotwise_model::ledger::{ChargeCategory, IDLE, LineKind};
use spotwise_model::policy::Policy;
use spotwise_model::resources::GPU_UNITS;
use spotwise_model::{
    AttemptId, CapacityType, CoveredSpan, Instance, InstanceState, LedgerEntry, Money, NodeShape,
    Price, Share,
};

mod ending;
mod priced;

use ending::Ending;
use priced::{Priced, priced};

use super::split::{METHOD, distribute, machine_weight, share_weight};
use spotwise_market::Segment;

/// Everything that the charges of a machine depend on.
#[derive(Clone, Debug)]
pub struct InstanceBill<'a> {
    /// The machine.
    pub instance: &'a Instance,
    /// The prices over its life, in order. In a gap the previous price applies, and at the
    /// start the launch price.
    pub segments: &'a [Segment],
    /// The on-demand price of the same type: the counterfactual.
    pub on_demand: Price,
    /// Who used it, and when.
    pub uses: Vec<Use>,
    /// The longest that its last user pays for its end after it was given back (market
    /// time).
    pub termination: Duration,
    /// The operator's settings: waiver and minimum.
    pub policy: &'a Policy,
}

/// One attempt on the machine. Times are market time.
#[derive(Clone, Debug, PartialEq)]
pub struct Use {
    /// The attempt.
    pub attempt: AttemptId,
    /// What it took of the machine.
    pub share: Share,
    /// From when the machine was its own: placed, or bought for it.
    pub from: Timestamp,
    /// When its command began, if it did.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Timestamp,
    /// Work up to here counts: the last checkpoint, or the end if nothing was lost. `None`
    /// if nothing counts.
    pub useful_until: Option<Timestamp>,
    /// What the entries are labelled with: `model`, `class`, the job's tags.
    pub dimensions: BTreeMap<String, String>,
}

/// The ledger entries of a machine that has ended; empty while it is alive.
///
/// Each price segment is rounded once, half to even, and its amount cut into entries that
/// add up to it exactly; the same for the on-demand counterfactual. Whatever no attempt
/// used is idle: an entry of its own next to each attempt that ran at the time (the unused
/// cost of AWS's split cost allocation), or nobody's if none did, including the rest of the
/// billed minimum; nobody's says in its dimensions why there was any. What a machine costs
/// from when it was given back until it is gone is its last user's, for as long as its pool
/// takes for that. A waived machine keeps its entries, each matched at the end by one that
/// cancels it; the counterfactual is not waived.
pub fn charge_instance(bill: &InstanceBill<'_>) -> Vec<LedgerEntry> {
    let InstanceState::Gone { since: Some(since), at, by, .. } = bill.instance.state else {
        return Vec::new();
    };
    let life = Span { from: since.as_second(), to: at.as_second().max(since.as_second()) };
    let minimum = i64::try_from(bill.policy.minimum_billed.as_secs()).unwrap_or(i64::MAX);
    // What a commitment pays is paid by the second, used or not.
    let minimum = if bill.instance.coverage.iter().any(CoveredSpan::pays) { 0 } else { minimum };
    let billed = Span { from: life.from, to: life.to.max(life.from.saturating_add(minimum)) };

    let machine = Machine::new(&bill.instance.shape, phases(&bill.uses, life));
    let ending = Ending::of(bill, life);
    let mut entries = Vec::new();
    for Priced { span, price, covered } in priced(bill, billed) {
        let lines: Vec<Line<'_>> =
            machine.lines(span).into_iter().flat_map(|line| ending.cut(line)).collect();
        let weights: Vec<u128> = lines.iter().map(|line| line.weight).collect();
        let amounts = distribute(price.charge(span.seconds()), &weights);
        let on_demand = distribute(bill.on_demand.charge(span.seconds()), &weights);
        for ((line, amount), on_demand_amount) in lines.iter().zip(amounts).zip(on_demand) {
            let paid = (price, amount, on_demand_amount);
            let gpus = machine.gpu_millionths(line, &bill.instance.shape);
            entries.push(entry(bill.instance, line, gpus, paid, covered));
        }
    }
    if is_waived(bill, life, by) {
        let waivers: Vec<LedgerEntry> = entries.iter().map(waiver).collect();
        entries.extend(waivers);
    }
    for (sequence, entry) in (0..).zip(&mut entries) {
        entry.sequence = sequence;
    }
    entries
}

/// A span of whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from: i64,
    to: i64,
}

impl Span {
    fn seconds(self) -> u64 {
        u64::try_from(self.to - self.from).unwrap_or(0)
    }

    fn and(self, other: Self) -> Self {
        let from = self.from.max(other.from);
        Self { from, to: self.to.min(other.to).max(from) }
    }
}

/// A use with the spans of its three kinds of entry.
type Phased<'a> = (&'a Use, [(LineKind, Span); 3]);

fn phases(uses: &[Use], life: Span) -> Vec<Phased<'_>> {
    let mut uses: Vec<&Use> = uses.iter().collect();
    uses.sort_by_key(|used| (used.from, used.attempt));
    uses.into_iter()
        .map(|used| {
            let from = used.from.as_second().clamp(life.from, life.to);
            let ended = used.ended.as_second().clamp(from, life.to);
            let started = used.started.map_or(ended, |at| at.as_second().clamp(from, ended));
            let useful = used.useful_until.map_or(started, |at| at.as_second());
            let useful = useful.clamp(started, ended);
            let spans = [
                (LineKind::Startup, Span { from, to: started }),
                (LineKind::Compute, Span { from: started, to: useful }),
                (LineKind::LostWork, Span { from: useful, to: ended }),
            ];
            (used, spans)
        })
        .collect()
}

fn whole(spans: &[(LineKind, Span); 3]) -> Span {
    let [(_, first), _, (_, last)] = spans;
    Span { from: first.from, to: last.to }
}

/// A machine and what is running on it.
struct Machine<'a> {
    weight: u128,
    uses: Vec<Phased<'a>>,
    /// What is used of it from each second on, until the next entry.
    load: BTreeMap<i64, u128>,
}

/// A ledger entry without its money.
struct Line<'a> {
    used: Option<&'a Use>,
    /// Why nobody uses it, where nobody does.
    idle: Option<&'static str>,
    kind: LineKind,
    span: Span,
    /// Share of the machine x seconds.
    weight: u128,
}

impl<'a> Machine<'a> {
    fn new(shape: &NodeShape, uses: Vec<Phased<'a>>) -> Self {
        let mut changes: BTreeMap<i64, (u128, u128)> = BTreeMap::new();
        for (used, spans) in &uses {
            let span = whole(spans);
            let weight = share_weight(&used.share);
            changes.entry(span.from).or_default().0 += weight;
            changes.entry(span.to).or_default().1 += weight;
        }
        let mut used = 0;
        let load: BTreeMap<i64, u128> = changes
            .into_iter()
            .map(|(second, (taken, given_back))| {
                used = used + taken - given_back;
                (second, used)
            })
            .collect();
        // Shares that run together never exceed the machine; should a pool ever
        // say otherwise, its jobs pay for all of it and no weight is negative.
        let busiest = load.values().copied().max().unwrap_or(0);
        Self { weight: machine_weight(shape).max(busiest).max(1), uses, load }
    }

    /// GPUs of a line: those of its share, or what is left of the machine's in proportion to
    /// what the line weighs.
    fn gpu_millionths(&self, line: &Line<'_>, shape: &NodeShape) -> u64 {
        let own = line.used.filter(|_| line.kind != LineKind::Idle);
        let millionths = match own {
            Some(used) => {
                u128::from(used.share.gpu_units(shape)) * 1_000_000 / u128::from(GPU_UNITS)
            }
            None => {
                let whole = self.weight * u128::from(line.span.seconds().max(1));
                u128::from(shape.gpus) * 1_000_000 * line.weight / whole.max(1)
            }
        };
        u64::try_from(millionths).unwrap_or(u64::MAX)
    }

    /// What happened within one price: the entries of every use, then what was idle. Their
    /// weights add up to the machine's weight x the seconds.
    fn lines(&self, within: Span) -> Vec<Line<'a>> {
        let mut lines = Vec::new();
        for (used, spans) in &self.uses {
            for (kind, span) in spans {
                let span = span.and(within);
                if span.seconds() > 0 {
                    let weight = share_weight(&used.share) * u128::from(span.seconds());
                    lines.push(Line { used: Some(*used), idle: None, kind: *kind, span, weight });
                }
            }
        }
        lines.sort_by_key(|line| line.span.from);
        lines.extend(self.idle(within));
        lines
    }

    /// What nobody used: while jobs run, it is theirs in proportion to what they take,
    /// since the machine was kept for them; otherwise nobody's.
    fn idle(&self, within: Span) -> Vec<Line<'a>> {
        let before = self.load.range(..=within.from).next_back().map_or(0, |(_, used)| *used);
        let mut steps = vec![(within.from, before)];
        steps.extend(
            self.load.range(within.from + 1..within.to).map(|(second, used)| (*second, *used)),
        );
        let ends = steps.iter().skip(1).map(|(second, _)| *second).chain([within.to]);
        let mut lines: Vec<Line<'a>> = Vec::new();
        for ((from, used), to) in steps.iter().copied().zip(ends) {
            let span = Span { from, to };
            let weight = (self.weight - used) * u128::from(span.seconds());
            for line in self.shared(span, used, weight) {
                let same = |last: &&mut Line<'a>| {
                    last.span.to == from
                        && last.used.map(|u| u.attempt) == line.used.map(|u| u.attempt)
                };
                match lines.iter_mut().rev().find(same) {
                    _ if line.weight == 0 => {}
                    Some(last) => {
                        last.span.to = to;
                        last.weight += line.weight;
                    }
                    None => lines.push(line),
                }
            }
        }
        lines
    }

    /// The idle `weight` of a span in which the same jobs run throughout, shared among
    /// them; the first also gets the remainder.
    fn shared(&self, span: Span, load: u128, weight: u128) -> Vec<Line<'a>> {
        let line = |used, weight| Line { used, idle: None, kind: LineKind::Idle, span, weight };
        let running = self.uses.iter().filter(|(_, spans)| {
            let life = whole(spans);
            life.from <= span.from && span.to <= life.to
        });
        let mut lines: Vec<Line<'a>> = running
            .map(|(used, _)| line(Some(*used), weight * share_weight(&used.share) / load.max(1)))
            .collect();
        let given: u128 = lines.iter().map(|line| line.weight).sum();
        match lines.first_mut() {
            Some(first) => first.weight += weight - given,
            None => lines.push(line(None, weight)),
        }
        lines
    }
}

/// A spot machine that the provider takes back within its first hour is free.
fn is_waived(bill: &InstanceBill<'_>, life: Span, by: EndedBy) -> bool {
    bill.instance.offer.market.capacity_type == CapacityType::Spot
        && by == EndedBy::Provider
        && life.seconds() < bill.policy.interruption_waiver.as_secs()
}

fn entry(
    instance: &Instance,
    line: &Line<'_>,
    gpu_millionths: u64,
    (price, amount, on_demand_amount): (Price, Money, Money),
    covered: Option<&CoveredSpan>,
) -> LedgerEntry {
    let mut offer = instance.offer.clone();
    let mut dimensions = line.used.map(|used| used.dimensions.clone()).unwrap_or_default();
    dimensions.extend(line.idle.map(|why| (IDLE.to_owned(), why.to_owned())));
    if let Some(covered) = covered {
        offer.market.capacity_type = CapacityType::Reserved;
        dimensions.insert(commitment::DIMENSION.to_owned(), covered.commitment.clone());
    } else if offer.market.capacity_type == CapacityType::Reserved {
        offer.market.capacity_type = CapacityType::OnDemand;
    }
    LedgerEntry {
        instance: instance.id,
        sequence: 0,
        attempt: line.used.map(|used| used.attempt),
        kind: line.kind,
        offer,
        from: moment(line.span.from),
        to: moment(line.span.to),
        price,
        amount,
        on_demand_amount,
        method: METHOD.to_owned(),
        dimensions,
        provider: instance.provider.clone(),
        category: ChargeCategory::Usage,
        gpu_millionths,
        booked: None,
    }
}

fn waiver(entry: &LedgerEntry) -> LedgerEntry {
    LedgerEntry {
        kind: LineKind::Waiver,
        category: ChargeCategory::Credit,
        amount: -entry.amount,
        on_demand_amount: Money::ZERO,
        ..entry.clone()
    }
}

fn moment(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
#[path = "charge_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "price_tests.rs"]
mod price_tests;

#[cfg(test)]
#[path = "charge_properties.rs"]
mod properties;
