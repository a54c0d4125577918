//! Rounds that the integer program does not prove: the decomposition's plan and
//! bound, recomputed.

use std::time::Duration;

use spotwise_model::plan::Method;

use crate::statement::prices::Prices;
use crate::{PlanInput, check, plain_program, plan, worth};

#[path = "../../benches/rounds/mod.rs"]
pub(crate) mod rounds;

/// Plans a round and answers the gap between its cost and its bound, both
/// computed without the code that made them.
fn proven_gap(jobs: u64, offers: u64, seed: u64) -> f64 {
    let input = rounds::round(jobs, offers, seed);
    let (decided, report) = plan(&input);
    assert_eq!(check(&input, &decided), Ok(()));
    assert!(report.checked && report.objective <= report.greedy_objective);
    assert_eq!(report.columns, 0, "too large for the program");
    let worth = worth(&input, &decided, &report.prices);
    let (cost, bound) = (worth.cost.unwrap(), worth.bound.unwrap());
    assert!((cost - report.objective).abs() <= 1e-6 * cost, "{cost} is not {}", report.objective);
    assert!(bound >= report.bound - 1e-6 * cost, "{bound} does not prove {}", report.bound);
    assert!(matches!(decided.method, Method::Proven { .. }), "{:?}", decided.method);
    assert!(report.shortages.iter().any(|shortage| shortage.dollars_per_machine > 1.0));
    worth.gap().unwrap()
}

#[test]
fn a_thousand_jobs_are_planned_within_one_percent_of_the_bound() {
    for seed in [20_261_121, 7, 1_000_003] {
        let gap = proven_gap(1_000, 100, seed);
        assert!(gap <= 0.01, "seed {seed}: {gap}");
    }
}

#[test]
fn more_jobs_than_the_sample_are_planned_within_two_percent_of_the_bound() {
    let gap = proven_gap(5_000, 60, 20_261_121);
    assert!(gap <= 0.02, "{gap}");
}

#[test]
fn a_large_round_gives_the_same_plan_again() {
    let input = rounds::round(700, 40, 3);
    assert_eq!(plan(&input), plan(&input));
}

#[test]
fn prices_that_are_none_prove_nothing() {
    let input = rounds::round(300, 40, 3);
    let (decided, report) = plan(&input);
    let with = |change: fn(&mut Prices)| {
        let mut prices = report.prices.clone();
        change(&mut prices);
        worth(&input, &decided, &prices).bound
    };
    assert!(with(|_| ()).is_some());
    assert_eq!(with(|prices| prices.listings[0].shortage = -1.0), None);
    assert_eq!(with(|prices| prices.listings[0].shortage = f64::NAN), None);
    assert_eq!(with(|prices| prices.listings[0].weights = [1.0; 6]), None);
    assert_eq!(with(|prices| prices.listings.truncate(1)), None);
    let cheaper = with(|prices| prices.listings.iter_mut().for_each(|l| l.shortage = 0.0));
    assert!(cheaper < with(|_| ()), "nothing is scarce without prices");
}

#[test]
fn a_program_that_runs_out_of_time_says_what_it_proved() {
    let input =
        PlanInput { time_limit: Duration::from_secs(2), ..rounds::round(100, 20, 20_261_121) };
    let answer = plain_program(&input);
    let bound = answer.bound.expect("HiGHS has solved the relaxation");
    let (_, report) = plan(&input);
    assert!(bound > 0.5 * report.bound, "{bound} is no bound beside {}", report.bound);
    assert!(bound <= answer.objective && bound <= report.objective, "{bound}: {answer:?}");
}

#[test]
fn a_round_of_little_time_is_answered_too() {
    for millis in [0, 2, 50] {
        let time_limit = Duration::from_millis(millis);
        let input = PlanInput { time_limit, ..rounds::round(300, 40, 3) };
        let (decided, report) = plan(&input);
        assert_eq!(check(&input, &decided), Ok(()));
        assert!(report.objective <= report.greedy_objective);
    }
}

/// A hundred jobs on twenty offers took all of HiGHS's half of the time.
#[test]
fn a_program_that_wins_less_than_it_costs_is_not_asked() {
    let input = rounds::round(100, 20, 20_261_121);
    let (decided, report) = plan(&input);
    assert_eq!(check(&input, &decided), Ok(()));
    assert_eq!(report.columns, 0);
    let worth = worth(&input, &decided, &report.prices);
    assert!(worth.gap().unwrap() < 0.08, "{worth:?}");
    // Twenty jobs on ten offers: it is, and proves its plan.
    let (_, report) = plan(&rounds::round(20, 10, 20_261_121));
    assert!(report.columns > 0);
    assert_eq!(report.method, Method::Proven { gap: 0.0 });
}
