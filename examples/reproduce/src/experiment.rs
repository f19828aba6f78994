//! The experiment as a whole: for every seed pre-train, self-generate, mid-train, run RL, measure.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::Result;
use burn::module::Module;
use burn::tensor::Device;
use models::{CausalLm, Config, LlamaShape};
use rand::Rng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sft::Example;
use training::{AdamWConfig, Interrupt, RunFolder, Schedule, read_json, stream};

use crate::arms::{Arm, MAIN, Start, Variant};
use crate::measure::{self, ReadableSample, SetOutcome, is_correct, switch_prior};
use crate::phase::{Phase, load, model_folder, once};
use crate::recipe::{Recipe, Tuned};
use crate::rollout::{Ask, Text, sample};
use crate::sets::{Question, SETS, own_kind_question};
use crate::supervised::{self, Supervised};
use crate::variants::{self, DataSets};
use crate::world::{Approach, documents, numbers, vocabulary};
use crate::{grpo, report, results};

/// One call of the program.
pub struct Experiment {
    /// All settings.
    pub recipe: Recipe,
    /// Each seed has its own everything, pre-training included.
    pub seeds: Vec<u64>,
    /// The control arms that run too.
    pub controls: Vec<Arm>,
    /// Whether the time to threshold is measured.
    pub thresholds: bool,
    /// Number of threads.
    pub threads: usize,
    /// Where to compute.
    pub device: Device,
    /// The run folder.
    pub folder: RunFolder,
    /// Raised by Ctrl-C.
    pub interrupt: Interrupt,
}

/// What pre-training left.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BaseOutcome {
    /// Steps taken, with those the gate added.
    pub steps: u64,
    /// Whether every approach passed the gate.
    pub gate_met: bool,
    /// Of each approach: greedy accuracy on one-part problems of its own kind, asked for by name.
    pub own_kind_accuracy: BTreeMap<String, f64>,
    /// The same on the way: step -> approach -> accuracy.
    pub accuracy: BTreeMap<u64, BTreeMap<String, f64>>,
    /// Number of parameters.
    pub parameters: usize,
}

/// What an arm left.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ArmOutcome {
    /// The probability of changing approach between parts, of the model RL started from.
    pub switch_prior: Option<f64>,
    /// The same, of the arm's final model.
    pub switch_after: Option<f64>,
    /// RL steps taken.
    pub rl_steps: u64,
    /// Every set.
    pub sets: BTreeMap<String, SetOutcome>,
}

/// Everything one seed left.
pub struct SeedOutcome {
    /// The seed.
    pub seed: u64,
    /// Pre-training.
    pub base: BaseOutcome,
    /// Data sets.
    pub data: DataSets,
    /// Arms by key.
    pub arms: BTreeMap<&'static str, ArmOutcome>,
}

impl Experiment {
    /// The arms of this run.
    pub fn arms(&self) -> Vec<Arm> {
        MAIN.iter().chain(&self.controls).copied().collect()
    }

    /// The fine-tuned models that the arms start from.
    pub fn starts(&self) -> Vec<Start> {
        let mut starts: Vec<Start> =
            self.arms().iter().map(|a| a.start).filter(|s| *s != Start::Base).collect();
        starts.sort();
        starts.dedup();
        starts
    }

    /// Where the model that an arm starts from lies.
    pub fn start_folder(&self, seed: u64, start: Start) -> PathBuf {
        match start {
            Start::Base => self.phase(seed, "base"),
            start => self.phase(seed, &format!("start-{}", start.key())),
        }
    }

    /// The folder of one phase.
    pub fn phase(&self, seed: u64, name: &str) -> PathBuf {
        self.folder.file(&format!("seed-{seed}")).join(name)
    }

    /// Runs whatever is not done yet, and writes results and report.
    pub fn run(&self) -> Result<()> {
        let clock = Instant::now();
        let times = Mutex::new(BTreeMap::<String, f64>::new());
        let text = Text::new()?;
        let arms = self.arms();
        let timed = |name: String, run: &dyn Fn() -> Result<()>| {
            let start = Instant::now();
            run()?;
            times.lock().expect("no panic").insert(name, start.elapsed().as_secs_f64());
            Ok(())
        };

        self.each(self.seeds.clone(), |seed| {
            timed(format!("seed-{seed}/base"), &|| self.base(&text, seed).map(drop))?;
            timed(format!("seed-{seed}/variants"), &|| self.variants(&text, seed).map(drop))
        })?;
        let starts = self.starts();
        let jobs = self.seeds.iter().flat_map(|seed| starts.iter().map(|start| (*seed, *start))).collect();
        self.each(jobs, |(seed, start)| {
            timed(format!("seed-{seed}/start-{}", start.key()), &|| self.start(&text, seed, start))
        })?;
        // Long ones first, so that no thread is left with one at the end.
        let mut jobs: Vec<(u64, Arm)> =
            self.seeds.iter().flat_map(|s| arms.iter().map(|a| (*s, *a))).collect();
        jobs.sort_by_key(|(_, arm)| match arm.rl {
            Some(Variant::Extra) => 0,
            Some(_) => 1,
            None => 2,
        });
        self.each(jobs, |(seed, arm)| {
            timed(format!("seed-{seed}/arm-{}", arm.key), &|| self.arm(&text, seed, arm).map(drop))
        })?;

        let outcomes =
            self.seeds.iter().map(|seed| self.outcome(&text, *seed)).collect::<Result<Vec<_>>>()?;
        let thresholds = if self.thresholds { self.thresholds(&text)? } else { Vec::new() };
        let results = results::collect(&self.recipe, &arms, &outcomes, thresholds);
        self.folder.write_json("results.json", &results)?;
        let times = times.into_inner().expect("no panic");
        let total = clock.elapsed().as_secs_f64();
        self.folder.write_json("timing.json", &json!({ "total_seconds": total, "phases": times }))?;
        report::write(self, &outcomes, &results, total)?;
        println!("{}", results::summary(&arms, &results));
        println!("report: {}", self.folder.file("report.html").display());
        Ok(())
    }

    /// Runs jobs on as many threads as there are; a lone job gets them all.
    pub fn each<J: Send>(&self, jobs: Vec<J>, run: impl Fn(J) -> Result<()> + Sync) -> Result<()> {
        let workers = self.threads.min(jobs.len()).max(1);
        if workers == 1 {
            return jobs.into_iter().try_for_each(run);
        }
        let queue = Mutex::new(jobs.into_iter());
        let failed = Mutex::new(None);
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads / workers).build();
                    let work = || {
                        loop {
                            let job = queue.lock().expect("no panic").next();
                            let Some(job) = job else { return Ok(()) };
                            if failed.lock().expect("no panic").is_some() {
                                return Ok(());
                            }
                            run(job)?;
                        }
                    };
                    let outcome = match pool {
                        Ok(pool) => pool.install(work),
                        Err(error) => Err(error.into()),
                    };
                    if let Err(error) = outcome {
                        failed.lock().expect("no panic").get_or_insert(error);
                    }
                });
            }
        });
        failed.into_inner().expect("no panic").map_or(Ok(()), Err)
    }

    /// Pre-trains until every approach masters its own kind of part.
    pub fn base(&self, text: &Text, seed: u64) -> Result<BaseOutcome> {
        let recipe = &self.recipe;
        once(&self.phase(seed, "base"), &self.interrupt, |phase| {
            let shape = &recipe.model;
            let config = Config::llama(LlamaShape {
                vocab_size: vocabulary::words().len(),
                hidden_size: shape.hidden,
                intermediate_size: shape.intermediate,
                layers: shape.layers,
                heads: shape.heads,
                // As wide as one over the root of the fan-in: at 0.02 so small a network learns slowly.
                initializer_range: (shape.hidden as f64).powf(-0.5),
                // Sequences are short: a small base spreads the rotary frequencies over a hundred positions.
                rope_theta: 500.0,
                eos: vec![text.eos],
                pad: Some(text.pad),
                ..LlamaShape::default()
            })?;
            let mut model = CausalLm::init(&config, seed, &self.device.clone().autodiff())?;
            let embedding = numbers::on_circles(model.embedding());
            model = model.with_embedding(embedding)?;
            let plan = &recipe.pretrain;
            let mut documents = Documents::new(text, recipe, seed);
            let last = plan.steps + plan.extra_rounds * plan.extra_steps;
            let mut accuracy = BTreeMap::new();
            let mut steps = 0;
            while steps < last {
                let at_peak = plan.steps.saturating_sub(steps);
                steps += if at_peak > 0 { at_peak.min(plan.check_every) } else { plan.extra_steps };
                let label = format!("seed {seed} pre-train");
                let config = Supervised {
                    label: &label,
                    schedule: Schedule::cosine(plan.lr, plan.warmup, plan.steps).with_floor(0.1),
                    adamw: AdamWConfig { betas: (0.9, 0.98), ..AdamWConfig::default() },
                    steps,
                    checkpoint_every: plan.check_every,
                };
                model = supervised::train(phase, text, model, &config, |step| documents.batch(step))?;
                // Written once for each step: after an interruption the model of that step is gone.
                let name = format!("accuracy-{steps}.json");
                let path = phase.folder.file(&name);
                let measured = if path.exists() {
                    read_json(&path)?
                } else {
                    let measured = own_kind_accuracy(&model.valid(), text, seed)?;
                    phase.folder.write_json(&name, &measured)?;
                    measured
                };
                eprintln!(
                    "seed {seed}: {steps} steps, accuracy of each approach on its own kind {measured:.3?}"
                );
                accuracy.insert(steps, measured);
                let met = accuracy[&steps].values().all(|a: &f64| *a >= plan.gate);
                if steps >= plan.steps && met {
                    break;
                }
            }
            let own_kind_accuracy = accuracy.get(&steps).cloned().unwrap_or_default();
            let gate_met = own_kind_accuracy.values().all(|a| *a >= plan.gate);
            if !gate_met {
                eprintln!(
                    "seed {seed}: the gate is missed: after {steps} steps an approach solves less than {} of the problems \
                     of its own kind. The run goes on, and the report says so; raise pretrain.steps",
                    plan.gate
                );
            }
            phase.save_model(&model)?;
            Ok(BaseOutcome { steps, gate_met, own_kind_accuracy, accuracy, parameters: model.num_params() })
        })
    }

    /// Self-generation and selection from the base model.
    pub fn variants(&self, text: &Text, seed: u64) -> Result<DataSets> {
        self.base(text, seed)?;
        once(&self.phase(seed, "variants"), &self.interrupt, |phase| {
            let model = load(&model_folder(&self.phase(seed, "base")), &self.device)?;
            let data = variants::generate(&model, text, &self.recipe, seed)?;
            for (start, set) in &data.instances {
                for instance in set {
                    let line = json!({
                        "prompt": text.prompt(None, &instance.question)?,
                        "completion": instance.response,
                        "question_id": instance.question_id,
                        "approach": instance.approach,
                    });
                    phase.folder.append(&format!("samples/{start}.jsonl"), &line)?;
                }
            }
            Ok(data)
        })
    }

    /// SFT of the base model on one data set.
    pub fn start(&self, text: &Text, seed: u64, start: Start) -> Result<()> {
        let data = self.variants(text, seed)?;
        let path = self.phase(seed, &format!("start-{}", start.key()));
        once(&path, &self.interrupt, |phase| {
            self.fine_tune(phase, text, seed, start.key(), &data.instances[start.key()])
        })
    }

    /// SFT of the base model on these instances, saved as the phase's model.
    pub fn fine_tune(
        &self,
        phase: &mut Phase,
        text: &Text,
        seed: u64,
        name: &str,
        set: &[variants::Instance],
    ) -> Result<()> {
        let base = load(&model_folder(&self.phase(seed, "base")), &self.device.clone().autodiff())?;
        let plan = &self.recipe.midtrain;
        let label = format!("seed {seed} SFT {name}");
        let config = Supervised {
            label: &label,
            schedule: Schedule::linear(plan.lr, plan.steps / 20, plan.steps),
            adamw: AdamWConfig::default(),
            // Without a single instance the model stays what it is.
            steps: if set.is_empty() { 0 } else { plan.steps },
            checkpoint_every: 500,
        };
        let model = supervised::train(phase, text, base, &config, |step| {
            (0..plan.batch as u64).map(|i| example(text, set, seed, step * plan.batch as u64 + i)).collect()
        })?;
        phase.save_model(&model)
    }

    /// RL, if the arm has it, and measurement.
    fn arm(&self, text: &Text, seed: u64, arm: Arm) -> Result<ArmOutcome> {
        let data = self.variants(text, seed)?;
        once(&self.phase(seed, &format!("arm-{}", arm.key)), &self.interrupt, |phase| {
            let start = self.start_folder(seed, arm.start);
            let model = load(&model_folder(&start), &self.device.clone().autodiff())?;
            let hard: Vec<Question> = SETS[1].questions(seed, self.recipe.evaluation.questions);
            let before = switch_prior(&model.valid(), text, &hard, seed)?;
            let (model, rl_steps) = match arm.rl {
                None => (model, 0),
                Some(variant) => {
                    let label = format!("seed {seed} {}", arm.label);
                    let config = self.grpo(label, variant, self.tuned(arm), seed, &data);
                    (grpo::train(phase, text, model, &config)?, config.rl.steps)
                }
            };
            phase.save_model(&model)?;
            let model = model.valid();
            let mut sets = BTreeMap::new();
            for set in &SETS {
                let prompted = arm.rl == Some(Variant::Prompted);
                let (outcome, samples): (SetOutcome, Vec<ReadableSample>) =
                    measure::evaluate(&model, text, set, &self.recipe.evaluation, prompted, seed)?;
                for sample in samples {
                    phase.folder.append(&format!("samples/{}.jsonl", set.key), &sample)?;
                }
                sets.insert(set.key.to_string(), outcome);
            }
            let switch_after = switch_prior(&model, text, &hard, seed)?;
            Ok(ArmOutcome { switch_prior: before, switch_after, rl_steps, sets })
        })
    }

    /// What the sweep chose for an arm.
    pub fn tuned(&self, arm: Arm) -> Tuned {
        self.recipe.tuned.get(arm.tuning()).copied().unwrap_or(self.recipe.rl.default)
    }

    /// The RL settings of an arm: the recipe, its tuning, and its variant's change.
    pub fn grpo(
        &self,
        label: String,
        variant: Variant,
        mut tuned: Tuned,
        seed: u64,
        data: &DataSets,
    ) -> grpo::Grpo {
        let mut rl = self.recipe.rl.clone();
        match variant {
            Variant::Plain | Variant::Prompted => {}
            Variant::Extra => {
                let words = crate::rollout::longest(rl.parts.len()) as u64;
                let per_step = (rl.questions * rl.samples) as u64 * words;
                rl.steps += data.generated_tokens.div_ceil(per_step);
            }
            Variant::SmallGroups => {
                rl.samples = rl.samples.div_ceil(3).max(2);
                rl.questions *= 3;
            }
            Variant::Explore => {
                rl.temperature *= 1.3;
                tuned.entropy *= 3.0;
            }
        }
        grpo::Grpo { label, rl, tuned, variant, seed, checkpoint_every: 25 }
    }

    /// Everything of one seed, read back.
    fn outcome(&self, text: &Text, seed: u64) -> Result<SeedOutcome> {
        let arms = self
            .arms()
            .into_iter()
            .map(|arm| Ok((arm.key, self.arm(text, seed, arm)?)))
            .collect::<Result<_>>()?;
        Ok(SeedOutcome { seed, base: self.base(text, seed)?, data: self.variants(text, seed)?, arms })
    }
}

/// Pre-training batches of documents of similar length.
struct Documents<'a> {
    text: &'a Text,
    recipe: &'a Recipe,
    seed: u64,
    /// Index and batches of the bucket drawn last.
    bucket: Option<(u64, Vec<Vec<Example>>)>,
}

/// Batches drawn together and sorted by length, so that little is padded.
const BUCKET: u64 = 16;

impl<'a> Documents<'a> {
    fn new(text: &'a Text, recipe: &'a Recipe, seed: u64) -> Self {
        Documents { text, recipe, seed, bucket: None }
    }

    fn batch(&mut self, step: u64) -> Result<Vec<Example>> {
        let index = step / BUCKET;
        if self.bucket.as_ref().is_none_or(|(drawn, _)| *drawn != index) {
            self.bucket = Some((index, self.draw(index)?));
        }
        let (_, batches) = self.bucket.as_ref().expect("just drawn");
        Ok(batches[(step % BUCKET) as usize].clone())
    }

    fn draw(&self, index: u64) -> Result<Vec<Vec<Example>>> {
        let size = self.recipe.pretrain.batch;
        let mut examples = (0..size as u64 * BUCKET)
            .map(|i| {
                let mut rng = stream(self.seed, "document", index, i, 0);
                let plan = &self.recipe.documents;
                if rng.random_bool(plan.differences) {
                    let (words, learn) = documents::differences(&mut rng);
                    return Ok(Example { tokens: self.text.encode(&words.join(" "))?, learn });
                }
                let document = documents::draw(plan, &mut rng);
                completion(self.text, &document.prompt.join(" "), &document.solution.join(" "))
            })
            .collect::<Result<Vec<_>>>()?;
        examples.sort_by_key(|example| example.tokens.len());
        let mut batches: Vec<Vec<Example>> = examples.chunks(size).map(<[Example]>::to_vec).collect();
        batches.shuffle(&mut stream(self.seed, "document-order", index, 0, 0));
        Ok(batches)
    }
}

fn completion(text: &Text, prompt: &str, solution: &str) -> Result<Example> {
    let mut completion = text.encode(solution)?;
    completion.push(text.eos);
    Ok(Example::prompt_completion(text.encode(prompt)?, completion))
}

/// The `index`-th example of endless shuffled epochs over a data set.
fn example(text: &Text, set: &[variants::Instance], seed: u64, index: u64) -> Result<Example> {
    let (epoch, within) = (index / set.len() as u64, (index % set.len() as u64) as usize);
    let mut order: Vec<usize> = (0..set.len()).collect();
    order.shuffle(&mut stream(seed, "sft-order", epoch, 0, 0));
    let instance = &set[order[within]];
    completion(text, &text.prompt(None, &instance.question)?, &instance.response)
}

/// Greedy accuracy of each approach, asked for by name, on one-part problems of its own kind.
fn own_kind_accuracy(model: &CausalLm, text: &Text, seed: u64) -> Result<BTreeMap<String, f64>> {
    const QUESTIONS: u64 = 100;
    let mut accuracy = BTreeMap::new();
    for approach in Approach::ALL {
        let questions: Vec<Question> = (0..QUESTIONS)
            .map(|i| own_kind_question(approach, &mut stream(seed, "gate", approach as u64, i, 0)))
            .collect();
        let asks: Vec<Ask> = questions
            .iter()
            .enumerate()
            .map(|(i, question)| Ask { id: i as u64, question, approach: Some(approach), samples: 1 })
            .collect();
        let sampled = sample(model, text, &asks, 0.0, seed)?;
        let right = questions.iter().zip(&sampled).filter(|(q, r)| is_correct(q, &r[0])).count();
        accuracy.insert(approach.marker().to_string(), right as f64 / QUESTIONS as f64);
    }
    Ok(accuracy)
}
