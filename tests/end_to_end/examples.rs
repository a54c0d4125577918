//! Every file under `examples/` is read by the validator. The demo runs them.

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
