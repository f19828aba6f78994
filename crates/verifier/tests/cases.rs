//! The case files: every hand-checked pair has the verdict it should have.

use std::collections::BTreeMap;

use serde::Deserialize;
use verifier::{Gold, Response, Verdict, verify};

#[derive(Deserialize)]
struct Case {
    id: String,
    gold: String,
    response: String,
    /// `correct`, `wrong` (anything that earns nothing) or `unparsed_gold`.
    verdict: String,
    kind: String,
}

fn cases() -> Vec<Case> {
    [
        include_str!("cases/cases.jsonl"),
        include_str!("cases/blind4.jsonl"),
        include_str!("cases/blind5.jsonl"),
        include_str!("cases/blind6.jsonl"),
        include_str!("cases/blind7.jsonl"),
        include_str!("cases/blind8.jsonl"),
        include_str!("cases/blind9.jsonl"),
        include_str!("cases/blind10.jsonl"),
        include_str!("cases/blind11.jsonl"),
        include_str!("cases/blind12.jsonl"),
        include_str!("cases/blind13.jsonl"),
        include_str!("cases/doubts.jsonl"),
    ]
    .iter()
    .flat_map(|file| file.lines())
    .map(|line| serde_json::from_str(line).unwrap())
    .collect()
}

/// A gold answer as a response: alone, or where it is a whole solution, as a text to search.
fn repeated(gold: &str) -> Response<'_> {
    if gold.contains(['\n']) || gold.contains("####") || gold.contains("\\boxed") && gold.len() > 40 {
        Response::new(gold)
    } else {
        Response::answer_only(gold)
    }
}

#[test]
fn every_case_has_its_verdict() {
    let mut wrong = Vec::new();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for case in cases() {
        let v = verify(&Gold::parse(&case.gold), &Response::new(&case.response));
        let fits = match case.verdict.as_str() {
            "correct" => v.verdict == Verdict::Correct,
            "wrong" => matches!(v.verdict, Verdict::Incorrect | Verdict::UnparsedResponse),
            "unparsed_gold" => v.verdict == Verdict::UnparsedGold && v.reward().is_none(),
            other => panic!("unknown verdict {other} in {}", case.id),
        };
        *kinds.entry(case.kind.clone()).or_default() += 1;
        if !fits {
            wrong.push(format!("{}: gold {:?}, response {:?}: {:?}", case.id, case.gold, case.response, v));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(kinds.values().sum::<usize>() >= 1500 && kinds.len() >= 35, "{kinds:?}");
}

#[test]
fn every_readable_gold_answer_equals_itself() {
    for case in cases() {
        let gold = Gold::parse(&case.gold);
        if gold.answer().is_ok() {
            let v = verify(&gold, &repeated(&case.gold));
            assert!(v.is_correct(), "{}: {:?} {v:?}", case.id, case.gold);
        }
    }
}

#[test]
fn answers_alone_compare_alike_in_both_directions() {
    for case in cases().into_iter().filter(|c| c.kind != "extraction") {
        let Some(found) = verify(&Gold::parse(&case.gold), &Response::new(&case.response)).extracted else {
            continue;
        };
        let there = verify(&Gold::parse(&case.gold), &Response::answer_only(&found));
        let back = verify(&Gold::parse(&found), &repeated(&case.gold));
        if back.verdict != Verdict::UnparsedGold && there.verdict != Verdict::UnparsedResponse {
            assert_eq!(there.is_correct(), back.is_correct(), "{}: {:?} and {found:?}", case.id, case.gold);
        }
    }
}

/// Gold answers of public data sets, read from the folder named by POLYA_DATA.
#[test]
fn real_gold_answers_equal_themselves() {
    let Ok(folder) = std::env::var("POLYA_DATA") else {
        println!("skipped: POLYA_DATA is not set");
        return;
    };
    for name in ["gsm8k_train", "gsm8k_test", "svamp", "olympiadbench_maths_en"] {
        let path = std::path::Path::new(&folder).join(format!("{name}.jsonl"));
        let Ok(text) = std::fs::read_to_string(&path) else {
            println!("skipped: {} is not there", path.display());
            continue;
        };
        for line in text.lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            let answer = row["answer"].as_str().unwrap();
            let response = format!("We conclude that it is \\boxed{{{answer}}}.");
            let v = verify(&Gold::parse(answer), &Response::new(&response));
            assert!(v.is_correct(), "{name}: {answer:?} {v:?}");
        }
    }
}
