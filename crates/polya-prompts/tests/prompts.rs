//! Rendered prompts as snapshots, and exemplars read by the verifier.

use polya_prompts::{AnswerFormat, Family, Prompt, Render};
use verifier::{Gold, Response, Verdict, verify};

const QUESTION: &str = "Weng earns $12 an hour. Yesterday she worked 50 minutes. How much did she earn?";

fn show(prompt: &Prompt) -> String {
    match prompt {
        Prompt::Text(text) => text.clone(),
        Prompt::Messages(list) => list
            .iter()
            .map(|m| {
                format!("[{}]\n{}\n", serde_json::to_value(m.role).unwrap().as_str().unwrap(), m.content)
            })
            .collect(),
    }
}

#[test]
fn a_base_prompt() {
    let prompt = Family::maths().render("work-backward", QUESTION, &Render::base()).unwrap();
    insta::assert_snapshot!(show(&prompt));
}

#[test]
fn a_chat_prompt() {
    let render = Render { answer_format: Some(AnswerFormat::Hashes), ..Render::chat() };
    let prompt = Family::maths().render("draw-a-figure", QUESTION, &render).unwrap();
    insta::assert_snapshot!(show(&prompt));
}

#[test]
fn a_prompt_without_approach_and_with_a_hint() {
    let family = Family::maths();
    let plain = family.render_plain(QUESTION, &Render::base()).unwrap();
    let hinted = family.render_detailed(None, QUESTION, Some("10"), &Render::chat()).unwrap().prompt;
    insta::assert_snapshot!(format!("{}\n=====\n{}", show(&plain), show(&hinted)));
}

#[test]
fn prompts_of_the_other_families() {
    let code =
        Family::code().render("subfunctions", "Write `f`.", &Render { exemplars: 1, ..Render::base() });
    let story = Family::narrative().render("timeline", "Who?", &Render { exemplars: 1, ..Render::chat() });
    insta::assert_snapshot!(format!("{}\n=====\n{}", show(&code.unwrap()), show(&story.unwrap())));
}

#[test]
fn the_verifier_reads_every_exemplars_final_answer() {
    let family = Family::maths();
    let mut bad = Vec::new();
    for a in family.approaches() {
        for (i, e) in a.exemplars.iter().enumerate() {
            for format in [AnswerFormat::Boxed, AnswerFormat::Hashes] {
                let text = format!("{}\n{}", e.solution.trim(), format.line(&e.answer));
                let v = verify(&Gold::parse(&e.answer), &Response::new(&text));
                if v.verdict != Verdict::Correct {
                    bad.push(format!("{} exemplar {} ({format:?}): {v:?}", a.id, i + 1));
                }
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// Where the independent check is plain arithmetic, it must equal the answer for the verifier too.
#[test]
fn plain_arithmetic_checks_equal_the_answers() {
    if verify(&Gold::parse("2*(1+1)"), &Response::new("\\boxed{4}")).verdict != Verdict::Correct {
        println!("skipped: this verifier does not do arithmetic");
        return;
    }
    let family = Family::maths();
    let (mut read, mut bad) = (0, Vec::new());
    for e in family.approaches().iter().flat_map(|a| &a.exemplars) {
        let Some(check) = &e.check else { continue };
        if !check.chars().all(|c| c.is_ascii_digit() || "+-*/(). ".contains(c))
            || check.contains("//")
            || check.contains("3.14")
        {
            continue;
        }
        read += 1;
        let response = format!("\\boxed{{{}}}", e.answer);
        let gold = check.replace("**", "^").replace("^0.5", "^{1/2}");
        let v = verify(&Gold::parse(&gold), &Response::new(&response));
        if v.verdict != Verdict::Correct {
            bad.push(format!("{check} and {}: {v:?}", e.answer));
        }
    }
    assert!(read > 40, "only {read} checks are plain arithmetic");
    assert!(bad.is_empty(), "{} of {read}:\n{}", bad.len(), bad.join("\n"));
}

/// Runs the script that compares every answer with its independent check, where a recent Python is installed.
#[test]
fn independent_checks_agree() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/check_exemplars.py");
    let version = std::process::Command::new("python3").args(["-c", "import tomllib"]).output();
    if !version.is_ok_and(|o| o.status.success()) {
        println!("skipped: no python3 with tomllib");
        return;
    }
    let out = std::process::Command::new("python3").arg(script).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
}
