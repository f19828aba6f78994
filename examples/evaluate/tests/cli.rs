//! The program from the command line: a tiny folder of random weights, a file of completions, a server.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{kill_and_resume, read_lines, sums, tiny_folder, write_lines};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

struct World(TempDir);

impl World {
    fn new() -> Self {
        let world = Self(TempDir::new().unwrap());
        tiny_folder(&world.path("base"));
        write_lines(&world.path("questions.jsonl"), &sums(4));
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn command(&self, run: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evaluate"));
        for (flag, name) in [("--data", "questions.jsonl"), ("--run-dir", run)] {
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

    fn refused(&self, more: &[&str], parts: &[&str]) {
        let output = self.run("refused", more);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(parts.iter().all(|part| said.contains(part)), "expected {parts:?} in: {said}");
        assert!(!self.path("refused").exists(), "something was written");
    }

    fn results(&self, run: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.path(run).join("results.json")).unwrap()).unwrap()
    }

    fn write(&self, name: &str, lines: &[Value]) -> String {
        write_lines(&self.path(name), lines);
        self.text(name)
    }
}

fn success(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Two completions of each of the four questions: both right, one right, none right, one unreadable and one right.
fn completions() -> Vec<Value> {
    let mut lines = Vec::new();
    for (i, question) in sums(4).iter().enumerate() {
        let right = format!("So \\boxed{{{}}}.", question["answer"].as_str().unwrap());
        let wrong = "So \\boxed{99}.".to_owned();
        let two = match i {
            0 => [right.clone(), right],
            1 => [right, wrong],
            2 => [wrong.clone(), wrong],
            _ => ["I do not know".to_owned(), right],
        };
        for (sample, text) in two.into_iter().enumerate() {
            lines.push(
                json!({"id": question["id"], "sample": sample, "completion": text, "finish_reason": "stop"}),
            );
        }
    }
    lines
}

#[test]
fn a_file_of_completions_gives_the_numbers_one_can_count() {
    let world = World::new();
    let file = world.write("completions.jsonl", &completions());
    let said = success(&world.run("run", &["--completions", &file, "--k", "1,2"]));
    let results = world.results("run");
    // (1 + 1/2 + 0 + 1/2) / 4 and (1 + 1 + 0 + 1) / 4.
    assert_eq!(
        (results["pass@1"]["mean"].as_f64(), results["pass@2"]["mean"].as_f64()),
        (Some(0.5), Some(0.75))
    );
    assert!(
        results["pass@1"]["lo"].as_f64().unwrap() < 0.5 && results["pass@1"]["hi"].as_f64().unwrap() > 0.5
    );
    assert_eq!(results["unparsed"].as_f64(), Some(0.125));
    assert_eq!(results["per_question"]["q1"], json!({"samples": 2, "correct": 1}));
    assert!(said.contains("0.500") && said.contains("0.750"), "{said}");
    let page = std::fs::read_to_string(world.path("run/report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("I do not know"));
    let verdicts = read_lines(&world.path("run/completions.jsonl"));
    assert_eq!(verdicts.len(), 8);
    assert_eq!(verdicts[6]["verdict"], "unparsed_response");
    // What was written can be judged again.
    let again = world.text("run/completions.jsonl");
    success(&world.run("again", &["--completions", &again, "--k", "1,2"]));
    assert_eq!(world.results("again")["pass@1"], results["pass@1"]);
}

#[test]
fn ids_may_be_numbers() {
    let world = World::new();
    let questions =
        world.write("numbered.jsonl", &[json!({"id": 7, "question": "What is 2 + 3?", "answer": "5"})]);
    let file = world.write("completions.jsonl", &[json!({"id": 7, "completion": "\\boxed{5}"})]);
    success(&world.run("run", &["--data", &questions, "--completions", &file, "--k", "1"]));
    assert_eq!(world.results("run")["per_question"]["7"], json!({"samples": 1, "correct": 1}));
}

#[test]
fn a_folder_is_asked_in_both_styles() {
    let world = World::new();
    let model = world.text("base");
    for style in ["base", "chat"] {
        let options =
            ["--model", &model, "--samples", "4", "--max-new-tokens", "8", "--style", style, "--limit", "3"];
        let run = format!("asked-{style}");
        let said = success(&world.run(&run, &options));
        assert!(said.contains("pass@k"), "{said}");
        let found = read_lines(&world.path(&run).join("completions.jsonl"));
        assert_eq!(found.len(), 12);
        assert!(found.iter().all(|line| line["tokens"].as_u64().unwrap() <= 8));
        let results = world.results(&run);
        assert!(results["pass@4"]["mean"].is_number() && results["questions"] == 3);
    }
    // One greedy sample, twice: the same.
    success(&world.run("one", &["--model", &model, "--max-new-tokens", "8"]));
    success(&world.run("two", &["--model", &model, "--max-new-tokens", "8", "--batch-size", "1"]));
    assert_eq!(
        read_lines(&world.path("one/completions.jsonl")),
        read_lines(&world.path("two/completions.jsonl"))
    );
}

#[test]
fn a_killed_run_resumes_to_the_same_completions() {
    let world = World::new();
    let model = world.text("base");
    write_lines(&world.path("questions.jsonl"), &sums(60));
    let options = [
        "--model",
        &model,
        "--samples",
        "4",
        "--max-new-tokens",
        "64",
        "--batch-size",
        "4",
        "--temperature",
        "1",
    ];
    success(&world.run("whole", &options));
    kill_and_resume(5, &world.path("killed/samples/journal.jsonl"), || {
        let mut command = world.command("killed", &options);
        command.arg("--resume");
        command
    });
    let read = |run: &str, file: &str| std::fs::read(world.path(run).join(file)).unwrap();
    for file in ["completions.jsonl", "results.json"] {
        assert!(read("whole", file) == read("killed", file), "{file} differs");
    }
}

#[test]
fn a_server_is_asked() {
    let world = World::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(async {
        let server = MockServer::start().await;
        let answer = |request: &Request| {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let right = body["messages"].to_string().contains("1 + 1 = ?");
            let say = if right { "\\boxed{2}" } else { "\\boxed{99}" };
            ResponseTemplate::new(200).set_body_json(json!({"choices": [
                {"index": 0, "message": {"role": "assistant", "content": say}, "finish_reason": "stop"}
            ], "usage": {"prompt_tokens": 9, "completion_tokens": 3}}))
        };
        let mock = Mock::given(method("POST")).and(path("/v1/chat/completions")).respond_with(answer);
        mock.mount(&server).await;
        server
    });
    let endpoint = format!("{}/v1", server.uri());
    success(&world.run("run", &["--endpoint", &endpoint, "--model-name", "m", "--style", "chat"]));
    assert_eq!(world.results("run")["pass@1"]["mean"].as_f64(), Some(0.25));
    world.refused(&["--endpoint", &endpoint], &["--model-name"]);
}

#[test]
fn registered_benchmarks_are_read_by_name_and_by_hub_id() {
    let world = World::new();
    let file = world.write("completions.jsonl", &[json!({"id": "questions-0", "completion": "#### 72"})]);
    // A row as the hub has it.
    write_lines(
        &world.path("questions.jsonl"),
        &[json!({"question": "48 and half of it?", "answer": "48/2 = <<48/2=24>>24\n#### 72"})],
    );
    for name in ["gsm8k", "openai/gsm8k"] {
        let said = success(&world.run("run", &["--completions", &file, "--benchmark", name, "--overwrite"]));
        assert!(said.starts_with("GSM8K: 1 questions") && said.contains("1.000"), "{said}");
        // Nothing says why this completion ended, so nothing is said of it.
        assert!(!said.contains("cut by") && world.results("run")["truncated"].is_null(), "{said}");
    }
}

#[test]
fn bad_input_is_named_and_nothing_is_written() {
    let world = World::new();
    let model = world.text("base");
    world.refused(&[], &["--model", "--endpoint", "--completions"]);
    world.refused(&["--model", "/nowhere"], &["/nowhere"]);
    world.refused(&["--model", &model, "--data", "/nowhere.jsonl"], &["/nowhere.jsonl"]);
    world.refused(&["--model", &model, "--benchmark", "gsm9k"], &["gsm9k", "gsm8k"]);
    world.refused(&["--model", &model, "--benchmark", "humaneval"], &["code"]);
    world.refused(&["--model", &model, "--k", "8"], &["pass@8", "--samples"]);
    world.refused(&["--model", &model, "--max-new-tokens", "500"], &["q0", "512", "max_new_tokens"]);
    let unanswered = world.write("unanswered.jsonl", &[json!({"id": "q", "question": "?"})]);
    world.refused(&["--model", &model, "--data", &unanswered], &["unanswered.jsonl line 1", "answer"]);
    std::fs::write(world.path("bad.jsonl"), "{\"id\": \"q0\", \"completion\": \"a\"}\n{\n").unwrap();
    world.refused(&["--completions", &world.text("bad.jsonl")], &["bad.jsonl", "2"]);
    let some = world.write("some.jsonl", &completions()[..6]);
    world.refused(&["--completions", &some], &["q3", "0 completions"]);
    let twice = world.write("twice.jsonl", &[completions(), completions()].concat());
    world.refused(&["--completions", &twice], &["line 9", "q0"]);
    let strange = world.write("strange.jsonl", &[json!({"id": "other", "completion": ""})]);
    world.refused(&["--completions", &strange], &["line 1", "other"]);
    std::fs::write(world.path("unknown.toml"), "sample = 1\n").unwrap();
    world.refused(&["--config", &world.text("unknown.toml")], &["unknown.toml", "sample"]);
}
