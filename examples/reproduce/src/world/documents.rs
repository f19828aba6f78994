//! The documents the base model is pre-trained on.

use rand::Rng;
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};

use super::approach::{Approach, working};
use super::layout::{self, Layout};
use super::problem::{Kind, MAX_VALUE, Problem};
use super::vocabulary::{DIFFERENCES, SOLUTION};

/// What the pre-training documents look like. Every document uses one approach from beginning to end.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentConfig {
    /// Share of documents that name their approach (`use back :`); the others all use `step`.
    pub prompted: f64,
    /// Share of documents that are a table of differences: `differences 11 16 -5 ; 30 27 +3 ; ...`.
    pub differences: f64,
    /// Relative weights of the approaches step, back, meet, equation among the documents that name theirs. The two
    /// whose tables of sums are their own get more.
    pub approaches: [f64; 4],
    /// Probability that a part is of the approach's own kind; otherwise its kind is drawn from all four.
    pub own_kind: f64,
    /// Relative weights of one, two, three, ... parts.
    pub parts: Vec<f64>,
    /// Relative weights of the layouts plain, code, story.
    pub layouts: [f64; 3],
}

impl Default for DocumentConfig {
    fn default() -> Self {
        DocumentConfig {
            prompted: 0.8,
            differences: 0.1,
            approaches: [0.1, 0.2, 0.4, 0.3],
            own_kind: 0.75,
            parts: vec![0.6, 0.3, 0.1],
            layouts: [0.6, 0.2, 0.2],
        }
    }
}

/// A pre-training document.
#[derive(Clone, Debug)]
pub struct Document {
    /// Words up to and including `solution`.
    pub prompt: Vec<String>,
    /// The solution, without the end-of-document word.
    pub solution: Vec<String>,
}

/// An index drawn with these relative weights.
pub fn weighted(weights: &[f64], rng: &mut impl Rng) -> usize {
    let mut left = rng.random::<f64>() * weights.iter().sum::<f64>();
    weights
        .iter()
        .position(|w| {
            left -= w;
            left < 0.0
        })
        .unwrap_or(weights.len() - 1)
}

/// The prompt words for a question: `use back : QUESTION solution`, or without the first three.
pub fn prompt(approach: Option<Approach>, question: &[String]) -> Vec<String> {
    let named = approach.map(|a| ["use", a.marker(), ":"]).into_iter().flatten().map(str::to_string);
    named.chain(question.iter().cloned()).chain([SOLUTION.to_string()]).collect()
}

/// The exact solution with one approach for all parts; `None` where an equation leaves the world's range.
pub fn solution(problem: &Problem, approach: Approach) -> Option<Vec<String>> {
    let mut words: Vec<String> = Vec::new();
    for part in &problem.parts {
        words.extend(working(approach, part)?);
    }
    words.extend(["answer".to_string(), problem.answer().to_string()]);
    Some(words)
}

/// A table of differences: number, number, and what leads from the second to the first. Only the last of each three can be
/// known, so only those are learned: the flags say which.
pub fn differences(rng: &mut impl Rng) -> (Vec<String>, Vec<bool>) {
    let (mut words, mut learn) = (vec![DIFFERENCES.to_string()], vec![false]);
    for _ in 0..8 {
        let from = rng.random_range(1..=MAX_VALUE);
        let to = rng.random_range((from - 9).max(1)..=(from + 9).min(MAX_VALUE));
        words.extend([to.to_string(), from.to_string(), format!("{:+}", to - from), ";".to_string()]);
        learn.extend([false, false, true, false]);
    }
    (words, learn)
}

/// Draws one document with a problem.
pub fn draw(config: &DocumentConfig, rng: &mut impl Rng) -> Document {
    loop {
        let named = rng.random_bool(config.prompted);
        let approach = if named { Approach::ALL[weighted(&config.approaches, rng)] } else { Approach::Step };
        let kinds: Vec<Kind> = (0..=weighted(&config.parts, rng))
            .map(|_| {
                if rng.random_bool(config.own_kind) {
                    approach.own_kind()
                } else {
                    *Kind::ALL.choose(rng).expect("four kinds")
                }
            })
            .collect();
        let problem = Problem::draw(&kinds, rng);
        let layout = [Layout::Plain, Layout::Code, Layout::Story][weighted(&config.layouts, rng)];
        let question = layout::question(&problem, layout, rng);
        if let Some(solution) = solution(&problem, approach) {
            return Document { prompt: prompt(named.then_some(approach), &question), solution };
        }
    }
}
