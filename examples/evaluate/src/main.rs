//! pass@k on a benchmark: questions, completions, verdicts, report.
#![forbid(unsafe_code)]

mod completions;
mod config;
mod report;

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use completions::Source;
use config::Args;
use evaluation::datasets::{self, Question};
use polya_prompts::Family;
use report::{Judged, Results};
use serde_json::json;
use training::{Environment, Existing, Interrupt, RunFolder, write_atomic};

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

fn run(args: &Args) -> Result<ExitCode> {
    // Configuration, questions, source: everything is read and checked before anything is written.
    let config = args.resolve()?;
    let started = Instant::now();
    let benchmark = config.benchmark()?;
    let mut questions = match benchmark {
        Some(benchmark) => datasets::load(benchmark, &config.data)?,
        None => datasets::questions(&config.data)?,
    };
    questions.truncate(config.limit.unwrap_or(usize::MAX));
    let file = config.data.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let title = benchmark.map_or(file, |benchmark| benchmark.title.to_owned());
    let family = Family::maths();
    let source = Source::open(&config, &family, &questions)?;
    let name = match &source {
        Source::Folder(local) => local.identity().split(' ').next().unwrap_or_default().to_owned(),
        Source::Servers(_, model) => model.clone(),
        Source::File(_) => "completions".to_owned(),
    };

    let run = RunFolder::create(&config.run_dir, Existing::from_flags(args.resume, args.overwrite))?;
    run.write_config(&config, &["device", "batch_size", "concurrency", "timeout", "k"])?;
    let environment =
        Environment::capture("evaluate", env!("CARGO_PKG_VERSION"), &config.device, config.seed);
    run.write_json("environment.json", &environment)?;

    // Completions: appended to the journal as they come, so that a killed run goes on where it was.
    let interrupt = Interrupt::install();
    let journal = run.file("samples/journal.jsonl");
    let found = completions::complete(source, &config, &family, &questions, &journal, &interrupt)?;
    let Some(found) = found else {
        eprintln!("stopped; what was answered is kept: go on with --resume");
        return Ok(ExitCode::from(130));
    };

    // Verdicts.
    let by_id: HashMap<&str, &Question> = questions.iter().map(|q| (q.id.as_str(), q)).collect();
    let judge = |completion: completions::Completion| -> Result<Judged> {
        let question = by_id.get(completion.id.as_str()).context("a completion without its question")?;
        Ok(report::judge(question, completion))
    };
    let judged = found.into_iter().map(judge).collect::<Result<Vec<_>>>()?;
    let lines: String = judged.iter().map(|one| format!("{}\n", one.record())).collect();
    write_atomic(run.file("completions.jsonl"), lines.as_bytes())?;

    // Report.
    let fewest = by_id.keys().map(|id| judged.iter().filter(|j| j.completion.id == *id).count()).min();
    let results = Results::of(&title, &judged, &config.ks(fewest.unwrap_or(1)), config.seed);
    run.write_json("results.json", &results)?;
    write_atomic(run.file("report.html"), results.page(&name, &questions, &judged).as_bytes())?;
    run.write_json("timing.json", &json!({"total_seconds": started.elapsed().as_secs_f64()}))?;
    println!("{}", results.sentence());
    print!("{}", results.table().to_text());
    println!("report: {}", run.file("report.html").display());
    Ok(ExitCode::SUCCESS)
}
