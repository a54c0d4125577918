//! The sizes of gang that the queue asks for.

use super::*;

#[test]
fn sizes_are_those_of_the_queue_and_never_too_small() {
    let state_of = |nodes: &[u32]| {
        let mut state = crate::fixture::state_of(Vec::new());
        queue(&mut state, nodes);
        state
    };
    let shape = NodeShape { cpu_milli: 8_000, memory_mib: 32_768, ..NodeShape::default() };
    let sizes = |nodes: &[u32]| Gangs::of(&state_of(nodes)).sizes(&shape);
    assert!(sizes(&[]).is_empty(), "nobody asks for anything");
    assert_eq!(sizes(&[1, 3, 1, 12, 3]), [1, 3, 12], "as they are");
    assert_eq!(sizes(&[2, 3, 5, 7, 9, 16, 33]), [2, 4, 8, 16, 64], "rounded up");
    let small = NodeShape { cpu_milli: 4_000, ..shape.clone() };
    assert!(Gangs::of(&state_of(&[3, 5])).sizes(&small).is_empty(), "nobody asks for these");
    let mut state = state_of(&[3, 5]);
    let mut steady = spec("steady", 5);
    steady.interruptible = false;
    state.jobs.get_mut(&JobId(2)).unwrap().spec = steady.into();
    assert_eq!(Gangs::of(&state).sizes(&shape), [3], "spot is not for everybody");
    ask(&mut state);
    assert_eq!(Gangs::of(&state).sizes(&shape), [1, 3], "and who only asks is answered");
}

/// If nobody needs one there is no forecast: each is ten megabytes, and updated in every
/// round.
#[test]
fn nobody_expects_what_nobody_needs() {
    let market = market(&[("us-east-1a", lively())]);
    let config = Config::default();
    let mut world = World::new(market, config, &total(), minute(3 * DAY));
    world.round(None);
    assert!(world.state.seen.forecasts.is_empty());
    assert!(!is_any_missing(&world.state));
    let spec = std::sync::Arc::new(spec("asked", 1));
    world.command(Command::RequestForecasts(vec![spec.clone(), spec])).unwrap();
    assert!(is_any_missing(&world.state) && world.state.seen.forecast_requests.len() == 1);
    world.round(None);
    assert_eq!(world.state.seen.forecasts.len(), 1);
    // It ends by itself, and the round after it is due by then.
    let until = world.state.seen.forecast_requests[0].until;
    let due = crate::phase::due::next(&world.state, &world.market, &world.config, world.clock());
    let real = spotwise_model::time::TimeScale::real(world.now);
    assert!(due.earliest(real).is_some_and(|due| due <= until));
    world.now = until;
    world.round(None);
    assert!(world.state.seen.forecasts.is_empty());
}

/// One to three machines all the time except for short gaps: a single job waits for the end
/// of a gap, a gang of four does not hope for what never was.
#[test]
fn a_gang_that_spot_never_holds_goes_on_demand_in_time_and_a_single_job_waits() {
    let rows = (0..1_500).map(|n| (n * 15, if n % 8 == 7 { 0 } else { 1 + n as u32 % 3 }));
    let market = market(&[("us-east-1a", rows.collect())]);
    let config = Config::default();
    // A hole begins.
    let begin = 10 * DAY + 105;
    let mut world = World::new(market, config, &total(), minute(0));
    assert_eq!(
        world.market.machines(
            &ZoneName::new("us-east-1a"),
            &InstanceType::new("p3.2xlarge"),
            minute(begin)
        ),
        Some(0)
    );
    for at in (begin - DAY..begin).step_by(5) {
        world.now = minute(at);
        world.round(None);
    }
    world.now = minute(begin);
    for (name, nodes) in [("gang", 4), ("single", 1)] {
        let request = Submit {
            submission: submission(name, nodes),
            document_hash: String::new(),
            key: None,
            known: None,
            ended_parents: Vec::new(),
            arrays: std::collections::BTreeMap::new(),
        };
        world.command(Command::Submit(request)).unwrap();
    }
    let mut placed: BTreeMap<u64, (i64, CapacityType)> = BTreeMap::new();
    for at in (begin..begin + DAY).step_by(5) {
        world.now = minute(at);
        // One forecast a round.
        world.round(None);
        world.round(None);
        if at == begin {
            let sizes: Vec<u32> = world.state.seen.forecasts.iter().map(|f| f.nodes).collect();
            assert_eq!(sizes, [1, 4]);
        }
        let (plan, _) = spotwise_solver::plan(&world.plan_input());
        world.round(Some(plan));
        for attempt in world.committed.attempts.values() {
            let first = (at - begin, attempt.offer.market.capacity_type);
            placed.entry(attempt.id.job.0).or_insert(first);
        }
        if placed.len() == 2 {
            break;
        }
    }
    let (gang, single) = (placed[&1], placed[&2]);
    assert_eq!(single, (15, CapacityType::Spot), "when the hole is over");
    // 20 h less 4 h of work and a changeover.
    assert_eq!(gang.1, CapacityType::OnDemand);
    assert!(gang.0 <= 16 * 60, "{gang:?}");
}
