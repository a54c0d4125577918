use std::collections::BTreeMap;

use spotwise_model::{CapacityType, Instance, InstanceState, JobState, Money};

use super::*;
use crate::Source;

/// Two zones for ten days; zone a comes and goes, b has a gap of one day.
fn table() -> String {
    let mut rows = "seconds,zone,instance_type,available,spot_usd_per_hour\n\
                    0,a,p3.2xlarge,1,0.90\n0,b,p3.2xlarge,1,1.00\n"
        .to_owned();
    for n in 1..40 {
        let (seconds, available) = (n * 20_000, n % 2);
        rows += &format!("{seconds},a,p3.2xlarge,{available},0.90\n");
    }
    rows + "300000,b,p3.2xlarge,0,1.00\n386400,b,p3.2xlarge,1,1.10\n"
}

/// A job of one to nine hours every hour and a half, now and then a gang.
fn trace() -> String {
    let mut rows = "submit_s,duration_s,num_gpus,virtual_cluster\n".to_owned();
    for n in 0..60u64 {
        let gpus = if n % 7 == 3 { 2 } else { 1 };
        rows += &format!("{},{},{gpus},x\n", n * 5_400, 3_600 + n * 1_900 % 30_000);
    }
    rows
}

const INDEX: &str = r#"[{"file": "m.csv", "step_seconds": 600, "steps": 1440,
  "instance_types": {"p3.2xlarge": 3.06}, "start_date": "2023-02-15"}]"#;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in
            [("m.csv", table()), ("jobs.csv", trace()), ("index.json", INDEX.to_owned())]
        {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self(folder)
    }

    fn options(&self) -> Options {
        let path = |name| self.0.path().join(name);
        Options {
            market: SharedMarketOptions {
                source: Source { table: path("m.csv"), index: path("index.json") },
                types: vec![],
                zones: vec![],
                capacity: 3,
                on_demand_capacity: Some(40),
            },
            jobs: JobsOptions {
                path: path("jobs.csv"),
                from: 0,
                every: 1,
                limit: 100,
                shortest: Duration::ZERO,
                longest: Duration::from_secs(86_400),
                most_gpus: 8,
                deadline_factor: 1.5,
                deadline_slack: Duration::from_secs(3_600),
                start_after: Duration::from_secs(3_600),
            },
            changeover: Duration::from_secs(720),
            planners: Planner::ALL.map(|planner| planner.name().to_owned()).to_vec(),
            policy: Policy { changeover: Duration::from_secs(720), ..Policy::default() },
            other_policies: vec![],
            round_every: Duration::from_secs(300),
            plan_time_limit: Duration::from_secs(60),
        }
    }
}

fn quiet(options: &Options) -> Result<Report, BacktestError> {
    run(options, &|_, _, _| {})
}

fn life(instance: &Instance) -> (Timestamp, Timestamp) {
    match instance.state {
        InstanceState::Gone { since: Some(since), at, settled: true, .. } => (since, at),
        state => panic!("{} is {state:?} after the end", instance.id),
    }
}

/// The replays of every planner, with everything committed.
fn replays(options: &Options, look: impl Fn(&str, &Market, &World)) {
    let market = shared_market::read(&options.market, &Catalog::built_in()).unwrap();
    let (arrivals, _) = jobs::read(&options.jobs, &shared_market::stage(&market)).unwrap();
    for planner in Planner::ALL {
        let mut replay = Replay::new(planner, &market, &arrivals, options, &options.policy);
        replay.run_to_the_end(&|_| {}).unwrap();
        look(planner.name(), &market, &replay.world);
    }
}

#[test]
fn every_job_is_done_and_none_faster_than_its_work() {
    let folder = Folder::new();
    let options = folder.options();
    replays(&options, |planner, _, world| {
        assert_eq!(world.committed.jobs.len(), 60, "{planner}");
        for job in world.committed.jobs.values() {
            let JobState::Succeeded { at } = job.state else { panic!("{planner}: {job:?}") };
            let least = job.spec.longest_expected_duration() + options.changeover;
            assert!(at >= after(job.submitted, least), "{planner}: {} was too fast", job.id);
        }
        let taken: u32 = world.committed.jobs.values().map(|job| job.interruptions).sum();
        assert!(taken > 0, "{planner}: nothing was ever taken back");
    });
}

/// Nothing runs where there is nothing, and never more than there is.
#[test]
fn no_zone_gives_more_than_it_has() {
    let folder = Folder::new();
    let options = folder.options();
    replays(&options, |planner, market, world| {
        let mut changes: BTreeMap<_, Vec<(Timestamp, i64)>> = BTreeMap::new();
        for instance in world.committed.instances.values() {
            let (since, at) = life(instance);
            let list = changes.entry(instance.offer.clone()).or_default();
            list.extend([(since, 1), (at, -1)]);
        }
        for (offer, mut list) in changes {
            // What ends at a moment makes room for what begins then.
            list.sort();
            let mut in_use = 0;
            for (at, change) in list {
                in_use += change;
                let kind = offer.market.capacity_type;
                let quote = market
                    .quote(&offer.market.zone, &offer.market.instance_type, kind, at)
                    .unwrap();
                let there = if kind == CapacityType::OnDemand { 40 } else { quote.available };
                let room = change < 0 || in_use <= i64::from(there);
                assert!(room, "{planner}: {in_use} of {there} on {offer} at {at}");
            }
        }
    });
}

#[test]
fn the_same_replay_is_the_same_again_and_its_plot_ends_at_its_cost() {
    let folder = Folder::new();
    let report = quiet(&folder.options()).unwrap();
    assert_eq!(report, quiet(&folder.options()).unwrap());
    for measures in &report.results {
        assert_eq!((measures.jobs, measures.unfinished), (60, 0), "{}", measures.planner);
        let end = measures.series.dollars.last().unwrap();
        let cost = Money::from_micros(measures.cost_micros).dollars();
        assert!((end - cost).abs() < 0.01, "{}: {end} is not {cost}", measures.planner);
        assert_eq!(measures.series.machines.last(), Some(&0.0));
        assert!(measures.cost_share > 0.2 && measures.cost_share < 1.1, "{measures:?}");
        assert!((0.5..=1.0).contains(&measures.utilisation), "{measures:?}");
        assert!(measures.wait_p90_hours >= measures.wait_mean_hours, "{measures:?}");
    }
    let svg = crate::plot("a title", &report.results);
    assert_eq!(svg.matches("<polyline").count(), 6);
}

#[test]
fn another_policy_is_another_bill() {
    let folder = Folder::new();
    let policy = Policy { minimum_billed: Duration::from_secs(6 * 3_600), ..Policy::default() };
    let options = Options {
        planners: vec!["spotwise".to_owned()],
        other_policies: vec![("long.yaml".to_owned(), policy)],
        ..folder.options()
    };
    let report = quiet(&options).unwrap();
    let costs: Vec<i64> = report.results.iter().map(|measures| measures.cost_micros).collect();
    assert_eq!(report.results[1].planner, "spotwise, long.yaml");
    assert!(costs[1] > costs[0] * 11 / 10, "{costs:?}");
}

#[test]
fn wrong_arguments_are_named() {
    let folder = Folder::new();
    let good = || folder.options();
    let market = || folder.options().market;
    let named = |zones: &str| SharedMarketOptions { zones: vec![zones.to_owned()], ..market() };
    let typed = SharedMarketOptions { types: vec!["tpu".to_owned()], ..market() };
    for (options, expected) in [
        (Options { planners: vec![], ..good() }, "`planners` needs"),
        (Options { planners: vec!["best".into()], ..good() }, "no planner is called `best`"),
        (Options { round_every: Duration::ZERO, ..good() }, "`round-every`"),
        (
            Options { market: SharedMarketOptions { capacity: 0, ..market() }, ..good() },
            "`capacity`",
        ),
        (Options { market: named("c"), ..good() }, "in zone `c`; it has a, b"),
        (Options { market: typed, ..good() }, "has no tpu; it has p3.2xlarge"),
        (Options { jobs: JobsOptions { from: 99, ..good().jobs }, ..good() }, "no jobs to replay"),
    ] {
        let error = quiet(&options).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\n  should say: {expected}");
    }
}
