//! The program from the command line, against a server that answers like a mediocre student.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use assert_cmd::Command;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{kill_and_resume, kills, tiny_folder, tiny_reward_folder, write_lines};
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

/// Answers "What is A + B?": every second sample is right; the third is cut; worded by approach and sample.
struct Student;

impl Respond for Student {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let all = body["messages"].to_string() + &body["prompt"].to_string();
        if all.contains("which ways of solving a problem") {
            let say =
                if all.contains("Step 1. Add") { "Uses: draw-a-figure, parity" } else { "I cannot tell." };
            return ResponseTemplate::new(200).set_body_json(json!({"choices": [
                {"index": 0, "message": {"content": say}, "finish_reason": "stop"}]}));
        }
        if all.contains("You grade how a solution") {
            return ResponseTemplate::new(200).set_body_json(json!({"choices": [
                {"index": 0, "message": {"content": "Score: 8"}, "finish_reason": "stop"}]}));
        }
        let at = all.rfind("What is ").unwrap();
        let numbers: Vec<i64> =
            all[at..].split(|c: char| !c.is_ascii_digit()).filter_map(|w| w.parse().ok()).take(2).collect();
        let sum = numbers[0] + numbers[1];
        let hint = all.contains("(The answer is");
        // Questions above 100 are too hard without a hint.
        let right = sum < 100 || hint;
        let n = body["n"].as_u64().unwrap();
        let way = [
            "Let x be the sum; the equation is",
            "Start from the end and undo",
            "Draw the line:",
            "Step 1. Add",
        ];
        let choices: Vec<Value> = (0..n)
            .map(|i| {
                let say = if right && i % 2 == 0 { sum } else { sum + 1 };
                let seed = body["seed"].as_u64().unwrap();
                let how = way[((seed + i) % 4) as usize];
                let words: Vec<String> = (0..12).map(|k| format!("w{}", (seed + i * 31 + k * 7) % 997)).collect();
                let text = format!("{how} {} so $\\boxed{{{say}}}$", words.join(" "));
                let finish = if i == 2 { "length" } else { "stop" };
                json!({"index": i, "message": {"role": "assistant", "content": text}, "text": text, "finish_reason": finish})
            })
            .collect();
        ResponseTemplate::new(200).set_body_json(
            json!({"choices": choices, "usage": {"prompt_tokens": 9, "completion_tokens": 20 * n}}),
        )
    }
}

/// The same student, who takes his time.
struct Slow;

impl Respond for Slow {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        Student.respond(request).set_delay(Duration::from_millis(30))
    }
}

struct World {
    dir: TempDir,
    server: MockServer,
    runtime: tokio::runtime::Runtime,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let server = runtime.block_on(async {
            let server = MockServer::start().await;
            Mock::given(method("POST")).respond_with(Student).with_priority(5).mount(&server).await;
            server
        });
        let world = Self { dir: TempDir::new().unwrap(), server, runtime };
        let lines: Vec<String> = (1..=6)
            .map(|i| json!({"id": format!("q{i}"), "question": format!("What is {i} + {}?", 10 * i * i), "answer": (i + 10 * i * i).to_string(), "source": "test"}).to_string())
            .collect();
        world.file("questions.jsonl", &lines.join("\n"));
        world
    }

    fn file(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).unwrap();
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::cargo_bin("generate-variants")
            .unwrap()
            .current_dir(self.dir.path())
            .args(args)
            .output()
            .unwrap()
    }

    fn ask(&self, output: &str, more: &[&str]) -> Output {
        let uri = format!("{}/v1", self.server.uri());
        let mut args =
            vec!["--input", "questions.jsonl", "--output", output, "--endpoint", &uri, "--model-name", "m"];
        args.extend_from_slice(more);
        self.run(&args)
    }

    fn calls(&self) -> usize {
        self.runtime.block_on(self.server.received_requests()).unwrap().len()
    }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn good(output: &Output) -> String {
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn bad(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_run_from_questions_to_training_data() {
    let w = World::new();
    let table = good(&w.ask("out.jsonl", &["--samples", "4"]));
    let out = lines(&w.path("out.jsonl"));
    // 3 of the 6 sums are below 100: q1, q2, q3; each with four approaches.
    assert_eq!(out.len(), 12, "{table}");
    let ids: Vec<&str> = out.iter().map(|v| v["id"].as_str().unwrap()).collect();
    assert!(ids.iter().all(|id| ["q1", "q2", "q3"].contains(id)));
    for v in &out {
        assert_eq!(
            (v["candidates"].as_u64(), v["correct"].as_u64()),
            (Some(4), Some(1)),
            "one right, one cut"
        );
        assert_eq!(v["source"], "test");
        assert!(
            v["response"].as_str().unwrap().contains(&format!("boxed{{{}}}", v["answer"].as_str().unwrap()))
        );
    }
    let training = lines(&w.path("out.train.jsonl"));
    assert_eq!(training.len(), 12);
    for t in &training {
        let text = t.to_string();
        assert!(!text.contains("numbered steps"), "the approach's instruction leaked: {text}");
        assert_eq!(t["messages"].as_array().unwrap().len(), 2);
    }
    assert!(table.contains("questions with a solution: 3 of 6") && table.contains("Vendi"), "{table}");
    assert!(table.contains("approaches used: "), "{table}");
    let statistics: Value =
        serde_json::from_str(&std::fs::read_to_string(w.path("out.run/statistics.json")).unwrap()).unwrap();
    assert_eq!(statistics["total"]["candidates"], 96);
    assert_eq!(statistics["composition"]["solutions"], 12);
    // Again: nothing is asked, everything is the same.
    let (calls, before) = (w.calls(), std::fs::read(w.path("out.jsonl")).unwrap());
    good(&w.ask("out.jsonl", &["--samples", "4"]));
    assert_eq!(w.calls(), calls);
    assert_eq!(std::fs::read(w.path("out.jsonl")).unwrap(), before);
}

#[test]
fn a_cut_journal_resumes_to_the_same_output() {
    let w = World::new();
    good(&w.ask("whole.jsonl", &[]));
    let journal = w.path("whole.run/candidates.jsonl");
    let bytes = std::fs::read(&journal).unwrap();
    let whole = std::fs::read(w.path("whole.jsonl")).unwrap();
    std::fs::write(&journal, &bytes[..bytes.len() / 2]).unwrap();
    let calls = w.calls();
    good(&w.ask("whole.jsonl", &[]));
    assert!(w.calls() > calls && w.calls() < 2 * calls);
    assert_eq!(std::fs::read(w.path("whole.jsonl")).unwrap(), whole);
    let e = bad(&w.ask("whole.jsonl", &["--samples", "5"]));
    assert!(e.contains("plan_hash") && e.contains("hint"), "{e}");
}

#[test]
fn kills_lose_at_most_what_was_in_flight() {
    let w = World::new();
    w.runtime.block_on(Mock::given(method("POST")).respond_with(Slow).with_priority(1).mount(&w.server));
    let sum = |i: usize| json!({"id": format!("q{i}"), "question": format!("What is {i} + 1?"), "answer": (i + 1).to_string()});
    write_lines(&w.path("many.jsonl"), &(1..=8 * kills()).map(sum).collect::<Vec<_>>());
    let uri = format!("{}/v1", w.server.uri());
    let start = |output: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_generate-variants"));
        command.current_dir(w.dir.path()).args([
            "--input",
            "many.jsonl",
            "--output",
            output,
            "--endpoint",
            &uri,
        ]);
        command.args(["--model-name", "m", "--samples", "1", "--concurrency", "2"]);
        command
    };
    good(&start("whole.jsonl").output().unwrap());
    let whole = w.calls();
    kill_and_resume(kills(), &w.path("killed.run/candidates.jsonl"), || start("killed.jsonl"));
    assert_eq!(std::fs::read(w.path("killed.jsonl")).unwrap(), std::fs::read(w.path("whole.jsonl")).unwrap());
    let ids: Vec<Value> =
        lines(&w.path("killed.run/candidates.jsonl")).iter().map(|r| r["request"].clone()).collect();
    assert_eq!(
        ids.iter().map(Value::to_string).collect::<BTreeSet<_>>().len(),
        ids.len(),
        "one is given twice"
    );
    let asked = w.calls() - whole;
    assert!(asked <= whole + 2 * kills(), "{asked} requests for {whole}, killed {} times", kills());
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_was_answered_and_the_same_command_goes_on() {
    let w = World::new();
    w.runtime.block_on(Mock::given(method("POST")).respond_with(Slow).with_priority(1).mount(&w.server));
    let sum = |i: usize| json!({"id": format!("q{i}"), "question": format!("What is {i} + 1?"), "answer": (i + 1).to_string()});
    write_lines(&w.path("many.jsonl"), &(1..=60).map(sum).collect::<Vec<_>>());
    let uri = format!("{}/v1", w.server.uri());
    let start = |output: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_generate-variants"));
        command.current_dir(w.dir.path()).args(["--input", "many.jsonl", "--endpoint", &uri]);
        command.args(["--output", output, "--model-name", "m", "--samples", "1", "--concurrency", "2"]);
        command
    };
    good(&start("whole.jsonl").output().unwrap());
    let output = tests::interrupt_after(3, &w.path("stopped.run/candidates.jsonl"), start("stopped.jsonl"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    let answered = lines(&w.path("stopped.run/candidates.jsonl")).len();
    assert!(
        said.contains(&format!("stopped after {answered} candidates; the same command goes on")),
        "{said}"
    );
    let whole = lines(&w.path("whole.run/candidates.jsonl")).len();
    assert!((3..whole).contains(&answered), "{answered} of {whole}");
    assert!(!w.path("stopped.jsonl").exists());
    good(&start("stopped.jsonl").output().unwrap());
    assert_eq!(
        std::fs::read(w.path("stopped.jsonl")).unwrap(),
        std::fs::read(w.path("whole.jsonl")).unwrap()
    );
}

#[test]
fn nothing_is_written_over_the_questions_or_over_foreign_files() {
    let w = World::new();
    let line = json!({"id": "q", "question": "What is 1 + 1?", "answer": "2"}).to_string();
    w.file("a.train.jsonl", &line);
    w.file("foreign.jsonl", "precious");
    let run = |input: &str, output: &str, more: &[&str]| {
        bad(&w.run(&[&["--input", input, "--output", output, "--model-name", "m"], more].concat()))
    };
    let uri = format!("{}/v1", w.server.uri());
    let said = run("a.train.jsonl", "a.jsonl", &["--endpoint", &uri]);
    assert!(said.contains("a.train.jsonl is the input: name another output"), "{said}");
    let said = run("a.train.jsonl", "b.jsonl", &["--batch-out", "a.train.jsonl"]);
    assert!(said.contains("a.train.jsonl is the input: name another output"), "{said}");
    let said = run("a.train.jsonl", "foreign.jsonl", &["--endpoint", &uri]);
    assert!(said.contains("foreign.jsonl exists and has no run folder foreign.run"), "{said}");
    assert_eq!(std::fs::read_to_string(w.path("a.train.jsonl")).unwrap(), line);
    assert_eq!(std::fs::read_to_string(w.path("foreign.jsonl")).unwrap(), "precious");
}

#[test]
fn failing_requests_leave_exit_code_one_and_a_hint() {
    let w = World::new();
    w.runtime.block_on(
        Mock::given(method("POST"))
            .respond_with(ResponseTemplate::new(422).set_body_string("too long"))
            .up_to_n_times(1)
            .with_priority(1)
            .mount(&w.server),
    );
    let out = w.ask("out.jsonl", &["--concurrency", "1"]);
    assert_eq!(out.status.code(), Some(1));
    let e = String::from_utf8_lossy(&out.stderr);
    assert!(
        e.contains("1 requests failed") && e.contains("too long") && e.contains("run the same command again"),
        "{e}"
    );
    good(&w.ask("out.jsonl", &["--concurrency", "1"]));
}

#[test]
fn shards_and_their_merge_equal_the_whole() {
    let w = World::new();
    good(&w.ask("whole.jsonl", &[]));
    for i in 0..2 {
        good(&w.ask(&format!("s{i}.jsonl"), &["--shard", &format!("{i}/2")]));
    }
    let both = "s0.run/candidates.jsonl,s1.run/candidates.jsonl";
    good(&w.run(&["--input", "questions.jsonl", "--output", "merged.jsonl", "--merge", both]));
    assert_eq!(std::fs::read(w.path("merged.jsonl")).unwrap(), std::fs::read(w.path("whole.jsonl")).unwrap());
}

#[test]
fn star_with_rationalisation() {
    let w = World::new();
    let args = ["--star", "--rationalise", "--samples", "1", "--style", "base"];
    good(&w.ask("star.jsonl", &args));
    let out = lines(&w.path("star.jsonl"));
    assert_eq!(out.len(), 6, "the hint solves the hard ones");
    assert!(out.iter().all(|v| v["approach"].is_null()));
    for t in lines(&w.path("star.train.jsonl")) {
        assert!(!t["prompt"].as_str().unwrap().contains("The answer is"), "the hint leaked");
        assert!(t["completion"].as_str().unwrap().starts_with(' '));
    }
}

#[test]
fn controls_on_wrong_chains_breadth_and_depth() {
    let w = World::new();
    good(&w.ask("wrong.jsonl", &["--keep", "wrong", "--approaches", "2"]));
    let wrong = lines(&w.path("wrong.jsonl"));
    assert_eq!(wrong.len(), 12);
    assert!(wrong.iter().all(|v| {
        !v["response"].as_str().unwrap().contains(&format!("boxed{{{}}}", v["answer"].as_str().unwrap()))
    }));
    good(&w.ask("deep.jsonl", &["--depth", "1", "--approaches", "6", "--keep", "wrong"]));
    good(&w.ask("broad.jsonl", &["--breadth", "6", "--approaches", "6", "--keep", "wrong"]));
    let (deep, broad) = (lines(&w.path("deep.jsonl")), lines(&w.path("broad.jsonl")));
    assert_eq!((deep.len(), broad.len()), (6, 6));
    let questions = |v: &[Value]| v.iter().map(|v| v["id"].to_string()).collect::<BTreeSet<_>>().len();
    assert_eq!((questions(&deep), questions(&broad)), (1, 6));
    good(&w.ask("few.jsonl", &["--keep", "wrong", "--instances", "5"]));
    assert_eq!(lines(&w.path("few.jsonl")).len(), 5);
}

#[test]
fn distillation_keeps_several_solutions_without_an_approach() {
    let w = World::new();
    good(&w.ask("taught.jsonl", &["--approaches", "0", "--samples", "8", "--per-cell", "8"]));
    let out = lines(&w.path("taught.jsonl"));
    // Of eight samples those at 0, 4 and 6 are right and whole.
    assert_eq!(out.len(), 9);
    assert!(out.iter().all(|v| v["approach"].is_null() && v["correct"] == 3 && v["candidates"] == 8));
}

#[test]
fn batch_out_and_in() {
    let w = World::new();
    let base = [
        "--input",
        "questions.jsonl",
        "--output",
        "b.jsonl",
        "--model-name",
        "m",
        "--approaches",
        "1",
        "--samples",
        "1",
    ];
    let mut args = base.to_vec();
    args.extend(["--batch-out", "batch.jsonl"]);
    good(&w.run(&args));
    let results: Vec<String> = lines(&w.path("batch.jsonl"))
        .iter()
        .map(|l| {
            let id = l["custom_id"].as_str().unwrap();
            let i: i64 = id[1..2].parse().unwrap();
            let body = json!({"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": format!("\\boxed{{{}}}", i + 10 * i * i)}}]});
            json!({"custom_id": id, "error": null, "response": {"status_code": 200, "body": body}}).to_string()
        })
        .collect();
    w.file("results.jsonl", &results.join("\n"));
    let mut args = base.to_vec();
    args.extend(["--batch-in", "results.jsonl"]);
    good(&w.run(&args));
    assert_eq!(lines(&w.path("b.jsonl")).len(), 6);
}

#[test]
fn an_llm_judge_is_asked_once_for_each_solution() {
    let w = World::new();
    good(&w.ask("j.jsonl", &["--judge", "llm", "--approaches", "2"]));
    let out = lines(&w.path("j.jsonl"));
    assert_eq!(out.len(), 6);
    assert!(out.iter().all(|v| v["adherence"] == 0.8));
    let calls = w.calls();
    good(&w.ask("j.jsonl", &["--judge", "llm", "--approaches", "2"]));
    assert_eq!(w.calls(), calls, "scores are kept");
}

#[test]
fn an_llm_says_which_approaches_are_used() {
    let w = World::new();
    let args = ["--recognise", "llm", "--approaches", "4", "--near-duplicates", "0"];
    let table = good(&w.ask("r.jsonl", &args));
    let out = lines(&w.path("r.jsonl"));
    let told = out.iter().filter(|v| v["response"].as_str().unwrap().contains("Step 1. Add")).count();
    assert!(told > 0 && told < out.len(), "{told} of {}", out.len());
    let statistics: Value =
        serde_json::from_str(&std::fs::read_to_string(w.path("r.run/statistics.json")).unwrap()).unwrap();
    assert_eq!(statistics["composition"]["combining"], told);
    assert_eq!(statistics["unread"], out.len() - told);
    assert!(table.contains(&format!("most often together: draw-a-figure + parity {told}")), "{table}");
    let calls = w.calls();
    good(&w.ask("r.jsonl", &args));
    assert_eq!(w.calls(), calls, "answers are kept");
}

#[test]
fn models_in_this_process_judge_what_a_server_wrote() {
    let w = World::new();
    tiny_folder(&w.path("writer"));
    tiny_reward_folder(&w.path("rewarder"));
    for (judge, flag, folder) in
        [("likelihood", "--likelihood-model", "writer"), ("reward", "--reward-model", "rewarder")]
    {
        let output = format!("{judge}.jsonl");
        let args = ["--judge", judge, flag, folder, "--approaches", "2"];
        good(&w.ask(&output, &args));
        let scores: Vec<f64> =
            lines(&w.path(&output)).iter().map(|v| v["adherence"].as_f64().expect("a score")).collect();
        assert_eq!(scores.len(), 6, "{judge}");
        assert!(scores.iter().any(|s| *s != scores[0]), "{judge}: {scores:?}");
        let kept = w.path(&format!("{judge}.run/adherence.jsonl"));
        let judged = lines(&kept).len();
        good(&w.ask(&output, &args));
        assert_eq!(lines(&kept).len(), judged, "{judge}: scores are kept");
    }
    // One kind of model is not the other.
    let e = bad(&w.ask("x.jsonl", &["--judge", "reward", "--reward-model", "writer"]));
    assert!(e.contains("gives no rewards"), "{e}");
}

#[test]
fn the_key_of_one_server_is_not_sent_to_another() {
    let w = World::new();
    let other = w.runtime.block_on(async {
        let server = MockServer::start().await;
        Mock::given(method("POST")).respond_with(Student).mount(&server).await;
        server
    });
    let (model, judge) = (format!("{}/v1", w.server.uri()), format!("{}/v1", other.uri()));
    let ask = |output: &str, more: &[&str]| {
        let mut command = Command::cargo_bin("generate-variants").unwrap();
        command.current_dir(w.dir.path()).env("POLYA_TEST_KEY", "first").env("POLYA_TEST_JUDGE", "second");
        command.args(["--input", "questions.jsonl", "--output", output, "--endpoint", &model]);
        command.args(["--model-name", "m", "--api-key-env", "POLYA_TEST_KEY", "--approaches", "1"]);
        good(&command.args(["--judge", "llm"]).args(more).output().unwrap());
    };
    let keys = |server: &MockServer| -> BTreeSet<String> {
        let requests = w.runtime.block_on(server.received_requests()).unwrap();
        let key = |r: &Request| r.headers.get("authorization").map_or("", |v| v.to_str().unwrap()).to_owned();
        requests.iter().map(key).collect()
    };
    ask("a.jsonl", &["--judge-endpoint", &judge]);
    assert_eq!(keys(&other), BTreeSet::from([String::new()]));
    ask("b.jsonl", &["--judge-endpoint", &judge, "--judge-api-key-env", "POLYA_TEST_JUDGE"]);
    assert_eq!(keys(&other), BTreeSet::from([String::new(), "Bearer second".to_owned()]));
    // A judge on the model's own servers has the model's key.
    ask("c.jsonl", &[]);
    assert_eq!(keys(&w.server), BTreeSet::from(["Bearer first".to_owned()]));
}

#[test]
fn settings_come_from_a_file_and_unknown_keys_are_named() {
    let w = World::new();
    w.file("s.toml", "samples = 2\napproaches = 1\nstop = [\"a,b\", \"c\"]\n");
    good(&w.ask("f.jsonl", &["--config", "s.toml"]));
    let resolved = std::fs::read_to_string(w.path("f.run/config.toml")).unwrap();
    assert!(resolved.contains("samples = 2") && resolved.contains("a,b"), "{resolved}");
    w.file("s.toml", "sample = 2\n");
    assert!(bad(&w.ask("f.jsonl", &["--config", "s.toml"])).contains("sample"));
}

#[test]
fn a_lone_surrogate_in_a_question_is_replaced() {
    let w = World::new();
    w.file(
        "questions.jsonl",
        "{\"id\": \"a\", \"question\": \"\\ud800 What is 1 + 1?\", \"answer\": \"2\"}\n",
    );
    good(&w.ask("out.jsonl", &["--approaches", "1"]));
    assert_eq!(lines(&w.path("out.jsonl"))[0]["question"], "\u{fffd} What is 1 + 1?");
}

#[test]
fn bad_input_is_named_before_anything_is_asked() {
    let w = World::new();
    let e = |args: &[&str]| bad(&w.ask("x.jsonl", args));
    assert!(e(&["--approach", "symetry"]).contains("did you mean `symmetry`"));
    assert!(e(&["--approaches", "65"]).contains("64 approaches"));
    assert!(e(&["--family", "music"]).contains("`music`"));
    assert!(e(&["--shard", "2/2"]).contains("i/n"));
    assert!(e(&["--top-p", "0"]).contains("--top-p"));
    assert!(e(&["--near-duplicates", "7"]).contains("threshold"));
    for (line, what) in [
        ("{\"id\": \"q\", \"question\": \"?\"}", "line 2: `answer` is missing"),
        ("{\"id\": \"q\", \"question\": \"?\", \"answer\": [1]}", "`answer` must be a string"),
        ("not json", "line 2: "),
        ("{\"id\": \"a\", \"question\": \"?\", \"answer\": \"1\"}", "question `a`: the id is given twice"),
    ] {
        w.file(
            "questions.jsonl",
            &format!("{{\"id\": \"a\", \"question\": \"What is 1 + 1?\", \"answer\": \"2\"}}\n{line}\n"),
        );
        let e = e(&[]);
        assert!(e.contains(what), "{e}");
    }
    w.file("questions.jsonl", "\n");
    assert!(e(&[]).contains("no questions"));
    assert_eq!(w.calls(), 0);
    w.file("questions.jsonl", "{\"id\": \"a\", \"question\": \"What is 1 + 1?\", \"answer\": \"2\"}\n");
    for (args, what) in [
        (&[][..], "no source of candidates"),
        (&["--endpoint", "notaurl", "--model-name", "m"], "notaurl"),
        (
            &["--endpoint", "http://localhost:1", "--model-name", "m", "--api-key-env", "NO_SUCH_KEY"],
            "NO_SUCH_KEY",
        ),
        (&["--batch-in", "absent.jsonl"], "absent.jsonl"),
        (&["--merge", "absent.jsonl"], "absent.manifest.json is missing"),
        (&["--batch-out", "b.jsonl", "--judge", "llm"], "--judge-endpoint"),
    ] {
        let e = bad(&w.run(&[&["--input", "questions.jsonl", "--output", "n.jsonl"], args].concat()));
        assert!(e.contains(what), "{e}");
        assert!(!w.path("n.run").exists(), "{what}: something was written");
    }
    let same = bad(&w.ask("questions.jsonl", &[]));
    assert!(same.contains("is the input") && w.path("questions.jsonl").metadata().unwrap().len() > 0);
    assert_eq!(w.calls(), 0);
    let none = w.run(&["--input", "questions.jsonl"]);
    assert!(bad(&none).contains("--output is missing"));
}
