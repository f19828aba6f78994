//! The contract of the binary.

use assert_cmd::Command;
use predicates::prelude::*;

fn verify() -> Command {
    Command::cargo_bin("verify").unwrap()
}

fn lines(out: &[u8]) -> Vec<serde_json::Value> {
    std::str::from_utf8(out).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[test]
fn streams_verdicts_and_carries_fields_through() {
    let input = concat!(
        r#"{"id": "a", "gold": "1/2", "response": "so \\boxed{0.5}", "step": 7}"#,
        "\n",
        r#"{"id": 2, "gold": "1/2", "response": "The answer is 1/3."}"#,
        "\n",
        r#"{"id": 3, "gold": "\\frac{1}{", "response": "1"}"#,
        "\n",
        r#"{"id": 4, "gold": "5", "response": "I do not know, sorry \ud800"}"#,
        "\n",
    );
    let out = verify().write_stdin(input).assert().success().get_output().stdout.clone();
    let rows = lines(&out);
    let verdicts: Vec<_> = rows.iter().map(|r| r["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["correct", "incorrect", "unparsed_gold", "unparsed_response"]);
    assert_eq!(rows[0]["id"], "a");
    assert_eq!(rows[0]["step"], 7);
    assert_eq!(rows[0]["extracted"], "0.5");
    assert!(rows[3]["extracted"].is_null() && rows[3]["reason"].is_string());
    assert!(rows[0].get("gold").is_none() && rows[0].get("response").is_none());
}

#[test]
fn a_bad_line_ends_with_code_2_after_the_verdicts_before_it() {
    let input =
        "{\"id\":1,\"gold\":\"1\",\"response\":\"1\"}\n{oops\n{\"id\":3,\"gold\":\"1\",\"response\":\"1\"}\n";
    for threads in ["1", "3"] {
        verify()
            .args(["--threads", threads])
            .write_stdin(input)
            .assert()
            .code(2)
            .stdout(predicate::str::contains("\"id\":1").and(predicate::str::contains("\"id\":3").not()))
            .stderr(predicate::str::contains("stdin line 2"));
    }
    verify().write_stdin("{\"id\":1,\"gold\":1,\"response\":\"1\"}\n").assert().code(2).stderr(
        predicate::str::contains("stdin line 1").and(predicate::str::contains("`gold` must be a string")),
    );
    verify()
        .write_stdin("\n")
        .assert()
        .code(2)
        .stderr(predicate::str::contains("stdin line 1: the line is empty"));
    verify().write_stdin("").assert().success().stdout("");
}

#[test]
fn threads_do_not_change_the_output() {
    let input: String = include_str!("../../../crates/verifier/tests/cases/cases.jsonl").into();
    let run = |threads: &str| {
        let out = verify().args(["--threads", threads]).write_stdin(input.clone()).assert().success();
        out.get_output().stdout.clone()
    };
    let one = run("1");
    assert_eq!(one, run("4"));
    assert!(lines(&one).len() > 1500);
}

#[test]
fn answer_only_and_policy() {
    let input = "{\"id\":1,\"gold\":\"15\",\"response\":\"15%\"}\n";
    verify().write_stdin(input).assert().success().stdout(predicate::str::contains("\"incorrect\""));
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    for (name, text) in [
        ("a.toml", "percent = \"ignore\""),
        ("b.json", "{\"percent\": \"either\"}"),
        ("c.toml", "preset = \"lenient\""),
    ] {
        verify()
            .arg("--policy")
            .arg(file(name, text))
            .write_stdin(input)
            .assert()
            .success()
            .stdout(predicate::str::contains("\"correct\""));
    }
    for (text, what) in [
        ("percentage = 1", "percentage"),
        ("preset = \"loose\"", "found loose"),
        ("relative_tolerance = -1", "relative_tolerance must be"),
        ("relative_tolerance = inf", "relative_tolerance must be"),
        ("significant_digits = 0", "significant_digits must be"),
        ("max_bytes = 0", "max_bytes must be"),
    ] {
        let bad = file("bad.toml", text);
        let refused = verify().arg("--policy").arg(bad).write_stdin(input).assert().code(2);
        refused.stdout("").stderr(predicate::str::contains("bad.toml").and(predicate::str::contains(what)));
    }
    verify()
        .arg("--policy")
        .arg(file("near.toml", "relative_tolerance = 0.01"))
        .write_stdin("{\"gold\":\"1000\",\"response\":\"\\\\boxed{1005}\"}\n")
        .assert()
        .success()
        .stdout(predicate::str::contains("within the relative tolerance"));
    let prose = "{\"id\":1,\"gold\":\"5\",\"response\":\"2 + 3 = 5, and 7 is not\"}\n";
    verify()
        .arg("--answer-only")
        .write_stdin(prose)
        .assert()
        .success()
        .stdout(predicate::str::contains("\"correct\"").not());
}

#[test]
fn the_order_of_lines_is_kept_and_help_is_there() {
    verify().arg("--help").assert().success().stdout(predicate::str::contains("unparsed_gold"));
    verify().args(["--threads", "0"]).assert().code(2);
}

#[cfg(not(feature = "serve"))]
#[test]
fn serve_says_how_to_get_it() {
    verify().arg("serve").assert().code(2).stderr(predicate::str::contains("--features serve"));
}

/// A request over a real socket, as a trainer would send it.
#[cfg(feature = "serve")]
#[test]
fn serves_rewards() {
    use std::io::{BufRead, BufReader, Read, Write};
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("verify"))
        .args(["serve", "--listen", "127.0.0.1:0", "--threads", "2"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let address = first.trim().strip_prefix("listening on http://").unwrap().to_string();
    let post = |body: &str| {
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        write!(
            stream,
            "POST /get_reward HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    };
    let reply =
        post(r#"{"query": ["What is 1+1? It is \\boxed{2}"], "prompts": ["What is 1+1?"], "labels": ["2"]}"#);
    assert!(reply.starts_with("HTTP/1.1 200") && reply.contains("\"rewards\":[1.0]"), "{reply}");
    let reply = post(r#"{"completions": ["2", "3"], "answer": ["2", "2"]}"#);
    assert!(reply.contains("\"rewards\":[1.0,0.0]"), "{reply}");
    let reply = post("{oops");
    assert!(reply.starts_with("HTTP/1.1 400"), "{reply}");
    child.kill().unwrap();
    child.wait().unwrap();
}
