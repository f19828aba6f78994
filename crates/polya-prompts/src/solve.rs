//! The whole pipeline in one call, in memory: for a notebook, a test, a few hundred questions.

use crate::error::Result;
use crate::family::Family;
use crate::generate::{Generator, Prompted, generate_checked};
use crate::judge::Judge;
use crate::output::{Variant, variants};
use crate::plan::Plan;
use crate::question::Correctness;
use crate::render::Render;
use crate::run::Scheduler;
use crate::select::{Attempt, Selected, SelectionConfig, grade, select};

/// The parts of a pipeline that stay the same from question to question.
#[derive(Debug)]
pub struct Pipeline<'a> {
    /// The approaches.
    pub family: &'a Family,
    /// How prompts are written.
    pub render: Render<'a>,
    /// How solutions are selected.
    pub selection: SelectionConfig,
    /// Requests handed to the generator at once.
    pub batch: usize,
}

impl<'a> Pipeline<'a> {
    /// Prompts for a chat model, and the default selection.
    pub fn chat(family: &'a Family) -> Self {
        Self { family, render: Render::chat(), selection: SelectionConfig::default(), batch: 256 }
    }

    /// Prompts for a base model, and the default selection.
    pub fn base(family: &'a Family) -> Self {
        Self { render: Render::base(), ..Self::chat(family) }
    }
}

/// Generates, verifies, judges and selects. Everything is held in memory and lost on failure; use a [`Scheduler`] with a
/// journal for runs that matter.
///
/// # Errors
/// Whatever a part returns.
pub fn solve(
    pipeline: &Pipeline<'_>,
    plan: &Plan,
    generator: &mut dyn Generator,
    check: &dyn Correctness,
    judge: &mut dyn Judge,
) -> Result<(Vec<Variant>, Selected)> {
    let mut scheduler = Scheduler::open(plan, pipeline.family, pipeline.render.clone(), Some(check), None)?;
    let mut attempts = Vec::new();
    loop {
        let mut requests = Vec::new();
        while requests.len() < pipeline.batch.max(1) {
            match scheduler.next_request()? {
                Some(request) => requests.push(request),
                None => break,
            }
        }
        if requests.is_empty() {
            break;
        }
        let prompts: Vec<Prompted> = requests.iter().map(|r| r.prompted.clone()).collect();
        for (request, list) in requests.into_iter().zip(generate_checked(generator, &prompts)?) {
            let (question, approach) = scheduler.names(&request);
            let first = request.prompted.first_sample;
            attempts.extend(list.iter().cloned().enumerate().map(|(i, candidate)| Attempt {
                question: question.clone(),
                approach: approach.clone(),
                sample: first + i,
                candidate,
            }));
            scheduler.complete(request, list)?;
        }
    }
    let keep = pipeline.selection.keep;
    let graded = grade(pipeline.family, plan.questions(), attempts, check, judge, keep)?;
    let selected = select(&graded, &pipeline.selection)?;
    Ok((variants(plan.questions(), &graded, &selected)?, selected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Candidate, from_fn};
    use crate::judge::SignJudge;
    use crate::maths::MathsAnswers;
    use crate::plan::PlanConfig;
    use crate::question::Question;

    #[test]
    fn from_a_question_to_four_verified_solutions() {
        let family = Family::maths();
        let approaches: Vec<Option<&str>> = family.ids()[..4].iter().copied().map(Some).collect();
        let plan = Plan::new(
            &family,
            vec![Question::new("q", "What is 3 + 4?", "7")],
            &approaches,
            PlanConfig::default(),
        );
        // One of two samples is right, and every request words it differently.
        let mut model = from_fn(|p: &Prompted| {
            let say =
                |i| format!("Step 1 of {} number {i}: $\\boxed{{{}}}$", p.id.replace('/', " "), 7 + i % 2);
            Ok((0..p.samples).map(|i| Candidate::finished(say(i))).collect())
        });
        let mut judge = SignJudge::new(&family);
        let pipeline = Pipeline {
            selection: SelectionConfig { near_duplicates: None, ..Default::default() },
            ..Pipeline::chat(&family)
        };
        let (kept, selected) =
            solve(&pipeline, &plan.unwrap(), &mut model, &MathsAnswers, &mut judge).unwrap();
        assert_eq!((kept.len(), selected.total.candidates, selected.total.correct), (4, 16, 8));
        assert!(kept.iter().all(|v| v.response.contains("boxed{7}") && v.correct == 2));
    }
}
