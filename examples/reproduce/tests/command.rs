//! The command as a user meets it: refusals, the same result at any thread count, and resuming after a kill.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn reproduce() -> Command {
    Command::new(env!("CARGO_BIN_EXE_reproduce"))
}

fn quick(folder: &Path, more: &[&str]) -> Output {
    let folder = folder.to_str().expect("a plain path");
    reproduce().args(["--quick", "--run-dir", folder]).args(more).output().expect("the program starts")
}

fn error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn results_do_not_depend_on_threads_and_a_second_run_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let first = quick(&one, &["--threads", "1"]);
    assert!(first.status.success(), "{first:?}");
    assert!(quick(&two, &["--threads", "2"]).status.success());
    let read = |path: &Path| fs::read_to_string(path.join("results.json")).expect("results");
    assert_eq!(read(&one), read(&two));
    let results: serde_json::Value = serde_json::from_str(&read(&one)).expect("JSON");
    for arm in ["base", "star", "mid", "base_rl", "star_rl", "mid_rl"] {
        for set in ["in_distribution", "hard", "longer", "code", "story"] {
            assert!(results["arms"][arm]["evals"][set]["pass@16"]["mean"].is_number(), "{arm} {set}");
        }
    }
    assert!(one.join("report.html").exists() && one.join("timing.json").exists());
    assert!(one.join("seed-1/arm-mid_rl/model/model.safetensors").exists());

    let message = error(&quick(&one, &[]));
    assert!(message.contains("--resume") && message.contains("--overwrite"), "{message}");
    // A control arm joins a run that is done, and changes nothing else in it.
    let added = quick(&two, &["--resume", "--controls", "wrong_rl,wrong_rl"]);
    assert!(added.status.success(), "{added:?}");
    let with: serde_json::Value = serde_json::from_str(&read(&two)).expect("JSON");
    assert!(with["arms"]["wrong_rl"]["evals"]["hard"]["pass@1"]["mean"].is_number());
    assert_eq!(with["arms"]["mid_rl"], results["arms"]["mid_rl"]);
    let message = error(&quick(&two, &["--resume", "--controls", "worse_rl"]));
    assert!(message.contains("worse_rl") && message.contains("wrong_rl, depth_rl"), "{message}");

    let before = read(&one);
    let message = error(&quick(&one, &["--resume", "--seed", "2"]));
    assert!(message.contains("`seed` was 1") && read(&one) == before, "{message}");
}

#[test]
fn a_killed_run_resumes_to_the_same_results() {
    let folder = tempfile::tempdir().expect("a folder");
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    let begun = Instant::now();
    assert!(quick(&whole, &[]).status.success());
    let time = begun.elapsed();
    // Killed at three moments of its life, and resumed each time.
    for part in 1..=3 {
        let mut child = reproduce()
            .args(["--quick", "--resume", "--run-dir", killed.to_str().expect("a plain path")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        std::thread::sleep(time.mul_f64(0.2 * f64::from(part)).max(Duration::from_millis(50)));
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }
    let last = quick(&killed, &["--resume"]);
    assert!(last.status.success(), "{last:?}");
    let same = |name: &str| {
        let read = |path: &Path| fs::read(path.join(name)).expect("a file");
        assert!(read(&whole) == read(&killed), "{name} differs");
    };
    same("results.json");
    same("seed-1/base/model/model.safetensors");
    same("seed-1/arm-mid_rl/model/model.safetensors");
    same("seed-1/arm-mid_rl/samples/hard.jsonl");
}

#[test]
fn bad_input_is_one_sentence_that_names_the_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("recipe.toml");
    let run = folder.path().join("run");
    let with = |text: &str| {
        fs::write(&config, text).expect("a file");
        error(&quick(&run, &["--config", config.to_str().expect("a plain path")]))
    };
    let message = with("[rl]\nstepz = 3\n");
    assert!(message.contains("recipe.toml") && message.contains("stepz"), "{message}");
    let message = with("[rl]\nsamples = 1\n");
    assert!(message.contains("rl.samples"), "{message}");
    let message = with("[tuned.mdi]\nlr = 1e-4\nentropy = 0.01\n");
    assert!(message.contains("tuned") && message.contains("`mdi`"), "{message}");
    let message = with("[sweep]\nkeys = [\"mid\", \"start\"]\n");
    assert!(message.contains("sweep.keys") && message.contains("`start`"), "{message}");
    let message = error(&quick(&run, &["--config", "nowhere.toml"]));
    assert!(message.contains("nowhere.toml"), "{message}");
    for threads in ["0", "100000000"] {
        let message = error(&quick(&run, &["--threads", threads]));
        assert!(message.contains("--threads") && message.contains("1..=1024"), "{message}");
    }
    let message = error(&quick(&run, &["--device", "tpu"]));
    assert!(message.contains("tpu"), "{message}");
    assert!(!run.exists(), "nothing half-written");
}
