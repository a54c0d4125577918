use std::collections::BTreeMap;
use std::path::PathBuf;

use spotwise_market::test_data::recorded;
use spotwise_solver::replay::{PUBLISHED, RecordedStep};

use super::*;

const TABLE: &str = "seconds,zone,instance_type,available,spot_usd_per_hour
0,a,gpu,1,1.00
0,b,gpu,0,0.50
600,a,other,1,9.00
1200,b,gpu,2,0.50
3000,a,gpu,0,1.00
";
const INDEX: &str = r#"[{"file": "m.csv", "step_seconds": 600, "steps": 40, "zones": ["b", "a"],
  "instance_types": {"gpu": 2.0, "none": 1.0}},
 {"file": "gang.csv", "step_seconds": 600, "steps": 40, "nodes_requested": 2,
  "instance_types": {"gpu": 2.0}},
 {"file": "before.csv", "step_seconds": 300, "steps": 8, "instance_types": {"gpu": 2.0}}]"#;
const BEFORE: &str = "seconds,zone,instance_type,available,spot_usd_per_hour
0,a,gpu,0,0.10
0,c,gpu,1,0.30
1500,a,gpu,1,0.20
";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("m.csv", TABLE);
        folder.write("gang.csv", TABLE);
        folder.write("before.csv", BEFORE);
        folder.write("index.json", INDEX);
        folder
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    fn source(&self, table: &str) -> Source {
        Source { table: self.0.path().join(table), index: self.0.path().join("index.json") }
    }

    fn options(&self) -> Options {
        Options {
            market: self.source("m.csv"),
            history: None,
            instance_type: "gpu".into(),
            zones: vec!["a".into(), "b".into()],
            hours: 1.0,
            deadline_factors: vec![1.5, 3.0],
            changeover: Duration::from_secs(240),
            windows: 3,
            policies: [&PUBLISHED[..], &[OPTIMAL]].concat().iter().map(|p| (*p).into()).collect(),
            keep_choices: true,
        }
    }
}

fn quiet(options: &Options) -> Result<Report, BacktestError> {
    run(options, &|_, _| {})
}

#[test]
fn windows_spread_over_the_recording() {
    assert_eq!(starts(882, 216, 12).unwrap()[..3], [0, 60, 121]);
    assert_eq!(starts(10_079, 1_329, 12).unwrap().last(), Some(&8_748));
    assert_eq!(starts(10, 8, 1), Some(vec![0]));
    assert_eq!(starts(10, 9, 1), None);
    // Halves go to the even step.
    assert_eq!(starts(7, 0, 3).unwrap(), [0, 2, 5]);
}

#[test]
fn a_recording_becomes_steps_and_zones() {
    let folder = Folder::new();
    let zones = ["b".to_owned(), "a".to_owned()];
    let market = read_market(&folder.source("m.csv"), None, "gpu", &[]).unwrap();
    assert_eq!(market.zones().iter().map(|zone| zone.name.as_str()).collect::<Vec<_>>(), zones);
    let prices = |zone| -> Vec<Option<i64>> {
        (0..6).map(|step| market.price_if_available(zone, step)).collect()
    };
    assert_eq!(prices(0), [None, None, Some(500_000), Some(500_000), Some(500_000), Some(500_000)]);
    assert_eq!(prices(1)[3..], [Some(1_000_000), Some(1_000_000), None]);
    assert_eq!((market.steps(), market.on_demand_micros()), (40, 2_000_000));

    // A gang needs two at once: zone a never has them.
    let gang = read_market(&folder.source("gang.csv"), None, "gpu", &zones).unwrap();
    assert!((0..40).all(|step| gang.price_if_available(1, step).is_none()));
    assert_eq!(gang.price_if_available(0, 2), Some(500_000));
}

#[test]
fn an_earlier_recording_comes_in_the_steps_of_the_market() {
    let folder = Folder::new();
    let before = folder.source("before.csv");
    let market = read_market(&folder.source("m.csv"), Some(&before), "gpu", &[]).unwrap();
    let zone = |name: &str| market.zones().iter().find(|zone| zone.name == name).unwrap();
    // 2,400 s at 300 s are four steps of 600 s; its zone c is not in the market.
    assert_eq!((zone("a").before, zone("b").before, market.zones().len()), (4, 0, 2));
    let quote = |available, price_micros| RecordedStep { available, price_micros };
    assert_eq!(
        zone("a").quotes[..5],
        [
            quote(false, 100_000),
            quote(false, 100_000),
            quote(false, 100_000),
            quote(true, 200_000),
            quote(true, 1_000_000)
        ]
    );
}

#[test]
fn every_policy_runs_in_every_window_in_order() {
    let folder = Folder::new();
    let options = folder.options();
    let report = quiet(&options).unwrap();
    assert_eq!(report.rows.len(), 2 * 3 * 4);
    let mut rows = report.rows.iter();
    for factor in &options.deadline_factors {
        for start in [0, 10, 20] {
            for policy in &options.policies {
                let row = rows.next().unwrap();
                assert_eq!((row.deadline_factor, row.start_step), (*factor, start));
                assert_eq!(row.policy, *policy);
                assert!(!row.missed && row.cost_fraction > 0.0);
            }
        }
    }
    assert_eq!(report, quiet(&options).unwrap(), "the same again");
    let one = quiet(&Options { windows: 1, ..folder.options() }).unwrap();
    assert!(one.rows.iter().all(|row| row.start_step == 0));
}

/// Anyone can recompute the cost from the decisions and the table.
#[test]
fn the_decisions_add_up_to_the_cost() {
    let folder = Folder::new();
    let report = quiet(&folder.options()).unwrap();
    let path = folder.0.path().join("decisions.csv");
    write_decisions(&path, &report).unwrap();
    let market = read_market(&folder.source("m.csv"), None, "gpu", &[]).unwrap();
    let mut paid: BTreeMap<(String, String, String), i64> = BTreeMap::new();
    for record in csv::Reader::from_path(path).unwrap().records() {
        let record = record.unwrap();
        let step: usize = record[1].parse::<usize>().unwrap() + record[3].parse::<usize>().unwrap();
        let price = match &record[4] {
            "idle" => 0,
            "on-demand" => 2_000_000,
            zone => {
                let at = market.zones().iter().position(|known| known.name == zone).unwrap();
                market.price_if_available(at, step).unwrap()
            }
        };
        *paid.entry((record[0].into(), record[1].into(), record[2].into())).or_default() += price;
    }
    assert_eq!(paid.len(), report.rows.len());
    for row in &report.rows {
        let key = (row.deadline_factor.to_string(), row.start_step.to_string(), row.policy.clone());
        // An hour at $2 is six steps.
        assert!((paid[&key] as f64 / 12e6 - row.cost_fraction).abs() < 1e-12, "{row:?}");
    }
}

#[test]
fn wrong_arguments_are_named() {
    let folder = Folder::new();
    folder.write("bad.csv", &TABLE.replace("3000,a", "x,a"));
    folder.write("late.csv", &TABLE.replace("3000,a", "0,a"));
    folder.write("index.json", &INDEX.replace("gang.csv", "late.csv").replace("before", "bad"));
    let good = || folder.options();
    let cases: Vec<(Options, &str)> = vec![
        (Options { zones: vec!["x".into()], ..good() }, "no gpu in zone `x`; it has a, b"),
        (Options { zones: vec!["a".into(), "a".into()], ..good() }, "`zones` names a twice"),
        (Options { instance_type: "tpu".into(), ..good() }, "no tpu; it has gpu"),
        (Options { instance_type: "none".into(), ..good() }, "no none; it has gpu"),
        (Options { deadline_factors: vec![0.9], ..good() }, "from 1 to 1000, not 0.9"),
        (Options { deadline_factors: vec![f64::NAN], ..good() }, "not NaN"),
        (Options { deadline_factors: vec![], ..good() }, "`deadline-factor` needs"),
        (Options { deadline_factors: vec![2.0, 2.0], ..good() }, "names 2 twice"),
        (Options { policies: vec![], ..good() }, "`policies` needs"),
        (Options { policies: vec!["best".into()], ..good() }, "no policy is called `best`"),
        (Options { hours: f64::NAN, ..good() }, "hours of work"),
        (Options { hours: -1.0, ..good() }, "hours of work"),
        (Options { hours: 7.0, ..good() }, "needs 128 steps, and"),
        (Options { windows: 0, ..good() }, "`windows` must be"),
        (Options { market: folder.source("none.csv"), ..good() }, "no entry for none.csv"),
        (Options { market: folder.source("bad.csv"), ..good() }, "line 6, `seconds`: `x`"),
        (
            Options { market: folder.source("late.csv"), ..good() },
            "line 6, `seconds`: 0 is not later",
        ),
        (Options { history: Some(folder.source("none.csv")), ..good() }, "no entry for none.csv"),
    ];
    for (options, expected) in cases {
        let error = quiet(&options).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\n  should say: {expected}");
    }
    let gone = Source { table: PathBuf::from("m.csv"), index: PathBuf::from("/none/index.json") };
    let error = quiet(&Options { market: gone, ..good() }).unwrap_err();
    assert!(matches!(error, BacktestError::Read { .. }), "{error}");
}

/// A market, its zones and type, hours, changeover hours.
type Cell = (String, String, String, String, String);
/// Cost of each (deadline factor, window, policy).
type Costs = BTreeMap<(String, usize, String), f64>;

fn reference(file: &Path) -> BTreeMap<Cell, Costs> {
    let mut cells: BTreeMap<Cell, Costs> = BTreeMap::new();
    for record in csv::Reader::from_path(file).unwrap().records() {
        let record = record.unwrap();
        let text = |at: usize| record[at].to_owned();
        let policy = if &record[7] == "omniscient" { OPTIMAL.into() } else { text(7) };
        let cell = (text(0), text(1), text(2), text(3), text(5));
        let key = (text(4), record[6].parse().unwrap(), policy);
        cells.entry(cell).or_default().insert(key, record[8].parse().unwrap());
    }
    cells
}

/// Every window of every cell under the causal policies; the optimum in every
/// window of the small market, and in one of each cell of the large one.
#[test]
fn the_published_policies_and_the_optimum_cost_what_the_reference_says() {
    let Some(table) = recorded("spot/reference.csv") else { return };
    let folder = table.parent().unwrap();
    let mut compared = BTreeMap::new();
    for (at, ((file, zones, instance_type, hours, changeover), costs)) in
        reference(&table).into_iter().enumerate()
    {
        let source = Source { table: folder.join(&file), index: folder.join("index.json") };
        let zones: Vec<String> = zones.split('+').map(str::to_owned).collect();
        let market = read_market(&source, None, &instance_type, &zones).unwrap();
        let changeover = (changeover.parse::<f64>().unwrap() * 3_600.0).round();
        let hours: f64 = hours.parse().unwrap();
        let factors: Vec<f64> = costs.keys().map(|(f, _, _)| f.parse().unwrap()).collect();
        let longest = factors.iter().copied().fold(1.0, f64::max);
        let job = |factor| Job::new(hours, factor, changeover, market.step_seconds()).unwrap();
        let starts = starts(market.steps(), job(longest).deadline, 12).unwrap();
        let wanted = |(_, start, policy): &(String, usize, String)| {
            let small = market.steps() < 1_000 || *start == starts[at % 12];
            PUBLISHED.contains(&policy.as_str()) || (policy == OPTIMAL && small)
        };
        let runs: Vec<_> = costs.iter().filter(|(key, _)| wanted(key)).collect();
        let found = in_parallel(&runs, |((factor, start, policy), _)| {
            outcome(policy, &market, &job(factor.parse().unwrap()), *start)
        });
        for (((factor, start, policy), expected), found) in runs.iter().zip(found.unwrap()) {
            assert!(starts.contains(start), "{start} of {starts:?}");
            let off = (found.cost_fraction - **expected).abs();
            // The reference has five digits.
            assert!(off <= 5.1e-6, "{file} {zones:?} {factor} {start} {policy}: off by {off}");
            assert!(!found.missed);
            *compared.entry(policy.clone()).or_insert(0) += 1;
        }
    }
    let all = |policy: &str| compared.get(policy).copied().unwrap_or(0);
    assert!(PUBLISHED.iter().all(|policy| all(policy) == 720), "{compared:?}");
    assert_eq!(all(OPTIMAL), 12 * 12 + 48, "{compared:?}");
}
