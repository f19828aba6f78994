//! What is printed and stored about a data set: yield, cost, diversity, composition.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::Result;
use evaluation::{Composition, Diversity, Solution};
use polya_prompts::{Cost, Graded, Selected, Variant, Yield};
use serde::Serialize;

/// Solutions whose words are kept for the diversity of the whole set: every one up to this number, then every second,
/// fourth, ... so that memory stays bounded.
const MEASURED: usize = 4096;

/// Everything about one data set.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Questions in the input.
    pub questions: usize,
    /// Questions with at least one solution.
    pub solved_questions: usize,
    /// Counts over everything.
    pub total: Yield,
    /// Counts of each approach; the empty name stands for prompts without one.
    pub by_approach: BTreeMap<String, Yield>,
    /// What each generation run cost.
    pub costs: Vec<Cost>,
    /// Responses the judge could not decide.
    pub unjudged: usize,
    /// Diversity of the set.
    pub diversity: Option<Diversity>,
    /// Mean Vendi score of the solutions of one question, over questions with two or more.
    pub vendi_within_questions: Option<f64>,
    /// Vendi score of the mean hidden states of `--embedding-model`, of at most 512 solutions.
    pub vendi_embeddings: Option<f64>,
    /// How solutions combine approaches, in order of appearance, by signs or as a model says.
    pub composition: Option<Composition>,
    /// Solutions left out of the composition, because the model's answer could not be read.
    pub unread: usize,
    /// Data for a Sankey figure of the first three approaches of each solution.
    pub sankey: Option<evaluation::SankeyData>,
    #[serde(skip)]
    seed: u64,
    #[serde(skip)]
    seen: usize,
    #[serde(skip)]
    stride: usize,
    #[serde(skip)]
    texts: Vec<String>,
    #[serde(skip)]
    words: Vec<Vec<String>>,
    #[serde(skip)]
    current: (String, Vec<Vec<String>>),
    #[serde(skip)]
    within: (f64, usize),
    #[serde(skip)]
    used: Vec<Solution>,
}

impl Report {
    /// An empty report.
    pub fn new(questions: usize, seed: u64) -> Self {
        Self {
            questions,
            solved_questions: 0,
            total: Yield::default(),
            by_approach: BTreeMap::new(),
            costs: Vec::new(),
            unjudged: 0,
            diversity: None,
            vendi_within_questions: None,
            vendi_embeddings: None,
            composition: None,
            unread: 0,
            sankey: None,
            seed,
            seen: 0,
            stride: 1,
            texts: Vec::new(),
            words: Vec::new(),
            current: Default::default(),
            within: (0.0, 0),
            used: Vec::new(),
        }
    }

    /// Adds the counts of some questions.
    pub fn add(&mut self, _graded: &[Graded], selected: &Selected) {
        self.total.merge(&selected.total);
        for (id, y) in &selected.by_approach {
            self.by_approach.entry(id.clone()).or_default().merge(y);
        }
    }

    /// Solutions seen so far.
    pub fn solutions(&self) -> usize {
        self.seen
    }

    /// Adds one solution and the approaches it uses, if that could be told; those of one question come together.
    pub fn solution(&mut self, variant: &Variant, approaches: Option<Vec<String>>) {
        let words = evaluation::words(&variant.response);
        if self.current.0 != variant.id {
            self.close_question();
            self.current.0 = variant.id.clone();
            self.solved_questions += 1;
        }
        self.current.1.push(words.clone());
        if self.seen.is_multiple_of(self.stride) {
            self.words.push(words);
            self.texts.push(variant.response.clone());
            if self.words.len() > MEASURED {
                self.stride *= 2;
                every_second(&mut self.words);
                every_second(&mut self.texts);
            }
        }
        self.seen += 1;
        match approaches {
            Some(approaches) => self.used.push(Solution::new(&variant.id, approaches)),
            None => self.unread += 1,
        }
    }

    /// Solutions spread over the set, at most 512.
    pub fn texts(&self) -> Vec<String> {
        let step = self.texts.len().div_ceil(512).max(1);
        self.texts.iter().step_by(step).cloned().collect()
    }

    fn close_question(&mut self) {
        let texts = std::mem::take(&mut self.current.1);
        if texts.len() >= 2 {
            self.within.0 += evaluation::vendi_score(&texts, 2);
            self.within.1 += 1;
        }
    }

    /// Computes diversity and composition from what was added.
    pub fn measure(&mut self) {
        self.close_question();
        if self.seen == 0 {
            return;
        }
        self.diversity = Some(Diversity::of(&self.words, self.seed));
        self.vendi_within_questions = (self.within.1 > 0).then(|| self.within.0 / self.within.1 as f64);
        let composition = Composition::of(&self.used);
        self.sankey = Some(composition.sankey(3));
        self.composition = Some(composition);
    }

    /// Stores the report.
    pub fn write(&self, path: &Path) -> Result<()> {
        polya_prompts::journal::write_whole(path, &serde_json::to_string_pretty(self)?)?;
        Ok(())
    }
}

fn every_second<T>(list: &mut Vec<T>) {
    let mut i = 0;
    list.retain(|_| {
        i += 1;
        i % 2 == 1
    });
}

/// The largest entries of the co-occurrence matrix at some places, largest first, by name.
fn most(c: &Composition, place: impl Fn(usize, usize) -> bool, count: usize) -> Vec<(String, usize)> {
    let name = |i: usize| c.approaches[i].as_str();
    let mut found = Vec::new();
    for (i, row) in c.co_occurrence.iter().enumerate() {
        for (j, &n) in row.iter().enumerate().filter(|&(j, &n)| n > 0 && place(i, j)) {
            found.push((if i == j { name(i).to_owned() } else { format!("{} + {}", name(i), name(j)) }, n));
        }
    }
    found.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    found.truncate(count);
    found
}

fn number(value: Option<f64>) -> String {
    value.map_or("-".into(), |v| format!("{v:.3}"))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<24}{:>11}{:>10}{:>9}{:>9}{:>8}{:>7}{:>7}{:>7}{:>11}{:>9}",
            "approach",
            "candidates",
            "finished",
            "correct",
            "cells",
            "solved",
            "dupl.",
            "leaks",
            "kept",
            "adherence",
            "chars"
        )?;
        let mut row = |name: &str, y: &Yield| {
            writeln!(
                f,
                "{name:<24}{:>11}{:>10}{:>9}{:>9}{:>8}{:>7}{:>7}{:>7}{:>11}{:>9}",
                y.candidates,
                y.finished,
                y.correct,
                y.cells,
                y.solved_cells,
                y.duplicates,
                y.leaks,
                y.kept,
                number(y.kept_adherence),
                y.kept_characters.map_or("-".into(), |c| format!("{c:.0}")),
            )
        };
        for (id, y) in &self.by_approach {
            row(if id.is_empty() { "(none)" } else { id }, y)?;
        }
        row("all", &self.total)?;
        writeln!(f, "\nquestions with a solution: {} of {}", self.solved_questions, self.questions)?;
        writeln!(f, "solutions written: {}; without a readable answer: {}", self.seen, self.total.unparsed)?;
        for cost in &self.costs {
            writeln!(
                f,
                "requests: {} ({} from an earlier run), response tokens: {}, samples saved by stopping early: {}",
                cost.requests, cost.resumed_requests, cost.tokens, cost.samples_saved
            )?;
        }
        if let Some(d) = &self.diversity {
            writeln!(
                f,
                "diversity of {} solutions: Vendi {:.2} (of {}), distinct-1 {}, distinct-2 {}, self-BLEU {}, edit distance {}",
                d.texts,
                d.vendi,
                d.vendi_of,
                number(d.distinct_1),
                number(d.distinct_2),
                number(d.self_bleu),
                number(d.edit_distance)
            )?;
            writeln!(f, "mean Vendi score within a question: {}", number(self.vendi_within_questions))?;
            if self.vendi_embeddings.is_some() {
                writeln!(f, "Vendi score of hidden states: {}", number(self.vendi_embeddings))?;
            }
        }
        if let Some(c) = &self.composition {
            writeln!(
                f,
                "solutions that use two or more approaches: {} of {} ({} with none; {} could not be read)",
                c.combining, c.solutions, c.unrecognised, self.unread
            )?;
            let list = |named: Vec<(String, usize)>| {
                named.into_iter().map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>().join(", ")
            };
            let used = most(c, |i, j| i == j, 8);
            if !used.is_empty() {
                writeln!(f, "approaches used: {}", list(used))?;
            }
            let together = most(c, |i, j| i < j, 8);
            if !together.is_empty() {
                writeln!(f, "most often together: {}", list(together))?;
            }
        }
        Ok(())
    }
}
