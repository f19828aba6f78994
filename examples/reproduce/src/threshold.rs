//! Time to threshold against the switch prior, in the trained network.
//!
//! The theory says that RL finds a solution that changes its approach in a time that grows as one over the prior
//! probability of changing. Here that prior is set by dilution: the mid-training set keeps a share of its questions with
//! all approaches and has STaR's solutions for the others. Each model is then trained by RL with the same settings.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use burn::module::Module;
use rand::Rng;
use serde::{Deserialize, Serialize};
use training::stream;

use crate::arms::{MID_RL, Start, Variant};
use crate::experiment::Experiment;
use crate::grpo;
use crate::measure::switch_prior;
use crate::phase::{load, model_folder, once};
use crate::rollout::Text;
use crate::sets::SETS;
use crate::variants::{DataSets, Instance};

/// One dilution of one seed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Threshold {
    /// The seed.
    pub seed: u64,
    /// Share of the questions that keep the solutions of all approaches.
    pub share: f64,
    /// Probability of changing the approach between the first two parts, before RL.
    pub switch_prior: Option<f64>,
    /// The first RL step at which the mean over five steps of the share of samples that use the fitting approach on every
    /// part is at least one half; `None` if that was not reached in `cap` steps.
    pub steps: Option<u64>,
    /// The most RL steps.
    pub cap: u64,
}

impl Experiment {
    /// Every share of the recipe, for every seed.
    pub fn thresholds(&self, text: &Text) -> Result<Vec<Threshold>> {
        let shares = &self.recipe.threshold.shares;
        let jobs: Vec<(u64, f64)> =
            self.seeds.iter().flat_map(|seed| shares.iter().map(|share| (*seed, *share))).collect();
        self.each(jobs.clone(), |(seed, share)| self.threshold(text, seed, share).map(drop))?;
        jobs.into_iter().map(|(seed, share)| self.threshold(text, seed, share)).collect()
    }

    fn threshold(&self, text: &Text, seed: u64, share: f64) -> Result<Threshold> {
        let data = self.variants(text, seed)?;
        let name = format!("threshold-{share}");
        once(&self.phase(seed, &format!("{name}-start")), &self.interrupt, |phase| {
            self.fine_tune(phase, text, seed, &name, &diluted(&data, share, seed))
        })?;
        once(&self.phase(seed, &name), &self.interrupt, |phase| {
            let start = self.phase(seed, &format!("{name}-start"));
            let model = load(&model_folder(&start), &self.device.clone().autodiff())?;
            let hard = SETS[1].questions(seed, self.recipe.evaluation.questions);
            let prior = switch_prior(&model.valid(), text, &hard, seed)?;
            let cap = self.recipe.threshold.steps;
            let label = format!("seed {seed} {name}");
            let mut config = self.grpo(label, Variant::Plain, self.tuned(MID_RL), seed, &data);
            config.rl.steps = cap;
            grpo::train(phase, text, model, &config)?;
            let path = phase.folder.file("metrics.jsonl");
            let lines =
                std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let fitting = lines
                .lines()
                .map(|line| {
                    Ok(serde_json::from_str::<serde_json::Value>(line)?["fitting"].as_f64().unwrap_or(0.0))
                })
                .collect::<Result<Vec<f64>>>()?;
            Ok(Threshold { seed, share, switch_prior: prior, steps: first_half(&fitting), cap })
        })
    }
}

/// The first step, counted from one, at which the mean of the last five values is at least one half.
fn first_half(fitting: &[f64]) -> Option<u64> {
    let at = fitting.windows(5).position(|five| five.iter().sum::<f64>() >= 2.5)?;
    Some(at as u64 + 5)
}

/// The mid-training set of a share of the questions, STaR's of the others.
fn diluted(data: &DataSets, share: f64, seed: u64) -> Vec<Instance> {
    let mut questions = BTreeMap::<&str, [Vec<&Instance>; 2]>::new();
    for (i, start) in [Start::Mid, Start::Star].into_iter().enumerate() {
        for instance in &data.instances[start.key()] {
            questions.entry(&instance.question_id).or_default()[i].push(instance);
        }
    }
    let mut kept = Vec::new();
    for (i, [mid, star]) in questions.values().enumerate() {
        let diverse = stream(seed, "dilution", 0, i as u64, 0).random::<f64>() < share;
        kept.extend(if diverse { mid } else { star }.iter().map(|i| (*i).clone()));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_half_needs_five_steps() {
        assert_eq!(first_half(&[1.0; 4]), None);
        assert_eq!(first_half(&[1.0; 5]), Some(5));
        assert_eq!(first_half(&[0.0, 0.0, 0.5, 0.5, 0.5, 0.5, 0.5]), Some(7));
    }

    #[test]
    fn dilution_takes_whole_questions() {
        let instance = |id: usize, approach: Option<&str>| Instance {
            question_id: format!("q{id}"),
            question: String::new(),
            approach: approach.map(str::to_string),
            response: String::new(),
        };
        let of = |approach: Option<&str>| (0..100).map(|i| instance(i, approach)).collect::<Vec<_>>();
        let data = DataSets {
            instances: [("mid", of(Some("back"))), ("star", of(None))]
                .map(|(key, set)| (key.to_string(), set))
                .into(),
            generated_tokens: 0,
            yields: BTreeMap::new(),
            vendi: BTreeMap::new(),
        };
        let diverse = |share| diluted(&data, share, 1).iter().filter(|i| i.approach.is_some()).count();
        assert_eq!((diverse(0.0), diverse(1.0)), (0, 100));
        assert!((30..70).contains(&diverse(0.5)), "{}", diverse(0.5));
        assert_eq!(diluted(&data, 0.5, 1).len(), 100);
    }
}
