//! Judges: how well does a correct response follow the approach it was asked for?

use crate::approach::Approach;
use crate::error::{Error, Result};
use crate::family::Family;
use crate::generate::Candidate;
use crate::question::Question;
use crate::signs::Words;

/// One response to be judged.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    /// The question.
    pub question: &'a Question,
    /// The approach that was asked for; `None` for a response to a prompt without one.
    pub approach: Option<&'a Approach>,
    /// The response.
    pub candidate: &'a Candidate,
}

/// Scores adherence. Only the order of scores within one (question, approach) matters to selection, and, for duplicates
/// across approaches, within one question; so a judge may use any scale.
pub trait Judge {
    /// One score for each response, in order; higher is better. `None` says that the judge could not decide: such a
    /// response ranks below every scored one.
    ///
    /// # Errors
    /// Whatever the judge reports, usually as [`Error::Backend`].
    fn adherence(&mut self, batch: &[Judged<'_>]) -> Result<Vec<Option<f64>>>;
}

impl<J: Judge + ?Sized> Judge for &mut J {
    fn adherence(&mut self, batch: &[Judged<'_>]) -> Result<Vec<Option<f64>>> {
        (**self).adherence(batch)
    }
}

impl<J: Judge + ?Sized> Judge for Box<J> {
    fn adherence(&mut self, batch: &[Judged<'_>]) -> Result<Vec<Option<f64>>> {
        (**self).adherence(batch)
    }
}

/// A [`Judge`] from a function of one response.
pub fn judge_fn<F: FnMut(&Judged<'_>) -> Option<f64>>(f: F) -> JudgeFn<F> {
    JudgeFn(f)
}

/// See [`judge_fn`].
#[derive(Debug, Clone)]
pub struct JudgeFn<F>(F);

impl<F: FnMut(&Judged<'_>) -> Option<f64>> Judge for JudgeFn<F> {
    fn adherence(&mut self, batch: &[Judged<'_>]) -> Result<Vec<Option<f64>>> {
        Ok(batch.iter().map(&mut self.0).collect())
    }
}

/// Calls a judge and checks its count; scores that are not finite become `None`.
///
/// # Errors
/// The judge's own, or [`Error::Contract`].
pub fn adherence_checked(judge: &mut dyn Judge, batch: &[Judged<'_>]) -> Result<Vec<Option<f64>>> {
    let mut scores = judge.adherence(batch)?;
    if scores.len() != batch.len() {
        return Err(Error::Contract {
            who: "the judge".into(),
            message: format!("returned {} scores for {} responses", scores.len(), batch.len()),
        });
    }
    for s in &mut scores {
        *s = s.filter(|v| v.is_finite());
    }
    Ok(scores)
}

/// Judges by signs alone: the share of the approach's own signs found, diminished by signs of other approaches.
///
/// With `own` signs of the asked approach and `others` approaches that show a sign too, the score is
/// `own / (own + 1) / (1 + others / 4)`: 0 without a sign, rising towards 1, lower where the response shows everything.
/// A rule that needs no model; crude, and easily satisfied by words without substance.
#[derive(Debug, Clone, Copy)]
pub struct SignJudge<'a> {
    family: &'a Family,
}

impl<'a> SignJudge<'a> {
    /// A judge that knows the signs of this family.
    pub fn new(family: &'a Family) -> Self {
        Self { family }
    }
}

impl Judge for SignJudge<'_> {
    fn adherence(&mut self, batch: &[Judged<'_>]) -> Result<Vec<Option<f64>>> {
        Ok(batch
            .iter()
            .map(|j| {
                let approach = j.approach?;
                let words = Words::new(&j.candidate.text);
                let own = approach.count_signs(&words) as f64;
                let others = self
                    .family
                    .approaches()
                    .iter()
                    .filter(|a| a.id != approach.id && a.matches_signs_in(&words))
                    .count() as f64;
                Some(own / (own + 1.0) / (1.0 + others / 4.0))
            })
            .collect())
    }
}
