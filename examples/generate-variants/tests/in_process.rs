//! The program with a model in its own process: a tiny folder of random weights.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::json;
use tempfile::TempDir;
use tests::{read_lines, sums, tiny_folder, write_lines};

struct World(TempDir);

impl World {
    fn new() -> Self {
        let world = Self(TempDir::new().unwrap());
        tiny_folder(&world.path("base"));
        write_lines(&world.path("questions.jsonl"), &sums(3));
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, output: &str, more: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_generate-variants"));
        for (flag, name) in [("--model", "base"), ("--input", "questions.jsonl"), ("--output", output)] {
            if !more.contains(&flag) {
                command.arg(flag).arg(self.path(name));
            }
        }
        command.args(["--approaches", "2", "--exemplars", "0", "--max-new-tokens", "40"]).args(more);
        command.output().unwrap()
    }

    fn refused(&self, more: &[&str], parts: &[&str]) {
        let output = self.run("refused.jsonl", more);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(parts.iter().all(|part| said.contains(part)), "expected {parts:?} in: {said}");
        assert!(
            !self.path("refused.jsonl").exists() && !self.path("refused.run").exists(),
            "something was written"
        );
    }
}

fn success(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn candidates_do_not_depend_on_the_batch() {
    let world = World::new();
    for style in ["base", "chat"] {
        let (one, all) = (format!("one-{style}.jsonl"), format!("all-{style}.jsonl"));
        success(&world.run(&one, &["--style", style, "--batch-size", "1"]));
        success(&world.run(&all, &["--style", style, "--judge", "likelihood"]));
        let candidates = |name: &str| {
            let run = world.path(name).with_extension("run");
            let mut lines = read_lines(&run.join("candidates.jsonl"));
            lines.sort_by_key(|line| line["request"].as_str().map(str::to_owned));
            lines
        };
        let found = candidates(&all);
        assert_eq!(found.len(), 6, "three questions, two approaches");
        assert!(found.iter().all(|line| line["candidates"].as_array().unwrap().len() == 4));
        assert_ne!(found[0]["candidates"][0]["text"], found[0]["candidates"][1]["text"]);
        assert_eq!(found, candidates(&one));
    }
}

#[test]
fn an_answered_plan_is_not_asked_again() {
    let world = World::new();
    success(&world.run("out.jsonl", &["--style", "base"]));
    let journal = world.path("out.run/candidates.jsonl");
    let whole = std::fs::read(&journal).unwrap();
    // Cut within a line, as a killed run leaves it.
    std::fs::write(&journal, &whole[..whole.len() * 2 / 3]).unwrap();
    success(&world.run("out.jsonl", &["--style", "base"]));
    let mut lines: Vec<Vec<u8>> =
        std::fs::read(&journal).unwrap().split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    let mut before: Vec<Vec<u8>> = whole.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    lines.sort();
    before.sort();
    assert_eq!(lines, before);
    // Another model is another run.
    let other = world.path("other");
    std::fs::create_dir(&other).unwrap();
    for file in std::fs::read_dir(world.path("base")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), other.join(file.file_name())).unwrap();
    }
    let output = world.run("out.jsonl", &["--style", "base", "--model", &other.display().to_string()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("`model`"), "{said}");
}

#[test]
fn bad_input_is_named_and_nothing_is_written() {
    let world = World::new();
    world.refused(&["--model", "/nowhere"], &["/nowhere"]);
    world.refused(&["--judge", "reward"], &["--reward-model"]);
    world.refused(&["--judge", "reward", "--reward-model", "/nowhere"], &["/nowhere"]);
    world.refused(&["--device", "abacus"], &["abacus"]);
    write_lines(
        &world.path("long.jsonl"),
        &[json!({"id": "long", "question": "1 + ".repeat(150), "answer": "150"})],
    );
    let long = world.path("long.jsonl").display().to_string();
    world.refused(&["--style", "base", "--input", &long], &["`long`", "tokens", "--max-new-tokens"]);
    std::fs::remove_file(world.path("base/tokenizer_config.json")).unwrap();
    world.refused(&["--style", "chat"], &["chat template", "base"]);
}
