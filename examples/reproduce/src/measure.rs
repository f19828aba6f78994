//! What is measured on a model: how often it is right on each set, which approaches it uses, and its switch prior.

use std::collections::BTreeMap;

use anyhow::Result;
use burn::tensor::activation::softmax;
use burn::tensor::{Int, Tensor, TensorData};
use models::{CausalLm, Inputs};
use serde::{Deserialize, Serialize};
use verifier::{Check, Verdict};

use crate::recipe::Evaluation;
use crate::rollout::{Ask, Response, Text, sample};
use crate::sets::{EvalSet, Question};
use crate::world::{Approach, WorldCheck, approaches_used, check::PART_WORDS};

/// One set's outcome.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SetOutcome {
    /// Per question.
    pub questions: Vec<QuestionOutcome>,
    /// How often each sequence of approaches was written, and how often it was right: `step>back` -> (all, correct).
    pub sequences: BTreeMap<String, (u64, u64)>,
    /// Samples whose shape was not that of a solution.
    pub unparsed: u64,
    /// Samples in all.
    pub samples: u64,
}

/// One question's outcome.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QuestionOutcome {
    /// The question's id.
    pub id: String,
    /// Samples drawn.
    pub samples: u64,
    /// Correct ones.
    pub correct: u64,
    /// Correct ones that combine two or more approaches.
    pub combined: u64,
}

/// A sample kept for people to read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReadableSample {
    /// The question's id.
    pub id: String,
    /// The prompt.
    pub prompt: String,
    /// What the model wrote.
    pub response: String,
    /// Right or wrong.
    pub correct: bool,
    /// The marker words, in order.
    pub approaches: Vec<String>,
}

/// Whether a finished response is right.
pub fn is_correct(question: &Question, response: &Response) -> bool {
    response.finished && WorldCheck.check(&question.problem, &response.text).verdict == Verdict::Correct
}

/// Samples a set and counts. With `prompted`, the samples' prompts name the approaches in turn.
pub fn evaluate(
    model: &CausalLm,
    text: &Text,
    set: &EvalSet,
    config: &Evaluation,
    prompted: bool,
    seed: u64,
) -> Result<(SetOutcome, Vec<ReadableSample>)> {
    let questions = set.questions(seed, config.questions);
    let asks = asks(&questions, config.samples, prompted);
    let mut outcome =
        SetOutcome { questions: Vec::new(), sequences: BTreeMap::new(), unparsed: 0, samples: 0 };
    let mut readable = Vec::new();
    let sampled = sample(model, text, &asks, 1.0, seed)?;
    for (question, rows) in questions.iter().zip(sampled.chunks(asks.len() / questions.len().max(1))) {
        let mut row = QuestionOutcome { id: question.id.clone(), samples: 0, correct: 0, combined: 0 };
        for response in rows.iter().flatten() {
            let correct = is_correct(question, response);
            let used: Vec<&str> = approaches_used(&response.text).into_iter().map(Approach::marker).collect();
            let combines = used.iter().any(|a| *a != used[0]);
            row.samples += 1;
            row.correct += u64::from(correct);
            row.combined += u64::from(correct && combines);
            if used.is_empty() {
                outcome.unparsed += 1;
            } else {
                let counts = outcome.sequences.entry(used.join(">")).or_default();
                counts.0 += 1;
                counts.1 += u64::from(correct);
            }
            if row.samples <= 2 {
                readable.push(ReadableSample {
                    id: question.id.clone(),
                    prompt: text.decode(&response.prompt)?,
                    response: response.text.clone(),
                    correct,
                    approaches: used.iter().map(|a| a.to_string()).collect(),
                });
            }
        }
        outcome.samples += row.samples;
        outcome.questions.push(row);
    }
    Ok((outcome, readable))
}

/// One ask a question, or one for each approach in equal shares.
pub fn asks(questions: &[Question], samples: usize, prompted: bool) -> Vec<Ask<'_>> {
    let mut asks = Vec::new();
    for (i, question) in questions.iter().enumerate() {
        if prompted {
            let share = samples.div_ceil(Approach::ALL.len());
            for (a, approach) in Approach::ALL.into_iter().enumerate() {
                let samples = share.min(samples.saturating_sub(a * share));
                asks.push(Ask { id: (4 * i + a) as u64, question, approach: Some(approach), samples });
            }
        } else {
            asks.push(Ask { id: i as u64, question, approach: None, samples });
        }
    }
    asks
}

/// The probability of changing the approach between the first and the second part, over the given questions: the mass
/// of the other approaches' markers among all markers, after one sampled first part. `None` when no sample had the shape.
pub fn switch_prior(model: &CausalLm, text: &Text, questions: &[Question], seed: u64) -> Result<Option<f64>> {
    let asks = asks(questions, 1, false);
    let sampled = sample(model, text, &asks, 1.0, seed)?;
    let mut prefixes: Vec<(Vec<u32>, Approach)> = Vec::new();
    for response in sampled.iter().flatten() {
        let words: Vec<&str> = response.text.split_whitespace().collect();
        let marker = words.first().and_then(|w| Approach::from_marker(w));
        if let (Some(first), true) = (marker, words.len() > PART_WORDS && words[PART_WORDS - 1] == ";") {
            let mut ids = response.prompt.clone();
            ids.extend(&response.sample.tokens[..PART_WORDS]);
            prefixes.push((ids, first));
        }
    }
    if prefixes.is_empty() {
        return Ok(None);
    }
    let markers: Vec<u32> =
        Approach::ALL.iter().map(|a| text.tokenizer.token_to_id(a.marker()).expect("a word")).collect();
    let mut total = 0.0;
    for chunk in prefixes.chunks(64) {
        for (row, (_, first)) in next_probabilities(model, chunk, text.pad)?.iter().zip(chunk) {
            let masses: Vec<f64> = markers.iter().map(|id| f64::from(row[*id as usize])).collect();
            let same = masses[Approach::ALL.iter().position(|a| a == first).expect("an approach")];
            total += 1.0 - same / masses.iter().sum::<f64>();
        }
    }
    Ok(Some(total / prefixes.len() as f64))
}

/// The next-word distribution after each prefix.
fn next_probabilities(
    model: &CausalLm,
    prefixes: &[(Vec<u32>, Approach)],
    pad: u32,
) -> Result<Vec<Vec<f32>>> {
    let width = prefixes.iter().map(|(ids, _)| ids.len()).max().unwrap_or(0);
    let flat: Vec<i32> = prefixes
        .iter()
        .flat_map(|(ids, _)| ids.iter().copied().chain(std::iter::repeat(pad)).take(width))
        .map(|id| id as i32)
        .collect();
    let tokens = Tensor::<2, Int>::from_data(TensorData::new(flat, [prefixes.len(), width]), &model.device());
    let probabilities = softmax(model.logits(model.hidden(Inputs::new(tokens))), 2);
    let vocabulary = probabilities.dims()[2];
    let values: Vec<f32> = probabilities.into_data().iter::<f32>().collect();
    let row = |(i, (ids, _)): (usize, &(Vec<u32>, Approach))| {
        let start = (i * width + ids.len() - 1) * vocabulary;
        values[start..start + vocabulary].to_vec()
    };
    Ok(prefixes.iter().enumerate().map(row).collect())
}
