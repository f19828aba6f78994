//! The command line, between CPU backends.

use assert_cmd::Command;
use predicates::prelude::*;

fn parity() -> Command {
    let mut command = Command::cargo_bin("parity").unwrap();
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    command
}

#[test]
fn ndarray_computes_what_flex_computes() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("results.jsonl");
    let arguments = ["check", "--device", "ndarray", "--tolerance", "1e-5", "--output"];
    parity()
        .args(arguments)
        .arg(&output)
        .assert()
        .success()
        .stdout(predicate::str::contains("FAIL").not())
        .stdout(predicate::str::contains("greedy text equal to transformers: true"));
    let lines = std::fs::read_to_string(output).unwrap();
    let records: Vec<serde_json::Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let last = records.last().unwrap();
    assert!(last["compared"].as_u64().unwrap() > 60, "{last}");
    assert_eq!(last["failed"], serde_json::json!([]));
}

#[test]
fn a_difference_beyond_the_tolerance_fails() {
    parity()
        .args(["check", "--device", "ndarray", "--only", "matrix", "--tolerance", "1e-12"])
        .assert()
        .code(1)
        .stdout(predicate::str::contains("FAIL matmul"));
}

#[test]
fn a_device_that_is_not_there_is_refused() {
    parity()
        .args(["check", "--device", "gpu"])
        .assert()
        .code(2)
        .stderr(predicate::str::contains("known are cpu, flex, ndarray, cuda, cuda:N"));
}

#[test]
fn speed_is_reported_for_each_batch() {
    let shape = ["--shape", "64x1x128", "--prompt", "8", "--new", "4", "--repeats", "1"];
    let generate = parity().args(["speed", "generate", "--batch", "1,3"]).args(shape).assert().success();
    let text = String::from_utf8(generate.get_output().stdout.clone()).unwrap();
    let records: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(records.iter().map(|r| r["batch"].as_u64()).collect::<Vec<_>>(), [Some(1), Some(3)]);
    assert!(records.iter().all(|r| r["decode_tokens_per_second"].as_f64().unwrap() > 0.0));
    let train = parity().args(["speed", "train", "--batch", "2"]).args(shape).assert().success();
    let text = String::from_utf8(train.get_output().stdout.clone()).unwrap();
    let record: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    let losses: Vec<f64> = record["losses"].as_array().unwrap().iter().map(|l| l.as_f64().unwrap()).collect();
    assert!(losses.last().unwrap() < losses.first().unwrap(), "{losses:?}");
}
