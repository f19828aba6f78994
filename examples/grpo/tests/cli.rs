//! The program from the command line, on a tiny folder of random weights.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use models::{LoadOptions, Pretrained};
use serde_json::json;
use tempfile::TempDir;
use tests::{assert_same_run, kill_and_resume, read_lines, sums, tiny_folder, write_lines};

struct World(TempDir);

impl World {
    /// A model folder, five questions, and a configuration whose length reward tells responses apart.
    fn new() -> Self {
        let world = Self(TempDir::new().unwrap());
        tiny_folder(&world.path("base"));
        write_lines(&world.path("questions.jsonl"), &sums(5));
        let config = "steps = 2\nquestions = 2\nsamples = 4\nmax_new_tokens = 24\nlr = 1e-3\n\
            [rewards]\nformat = 0.5\nlength = 0.5\nlength_buffer = 24\nunfinished = true\n";
        std::fs::write(world.path("grpo.toml"), config).unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, run: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_grpo"));
        for (flag, name) in [
            ("--config", "grpo.toml"),
            ("--model", "base"),
            ("--input", "questions.jsonl"),
            ("--run-dir", run),
        ] {
            if !more.contains(&flag) {
                command.arg(flag).arg(self.path(name));
            }
        }
        command.args(more);
        command
    }

    fn run(&self, run: &str, more: &[&str]) -> Output {
        self.command(run, more).output().unwrap()
    }

    /// Runs something that must be refused, with nothing written.
    fn refused(&self, more: &[&str], parts: &[&str]) {
        let output = self.run("refused", more);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(parts.iter().all(|part| said.contains(part)), "expected {parts:?} in: {said}");
        assert!(!self.path("refused").exists(), "something was written");
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }
}

fn success(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn two_steps_leave_a_folder_metrics_and_samples() {
    let world = World::new();
    let questions = world.path("questions.jsonl").display().to_string();
    success(&world.run("run", &["--kl", "0.01", "--entropy", "0.001", "--eval", &questions]));
    let run = world.path("run");
    let metrics = read_lines(&run.join("metrics.jsonl"));
    assert_eq!(metrics.len(), 2);
    assert_eq!(
        metrics[0]["kl_reference"].as_f64().map(f64::abs),
        Some(0.0),
        "the policy is its own reference at first"
    );
    assert!(metrics[1]["kl_reference"].as_f64().unwrap() > 0.0, "{}", metrics[1]);
    assert!(metrics[1]["eval_accuracy"].is_number() && metrics[0]["gradient_norm"].as_f64().unwrap() > 0.0);
    let samples = read_lines(&run.join("samples/rollouts.jsonl"));
    assert_eq!(samples.len(), 2 * 2 * 4);
    for group in samples.chunks(4) {
        let sum: f64 = group.iter().map(|s| s["advantage"].as_f64().unwrap()).sum();
        assert!(sum.abs() < 1e-9, "advantages of a group add up to zero: {group:?}");
    }
    for file in ["config.toml", "environment.json", "results.json", "timing.json"] {
        assert!(run.join(file).exists(), "{file}");
    }
    let device = training::device("cpu").unwrap();
    let load = |path: &Path| Pretrained::load(path, &LoadOptions::new(&device)).unwrap();
    let (before, after) = (load(&world.path("base")), load(&run.join("model")));
    let head = |p: &Pretrained| p.model.head().into_data().iter::<f32>().collect::<Vec<f32>>();
    assert_ne!(head(&before), head(&after), "the policy moved");
    assert!(after.tokenizer.is_some() && after.eos() == before.eos());
    // The folder is one that the program starts from again.
    let model = run.join("model").display().to_string();
    success(&world.run("again", &["--model", &model, "--steps", "1"]));
}

#[test]
fn micro_batches_add_up_to_the_whole() {
    let world = World::new();
    success(&world.run("whole", &["--micro-batch", "8", "--steps", "1"]));
    success(&world.run("parts", &["--micro-batch", "1", "--steps", "1"]));
    let line = |run: &str| read_lines(&world.path(run).join("metrics.jsonl")).remove(0);
    for key in ["loss", "gradient_norm", "entropy"] {
        let (whole, parts) = (line("whole")[key].as_f64().unwrap(), line("parts")[key].as_f64().unwrap());
        assert!((whole - parts).abs() < 1e-5 * whole.abs().max(1.0), "{key}: {whole} and {parts}");
    }
    assert!(line("whole")["loss"].as_f64().unwrap() != 0.0);
}

#[test]
fn several_updates_and_dynamic_sampling() {
    let world = World::new();
    success(&world.run("run", &["--minibatches", "2", "--epochs", "3"]));
    let results: serde_json::Value =
        serde_json::from_slice(&std::fs::read(world.path("run/results.json")).unwrap()).unwrap();
    assert_eq!((results["updates"].as_u64(), results["questions"].as_u64()), (Some(12), Some(4)));
    let ratio = read_lines(&world.path("run/metrics.jsonl"))[0]["ratio_max"].as_f64().unwrap();
    assert!(ratio > 1.0 + 1e-6, "later updates see a policy that has moved: {ratio}");

    // Nothing a random model writes is correct and finished, so no group has signal: three rounds each step, no update.
    let config = world.write(
        "strict.toml",
        "dynamic_rounds = 2\nquestions = 2\nsamples = 2\nmax_new_tokens = 4\nsteps = 1\n",
    );
    success(&world.run("dry", &["--config", &config]));
    let dry: serde_json::Value =
        serde_json::from_slice(&std::fs::read(world.path("dry/results.json")).unwrap()).unwrap();
    assert_eq!((dry["updates"].as_u64(), dry["questions"].as_u64()), (Some(0), Some(6)));
    let metrics = read_lines(&world.path("dry/metrics.jsonl"));
    assert_eq!(
        (metrics[0]["groups"].as_u64(), metrics[0]["groups_without_signal"].as_u64()),
        (Some(6), Some(6))
    );
}

#[test]
fn ten_kills_and_resumes_end_as_one_run() {
    let world = World::new();
    let options = ["--steps", "30", "--checkpoint-every", "1", "--kl", "0.01", "--minibatches", "2"];
    success(&world.run("whole", &options));
    kill_and_resume(10, &world.path("killed/metrics.jsonl"), || {
        let mut command = world.command("killed", &options);
        command.arg("--resume");
        command
    });
    assert_same_run(&world.path("whole"), &world.path("killed"));
}

#[test]
fn a_second_run_is_refused_and_another_configuration_does_not_resume() {
    let world = World::new();
    success(&world.run("run", &["--steps", "1"]));
    let said = |output: Output| {
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let again = said(world.run("run", &["--steps", "1"]));
    assert!(again.contains("resume it") && again.contains("overwrite it"), "{again}");
    let other = said(world.run("run", &["--steps", "1", "--resume", "--lr", "0.5"]));
    assert!(other.contains("lr"), "{other}");
    success(&world.run("run", &["--steps", "1", "--overwrite"]));
}

#[test]
fn bad_input_is_named_and_nothing_is_written() {
    let world = World::new();
    world.refused(
        &["--model", "/nowhere"],
        &["error: cannot read /nowhere/config.json: No such file or directory (os error 2)\n"],
    );
    let bad = world.write("bad.jsonl", "{\"question\": \"1 + 1 = ?\", \"answer\": \"2\"}\n{\"question\": \n");
    world.refused(&["--input", &bad], &["bad.jsonl:2"]);
    let unanswered = world.write("unanswered.jsonl", "{\"id\": \"lonely\", \"question\": \"1 + 1 = ?\"}\n");
    world.refused(&["--input", &unanswered], &["unanswered.jsonl:1", "answer"]);
    let long = json!({"id": "long", "question": "1 + ".repeat(200), "answer": "200"}).to_string();
    let long = world.write("long.jsonl", &long);
    world.refused(&["--input", &long], &["`long`", "512", "max_new_tokens"]);
    let twice = world.path("questions.jsonl").display().to_string();
    world.refused(&["--input", &twice, &twice], &["q0", "unique"]);
    let unknown = world.write("unknown.toml", "learning_rate = 1.0\n");
    world.refused(&["--config", &unknown], &["unknown.toml", "learning_rate"]);
    world.refused(&["--samples", "0"], &["samples"]);
    world.refused(&["--temperature", "0"], &["temperature"]);
    world.refused(&["--device", "abacus"], &["abacus"]);
}
