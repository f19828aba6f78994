//! Reinforcement learning with verifiable rewards: configuration, questions, model, loop, report.
#![forbid(unsafe_code)]

mod config;
mod learner;
mod lora;
mod ppo;
mod rewards;
mod rollouts;
mod share;
mod update;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use burn::module::Module;
use clap::Parser;
use config::{Args, Config};
use evaluation::local::Speech;
use learner::Learner;
use models::{LoadOptions, Pretrained};
use polya_prompts::Family;
use rand::seq::SliceRandom;
use rollouts::{Group, Task};
use serde_json::{Map, json};
use training::{
    Environment, Existing, GradientReducer, Interrupt, NonFinite, Progress, RunFolder, Step, stream,
};
use update::{Row, Update, learn};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).without_time().init();
    let args = Args::parse();
    training::launch(|workers| run(&args, workers))
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

fn run(args: &Args, workers: &mut dyn GradientReducer) -> Result<ExitCode> {
    // Configuration, model, questions: everything is read and checked before anything is written.
    let config = args.resolve()?;
    let first = workers.worker() == 0;
    let device = training::device(&config.device)?;
    let options = LoadOptions { dtype: config.precision()?, ..LoadOptions::new(&device.clone().autodiff()) };
    let mut learner = Learner::new(Pretrained::load(&config.model, &options)?, &config)?;
    let speech = Speech::new(&config.model, &learner.policy)?;
    let family = Family::maths();
    let tasks = rollouts::tasks(&config.input, &config, &family, &speech)?;
    let held_out = rollouts::tasks(&config.eval, &config, &family, &speech)?;
    let stop = config.stop(&family.templates().stop);
    let reference = match (&config.reference, &learner.base) {
        _ if config.kl == 0.0 => None,
        (None, Some(base)) => Some(base.reference()),
        (folder, _) => {
            let inner = LoadOptions { device: device.clone(), ..options.clone() };
            Some(Pretrained::load(folder.as_ref().unwrap_or(&config.model), &inner)?.model)
        }
    };

    training::agree(workers, "configuration or data", digest(&config, &[&tasks, &held_out])?)?;

    // Of several workers the first writes.
    let existing = Existing::from_flags(args.resume, args.overwrite);
    if first {
        let read: Vec<&Path> =
            [&config.model].into_iter().chain(&config.reference).map(|p| p.as_path()).collect();
        training::check_output(&config.output(), &config.run_dir, &read, existing)?;
    }
    let mut run = RunFolder::create_among(&config.run_dir, existing, workers)?;
    run.write_config(&config, &["device", "checkpoint_every", "keep_last", "output"])?;
    let environment = Environment::capture("grpo", env!("CARGO_PKG_VERSION"), &config.device, config.seed);
    run.write_json("environment.json", &environment)?;
    run.keep(config.keep());

    // The last whole checkpoint, if there is one.
    let mut state = State { guard: NonFinite::new(config.non_finite()), ..State::default() };
    let mut begin = 0;
    if let Some(checkpoint) = run.resume_among(workers)? {
        learner = learner.resume(&checkpoint, &options, &config)?;
        state = checkpoint.read_json("state.json")?;
        begin = checkpoint.step;
        if first {
            eprintln!("resuming after step {begin} of {}", config.steps);
        }
    } else if first {
        let prompt = speech.tokenizer().decode(&rollouts::task_at(&tasks, 0, config.seed).prompt, false)?;
        eprintln!("{} questions; the first prompt:\n  {}", tasks.len(), prompt.replace('\n', "\n  "));
        if config.questions > tasks.len() {
            eprintln!(
                "warning: a step asks {} questions and there are {}: some are asked more than once in it",
                config.questions,
                tasks.len()
            );
        }
    }
    learner = learner.broadcast(workers);

    let interrupt = Interrupt::install();
    let pad = learner.policy.config.pad.or(learner.policy.eos().first().copied()).unwrap_or(0);
    let mut progress = if first { Progress::new("grpo", config.steps, begin) } else { Progress::hidden() };
    let started = Instant::now();
    for step in begin..config.steps {
        // Responses, by the policy as it is (workers share the sampling and tell each other), and how much better each was
        // than the others or than expected.
        let clock = Instant::now();
        let policy = learner.sampler();
        let (mut groups, dropped) =
            rollouts::roll_out(&policy, &tasks, &mut state.position, &config, &speech, &stop, workers)?;
        if let Some(reference) = &reference {
            rollouts::refer(&mut groups, reference, &config, workers)?;
        }
        let estimated = match (&config.ppo, &learner.head) {
            (Some(ppo), Some(head)) => {
                ppo::estimate(&mut groups, &policy, &head.valid(), pad, &config, ppo, workers)?
            }
            _ => {
                rollouts::compare(&mut groups, &config)?;
                Map::new()
            }
        };
        drop(policy);
        let sampling_seconds = clock.elapsed().as_secs_f64();

        // Updates: every response is seen `epochs` times, in `minibatches` parts.
        let lr = config.schedule().at(step);
        let value_lr = config.ppo.as_ref().map(|ppo| config.value_schedule(ppo).at(step));
        let all: Vec<Row> = groups.iter().flat_map(Group::rows).collect();
        let mut order: Vec<usize> = (0..all.len()).collect();
        let mut seen = Update::default();
        for epoch in 0..config.epochs {
            order.shuffle(&mut stream(config.seed, "grpo-minibatch", step, epoch, 0));
            for part in order.chunks(all.len().div_ceil(config.minibatches).max(1)) {
                let mut part: Vec<Row> = part.iter().map(|at| all[*at]).collect();
                // Like lengths share a micro-batch.
                part.sort_by_key(Row::length);
                let (gradients, update) = learn(&learner, &part, pad, &config, workers)?;
                let (loss, norm) = update.sums();
                let verdict = state.guard.check(state.updates, loss, norm);
                if !matches!(verdict, Ok(Step::Take)) {
                    // Left out, or the end of the run: its responses are kept for a look at them.
                    let texts = update::texts(&part, speech.tokenizer())?;
                    run.write_json(&format!("not-finite-update-{}.json", state.updates), &texts)?;
                }
                if verdict? == Step::Take {
                    learner = learner.step(lr, value_lr.unwrap_or(lr), gradients);
                }
                state.updates += 1;
                seen.add(&update);
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
        line.extend(seen.metrics(lr, value_lr));
        line.extend(estimated);
        let mut best = false;
        if !held_out.is_empty() && (last || done.is_multiple_of(config.eval_every)) {
            let found = rollouts::accuracy(&learner.sampler(), &held_out, &config, &speech, &stop, workers)?;
            line.insert("eval_accuracy".into(), json!(found));
            best = run.mark_best(done, -found)?;
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
        let stopping = interrupt.is_raised_among(workers) && !last;
        if stopping || last || best || done.is_multiple_of(config.checkpoint_every) {
            let copy = learner.snapshot(&config);
            let text = serde_json::to_vec_pretty(&state)?;
            run.checkpoint_in_background(done, move |dir| -> Result<()> {
                copy.save(dir)?;
                Ok(training::write_atomic(dir.join("state.json"), &text)?)
            })?;
        }
        if stopping {
            run.wait()?;
            progress.finish();
            if first {
                eprintln!("stopped after step {done} of {}; go on with --resume", config.steps);
            }
            return Ok(ExitCode::from(130));
        }
    }
    progress.finish();
    run.wait()?;

    if !first {
        return Ok(ExitCode::SUCCESS);
    }
    learner.finish(&run, &config)?;
    let results = json!({
        "steps": config.steps, "updates": state.updates, "questions": state.position, "tokens": state.tokens,
        "reward": state.reward, "skipped": state.guard.skipped,
    });
    run.write_json("results.json", &results)?;
    let timing =
        json!({"total_seconds": started.elapsed().as_secs_f64(), "checkpoints": run.checkpoint_times()});
    run.write_json("timing.json", &timing)?;
    println!("{}", config.output().display());
    Ok(ExitCode::SUCCESS)
}

/// What workers must have in common to take the same steps.
fn digest(config: &Config, tasks: &[&[Task]]) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(config)?.hash(&mut hasher);
    for task in tasks.iter().copied().flatten() {
        (&task.id, &task.prompt, format!("{:?}", task.gold)).hash(&mut hasher);
    }
    Ok(hasher.finish())
}
