//! Selection: the best correct, finished candidate for each (question, approach).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::family::Family;
use crate::generate::Candidate;
use crate::judge::{Judge, Judged, adherence_checked};
use crate::minhash::MinHash;
use crate::question::{Correctness, Outcome, Question};

/// A candidate with what is known about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Graded {
    /// Id of the question.
    pub question: String,
    /// Id of the approach; `None` for a prompt without one.
    pub approach: Option<String>,
    /// Index of the sample within its cell.
    pub sample: usize,
    /// The response.
    pub candidate: Candidate,
    /// Whether its final answer is correct.
    pub outcome: Outcome,
    /// How well it follows the approach; `None` when no judge could say.
    pub adherence: Option<f64>,
    /// Whether it names its approach (see [`Approach::leaks_into`](crate::Approach::leaks_into)).
    pub leaks: bool,
}

/// A sampled candidate with the cell it belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Id of the question.
    pub question: String,
    /// Id of the approach; `None` for a prompt without one.
    pub approach: Option<String>,
    /// Index of the sample within its cell.
    pub sample: usize,
    /// The response.
    pub candidate: Candidate,
}

/// Grades attempts: correctness by `check`; adherence by `judge` for those that selection could keep, that is
/// finished responses whose outcome is the one `keep` wants. The others get `None` and cost nothing.
///
/// # Errors
/// [`Error::Question`] for an attempt at an unknown question, [`Error::UnknownApproach`], or the judge's error.
pub fn grade(
    family: &Family,
    questions: &[Question],
    attempts: Vec<Attempt>,
    check: &dyn Correctness,
    judge: &mut dyn Judge,
    keep: Keep,
) -> Result<Vec<Graded>> {
    let by_id: BTreeMap<&str, &Question> = questions.iter().map(|q| (q.id.as_str(), q)).collect();
    let mut graded = Vec::with_capacity(attempts.len());
    for a in attempts {
        let question = by_id.get(a.question.as_str()).ok_or_else(|| Error::Question {
            id: a.question.clone(),
            message: "an attempt names it, but it is not among the questions".into(),
        })?;
        let approach = a.approach.as_deref().map(|id| family.get(id)).transpose()?;
        graded.push(Graded {
            outcome: check.check(question, &a.candidate.text),
            leaks: approach.is_some_and(|p| p.leaks_into(&a.candidate.text)),
            question: a.question,
            approach: a.approach,
            sample: a.sample,
            candidate: a.candidate,
            adherence: None,
        });
    }
    let wanted: Vec<usize> = (0..graded.len()).filter(|&i| keep.wants(&graded[i])).collect();
    let scores = {
        let mut batch = Vec::with_capacity(wanted.len());
        for &i in &wanted {
            let g = &graded[i];
            batch.push(Judged {
                question: by_id[g.question.as_str()],
                approach: g.approach.as_deref().map(|id| family.get(id)).transpose()?,
                candidate: &g.candidate,
            });
        }
        adherence_checked(judge, &batch)?
    };
    for (i, score) in wanted.into_iter().zip(scores) {
        graded[i].adherence = score;
    }
    Ok(graded)
}

/// Which candidates may be kept. All of them must be finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// Correct ones.
    #[default]
    Correct,
    /// Wrong ones, for the control arm on wrong chains. Unparsed ones are not wrong and are not kept.
    Wrong,
}

impl Keep {
    fn wants(self, g: &Graded) -> bool {
        let outcome = match self {
            Self::Correct => Outcome::Correct,
            Self::Wrong => Outcome::Incorrect,
        };
        g.candidate.finish.is_finished() && g.outcome == outcome && !g.candidate.text.trim().is_empty()
    }
}

/// How near-duplicates are found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NearDuplicates {
    /// Estimated Jaccard similarity from which two solutions count as the same.
    pub threshold: f64,
    /// Words in a shingle.
    pub shingle: usize,
    /// Hash functions of the sketch; the estimate's standard error is at most `0.5 / sqrt(hashes)`.
    pub hashes: usize,
}

impl Default for NearDuplicates {
    /// 0.8 over word triples with 128 hashes: a usual choice for short documents, and ours.
    fn default() -> Self {
        Self { threshold: 0.8, shingle: 3, hashes: 128 }
    }
}

/// How to select.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SelectionConfig {
    /// Correct or wrong candidates.
    pub keep: Keep,
    /// Candidates kept for each (question, approach). The paper keeps 1.
    pub per_cell: usize,
    /// Candidates kept for each question, the best first; `None` for no limit.
    pub per_question: Option<usize>,
    /// Candidates scored below this are dropped; unscored ones too when it is set.
    pub min_adherence: Option<f64>,
    /// Near-duplicates within a question are dropped, across approaches; the next best of the cell takes the place.
    pub near_duplicates: Option<NearDuplicates>,
    /// Whether a response that names its approach is dropped.
    pub drop_leaks: bool,
}

impl Default for SelectionConfig {
    fn default() -> Self {
        Self {
            keep: Keep::Correct,
            per_cell: 1,
            per_question: None,
            min_adherence: None,
            near_duplicates: Some(NearDuplicates::default()),
            drop_leaks: true,
        }
    }
}

impl SelectionConfig {
    fn validate(&self) -> Result<()> {
        let bad = |key, message: String| Err(Error::Config { key, message });
        if self.per_cell == 0 {
            return bad("per_cell", "must be at least 1, found 0".into());
        }
        if let Some(n) = &self.near_duplicates {
            if !(n.threshold > 0.0 && n.threshold <= 1.0) {
                return bad("near_duplicates.threshold", format!("must be in (0, 1], found {}", n.threshold));
            }
            if n.shingle == 0 || n.hashes == 0 || n.hashes > 4096 {
                let found = format!("shingle {} and hashes {}", n.shingle, n.hashes);
                return bad("near_duplicates", format!("shingle >= 1 and hashes in 1..=4096, found {found}"));
            }
        }
        Ok(())
    }
}

/// Counts of one approach, or of all together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Yield {
    /// (question, approach) cells with at least one candidate.
    pub cells: usize,
    /// Candidates.
    pub candidates: usize,
    /// Candidates that ended by themselves.
    pub finished: usize,
    /// Finished and correct.
    pub correct: usize,
    /// Finished, but no answer could be read.
    pub unparsed: usize,
    /// Cells with a finished correct candidate.
    pub solved_cells: usize,
    /// Dropped because they name the approach.
    pub leaks: usize,
    /// Dropped for low or missing adherence.
    pub below_adherence: usize,
    /// Dropped as near-duplicates.
    pub duplicates: usize,
    /// Cells that lost every eligible candidate to duplicates or the per-question cap.
    pub emptied_cells: usize,
    /// Kept.
    pub kept: usize,
    /// Kept ones that were scored.
    pub kept_scored: usize,
    /// Mean adherence of the kept ones that were scored.
    pub kept_adherence: Option<f64>,
    /// Mean length of the kept ones, in characters.
    pub kept_characters: Option<f64>,
    /// Kept ones whose number of tokens is known.
    pub kept_counted: usize,
    /// Mean length of the kept ones, in tokens, over those whose count is known.
    pub kept_tokens: Option<f64>,
}

impl Yield {
    /// Adds the counts of another part, such as other questions; means are weighted.
    pub fn merge(&mut self, other: &Self) {
        let mean = |a: Option<f64>, n: usize, b: Option<f64>, m: usize| match (a, b) {
            (Some(a), Some(b)) => Some((a * n as f64 + b * m as f64) / (n + m) as f64),
            (a, b) => a.or(b),
        };
        self.kept_adherence =
            mean(self.kept_adherence, self.kept_scored, other.kept_adherence, other.kept_scored);
        self.kept_characters = mean(self.kept_characters, self.kept, other.kept_characters, other.kept);
        self.kept_tokens = mean(self.kept_tokens, self.kept_counted, other.kept_tokens, other.kept_counted);
        for (mine, theirs) in [
            (&mut self.cells, other.cells),
            (&mut self.candidates, other.candidates),
            (&mut self.finished, other.finished),
            (&mut self.correct, other.correct),
            (&mut self.unparsed, other.unparsed),
            (&mut self.solved_cells, other.solved_cells),
            (&mut self.leaks, other.leaks),
            (&mut self.below_adherence, other.below_adherence),
            (&mut self.duplicates, other.duplicates),
            (&mut self.emptied_cells, other.emptied_cells),
            (&mut self.kept, other.kept),
            (&mut self.kept_scored, other.kept_scored),
            (&mut self.kept_counted, other.kept_counted),
        ] {
            *mine += theirs;
        }
    }
}

/// What was selected.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selected {
    /// Indices into the graded candidates, by question, then from the best adherence down.
    pub kept: Vec<usize>,
    /// Counts over everything.
    pub total: Yield,
    /// Counts of each approach; the empty id stands for prompts without one.
    pub by_approach: BTreeMap<String, Yield>,
}

/// Keeps the best eligible candidate of each (question, approach).
///
/// Eligible: finished, with the wanted outcome, not empty. Within a question candidates are visited from the highest
/// adherence down (unscored last; ties go to the smaller approach id, then sample index, then text, so that the order of
/// the input does not matter); one is kept unless its cell is full, the question is full, or it nearly repeats one
/// already kept.
///
/// # Errors
/// [`Error::Config`].
pub fn select(graded: &[Graded], config: &SelectionConfig) -> Result<Selected> {
    config.validate()?;
    let mut questions: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, g) in graded.iter().enumerate() {
        questions.entry(&g.question).or_default().push(i);
    }
    let mut tally: BTreeMap<&str, Tally> = BTreeMap::new();
    let mut kept = Vec::new();
    for (_, members) in questions {
        select_question(graded, members, config, &mut tally, &mut kept);
    }
    let mut total = Yield::default();
    let mut by_approach = BTreeMap::new();
    for (approach, t) in tally {
        let of_approach = t.finish();
        total.merge(&of_approach);
        by_approach.insert(approach.to_owned(), of_approach);
    }
    Ok(Selected { kept, total, by_approach })
}

fn approach_of(g: &Graded) -> &str {
    g.approach.as_deref().unwrap_or("")
}

fn select_question<'a>(
    graded: &'a [Graded],
    mut members: Vec<usize>,
    config: &SelectionConfig,
    tally: &mut BTreeMap<&'a str, Tally>,
    kept: &mut Vec<usize>,
) {
    let score = |g: &Graded| g.adherence.filter(|a| a.is_finite()).unwrap_or(f64::NEG_INFINITY);
    members.sort_by(|&a, &b| {
        let (x, y) = (&graded[a], &graded[b]);
        score(y)
            .total_cmp(&score(x))
            .then_with(|| approach_of(x).cmp(approach_of(y)))
            .then_with(|| x.sample.cmp(&y.sample))
            .then_with(|| x.candidate.text.cmp(&y.candidate.text))
    });
    let mut cells: BTreeMap<&str, Cell> = BTreeMap::new();
    let mut sketches: Vec<MinHash> = Vec::new();
    let mut taken = 0;
    for &i in &members {
        let g = &graded[i];
        let t = tally.entry(approach_of(g)).or_default();
        let cell = cells.entry(approach_of(g)).or_default();
        t.y.candidates += 1;
        let finished = g.candidate.finish.is_finished();
        t.y.finished += usize::from(finished);
        t.y.unparsed += usize::from(finished && g.outcome == Outcome::Unparsed);
        if finished && g.outcome == Outcome::Correct {
            t.y.correct += 1;
            cell.solved = true;
        }
        if !config.keep.wants(g) {
            continue;
        }
        if config.drop_leaks && g.leaks {
            t.y.leaks += 1;
            continue;
        }
        if config.min_adherence.is_some_and(|least| !g.adherence.is_some_and(|a| a >= least)) {
            t.y.below_adherence += 1;
            continue;
        }
        cell.eligible = true;
        if cell.kept >= config.per_cell || config.per_question.is_some_and(|cap| taken >= cap) {
            continue;
        }
        if let Some(near) = &config.near_duplicates {
            let sketch = MinHash::new(&g.candidate.text, near.shingle, near.hashes);
            if sketches.iter().any(|s| s.similarity(&sketch) >= near.threshold) {
                t.y.duplicates += 1;
                continue;
            }
            sketches.push(sketch);
        }
        cell.kept += 1;
        taken += 1;
        t.keep(g);
        kept.push(i);
    }
    for (approach, cell) in cells {
        let t = tally.entry(approach).or_default();
        t.y.cells += 1;
        t.y.solved_cells += usize::from(cell.solved);
        t.y.emptied_cells += usize::from(cell.eligible && cell.kept == 0);
    }
}

#[derive(Default)]
struct Cell {
    kept: usize,
    solved: bool,
    eligible: bool,
}

/// A yield with the sums its means are made of.
#[derive(Default)]
struct Tally {
    y: Yield,
    adherence: (f64, usize),
    characters: usize,
    tokens: (usize, usize),
}

impl Tally {
    fn keep(&mut self, g: &Graded) {
        self.y.kept += 1;
        self.characters += g.candidate.text.chars().count();
        if let Some(a) = g.adherence {
            self.adherence = (self.adherence.0 + a, self.adherence.1 + 1);
        }
        if let Some(n) = g.candidate.tokens {
            self.tokens = (self.tokens.0 + n, self.tokens.1 + 1);
        }
    }

    fn finish(mut self) -> Yield {
        let mean = |sum: f64, n: usize| (n > 0).then(|| sum / n as f64);
        self.y.kept_scored = self.adherence.1;
        self.y.kept_counted = self.tokens.1;
        self.y.kept_adherence = mean(self.adherence.0, self.adherence.1);
        self.y.kept_characters = mean(self.characters as f64, self.y.kept);
        self.y.kept_tokens = mean(self.tokens.0 as f64, self.tokens.1);
        self.y
    }
}

/// Ids of the questions with at least one kept candidate.
pub fn solved_questions<'a>(graded: &'a [Graded], selected: &Selected) -> BTreeSet<&'a str> {
    selected.kept.iter().map(|&i| graded[i].question.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Finish;

    fn graded(question: &str, approach: &str, sample: usize, text: &str, adherence: f64) -> Graded {
        Graded {
            question: question.into(),
            approach: Some(approach.into()),
            sample,
            candidate: Candidate::finished(text),
            outcome: Outcome::Correct,
            adherence: Some(adherence),
            leaks: false,
        }
    }

    fn texts(graded: &[Graded], s: &Selected) -> Vec<String> {
        s.kept.iter().map(|&i| graded[i].candidate.text.clone()).collect()
    }

    const A: &str = "add the two prices then take away the coins he paid with and count what is left";
    const B: &str = "begin at the end with four coins and undo each purchase until the morning is reached";
    const C: &str = "call the unknown x and write one equation for the money before and after the shop";

    #[test]
    fn the_best_of_each_cell_is_kept() {
        let g = vec![graded("q", "a", 0, A, 0.2), graded("q", "a", 1, B, 0.9), graded("q", "b", 0, C, 0.1)];
        let s = select(&g, &SelectionConfig::default()).unwrap();
        assert_eq!(texts(&g, &s), [B, C]);
        assert_eq!((s.total.cells, s.total.correct, s.total.kept), (2, 3, 2));
        assert_eq!(s.by_approach["a"].kept_adherence, Some(0.9));
    }

    #[test]
    fn a_duplicate_gives_way_to_the_next_best() {
        let g = vec![
            graded("q", "a", 0, A, 0.9),
            graded("q", "b", 0, &A.to_uppercase(), 0.8),
            graded("q", "b", 1, B, 0.1),
            graded("q", "c", 0, A, 0.7),
        ];
        let s = select(&g, &SelectionConfig::default()).unwrap();
        assert_eq!(texts(&g, &s), [A, B]);
        assert_eq!((s.total.duplicates, s.total.emptied_cells), (2, 1));
        let all = SelectionConfig { near_duplicates: None, ..Default::default() };
        assert_eq!(select(&g, &all).unwrap().kept.len(), 3);
    }

    #[test]
    fn only_finished_correct_candidates_are_kept_unless_wrong_ones_are_wanted() {
        let mut g = vec![
            graded("q", "a", 0, A, 0.9),
            graded("q", "b", 0, B, 0.8),
            graded("q", "c", 0, C, 0.7),
            graded("q", "d", 0, " ", 0.7),
        ];
        g[0].candidate.finish = Finish::Length;
        g[1].outcome = Outcome::Incorrect;
        g[2].outcome = Outcome::Unparsed;
        let s = select(&g, &SelectionConfig::default()).unwrap();
        assert!(s.kept.is_empty());
        assert_eq!((s.total.finished, s.total.unparsed), (3, 1));
        let wrong = SelectionConfig { keep: Keep::Wrong, ..Default::default() };
        assert_eq!(texts(&g, &select(&g, &wrong).unwrap()), [B]);
    }

    #[test]
    fn caps_leaks_and_thresholds() {
        let mut g =
            vec![graded("q", "a", 0, A, 0.9), graded("q", "b", 0, B, 0.8), graded("q", "c", 0, C, 0.7)];
        let run = |g: &[Graded], c: SelectionConfig| texts(g, &select(g, &c).unwrap());
        assert_eq!(run(&g, SelectionConfig { per_question: Some(2), ..Default::default() }), [A, B]);
        assert_eq!(run(&g, SelectionConfig { min_adherence: Some(0.85), ..Default::default() }), [A]);
        g[0].leaks = true;
        g[1].adherence = None;
        assert_eq!(run(&g, SelectionConfig::default()), [C, B]);
        assert_eq!(run(&g, SelectionConfig { min_adherence: Some(0.0), ..Default::default() }), [C]);
    }

    #[test]
    fn bad_settings_are_named() {
        let e = |c| select(&[], &c).unwrap_err().to_string();
        assert!(e(SelectionConfig { per_cell: 0, ..Default::default() }).contains("per_cell"));
        let near = NearDuplicates { threshold: 0.0, ..Default::default() };
        let c = SelectionConfig { near_duplicates: Some(near), ..Default::default() };
        assert!(e(c).contains("threshold"));
    }

    #[test]
    fn grading_judges_only_what_can_be_kept() {
        let family = Family::from_toml_str(
            "id='f'\nname='F'\n[[approach]]\nid='back'\nname='Backward'\nsigns=['back']\n[[approach]]\nid='step'\nname='Forward'\nsigns=['step']",
        )
        .unwrap();
        let questions = [Question::new("q", "16 +8 = ?", "24")];
        let attempt = |approach: &str, sample, text: &str| Attempt {
            question: "q".into(),
            approach: Some(approach.into()),
            sample,
            candidate: Candidate::finished(text),
        };
        let attempts =
            vec![attempt("step", 0, "step 24"), attempt("step", 1, "step 25"), attempt("back", 0, "step 24")];
        let check = |q: &Question, r: &str| {
            if r.ends_with(&q.answer) { Outcome::Correct } else { Outcome::Incorrect }
        };
        let mut seen = 0;
        let mut judge = crate::judge::judge_fn(|j: &Judged<'_>| {
            seen += 1;
            Some(f64::from(j.approach?.matches_signs(&j.candidate.text)))
        });
        let g = grade(&family, &questions, attempts.clone(), &check, &mut judge, Keep::Correct).unwrap();
        assert_eq!(g.iter().map(|g| g.adherence).collect::<Vec<_>>(), [Some(1.0), None, Some(0.0)]);
        assert_eq!(seen, 2);
        let mut signs = crate::judge::SignJudge::new(&family);
        let g = grade(&family, &questions, attempts, &check, &mut signs, Keep::Correct).unwrap();
        assert_eq!(g[0].adherence, Some(0.5));
        assert_eq!(g[2].adherence, Some(0.0));
    }
}
