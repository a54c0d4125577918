//! Two machines at a time: the jobs on both, and those that wait, are dealt out
//! anew for every pair of lifetimes that the two could be kept for. A machine is
//! paid for its longest job, so that what counts is which jobs lie together, and
//! no single job's move shows that.

use std::collections::BTreeMap;

use spotwise_model::plan::Target;

use super::lagrangian::Lagrangian;
use super::limit_count::LimitCount;
use super::waiting::Waiting;
use crate::room::draft::{Assignment, Draft, is_used, opened_target};
use crate::statement::demand::JobDemand;
use crate::statement::prices::{PLAIN, takes, whole};
use crate::statement::round::Round;

/// Machines of like lifetime that each machine is paired with in one pass.
const NEIGHBOURS: usize = 64;
/// Pairs of machines tried in a second of the round's time, and at most.
const TRIES_A_SECOND: f64 = 25_000.0;
const MOST_TRIES: f64 = 100_000.0;
/// Tries after which the caller is asked whether that is enough: some
/// milliseconds.
const ASKED_EVERY: usize = 128;
/// Dollars below which a change is rounding.
const LEAST_GAIN: f64 = 1e-6;

/// Improves a draft as long as that goes and the round's size and time allow.
pub(crate) fn improve(
    round: &Round<'_>,
    lagrangian: &Lagrangian<'_, '_>,
    draft: &Draft,
    enough: &dyn Fn() -> bool,
) -> Draft {
    // What one pool has left over all its machines, and what is kept for others, is not
    // looked at here.
    if !round.market.limits.is_empty() || !round.reserved.kept.is_empty() {
        return draft.clone();
    }
    let mut table = Table::new(round, lagrangian, draft);
    let seconds = round.input.time_limit.as_secs_f64();
    let mut tries = (TRIES_A_SECOND * seconds).min(MOST_TRIES) as usize;
    let mut pass = 1;
    while tries > 0 {
        if !table.pass(pass, &mut tries, enough) {
            if !table.waiting.widen() {
                break;
            }
            table.machines.iter_mut().for_each(|machine| machine.changed = pass);
        }
        pass += 1;
    }
    table.draft(draft)
}

/// The machines of a draft with their jobs, by number.
struct Table<'r, 'a> {
    round: &'r Round<'a>,
    lagrangian: &'r Lagrangian<'r, 'a>,
    machines: Vec<Machine>,
    waiting: Waiting,
    limits: LimitCount,
}

#[derive(Clone)]
struct Machine {
    listing: usize,
    target: Target,
    jobs: Vec<usize>,
    /// Whether a gang or a slice is on it: such machines stay as they are.
    fixed: bool,
    /// The last pass that changed it.
    changed: u32,
}

impl Machine {
    const fn empty(listing: usize, target: Target) -> Self {
        Self { listing, target, jobs: Vec::new(), fixed: false, changed: 0 }
    }
}

/// A job that could be on either of two machines: what it is worth there, less
/// what it costs to leave it waiting, and how long it stays.
struct Dealt {
    at: usize,
    takes: [[u64; PLAIN]; 2],
    /// Dollars saved on each machine; `None` if it may not be.
    saves: [Option<f64>; 2],
    hours: [f64; 2],
    density: f64,
}

impl<'r, 'a> Table<'r, 'a> {
    fn new(round: &'r Round<'a>, lagrangian: &'r Lagrangian<'r, 'a>, draft: &Draft) -> Self {
        let mut found: BTreeMap<(usize, Target), Machine> = BTreeMap::new();
        let mut waiting = Vec::new();
        for (at, (demand, assignment)) in round.demands.iter().zip(&draft.assignments).enumerate() {
            let candidate = assignment
                .as_ref()
                .and_then(|assignment| demand.candidates.get(assignment.candidate));
            let (Some(assignment), Some(candidate)) = (assignment, candidate) else {
                if is_simple(demand) {
                    waiting.push(at);
                }
                continue;
            };
            let listing = candidate.listing();
            for target in assignment.targets.iter().filter(|t| !is_used(round, listing, t)) {
                let empty = || Machine::empty(listing, *target);
                let machine = found.entry((listing, *target)).or_insert_with(empty);
                machine.jobs.push(at);
                machine.fixed |= !is_simple(demand);
            }
        }
        // One more of each listing that has one.
        let mut counts = vec![0_usize; round.market.listings.len()];
        for machine in found.values() {
            if let Some(count) = counts.get_mut(machine.listing) {
                *count += 1;
            }
        }
        let limits = LimitCount::new(&round.market, &counts);
        let mut machines: Vec<Machine> = found.into_values().collect();
        for (listing, (offer, count)) in round.market.listings.iter().zip(counts).enumerate() {
            if (count as u64) < offer.openable() {
                machines.push(Machine::empty(listing, Target::New(u32::MAX)));
            }
        }
        let waiting = Waiting::new(round, lagrangian, waiting);
        Self { round, lagrangian, machines, waiting, limits }
    }

    /// Hours that a machine is kept.
    fn life(&self, machine: &Machine) -> f64 {
        let of = |at: &usize| {
            let candidate = self.round.demands.get(*at)?.candidate_on(machine.listing)?;
            Some(self.round.lifetime(machine.listing, candidate.bucket()))
        };
        machine.jobs.iter().filter_map(of).fold(0.0, f64::max)
    }

    /// Tries each machine with those of like lifetime in its group; whether
    /// anything got better. Two machines that the last pass left alone are passed
    /// by.
    fn pass(&mut self, pass: u32, tries: &mut usize, enough: &dyn Fn() -> bool) -> bool {
        let mut better = false;
        let group_of = |machine: &Machine| {
            self.round.market.listings.get(machine.listing).map(|listing| listing.group)
        };
        for group in 0..self.round.market.groups.len() {
            let mut members: Vec<(f64, usize)> = self
                .machines
                .iter()
                .enumerate()
                .filter(|(_, machine)| !machine.fixed && group_of(machine) == Some(group))
                .map(|(number, machine)| (self.life(machine), number))
                .collect();
            members.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let numbers: Vec<usize> = members.into_iter().map(|(_, number)| number).collect();
            for (place, first) in numbers.iter().enumerate() {
                for second in numbers.iter().skip(place + 1).take(NEIGHBOURS) {
                    if *tries == 0 {
                        return better;
                    }
                    if self.changed(*first).max(self.changed(*second)) + 1 < pass {
                        continue;
                    }
                    *tries -= 1;
                    if (*tries).is_multiple_of(ASKED_EVERY) && enough() {
                        *tries = 0;
                        return better;
                    }
                    better |= self.deal(*first, *second, pass).is_some();
                }
            }
        }
        better
    }

    /// The last pass that changed a machine.
    fn changed(&self, number: usize) -> u32 {
        self.machines.get(number).map_or(0, |machine| machine.changed)
    }

    /// Deals the jobs of two machines and the waiting ones out anew, if that
    /// gains.
    fn deal(&mut self, first: usize, second: usize, pass: u32) -> Option<()> {
        let candidate = [self.machines.get(first)?.clone(), self.machines.get(second)?.clone()];
        let jobs: Vec<usize> = candidate.iter().flat_map(|machine| machine.jobs.clone()).collect();
        let mut dealt: Vec<Dealt> =
            jobs.iter().filter_map(|at| self.dealt(*at, &candidate)).collect();
        let [one, two] = &candidate;
        let lives_now = [self.life(one), self.life(two)];
        let group = self.round.market.listings.get(one.listing)?.group;
        let fresh = self.waiting.looked_at(group, lives_now);
        dealt.extend(fresh.into_iter().filter_map(|at| self.dealt(at, &candidate)));
        dealt.sort_by(|a, b| b.density.total_cmp(&a.density).then(a.at.cmp(&b.at)));
        let lives = |side: usize| {
            let mut lives: Vec<f64> = vec![0.0];
            let of = |job: &Dealt| Some((*job.saves.get(side)?)?).and(job.hours.get(side).copied());
            lives.extend(dealt.iter().filter_map(of));
            lives.sort_by(f64::total_cmp);
            lives.dedup();
            lives
        };
        let now = self.saved_now(&candidate);
        let mut best: Option<(f64, [Vec<usize>; 2])> = None;
        let seconds = lives(1);
        for long in lives(0) {
            for short in &seconds {
                let (saved, sides) = self.filled(&candidate, &dealt, [long, *short]);
                let bar = best.as_ref().map_or(now + LEAST_GAIN, |(saved, _)| *saved);
                let [one, two] = &sides;
                let allowed = || self.limits.allow(&changes(&candidate, [one, two]));
                if saved > bar && allowed() {
                    best = Some((saved, sides));
                }
            }
        }
        let (_, [one, two]) = best?;
        self.limits.apply(&changes(&candidate, [&one, &two]));
        for at in one.iter().chain(&two).filter(|at| !jobs.contains(at)) {
            self.waiting.take_out(self.round, *at);
        }
        for at in jobs.iter().filter(|at| !one.contains(at) && !two.contains(at)) {
            self.waiting.put_back(self.round, self.lagrangian, *at);
        }
        for (number, jobs) in [(first, one), (second, two)] {
            let machine = self.machines.get_mut(number)?;
            (machine.jobs, machine.changed) = (jobs, pass);
        }
        Some(())
    }

    fn dealt(&self, at: usize, machines: &[Machine; 2]) -> Option<Dealt> {
        let demand = self.round.demands.get(at)?;
        let candidates = [0, 1].map(|side| {
            machines.get(side).and_then(|machine: &Machine| demand.candidate_on(machine.listing))
        });
        let any = candidates.iter().flatten().next()?;
        let most = |candidate: Option<&crate::statement::demand::Candidate>| {
            candidate.map(|candidate| demand.wait - candidate.extra())
        };
        let [one, two] = candidates;
        let hours = |candidate: Option<&crate::statement::demand::Candidate>| {
            candidate.map_or(0.0, |candidate| {
                self.round.lifetime(candidate.listing(), candidate.bucket())
            })
        };
        let takes = |candidate: Option<&crate::statement::demand::Candidate>| {
            let listing =
                candidate.and_then(|candidate| self.round.market.listings.get(candidate.listing()));
            let both = candidate.zip(listing);
            both.map_or([u64::MAX; PLAIN], |(candidate, listing)| {
                takes(&demand.share(candidate), &listing.offer.shape)
            })
        };
        Some(Dealt {
            at,
            takes: [takes(one), takes(two)],
            saves: [most(one), most(two)],
            hours: [hours(one), hours(two)],
            density: demand.wait / self.lagrangian.factor(at, any).max(1e-9),
        })
    }

    /// What the jobs on two machines save now, less what the machines cost.
    fn saved_now(&self, machines: &[Machine; 2]) -> f64 {
        let of = |machine: &Machine| {
            let saves = machine.jobs.iter().filter_map(|at| {
                let demand = self.round.demands.get(*at)?;
                Some(demand.wait - demand.candidate_on(machine.listing)?.extra())
            });
            saves.sum::<f64>() - self.kept(machine, self.life(machine))
        };
        machines.iter().map(of).sum()
    }

    /// Dollars of a machine that is kept for this many hours.
    fn kept(&self, machine: &Machine, hours: f64) -> f64 {
        self.round.market.listings.get(machine.listing).map_or(0.0, |l| l.marginal(hours))
    }

    /// Fills both machines, kept for `lives`, with the dearest jobs first, each
    /// where the machine is kept for the shorter time that holds it.
    fn filled(
        &self,
        machines: &[Machine; 2],
        dealt: &[Dealt],
        lives: [f64; 2],
    ) -> (f64, [Vec<usize>; 2]) {
        let mut left = [0, 1].map(|side| {
            let machine: Option<&Machine> = machines.get(side);
            let listing = machine.and_then(|m| self.round.market.listings.get(m.listing));
            listing.map_or([0; PLAIN], whole)
        });
        let mut sides = [Vec::new(), Vec::new()];
        let mut kept = [0.0_f64; 2];
        let mut saved = 0.0;
        let [first, second] = lives;
        let order = if first <= second { [0, 1] } else { [1, 0] };
        for job in dealt {
            for side in order {
                let (Some(Some(saves)), Some(hours)) = (job.saves.get(side), job.hours.get(side))
                else {
                    continue;
                };
                let (Some(left), Some(takes)) = (left.get_mut(side), job.takes.get(side)) else {
                    continue;
                };
                let fits = takes.iter().zip(left.iter()).all(|(take, left)| take <= left);
                let life = lives.get(side).copied().unwrap_or(0.0);
                if *saves <= 0.0 || *hours > life || !fits {
                    continue;
                }
                left.iter_mut().zip(takes).for_each(|(left, take)| *left -= take);
                saved += saves;
                if let (Some(list), Some(kept)) = (sides.get_mut(side), kept.get_mut(side)) {
                    list.push(job.at);
                    *kept = kept.max(*hours);
                }
                break;
            }
        }
        let cost = machines.iter().zip(kept).map(|(machine, life)| self.kept(machine, life));
        (saved - cost.sum::<f64>(), sides)
    }

    /// The machines as assignments again, numbered anew: none is bought for nobody.
    fn draft(&self, before: &Draft) -> Draft {
        let mut draft = Draft::empty(self.round);
        let mut next = vec![0_usize; self.round.market.listings.len()];
        let mut targets: BTreeMap<(usize, Target), Target> = BTreeMap::new();
        let mut simple: Vec<(usize, usize, Target)> = Vec::new();
        for machine in self.machines.iter().filter(|machine| !machine.jobs.is_empty()) {
            let (Some(listing), Some(next)) =
                (self.round.market.listings.get(machine.listing), next.get_mut(machine.listing))
            else {
                continue;
            };
            let Some(target) = opened_target(listing, *next) else { continue };
            *next += 1;
            if machine.fixed {
                targets.insert((machine.listing, machine.target), target);
            } else {
                simple.extend(machine.jobs.iter().map(|at| (*at, machine.listing, target)));
            }
        }
        for (at, listing, target) in simple {
            let candidate =
                self.round.demands.get(at).and_then(|demand| demand.candidate_index(listing));
            if let (Some(candidate), Some(assignment)) = (candidate, draft.assignments.get_mut(at))
            {
                *assignment = Some(Assignment { candidate, targets: vec![target] });
            }
        }
        for (at, (demand, assignment)) in
            self.round.demands.iter().zip(&before.assignments).enumerate()
        {
            let Some(old) = assignment else { continue };
            let Some(candidate) = demand.candidates.get(old.candidate) else { continue };
            let listing = candidate.listing();
            let stays = |target: &Target| {
                is_used(self.round, listing, target) || targets.contains_key(&(listing, *target))
            };
            if old.targets.iter().all(stays) {
                let moved =
                    |target: &Target| targets.get(&(listing, *target)).copied().unwrap_or(*target);
                let targets = old.targets.iter().map(moved).collect();
                if let Some(assignment) = draft.assignments.get_mut(at) {
                    *assignment = Some(Assignment { candidate: old.candidate, targets });
                }
            }
        }
        draft
    }
}

/// By how many machines of their listings two become more or fewer, with these jobs on them.
fn changes(machines: &[Machine; 2], jobs: [&Vec<usize>; 2]) -> [(usize, i64); 2] {
    let [one, two] = machines;
    let [first, second] = jobs;
    let change = |machine: &Machine, jobs: &Vec<usize>| {
        (machine.listing, i64::from(!jobs.is_empty()) - i64::from(!machine.jobs.is_empty()))
    };
    [change(one, first), change(two, second)]
}

/// Whether a job is one node of whole GPUs: what this module moves.
fn is_simple(demand: &JobDemand<'_>) -> bool {
    let whole = demand.kinds.iter().all(|kind| !kind.share.takes_part());
    demand.nodes == 1 && !demand.candidates.is_empty() && whole
}
