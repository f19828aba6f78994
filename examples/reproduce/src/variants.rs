//! Self-generation: the base model writes candidates under every approach's prompt; verification, adherence and
//! selection make the SFT data sets of all arms from one pool.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use models::CausalLm;
use polya_prompts::{
    Attempt, Candidate, Finish, Graded, Judged, Keep, Outcome, Question as Asked, Selected, SelectionConfig,
    grade, judge_fn, select,
};
use serde::{Deserialize, Serialize};
use training::stream;
use verifier::{Check, Verdict};

use crate::arms::Start;
use crate::recipe::Recipe;
use crate::rollout::{Ask, Response, Text, sample};
use crate::sets::{Question, training_question};
use crate::world::{Approach, WorldCheck, check};

/// One training instance: a question and a solution, without the approach's name in the prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// The seed question's id.
    pub question_id: String,
    /// The question.
    pub question: String,
    /// Under which approach it was written; `None` for STaR.
    pub approach: Option<String>,
    /// The solution.
    pub response: String,
}

/// Everything self-generation made, for all starts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DataSets {
    /// The instances each start is trained on.
    pub instances: BTreeMap<String, Vec<Instance>>,
    /// Words generated under the approaches' prompts.
    pub generated_tokens: u64,
    /// Of each approach: candidates, finished and correct ones, cells, solved cells, kept, and their mean adherence.
    pub yields: BTreeMap<String, serde_json::Value>,
    /// Of all starts: how alike the solutions are.
    pub vendi: BTreeMap<String, f64>,
}

/// The seed questions of a run.
pub fn seed_questions(recipe: &Recipe, seed: u64) -> Vec<Question> {
    let one = |i: usize| {
        let mut rng = stream(seed, "seed-question", 0, i as u64, 0);
        training_question(format!("seed-{i:04}"), &recipe.generation.parts, &mut rng)
    };
    (0..recipe.generation.questions).map(one).collect()
}

/// Samples the pool and selects every data set.
pub fn generate(model: &CausalLm, text: &Text, recipe: &Recipe, seed: u64) -> Result<DataSets> {
    let questions = seed_questions(recipe, seed);
    let by_id: BTreeMap<&str, &Question> = questions.iter().map(|q| (q.id.as_str(), q)).collect();
    let asked: Vec<Asked> =
        questions.iter().map(|q| Asked::new(&q.id, &q.text, q.problem.answer().to_string())).collect();
    let verdict = |question: &Asked, response: &str| match WorldCheck
        .check(&by_id[question.id.as_str()].problem, response)
        .verdict
    {
        Verdict::Correct => Outcome::Correct,
        Verdict::Incorrect => Outcome::Incorrect,
        _ => Outcome::Unparsed,
    };
    let mut judge = judge_fn(|judged: &Judged| {
        let approach = judged.approach.and_then(|a| Approach::from_marker(&a.id))?;
        Some(check::adherence(&by_id[judged.question.id.as_str()].problem, &judged.candidate.text, approach))
    });

    let attempts = attempts(model, text, &questions, recipe.generation.samples, true, seed)?;
    let generated_tokens = attempts.iter().map(|a| a.candidate.tokens.unwrap_or(0) as u64).sum();
    let right = grade(&text.family, &asked, attempts.clone(), &verdict, &mut judge, Keep::Correct)?;
    let wrong = grade(&text.family, &asked, attempts, &verdict, &mut judge, Keep::Wrong)?;
    let config = SelectionConfig { near_duplicates: None, ..SelectionConfig::default() };
    let mid = select(&right, &config)?;
    let wrong_kept = select(&wrong, &SelectionConfig { keep: Keep::Wrong, ..config.clone() })?;

    let all = instances(&right, &mid, &asked);
    let first = |n: usize| {
        let subset: Vec<&str> = text.family.approaches().iter().take(n).map(|a| a.id.as_str()).collect();
        all.iter().filter(|i| i.approach.as_deref().is_some_and(|a| subset.contains(&a))).cloned().collect()
    };
    let (depth, breadth) = depth_and_breadth(&all);
    let star = star(model, text, &questions, &all, recipe, seed)?;
    let sets: [(Start, Vec<Instance>); 7] = [
        (Start::Star, star),
        (Start::Wrong, instances(&wrong, &wrong_kept, &asked)),
        (Start::Depth, depth),
        (Start::Breadth, breadth),
        (Start::N1, first(1)),
        (Start::N2, first(2)),
        (Start::Mid, all),
    ];
    let vendi = sets.iter().map(|(start, set)| (start.key().to_string(), vendi(set))).collect();
    let yields = mid
        .by_approach
        .iter()
        .map(|(k, y)| Ok((k.clone(), serde_json::to_value(y)?)))
        .collect::<Result<_>>()?;
    let instances = sets.into_iter().map(|(start, set)| (start.key().to_string(), set)).collect();
    Ok(DataSets { instances, generated_tokens, yields, vendi })
}

/// Samples every question, under every approach's prompt or as often under none.
fn attempts(
    model: &CausalLm,
    text: &Text,
    questions: &[Question],
    samples: usize,
    prompted: bool,
    seed: u64,
) -> Result<Vec<Attempt>> {
    let approaches: Vec<Option<Approach>> =
        if prompted { Approach::ALL.into_iter().map(Some).collect() } else { vec![None] };
    let samples = if prompted { samples } else { samples * Approach::ALL.len() };
    let mut asks = Vec::new();
    for question in questions {
        for approach in &approaches {
            asks.push(Ask { id: asks.len() as u64, question, approach: *approach, samples });
        }
    }
    let sampled = sample(model, text, &asks, 1.0, seed)?;
    let mut attempts = Vec::new();
    for (ask, responses) in asks.iter().zip(sampled) {
        for (i, response) in responses.into_iter().enumerate() {
            let approach = ask.approach.map(|a| a.marker().to_string());
            attempts.push(Attempt {
                question: ask.question.id.clone(),
                approach,
                sample: i,
                candidate: candidate(response),
            });
        }
    }
    Ok(attempts)
}

fn candidate(response: Response) -> Candidate {
    Candidate {
        tokens: Some(response.sample.tokens.len()),
        finish: if response.finished { Finish::Stop } else { Finish::Length },
        ..Candidate::finished(response.text)
    }
}

fn instances(graded: &[Graded], selected: &Selected, asked: &[Asked]) -> Vec<Instance> {
    let texts: BTreeMap<&str, &str> = asked.iter().map(|q| (q.id.as_str(), q.question.as_str())).collect();
    let one = |i: &usize| {
        let g = &graded[*i];
        Instance {
            question_id: g.question.clone(),
            question: texts[g.question.as_str()].to_string(),
            approach: g.approach.clone(),
            response: g.candidate.text.clone(),
        }
    };
    selected.kept.iter().map(one).collect()
}

/// STaR: the same number of unprompted candidates, and for each question as many correct ones as the mid-training set
/// has: different texts first, then the same again.
fn star(
    model: &CausalLm,
    text: &Text,
    questions: &[Question],
    mid: &[Instance],
    recipe: &Recipe,
    seed: u64,
) -> Result<Vec<Instance>> {
    let mut wanted: BTreeMap<&str, usize> = BTreeMap::new();
    for instance in mid {
        *wanted.entry(&instance.question_id).or_default() += 1;
    }
    let mut correct: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let attempts = attempts(model, text, questions, recipe.generation.samples, false, seed)?;
    let by_id: BTreeMap<&str, &Question> = questions.iter().map(|q| (q.id.as_str(), q)).collect();
    for attempt in attempts {
        let right = WorldCheck.check(&by_id[attempt.question.as_str()].problem, &attempt.candidate.text);
        if attempt.candidate.finish.is_finished() && right.verdict == Verdict::Correct {
            correct.entry(attempt.question).or_default().push(attempt.candidate.text);
        }
    }
    let mut kept = Vec::new();
    for (id, texts) in &correct {
        let mut seen = BTreeSet::new();
        let (new, repeated): (Vec<&String>, Vec<&String>) = texts.iter().partition(|t| seen.insert(*t));
        let count = wanted.get(id.as_str()).copied().unwrap_or(0);
        for response in new.into_iter().chain(repeated).cycle().take(count) {
            let question = by_id[id.as_str()].text.clone();
            kept.push(Instance {
                question_id: id.clone(),
                question,
                approach: None,
                response: response.clone(),
            });
        }
    }
    Ok(kept)
}

/// Equal numbers of instances: one solution of every question, against every solution of few questions.
fn depth_and_breadth(all: &[Instance]) -> (Vec<Instance>, Vec<Instance>) {
    let mut by_question: BTreeMap<&str, Vec<&Instance>> = BTreeMap::new();
    for instance in all {
        by_question.entry(&instance.question_id).or_default().push(instance);
    }
    // The question's index picks which of its solutions breadth keeps, so that all approaches occur.
    let breadth: Vec<Instance> =
        by_question.values().enumerate().map(|(i, group)| group[i % group.len()].clone()).collect();
    let depth = by_question.values().flatten().take(breadth.len()).map(|i| (*i).clone()).collect();
    (depth, breadth)
}

/// Vendi score over word bigrams of the solutions, of at most 400 instances spread over the set.
fn vendi(set: &[Instance]) -> f64 {
    let stride = set.len().div_ceil(400).max(1);
    let words: Vec<Vec<&str>> =
        set.iter().step_by(stride).map(|i| i.response.split_whitespace().collect()).collect();
    if words.is_empty() { 0.0 } else { evaluation::vendi_score(&words, 2) }
}
