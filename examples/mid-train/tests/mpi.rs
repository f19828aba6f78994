//! Several processes, joined by MPI, do what one does. Needs feature `mpi` and an `mpirun`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tests::{apart, assert_same_run, has_mpi, read_lines, sums, tiny_folder, weights, write_lines};

struct World(TempDir);

impl World {
    /// Nothing where several processes cannot be started; says why.
    fn new() -> Option<Self> {
        if !has_mpi(cfg!(feature = "mpi")) {
            return None;
        }
        let world = Self(TempDir::new().unwrap());
        tiny_folder(&world.path("base"));
        let records = sums(13).into_iter().enumerate().map(|(i, sum)| {
            let more = " and one".repeat(i % 4);
            let prompt = format!("{}{more}", sum["question"].as_str().unwrap());
            serde_json::json!({"prompt": prompt, "completion": format!("{}{more}", sum["answer"])})
        });
        write_lines(&world.path("data.jsonl"), &records.collect::<Vec<Value>>());
        std::fs::write(world.path("often.toml"), "eval_every = 7\n").unwrap();
        Some(world)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Five micro-batches a step, three in the last step of an epoch: two or four ranks have uneven shards, and sometimes
    /// one of four has none.
    fn command(&self, ranks: usize, run: &str, more: &[&str]) -> Command {
        let mut command = tests::ranks(ranks, env!("CARGO_BIN_EXE_mid-train"));
        for (flag, name) in [
            ("--model", "base"),
            ("--input", "data.jsonl"),
            ("--eval", "data.jsonl"),
            ("--config", "often.toml"),
            ("--run-dir", run),
        ] {
            command.arg(flag).arg(self.path(name));
        }
        command.args(["--lr", "1e-3", "--rows", "1", "--accumulate", "5"]).args(more);
        command
    }

    fn run(&self, ranks: usize, run: &str, more: &[&str]) -> Output {
        self.command(ranks, run, more).output().unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn losses(run: &Path) -> Vec<f64> {
    let lines = read_lines(&run.join("metrics.jsonl"));
    let of = |key: &str| lines.iter().filter_map(|line| line[key].as_f64()).collect::<Vec<_>>();
    [of("loss"), of("eval_loss"), of("gradient_norm"), of("tokens")].concat()
}

#[test]
fn ranks_with_uneven_shards_agree_with_one_process() {
    let Some(world) = World::new() else { return };
    let steps = ["--steps", "20"];
    let output = world.run(1, "one", &steps);
    assert!(output.status.success(), "{}", said(&output));
    let (one, begin) = (world.path("one"), weights(&world.path("base")));
    let expected = weights(&one.join("model"));
    assert!(apart(&expected, &begin) > 1e-2, "twenty steps moved nothing");
    assert_eq!(losses(&one).len(), 63, "20 losses, norms and counts; evaluations after 7, 14 and 20");
    for ranks in [2, 4] {
        let name = format!("ranks-{ranks}");
        let output = world.run(ranks, &name, &steps);
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(said(&output).matches("13 examples").count(), 2, "only rank 0 talks: {}", said(&output));
        let found = weights(&world.path(&name).join("model"));
        let (weights, losses) = (apart(&found, &expected), apart(&losses(&world.path(&name)), &losses(&one)));
        println!("{ranks} ranks: weights within {weights:.1e}, losses within {losses:.1e} of one process");
        assert!(weights < 1e-5 && losses < 1e-5, "{ranks} ranks: weights {weights}, losses {losses}");
    }
}

#[test]
fn a_signal_to_one_rank_stops_all_and_the_run_goes_on() {
    let Some(world) = World::new() else { return };
    let steps = ["--steps", "200", "--checkpoint-every", "1000"];
    let output = world.run(2, "whole", &steps);
    assert!(output.status.success(), "{}", said(&output));

    let mut command = world.command(2, "stopped", &steps);
    let launcher = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let log = world.path("stopped/metrics.jsonl");
    while std::fs::read_to_string(&log).map_or(0, |text| text.lines().count()) < 5 {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let rank = ranks_of(launcher.id()).pop().expect("the launcher has started ranks");
    assert!(Command::new("kill").args(["-TERM", &rank.to_string()]).status().unwrap().success());
    let output = launcher.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", said(&output));
    assert!(said(&output).contains("go on with --resume"), "{}", said(&output));
    let done = read_lines(&log).len();
    assert!((5..200).contains(&done), "stopped after {done} steps");

    let output = world.run(2, "stopped", &[&steps[..], &["--resume"]].concat());
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains(&format!("resuming after step {done} of 200")), "{}", said(&output));
    assert_same_run(&world.path("whole"), &world.path("stopped"));
}

/// The processes of this program below a launcher.
fn ranks_of(launcher: u32) -> Vec<u32> {
    let children = |parent: u32| -> Vec<u32> {
        let list = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        list.unwrap_or_default().split_whitespace().map(|id| id.parse().unwrap()).collect()
    };
    let name = |id: &u32| std::fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
    let mut found = children(launcher);
    found.extend(found.clone().into_iter().flat_map(children));
    found.retain(|id| name(id).trim() == "mid-train");
    found
}

#[test]
fn an_error_on_one_rank_ends_all_with_its_message() {
    let Some(world) = World::new() else { return };
    // Only rank 0 opens the run folder, so only it fails; the other waits for the first sum.
    std::fs::create_dir(world.path("taken")).unwrap();
    std::fs::write(world.path("taken/thesis.txt"), "mine").unwrap();
    let output = world.run(2, "taken", &["--steps", "3"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("taken already exists"), "{}", said(&output));

    // Rank 1 has other data.
    let script =
        "rank=${OMPI_COMM_WORLD_RANK:-$PMI_RANK}; [ $rank = 0 ] || set -- \"$@\" --seed 5; exec \"$@\"";
    let inner = world.command(1, "differ", &["--steps", "3"]);
    let mut command = Command::new("mpirun");
    command.envs(inner.get_envs().filter_map(|(key, value)| Some((key, value?))));
    command.args(["--oversubscribe", "-n", "2", "sh", "-c", script, "sh"]);
    let output = command.arg(inner.get_program()).args(inner.get_args()).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("worker 1 of 2 has another configuration or data"), "{}", said(&output));
    assert!(!world.path("differ").exists(), "something was written");
}

#[test]
fn without_the_feature_one_of_several_refuses_to_think_itself_alone() {
    if cfg!(feature = "mpi") {
        println!("skipped: built with feature `mpi`");
        return;
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_mid-train"));
    let output =
        command.args(["--model", "m", "--input", "i"]).env("OMPI_COMM_WORLD_SIZE", "2").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("one of 2, and built without feature `mpi`"), "{}", said(&output));
}
