//! Benchmarks by their Hugging Face ids: what they are called, how a row is laid out, and what their licence allows.
//!
//! No data comes with this crate. A benchmark is read from a JSONL file: the project's own layout
//! (`id`, `question`, `answer`) or a row-by-row export of the dataset named here. The licence notes say what the
//! dataset's publishers state; check them yourself before redistributing anything.

use serde::Serialize;

use crate::error::{Error, Result};

/// What kind of task a benchmark sets, hence how a response is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskKind {
    /// A final mathematical answer, compared by a verifier.
    Maths,
    /// Python code, run against tests in a sandbox.
    Code,
    /// One of several choices, compared by label or text.
    Choice,
}

/// One benchmark or training set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Benchmark {
    /// Short name used on the command line.
    pub name: &'static str,
    /// Name in tables.
    pub title: &'static str,
    /// Dataset id on the Hugging Face hub.
    pub hub_id: &'static str,
    /// Configuration of that dataset, where there are several.
    pub config: Option<&'static str>,
    /// Its split.
    pub split: &'static str,
    /// How many rows the split has.
    pub rows: usize,
    /// How responses are judged.
    pub kind: TaskKind,
    /// Fields that may hold the question, the first present wins.
    pub question_fields: &'static [&'static str],
    /// Fields that may hold the gold answer; `a.b` looks inside an object.
    pub answer_fields: &'static [&'static str],
    /// Whether it is for evaluation only and must not be trained on.
    pub evaluation_only: bool,
    /// Licence as its publishers state it, and what that means for copies.
    pub licence: &'static str,
}

const QUESTION: &[&str] = &["question", "problem", "prompt"];
const ANSWER: &[&str] = &["answer", "expected_answer"];

/// All benchmarks known by name.
pub const BENCHMARKS: &[Benchmark] = &[
    Benchmark {
        name: "gsm8k",
        title: "GSM8K",
        hub_id: "openai/gsm8k",
        config: Some("main"),
        split: "test",
        rows: 1319,
        kind: TaskKind::Maths,
        question_fields: QUESTION,
        answer_fields: ANSWER,
        evaluation_only: true,
        licence: "MIT",
    },
    Benchmark {
        name: "gsm8k-train",
        title: "GSM8K (training)",
        hub_id: "openai/gsm8k",
        config: Some("main"),
        split: "train",
        rows: 7473,
        kind: TaskKind::Maths,
        question_fields: QUESTION,
        answer_fields: ANSWER,
        evaluation_only: false,
        licence: "MIT",
    },
    Benchmark {
        name: "svamp",
        title: "SVAMP",
        hub_id: "ChilleD/SVAMP",
        config: None,
        split: "test",
        rows: 300,
        kind: TaskKind::Maths,
        question_fields: &["question", "question_concat", "Body"],
        answer_fields: &["answer", "Answer"],
        evaluation_only: true,
        licence: "MIT (original repository); all 1,000 problems exist as one file there",
    },
    Benchmark {
        name: "math-500",
        title: "MATH-500",
        hub_id: "HuggingFaceH4/MATH-500",
        config: None,
        split: "test",
        rows: 500,
        kind: TaskKind::Maths,
        question_fields: QUESTION,
        answer_fields: ANSWER,
        evaluation_only: true,
        licence: "not settled: MATH's code is MIT, the problems come from competitions; bring your own copy",
    },
    Benchmark {
        name: "aime-2024",
        title: "AIME 2024",
        hub_id: "HuggingFaceH4/aime_2024",
        config: None,
        split: "train",
        rows: 30,
        kind: TaskKind::Maths,
        question_fields: QUESTION,
        answer_fields: ANSWER,
        evaluation_only: true,
        licence: "not settled: competition problems of the MAA; bring your own copy",
    },
    Benchmark {
        name: "aime-2025",
        title: "AIME 2025",
        hub_id: "math-ai/aime25",
        config: None,
        split: "test",
        rows: 30,
        kind: TaskKind::Maths,
        question_fields: QUESTION,
        answer_fields: ANSWER,
        evaluation_only: true,
        licence: "not settled: competition problems of the MAA; bring your own copy",
    },
    Benchmark {
        name: "amc-2023",
        title: "AMC 2023",
        hub_id: "math-ai/amc23",
        config: None,
        split: "test",
        rows: 40,
        kind: TaskKind::Maths,
        question_fields: QUESTION,
        answer_fields: ANSWER,
        evaluation_only: true,
        licence: "not settled: competition problems of the MAA; bring your own copy",
    },
    Benchmark {
        name: "minerva",
        title: "Minerva Math",
        hub_id: "math-ai/minervamath",
        config: None,
        split: "test",
        rows: 272,
        kind: TaskKind::Maths,
        question_fields: QUESTION,
        answer_fields: ANSWER,
        evaluation_only: true,
        licence: "not settled: from MIT OpenCourseWare, whose materials are CC BY-NC-SA; bring your own copy",
    },
    Benchmark {
        name: "olympiadbench",
        title: "OlympiadBench (maths, English)",
        hub_id: "Hothan/OlympiadBench",
        config: Some("OE_TO_maths_en_COMP"),
        split: "train",
        rows: 674,
        kind: TaskKind::Maths,
        question_fields: QUESTION,
        answer_fields: &["answer", "final_answer"],
        evaluation_only: true,
        licence: "MIT (original repository); see the dataset's page for the copy",
    },
    Benchmark {
        name: "dapo-math-17k",
        title: "DAPO-Math-17K",
        hub_id: "BytedTsinghua-SIA/DAPO-Math-17k",
        config: None,
        split: "train",
        rows: 17_398,
        kind: TaskKind::Maths,
        question_fields: &["question", "prompt", "source_prompt"],
        answer_fields: &["answer", "reward_model.ground_truth", "solution"],
        evaluation_only: false,
        licence: "Apache-2.0; the upload repeats rows, `open-r1/DAPO-Math-17k-Processed` is a deduplicated copy",
    },
    Benchmark {
        name: "humaneval",
        title: "HumanEval",
        hub_id: "openai/openai_humaneval",
        config: None,
        split: "test",
        rows: 164,
        kind: TaskKind::Code,
        question_fields: QUESTION,
        answer_fields: &["answer", "canonical_solution"],
        evaluation_only: true,
        licence: "MIT",
    },
    Benchmark {
        name: "mbpp",
        title: "MBPP (sanitised, test)",
        hub_id: "google-research-datasets/mbpp",
        config: Some("sanitized"),
        split: "test",
        rows: 257,
        kind: TaskKind::Code,
        question_fields: QUESTION,
        answer_fields: &["answer", "code"],
        evaluation_only: true,
        licence: "CC BY 4.0",
    },
    Benchmark {
        name: "musr",
        title: "MuSR",
        hub_id: "TAUR-Lab/MuSR",
        config: Some("default"),
        split: "murder_mysteries",
        rows: 250,
        kind: TaskKind::Choice,
        question_fields: QUESTION,
        answer_fields: &["answer", "answer_choice"],
        evaluation_only: true,
        licence: "MIT (original repository); splits object_placements and team_allocation have 256 and 250 rows",
    },
    Benchmark {
        name: "bbh",
        title: "BIG-Bench Hard",
        hub_id: "lukaemon/bbh",
        config: None,
        split: "test",
        rows: 6511,
        kind: TaskKind::Choice,
        question_fields: &["question", "input"],
        answer_fields: &["answer", "target"],
        evaluation_only: true,
        licence: "MIT (original repository)",
    },
];

/// Finds a benchmark by its short name or its hub id, whatever the case.
///
/// ```
/// let math = evaluation::registry::find("MATH-500").unwrap();
/// assert_eq!(math.hub_id, "HuggingFaceH4/MATH-500");
/// assert!(evaluation::registry::find("maths-500").unwrap_err().to_string().contains("math-500"));
/// ```
///
/// # Errors
/// [`Error::UnknownBenchmark`], naming the ones there are.
pub fn find(name: &str) -> Result<&'static Benchmark> {
    let same = |other: &str| other.eq_ignore_ascii_case(name);
    BENCHMARKS.iter().find(|benchmark| same(benchmark.name) || same(benchmark.hub_id)).ok_or_else(|| {
        let known = BENCHMARKS.iter().map(|benchmark| benchmark.name).collect::<Vec<_>>().join(", ");
        Error::UnknownBenchmark { name: name.to_owned(), known }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_hub_ids_have_an_owner() {
        let names: HashSet<&str> = BENCHMARKS.iter().map(|benchmark| benchmark.name).collect();
        assert_eq!(names.len(), BENCHMARKS.len());
        assert!(BENCHMARKS.iter().all(|benchmark| benchmark.hub_id.split('/').count() == 2));
        assert!(BENCHMARKS.iter().all(|benchmark| !benchmark.licence.is_empty() && benchmark.rows > 0));
    }
}
