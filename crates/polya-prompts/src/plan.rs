//! A plan: which questions are asked with which approaches, and how often.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::family::Family;
use crate::question::{Question, check_questions};
use crate::text::stable_hash;

/// Which (question, approach) cells a plan has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Every question with every approach.
    #[default]
    Full,
    /// This many questions, each with every approach: the depth control.
    Depth(usize),
    /// This many questions, each with one approach of the list: the breadth control.
    Breadth(usize),
}

/// One machine's share of the questions: those whose hash leaves `index` modulo `count`. All approaches of a question
/// stay together, so that each machine can select on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// From 0.
    pub index: u32,
    /// How many shards there are.
    pub count: u32,
}

impl Shard {
    /// Whether the question belongs to this shard.
    pub fn holds(&self, question: &str) -> bool {
        stable_hash(&["shard", question]) % u64::from(self.count) == u64::from(self.index)
    }
}

impl std::str::FromStr for Shard {
    type Err = Error;
    /// Reads `i/n`, with `i` from 0 to `n - 1`.
    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match parsed {
            Some((index, count)) if index < count => Ok(Self { index, count }),
            _ => Err(Error::Config {
                key: "shard",
                message: format!("expected i/n with i from 0 to n - 1, found `{text}`"),
            }),
        }
    }
}

/// How to plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlanConfig {
    /// Most samples of a cell.
    pub samples: usize,
    /// Samples asked for in one request; 0 means all at once.
    pub round: usize,
    /// A cell is finished once it has this many finished, correct candidates; `None` always takes all samples.
    pub stop_after_correct: Option<usize>,
    /// Which cells.
    pub shape: Shape,
    /// One machine's share.
    pub shard: Option<Shard>,
    /// Seed of every choice and of the requests.
    pub seed: u64,
}

impl Default for PlanConfig {
    /// Four samples of each cell, all at once.
    fn default() -> Self {
        Self { samples: 4, round: 0, stop_after_correct: None, shape: Shape::Full, shard: None, seed: 0 }
    }
}

/// A question and an approach, as indices into the plan's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// Index of the question.
    pub question: usize,
    /// Index of the approach.
    pub approach: usize,
}

/// The cells of a run, each exactly once.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(crate) config: PlanConfig,
    pub(crate) questions: Vec<Question>,
    /// `None` stands for prompts without an approach.
    pub(crate) approaches: Vec<Option<String>>,
    pub(crate) cells: Vec<Cell>,
    /// Whether prompts give the answer as a hint (STaR's rationalisation).
    pub(crate) hint: bool,
}

impl Plan {
    /// Plans questions with approaches. An id of `None` asks without an approach, as STaR and distillation do.
    ///
    /// # Errors
    /// [`Error::Question`] for a double id or a missing answer, [`Error::UnknownApproach`], [`Error::Config`] for
    /// impossible settings or a double approach.
    pub fn new(
        family: &Family,
        questions: Vec<Question>,
        approaches: &[Option<&str>],
        config: PlanConfig,
    ) -> Result<Self> {
        check_questions(&questions)?;
        let bad = |key, message: String| Err(Error::Config { key, message });
        if approaches.is_empty() {
            return bad("approaches", "the list is empty".into());
        }
        let mut seen = BTreeSet::new();
        for a in approaches {
            if let Some(id) = a {
                family.get(id)?;
            }
            if !seen.insert(*a) {
                return bad("approaches", format!("`{}` is given twice", a.unwrap_or("(none)")));
            }
        }
        if config.samples == 0 {
            return bad("samples", "must be at least 1, found 0".into());
        }
        if config.stop_after_correct == Some(0) {
            return bad("stop_after_correct", "must be at least 1, found 0".into());
        }
        if config.shard.is_some_and(|s| s.index >= s.count) {
            return bad("shard", "the index must be below the count".into());
        }
        let mut order: Vec<usize> = (0..questions.len()).collect();
        if let Shape::Depth(n) | Shape::Breadth(n) = config.shape {
            if n == 0 || n > questions.len() {
                return bad("shape", format!("wants {n} questions, {} are given", questions.len()));
            }
            // A seeded order that does not depend on how the file is sorted.
            let seed = config.seed.to_string();
            order.sort_by_key(|&i| (stable_hash(&["choice", &seed, &questions[i].id]), i));
            order.truncate(n);
            order.sort_unstable();
        }
        if let Some(shard) = config.shard {
            order.retain(|&i| shard.holds(&questions[i].id));
        }
        let cells = order
            .into_iter()
            .flat_map(|question| {
                let range = match config.shape {
                    Shape::Breadth(_) => {
                        let seed = config.seed.to_string();
                        let hash = stable_hash(&["approach", &seed, &questions[question].id]);
                        let one = (hash % approaches.len() as u64) as usize;
                        one..one + 1
                    }
                    _ => 0..approaches.len(),
                };
                range.map(move |approach| Cell { question, approach })
            })
            .collect();
        let approaches = approaches.iter().map(|a| a.map(str::to_owned)).collect();
        Ok(Self { config, questions, approaches, cells, hint: false })
    }

    /// STaR's second pass: the same settings, without approach, with the answer as a hint, for the questions that the
    /// first pass did not solve (Zelikman et al. 2022, section 3.2).
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn rationalise(&self, family: &Family, solved: &BTreeSet<String>) -> Result<Self> {
        let rest: Vec<Question> = self
            .cells
            .iter()
            .map(|c| c.question)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .map(|i| &self.questions[i])
            .filter(|q| !solved.contains(&q.id))
            .cloned()
            .collect();
        let config = PlanConfig { shape: Shape::Full, shard: None, ..self.config.clone() };
        Ok(Self { hint: true, ..Self::new(family, rest, &[None], config)? })
    }

    /// The cells, by question and then by approach.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// The questions, in the order given; not all need have cells.
    pub fn questions(&self) -> &[Question] {
        &self.questions
    }

    /// The approaches.
    pub fn approaches(&self) -> &[Option<String>] {
        &self.approaches
    }

    /// The settings.
    pub fn config(&self) -> &PlanConfig {
        &self.config
    }

    /// Whether prompts give the answer as a hint.
    pub fn is_hinted(&self) -> bool {
        self.hint
    }

    /// A hash of what is planned, without the shard: equal for all shards of one plan.
    pub fn fingerprint(&self) -> String {
        let config = PlanConfig { shard: None, ..self.config.clone() };
        let mut parts = vec![serde_json::to_string(&config).unwrap_or_default(), self.hint.to_string()];
        parts.extend(self.approaches.iter().map(|a| a.clone().unwrap_or_default()));
        for q in &self.questions {
            parts.extend([q.id.clone(), q.question.clone(), q.answer.clone()]);
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        format!("{:016x}", stable_hash(&parts))
    }

    pub(crate) fn request_id(&self, cell: Cell, first_sample: usize) -> String {
        let approach = self.approaches[cell.approach].as_deref().unwrap_or("-");
        let hint = if self.hint { "/hint" } else { "" };
        format!("{}/{approach}{hint}/{first_sample}", self.questions[cell.question].id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn questions(n: usize) -> Vec<Question> {
        (0..n).map(|i| Question::new(format!("q{i}"), format!("{i} + 1?"), format!("{}", i + 1))).collect()
    }

    #[test]
    fn shapes() {
        let f = Family::maths();
        let ids: Vec<Option<&str>> = f.ids().into_iter().take(4).map(Some).collect();
        let plan =
            |shape| Plan::new(&f, questions(20), &ids, PlanConfig { shape, ..Default::default() }).unwrap();
        assert_eq!(plan(Shape::Full).cells().len(), 80);
        let depth = plan(Shape::Depth(5));
        let breadth = plan(Shape::Breadth(20));
        assert_eq!((depth.cells().len(), breadth.cells().len()), (20, 20), "equal instances");
        let used: BTreeSet<usize> = breadth.cells().iter().map(|c| c.approach).collect();
        assert_eq!(used.len(), 4, "breadth spreads over the approaches");
    }

    #[test]
    fn bad_plans_are_named() {
        let f = Family::maths();
        let e = |q, a: &[Option<&str>], c| Plan::new(&f, q, a, c).unwrap_err().to_string();
        let d = PlanConfig::default;
        assert!(e(questions(1), &[Some("symetry")], d()).contains("did you mean `symmetry`"));
        assert!(e(questions(1), &[], d()).contains("empty"));
        assert!(e(questions(1), &[None, None], d()).contains("twice"));
        assert!(e(questions(1), &[None], PlanConfig { samples: 0, ..d() }).contains("samples"));
        let mut twice = questions(2);
        twice[1].id = "q0".into();
        assert!(e(twice, &[None], d()).contains("question `q0`: the id is given twice"));
        let mut blank = questions(1);
        blank[0].answer = " ".into();
        assert!(e(blank, &[None], d()).contains("no answer"));
        assert!("3/3".parse::<Shard>().is_err() && "0/3".parse::<Shard>().is_ok());
    }
}
