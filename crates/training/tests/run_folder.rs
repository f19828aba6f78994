//! A run folder refuses, resumes, overwrites; finds torn checkpoints; cuts its logs back.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use training::{Error, Existing, Keep, RunFolder, write_json};

#[derive(Serialize, Deserialize)]
struct Config {
    seed: u64,
    threads: u64,
    optimizer: Optimizer,
}

#[derive(Serialize, Deserialize)]
struct Optimizer {
    lr: f64,
}

fn config() -> Config {
    Config { seed: 1, threads: 1, optimizer: Optimizer { lr: 0.1 } }
}

fn save(run: &mut RunFolder, step: u64) {
    run.checkpoint(step, |dir| write_json(dir.join("state.json"), &step)).unwrap();
}

fn metrics(path: &Path) -> Vec<u64> {
    let text = fs::read_to_string(path.join("metrics.jsonl")).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["step"].as_u64().unwrap())
        .collect()
}

/// A run of steps 0..to with a checkpoint after every second step.
fn go(path: &Path, existing: Existing, to: u64) -> Result<u64, Error> {
    let mut run = RunFolder::create(path, existing)?;
    run.write_config(&config(), &["threads"])?;
    let begin = match run.resume()? {
        Some(checkpoint) => {
            assert_eq!(checkpoint.read_json::<u64>("state.json")?, checkpoint.step);
            checkpoint.step
        }
        None => 0,
    };
    for step in begin..to {
        run.log(step, &serde_json::json!({"loss": 1.0}), &())?;
        run.append("samples/train.jsonl", &serde_json::json!({"step": step}))?;
        if (step + 1) % 2 == 0 {
            save(&mut run, step + 1);
        }
    }
    Ok(begin)
}

#[test]
fn refuses_resumes_overwrites() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("run");
    go(&path, Existing::Refuse, 3).unwrap();
    let error = go(&path, Existing::Refuse, 3).unwrap_err();
    assert!(matches!(error, Error::Exists { .. }), "{error}");
    assert_eq!(metrics(&path), [0, 1, 2]);
    // Step 2 was after the checkpoint of step 2: it is taken again.
    assert_eq!(go(&path, Existing::Resume, 5).unwrap(), 2);
    assert_eq!(metrics(&path), [0, 1, 2, 3, 4]);
    let samples = fs::read_to_string(path.join("samples/train.jsonl")).unwrap();
    assert_eq!(samples.lines().count(), 5);
    assert_eq!(go(&path, Existing::Overwrite, 1).unwrap(), 0);
    assert_eq!(metrics(&path), [0]);
    assert_eq!(fs::read_dir(path.join("checkpoints")).unwrap().count(), 0);
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let temporary = tempfile::tempdir().unwrap();
    fs::write(temporary.path().join("thesis.tex"), "years of work").unwrap();
    for existing in [Existing::Overwrite, Existing::Resume] {
        let error = RunFolder::create(temporary.path(), existing).unwrap_err();
        assert!(matches!(error, Error::NotARun { .. }), "{error}");
    }
    assert!(temporary.path().join("thesis.tex").exists());
}

#[test]
fn another_config_is_named() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("run");
    go(&path, Existing::Refuse, 2).unwrap();
    let run = RunFolder::create(&path, Existing::Resume).unwrap();
    run.write_config(&Config { threads: 4, ..config() }, &["threads"]).unwrap();
    let other = Config { optimizer: Optimizer { lr: 0.2 }, ..config() };
    let error = run.write_config(&other, &["threads"]).unwrap_err().to_string();
    assert!(error.contains("`optimizer.lr` was 0.1") && error.contains("is 0.2 now"), "{error}");
}

#[test]
fn one_process_at_a_time() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("run");
    let _run = RunFolder::create(&path, Existing::Refuse).unwrap();
    let error = RunFolder::create(&path, Existing::Resume).unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error}");
}

/// Damages the newest checkpoint in one way.
type Damage = fn(&Path);

#[test]
fn a_torn_checkpoint_is_found_and_the_one_before_is_used() {
    let ways: [(&str, Damage); 5] = [
        ("truncated", |dir| fs::write(dir.join("state.json"), "").unwrap()),
        ("altered", |dir| fs::write(dir.join("state.json"), "5\n").unwrap()),
        ("missing", |dir| fs::remove_file(dir.join("state.json")).unwrap()),
        ("no manifest", |dir| fs::remove_file(dir.join("manifest.json")).unwrap()),
        ("half a manifest", |dir| {
            let text = fs::read(dir.join("manifest.json")).unwrap();
            fs::write(dir.join("manifest.json"), &text[..text.len() / 2]).unwrap();
        }),
    ];
    for (name, damage) in ways {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("run");
        go(&path, Existing::Refuse, 5).unwrap();
        damage(&path.join("checkpoints/step-4"));
        assert_eq!(go(&path, Existing::Resume, 6).unwrap(), 2, "{name}");
        assert_eq!(metrics(&path), [0, 1, 2, 3, 4, 5], "{name}");
        // The damaged one was written anew.
        assert_eq!(go(&path, Existing::Resume, 6).unwrap(), 6, "{name}");
        damage(&path.join("checkpoints/step-4"));
        damage(&path.join("checkpoints/step-6"));
        let error = go(&path, Existing::Resume, 6).unwrap_err();
        assert!(matches!(&error, Error::NoWholeCheckpoint { reasons, .. } if reasons.len() == 2), "{error}");
    }
}

#[test]
fn leftovers_of_a_killed_process_go() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("run");
    go(&path, Existing::Refuse, 3).unwrap();
    fs::create_dir_all(path.join("checkpoints/.step-4.tmp")).unwrap();
    fs::write(path.join("checkpoints/.step-4.tmp/state.json"), "4").unwrap();
    fs::write(path.join(".results.json.tmp"), "{").unwrap();
    // A line half written.
    let mut file = fs::OpenOptions::new().append(true).open(path.join("metrics.jsonl")).unwrap();
    file.write_all(b"{\"step\": 3, \"lo").unwrap();
    go(&path, Existing::Resume, 4).unwrap();
    assert_eq!(metrics(&path), [0, 1, 2, 3]);
    assert!(!path.join(".results.json.tmp").exists());
    assert!(!path.join("checkpoints/.step-4.tmp").exists());
}

#[test]
fn a_failing_writer_leaves_nothing_and_keeps_the_rest() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("run");
    let mut run = RunFolder::create(&path, Existing::Refuse).unwrap();
    save(&mut run, 1);
    let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    let error = run
        .checkpoint(2, |dir| {
            write_json(dir.join("half.json"), &1).unwrap();
            Err::<(), _>(full)
        })
        .unwrap_err();
    assert!(matches!(error, Error::Writer { step: 2, .. }), "{error}");
    assert_eq!(run.resume().unwrap().unwrap().step, 1);
    assert_eq!(fs::read_dir(path.join("checkpoints")).unwrap().count(), 1);
}

#[test]
fn last_and_best_stay() {
    let temporary = tempfile::tempdir().unwrap();
    let mut run = RunFolder::create(temporary.path().join("run"), Existing::Refuse).unwrap();
    run.keep(Keep { last: 2, best: true });
    for (step, value) in [(1, 3.0), (2, 1.0), (3, 2.0), (4, f64::NAN), (5, 2.5)] {
        run.mark_best(step, value).unwrap();
        save(&mut run, step);
    }
    let mut kept: Vec<String> = fs::read_dir(run.file("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    kept.sort();
    assert_eq!(kept, ["step-2", "step-4", "step-5"]);
}

#[test]
fn in_the_background() {
    let temporary = tempfile::tempdir().unwrap();
    let mut run = RunFolder::create(temporary.path().join("run"), Existing::Refuse).unwrap();
    for step in 1..4 {
        run.checkpoint_in_background(step, move |dir| write_json(dir.join("state.json"), &step)).unwrap();
    }
    run.wait().unwrap();
    assert_eq!(run.resume().unwrap().unwrap().step, 3);
    assert_eq!(run.checkpoint_times().count, 3);
    run.checkpoint_in_background(4, |_| Err::<(), _>(std::io::Error::other("full"))).unwrap();
    assert!(run.wait().is_err());
    // A loop learns it with a line that it logs afterwards.
    run.checkpoint_in_background(5, |_| Err::<(), _>(std::io::Error::other("full"))).unwrap();
    let error = (0..60_000).find_map(|step| {
        std::thread::sleep(std::time::Duration::from_millis(1));
        run.log(step, &(), &()).err()
    });
    let said = error.expect("it is reported").to_string();
    assert!(said.contains("step 5") && said.contains("full"), "{said}");
    assert_eq!((run.checkpoint_times().count, run.resume().unwrap().unwrap().step), (3, 3));
}
