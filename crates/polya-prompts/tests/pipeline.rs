//! Laws of the pipeline: each cell once, resume equals an uninterrupted run, shards add up, selection keeps no wrong one.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use polya_prompts::journal::{Index, Record, manifest_path, merge_journals, read_journal};
use polya_prompts::{
    Attempt, Candidate, Correctness, Error, Family, Finish, Graded, Keep, NearDuplicates, Outcome, Plan,
    PlanConfig, Prompted, Question, Recorded, Render, Scheduler, SelectionConfig, Shape, Shard, SignJudge,
    from_fn, grade, manifest, run, select,
};
use proptest::prelude::*;

fn family() -> Family {
    Family::from_toml_str(
        "id='f'\nname='F'\n\
         [[approach]]\nid='back'\nname='Backward'\nsigns=['undo']\n\
         [[approach]]\nid='step'\nname='Forward'\nsigns=['then']\n\
         [[approach]]\nid='draw'\nname='Drawing'\nsigns=['figure']\n",
    )
    .unwrap()
}

fn questions(n: usize) -> Vec<Question> {
    (0..n)
        .map(|i| Question::new(format!("q{i}"), format!("What is {i} + {i}?"), format!("{}", 2 * i)))
        .collect()
}

fn check(q: &Question, response: &str) -> Outcome {
    match response.rsplit(' ').next().and_then(|w| w.parse::<i64>().ok()) {
        Some(n) if n.to_string() == q.answer => Outcome::Correct,
        Some(_) => Outcome::Incorrect,
        None => Outcome::Unparsed,
    }
}

/// A generator whose answers depend on the request alone: half right, some cut, some without an answer.
fn fake(p: &Prompted) -> polya_prompts::Result<Vec<Candidate>> {
    let id: usize = p.id.split('/').next().unwrap()[1..].parse().unwrap();
    Ok((0..p.samples)
        .map(|s| {
            let dice = polya_prompts::text::stable_hash(&[&p.id, &s.to_string()]) % 10;
            let text = match dice {
                0..5 => {
                    format!("sample {} of {} then undo figure gives {}", p.first_sample + s, p.id, 2 * id)
                }
                5..8 => format!("so it is {}", 2 * id + 1),
                _ => "no idea".into(),
            };
            let finish = if dice == 4 { Finish::Length } else { Finish::Stop };
            Candidate { finish, tokens: Some(5), ..Candidate::finished(text) }
        })
        .collect())
}

fn all(family: &Family) -> Vec<Option<&str>> {
    family.ids().into_iter().map(Some).collect()
}

fn execute(plan: &Plan, family: &Family, path: &Path, batch: usize) -> polya_prompts::Cost {
    let render = Render::base();
    let m = manifest("m", "test", family, plan, &render, &()).unwrap();
    let mut s = Scheduler::open(plan, family, render, Some(&check), Some((path, &m))).unwrap();
    run(&mut s, &mut from_fn(fake), batch, |_| true).unwrap();
    assert!(s.is_done());
    s.finish().unwrap()
}

fn records(path: &Path) -> BTreeMap<String, Record> {
    let mut out = BTreeMap::new();
    read_journal(path, |r| {
        assert!(out.insert(r.request.clone(), r).is_none(), "a request is given twice");
        Ok(())
    })
    .unwrap();
    out
}

#[test]
fn resume_after_every_cut_gives_the_same_result() {
    let family = family();
    let config = PlanConfig { samples: 4, round: 2, stop_after_correct: Some(2), ..Default::default() };
    let plan = Plan::new(&family, questions(3), &all(&family), config).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole.jsonl");
    let cost = execute(&plan, &family, &whole, 4);
    assert!(cost.cells_stopped_early > 0 && cost.samples_saved > 0, "{cost:?}");
    let expected = records(&whole);
    let bytes = std::fs::read(&whole).unwrap();
    for cut in 0..=bytes.len() {
        let path = dir.path().join("cut.jsonl");
        std::fs::write(&path, &bytes[..cut]).unwrap();
        std::fs::copy(manifest_path(&whole), manifest_path(&path)).unwrap();
        let resumed = execute(&plan, &family, &path, 3);
        assert_eq!(records(&path), expected, "cut at byte {cut}");
        assert_eq!(resumed.candidates, cost.candidates);
        assert_eq!(resumed.samples_saved, cost.samples_saved);
    }
}

#[test]
fn a_generator_that_fails_loses_nothing_that_was_answered() {
    let family = family();
    let plan = Plan::new(&family, questions(4), &all(&family), PlanConfig::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j.jsonl");
    let render = Render::base();
    let m = manifest("m", "test", &family, &plan, &render, &()).unwrap();
    let calls = RefCell::new(0);
    {
        let mut s = Scheduler::open(&plan, &family, render.clone(), None, Some((&path, &m))).unwrap();
        let mut g = from_fn(|p: &Prompted| {
            *calls.borrow_mut() += 1;
            if *calls.borrow() == 8 { Err(Error::backend("the model", "no memory")) } else { fake(p) }
        });
        let e = run(&mut s, &mut g, 2, |_| true).unwrap_err().to_string();
        assert_eq!(e, "the model failed: no memory");
        assert_eq!(s.cost().failures, 2);
    }
    assert_eq!(records(&path).len(), 6);
    let cost = execute(&plan, &family, &path, 5);
    assert_eq!((cost.requests, cost.resumed_requests), (12, 6));
}

#[test]
fn a_generator_that_lies_about_counts_is_an_error_and_nothing_is_lost() {
    let family = family();
    let plan = Plan::new(&family, questions(1), &all(&family), PlanConfig::default()).unwrap();
    let mut s = Scheduler::open(&plan, &family, Render::base(), None, None).unwrap();
    let request = s.next_request().unwrap().unwrap();
    let e = s.complete(request, vec![Candidate::finished("one")]).unwrap_err().to_string();
    assert_eq!(e, "the generator returned 1 candidates for `q0/back/0`, expected 4");
    assert_eq!((s.in_flight(), s.cost().failures), (0, 1));
}

#[test]
fn a_journal_of_another_run_is_refused_by_name() {
    let family = family();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j.jsonl");
    let plan = Plan::new(&family, questions(1), &all(&family), PlanConfig::default()).unwrap();
    execute(&plan, &family, &path, 1);
    let open = |plan: &Plan, model: &str| {
        let m = manifest(model, "test", &family, plan, &Render::base(), &()).unwrap();
        Scheduler::open(plan, &family, Render::base(), None, Some((&path, &m))).map(drop)
    };
    assert!(open(&plan, "m").is_ok());
    assert!(open(&plan, "other").unwrap_err().to_string().contains("`model` was \"m\", is now \"other\""));
    let more = Plan::new(&family, questions(2), &all(&family), PlanConfig::default()).unwrap();
    assert!(open(&more, "m").unwrap_err().to_string().contains("`plan_hash`"));
}

#[test]
fn two_writers_are_refused() {
    let family = family();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j.jsonl");
    let plan = Plan::new(&family, questions(1), &all(&family), PlanConfig::default()).unwrap();
    let m = manifest("m", "test", &family, &plan, &Render::base(), &()).unwrap();
    let first = Scheduler::open(&plan, &family, Render::base(), None, Some((&path, &m))).unwrap();
    let second = Scheduler::open(&plan, &family, Render::base(), None, Some((&path, &m)));
    assert!(second.unwrap_err().to_string().contains("another process"));
    drop(first);
}

#[test]
fn bad_lines_name_file_and_line() {
    let family = family();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j.jsonl");
    let plan = Plan::new(&family, questions(2), &all(&family), PlanConfig::default()).unwrap();
    execute(&plan, &family, &path, 1);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let open = |text: String| {
        std::fs::write(&path, text).unwrap();
        let m = manifest("m", "test", &family, &plan, &Render::base(), &()).unwrap();
        Scheduler::open(&plan, &family, Render::base(), None, Some((&path, &m)))
            .map(drop)
            .unwrap_err()
            .to_string()
    };
    let twice = format!("{}\n{}\n{}\n", lines[0], lines[1], lines[1]);
    assert!(open(twice).contains("line 3: request `q0/step/0` starts at sample 0, expected 4"));
    let foreign = lines[0].replace("q0", "q9");
    assert!(open(format!("{foreign}\n")).contains("line 1: request `q9/back/0` is not in the plan"));
    assert!(open(format!("{}\n{{\"half\n{}\n", lines[0], lines[1])).contains("line 2"));
}

#[test]
fn the_index_reads_one_question_at_a_time() {
    let family = family();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j.jsonl");
    let plan = Plan::new(&family, questions(3), &all(&family), PlanConfig::default()).unwrap();
    execute(&plan, &family, &path, 4);
    let index = Index::new(&path).unwrap();
    let found: Vec<String> = index.records("q1").unwrap().into_iter().map(|r| r.request).collect();
    assert_eq!(found, ["q1/back/0", "q1/step/0", "q1/draw/0"]);
    assert!(index.records("none").unwrap().is_empty());
}

#[test]
fn a_recording_replays_a_run() {
    let family = family();
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a.jsonl"), dir.path().join("b.jsonl"));
    let plan = Plan::new(&family, questions(3), &all(&family), PlanConfig::default()).unwrap();
    execute(&plan, &family, &a, 4);
    let m = manifest("m", "recorded", &family, &plan, &Render::base(), &()).unwrap();
    let mut s = Scheduler::open(&plan, &family, Render::base(), None, Some((&b, &m))).unwrap();
    run(&mut s, &mut Recorded::load(&a).unwrap(), 100, |_| true).unwrap();
    drop(s);
    assert_eq!(records(&a), records(&b));
    let mut empty = Recorded::default();
    let mut s = Scheduler::open(&plan, &family, Render::base(), None, None).unwrap();
    let e = run(&mut s, &mut empty, 1, |_| true).unwrap_err().to_string();
    assert!(e.contains("has no answer to `q0/back/0`"), "{e}");
}

#[test]
fn batch_files_go_out_and_come_back() {
    use polya_prompts::batch::{read_batch, write_batch};
    let family = family();
    let dir = tempfile::tempdir().unwrap();
    let (journal, out, back) =
        (dir.path().join("j.jsonl"), dir.path().join("out.jsonl"), dir.path().join("back.jsonl"));
    let plan =
        Plan::new(&family, questions(2), &all(&family), PlanConfig { samples: 1, ..Default::default() })
            .unwrap();
    let m = manifest("m", "batch", &family, &plan, &Render::chat(), &()).unwrap();
    let open = || Scheduler::open(&plan, &family, Render::chat(), None, Some((&journal, &m))).unwrap();
    assert_eq!(write_batch(&mut open(), "m", &Default::default(), &out).unwrap(), 6);
    let text = std::fs::read_to_string(&out).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines[0]["custom_id"], "q0/back/0");
    assert_eq!(lines[0]["url"], "/v1/chat/completions");
    assert_eq!(lines[0]["body"]["model"], "m");
    // Results in reverse order; one failed, one missing, one foreign.
    let result = |id: &str, status: u16| {
        serde_json::json!({"id": "x", "custom_id": id, "error": null, "response": {"status_code": status, "body": {
            "choices": [{"index": 0, "message": {"content": "gives 0"}, "finish_reason": "stop"}]}}})
        .to_string()
    };
    let ids: Vec<&str> = lines.iter().map(|l| l["custom_id"].as_str().unwrap()).collect();
    let mut results = vec![result("other", 200), result(ids[4], 500)];
    results.extend(ids[..4].iter().rev().map(|id| result(id, 200)));
    std::fs::write(&back, results.join("\n")).unwrap();
    let mut s = open();
    let report = read_batch(&mut s, &back).unwrap();
    assert_eq!((report.completed, report.failed, report.unknown, report.missing), (4, 1, 1, 1));
    drop(s);
    // The next round holds what is still open.
    assert_eq!(write_batch(&mut open(), "m", &Default::default(), &out).unwrap(), 2);
    std::fs::write(&back, "{\"custom_id\": 3}\n").unwrap();
    assert!(read_batch(&mut open(), &back).unwrap_err().to_string().contains("back.jsonl line 1"));
    let short = result(ids[4], 200)
        .replace("\"choices\":[{", "\"choices\":[{\"index\":1,\"message\":{\"content\":\"\"}},{");
    std::fs::write(&back, short).unwrap();
    assert!(read_batch(&mut open(), &back).unwrap_err().to_string().contains("2 candidates"));
}

#[test]
fn star_rationalises_only_what_it_did_not_solve() {
    let family = family();
    let plan = Plan::new(&family, questions(3), &[None], PlanConfig::default()).unwrap();
    let second = plan.rationalise(&family, &BTreeSet::from(["q1".to_owned()])).unwrap();
    let mut s = Scheduler::open(&second, &family, Render::base(), None, None).unwrap();
    let mut seen = Vec::new();
    while let Some(r) = s.next_request().unwrap() {
        assert!(r.prompted.prompt.text().contains("The answer is"));
        seen.push(r.prompted.id);
    }
    assert_eq!(seen, ["q0/-/hint/0", "q2/-/hint/0"]);
}

fn graded_strategy() -> impl Strategy<Value = Vec<Graded>> {
    let one = (
        0..4_u8,
        0..4_u8,
        0..3_usize,
        0..3_u8,
        0..3_u8,
        proptest::option::of(-1.0..1.0_f64),
        any::<bool>(),
        "[abc ]{0,12}",
    );
    proptest::collection::vec(one, 0..60).prop_map(|items| {
        let mut seen = BTreeSet::new();
        items
            .into_iter()
            .filter(|(q, a, s, ..)| seen.insert((*q, *a, *s)))
            .map(|(q, a, sample, outcome, finish, adherence, leaks, text)| Graded {
                question: format!("q{q}"),
                approach: (a > 0).then(|| format!("a{a}")),
                sample,
                candidate: Candidate {
                    finish: [Finish::Stop, Finish::Length, Finish::Other("abort".into())][finish as usize]
                        .clone(),
                    ..Candidate::finished(text)
                },
                outcome: [Outcome::Correct, Outcome::Incorrect, Outcome::Unparsed][outcome as usize],
                adherence,
                leaks,
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn selection_keeps_only_what_it_may(
        graded in graded_strategy(),
        wrong in any::<bool>(),
        per_cell in 1..3_usize,
        per_question in proptest::option::of(1..4_usize),
        near in any::<bool>(),
        rotate in 0..60_usize,
    ) {
        let config = SelectionConfig {
            keep: if wrong { Keep::Wrong } else { Keep::Correct },
            per_cell, per_question,
            near_duplicates: near.then(NearDuplicates::default),
            ..Default::default()
        };
        let s = select(&graded, &config).unwrap();
        let mut cells: BTreeMap<(&str, &Option<String>), usize> = BTreeMap::new();
        let mut of_question: BTreeMap<&str, usize> = BTreeMap::new();
        let wanted = if wrong { Outcome::Incorrect } else { Outcome::Correct };
        for &i in &s.kept {
            let g = &graded[i];
            prop_assert_eq!(g.outcome, wanted);
            prop_assert_eq!(&g.candidate.finish, &Finish::Stop);
            prop_assert!(!g.leaks && !g.candidate.text.trim().is_empty());
            *cells.entry((&g.question, &g.approach)).or_default() += 1;
            *of_question.entry(&g.question).or_default() += 1;
        }
        prop_assert!(cells.values().all(|&n| n <= per_cell));
        prop_assert!(of_question.values().all(|&n| n <= per_question.unwrap_or(usize::MAX)));
        prop_assert_eq!(s.total.kept, s.kept.len());
        prop_assert_eq!(s.total.candidates, graded.len());
        // The order of the input does not matter.
        let mut turned = graded.clone();
        if !turned.is_empty() {
            let by = rotate % turned.len();
            turned.rotate_left(by);
        }
        let t = select(&turned, &config).unwrap();
        let texts = |g: &[Graded], k: &[usize]| k.iter().map(|&i| (g[i].question.clone(), g[i].approach.clone(), g[i].sample)).collect::<Vec<_>>();
        prop_assert_eq!(texts(&graded, &s.kept), texts(&turned, &t.kept));
        // In a question without caps and duplicates, the best of a cell is never passed over.
        if !near && per_question.is_none() {
            for &i in &s.kept {
                let g = &graded[i];
                let better = graded.iter().enumerate().filter(|(j, o)| {
                    o.question == g.question && o.approach == g.approach && o.outcome == wanted && !o.leaks
                        && o.candidate.finish == Finish::Stop && !o.candidate.text.trim().is_empty()
                        && o.adherence > g.adherence && !s.kept.contains(j)
                }).count();
                prop_assert_eq!(better, 0);
            }
        }
    }

    #[test]
    fn a_plan_covers_each_cell_once_and_shards_add_up(
        n in 1..40_usize, count in 1..6_u32, seed in any::<u64>(), shape in 0..3_u8,
    ) {
        let family = family();
        let shape = match shape { 0 => Shape::Full, 1 => Shape::Depth(n.div_ceil(2)), _ => Shape::Breadth(n) };
        let make = |shard| {
            Plan::new(&family, questions(n), &all(&family), PlanConfig { shape, seed, shard, ..Default::default() }).unwrap()
        };
        let whole: Vec<_> = make(None).cells().to_vec();
        let expected = match shape { Shape::Full => n * 3, Shape::Depth(k) => k * 3, Shape::Breadth(k) => k };
        prop_assert_eq!(whole.len(), expected);
        prop_assert_eq!(whole.iter().collect::<BTreeSet<_>>().len(), whole.len());
        let mut union = Vec::new();
        for index in 0..count {
            let shard = make(Some(Shard { index, count }));
            prop_assert_eq!(shard.fingerprint(), make(None).fingerprint());
            union.extend_from_slice(shard.cells());
        }
        union.sort();
        prop_assert_eq!(union, whole);
    }
}

#[test]
fn shards_merge_to_the_whole_run() {
    let family = family();
    let dir = tempfile::tempdir().unwrap();
    let make = |shard| {
        let config = PlanConfig { shard, stop_after_correct: Some(1), round: 1, ..Default::default() };
        Plan::new(&family, questions(9), &all(&family), config).unwrap()
    };
    let whole = dir.path().join("whole.jsonl");
    execute(&make(None), &family, &whole, 7);
    let mut parts = Vec::new();
    for index in 0..3 {
        let path = dir.path().join(format!("{index}.jsonl"));
        execute(&make(Some(Shard { index, count: 3 })), &family, &path, 2);
        parts.push(path);
    }
    let merged = dir.path().join("merged.jsonl");
    let n = merge_journals(&parts, &merged).unwrap();
    assert_eq!(records(&merged), records(&whole));
    assert_eq!(n, records(&whole).len());
    // The merged journal is a finished run of the whole plan.
    let cost = execute(&make(None), &family, &merged, 1);
    assert_eq!(cost.requests, cost.resumed_requests);
    parts.push(parts[0].clone());
    assert!(merge_journals(&parts, &merged).unwrap_err().to_string().contains("is given twice"));
}

#[test]
fn from_questions_to_selected_solutions() {
    let family = family();
    let plan = Plan::new(&family, questions(5), &all(&family), PlanConfig::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j.jsonl");
    execute(&plan, &family, &path, 4);
    let attempts: Vec<Attempt> = records(&path).into_values().flat_map(Record::into_attempts).collect();
    assert_eq!(attempts.len(), 60);
    let graded =
        grade(&family, plan.questions(), attempts, &check, &mut SignJudge::new(&family), Keep::Correct)
            .unwrap();
    let selected = select(&graded, &SelectionConfig { near_duplicates: None, ..Default::default() }).unwrap();
    assert!(selected.total.kept > 5 && selected.total.kept <= 15, "{:?}", selected.total);
    for &i in &selected.kept {
        let q = plan.questions().iter().find(|q| q.id == graded[i].question).unwrap();
        assert_eq!(check.check(q, &graded[i].candidate.text), Outcome::Correct);
    }
}
