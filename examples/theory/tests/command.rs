//! The command as a user meets it.

use assert_cmd::Command;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;

fn theory() -> Command {
    Command::cargo_bin("theory").unwrap()
}

#[test]
fn tables_agree_with_the_closed_form_and_repeat() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("theory.toml");
    std::fs::write(&config, "priors = [0.1, 0.03, 0.01]\nrepeats = 3\n").unwrap();
    let out = folder.path().join("out");
    let mut runs = Vec::new();
    for _ in 0..2 {
        theory()
            .args(["--config".as_ref(), config.as_os_str(), "--out-dir".as_ref(), out.as_os_str()])
            .assert()
            .success()
            .stdout(contains("closed form"));
        runs.push(std::fs::read_to_string(out.join("theory.json")).unwrap());
    }
    assert_eq!(runs[0], runs[1]);
    let results: serde_json::Value = serde_json::from_str(&runs[0]).unwrap();
    for row in results["single_part"].as_array().unwrap() {
        let (closed, flow) = (row["closed_form"].as_f64().unwrap(), row["flow"].as_f64().unwrap());
        assert!((flow / closed - 1.0).abs() < 1e-4);
    }
    let sampled = &results["sampled"][2];
    let ratio = sampled["median_updates"].as_f64().unwrap() / sampled["flow_updates"].as_f64().unwrap();
    assert!((0.6..1.6).contains(&ratio), "{ratio}");
    let page = std::fs::read_to_string(out.join("theory.html")).unwrap();
    assert!(page.contains("<svg") && !page.contains("NaN"));
}

#[test]
fn bad_settings_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    for (toml, expected) in [
        ("prior = 0.1", "unknown field `prior`"),
        ("priors = [0.9]", "between 1e-5 and 1/approaches"),
        ("priors = []", "`priors` is empty"),
        ("needed = 0.1\nother = 0.5", "0 <= other < needed <= 1"),
        ("repeats = 0", "`repeats` is 0"),
    ] {
        let config = folder.path().join("bad.toml");
        std::fs::write(&config, toml).unwrap();
        theory()
            .args(["--config".as_ref(), config.as_os_str(), "--out-dir".as_ref(), out.as_os_str()])
            .assert()
            .code(2)
            .stderr(contains(expected).and(contains("hint")));
    }
    assert!(!out.exists());
    theory().args(["--config", "no-such.toml"]).assert().code(2).stderr(contains("cannot read no-such.toml"));
}
