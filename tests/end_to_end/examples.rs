//! Every file under `examples/` is read by the validator, and the demo runs
//! most of them.

use spotwise_model::spec::{Format, parse};
use spotwise_tests::{spotwise, text, workspace};

#[test]
fn every_job_file_is_valid() {
    let mut seen = 0;
    for entry in std::fs::read_dir(workspace().join("examples")).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|end| end == "yaml") {
            let document = std::fs::read(&path).expect("readable");
            if let Err(error) = parse(&document, Format::Yaml) {
                panic!("{}: {error}", path.display());
            }
            let output = spotwise().arg("validate").arg(&path).output().expect("it runs");
            assert!(output.status.success(), "{}: {}", path.display(), text(&output));
            seen += 1;
        }
    }
    assert!(seen >= 6, "only {seen} job files");
}

/// The demo judges itself: it fails where a job fails, a deadline is missed or
/// the parts of its report do not add up to the total.
#[test]
fn the_demo_ends_well() {
    let output = spotwise().arg("demo").current_dir(workspace()).output().expect("it runs");
    let report = text(&output);
    assert!(output.status.success(), "{report}\n{}", String::from_utf8_lossy(&output.stderr));
    println!("{report}");
}
