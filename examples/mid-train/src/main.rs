//! Supervised fine-tuning of a Hugging Face folder: configuration, data, model, loop, report.
#![forbid(unsafe_code)]

mod config;
mod data;
mod passes;
mod plan;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use burn::module::Module;
use clap::Parser;
use config::Args;
use models::{LoadOptions, Pretrained};
use passes::{evaluate, hidden, sum};
use plan::{digest, plan, show_first};
use serde_json::json;
use sft::{Batch, Example, Row, TokenMetrics, cross_entropy, prepare, show};
use training::{
    AdamW, EarlyStop, Environment, Existing, GradientReducer, Gradients, Interrupt, NonFinite, Progress,
    RunFolder, Step,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).without_time().init();
    let args = Args::parse();
    training::launch(|workers| run(&args, workers))
}

/// What a checkpoint holds besides weights and moments. Random streams are keyed by seed and step, so the
/// step is all there is to know about them and about the place in the data.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct State {
    guard: NonFinite,
    stop: Option<EarlyStop>,
    tokens: f64,
    last: Option<f64>,
    stopped: bool,
}

fn run(args: &Args, workers: &mut dyn GradientReducer) -> Result<ExitCode> {
    // Configuration, data, model: everything is read and checked before anything is written.
    let config = args.resolve()?;
    let first = workers.worker() == 0;
    let device = training::device(&config.device)?;
    let precision = config.precision()?;
    let options = LoadOptions { dtype: precision, ..LoadOptions::new(&device.clone().autodiff()) };
    let mut pretrained = Pretrained::load(&config.model, &options)?;
    let encoder = data::Encoder::new(&config.model, &pretrained)?;
    let load = |files: &[std::path::PathBuf]| -> Result<Vec<Example>> {
        let (records, wrong) = data::read(files, &config)?;
        let examples = encoder.examples(&records, &config)?;
        let prepared = prepare(examples, &config.prepare(&pretrained.config))
            .map_err(|error| data::explain(error, &encoder, &records))?;
        if first && wrong > 0 {
            eprintln!("{wrong} variants marked as not correct are left out (`only_correct`)");
        }
        if first {
            let positions = pretrained.config.max_positions;
            let limit = if config.max_length > positions {
                format!(" at the model's {positions} positions")
            } else {
                String::new()
            };
            eprintln!(
                "{} examples ({} cut{limit}, {} too long, {} with nothing to learn)",
                prepared.examples.len(),
                prepared.truncated,
                prepared.too_long,
                prepared.nothing_to_learn.len()
            );
        }
        Ok(prepared.examples)
    };
    let examples = load(&config.input)?;
    let held_out = if config.eval.is_empty() { Vec::new() } else { load(&config.eval)? };
    let steps = plan(&examples, &config)?;
    let total = steps.len() as u64;
    let schedule = config.schedule(total);
    schedule.check().map_err(|error| error.renamed(&[("peak", "lr")]))?;
    config.adamw().check()?;
    config.loss().check()?;
    training::agree(workers, "configuration or data", digest(&config, &[&examples, &held_out])?)?;

    // Of several workers the first writes.
    let existing = Existing::from_flags(args.resume, args.overwrite);
    if first {
        training::check_output(&config.output(), &config.run_dir, &[&config.model], existing)?;
    }
    let mut run = RunFolder::create_among(&config.run_dir, existing, workers)?;
    run.write_config(&config, &["device", "checkpoint_every", "keep_last", "output"])?;
    run.write_json(
        "environment.json",
        &Environment::capture("mid-train", env!("CARGO_PKG_VERSION"), &config.device, config.seed),
    )?;
    run.keep(config.keep());

    // The last whole checkpoint, if there is one.
    let mut state = State { guard: NonFinite::new(config.non_finite()), ..State::default() };
    state.stop = (config.patience > 0).then(|| EarlyStop::new(config.patience, 0.0));
    let mut optimizer = AdamW::new(config.adamw());
    let mut begin = 0;
    if let Some(checkpoint) = run.resume_among(workers)? {
        pretrained = Pretrained::load(&checkpoint.path, &options)?;
        let path = checkpoint.file("optimizer.safetensors");
        optimizer = AdamW::load(path, config.adamw(), &pretrained.model)?;
        state = checkpoint.read_json("state.json")?;
        begin = checkpoint.step;
        if first {
            eprintln!("resuming after step {begin} of {total}");
        }
    } else if first {
        show_first(&steps[0][0], &examples, &encoder);
    }

    let interrupt = Interrupt::install();
    let pad = pretrained.config.pad.or(pretrained.eos().first().copied()).unwrap_or(0);
    let mut model = training::broadcast_parameters(pretrained.model.clone(), workers);
    let mut progress = if first { Progress::new("mid-train", total, begin) } else { Progress::hidden() };
    let started = Instant::now();
    for step in begin..total {
        if state.stopped {
            break;
        }
        // One step: gradients of all micro-batches as sums, divided by their tokens together. Workers take turns at
        // micro-batches and add up what they found.
        let clock = Instant::now();
        let mut gradients = Gradients::new();
        let mut metrics = TokenMetrics::default();
        let mut passes = Duration::ZERO;
        let micro_batches: Vec<(usize, &Vec<Row>)> = steps[step as usize].iter().enumerate().collect();
        for (number, rows) in training::shard(&micro_batches, workers) {
            let batch = Batch::from_rows(rows, &examples, pad, &device)?;
            let pass = Instant::now();
            let hidden = hidden(&model, &batch, rows, &config, (step, *number));
            let loss = cross_entropy(hidden, model.head(), &batch, &config.loss())?;
            metrics.add(&loss.metrics());
            gradients.add(loss.sum.backward(), &model);
            passes += pass.elapsed();
        }
        let computed = Instant::now();
        let metrics = sum(&metrics, workers);
        gradients.reduce(workers, &model);
        let summed = Instant::now();
        gradients.scale(1.0 / metrics.count.max(1.0));
        let norm = gradients.clip_global_norm(config.max_norm);
        let lr = schedule.at(step);
        let verdict = state.guard.check(step, metrics.loss, norm);
        if !matches!(verdict, Ok(Step::Take)) {
            // Left out, or the end of the run: its examples are kept for a look at them.
            let pieces = steps[step as usize].iter().flatten().flatten();
            let texts: Vec<String> =
                pieces.map(|piece| show(&examples[piece.example], |tokens| encoder.text(tokens))).collect();
            run.write_json(&format!("not-finite-step-{step}.json"), &texts)?;
        }
        if verdict? == Step::Take {
            model = optimizer.step(lr, model, gradients);
        }
        let updated = Instant::now();
        state.tokens += metrics.count;
        state.last = Some(metrics.mean_loss());

        // Report.
        let done = step + 1;
        let seconds = clock.elapsed().as_secs_f64();
        let mut line = json!({
            "loss": metrics.mean_loss(), "perplexity": metrics.perplexity(), "entropy": metrics.mean_entropy(),
            "gradient_norm": norm, "lr": lr, "tokens": metrics.count, "padding": metrics.padding(),
        });
        let last = done == total;
        let mut best = false;
        if !held_out.is_empty() && (last || done.is_multiple_of(config.eval_every)) {
            let found = evaluate(&model, &held_out, pad, &device, &config, workers)?;
            line["eval_loss"] = json!(found.mean_loss());
            line["eval_accuracy"] = json!(found.accuracy());
            best = run.mark_best(done, found.mean_loss())?;
            state.stopped = state.stop.as_mut().is_some_and(|stop| stop.update(found.mean_loss()));
        }
        let time = json!({
            "tokens_per_second": metrics.fed / seconds,
            "passes_seconds": passes.as_secs_f64(),
            "reduce_seconds": (summed - computed).as_secs_f64(),
            "optimizer_seconds": (updated - summed).as_secs_f64(),
        });
        run.log(done, &line, &time)?;
        progress
            .update(done, format!("loss {:.4}, {:.0} tokens/s", metrics.mean_loss(), metrics.fed / seconds));

        // Checkpoint: the copies share storage with the model until its next step.
        let stop = interrupt.is_raised_among(workers) && !last;
        if stop || last || best || state.stopped || done.is_multiple_of(config.checkpoint_every) {
            let copy = Pretrained { model: model.valid(), ..pretrained.clone() };
            let moments = optimizer.state();
            let text = serde_json::to_vec_pretty(&state)?;
            run.checkpoint_in_background(done, move |dir| -> Result<()> {
                copy.save(dir)?;
                moments.save(dir.join("optimizer.safetensors"))?;
                Ok(training::write_atomic(dir.join("state.json"), &text)?)
            })?;
        }
        if stop {
            run.wait()?;
            progress.finish();
            if first {
                eprintln!("stopped after step {done} of {total}; go on with --resume");
            }
            return Ok(ExitCode::from(130));
        }
    }
    progress.finish();
    run.wait()?;

    if !first {
        return Ok(ExitCode::SUCCESS);
    }
    let output = config.output();
    let finished = Pretrained { model: model.valid(), ..pretrained };
    training::write_folder(&output, |dir| finished.save(dir))?;
    let results = json!({
        "steps": total, "examples": examples.len(), "tokens": state.tokens, "loss": state.last,
        "skipped": state.guard.skipped, "early_stop": state.stopped,
    });
    run.write_json("results.json", &results)?;
    let timing =
        json!({"total_seconds": started.elapsed().as_secs_f64(), "checkpoints": run.checkpoint_times()});
    run.write_json("timing.json", &timing)?;
    println!("{}", output.display());
    Ok(ExitCode::SUCCESS)
}
