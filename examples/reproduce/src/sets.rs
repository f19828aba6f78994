//! The question sets: what RL trains on, and what is measured.

use rand::Rng;
use rand::seq::IndexedRandom;
use serde::Serialize;
use training::stream;

use crate::world::{Approach, Kind, Layout, Problem, layout};

/// A question with everything the loops need of it.
#[derive(Clone, Debug, Serialize)]
pub struct Question {
    /// Unique within its set.
    pub id: String,
    /// The words a model sees, joined by blanks.
    pub text: String,
    /// The problem behind it.
    pub problem: Problem,
}

/// A set of held-out questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvalSet {
    /// The key in `results.json`.
    pub key: &'static str,
    /// What people read.
    pub label: &'static str,
    layout: Layout,
    parts: usize,
    kinds: Kinds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kinds {
    /// Each part's kind is drawn on its own, as in RL.
    Free,
    /// Not all parts are of one kind: at least two approaches are needed.
    Mixed,
    /// All parts are of one kind: one approach suffices.
    Same,
}

/// All sets that are measured.
pub const SETS: [EvalSet; 6] = [
    set("in_distribution", "as in RL training", Layout::Plain, 2, Kinds::Free),
    set("hard", "hard: the parts need different approaches", Layout::Plain, 2, Kinds::Mixed),
    set("longer", "longer: three parts, different approaches", Layout::Plain, 3, Kinds::Mixed),
    set("code", "written as code", Layout::Code, 2, Kinds::Mixed),
    set("story", "written as a story", Layout::Story, 2, Kinds::Mixed),
    set("one_approach", "one approach suffices", Layout::Plain, 2, Kinds::Same),
];

const fn set(key: &'static str, label: &'static str, layout: Layout, parts: usize, kinds: Kinds) -> EvalSet {
    EvalSet { key, label, layout, parts, kinds }
}

impl EvalSet {
    /// The questions of this set for a seed.
    pub fn questions(&self, seed: u64, count: usize) -> Vec<Question> {
        let one = |i: usize| {
            let mut rng = stream(seed, self.key, 0, i as u64, 0);
            let kinds = self.kinds(&mut rng);
            question(format!("{}-{i}", self.key), &kinds, self.layout, &mut rng)
        };
        (0..count).map(one).collect()
    }

    fn kinds(&self, rng: &mut impl Rng) -> Vec<Kind> {
        loop {
            let kinds: Vec<Kind> =
                (0..self.parts).map(|_| *Kind::ALL.choose(rng).expect("four kinds")).collect();
            let same = kinds.iter().all(|k| *k == kinds[0]);
            match self.kinds {
                Kinds::Free => return kinds,
                Kinds::Mixed if !same => return kinds,
                Kinds::Same if same => return kinds,
                _ => {}
            }
        }
    }
}

/// A plain question with parts of free kinds; `weights` are those of one, two, ... parts.
pub fn training_question(id: String, weights: &[f64], rng: &mut impl Rng) -> Question {
    let parts = 1 + crate::world::documents::weighted(weights, rng);
    let kinds: Vec<Kind> = (0..parts).map(|_| *Kind::ALL.choose(rng).expect("four kinds")).collect();
    question(id, &kinds, Layout::Plain, rng)
}

fn question(id: String, kinds: &[Kind], layout: Layout, rng: &mut impl Rng) -> Question {
    let problem = Problem::draw(kinds, rng);
    let text = layout::question(&problem, layout, rng).join(" ");
    Question { id, text, problem }
}

/// A plain one-part question of the kind this approach solves without guessing.
pub fn own_kind_question(approach: Approach, rng: &mut impl Rng) -> Question {
    question(format!("own-{}", approach.marker()), &[approach.own_kind()], Layout::Plain, rng)
}
