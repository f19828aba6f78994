//! The contract of the binary: on a real small model, and on tiny random folders against transformers.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/models/tests")
}

fn stories() -> PathBuf {
    models().join("fixtures/stories260K")
}

fn golden(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(models().join("golden").join(name)).unwrap()).unwrap()
}

struct Place {
    dir: TempDir,
}

impl Place {
    fn new(lines: &[Value]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(dir.path().join("in.jsonl"), text).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, model: &Path, args: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_score"));
        command.arg("--model").arg(model).arg("--input").arg(self.path("in.jsonl"));
        command.arg("--output").arg(self.path("out.jsonl")).args(args);
        command
    }

    fn run(&self, model: &Path, args: &[&str]) -> assert_cmd::assert::Assert {
        Command::from_std(self.command(model, args)).assert()
    }

    fn output(&self) -> String {
        fs::read_to_string(self.path("out.jsonl")).unwrap()
    }

    fn records(&self) -> Vec<Value> {
        self.output().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A copy of a tiny folder with a tokenizer whose words are `w0`, `w1`, ...
fn tiny(name: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(models().join("fixtures/tiny").join(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let vocab: Map<String, Value> = (0..99).map(|id| (format!("w{id}"), json!(id))).collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null, "decoder": null,
        "added_tokens": [], "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "w0"},
    });
    fs::write(dir.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    dir
}

fn words(ids: &[Value]) -> String {
    let words: Vec<String> = ids.iter().map(|id| format!("w{id}")).collect();
    words.join(" ")
}

fn close(found: &Value, expected: &[Value]) {
    let found = found.as_array().unwrap();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found.as_f64().unwrap() - expected.as_f64().unwrap()).abs() <= 1e-4, "{found} {expected}");
    }
}

#[test]
fn tiny_folders_agree_with_transformers() {
    let golden = golden("tiny.json");
    for (name, case) in golden["cases"].as_object().unwrap() {
        let sequences = case["sequences"].as_array().unwrap();
        let folder = tiny(name);
        if let Some(scores) = case["scores"].as_array() {
            let lines: Vec<Value> = sequences
                .iter()
                .enumerate()
                .map(|(id, ids)| json!({"id": id, "prompt": words(ids.as_array().unwrap()), "kept": name}))
                .collect();
            let place = Place::new(&lines);
            place.run(folder.path(), &["--batch-tokens", "400"]).success();
            for (record, expected) in place.records().iter().zip(scores) {
                let found = record["score"].as_f64().unwrap();
                assert!((found - expected.as_f64().unwrap()).abs() <= 1e-4, "{name}: {found} {expected}");
                assert_eq!(record["kept"], name.as_str());
            }
            assert_eq!(place.records().len(), scores.len());
            continue;
        }
        // Each as text with a prompt, as token ids, and as text without a prompt.
        let mut lines = Vec::new();
        for (id, ids) in sequences.iter().enumerate() {
            let (prompt, greedy) = (ids.as_array().unwrap(), case["greedy"][id].as_array().unwrap());
            let all = [prompt.as_slice(), greedy].concat();
            lines.push(json!({"id": id, "sample": 0, "prompt": words(prompt), "completion": words(greedy)}));
            lines.push(json!({"id": id, "sample": 1, "token_ids": all, "prompt_length": prompt.len()}));
            lines.push(json!({"id": id, "sample": 2, "prompt": "", "completion": words(&all)}));
        }
        let place = Place::new(&lines);
        place.run(folder.path(), &["--batch-tokens", "400"]).success();
        let records = place.records();
        assert_eq!(records.len(), lines.len());
        for (id, three) in records.chunks(3).enumerate() {
            let (greedy, all) =
                (case["greedy"][id].as_array().unwrap(), case["logprobs"][id].as_array().unwrap());
            let last = &all[all.len() - greedy.len()..];
            for record in &three[..2] {
                assert_eq!(record["token_ids"].as_array().unwrap(), greedy, "{name}");
                close(&record["logprobs"], last);
                let sum: f64 = last.iter().map(|v| v.as_f64().unwrap()).sum();
                assert!((record["sum_logprob"].as_f64().unwrap() - sum).abs() < 1e-3);
            }
            close(&three[2]["logprobs"], all);
            assert_eq!(three[2]["token_ids"].as_array().unwrap().len(), all.len());
        }
    }
}

#[test]
fn a_begin_token_counts_as_the_prompt() {
    let golden = golden("stories260k.json");
    let text = golden["decoded"].as_str().unwrap();
    let tokens = golden["greedy"].as_array().unwrap();
    let place = Place::new(&[
        json!({"id": "text", "prompt": "", "completion": text}),
        json!({"id": "ids", "token_ids": tokens, "prompt_length": 1}),
        json!({"id": "none", "prompt": text, "completion": ""}),
    ]);
    place.run(&stories(), &[]).success();
    let records = place.records();
    for record in &records[..2] {
        assert_eq!(record["token_ids"].as_array().unwrap(), &tokens[1..]);
        close(&record["logprobs"], golden["logprobs"].as_array().unwrap());
    }
    assert_eq!(records[2]["token_ids"], json!([]));
    assert_eq!(records[2]["sum_logprob"], json!(0.0));
}

#[test]
fn messages_end_with_the_generation_prompt_for_a_completion_and_without_it_for_a_reward() {
    let template =
        "{% for m in messages %}{{ m.content }} {% endfor %}{% if add_generation_prompt %}w9 {% endif %}";
    let folder = tiny("llama-gqa");
    fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
    let talk = json!([{"role": "user", "content": "w5 w6"}]);
    let place = Place::new(&[
        json!({"id": 1, "messages": talk, "completion": "w7 w8"}),
        json!({"id": 2, "prompt": "w5 w6 w9", "completion": "w7 w8"}),
    ]);
    place.run(folder.path(), &[]).success();
    let records = place.records();
    close(&records[0]["logprobs"], records[1]["logprobs"].as_array().unwrap());

    let folder = tiny("reward-llama");
    fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
    let place = Place::new(&[json!({"id": 1, "messages": talk}), json!({"id": 2, "prompt": "w5 w6"})]);
    place.run(folder.path(), &[]).success();
    let records = place.records();
    assert!((records[0]["score"].as_f64().unwrap() - records[1]["score"].as_f64().unwrap()).abs() < 1e-5);
}

#[test]
fn a_killed_run_resumes() {
    let lines: Vec<Value> = (0..9)
        .map(|id| json!({"id": id, "prompt": "Once upon", "completion": " a time there was".repeat(1 + id % 4)}))
        .collect();
    let place = Place::new(&lines);
    place.run(&stories(), &["--batch-tokens", "16"]).success();
    let whole = place.records();
    let text = place.output();
    fs::write(place.path("out.jsonl"), &text[..text.len() / 3]).unwrap();
    place.run(&stories(), &[]).success();
    let resumed = place.records();
    assert_eq!(whole.len(), resumed.len());
    for (a, b) in whole.iter().zip(&resumed) {
        assert_eq!((&a["id"], &a["token_ids"]), (&b["id"], &b["token_ids"]));
        close(&a["logprobs"], b["logprobs"].as_array().unwrap());
    }
    place.run(&stories(), &["--dtype", "bf16"]).code(2).stderr(contains("`dtype` was"));
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_whole_records_and_the_same_command_goes_on() {
    let text = "Once upon a time there was a little dog ".repeat(10);
    let line = |id: usize| json!({"id": id, "prompt": "Tim said", "completion": text});
    let place = Place::new(&(0..400).map(line).collect::<Vec<_>>());
    let args = ["--batch-tokens", "1"];
    place.run(&stories(), &args).success();
    let whole = place.output();
    fs::remove_file(place.path("out.jsonl")).unwrap();
    let output = tests::interrupt_after(3, &place.path("out.jsonl"), place.command(&stories(), &args));
    let (said, left) = (String::from_utf8_lossy(&output.stderr), place.output());
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(whole.starts_with(&left) && left.len() < whole.len() && left.ends_with('\n'), "{left}");
    assert!(said.contains(&format!("stopped after {} of 400 records", left.lines().count())), "{said}");
    place.run(&stories(), &args).success();
    assert_eq!(place.output(), whole);
}

#[test]
fn bad_input_is_refused_before_anything_is_written() {
    let good = json!({"id": 1, "prompt": "Once", "completion": " upon"});
    let reward = tiny("reward-qwen2");
    let stories = stories();
    let cases: [(&Path, Value, &str); 9] = [
        (&stories, json!({"id": 1, "prompt": "a", "completion": "b"}), "line 2: id 1 was given before"),
        (&stories, json!({"id": 2, "prompt": "a"}), "line 2: `completion` is missing"),
        (&stories, json!({"id": 2, "token_ids": [1, 2]}), "`prompt_length` is missing"),
        (&stories, json!({"id": 2, "token_ids": [1, 2], "prompt_length": 3}), "`prompt_length` is 3"),
        (&stories, json!({"id": 2, "token_ids": [1, 512], "prompt_length": 1}), "token 512"),
        (
            &stories,
            json!({"id": 2, "messages": [{"role": "user", "content": "x"}], "completion": "y"}),
            "chat template",
        ),
        (&stories, json!({"id": 2, "prompt": "word ".repeat(600), "completion": "y"}), "the model takes 512"),
        (&stories, json!({"id": 2}), "are missing"),
        (reward.path(), json!({"id": 2, "prompt": "w5", "completion": "w6"}), "a reward model scores"),
    ];
    for (model, bad, message) in cases {
        let place = Place::new(&[good.clone(), bad]);
        if model == reward.path() {
            fs::write(place.path("in.jsonl"), "{\"id\": 2, \"prompt\": \"w5\", \"completion\": \"w6\"}")
                .unwrap();
        }
        place.run(model, &[]).code(2).stderr(contains(message));
        assert!(!place.path("out.jsonl").exists(), "{message}");
    }
    #[cfg(unix)]
    {
        let place = Place::new(std::slice::from_ref(&good));
        std::os::unix::fs::symlink(place.path("in.jsonl"), place.path("out.jsonl")).unwrap();
        place.run(&stories, &[]).code(2).stderr(contains("is the input: name another output"));
        assert!(place.output().contains("Once"), "the input is as it was");
    }
    let place = Place::new(&[good]);
    place.run(&stories, &["--device", "cuda:0"]).code(2).stderr(contains("cannot be used"));
    place.run(Path::new("nowhere"), &[]).code(2).stderr(contains("nowhere: no such folder"));
    let toml = place.path("settings.toml");
    fs::write(&toml, "batch_token = 3\n").unwrap();
    let config = ["--config", toml.to_str().unwrap()];
    place.run(&stories, &config).code(2).stderr(contains("settings.toml").and(contains("batch_token")));
    Command::cargo_bin("score").unwrap().arg("--help").assert().success().stdout(contains("--batch-tokens"));
}
