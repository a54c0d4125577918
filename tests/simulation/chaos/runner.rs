//! Many worlds: on all cores, with one line and one table for all of them; a
//! world that breaks a promise is made smaller until it cannot be.

use std::io::{IsTerminal, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use spotwise_simulated_cloud::Fault;

use super::faults::{FaultCounters, Kind};
use super::machines::cloud_fault;
use super::oracle::Tally;
use super::scenario::Scenario;
use super::sim::Sim;
use super::time::SECOND;

/// What many worlds came to.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) seeds: u64,
    pub(crate) days: u64,
    pub(crate) fired: FaultCounters,
    tallies: Vec<Tally>,
    /// The broken worlds and what was broken.
    pub(crate) broken: Vec<(Scenario, String)>,
}

/// What is wrong with a world; none where every promise was kept.
pub(crate) fn judge(scenario: &Scenario) -> (Option<String>, FaultCounters, Tally) {
    let run = catch_unwind(AssertUnwindSafe(|| {
        let mut sim = Sim::new(scenario.clone(), false);
        let verdict = sim.run();
        (verdict.err(), std::mem::take(&mut sim.fired), std::mem::take(&mut sim.tally))
    }));
    run.unwrap_or_else(|panic| {
        let words = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        (
            Some(format!("panic: {}", words.unwrap_or_default())),
            FaultCounters::default(),
            Tally::default(),
        )
    })
}

/// Runs the worlds of these seeds, on every core.
pub(crate) fn run(base: u64, seeds: u64, days: u64) -> Report {
    let next = AtomicU64::new(base);
    let report = Mutex::new(Report { seeds, days, ..Report::default() });
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= base + seeds {
                        return;
                    }
                    let scenario = Scenario::of(seed, days);
                    let (broken, fired, tally) = judge(&scenario);
                    let mut report = report.lock().expect("no thread panics with it");
                    report.fired.add(&fired);
                    report.tallies.push(tally);
                    report.broken.extend(broken.map(|what| (scenario, what)));
                    report.progress();
                }
            });
        }
    });
    let mut report = report.into_inner().expect("no thread panics with it");
    report.broken.sort_by_key(|(scenario, _)| scenario.seed);
    report
}

impl Report {
    #[allow(clippy::print_stderr, reason = "progress for whoever watches")]
    fn progress(&self) {
        if std::io::stderr().is_terminal() {
            let (done, broken) = (self.tallies.len(), self.broken.len());
            eprint!("\r{done} of {} worlds, {broken} broken", self.seeds);
            let _ = std::io::stderr().flush();
        }
    }

    fn sum(&self, of: impl Fn(&Tally) -> u64) -> u64 {
        self.tallies.iter().map(of).sum()
    }

    /// Rounds and machines with slices of several profiles on one GPU.
    pub(crate) fn mixed(&self) -> u64 {
        self.sum(|tally| tally.mixed)
    }

    fn most(&self, of: impl Fn(&Tally) -> u64) -> u64 {
        self.tallies.iter().map(of).max().unwrap_or(0)
    }

    /// The line of figures.
    pub(crate) fn line(&self) -> String {
        let fired = |kinds: &[Kind]| -> u64 { kinds.iter().map(|k| self.fired.of(k.name())).sum() };
        let mut recoveries: Vec<u64> =
            self.tallies.iter().flat_map(|tally| tally.recoveries.iter().copied()).collect();
        recoveries.sort_unstable();
        let p99 =
            recoveries.get(recoveries.len().saturating_sub(1) * 99 / 100).copied().unwrap_or(0);
        // A world stops where it breaks, so that seconds of it would be too few.
        let breaks = |what: &str| self.broken.iter().filter(|(_, b)| b.contains(what)).count();
        let failing = self.broken.first().map_or("none".to_owned(), |(r, _)| r.seed.to_string());
        format!(
            "sim: seeds={} simulated_days={} jobs={} attempts={} workers={} rounds={} interruptions={} \
             mixed_layouts={} \
             injected{{exec_and_timeout={}, crash={}, pause={}, partition={}, store={}, notice={}, \
             capacity={}}} worlds{{broken={}, lost={}, double_run={}, charged_twice={}}} \
             orphan_resource_s(max)={} abandoned_overlap_s(max)={} charged_USD={:.2} committed_USD={:.2} \
             overcharged_uUSD={} uncharged_uUSD={} budget_overrun_uUSD(max)={} \
             budget_overrun_by_a_rise_uUSD(max)={} \
             p99_recovery_s={:.1} of {} failing_seed={failing}",
            self.seeds,
            self.seeds * self.days,
            self.sum(|t| t.jobs),
            self.sum(|t| t.attempts),
            self.sum(|t| t.workers),
            self.sum(|t| t.rounds),
            self.sum(|t| t.interruptions),
            self.mixed(),
            fired(&[Kind::ExecuteAndTimeout]),
            fired(&[
                Kind::CrashIdle,
                Kind::CrashBeforeCommit,
                Kind::CrashBeforeAnswers,
                Kind::CrashBeforeEffects,
                Kind::CrashMidEffects,
                Kind::Restart
            ]),
            fired(&[Kind::PauseIdle, Kind::PauseBeforeCommit, Kind::PauseBeforeEffects]),
            fired(&[Kind::Partition, Kind::PartitionOneWay]),
            fired(&[Kind::StoreOutage, Kind::CommitError, Kind::CommitAnswerLost]),
            fired(&[
                Kind::NoticeNever,
                Kind::NoticeLate,
                Kind::NoticeTwice,
                Kind::NoticeWithdrawn,
                Kind::WrongInstance
            ]),
            fired(&[Kind::NoCapacity, Kind::Throttled, Kind::IceAllPools, Kind::MassReclaim]),
            self.broken.len(),
            breaks("is lost"),
            breaks("starts while"),
            breaks("charged twice"),
            self.most(|t| t.longest_orphan) / SECOND,
            self.most(|t| t.longest_overlap) / SECOND,
            self.sum(|t| t.charged.unsigned_abs()) as f64 / 1e6,
            self.sum(|t| t.committed.unsigned_abs()) as f64 / 1e6,
            self.sum(|t| t.overcharged.unsigned_abs()),
            self.sum(|t| t.uncharged.unsigned_abs()),
            self.most(|t| t.overrun.unsigned_abs()),
            self.most(|t| t.overrun_by_rise.unsigned_abs()),
            p99 as f64 / SECOND as f64,
            recoveries.len(),
        )
    }

    /// How often everything has happened.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        for (what, times) in &self.fired.0 {
            text.push_str(&format!("{times:>9}  {what}\n"));
        }
        text
    }

    /// Faults that no world had.
    pub(crate) fn silent(&self) -> Vec<&'static str> {
        let cloud = Fault::ALL.into_iter().map(cloud_fault);
        let all = Kind::ALL.iter().map(|kind| kind.name()).chain(cloud);
        all.filter(|what| self.fired.of(what) == 0).collect()
    }
}

/// The smallest world that still breaks: fewer days, fewer kinds of fault, fewer
/// submissions, one scheduler.
pub(crate) fn shrink(scenario: &Scenario) -> (Scenario, String) {
    let (broken, ..) = judge(scenario);
    let mut least = (scenario.clone(), broken.unwrap_or_default());
    let mut tries = 0;
    loop {
        let smaller = smaller(&least.0).into_iter().find_map(|candidate| {
            tries += 1;
            if tries > 150 {
                return None;
            }
            judge(&candidate).0.map(|what| (candidate, what))
        });
        match smaller {
            Some(found) => least = found,
            None => return least,
        }
    }
}

fn smaller(scenario: &Scenario) -> Vec<Scenario> {
    let mut candidates = Vec::new();
    for days in [scenario.days / 2, scenario.days.saturating_sub(1)] {
        if days >= 1 && days < scenario.days {
            candidates.push(Scenario { days, ..scenario.clone() });
        }
    }
    for submissions in [scenario.submissions / 2, scenario.submissions.saturating_sub(1)] {
        if submissions >= 1 && submissions < scenario.submissions {
            candidates.push(Scenario { submissions, ..scenario.clone() });
        }
    }
    if scenario.nodes > 1 {
        candidates.push(Scenario { nodes: 1, ..scenario.clone() });
    }
    for kind in &scenario.kinds {
        let mut kinds = scenario.kinds.clone();
        kinds.remove(kind);
        candidates.push(Scenario { kinds, ..scenario.clone() });
    }
    candidates
}

/// The one command that shows a world again.
pub(crate) fn replay(scenario: &Scenario) -> String {
    let kinds: Vec<&str> = scenario.kinds.iter().map(|kind| kind.name()).collect();
    format!(
        "make simulate SEEDS=1 SEED_BASE={} DAYS={} JOBS={} NODES={} FAULTS={} TRACE=1",
        scenario.seed,
        scenario.days,
        scenario.submissions,
        scenario.nodes,
        if kinds.is_empty() { "none".to_owned() } else { kinds.join(",") }
    )
}
