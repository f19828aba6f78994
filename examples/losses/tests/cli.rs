//! The program from outside.

use assert_cmd::Command;
use predicates::str::contains;
use serde_json::{Value, json};

fn losses() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin!("losses"))
}

fn run(lines: &[Value], args: &[&str]) -> Vec<Value> {
    let input: String = lines.iter().map(|l| format!("{l}\n")).collect();
    let out = losses().args(args).write_stdin(input).assert().success().get_output().stdout.clone();
    String::from_utf8(out).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[test]
fn values_and_gradients_come_out_in_order() {
    let record = json!({
        "id": "a", "function": "objective.ppo_clip", "params": {"clip": {"low": 0.2, "high": 0.2}},
        "inputs": {
            "logp": {"shape": [1, 3], "data": [-1.0, -2.0, "nan"]},
            "old_logp": {"shape": [1, 3], "data": [-1.0, -2.5, null]},
            "advantages": {"shape": [1], "data": [2.0]},
            "mask": {"shape": [1, 3], "data": [1, true, 0]},
        },
    });
    let second = json!({"id": 7, "function": "reward.adaptive_kl",
        "params": {"beta": 0.1, "target": 6.0, "horizon": 100.0, "kl": 12.0, "samples": 50}});
    for device in ["flex", "ndarray"] {
        let out = run(&[record.clone(), second.clone()], &["--device", device]);
        assert_eq!(out[0]["id"], "a");
        let loss = out[0]["outputs"]["loss"]["data"].as_array().unwrap();
        assert!(
            (loss[0].as_f64().unwrap() + 2.0).abs() < 1e-6 && (loss[1].as_f64().unwrap() + 2.4).abs() < 1e-6
        );
        assert_eq!(loss[2], json!(0.0));
        assert_eq!(out[0]["grads"]["logp"]["data"], json!([-2.0, 0.0, 0.0]));
        assert_eq!(out[0]["grads"]["old_logp"]["data"], json!([0.0, 0.0, 0.0]));
        assert_eq!(out[1]["id"], 7);
        assert!((out[1]["outputs"]["beta"]["data"][0].as_f64().unwrap() - 0.11).abs() < 1e-12);
        assert_eq!(out[1]["grads"], json!({}));
    }
}

#[test]
fn cotangents_weigh_the_outputs() {
    let record = |cotangents: Value| {
        json!({"id": 1, "function": "token_log_probs_from_logits", "inputs": {"logits": [[[0.0, 0.0]]], "targets": [[0]]},
            "cotangents": cotangents})
    };
    let out = run(&[record(json!({"logp": [[3.0]]}))], &[]);
    assert_eq!(out[0]["grads"]["logits"]["data"], json!([1.5, -1.5]));
    losses()
        .write_stdin(record(json!({"nothing": [[1.0]]})).to_string())
        .assert()
        .code(2)
        .stderr(contains("standard input line 1: `nothing` has a cotangent but is no differentiable output"));
}

#[test]
fn double_precision_on_request() {
    let record = json!({"id": 1, "function": "kl", "params": {"estimator": "k2"}, "inputs": {"logp": [[-1.0]], "ref_logp": [[-1.1]]}});
    let at = |args: &[&str]| {
        run(std::slice::from_ref(&record), args)[0]["outputs"]["kl"]["data"][0].as_f64().unwrap()
    };
    assert!((at(&["--dtype", "f64"]) - 0.005).abs() < 1e-15);
    assert!((at(&[]) - 0.005).abs() > 1e-15);
}

#[test]
fn bad_lines_name_their_place_and_exit_with_2() {
    let good = r#"{"id": 1, "function": "reward.shape", "inputs": {"rewards": [1.0]}}"#;
    for (bad, message) in [
        ("{", "not JSON"),
        (r#"{"function": "kl"}"#, "no `id`"),
        (r#"{"id": 2, "function": "kj"}"#, "there is no function `kj`"),
        (r#"{"id": 2, "function": "kl", "params": {"esimator": "k1"}}"#, "no parameter `esimator`"),
        (r#"{"id": 2, "function": "kl", "params": {"estimator": "k9"}}"#, "unknown variant `k9`"),
        (r#"{"id": 2, "function": "kl", "inputs": {"logp": [[0]]}}"#, "no input `ref_logp`"),
        (
            r#"{"id": 2, "function": "kl", "inputs": {"logp": {"shape": [2], "data": [0]}, "ref_logp": [[0]]}}"#,
            "does not hold 1 values",
        ),
        (
            r#"{"id": 2, "function": "kl", "inputs": {"logp": [[0]], "ref_logp": [[0, 1]]}}"#,
            "expected [1, 1] for `ref_logp`, found [1, 2]",
        ),
        (
            r#"{"id": 1, "function": "reward.shape", "inputs": {"rewards": [1.0]}}"#,
            "the id 1 was given before",
        ),
        (
            r#"{"id": 2, "function": "kl", "inputs": {"logp": [["x"]], "ref_logp": [[0]]}}"#,
            "expected a number, found \"x\"",
        ),
    ] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("{good}\n\n{bad}\n")).unwrap();
        let place = format!("{} line 3: ", file.path().display());
        losses().arg(file.path()).assert().code(2).stderr(contains(place)).stderr(contains(message));
    }
}

#[test]
fn results_do_not_replace_the_records() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "precious").unwrap();
    let refused = losses().arg(file.path()).arg("--output").arg(file.path()).assert().code(2);
    refused.stderr(contains("is the input: name another output"));
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "precious");
}

#[test]
fn what_a_function_refuses_is_an_outcome() {
    let record = json!({"id": 1, "function": "advantage.pass_at_k", "inputs": {"rewards": [1.0, 2.0], "groups": ["a", "b"]}});
    let out = run(&[record], &[]);
    assert_eq!(out[0]["error"], "expected at least 2 responses in group 0, found 1");
    assert!(out[0].get("outputs").is_none());
}

#[test]
fn the_list_describes_every_function() {
    let out = losses().arg("--list").assert().success().get_output().stdout.clone();
    let list: Value = serde_json::from_slice(&out).unwrap();
    let functions = list["functions"].as_array().unwrap();
    assert!(functions.len() >= 45, "{}", functions.len());
    for f in functions {
        assert!(f["about"].as_str().is_some_and(|s| !s.is_empty()));
        for input in f["inputs"].as_array().unwrap() {
            assert!(["float", "bool", "int", "id"].contains(&input["kind"].as_str().unwrap()), "{input}");
        }
    }
    assert!(list["presets"].as_array().unwrap().iter().any(|p| p["name"] == "grpo_verl"));
    assert!(list["peers"]["verl"]["agg_loss"].is_object());
}

#[test]
fn a_preset_with_a_field_replaced_is_a_loss() {
    let record = json!({
        "id": 1, "function": "loss", "params": {"preset": "grpo", "kl": null, "aggregation": "token_sum"},
        "inputs": {"logp": [[-1.0, -2.0]], "advantages": [3.0]},
    });
    assert_eq!(run(&[record], &[])[0]["outputs"]["loss"], json!({"shape": [], "data": [-6.0]}));
}
