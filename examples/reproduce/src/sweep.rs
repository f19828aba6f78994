//! `--sweep`: the same small grid of learning rates and entropy bonuses for every starting point, on development seeds.
//!
//! What it chooses is copied into the recipe's `tuned` before any reported seed is run.

use std::collections::BTreeMap;

use anyhow::Result;
use burn::module::Module;
use models::CausalLm;
use serde::{Deserialize, Serialize};

use crate::arms::{Start, Variant};
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
    start: String,
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
        let asked = &self.recipe.sweep.starts;
        let wanted = |start: &Start| asked.is_empty() || asked.iter().any(|key| key == start.key());
        let starts: Vec<Start> = [Start::Base].into_iter().chain(self.starts()).filter(wanted).collect();
        self.each(self.seeds.clone(), |seed| self.variants(&text, seed).map(drop))?;
        let jobs: Vec<(u64, Start)> =
            self.seeds.iter().flat_map(|seed| starts.iter().map(|start| (*seed, *start))).collect();
        let tuned = jobs.iter().copied().filter(|(_, start)| *start != Start::Base).collect();
        self.each(tuned, |(seed, start)| self.start(&text, seed, start))?;
        let grid = self.recipe.sweep.grid();
        let jobs: Vec<(u64, Start, Tuned)> =
            jobs.iter().flat_map(|(seed, start)| grid.iter().map(|tuned| (*seed, *start, *tuned))).collect();
        self.each(jobs.clone(), |(seed, start, tuned)| self.attempt(&text, seed, start, tuned).map(drop))?;

        let mut best = BTreeMap::<String, (f64, Tuned)>::new();
        let tried = jobs
            .into_iter()
            .map(|(seed, start, tuned)| self.attempt(&text, seed, start, tuned))
            .collect::<Result<Vec<_>>>()?;
        for candidate in &tried {
            let same = |t: &&Tried| t.start == candidate.start && t.tuned == candidate.tuned;
            let values: Vec<f64> = tried.iter().filter(same).map(|t| t.pass_at_1).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let entry = best.entry(candidate.start.clone()).or_insert((f64::NEG_INFINITY, candidate.tuned));
            if mean > entry.0 {
                *entry = (mean, candidate.tuned);
            }
        }
        self.folder.write_json("sweep.json", &tried)?;
        for (start, (pass, Tuned { lr, entropy })) in best {
            println!("# {start}: pass@1 {pass:.3}\n[tuned.{start}]\nlr = {lr}\nentropy = {entropy}");
        }
        Ok(())
    }

    fn attempt(&self, text: &Text, seed: u64, start: Start, tuned: Tuned) -> Result<Tried> {
        let name = format!("sweep-{}-{}-{}", start.key(), tuned.lr, tuned.entropy);
        once(&self.phase(seed, &name), &self.interrupt, |phase| {
            let model =
                load(&model_folder(&self.start_folder(seed, start)), &self.device.clone().autodiff())?;
            let label = format!("seed {seed} {name}");
            let config = grpo::Grpo {
                label: &label,
                rl: self.recipe.rl.clone(),
                tuned,
                variant: Variant::Plain,
                seed,
                checkpoint_every: 50,
            };
            let pass_at_1 = |model: &CausalLm, set| -> Result<f64> {
                let (outcome, _) = measure::evaluate(model, text, set, &self.recipe.evaluation, false, seed)?;
                let values = pass_per_question(&outcome, 1);
                Ok(values.iter().sum::<f64>() / values.len().max(1) as f64)
            };
            let before = pass_at_1(&model.valid(), &SETS[0])?;
            let model = grpo::train(phase, text, model, &config)?.valid();
            let (pass, hard) = (pass_at_1(&model, &SETS[0])?, pass_at_1(&model, &SETS[1])?);
            eprintln!("{label}: pass@1 {before:.3} before RL, {pass:.3} after; hard {hard:.3}");
            Ok(Tried { seed, start: start.key().to_string(), tuned, pass_at_1: pass, hard_pass_at_1: hard })
        })
    }
}
