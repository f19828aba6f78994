//! Readers against small files, and against the real ones where the folder named by `POLYA_DATA` has them.

use std::path::PathBuf;

use evaluation::datasets::{self, Details};
use evaluation::registry;

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.jsonl");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

#[test]
fn both_layouts_of_gsm8k() {
    let (_folder, path) = file(concat!(
        r#"{"id": "a", "question": "1 + 1?", "answer": "2", "solution": "one more"}"#,
        "\n\n",
        r###"{"question": "Half of 3,000?", "answer": "3000 / 2 = 1,500\n#### 1,500"}"###,
        "\n"
    ));
    let questions = datasets::gsm8k(&path).unwrap();
    assert_eq!(questions[0].id, "a");
    assert_eq!((questions[1].id.as_str(), questions[1].answer.as_str()), ("set-1", "1500"));
    assert_eq!(questions[1].solution.as_deref(), Some("3000 / 2 = 1,500"));
}

#[test]
fn faults_name_file_and_line() {
    let good = r#"{"id": "a", "question": "q", "answer": "1"}"#;
    for (second, expected) in [
        ("{", "not JSON"),
        ("[1]", "expected a JSON object"),
        (r#"{"id": "b", "question": "q"}"#, "no `answer`"),
        (r#"{"id": "b", "question": "  ", "answer": "1"}"#, "`question` is empty"),
        (r#"{"id": "b", "question": "q", "answer": {"x": 1}}"#, "`answer` should be a string"),
        (r#"{"id": "a", "question": "q", "answer": "1"}"#, "the id \"a\" was given before"),
        (r###"{"id": "b", "question": "q", "answer": "so ####"}"###, "nothing follows"),
    ] {
        let (_folder, path) = file(&format!("{good}\n{second}\n"));
        let message = datasets::gsm8k(&path).unwrap_err().to_string();
        assert!(message.contains("set.jsonl line 2: ") && message.contains(expected), "{second}: {message}");
    }
    let (_folder, path) = file("\n");
    assert!(datasets::gsm8k(&path).unwrap_err().to_string().contains("no questions"));
    let missing = datasets::gsm8k(path.with_file_name("absent.jsonl")).unwrap_err().to_string();
    assert!(missing.contains("cannot read") && missing.contains("absent.jsonl"), "{missing}");
}

#[test]
fn rows_as_the_hub_has_them() {
    let (_folder, path) = file(concat!(
        r#"{"problem": "Find x.", "solution": "It is \\boxed{3}.", "answer": "3", "unique_id": "test/algebra/1.json"}"#,
        "\n"
    ));
    let questions = datasets::load(registry::find("math-500").unwrap(), &path).unwrap();
    assert_eq!(
        (questions[0].id.as_str(), questions[0].question.as_str()),
        ("test/algebra/1.json", "Find x.")
    );

    let (_folder, path) = file(concat!(
        r#"{"data_source": "d", "prompt": [{"role": "user", "content": "Compute 17 * 2."}], "#,
        r#""reward_model": {"ground_truth": "34"}, "extra_info": {"index": "9a9b"}}"#,
        "\n"
    ));
    let questions = datasets::load(registry::find("dapo-math-17k").unwrap(), &path).unwrap();
    assert_eq!((questions[0].id.as_str(), questions[0].answer.as_str()), ("9a9b", "34"));

    let (_folder, path) = file("{\"question\": \"q\", \"answer\": 18.0, \"id\": 7}\n");
    let questions = datasets::load(registry::find("amc-2023").unwrap(), &path).unwrap();
    assert_eq!((questions[0].id.as_str(), questions[0].answer.as_str()), ("7", "18"));
}

#[test]
fn choices_must_hold_the_answer() {
    let row = |answer: &str| {
        format!(
            "{{\"id\": \"m\", \"narrative\": \"A story.\", \"question\": \"Who?\", \"choices\": \"['Mack', \\\"O'Hara\\\"]\", \
             \"answer\": \"{answer}\"}}\n"
        )
    };
    let (_folder, path) = file(&row("O'Hara"));
    let question = datasets::musr(&path).unwrap().remove(0);
    assert_eq!(question.question, "A story.\n\nWho?\n(A) Mack\n(B) O'Hara");
    assert!(matches!(question.details, Details::Choice { answer_index: Some(1), .. }));
    let (_folder, path) = file(&row("Ana"));
    assert!(datasets::musr(&path).unwrap_err().to_string().contains("none of the choices"));
}

#[test]
fn the_real_files() {
    let Some(folder) = std::env::var_os("POLYA_DATA").map(PathBuf::from) else {
        println!("skipped: POLYA_DATA names no folder of benchmark files");
        return;
    };
    for (file, name, rows) in [
        ("gsm8k_train.jsonl", "gsm8k-train", 7473),
        ("gsm8k_test.jsonl", "gsm8k", 1319),
        ("svamp.jsonl", "svamp", 1000),
        ("olympiadbench_maths_en.jsonl", "olympiadbench", 675),
        ("humaneval.jsonl", "humaneval", 164),
        ("mbpp_sanitized.jsonl", "mbpp", 257),
        ("musr.jsonl", "musr", 275),
        ("bbh_narrative.jsonl", "bbh", 1750),
    ] {
        let path = folder.join(file);
        if !path.exists() {
            println!("skipped: no {file} in POLYA_DATA");
            continue;
        }
        let questions = datasets::load(registry::find(name).unwrap(), &path).unwrap();
        assert_eq!(questions.len(), rows, "{file}");
        assert!(questions.iter().all(|question| !question.answer.contains("####")));
    }
}
