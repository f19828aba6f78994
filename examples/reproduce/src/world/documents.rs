//! The documents the base model is pre-trained on.

use rand::Rng;
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};

use super::approach::{Approach, working};
use super::layout::{self, Layout};
use super::problem::{Kind, Problem};
use super::vocabulary::{SOLUTION, WORKED};

/// What the pre-training documents look like. Every document uses one approach from beginning to end.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentConfig {
    /// Share of documents that name their approach (`use back :`); the others all use `step`.
    pub prompted: f64,
    /// Share of documents that are worked examples: after the heading `worked` instead of `solution`, by any approach, not
    /// named, and of one part. They teach to follow the approach that was begun, whoever chose it.
    pub worked: f64,
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
            prompted: 0.65,
            worked: 0.15,
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
pub fn prompt(approach: Option<Approach>, question: &[String], heading: &str) -> Vec<String> {
    let named = approach.map(|a| ["use", a.marker(), ":"]).into_iter().flatten().map(str::to_string);
    named.chain(question.iter().cloned()).chain([heading.to_string()]).collect()
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

/// Draws one document.
pub fn draw(config: &DocumentConfig, rng: &mut impl Rng) -> Document {
    loop {
        let plain = 1.0 - config.prompted - config.worked;
        let case = weighted(&[config.prompted, config.worked, plain.max(0.0)], rng);
        let (named, worked) = (case == 0, case == 1);
        let approach =
            if named || worked { Approach::ALL[weighted(&config.approaches, rng)] } else { Approach::Step };
        let parts = if worked { 1 } else { 1 + weighted(&config.parts, rng) };
        let kinds: Vec<Kind> = (0..parts)
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
            let heading = if worked { WORKED } else { SOLUTION };
            return Document { prompt: prompt(named.then_some(approach), &question, heading), solution };
        }
    }
}
