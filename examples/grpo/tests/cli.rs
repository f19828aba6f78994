//! The program from the command line, on a tiny folder of random weights.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use burn::tensor::Tensor;
use models::{LoadOptions, Pretrained, ScoreOptions, Scored, ValueHead, score};
use serde_json::json;
use tempfile::TempDir;
use tests::{
    assert_same_run, fill_disk_and_resume, kill_and_resume, kills, read_lines, sums, tiny_folder, write_lines,
};

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

    /// Starts a run, or goes on with it.
    fn resume(&self, run: &str, more: &[&str]) -> Command {
        let mut command = self.command(run, more);
        command.arg("--resume");
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

    /// Kills a run and resumes it, and compares with one that was left alone.
    fn survives(&self, kills: usize, options: &[&str]) {
        success(&self.run("whole", options));
        kill_and_resume(kills, &self.path("killed/metrics.jsonl"), || self.resume("killed", options));
        assert_same_run(&self.path("whole"), &self.path("killed"));
    }

    fn metrics(&self, run: &str) -> Vec<serde_json::Value> {
        read_lines(&self.path(run).join("metrics.jsonl"))
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

/// The first update throws the weights so far off that the second has no numbers.
#[test]
fn an_update_that_is_not_finite_is_left_out_and_its_responses_are_kept() {
    let world = World::new();
    success(&world.run("run", &["--lr", "1e15", "--steps", "1", "--minibatches", "2"]));
    let read = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(world.path("run").join(name)).unwrap()).unwrap()
    };
    let results = read("results.json");
    assert_eq!((results["updates"].as_u64(), results["skipped"].as_u64()), (Some(2), Some(1)));
    let kept = read("not-finite-update-1.json");
    let kept = kept.as_array().unwrap();
    assert_eq!(kept.len(), 4, "half of two groups of four");
    assert!(kept.iter().all(|r| r["prompt"].as_str().unwrap().contains("Question")), "{kept:?}");
    assert!(kept.iter().all(|r| !r["response"].as_str().unwrap().is_empty()), "{kept:?}");
    assert!(!world.path("run/not-finite-update-0.json").exists());

    let strict = "skip_at_most = 0\nquestions = 2\nsamples = 4\nmax_new_tokens = 24\n\
        [rewards]\nlength = 1.0\nlength_buffer = 24\nunfinished = true\n";
    let config = world.write("strict.toml", strict);
    let options = ["--config", &config, "--lr", "1e15", "--steps", "1", "--minibatches", "2"];
    let output = world.run("stopped", &options);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("not finite"), "{said}");
    assert!(world.path("stopped/not-finite-update-1.json").exists());
}

#[test]
fn kills_and_resumes_end_as_one_run() {
    let world = World::new();
    let steps = (3 * kills()).to_string();
    let options = ["--steps", &steps, "--checkpoint-every", "1", "--kl", "0.01", "--minibatches", "2"];
    world.survives(kills(), &options);
}

#[cfg(unix)]
#[test]
fn a_full_disk_ends_the_run_and_it_goes_on_when_there_is_room() {
    let world = World::new();
    let options = ["--steps", "6", "--checkpoint-every", "1"];
    success(&world.run("whole", &options));
    let size = |name: &str| world.path("whole").join(name).metadata().unwrap().len();
    // Weights cannot be written, then not even a step's samples.
    let limits = [size("checkpoints/step-6/model.safetensors") / 2, size("samples/rollouts.jsonl") / 12];
    fill_disk_and_resume(&limits, &world.path("filled"), || world.resume("filled", &options));
    assert_same_run(&world.path("whole"), &world.path("filled"));
}

#[test]
fn adapters_alone_are_trained_and_merged_at_the_end() {
    let world = World::new();
    let options = ["--lora-rank", "3", "--lora-targets", "q_proj", "down_proj", "--kl", "0.01"];
    success(&world.run("run", &options));
    let run = world.path("run");
    let kl = |step: usize| world.metrics("run")[step]["kl_reference"].as_f64().unwrap();
    assert_eq!(kl(0).abs(), 0.0, "fresh adapters change nothing");
    assert!(kl(1) > 0.0, "the reference has no adapters: {}", kl(1));

    let device = training::device("cpu").unwrap();
    let load = |path: &Path| Pretrained::load(path, &LoadOptions::new(&device)).unwrap().model;
    let (base, merged) = (load(&world.path("base")), load(&run.join("model")));
    let adapted = base.clone().attach_peft(run.join("adapter")).unwrap();
    let say = |model: &models::CausalLm| {
        let sequence = Scored { tokens: (20..60).collect(), prompt_length: 1 };
        score(model, &[sequence], &ScoreOptions::default()).unwrap().remove(0)
    };
    let furthest = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let (before, after, beside) = (say(&base), say(&merged), say(&adapted));
    assert!(furthest(&before, &after) > 1e-5, "the policy moved");
    assert!(furthest(&after, &beside) < 1e-5, "the folder is the base with the adapters beside it");
    let rows = |model: &models::CausalLm| model.embedding().into_data().iter::<f32>().collect::<Vec<f32>>();
    assert_eq!(rows(&base), rows(&merged), "all else is as it was");
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(run.join("adapter/adapter_config.json")).unwrap()).unwrap();
    assert_eq!((config["r"].as_u64(), config["lora_alpha"].as_f64()), (Some(3), Some(16.0)));
    assert_eq!(config["target_modules"], json!(["q_proj", "down_proj"]));
    let checkpoint = run.join("checkpoints/step-2");
    assert!(checkpoint.join("adapter/adapter_model.safetensors").exists());
    assert!(!checkpoint.join("model.safetensors").exists(), "a checkpoint does not copy the base");

    // A run goes on from adapters only where the base is the one they were trained on.
    let mut bytes = std::fs::read(world.path("base/model.safetensors")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(world.path("base/model.safetensors"), bytes).unwrap();
    let again = world.run("run", &[&options[..], &["--resume"]].concat());
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert_eq!(again.status.code(), Some(2), "{said}");
    assert!(said.contains("the run began with"), "{said}");
}

#[test]
fn adapters_survive_kills() {
    let world = World::new();
    let adapters = ["--lora-rank", "49", "--lora-alpha", "1", "--kl", "0.01"];
    world.survives(4, &[&adapters[..], &["--steps", "16", "--checkpoint-every", "1"]].concat());
}

/// PPO with one response to a question, KL in the reward, and a head that learns fast.
const PPO: &str = "algorithm = \"ppo\"\nsteps = 4\nquestions = 8\nsamples = 1\nmax_new_tokens = 24\nlr = 1e-3\nkl = 0.05\n\
    minibatches = 2\nepochs = 2\n[ppo]\nvalue_lr = 0.03\nvalue_clip = { pessimistic = 0.1 }\n\
    [rewards]\nformat = 0.5\nlength = 0.5\nlength_buffer = 24\nunfinished = true\n";

#[test]
fn ppo_learns_values_from_single_responses() {
    let world = World::new();
    let config = world.write("ppo.toml", PPO);
    success(&world.run("run", &["--config", &config]));
    let metrics = world.metrics("run");
    let number = |step: usize, key: &str| metrics[step][key].as_f64().unwrap_or_else(|| panic!("{key}"));
    assert_eq!(number(0, "value"), 0.0, "a fresh head expects nothing");
    assert!(number(1, "value") != 0.0 && number(0, "value_gradient_norm") > 0.0);
    assert!(number(0, "kl_reference").abs() < 1e-6, "the policy is its own reference at first");
    assert!(number(1, "kl_reference").abs() > 1e-5 && number(0, "value_loss") > 0.0);
    assert_eq!(number(0, "explained_variance"), 0.0, "a constant explains nothing");
    let clipped: f64 = (0..4).map(|step| number(step, "value_clip")).sum();
    assert!(clipped > 0.0, "fast values meet their clip");
    let samples = read_lines(&world.path("run/samples/rollouts.jsonl"));
    assert_eq!(samples.len(), 4 * 8);
    assert!(samples[..8].iter().all(|sample| sample["value"] == json!(0.0)));
    assert!(samples[..8].iter().any(|sample| sample["advantage"].as_f64().unwrap() != 0.0));

    let device = training::device("cpu").unwrap();
    let head = ValueHead::load(world.path("run/value_head.safetensors"), 16, &device).unwrap();
    let value = head.forward(Tensor::ones([1, 1, 16], &device)).into_scalar::<f32>();
    assert!(value != 0.0 && value.is_finite(), "the head moved");
    assert!(Pretrained::load(world.path("run/model"), &LoadOptions::new(&device)).is_ok());
}

#[test]
fn ppo_adds_up_over_micro_batches() {
    let world = World::new();
    let config = world.write("ppo.toml", PPO);
    let one = ["--config", &config, "--steps", "1", "--epochs", "1", "--minibatches", "1"];
    success(&world.run("whole", &[&one[..], &["--micro-batch", "8"]].concat()));
    success(&world.run("parts", &[&one[..], &["--micro-batch", "1"]].concat()));
    for key in ["loss", "gradient_norm", "value_loss", "value_gradient_norm"] {
        let of = |run: &str| world.metrics(run)[0][key].as_f64().unwrap();
        let (whole, parts) = (of("whole"), of("parts"));
        assert!((whole - parts).abs() < 1e-5 * whole.abs().max(1.0), "{key}: {whole} and {parts}");
    }
}

#[test]
fn ppo_survives_kills() {
    let world = World::new();
    let config = world.write("ppo.toml", PPO);
    world.survives(4, &["--config", &config, "--steps", "16", "--checkpoint-every", "1"]);
}

#[test]
fn ppo_trains_adapters_and_survives_kills() {
    let world = World::new();
    let config = world.write("ppo.toml", PPO);
    let options = ["--config", &config, "--lora-rank", "2", "--steps", "16", "--checkpoint-every", "1"];
    world.survives(3, &options);
    let metrics = world.metrics("killed");
    let kl = |step: usize| metrics[step]["kl_reference"].as_f64().unwrap().abs();
    assert!(kl(0) < 1e-6 && kl(15) > 1e-5, "the reference has no adapters: {} and {}", kl(0), kl(15));
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let world = World::new();
    world.refused(&["--samples", "1"], &["`samples`", "ppo"]);
    world.refused(&["--lora-alpha", "8"], &["`lora_alpha`", "`lora_rank` is 0"]);
    world.refused(&["--lora-targets", "q_proj"], &["`lora_targets`", "`lora_rank` is 0"]);
    world.refused(&["--lora-rank", "2", "--lora-targets", "qkv"], &["`lora_targets`", "q_proj", "qkv"]);
    world.refused(&["--lora-rank", "5000"], &["`lora_rank`", "5000"]);
    let refused = |text: &str, flags: &[&str], parts: &[&str]| {
        let config = world.write("contradictory.toml", text);
        world.refused(&[&["--config", config.as_str()][..], flags].concat(), parts);
    };
    refused("[ppo]\nlambda = 0.9\n", &[], &["`ppo`", "`algorithm` is grpo"]);
    let ppo = ["--algorithm", "ppo"];
    refused("[advantage]\nscale = \"none\"\n", &ppo, &["`advantage`", "`algorithm` is ppo"]);
    refused("dynamic_rounds = 1\n", &ppo, &["`dynamic_rounds`", "ppo"]);
    refused("kl = 0.1\n[kl_term]\nestimator = \"k2\"\n", &ppo, &["`kl_term`", "`ppo.kl_in_reward`"]);
    refused("[ppo]\nlambda = 1.5\n", &ppo, &["`ppo`", "`lambda`", "1.5"]);
    refused("[ppo]\nvalue_clip = { plain = 0.0 }\n", &ppo, &["`ppo.value_clip`", "positive"]);
    refused("[ppo]\nvalue_coefficient = 0.0\n", &ppo, &["`ppo.value_coefficient`", "nothing"]);
    refused(
        "[ppo]\nwhiten = false\nwhitening = { mean = \"keep\" }\n",
        &ppo,
        &["`ppo.whitening`", "`ppo.whiten`"],
    );
    refused("[ppo]\nvalue_lr = -1.0\n", &ppo, &["`ppo.value_lr` must be finite"]);
    refused("[ppo]\ncritic_lr = 1.0\n", &ppo, &["critic_lr"]);
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
    world.refused(&["--model", "/nowhere"], &["error: /nowhere: no such folder"]);
    let bad = world.write("bad.jsonl", "{\"question\": \"1 + 1 = ?\", \"answer\": \"2\"}\n{\"question\": \n");
    world.refused(&["--input", &bad], &["bad.jsonl line 2"]);
    let unanswered = world.write("unanswered.jsonl", "{\"id\": \"lonely\", \"question\": \"1 + 1 = ?\"}\n");
    world.refused(&["--input", &unanswered], &["unanswered.jsonl line 1", "answer"]);
    let long = json!({"id": "long", "question": "1 + ".repeat(200), "answer": "200"}).to_string();
    let long = world.write("long.jsonl", &long);
    world.refused(&["--input", &long], &["`long`", "512", "max_new_tokens"]);
    let twice = world.path("questions.jsonl").display().to_string();
    world.refused(&["--input", &twice, &twice], &["q0", "unique"]);
    let unknown = world.write("unknown.toml", "learning_rate = 1.0\n");
    world.refused(&["--config", &unknown], &["unknown.toml", "learning_rate"]);
    std::fs::create_dir(world.path("photos")).unwrap();
    std::fs::write(world.path("photos/cat.txt"), "precious").unwrap();
    for (name, said) in [("photos", "no model's"), ("base", "the run reads")] {
        let output = world.path(name).display().to_string();
        world.refused(&["--output", &output], &[name, said, "name another folder"]);
    }
    assert!(world.path("photos/cat.txt").exists() && world.path("base/config.json").exists());
    world.refused(&["--samples", "0"], &["samples"]);
    world.refused(&["--steps", "0"], &["steps"]);
    world.refused(&["--kl", "-1"], &["`kl`", "at least 0"]);
    world.refused(&["--reference", &world.path("base").display().to_string()], &["`reference`", "`kl` is 0"]);
    world.refused(&["--minibatches", "1000"], &["`minibatches` is 1000", "responses"]);
    world.refused(&["--lr", "-1"], &["`lr`", "at least 0"]);
    world.refused(&["--resume", "--overwrite"], &["--resume", "--overwrite"]);
    world.refused(&["--temperature", "0"], &["temperature"]);
    world.refused(&["--device", "abacus"], &["abacus"]);
}
