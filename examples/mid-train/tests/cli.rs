//! The program from the command line, on a tiny folder of random weights.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    assert_one_sentence, assert_same_run, fill_disk_and_resume, kill_and_resume, kills, read_lines, sums,
    tiny_folder, write_lines,
};

struct World(TempDir);

impl World {
    fn new() -> Self {
        let world = Self(TempDir::new().unwrap());
        tiny_folder(&world.path("base"));
        write_lines(&world.path("data.jsonl"), &records());
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, run: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mid-train"));
        for (flag, name) in [("--model", "base"), ("--input", "data.jsonl"), ("--run-dir", run)] {
            if !more.contains(&flag) {
                command.arg(flag).arg(self.path(name));
            }
        }
        if !more.contains(&"--lr") {
            command.args(["--lr", "1e-2"]);
        }
        command.args(["--rows", "2", "--accumulate", "2"]).args(more);
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

    fn refused(&self, more: &[&str], parts: &[&str]) {
        let output = self.run("refused", more);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(parts.iter().all(|part| said.contains(part)), "expected {parts:?} in: {said}");
        assert!(!self.path("refused").exists(), "something was written");
    }

    fn write(&self, name: &str, lines: &[Value]) -> String {
        write_lines(&self.path(name), lines);
        self.path(name).display().to_string()
    }
}

/// Sums as raw text, as variants, as conversations, and as people solve them.
fn records() -> Vec<Value> {
    let mut lines = Vec::new();
    for (i, sum) in sums(12).into_iter().enumerate() {
        let (id, question, answer) = (&sum["id"], sum["question"].as_str().unwrap(), &sum["answer"]);
        lines.push(match i % 4 {
            0 => json!({"id": id, "prompt": question, "completion": answer}),
            1 => json!({"id": id, "question": question, "response": format!("It is \\boxed{{{}}}.", answer.as_str().unwrap())}),
            2 => json!({"id": id, "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}),
            _ => json!({"id": id, "question": question, "solution": "Count <<on=on>>on.", "answer": answer}),
        });
    }
    lines
}

fn success(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn every_kind_of_record_is_learned() {
    let world = World::new();
    success(&world.run("run", &["--epochs", "30"]));
    let metrics = read_lines(&world.path("run/metrics.jsonl"));
    let loss = |line: &Value| line["loss"].as_f64().unwrap();
    let (first, last) = (loss(&metrics[0]), loss(metrics.last().unwrap()));
    assert!(first > 4.0 && last < 0.5 * first, "from {first} to {last}; chance is ln 99 = 4.6");
    assert!(world.path("run/model/config.json").exists());
    let config = std::fs::read_to_string(world.path("run/model/tokenizer_config.json")).unwrap();
    assert!(config.contains("chat_template"), "the template travels with the folder");
}

#[test]
fn what_is_learned_stands_between_brackets() {
    let world = World::new();
    let shown = |lines: &[Value], more: &[&str]| {
        let input = world.write("one.jsonl", lines);
        let options = [&["--input", &input, "--steps", "1", "--overwrite"], more].concat();
        success(&world.run("shown", &options))
    };
    let turns = json!({"messages": [{"role": "user", "content": "1 + 1 = ?"}, {"role": "assistant", "content": "2"}]});
    let said = shown(&[turns], &[]);
    assert!(said.contains("<user>1 + 1 = ?<eos>\n  <assistant>⟦2<eos>⟧"), "{said}");
    let asked = json!({"messages": [{"role": "user", "content": "1 + 1 = ?"}], "completion": "2"});
    let said = shown(&[asked], &[]);
    assert!(said.contains("<assistant>⟦2<eos>⟧"), "{said}");
    let solved = json!({"question": "1 + 1 = ?", "solution": "One <<1+1=2>>and one.", "answer": "2"});
    let said = shown(std::slice::from_ref(&solved), &[]);
    assert!(
        said.contains(
            "Question: 1 + 1 = ?\n  Solution:⟦ One and one.\n  The final answer is $\\boxed{2}$.<eos>⟧"
        ),
        "{said}"
    );
    let said = shown(&[solved], &["--style", "chat"]);
    assert!(said.contains("<user>1 + 1 = ?<eos>\n  <assistant>⟦One and one."), "{said}");
    let said = shown(&[json!({"question": "1 + 1 = ?", "answer": "Two. #### 2"})], &[]);
    assert!(said.contains("⟦ Two.\n  The final answer is $\\boxed{2}$.<eos>⟧"), "{said}");
}

#[test]
fn kills_and_resumes_end_as_one_run() {
    let world = World::new();
    let eval = world.path("data.jsonl").display().to_string();
    let config = world.path("often.toml");
    std::fs::write(&config, "eval_every = 3\n").unwrap();
    let config = config.display().to_string();
    let steps = (6 * kills()).to_string();
    let options = ["--steps", &steps, "--checkpoint-every", "1", "--eval", &eval, "--config", &config];
    success(&world.run("whole", &options));
    kill_and_resume(kills(), &world.path("killed/metrics.jsonl"), || world.resume("killed", &options));
    assert_same_run(&world.path("whole"), &world.path("killed"));
}

#[test]
fn noise_on_embeddings_changes_training_and_is_the_same_each_time() {
    let world = World::new();
    let config = world.path("noise.toml");
    std::fs::write(&config, "neftune_alpha = 5.0\n").unwrap();
    let config = config.display().to_string();
    let losses = |run: &str, more: &[&str]| -> Vec<f64> {
        success(&world.run(run, &[&["--steps", "4"], more].concat()));
        let metrics = read_lines(&world.path(run).join("metrics.jsonl"));
        metrics.iter().map(|line| line["loss"].as_f64().unwrap()).collect()
    };
    let (plain, noisy) = (losses("plain", &[]), losses("noisy", &["--config", &config]));
    assert!(
        plain.iter().zip(&noisy).all(|(plain, noisy)| (plain - noisy).abs() > 1e-6),
        "{plain:?} {noisy:?}"
    );
    assert_eq!(noisy, losses("again", &["--config", &config]));
    std::fs::write(world.path("noise.toml"), "neftune_alpha = -1.0\n").unwrap();
    world.refused(&["--config", &config], &["`neftune_alpha`", "-1"]);
}

/// One weight of the last norm is not a number, so no loss is.
#[test]
fn a_loss_that_is_not_finite_is_skipped_or_ends_the_run_and_its_batch_is_kept() {
    let world = World::new();
    let weights = world.path("base/model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&weights, bytes).unwrap();
    let kept = |run: &str, step: u64| -> Vec<String> {
        let path = world.path(run).join(format!("not-finite-step-{step}.json"));
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };

    success(&world.run("skipped", &["--steps", "3"]));
    let results: Value =
        serde_json::from_slice(&std::fs::read(world.path("skipped/results.json")).unwrap()).unwrap();
    assert_eq!(results["skipped"], 3);
    for step in 0..3 {
        let texts = kept("skipped", step);
        assert_eq!(texts.len(), 4, "two micro-batches of two rows: {texts:?}");
        assert!(texts.iter().all(|text| text.contains('⟦')), "{texts:?}");
    }

    let config = world.path("stop.toml");
    std::fs::write(&config, "skip_at_most = 0\n").unwrap();
    let output = world.run("stopped", &["--steps", "3", "--config", &config.display().to_string()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("error: step 0: the loss is not finite"), "{said}");
    assert_eq!(kept("stopped", 0).len(), 4);
}

/// Without clipped gradients and decay nothing moves, so nothing improves.
#[test]
fn a_run_that_stops_improving_ends_early_and_stays_ended() {
    let world = World::new();
    let config = world.path("patient.toml");
    let text = "eval_every = 1\npatience = 2\nmax_norm = 0.0\nweight_decay = 0.0\n";
    std::fs::write(&config, text).unwrap();
    let (config, eval) = (config.display().to_string(), world.path("data.jsonl").display().to_string());
    let options = ["--steps", "50", "--config", &config, "--eval", &eval];
    let read = |name: &str| std::fs::read(world.path("run").join(name)).unwrap();
    success(&world.run("run", &options));
    let metrics = read_lines(&world.path("run/metrics.jsonl"));
    assert_eq!(metrics.len(), 3, "the best is the first, and two more did not improve on it");
    assert_eq!(metrics[0]["eval_loss"], metrics[2]["eval_loss"]);
    let json = |name: &str| serde_json::from_slice::<Value>(&read(name)).unwrap();
    assert_eq!(json("results.json")["early_stop"], true);
    assert_eq!(json("best.json")["step"], 1);
    assert!(world.path("run/checkpoints/step-1/model.safetensors").exists(), "the best has a checkpoint");
    let before = read("model/model.safetensors");
    success(&world.resume("run", &options).output().unwrap());
    assert_eq!(read_lines(&world.path("run/metrics.jsonl")).len(), 3);
    assert_eq!(read("model/model.safetensors"), before);
}

#[cfg(unix)]
#[test]
fn ctrl_c_finishes_the_step_and_saves() {
    let world = World::new();
    let options = ["--steps", "300", "--checkpoint-every", "1000"];
    success(&world.run("whole", &options));
    let log = world.path("stopped/metrics.jsonl");
    let output = tests::interrupt_after(5, &log, world.command("stopped", &options));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("go on with --resume"), "{said}");
    let done = read_lines(&log).len();
    assert!((5..300).contains(&done), "stopped after {done} steps");
    let said = success(&world.resume("stopped", &options).output().unwrap());
    assert!(said.contains(&format!("resuming after step {done} of 300")), "{said}");
    assert_same_run(&world.path("whole"), &world.path("stopped"));
}

#[cfg(unix)]
#[test]
fn a_full_disk_ends_the_run_and_it_goes_on_when_there_is_room() {
    let world = World::new();
    let options = ["--steps", "40", "--checkpoint-every", "2"];
    success(&world.run("whole", &options));
    let size = |name: &str| world.path("whole").join(name).metadata().unwrap().len();
    let (model, moments) =
        (size("checkpoints/step-40/model.safetensors"), size("checkpoints/step-40/optimizer.safetensors"));
    // Moments and weights cannot be written, then not even the line of a step.
    let limits = [(model + moments) / 2, model / 2, size("metrics.jsonl") / 4];
    assert!(limits[0] > size("metrics.jsonl") && limits[2] > size("config.toml"), "{limits:?}");
    fill_disk_and_resume(&limits, &world.path("filled"), || world.resume("filled", &options));
    assert_same_run(&world.path("whole"), &world.path("filled"));
}

/// Runs a program in a file system too small for it, makes that larger, and runs it again. Then copies the run folder out of the
/// namespace in which the file system is mounted. Prints the exit codes.
const SMALL_DISK: &str = r#"
    disk=$1 size=$2 out=$3; shift 3
    mount -t tmpfs -o size="$size" tmpfs "$disk" || exit 77
    "$@" 2>"$out.said"; echo $?
    ls -A "$disk/run/checkpoints" >"$out.left"
    mount -o remount,size=1g "$disk"
    "$@"; echo $?
    cp -R "$disk/run" "$out"
"#;

#[cfg(target_os = "linux")]
#[test]
fn a_small_file_system_is_filled_and_made_larger() {
    let world = World::new();
    let options = ["--steps", "12", "--checkpoint-every", "2"];
    success(&world.run("whole", &options));
    let folder = std::fs::read_dir(world.path("whole/checkpoints/step-12")).unwrap();
    // Files take whole pages. Room for one checkpoint and most of another, and for what stands beside them.
    let pages: u64 = folder.map(|file| file.unwrap().metadata().unwrap().len().div_ceil(4096)).sum();
    let size = (pages * 4096 * 7 / 4).to_string();
    std::fs::create_dir(world.path("disk")).unwrap();
    let program = world.resume("disk/run", &options);
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", SMALL_DISK, "sh"]);
    command.arg(world.path("disk")).arg(size).arg(world.path("filled"));
    let output = command.arg(program.get_program()).args(program.get_args()).output();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (codes, said) = match output {
        Ok(output) => (text(&output.stdout), text(&output.stderr)),
        Err(error) => (String::new(), error.to_string()),
    };
    if codes.is_empty() {
        println!("skipped: no file system can be mounted here ({})", said.trim());
        return;
    }
    let read = |name: &str| std::fs::read_to_string(world.path(name)).unwrap();
    assert!(codes.starts_with("2\n") && codes.ends_with("\n0\n"), "{codes}{said}{}", read("filled.said"));
    assert_one_sentence(&read("filled.said"), "No space left on device");
    let left = read("filled.left");
    let last = left.lines().filter_map(|name| name.strip_prefix("step-")?.parse::<u64>().ok()).max();
    assert!(!left.contains(".tmp") && last.is_some_and(|step| step < 12), "{left}");
    assert!(said.contains(&format!("resuming after step {} of 12", last.unwrap())), "{left}{said}");
    assert_same_run(&world.path("whole"), &world.path("filled"));
}

#[test]
fn bad_input_is_named_and_nothing_is_written() {
    let world = World::new();
    world.refused(&["--model", "/nowhere"], &["/nowhere"]);
    world.refused(&["--input", "/nowhere.jsonl"], &["/nowhere.jsonl"]);
    std::fs::write(world.path("bad.jsonl"), "{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"prompt\": \n")
        .unwrap();
    let bad = world.path("bad.jsonl").display().to_string();
    world.refused(&["--input", &bad], &["bad.jsonl", "2"]);
    let unanswered = world.write("unanswered.jsonl", &[json!({"question": "1 + 1 = ?"})]);
    world.refused(&["--input", &unanswered], &["unanswered.jsonl", "line 1", "answer"]);
    let twice = world.write("twice.jsonl", &[records()[0].clone(), records()[0].clone()]);
    world.refused(&["--input", &twice], &["line 2", "q0"]);
    let wrong = json!({"question": "1 + 1 = ?", "response": "3", "correct": false});
    let wrong = world.write("wrong.jsonl", &[wrong]);
    world.refused(&["--input", &wrong], &["wrong.jsonl", "marked as correct", "only_correct"]);
    world.refused(&["--lr", "-1"], &["`lr` must be finite and at least 0"]);
    let long = json!({"prompt": "1 + ".repeat(300), "completion": "300"});
    let long = world.write("long.jsonl", &[records()[0].clone(), long]);
    std::fs::write(world.path("strict.toml"), "truncation = \"error\"\n").unwrap();
    let strict = world.path("strict.toml").display().to_string();
    world.refused(
        &["--input", &long, "--config", &strict, "--max-length", "2000"],
        &["long.jsonl line 2", "a row holds 512"],
    );
    world.refused(&["--resume", "--overwrite"], &["--resume", "--overwrite"]);
    let open = world.write("open.jsonl", &[json!({"messages": [{"role": "user", "content": "1 + 1 = ?"}]})]);
    world.refused(&["--input", &open], &["open.jsonl", "last message"]);
    std::fs::write(world.path("unknown.toml"), "learning_rate = 1.0\n").unwrap();
    let unknown = world.path("unknown.toml").display().to_string();
    world.refused(&["--config", &unknown], &["unknown.toml", "learning_rate"]);
    std::fs::write(world.path("smooth.toml"), "label_smoothing = 2.0\n").unwrap();
    let smooth = world.path("smooth.toml").display().to_string();
    world.refused(&["--config", &smooth], &["label_smoothing", "[0, 1)"]);
    let empty = world.write("empty.jsonl", &[]);
    world.refused(&["--input", &empty], &["no record in /", "empty.jsonl: nothing"]);
    std::fs::create_dir(world.path("photos")).unwrap();
    std::fs::write(world.path("photos/cat.txt"), "precious").unwrap();
    for (name, said) in [("photos", "no model's"), ("base", "the run reads")] {
        let output = world.path(name).display().to_string();
        world.refused(&["--output", &output], &[name, said, "name another folder"]);
    }
    assert!(world.path("photos/cat.txt").exists() && world.path("base/config.json").exists());
    std::fs::remove_file(world.path("base/tokenizer_config.json")).unwrap();
    world.refused(&[], &["line 3", "chat template", "completion"]);
}
