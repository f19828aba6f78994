//! Several processes, joined by MPI, do what one does. Needs feature `mpi` and an `mpirun`.

use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;
use tests::{apart, has_mpi, read_lines, sums, tiny_folder, weights, write_lines};

struct World(TempDir);

impl World {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Three questions a step, sometimes sampled again, and micro-batches of five responses: uneven shards for two and for four ranks.
    fn run(&self, ranks: usize, run: &str, mode: &str) {
        let config = format!(
            "steps = 3\nquestions = 3\nsamples = 4\nmicro_batch = 5\nminibatches = 1\nmax_new_tokens = 16\n\
             lr = 1e-3\nkl = 0.01\n{mode}\n\
             [rewards]\nlength = 0.5\nlength_buffer = 16\nunfinished = true\n"
        );
        std::fs::write(self.path("grpo.toml"), config).unwrap();
        let mut command = tests::ranks(ranks, env!("CARGO_BIN_EXE_grpo"));
        for (flag, name) in [
            ("--config", "grpo.toml"),
            ("--model", "base"),
            ("--input", "questions.jsonl"),
            ("--eval", "questions.jsonl"),
            ("--run-dir", run),
        ] {
            command.arg(flag).arg(self.path(name));
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn metrics(&self, run: &str) -> Vec<Value> {
        let mut lines = read_lines(&self.path(run).join("metrics.jsonl"));
        lines.iter_mut().filter_map(Value::as_object_mut).for_each(|line| drop(line.remove("time")));
        lines
    }
}

/// Every number of some lines, in order.
fn numbers(lines: &[Value]) -> Vec<f64> {
    lines.iter().flat_map(|line| line.as_object().unwrap().values()).filter_map(Value::as_f64).collect()
}

#[test]
fn ranks_sample_and_learn_what_one_process_does() {
    if !has_mpi(cfg!(feature = "mpi")) {
        return;
    }
    let world = World(TempDir::new().unwrap());
    tiny_folder(&world.path("base"));
    write_lines(&world.path("questions.jsonl"), &sums(5));
    for (name, mode) in [("grpo", "dynamic_rounds = 1"), ("ppo", "algorithm = \"ppo\"")] {
        let one = format!("{name}-1");
        world.run(1, &one, mode);
        let expected = weights(&world.path(&one).join("model"));
        assert!(apart(&expected, &weights(&world.path("base"))) > 1e-3, "three steps moved nothing");
        for ranks in [2, 4] {
            let run = format!("{name}-{ranks}");
            world.run(ranks, &run, mode);
            let found = weights(&world.path(&run).join("model"));
            let (weights, metrics) = (
                apart(&found, &expected),
                apart(&numbers(&world.metrics(&run)), &numbers(&world.metrics(&one))),
            );
            println!(
                "{name}, {ranks} ranks: weights within {weights:.1e}, metrics within {metrics:.1e} of one process"
            );
            assert!(
                weights < 1e-5 && metrics < 1e-4,
                "{name}, {ranks}: weights {weights}, metrics {metrics}"
            );
            let texts = |run: &str| {
                let lines = read_lines(&world.path(run).join("samples/rollouts.jsonl"));
                lines.iter().map(|line| (line["id"].clone(), line["completion"].clone())).collect::<Vec<_>>()
            };
            assert_eq!(texts(&run), texts(&one), "{name}, {ranks} ranks sampled something else");
        }
    }
}
