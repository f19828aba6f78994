//! Verdicts to numbers, a table and a page.

use std::collections::BTreeMap;

use evaluation::datasets::{Details, Question};
use evaluation::figures::{LineChart, Page, Series, Table};
use evaluation::{Interval, Tally, pass_curve};
use serde::Serialize;
use serde_json::{Value, json};
use verifier::{Gold, Policy, Response, Verification, verify_with};

use crate::completions::Completion;

/// A completion with its verdict.
pub struct Judged {
    /// What was judged.
    pub completion: Completion,
    /// The verdict.
    pub verification: Verification,
}

impl Judged {
    /// A line of completions.jsonl.
    pub fn record(&self) -> Value {
        let Completion { id, sample, completion, finish_reason, tokens } = &self.completion;
        json!({
            "id": id, "sample": sample, "completion": completion, "finish_reason": finish_reason, "tokens": tokens,
            "verdict": self.verification.verdict, "extracted": self.verification.extracted,
        })
    }
}

/// Judges a completion of a question.
pub fn judge(question: &Question, completion: Completion) -> Judged {
    let mut policy = Policy::default();
    let mut gold = question.answer.clone();
    match &question.details {
        Details::Olympiad { tolerance: Some(absolute), .. } => {
            // The benchmark's tolerance is absolute, the verifier's relative to the gold value.
            if let Ok(value) = gold.trim().parse::<f64>()
                && value != 0.0
            {
                policy.relative_tolerance = absolute / value.abs();
            }
        }
        Details::Choice { answer_index: Some(index), .. } => {
            gold = u8::try_from(*index)
                .ok()
                .filter(|i| *i < 26)
                .map_or(gold, |i| format!("({})", char::from(b'A' + i)));
        }
        _ => {}
    }
    let gold = Gold::parse_with(&gold, &policy);
    let verification = verify_with(&gold, &Response::new(&completion.completion), &policy);
    Judged { completion, verification }
}

/// What was measured.
#[derive(Serialize)]
pub struct Results {
    /// The benchmark's or file's name.
    pub benchmark: String,
    /// How many questions.
    pub questions: usize,
    /// How many completions.
    pub completions: usize,
    /// `pass@k` by name, with 95 % bootstrap intervals over questions.
    #[serde(flatten)]
    pub pass: BTreeMap<String, Interval>,
    /// Share of completions that a token limit cut, of those that say why they ended.
    pub truncated: Option<f64>,
    /// Share of completions in which no answer was found.
    pub unparsed: f64,
    /// Gold answers that cannot be read: their questions count as not solved.
    pub unparsed_gold: usize,
    /// Mean tokens of a completion, where known.
    pub tokens: Option<f64>,
    /// What each question got.
    pub per_question: BTreeMap<String, Tally>,
    #[serde(skip)]
    curve: Vec<(usize, Interval)>,
}

impl Results {
    /// Measures, with intervals whose resampling is seeded.
    pub fn of(benchmark: &str, judged: &[Judged], ks: &[usize], seed: u64) -> Self {
        let mut per_question: BTreeMap<String, Tally> = BTreeMap::new();
        for one in judged {
            let tally =
                per_question.entry(one.completion.id.clone()).or_insert(Tally { samples: 0, correct: 0 });
            tally.samples += 1;
            tally.correct += usize::from(one.verification.is_correct());
        }
        let tallies: Vec<Tally> = per_question.values().copied().collect();
        let curve = pass_curve(&tallies, ks, seed, 0.95);
        let share = |of: &dyn Fn(&Judged) -> bool| {
            judged.iter().filter(|one| of(one)).count() as f64 / judged.len().max(1) as f64
        };
        let ends: Vec<&str> =
            judged.iter().filter_map(|one| one.completion.finish_reason.as_deref()).collect();
        let cut = ends.iter().filter(|end| **end == "length").count();
        let verdict = |name: &'static str| move |one: &Judged| one.verification.verdict.name() == name;
        let counts: Vec<usize> = judged.iter().filter_map(|one| one.completion.tokens).collect();
        Self {
            benchmark: benchmark.to_owned(),
            questions: per_question.len(),
            completions: judged.len(),
            pass: curve.iter().map(|(k, interval)| (format!("pass@{k}"), *interval)).collect(),
            truncated: (!ends.is_empty()).then(|| cut as f64 / ends.len() as f64),
            unparsed: share(&verdict("unparsed_response")),
            unparsed_gold: judged.iter().filter(|one| verdict("unparsed_gold")(one)).count(),
            tokens: (!counts.is_empty()).then(|| counts.iter().sum::<usize>() as f64 / counts.len() as f64),
            per_question,
            curve,
        }
    }

    /// The table for the terminal and the page.
    pub fn table(&self) -> Table {
        let mut table = Table::new(["k", "pass@k", "95 % from", "to"]);
        for (k, Interval { mean, lo, hi }) in &self.curve {
            table.push([k.to_string(), format!("{mean:.3}"), format!("{lo:.3}"), format!("{hi:.3}")]);
        }
        table
    }

    /// One sentence beside the table.
    pub fn sentence(&self) -> String {
        let tokens = self.tokens.map_or(String::new(), |tokens| format!(", {tokens:.0} tokens on average"));
        let cut = self
            .truncated
            .map_or(String::new(), |share| format!(" {:.0} % cut by the token limit,", 100.0 * share));
        let gold = match self.unparsed_gold {
            0 => String::new(),
            n => format!("; the gold answers of {n} completions cannot be read"),
        };
        format!(
            "{}: {} questions, {} completions{tokens};{cut} no answer found in {:.0} %{gold}",
            self.benchmark,
            self.questions,
            self.completions,
            100.0 * self.unparsed
        )
    }

    /// The page.
    pub fn page(&self, model: &str, questions: &[Question], judged: &[Judged]) -> String {
        let mut page = Page::new(format!("{} on {}", model, self.benchmark));
        page.lead(&self.sentence());
        page.section("pass@k");
        page.table(&self.table());
        let points = self.curve.iter().map(|(k, interval)| (*k as f64, *interval));
        let chart = LineChart::pass_at_k("pass@k").series(Series::with_intervals(model, points));
        page.figure(
            &chart.to_svg(),
            "Unbiased estimate; the band is a 95 % bootstrap interval over questions.",
        );
        page.section("Completions");
        page.text("The first completions of the first questions, with the verifier's verdict.");
        for question in questions.iter().take(8) {
            page.heading(&question.id);
            page.code(&format!("{}\n\nGold answer: {}", question.question, question.answer));
            let own = judged.iter().filter(|one| one.completion.id == question.id).take(4);
            let cards: Vec<(String, &str, Option<bool>)> = own
                .map(|one| {
                    let heading =
                        format!("sample {}: {}", one.completion.sample, one.verification.verdict.name());
                    (heading, one.completion.completion.as_str(), Some(one.verification.is_correct()))
                })
                .collect();
            page.cards(cards.iter().map(|(heading, text, right)| (heading.as_str(), *text, *right)));
        }
        page.render()
    }
}
