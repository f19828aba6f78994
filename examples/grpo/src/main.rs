//! Reinforcement learning with verifiable rewards: configuration, questions, model, loop, report.
#![forbid(unsafe_code)]

mod config;
mod rewards;
mod rollouts;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use burn::module::Module;
use clap::Parser;
use config::{Args, Config};
use evaluation::local::Speech;
use models::{CausalLm, Inputs, LoadOptions, Pretrained};
use policy_gradient::{
    Diagnostics, Rollout, RolloutBatch, advantage, aggregate, kl, objective, token_log_probs,
};
use polya_prompts::Family;
use rand::seq::SliceRandom;
use rollouts::{Group, Task};
use serde_json::json;
use training::{
    AdamW, Environment, Existing, Gradients, Interrupt, NonFinite, Progress, RunFolder, Step, stream,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).without_time().init();
    match run(&Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", training::sentence(error.as_ref()));
            ExitCode::from(2)
        }
    }
}

/// What a checkpoint holds besides weights and moments. Random streams are keyed by seed and position, so nothing of
/// them needs saving.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct State {
    guard: NonFinite,
    /// How many questions were drawn so far.
    position: u64,
    /// Optimiser steps taken or left out.
    updates: u64,
    /// Tokens sampled.
    tokens: u64,
    /// The last step's mean reward.
    reward: f64,
}

fn run(args: &Args) -> Result<ExitCode> {
    // Configuration, model, questions: everything is read and checked before anything is written.
    let config = args.resolve()?;
    let device = training::device(&config.device)?;
    let options = LoadOptions { dtype: config.precision()?, ..LoadOptions::new(&device.clone().autodiff()) };
    let mut pretrained = Pretrained::load(&config.model, &options)?;
    let speech = Speech::new(&config.model, &pretrained)?;
    let family = Family::maths();
    let tasks = rollouts::tasks(&config.input, &config, &family, &speech)?;
    let held_out = rollouts::tasks(&config.eval, &config, &family, &speech)?;
    let stop = config.stop(&family.templates().stop);
    let reference = match config.reference() {
        Some(dir) => {
            Some(Pretrained::load(dir, &LoadOptions { device: device.clone(), ..options.clone() })?.model)
        }
        None => None,
    };

    let mut run = RunFolder::create(&config.run_dir, Existing::from_flags(args.resume, args.overwrite))?;
    run.write_config(&config, &["device", "checkpoint_every", "keep_last", "output"])?;
    let environment = Environment::capture("grpo", env!("CARGO_PKG_VERSION"), &config.device, config.seed);
    run.write_json("environment.json", &environment)?;
    run.keep(config.keep());

    // The last whole checkpoint, if there is one.
    let mut state = State { guard: NonFinite::new(config.non_finite()), ..State::default() };
    let mut optimizer = AdamW::new(config.adamw());
    let mut begin = 0;
    if let Some(checkpoint) = run.resume()? {
        pretrained = Pretrained::load(&checkpoint.path, &options)?;
        let path = checkpoint.file("optimizer.safetensors");
        optimizer = AdamW::load(path, config.adamw(), &pretrained.model)?;
        state = checkpoint.read_json("state.json")?;
        begin = checkpoint.step;
        eprintln!("resuming after step {begin} of {}", config.steps);
    } else {
        let first = speech.tokenizer().decode(&rollouts::task_at(&tasks, 0, config.seed).prompt, false)?;
        eprintln!("{} questions; the first prompt:\n  {}", tasks.len(), first.replace('\n', "\n  "));
    }

    let interrupt = Interrupt::install();
    let pad = pretrained.config.pad.or(pretrained.eos().first().copied()).unwrap_or(0);
    let mut model = pretrained.model.clone();
    let mut progress = Progress::new("grpo", config.steps, begin);
    let started = Instant::now();
    for step in begin..config.steps {
        // Responses: groups to compare within, by the policy as it is.
        let clock = Instant::now();
        let (mut groups, dropped) =
            roll_out(&model.valid(), &tasks, &mut state.position, &config, &speech, &stop)?;
        if let Some(reference) = &reference {
            rollouts::refer(&mut groups, reference, &config)?;
        }
        let rewards: Vec<f64> = groups.iter().flat_map(|g| g.answers.iter().map(|a| a.reward)).collect();
        let of_group = |(at, g): (usize, &Group)| vec![at as u64; g.answers.len()];
        let owners: Vec<u64> = groups.iter().enumerate().flat_map(of_group).collect();
        let advantages = advantage::group(&rewards, &owners, &config.advantage)?;
        for (answer, advantage) in groups.iter_mut().flat_map(|g| &mut g.answers).zip(advantages) {
            answer.advantage = advantage;
        }
        let sampling_seconds = clock.elapsed().as_secs_f64();

        // Updates: every response is seen `epochs` times, in `minibatches` parts.
        let lr = config.schedule().at(step);
        let all: Vec<Rollout> = groups.iter().flat_map(Group::rollouts).collect();
        let mut order: Vec<usize> = (0..all.len()).collect();
        let mut seen = Update::default();
        for epoch in 0..config.epochs {
            order.shuffle(&mut stream(config.seed, "grpo-minibatch", step, epoch, 0));
            for part in order.chunks(all.len().div_ceil(config.minibatches).max(1)) {
                let mut part: Vec<Rollout> = part.iter().map(|at| all[*at]).collect();
                // Like lengths share a micro-batch.
                part.sort_by_key(|rollout| rollout.prompt.len() + rollout.response.len());
                let mut gradients = Gradients::new();
                let update = learn(&model, &part, pad, &config, &mut gradients)?;
                let norm = gradients.clip_global_norm(config.max_norm);
                if state.guard.check(state.updates, update.loss, norm)? == Step::Take {
                    model = optimizer.step(lr, model, gradients);
                }
                state.updates += 1;
                seen.add(&update, norm);
            }
        }

        // Report.
        let done = step + 1;
        let last = done == config.steps;
        let sampled: Vec<Group> = groups.into_iter().chain(dropped).collect();
        for record in sampled.iter().flat_map(|group| group.records(done)) {
            run.append("samples/rollouts.jsonl", &record)?;
        }
        let mut line = rollouts::describe(&sampled);
        state.reward = line["reward"].as_f64().unwrap_or(0.0);
        let tokens: usize =
            sampled.iter().flat_map(|g| &g.answers).map(|a| a.written.sample.tokens.len()).sum();
        state.tokens += tokens as u64;
        line.extend(seen.metrics(lr));
        if !held_out.is_empty() && (last || done.is_multiple_of(config.eval_every)) {
            let found = rollouts::accuracy(&model.valid(), &held_out, &config, &speech, &stop)?;
            line.insert("eval_accuracy".into(), json!(found));
            run.mark_best(done, -found)?;
        }
        let seconds = clock.elapsed().as_secs_f64();
        let rate = tokens as f64 / sampling_seconds;
        run.log(
            done,
            &line,
            &json!({"sampling_seconds": sampling_seconds, "sampled_tokens_per_second": rate}),
        )?;
        progress.update(done, format!("reward {:.3}, {seconds:.1} s a step", state.reward));

        // Checkpoint: the copies share storage with the model until its next step.
        let stopping = interrupt.is_raised() && !last;
        if stopping || last || done.is_multiple_of(config.checkpoint_every) {
            let copy = Pretrained { model: model.valid(), ..pretrained.clone() };
            let moments = optimizer.state();
            let text = serde_json::to_vec_pretty(&state)?;
            run.checkpoint_in_background(done, move |dir| -> Result<()> {
                copy.save(dir)?;
                moments.save(dir.join("optimizer.safetensors"))?;
                Ok(training::write_atomic(dir.join("state.json"), &text)?)
            })?;
        }
        if stopping {
            run.wait()?;
            progress.finish();
            eprintln!("stopped after step {done} of {}; go on with --resume", config.steps);
            return Ok(ExitCode::from(130));
        }
    }
    progress.finish();
    run.wait()?;

    let output = config.output();
    let finished = Pretrained { model: model.valid(), ..pretrained };
    training::write_folder(&output, |dir| finished.save(dir))?;
    let results = json!({
        "steps": config.steps, "updates": state.updates, "questions": state.position, "tokens": state.tokens,
        "reward": state.reward, "skipped": state.guard.skipped,
    });
    run.write_json("results.json", &results)?;
    run.write_json("timing.json", &json!({"total_seconds": started.elapsed().as_secs_f64()}))?;
    println!("{}", output.display());
    Ok(ExitCode::SUCCESS)
}

/// A step's groups, and those that dynamic sampling (DAPO, arXiv 2503.14476, section 3.2) left out.
fn roll_out<'a>(
    model: &CausalLm,
    tasks: &'a [Task],
    position: &mut u64,
    config: &Config,
    speech: &Speech,
    stop: &[String],
) -> Result<(Vec<Group<'a>>, Vec<Group<'a>>)> {
    let (mut kept, mut dropped) = (Vec::new(), Vec::new());
    for _ in 0..=config.dynamic_rounds {
        let missing = (config.questions - kept.len()) as u64;
        let groups = rollouts::sample(model, tasks, *position..*position + missing, config, speech, stop)?;
        *position += missing;
        for group in groups {
            let keep = config.dynamic_rounds == 0 || group.has_signal();
            if keep { &mut kept } else { &mut dropped }.push(group);
        }
        if kept.len() == config.questions {
            break;
        }
    }
    Ok((kept, dropped))
}

/// What happened in one update, or in several.
#[derive(Default)]
struct Update {
    loss: f64,
    kl: f64,
    diagnostics: Diagnostics,
    updates: f64,
    norm: f64,
}

impl Update {
    fn add(&mut self, other: &Update, norm: f64) {
        self.loss += other.loss;
        self.kl += other.kl;
        self.diagnostics.merge(&other.diagnostics);
        self.updates += 1.0;
        self.norm = self.norm.max(norm);
    }

    fn metrics(&self, lr: f64) -> serde_json::Map<String, serde_json::Value> {
        let means = self.diagnostics.summary();
        let line = json!({
            "loss": self.loss / self.updates.max(1.0), "entropy": means.entropy, "approx_kl": means.approx_kl_k3,
            "kl_reference": self.kl / means.tokens.max(1.0), "clip_low": means.clip_fraction_low,
            "clip_high": means.clip_fraction_high, "ratio_max": means.ratio_max, "gradient_norm": self.norm, "lr": lr,
            "learned_tokens": means.tokens,
        });
        line.as_object().cloned().unwrap_or_default()
    }
}

/// Adds the gradient of one update's responses, a micro-batch at a time. The counts are those of the whole update, so the
/// parts add up to it exactly.
fn learn(
    model: &CausalLm,
    part: &[Rollout],
    pad: u32,
    config: &Config,
    gradients: &mut Gradients,
) -> Result<Update> {
    let counts = RolloutBatch::counts(part.iter().copied());
    let mut update = Update::default();
    for rows in part.chunks(config.micro_batch) {
        let batch = RolloutBatch::collate(rows, pad, &model.device())?;
        let (hidden, mask) = (model.hidden(Inputs::new(batch.tokens)), batch.mask);
        let new = token_log_probs(hidden, model.head(), batch.targets, mask.clone(), &config.log_probs())?;
        let old = batch.old_logp;
        let mut loss =
            objective(new.logp.clone(), old.clone(), batch.advantages, mask.clone(), &config.objective)?
                .minus_entropy(new.entropy, config.entropy)?;
        if let Some(reference) = batch.reference_logp {
            let kl = kl(new.logp, reference, Some(old), mask.clone(), &config.kl_term)?;
            update.kl += kl.clone().sum().into_scalar::<f64>();
            loss = loss.plus_kl(kl, config.kl)?;
        }
        update.diagnostics.merge(&loss.diagnostics);
        let loss = aggregate(loss.loss, mask, config.aggregation, &counts)?;
        update.loss += loss.clone().into_scalar::<f64>();
        gradients.add(loss.backward(), model);
    }
    Ok(update)
}
