//! Which GPUs to lay out anew: an integer program over counts of the 28 maximal
//! multisets.
//!
//! A repartition clears the whole GPU. So a GPU that is to be laid out anew takes
//! no more work until it is idle, and its new slices are there only after the
//! repartition's duration; a GPU that is left alone offers its free slices now
//! and the running ones when they end. A waiting request is worth its compute
//! slices for as long as it runs within the horizon. Where a slice starts does not
//! matter here: every multiset has a layout ([`Geometry`]).

use std::collections::BTreeMap;
use std::time::Duration;

use good_lp::solvers::SolutionStatus;
use good_lp::solvers::highs::{HighsParallelType, highs};
use good_lp::{
    Expression, ProblemVariables, Solution, SolverModel, Variable, constraint, variable,
};

use spotwise_solver::mig::{Geometry, PerProfile};

/// Worth of leaving a GPU alone, as a part of one slice over the horizon: only
/// a repartition that gains something is made.
const QUIET: f64 = 1e-3;

/// A GPU as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Sliced {
    /// The instances that it is cut into.
    pub cut: PerProfile<u32>,
    /// Those of them that run something.
    pub running: PerProfile<u32>,
    /// Time until nothing runs on it, were nothing more started; zero if idle.
    pub idle_in: Duration,
}

/// What to lay out anew for.
#[derive(Clone, Debug, PartialEq)]
pub struct Repack {
    /// The GPUs.
    pub gpus: Vec<Sliced>,
    /// Requests that wait, or are expected, for each profile.
    pub waiting: PerProfile<u32>,
    /// How long a repartition takes once its GPU is idle.
    pub repartition: Duration,
    /// How far to look ahead; work beyond it counts for nothing.
    pub horizon: Duration,
    /// Time that the solver may take.
    pub time_limit: Duration,
}

/// One GPU to close, empty and lay out anew.
#[derive(Clone, Debug, PartialEq)]
pub struct Repartition {
    /// Position in [`Repack::gpus`].
    pub gpu: usize,
    /// The instances that it is to have.
    pub into: PerProfile<u32>,
    /// When they are there, from now.
    pub ready_in: Duration,
}

/// The answer to a [`Repack`].
#[derive(Clone, Debug, PartialEq)]
pub struct Repacked {
    /// What to do, by GPU; empty where nothing is to be gained.
    pub repartitions: Vec<Repartition>,
    /// Compute slices x hours that the waiting requests get within the horizon.
    pub worth: f64,
    /// The same, were no GPU touched.
    pub worth_untouched: f64,
    /// Whether no better answer exists.
    pub proven: bool,
}

/// The best repartitions. Where HiGHS has no answer in time: none, unproven.
pub fn repack(geometry: &Geometry, asked: &Repack) -> Repacked {
    let untouched = worth(asked, &[]);
    let nothing = Repacked {
        repartitions: Vec::new(),
        worth: untouched,
        worth_untouched: untouched,
        proven: false,
    };
    if asked.gpus.is_empty() || asked.horizon.is_zero() {
        return Repacked { proven: true, ..nothing };
    }
    let program = Program::new(&geometry.maximal(), asked);
    let Some((repartitions, proven)) = program.solve(asked) else { return nothing };
    let worth = worth(asked, &repartitions);
    Repacked { repartitions, worth, worth_untouched: untouched, proven }
}

/// What the waiting requests get, each slice taken as soon as it is free.
fn worth(asked: &Repack, repartitions: &[Repartition]) -> f64 {
    let mut offered: BTreeMap<Duration, PerProfile<u32>> = BTreeMap::new();
    for (at, gpu) in asked.gpus.iter().enumerate() {
        match repartitions.iter().find(|repartition| repartition.gpu == at) {
            Some(repartition) => offer(&mut offered, repartition.ready_in, &repartition.into, 1),
            None => {
                for (when, slices) in as_it_is(gpu) {
                    offer(&mut offered, when, &slices, 1);
                }
            }
        }
    }
    let mut waiting = asked.waiting;
    let mut total = 0.0;
    for (when, slices) in offered {
        for (profile, n) in slices.iter() {
            let left = waiting.get_mut(profile);
            let served = (*n).min(*left);
            *left -= served;
            total += f64::from(served * profile.compute_slices()) * hours_left(asked, when);
        }
    }
    total
}

/// What a GPU offers if it is left alone: free slices now, others when it is idle.
fn as_it_is(gpu: &Sliced) -> [(Duration, PerProfile<u32>); 2] {
    let free = PerProfile::of(|p| gpu.cut.get(p).saturating_sub(*gpu.running.get(p)));
    [(Duration::ZERO, free), (gpu.idle_in, gpu.running)]
}

fn offer(
    offered: &mut BTreeMap<Duration, PerProfile<u32>>,
    when: Duration,
    slices: &PerProfile<u32>,
    times: u32,
) {
    let at = offered.entry(when).or_default();
    for (profile, n) in slices.iter() {
        *at.get_mut(profile) += n * times;
    }
}

fn hours_left(asked: &Repack, when: Duration) -> f64 {
    asked.horizon.saturating_sub(when).as_secs_f64() / 3_600.0
}

/// GPUs that differ in nothing, with a column for each multiset that they may be
/// laid out as.
struct Group {
    members: Vec<usize>,
    ready_in: Duration,
    into: Vec<(PerProfile<u32>, Variable)>,
}

struct Program {
    variables: ProblemVariables,
    groups: Vec<Group>,
    served: BTreeMap<(Duration, usize), Variable>,
    offered: BTreeMap<(Duration, usize), Expression>,
    objective: Expression,
}

impl Program {
    fn new(maximal: &[PerProfile<u32>], asked: &Repack) -> Self {
        type Like = (PerProfile<u32>, PerProfile<u32>, Duration);
        let mut alike: BTreeMap<Like, Vec<usize>> = BTreeMap::new();
        for (at, gpu) in asked.gpus.iter().enumerate() {
            alike.entry((gpu.cut, gpu.running, gpu.idle_in)).or_default().push(at);
        }
        let mut program = Self {
            variables: ProblemVariables::new(),
            groups: Vec::new(),
            served: BTreeMap::new(),
            offered: BTreeMap::new(),
            objective: Expression::default(),
        };
        let quiet = QUIET * hours_left(asked, Duration::ZERO);
        for ((cut, running, idle_in), members) in alike {
            let count = members.len() as f64;
            let ready_in = idle_in + asked.repartition;
            let other = maximal.iter().filter(|set| **set != cut);
            let into: Vec<_> = other
                .map(|set| (*set, program.variables.add(variable().integer().min(0).max(count))))
                .collect();
            // Those that are left alone are what no column takes.
            for (when, slices) in as_it_is(&Sliced { cut, running, idle_in }) {
                let left = into.iter().fold(Expression::from(count), |left, (_, x)| left - *x);
                program.offer(when, &slices, &left);
            }
            for (set, x) in &into {
                program.offer(ready_in, set, &Expression::from(*x));
                program.objective -= quiet * *x;
            }
            program.groups.push(Group { members, ready_in, into });
        }
        for (when, profile) in program.offered.keys().copied().collect::<Vec<_>>() {
            let wanted = asked.waiting.0.get(profile).copied().unwrap_or(0);
            let most = f64::from(wanted);
            let served = program.variables.add(variable().min(0).max(most));
            let compute = PerProfile::of(|p| p.compute_slices()).0;
            let compute = f64::from(compute.get(profile).copied().unwrap_or(0));
            program.objective += compute * hours_left(asked, when) * served;
            program.served.insert((when, profile), served);
        }
        program
    }

    fn offer(&mut self, when: Duration, slices: &PerProfile<u32>, times: &Expression) {
        for (profile, n) in slices.iter().filter(|(_, n)| **n > 0) {
            let offered = self.offered.entry((when, profile.index())).or_default();
            *offered += times.clone() * f64::from(*n);
        }
    }

    fn solve(self, asked: &Repack) -> Option<(Vec<Repartition>, bool)> {
        let mut problem = self
            .variables
            .maximise(self.objective.clone())
            .using(highs)
            .set_parallel(HighsParallelType::Off)
            .set_threads(1)
            .set_option("random_seed", 0)
            .set_option("mip_rel_gap", 0.0)
            .set_option("mip_abs_gap", 1e-6)
            .set_time_limit(asked.time_limit.as_secs_f64());
        for (at, served) in &self.served {
            let offered = self.offered.get(at).cloned().unwrap_or_default();
            problem.add_constraint(constraint!(*served <= offered));
        }
        for (profile, wanted) in asked.waiting.iter() {
            let of = self.served.iter().filter(|((_, at), _)| *at == profile.index());
            let all = of.fold(Expression::default(), |all, (_, served)| all + *served);
            problem.add_constraint(constraint!(all <= f64::from(*wanted)));
        }
        for group in &self.groups {
            let taken = group.into.iter().fold(Expression::default(), |all, (_, x)| all + *x);
            problem.add_constraint(constraint!(taken <= group.members.len() as f64));
        }
        let solution = problem.solve().ok()?;
        let proven = !matches!(solution.status(), SolutionStatus::TimeLimit);
        let mut repartitions = Vec::new();
        for group in &self.groups {
            let mut members = group.members.iter();
            for (into, x) in &group.into {
                let n = solution.value(*x).round().max(0.0) as usize;
                repartitions.extend(members.by_ref().take(n).map(|gpu| Repartition {
                    gpu: *gpu,
                    into: *into,
                    ready_in: group.ready_in,
                }));
            }
        }
        repartitions.sort_by_key(|repartition| repartition.gpu);
        Some((repartitions, proven))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const SEVEN_SMALL: PerProfile<u32> = PerProfile([7, 0, 0, 0, 0, 0]);
    const TWO_3G: PerProfile<u32> = PerProfile([0, 0, 0, 2, 0, 0]);

    fn asked(gpus: Vec<Sliced>, waiting: PerProfile<u32>) -> Repack {
        Repack {
            gpus,
            waiting,
            repartition: HOUR / 10,
            horizon: 8 * HOUR,
            time_limit: Duration::from_secs(10),
        }
    }

    fn idle(cut: PerProfile<u32>) -> Sliced {
        Sliced { cut, running: PerProfile::default(), idle_in: Duration::ZERO }
    }

    #[test]
    fn an_idle_gpu_is_laid_out_for_what_waits() {
        let answer = repack(&Geometry::new(), &asked(vec![idle(SEVEN_SMALL)], TWO_3G));
        let [repartition] = answer.repartitions.as_slice() else { panic!("{answer:?}") };
        assert!(*repartition.into.get(spotwise_model::gpu::MigProfile::G3) == 2);
        assert_eq!(repartition.ready_in, HOUR / 10);
        assert!(answer.proven && answer.worth_untouched == 0.0);
        assert!((answer.worth - 6.0 * 7.9).abs() < 1e-9, "six slices, 7.9 hours");
    }

    #[test]
    fn a_gpu_that_serves_what_waits_is_left_alone() {
        let answer = repack(&Geometry::new(), &asked(vec![idle(SEVEN_SMALL)], SEVEN_SMALL));
        assert_eq!(answer.repartitions, []);
        assert!(answer.proven);
    }

    #[test]
    fn a_gpu_that_is_busy_beyond_the_horizon_is_left_alone() {
        let mut gpu = idle(SEVEN_SMALL);
        gpu.running = PerProfile([1, 0, 0, 0, 0, 0]);
        gpu.idle_in = 9 * HOUR;
        let answer = repack(&Geometry::new(), &asked(vec![gpu], TWO_3G));
        assert_eq!(answer.repartitions, []);
    }

    #[test]
    fn the_idle_one_of_two_is_chosen() {
        let mut busy = idle(SEVEN_SMALL);
        busy.running = PerProfile([1, 0, 0, 0, 0, 0]);
        busy.idle_in = HOUR;
        let answer = repack(&Geometry::new(), &asked(vec![busy, idle(SEVEN_SMALL)], TWO_3G));
        assert_eq!(answer.repartitions.iter().map(|r| r.gpu).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn nothing_to_do_is_answered() {
        let geometry = Geometry::new();
        let answer = repack(&geometry, &asked(Vec::new(), TWO_3G));
        assert!(answer.proven && answer.repartitions.is_empty());
        let mut no_time = asked(vec![idle(SEVEN_SMALL)], TWO_3G);
        no_time.time_limit = Duration::ZERO;
        no_time.horizon = Duration::ZERO;
        assert_eq!(repack(&geometry, &no_time).repartitions, []);
    }

    fn gpu() -> impl Strategy<Value = Sliced> {
        let maximal = Geometry::new().maximal();
        (prop::sample::select(maximal), prop::array::uniform6(0..3_u32), 0..10_u64).prop_map(
            |(cut, running, hours)| {
                let running = PerProfile(running);
                let running = PerProfile::of(|p| *running.get(p).min(cut.get(p)));
                let busy = running.0.iter().any(|n| *n > 0);
                let idle_in = if busy { HOUR * hours as u32 } else { Duration::ZERO };
                Sliced { cut, running, idle_in }
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        /// Two GPUs: all 29 x 29 answers tried.
        #[test]
        fn no_pair_of_layouts_is_worth_more(
            gpus in prop::collection::vec(gpu(), 2),
            waiting in prop::array::uniform6(0..5_u32),
        ) {
            let geometry = Geometry::new();
            let asked = asked(gpus, PerProfile(waiting));
            let answer = repack(&geometry, &asked);
            prop_assert!(answer.proven);
            prop_assert!(answer.worth >= answer.worth_untouched - 1e-9);
            let ways = |gpu: usize| {
                let ready_in = asked.gpus[gpu].idle_in + asked.repartition;
                let into = |into| Some(Repartition { gpu, into, ready_in });
                std::iter::once(None).chain(geometry.maximal().into_iter().map(into)).collect()
            };
            let (first, second): (Vec<_>, Vec<_>) = (ways(0), ways(1));
            let quiet = QUIET * 8.0;
            let mut best = f64::NEG_INFINITY;
            for a in &first {
                for b in &second {
                    let chosen: Vec<_> = a.iter().chain(b).cloned().collect();
                    best = best.max(worth(&asked, &chosen) - quiet * chosen.len() as f64);
                }
            }
            let found = answer.worth - quiet * answer.repartitions.len() as f64;
            prop_assert!((found - best).abs() < 1e-6, "found {found}, best {best}");
        }
    }
}
