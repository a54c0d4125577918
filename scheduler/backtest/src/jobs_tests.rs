use std::io::Write;

use spotwise_model::id::Accelerator;
use spotwise_model::spec::GpuRequest;

use super::*;

const TRACE: &str = "submit_s,duration_s,num_gpus,virtual_cluster
100,60,1,a
200,7200,1,a
300,7200,8,b
400,90000,1,b
500,3600,4,c
600,3600,1,c
";

fn options(path: PathBuf) -> JobsOptions {
    JobsOptions {
        path,
        from: 0,
        every: 1,
        limit: 100,
        shortest: Duration::from_secs(3_600),
        longest: Duration::from_secs(86_400),
        most_gpus: 4,
        deadline_factor: 2.0,
        deadline_slack: Duration::from_secs(600),
        start_after: Duration::from_secs(1_000),
    }
}

fn stage() -> Stage {
    let shape = NodeShape {
        accelerator: Some(Accelerator::canonical("V100")),
        gpus: 2,
        cpu_milli: 8_000,
        memory_mib: 65_536,
        gpu_memory_mib: 16_384,
    };
    let time = |second| Timestamp::from_second(second).unwrap();
    Stage { start: time(10_000), end: time(10_000 + 86_400), shape }
}

fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn a_trace_becomes_submissions() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(TRACE.as_bytes()).unwrap();
    let plain = file("jobs.csv", TRACE.as_bytes());
    let packed = file("jobs.csv.gz", &packed.finish().unwrap());
    for (_folder, path) in [plain, packed] {
        let (arrivals, skipped) = read(&options(path), &stage()).unwrap();
        let expected = Skipped { too_short: 1, too_long: 1, too_wide: 1, beyond_the_market: 0 };
        assert_eq!(skipped, expected);
        let at: Vec<i64> = arrivals.iter().map(|arrival| arrival.at.as_second()).collect();
        assert_eq!(at, [11_000, 11_300, 11_400]);
        let spec = &arrivals[1].submission.jobs[0];
        // Four GPUs are two machines of two.
        assert_eq!(spec.resources.nodes, 2);
        let GpuRequest::Whole { alternatives } = &spec.resources.gpus else { panic!("GPUs") };
        assert_eq!(alternatives[0].count, 2);
        assert_eq!(spec.longest_expected_duration(), Duration::from_secs(3_600));
        assert!(spec.resumable() && spec.tags["virtual_cluster"] == "c");
    }
}

#[test]
fn a_stretch_of_a_trace() {
    let (_folder, path) = file("jobs.csv", TRACE.as_bytes());
    let some = JobsOptions { from: 1, every: 2, ..options(path.clone()) };
    let (arrivals, _) = read(&some, &stage()).unwrap();
    assert_eq!(arrivals.len(), 1);
    let short = Stage { end: Timestamp::from_second(11_000 + 9_000).unwrap(), ..stage() };
    let (arrivals, skipped) = read(&options(path), &short).unwrap();
    assert_eq!((arrivals.len(), skipped.beyond_the_market), (2, 1));
}

#[test]
fn a_folder_of_job_files_is_submitted_at_once() {
    let good = "name: train\ncommand: [python3, train.py]\nresources: {gpus: 'V100:1'}\n";
    let (folder, path) = file("a.yaml", good.as_bytes());
    std::fs::write(folder.path().join("notes.txt"), "not a job").unwrap();
    let (arrivals, _) = read(&options(folder.path().to_owned()), &stage()).unwrap();
    assert_eq!((arrivals.len(), arrivals[0].at.as_second()), (1, 11_000));
    std::fs::write(&path, "name: [").unwrap();
    let error = read(&options(folder.path().to_owned()), &stage()).unwrap_err();
    assert!(matches!(error, BacktestError::JobFile { .. }), "{error}");
}

#[test]
fn wrong_rows_and_options_are_named() {
    for (from, to, expected) in [
        ("7200,8", "7200,x", "line 4: `num_gpus`: `x`"),
        ("60,1,a", "0,1,a", "line 2: `duration_s`: `0`"),
        ("60,1,a", "NaN,1,a", "line 2: `duration_s`: `NaN`"),
        ("600,3600", "10,3600", "line 7: `submit_s` 10 is earlier"),
        ("num_gpus", "gpus", "line 1: the column `num_gpus` is missing"),
        ("8,b", "8", "line 4"),
    ] {
        let (_folder, path) = file("jobs.csv", TRACE.replace(from, to).as_bytes());
        let error = read(&options(path), &stage()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\n  should say: {expected}");
    }
    let (_folder, path) = file("jobs.csv", TRACE.as_bytes());
    let good = || options(path.clone());
    for (options, expected) in [
        (JobsOptions { every: 0, ..good() }, "`jobs-every`"),
        (JobsOptions { limit: 0, ..good() }, "`jobs-limit`"),
        (JobsOptions { deadline_factor: f64::NAN, ..good() }, "`deadline-factor`"),
        (JobsOptions { deadline_factor: 0.5, ..good() }, "`deadline-factor`"),
        (JobsOptions { from: 9, ..good() }, "no jobs to replay"),
        (JobsOptions { path: PathBuf::from("none.csv"), ..good() }, "cannot read none.csv"),
    ] {
        let error = read(&options, &stage()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\n  should say: {expected}");
    }
}
