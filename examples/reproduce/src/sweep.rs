//! `--sweep`: the same small grid of learning rates and entropy bonuses for every arm with RL, on development seeds. Arms
//! that spend their start's plain RL otherwise (longer, smaller groups) share its setting.
//!
//! What it chooses is copied into the recipe's `tuned` before any reported seed is run.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use burn::module::Module;
use models::CausalLm;
use serde::{Deserialize, Serialize};

use crate::arms::{Arm, Start, Variant};
use crate::experiment::Experiment;
use crate::grpo;
use crate::measure;
use crate::phase::{load, model_folder, once};
use crate::recipe::Tuned;
use crate::results::pass_per_question;
use crate::rollout::Text;
use crate::sets::SETS;

/// One run of the grid.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tried {
    seed: u64,
    /// A key of `tuned`.
    key: String,
    tuned: Tuned,
    /// Pass@1 on questions like those of RL, held out: what the choice is made by.
    pass_at_1: f64,
    /// Pass@1 on the hard set, for the reader.
    hard_pass_at_1: f64,
}

impl Experiment {
    /// Runs the grid and prints, as TOML, the best setting of every starting point.
    pub fn sweep(&self) -> Result<()> {
        let text = Text::new()?;
        let asked = &self.recipe.sweep.keys;
        let wanted = |key: &str| asked.is_empty() || asked.iter().any(|one| one == key);
        let arms: Vec<(Arm, Variant)> = self
            .arms()
            .into_iter()
            .filter(|arm| wanted(arm.tuning()))
            .filter_map(|arm| Some((arm, arm.swept()?)))
            .collect();
        self.each(self.seeds.clone(), |seed| self.variants(&text, seed).map(drop))?;
        let starts: BTreeSet<Start> =
            arms.iter().map(|(arm, _)| arm.start).filter(|s| *s != Start::Base).collect();
        let jobs = self.seeds.iter().flat_map(|seed| starts.iter().map(|start| (*seed, *start))).collect();
        self.each(jobs, |(seed, start)| self.start(&text, seed, start))?;
        let mut jobs = Vec::new();
        for seed in &self.seeds {
            for (arm, variant) in &arms {
                jobs.extend(self.recipe.sweep.grid().into_iter().map(|tuned| (*seed, *arm, *variant, tuned)));
            }
        }
        self.each(jobs.clone(), |(seed, arm, variant, tuned)| {
            self.attempt(&text, seed, arm, variant, tuned).map(drop)
        })?;

        let mut best = BTreeMap::<String, (f64, Tuned)>::new();
        let tried = jobs
            .into_iter()
            .map(|(seed, arm, variant, tuned)| self.attempt(&text, seed, arm, variant, tuned))
            .collect::<Result<Vec<_>>>()?;
        for candidate in &tried {
            let same = |t: &&Tried| t.key == candidate.key && t.tuned == candidate.tuned;
            let values: Vec<f64> = tried.iter().filter(same).map(|t| t.pass_at_1).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let entry = best.entry(candidate.key.clone()).or_insert((f64::NEG_INFINITY, candidate.tuned));
            if mean > entry.0 {
                *entry = (mean, candidate.tuned);
            }
        }
        self.folder.write_json("sweep.json", &tried)?;
        for (key, (pass, Tuned { lr, entropy })) in best {
            println!("# {key}: pass@1 {pass:.3}\n[tuned.{key}]\nlr = {lr}\nentropy = {entropy}");
        }
        Ok(())
    }

    fn attempt(&self, text: &Text, seed: u64, arm: Arm, variant: Variant, tuned: Tuned) -> Result<Tried> {
        let key = arm.tuning();
        let name = format!("sweep-{key}-{}-{}", tuned.lr, tuned.entropy);
        once(&self.phase(seed, &name), &self.interrupt, |phase| {
            let start = self.start_folder(seed, arm.start);
            let model = load(&model_folder(&start), &self.device.clone().autodiff())?;
            let label = format!("seed {seed} {name}");
            let data = self.variants(text, seed)?;
            let mut config = self.grpo(label.clone(), variant, tuned, seed, &data);
            config.rl.steps = self.recipe.sweep.steps;
            let prompted = variant == Variant::Prompted;
            let pass_at_1 = |model: &CausalLm, set| -> Result<f64> {
                let (outcome, _) =
                    measure::evaluate(model, text, set, &self.recipe.evaluation, prompted, seed)?;
                let values = pass_per_question(&outcome, 1);
                Ok(values.iter().sum::<f64>() / values.len().max(1) as f64)
            };
            let before = pass_at_1(&model.valid(), &SETS[0])?;
            let model = grpo::train(phase, text, model, &config)?.valid();
            let (pass, hard) = (pass_at_1(&model, &SETS[0])?, pass_at_1(&model, &SETS[1])?);
            eprintln!("{label}: pass@1 {before:.3} before RL, {pass:.3} after; hard {hard:.3}");
            Ok(Tried { seed, key: key.to_string(), tuned, pass_at_1: pass, hard_pass_at_1: hard })
        })
    }
}
