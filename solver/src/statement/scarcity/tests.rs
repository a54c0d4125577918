//! Two classes and one machine, plenty, random programs beside brute force, and
//! figures that are none.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use spotwise_model::time::after;
use spotwise_model::{CapacityType, Offer, Plan};

use super::program::{Class, ClassOption, Problem, solve};
use super::*;
use crate::plan::plan_round;
use crate::statement::round::Round;
use crate::tests::fixture::{HOUR, at, input, job, on_demand, running, spec, spot};
use crate::{PlanJob, PlanReport, check, plan, worth};

const SPOT: usize = 0;
const STEADY: usize = 1;

/// One bucket after the other, of that many hours each.
fn hours(widths: &[f64]) -> Vec<f64> {
    widths
        .iter()
        .scan(0.0, |end, width| {
            *end += width;
            Some(*end)
        })
        .collect()
}

/// Two kinds: so many machines of spot at a dollar an hour in each bucket, and a
/// hundred that stay at three.
fn market(ends: &[f64], spot: &[f64], classes: Vec<Class>) -> Problem {
    let machines = vec![spot.iter().map(|n| [*n; 3]).collect(), vec![[100.0; 3]; ends.len()]];
    Problem { ends: ends.to_vec(), machines, classes }
}

fn class(count: f64, hours: f64, due: f64) -> Class {
    let option = |kind, dollars| ClassOption { kind, hours, parts: [1.0; 3], dollars };
    let options = vec![option(SPOT, hours), option(STEADY, 3.0 * hours)];
    Class { count, due, miss: 100.0, options }
}

/// What one more machine of spot saves in each bucket.
fn dear(answer: &Optimum) -> Vec<f64> {
    answer.prices[SPOT].iter().map(|price| price.iter().sum()).collect()
}

#[test]
fn an_hour_that_two_jobs_want_costs_what_on_demand_costs_more() {
    // Two jobs of an hour, due after an hour, on one machine.
    let answer = solve(&market(&[1.0, 3.0], &[1.0, 1.0], vec![class(2.0, 1.0, 1.0)])).unwrap();
    assert!((answer.dollars - 4.0).abs() < 1e-6, "{}", answer.dollars);
    let dear = dear(&answer);
    assert!((dear[0] - 2.0).abs() < 1e-6 && dear[1] < 1e-6, "{dear:?}");
    // With time for both nothing is dear.
    let loose = vec![class(1.0, 1.0, 1.0), class(1.0, 1.0, 3.0)];
    let answer = solve(&market(&[1.0, 3.0], &[1.0, 1.0], loose)).unwrap();
    assert!((answer.dollars - 2.0).abs() < 1e-6, "{}", answer.dollars);
    assert!(super::tests::dear(&answer).iter().sum::<f64>() < 2.0 + 1e-6);
}

#[test]
fn a_job_that_no_machine_holds_in_time_is_missed_for_its_price() {
    let mut late = class(1.0, 4.0, 2.0);
    let answer = solve(&market(&[1.0, 3.0], &[1.0, 1.0], vec![late.clone()])).unwrap();
    // Half of it is done in two hours.
    assert!((answer.dollars - (2.0 + 50.0)).abs() < 1e-6, "{}", answer.dollars);
    late.options.clear();
    let answer = solve(&market(&[1.0, 3.0], &[1.0, 1.0], vec![late])).unwrap();
    assert!((answer.dollars - 100.0).abs() < 1e-6);
}

#[test]
fn figures_that_are_none_give_no_prices() {
    let whole = market(&[1.0, 3.0], &[1.0, 1.0], vec![class(2.0, 1.0, 3.0)]);
    assert!(solve(&whole).is_some());
    for wrong in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
        let with = |change: &dyn Fn(&mut Problem)| {
            let mut problem = whole.clone();
            change(&mut problem);
            solve(&problem)
        };
        assert_eq!(with(&|p| p.ends[1] = wrong), None);
        assert_eq!(with(&|p| p.machines[0][1][2] = wrong), None);
        assert_eq!(with(&|p| p.classes[0].count = wrong), None);
        assert_eq!(with(&|p| p.classes[0].due = wrong), None);
        assert_eq!(with(&|p| p.classes[0].miss = wrong), None);
        assert_eq!(with(&|p| p.classes[0].options[0].hours = wrong), None);
        assert_eq!(with(&|p| p.classes[0].options[1].dollars = wrong), None);
        assert_eq!(with(&|p| p.classes[0].options[0].parts[0] = wrong), None);
    }
    let mut unknown = whole.clone();
    unknown.classes[0].options[0].kind = 2;
    assert_eq!(solve(&unknown), None);
    let mut backwards = whole.clone();
    backwards.ends = vec![3.0, 1.0];
    assert_eq!(solve(&backwards), None);
    let none = market(&[1.0, 3.0], &[0.0, 0.0], whole.classes);
    let answer = solve(&none).expect("no spot at all is a market too");
    assert!((answer.dollars - 6.0).abs() < 1e-6);
    assert_eq!(solve(&Problem::default()), None, "nothing to price");
}

prop_compose! {
    fn any_class(buckets: usize)(
        count in 1..3_u32,
        hours in select(vec![0.5, 1.0, 1.5, 2.0]),
        due in 0.5..(2.0 * buckets as f64),
        miss in select(vec![5.0, 20.0]),
        options in vec((0..2_usize, select(vec![0.25, 0.5, 1.0]), select(vec![0.5, 1.0, 3.0])), 1..3),
    ) -> Class {
        let option = |(kind, part, price): (usize, f64, f64)| ClassOption {
            kind,
            hours,
            parts: [part, part / 2.0, 0.0],
            dollars: price * hours,
        };
        Class { count: f64::from(count), due, miss, options: options.into_iter().map(option).collect() }
    }
}

prop_compose! {
    fn any_problem()(buckets in 1..4_usize)(
        classes in vec(any_class(buckets), 1..4),
        widths in vec(select(vec![0.5, 1.0, 2.0]), buckets),
        machines in vec(vec(select(vec![0.0, 0.5, 1.0, 2.0]), buckets), 2),
    ) -> Problem {
        let machines = machines.into_iter().map(|of| of.into_iter().map(|n| [n; 3]).collect());
        Problem { ends: hours(&widths), machines: machines.collect(), classes }
    }
}

/// The least dollars where each job is done as a whole in one bucket, or missed.
fn brute(problem: &Problem, job: usize, left: &mut Vec<Vec<[f64; PLAIN]>>) -> f64 {
    let classes = &problem.classes;
    let mut of = classes.iter().flat_map(|class| std::iter::repeat_n(class, class.count as usize));
    let Some(class) = of.nth(job) else { return 0.0 };
    let mut best = class.miss + brute(problem, job + 1, left);
    for (bucket, end) in problem.ends.iter().enumerate() {
        let start = if bucket == 0 { 0.0 } else { problem.ends[bucket - 1] };
        for option in &class.options {
            let before = left[option.kind][bucket];
            let after: [f64; PLAIN] =
                std::array::from_fn(|r| before[r] - option.parts[r] * option.hours);
            let fits =
                option.hours <= end.min(class.due) - start && after.iter().all(|a| *a >= -1e-9);
            if fits {
                left[option.kind][bucket] = after;
                best = best.min(option.dollars + brute(problem, job + 1, left));
                left[option.kind][bucket] = before;
            }
        }
    }
    best
}

/// Machine-hours that there are.
fn all(problem: &Problem) -> Vec<Vec<[f64; PLAIN]>> {
    let widths = |at: usize| problem.ends[at] - if at == 0 { 0.0 } else { problem.ends[at - 1] };
    let of = |kind: &Vec<[f64; PLAIN]>| {
        kind.iter().enumerate().map(|(at, n)| n.map(|n| n * widths(at))).collect()
    };
    problem.machines.iter().map(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_schedule_over_the_buckets_costs_less_than_the_program(problem in any_problem()) {
        let answer = solve(&problem).expect("missing everything is an answer");
        let best = brute(&problem, 0, &mut all(&problem));
        prop_assert!(answer.dollars <= best + 1e-6, "{} is more than {best}", answer.dollars);
        prop_assert!(answer.prices.iter().flatten().flatten().all(|price| *price >= 0.0));
        prop_assert_eq!(solve(&problem), Some(answer));
    }

    #[test]
    fn one_more_machine_saves_no_more_than_its_price(
        problem in any_problem(),
        kind in 0..2_usize,
        bucket in 0..3_usize,
    ) {
        let answer = solve(&problem).unwrap();
        let bucket = bucket.min(problem.ends.len() - 1);
        let width = all(&Problem { machines: vec![vec![[1.0; 3]; problem.ends.len()]], ..problem.clone() })[0][bucket][0];
        let mut more = problem.clone();
        more.machines[kind][bucket] = more.machines[kind][bucket].map(|n| n + 1.0);
        let saved = answer.dollars - solve(&more).unwrap().dollars;
        let price: f64 = answer.prices[kind][bucket].iter().sum();
        prop_assert!(saved <= price * width + 1e-6, "{saved} is more than {price} for {width} h");
        prop_assert!(saved >= -1e-6);
    }
}

/// A machine of spot at a dollar an hour that nobody takes back, and many on
/// demand at three.
fn one_machine(free: u32) -> Vec<Offer> {
    vec![on_demand("a", 3.0, 9), Offer { hazard_per_hour: 0.0, ..spot("a", 1.0, free) }]
}

/// Hours of work, and hours from now to the deadline.
type Request = (f64, f64);

fn wanted(id: usize, (work, due): Request, now: f64) -> PlanJob {
    let spec = spec((work * 3_600.0) as u64);
    let time = |hour: f64| after(at(0), Duration::from_secs_f64(hour * 3_600.0));
    // The pace of a deadline is another rule's.
    PlanJob { submitted: time(now), deadline: time(due), ..job(id as u64, spec, 0, 0) }
}

fn decide(input: &crate::PlanInput, priced: bool) -> (Plan, PlanReport) {
    if priced {
        return plan(input);
    }
    plan_round(&Round::priced(input, &[], |_, _, _| Scarcity::Plenty), &|| false)
}

/// Dollars of all jobs where a round is decided every quarter of an hour.
fn replay(jobs: &[Request], priced: bool) -> f64 {
    let mut waiting: Vec<usize> = (0..jobs.len()).collect();
    let (mut dollars, mut held): (f64, Option<(usize, f64, f64)>) = (0.0, None);
    for quarter in 0..400 {
        let now = f64::from(quarter) / 4.0;
        held = held.filter(|(_, _, until)| *until > now + 1e-9);
        let mut input = input(
            one_machine(u32::from(held.is_none())),
            waiting.iter().map(|at| wanted(*at, jobs[*at], now)).collect(),
        );
        input.now = after(at(0), Duration::from_secs_f64(now * 3_600.0));
        if let Some((job, since, until)) = held {
            let done = (100.0 * (now - since) / (until - since)) as u32;
            let on = &input.offers[1];
            let mut on_it = running(wanted(job, jobs[job], now), on, 0, done);
            on_it.since = after(at(0), Duration::from_secs_f64(since * 3_600.0));
            input.running.push(on_it);
        }
        let (plan, _) = decide(&input, priced);
        assert_eq!(check(&input, &plan), Ok(()));
        for placement in plan.placements {
            let job = placement.job.0 as usize;
            let hours = jobs[job].0 + 0.1;
            assert!(now + hours <= jobs[job].1 + 1e-9, "{job} is late");
            waiting.retain(|other| *other != job);
            if placement.offer.market.capacity_type == CapacityType::Spot {
                dollars += hours;
                held = Some((job, now, now + hours));
            } else {
                dollars += 3.0 * hours;
            }
        }
    }
    assert!(waiting.is_empty());
    dollars
}

/// The least dollars of all orders on the one machine, the others on demand.
fn best_order(jobs: &[Request], open: &[usize], now: f64) -> f64 {
    let rest: f64 = open.iter().map(|job| 3.0 * (jobs[*job].0 + 0.1)).sum();
    let first = |job: &usize| {
        let hours = jobs[*job].0 + 0.1;
        // A round is made every quarter of an hour.
        let end = ((now + hours) * 4.0).ceil() / 4.0;
        let others: Vec<usize> = open.iter().copied().filter(|other| other != job).collect();
        let in_time = now + hours <= jobs[*job].1;
        in_time.then(|| hours + best_order(jobs, &others, end))
    };
    open.iter().filter_map(first).fold(rest, f64::min)
}

#[test]
fn the_tight_job_takes_the_one_machine_and_the_loose_one_follows() {
    let cases: [&[Request]; 4] = [
        &[(10.0, 30.0), (2.0, 2.9)],
        &[(8.0, 40.0), (3.0, 9.0), (1.0, 1.9)],
        &[(4.0, 5.0), (6.0, 30.0)],
        &[(12.0, 60.0), (5.0, 30.0), (2.0, 2.9)],
    ];
    for jobs in cases {
        let best = best_order(jobs, &(0..jobs.len()).collect::<Vec<_>>(), 0.0);
        let ours = replay(jobs, true);
        assert!((ours - best).abs() < 1e-6, "{jobs:?}: {ours} is not {best}");
        assert!(replay(jobs, false) > best + 1.0, "{jobs:?}: the longest is best");
    }
}

#[test]
fn where_all_fit_later_machines_cost_nothing() {
    let jobs = || vec![wanted(1, (10.0, 30.0), 0.0), wanted(2, (2.0, 2.9), 0.0)];
    let plenty = input(one_machine(2), jobs());
    assert_eq!(decide(&plenty, true), decide(&plenty, false));
    assert_eq!(plan(&plenty).1.scarcity, Scarcity::Plenty);
    let scarce = plan(&input(one_machine(1), jobs())).1.scarcity;
    let Scarcity::Priced(prices) = &scarce else { panic!("{scarce:?}") };
    assert_eq!((prices.classes, prices.ends.len()), (2, prices.dearest.len()));
    // 2.1 h and 10.1 h on the one machine: there is time for both.
    assert!((prices.dollars - 12.2).abs() < 0.01, "{}", prices.dollars);
    assert!(prices.dearest.iter().all(|price| *price < 1e-6), "{prices:?}");
    let mut three = jobs();
    three.push(wanted(3, (2.0, 2.9), 0.0));
    let scarce = plan(&input(one_machine(1), three)).1.scarcity;
    let Scarcity::Priced(prices) = &scarce else { panic!("{scarce:?}") };
    // For two of them there is none: one machine more saves what on-demand costs more.
    let hours = prices.dearest[0] + 2.0 * prices.dearest[1];
    assert!(hours > 1.0 && prices.dearest[4] < 1e-6, "{prices:?}");
}

#[test]
fn a_machine_that_nobody_else_wants_is_taken() {
    // Two alike want one machine of spot: the dear one is for neither of them.
    let mut offers = one_machine(1);
    offers.push(Offer { hazard_per_hour: 0.0, ..spot("b", 2.9, 1) });
    let jobs =
        vec![wanted(1, (4.0, 60.0), 0.0), wanted(2, (4.0, 60.0), 0.0), wanted(3, (4.0, 60.0), 0.0)];
    let (plan, report) = plan(&input(offers, jobs));
    assert!(matches!(report.scarcity, Scarcity::Priced(_)));
    assert_eq!((plan.placements.len(), plan.waits.len()), (2, 1));
}

#[test]
fn a_market_without_machines_gives_no_prices_that_matter() {
    let jobs = || vec![wanted(1, (10.0, 30.0), 0.0), wanted(2, (2.0, 2.9), 0.0)];
    for offers in [Vec::new(), vec![spot("a", 1.0, 0)], one_machine(0)] {
        let input = input(offers, jobs());
        let (plan, report) = plan(&input);
        assert_eq!(check(&input, &plan), Ok(()));
        assert!(report.objective.is_finite());
        let worth = worth(&input, &plan, &report.prices);
        assert!(worth.cost.is_some_and(|cost| (cost - report.objective).abs() < 1e-6));
    }
    let broken = Offer { hazard_per_hour: f64::NAN, ..spot("a", 1.0, 1) };
    let input = input(vec![on_demand("a", 3.0, 1), broken], jobs());
    assert_eq!(check(&input, &plan(&input).0), Ok(()));
}

#[test]
fn a_program_of_too_many_columns_is_not_asked() {
    // Every job wants another part of a machine.
    let jobs = (0..900_u64).map(|id| {
        let mut spec = spec(20 * HOUR);
        spec.resources.cpu_milli = 1_000 + id;
        job(id, spec, 0, 300)
    });
    let input = input(one_machine(1), jobs.collect());
    let Scarcity::TooLarge { columns } = Round::new(&input).scarcity else { panic!() };
    assert!(columns > MOST_COLUMNS, "{columns}");
    let hurried = crate::PlanInput { time_limit: Duration::ZERO, ..input };
    assert_eq!(Round::new(&hurried).scarcity, Scarcity::NoTime);
}

#[test]
fn enough_ends_a_round_with_a_plan_that_passes() {
    let jobs = (1..40).map(|id| wanted(id, (1.0 + id as f64, 90.0), 0.0)).collect();
    let input = input(one_machine(9), jobs);
    for steps in [0, 1, 5, 30] {
        let asked = std::cell::Cell::new(0);
        let enough = || asked.replace(asked.get() + 1) >= steps;
        let (plan, report) = crate::plan_until(&input, &enough);
        assert_eq!(check(&input, &plan), Ok(()));
        assert!(report.checked && report.objective <= report.greedy_objective);
        assert!(asked.get() <= steps + 4, "asked {} times after {steps}", asked.get());
        let worth = worth(&input, &plan, &report.prices);
        assert!(worth.cost.is_some_and(|cost| (cost - report.objective).abs() <= 1e-6 * cost));
    }
}
