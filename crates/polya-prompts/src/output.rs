//! What selection leaves on disk: the full record of each solution, and the training example made of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::family::Family;
use crate::question::{Outcome, Question};
use crate::render::{Prompt, Render, Style};
use crate::select::{Graded, Selected};

/// A selected solution with everything known about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// Id of the question.
    pub id: String,
    /// The question.
    pub question: String,
    /// Its gold answer.
    pub answer: String,
    /// The approach that was asked for; `None` for a prompt without one.
    pub approach: Option<String>,
    /// The response, without white space around it.
    pub response: String,
    /// How well it follows the approach; `None` when no judge could say.
    pub adherence: Option<f64>,
    /// Candidates of its (question, approach).
    pub candidates: usize,
    /// Finished, correct ones among them.
    pub correct: usize,
    /// Index of the sample within its cell.
    pub sample: usize,
    /// Number of response tokens, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    /// Further fields of the question's line.
    #[serde(flatten)]
    pub rest: serde_json::Map<String, serde_json::Value>,
}

/// The selected solutions as records, in the order of the selection.
///
/// # Errors
/// [`Error::Question`] for a solution of a question that is not given.
pub fn variants(questions: &[Question], graded: &[Graded], selected: &Selected) -> Result<Vec<Variant>> {
    let by_id: BTreeMap<&str, &Question> = questions.iter().map(|q| (q.id.as_str(), q)).collect();
    let mut counts: BTreeMap<(&str, Option<&str>), (usize, usize)> = BTreeMap::new();
    for g in graded {
        let cell = counts.entry((&g.question, g.approach.as_deref())).or_default();
        cell.0 += 1;
        cell.1 += usize::from(g.candidate.finish.is_finished() && g.outcome == Outcome::Correct);
    }
    selected
        .kept
        .iter()
        .map(|&i| {
            let g = &graded[i];
            let q = by_id.get(g.question.as_str()).ok_or_else(|| Error::Question {
                id: g.question.clone(),
                message: "a solution names it, but it is not among the questions".into(),
            })?;
            let (candidates, correct) = counts[&(g.question.as_str(), g.approach.as_deref())];
            let own = ["approach", "response", "adherence", "candidates", "correct", "sample", "tokens"];
            let mut rest = q.rest.clone();
            rest.retain(|key, _| !own.contains(&key.as_str()));
            Ok(Variant {
                id: q.id.clone(),
                question: q.question.clone(),
                answer: q.answer.clone(),
                approach: g.approach.clone(),
                response: g.candidate.text.trim().to_owned(),
                adherence: g.adherence,
                candidates,
                correct,
                sample: g.sample,
                tokens: g.candidate.tokens,
                rest,
            })
        })
        .collect()
}

/// A training example: the question without the approach, and the solution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingExample {
    /// `question/approach/sample`.
    pub id: String,
    /// `prompt` or `messages`: the question as it is asked without an approach, without exemplars.
    #[serde(flatten)]
    pub prompt: Prompt,
    /// What is learned.
    pub completion: String,
}

/// Makes a training example. Nothing of the approach's prompt is in it.
///
/// A base model's prompt ends with `Solution:`, so its completion begins with a space; a chat completion does not.
///
/// # Errors
/// What rendering returns.
pub fn training_example(family: &Family, variant: &Variant, render: &Render<'_>) -> Result<TrainingExample> {
    let plain = Render { exemplars: 0, ..render.clone() };
    let prompt = family.render_plain(&variant.question, &plain)?;
    let space = match render.style {
        Style::Base if !prompt.text().ends_with(char::is_whitespace) => " ",
        _ => "",
    };
    Ok(TrainingExample {
        id: format!("{}/{}/{}", variant.id, variant.approach.as_deref().unwrap_or("-"), variant.sample),
        prompt,
        completion: format!("{space}{}", variant.response),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Candidate;
    use crate::select::{SelectionConfig, select};

    #[test]
    fn the_training_example_knows_nothing_of_the_approach() {
        let family = Family::maths();
        let mut question = Question::new("q1", "How many?", "4");
        question.rest.insert("source".into(), "here".into());
        question.rest.insert("response".into(), "old".into());
        let graded = [Outcome::Correct, Outcome::Incorrect].map(|outcome| Graded {
            question: "q1".into(),
            approach: Some("work-backward".into()),
            sample: 0,
            candidate: Candidate::finished(" Undo it: 4. \n"),
            outcome,
            adherence: Some(0.5),
            leaks: false,
        });
        let selected = select(&graded, &SelectionConfig::default()).unwrap();
        let all = variants(&[question], &graded, &selected).unwrap();
        assert_eq!((all.len(), all[0].candidates, all[0].correct), (1, 2, 1));
        let line = serde_json::to_value(&all[0]).unwrap();
        assert_eq!((line["source"].as_str(), line["response"].as_str()), (Some("here"), Some("Undo it: 4.")));

        let base = training_example(&family, &all[0], &Render::base()).unwrap();
        let chat = training_example(&family, &all[0], &Render::chat()).unwrap();
        assert_eq!(base.completion, " Undo it: 4.");
        assert_eq!(chat.completion, "Undo it: 4.");
        for example in [base, chat] {
            let text = example.prompt.text();
            assert!(text.contains("How many?"));
            assert!(!text.contains("final state") && !text.contains("ferry"), "{text}");
        }
    }
}
