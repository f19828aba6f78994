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

struct Place {
    dir: TempDir,
}

impl Place {
    fn new(input: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("in.jsonl"), input).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, model: &Path, args: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_generate"));
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

/// A copy of a tiny folder with a tokenizer whose words are `w0`, `w1`, ...; token 2 is special.
fn tiny(name: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(models().join("fixtures/tiny").join(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let vocab: Map<String, Value> = (0..99).map(|id| (format!("w{id}"), json!(id))).collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null, "decoder": null,
        "added_tokens": [{"id": 2, "content": "w2", "single_word": true, "lstrip": false, "rstrip": false,
                          "normalized": false, "special": true}],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "w0"},
    });
    fs::write(dir.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    dir
}

fn words(ids: &Value) -> String {
    let words: Vec<String> = ids.as_array().unwrap().iter().map(|id| format!("w{id}")).collect();
    words.join(" ")
}

#[test]
fn greedy_tokens_of_tiny_folders_are_those_of_transformers() {
    let golden: Value =
        serde_json::from_str(&fs::read_to_string(models().join("golden/tiny.json")).unwrap()).unwrap();
    for name in ["llama-gqa", "llama3-tied", "qwen2", "qwen3", "llama-sharded"] {
        let case = &golden["cases"][name];
        let prompts = case["sequences"].as_array().unwrap();
        let input: String = prompts
            .iter()
            .enumerate()
            .map(|(id, ids)| format!("{}\n", json!({"id": id, "prompt": words(ids)})))
            .collect();
        let place = Place::new(&input);
        place.run(tiny(name).path(), &["--max-new-tokens", "24", "--logprobs"]).success();
        let records = place.records();
        assert_eq!(records.len(), prompts.len());
        for (id, record) in records.iter().enumerate() {
            assert_eq!(record["token_ids"], case["greedy"][id], "{name} {id}");
            let logprobs = record["logprobs"].as_array().unwrap();
            let expected = case["logprobs"][id].as_array().unwrap();
            for (found, expected) in logprobs.iter().rev().zip(expected.iter().rev()) {
                assert!((found.as_f64().unwrap() - expected.as_f64().unwrap()).abs() <= 1e-4, "{name} {id}");
            }
            let ended = record["token_ids"].as_array().unwrap().last().unwrap() == 2;
            assert!(!record["completion"].as_str().unwrap().contains("w2 "));
            if ended {
                assert_eq!(record["finish_reason"], "stop");
                assert!(!record["completion"].as_str().unwrap().ends_with("w2"));
            }
        }
    }
}

#[test]
fn a_story_goes_on_as_its_authors_show_and_fields_are_carried_through() {
    let golden: Value =
        serde_json::from_str(&fs::read_to_string(models().join("golden/stories260k.json")).unwrap()).unwrap();
    let place = Place::new(
        "{\"id\": \"a\", \"prompt\": \"Once upon a time\", \"topic\": {\"x\": 1}, \"sample\": 9}\n",
    );
    place.run(&stories(), &["--max-new-tokens", "64"]).success();
    let record = &place.records()[0];
    let greedy = golden["greedy"].as_array().unwrap();
    assert_eq!(
        record["token_ids"].as_array().unwrap(),
        &greedy[golden["prompt"].as_array().unwrap().len()..]
    );
    assert_eq!(
        (&record["id"], &record["sample"], &record["topic"]["x"]),
        (&json!("a"), &json!(0), &json!(1))
    );
    assert_eq!(record["finish_reason"], "length");
    assert!(record.get("logprobs").is_none() && record.get("prompt").is_none());
    let whole = format!("Once upon a time{}", record["completion"].as_str().unwrap());
    assert_eq!(
        whole.replace("time,", "time ,"),
        golden["decoded"].as_str().unwrap().replace("time,", "time ,")
    );
}

#[test]
fn samples_do_not_depend_on_the_batch_and_a_killed_run_resumes() {
    let input: String = (0..6)
        .map(|id| {
            format!(
                "{{\"id\": {id}, \"prompt\": \"{}\"}}\n",
                ["Once", "The dog ran to", "A", "She said"][id % 4]
            )
        })
        .collect();
    let args =
        ["--samples", "3", "--temperature", "0.8", "--seed", "4", "--max-new-tokens", "12", "--top-p", "0.9"];
    let place = Place::new(&input);
    place.run(&stories(), &args).success();
    let whole = place.output();
    let keys: Vec<(u64, u64)> =
        place.records().iter().map(|r| (r["id"].as_u64().unwrap(), r["sample"].as_u64().unwrap())).collect();
    let expected: Vec<(u64, u64)> = (0..6).flat_map(|id| (0..3).map(move |sample| (id, sample))).collect();
    assert_eq!(keys, expected);
    assert_ne!(place.records()[0]["token_ids"], place.records()[1]["token_ids"]);

    // Killed in the middle of a line: what is there stays, what is missing comes back the same, in other batches too.
    for (cut, batch) in [(whole.len() / 2, "1"), (whole.len() - 3, "5"), (0, "2")] {
        fs::write(place.path("out.jsonl"), &whole[..cut]).unwrap();
        place.run(&stories(), &[&args[..], &["--batch-size", batch]].concat()).success();
        assert_eq!(place.output(), whole);
    }
    place.run(&stories(), &args).success().stderr(contains("complete"));
    let itself = place.path("in.jsonl");
    let same = Command::cargo_bin("generate")
        .unwrap()
        .arg("--model")
        .arg(stories())
        .arg("--input")
        .arg(&itself)
        .arg("--output")
        .arg(&itself)
        .assert();
    same.code(2).stderr(contains("is the input: name another output"));
    assert_eq!(fs::read_to_string(&itself).unwrap(), input);
    // Other settings do not go on with it, nor does another input.
    place.run(&stories(), &["--samples", "2"]).code(2).stderr(contains("`max_new_tokens` was 12"));
    fs::write(place.path("in.jsonl"), "{\"id\": 7, \"prompt\": \"x\"}\n").unwrap();
    place
        .run(&stories(), &args)
        .code(2)
        .stderr(contains("out.jsonl line 1").and(contains("name another output")));
    assert_eq!(place.output(), whole);
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_whole_samples_and_the_same_command_goes_on() {
    let input: String = (0..60).map(|id| format!("{{\"id\": {id}, \"prompt\": \"Once\"}}\n")).collect();
    let args = ["--temperature", "0.8", "--max-new-tokens", "200", "--batch-size", "4"];
    let place = Place::new(&input);
    place.run(&stories(), &args).success();
    let whole = place.output();
    fs::remove_file(place.path("out.jsonl")).unwrap();
    let output = tests::interrupt_after(3, &place.path("out.jsonl"), place.command(&stories(), &args));
    let (said, left) = (String::from_utf8_lossy(&output.stderr), place.output());
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(whole.starts_with(&left) && left.len() < whole.len() && left.ends_with('\n'), "{left}");
    assert!(said.contains(&format!("stopped after {} of 60 samples", left.lines().count())), "{said}");
    place.run(&stories(), &args).success();
    assert_eq!(place.output(), whole);
}

#[test]
fn stop_texts_end_a_sample_and_are_cut_off() {
    let place = Place::new("{\"id\": 1, \"prompt\": \"Once upon a time\"}\n");
    place.run(&stories(), &["--max-new-tokens", "60"]).success();
    let plain = place.records()[0]["completion"].as_str().unwrap().to_owned();
    let place = Place::new("{\"id\": 1, \"prompt\": \"Once upon a time\"}\n");
    place.run(&stories(), &["--max-new-tokens", "60", "--stop", "named", "--stop", "never there"]).success();
    let record = &place.records()[0];
    let (before, _) = plain.split_once("named").expect("the story names someone");
    assert_eq!(record["completion"], before);
    assert_eq!(record["finish_reason"], "stop");
    let count = record["token_ids"].as_array().unwrap().len();
    assert!(count < 60, "{count}");
}

#[test]
fn messages_go_through_the_template_without_a_second_begin_token() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        fs::copy(stories().join(name), dir.path().join(name)).unwrap();
    }
    let template = "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}\
                    {% if add_generation_prompt %} a time{% endif %}";
    fs::write(dir.path().join("chat_template.jinja"), template).unwrap();
    fs::write(dir.path().join("tokenizer_config.json"), "{\"bos_token\": \"<s>\"}").unwrap();
    let place = Place::new(concat!(
        "{\"id\": 1, \"prompt\": \"Once upon a time\"}\n",
        "{\"id\": 2, \"messages\": [{\"role\": \"user\", \"content\": \"Once upon\"}]}\n",
    ));
    place.run(dir.path(), &["--max-new-tokens", "30"]).success();
    let records = place.records();
    assert_eq!(records[0]["token_ids"], records[1]["token_ids"]);
    // Without a template, messages cannot be put.
    place.run(&stories(), &[]).code(2).stderr(contains("in.jsonl line 2").and(contains("chat template")));
}

#[test]
fn a_configuration_file_is_read_and_flags_override_it() {
    let place = Place::new("{\"id\": 1, \"prompt\": \"Once\"}\n");
    let toml = place.path("settings.toml");
    fs::write(&toml, "max_new_tokens = 3\nlogprobs = true\n").unwrap();
    place.run(&stories(), &["--config", toml.to_str().unwrap(), "--max-new-tokens", "5"]).success();
    let record = &place.records()[0];
    assert_eq!(record["token_ids"].as_array().unwrap().len(), 5);
    assert_eq!(record["logprobs"].as_array().unwrap().len(), 5);
    fs::write(&toml, "max_new_token = 3\n").unwrap();
    place.run(&stories(), &["--config", toml.to_str().unwrap()]).code(2).stderr(contains("max_new_token"));
}

#[test]
fn bad_input_is_refused_before_anything_is_written() {
    let good = "{\"id\": 1, \"prompt\": \"Once\"}\n";
    let long = "word ".repeat(600);
    let cases: [(String, &[&str], &str); 14] = [
        (format!("{good}{{\"id\": 1, \"prompt\": \"b\"}}\n"), &[], "line 2: id 1 was given before"),
        (format!("{good}\n{{oops\n"), &[], "line 3"),
        (format!("{good}{{\"prompt\": \"b\"}}\n"), &[], "line 2: missing field `id`"),
        (format!("{good}{{\"id\": 2}}\n"), &[], "line 2: `prompt` or `messages` is missing"),
        (format!("{good}{{\"id\": 2, \"prompt\": 3}}\n"), &[], "line 2"),
        (format!("{good}{{\"id\": [2], \"prompt\": \"x\"}}\n"), &[], "`id` must be a string or a number"),
        (format!("{{\"id\": 2, \"prompt\": \"{long}\"}}\n"), &[], "the model takes 512"),
        (good.into(), &["--device", "tpu"], "known are cpu, flex, ndarray, cuda"),
        (good.into(), &["--device", "cuda"], "device `cuda` cannot be used"),
        (good.into(), &["--temperature", "-1"], "temperature"),
        (good.into(), &["--top-p", "0"], "top_p"),
        (good.into(), &["--dtype", "int8"], "`dtype` must be f32 or bf16"),
        (good.into(), &["--stop", ""], "stop text is empty"),
        (good.into(), &["--samples", "0"], "`samples` must be at least 1"),
    ];
    for (input, args, message) in cases {
        let place = Place::new(&input);
        place.run(&stories(), args).code(2).stderr(contains(message));
        assert!(!place.path("out.jsonl").exists(), "{message}");
    }
    let place = Place::new(good);
    place.run(tiny("reward-llama").path(), &[]).code(2).stderr(contains("reward model"));
    place.run(Path::new("nowhere"), &[]).code(2).stderr(contains("nowhere: no such folder"));
    fs::remove_file(place.path("in.jsonl")).unwrap();
    place.run(&stories(), &[]).code(2).stderr(contains("in.jsonl"));
    Command::cargo_bin("generate").unwrap().assert().code(2).stderr(contains("`model` is missing"));
    Command::cargo_bin("generate")
        .unwrap()
        .arg("--help")
        .assert()
        .success()
        .stdout(contains("--max-new-tokens"));
}

#[test]
fn lone_surrogates_and_bf16_are_taken() {
    let place = Place::new("{\"id\": \"\\ud800\", \"prompt\": \"Once \\udc00\"}\n");
    place.run(&stories(), &["--max-new-tokens", "4", "--dtype", "bf16"]).success();
    assert_eq!(place.records()[0]["id"], "\u{fffd}");
    assert_eq!(place.records()[0]["token_ids"].as_array().unwrap().len(), 4);
}
