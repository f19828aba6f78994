//! Scoring with a Hugging Face folder: configuration, input, model, records part by part.
#![forbid(unsafe_code)]

mod config;
mod input;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Parser;
use config::{Args, Config};
use input::Record;
use models::{LoadOptions, Pretrained, ScoreOptions, Scored, Task, reward, score};
use serde::Serialize;
use serde_json::{Map, Value};
use training::{Appended, Interrupt, Line, Progress};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", training::sentence(error.as_ref()));
            ExitCode::from(2)
        }
    }
}

/// What is found out about a line.
#[derive(Serialize)]
#[serde(untagged)]
enum Found<'a> {
    Completion { token_ids: &'a [u32], logprobs: Vec<f32>, sum_logprob: f64 },
    Reward { score: f32 },
}

/// A line of the output.
#[derive(Serialize)]
struct Out<'a> {
    id: &'a Value,
    #[serde(flatten)]
    found: Found<'a>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Names of the output that a line of the input may not carry through.
const OWN: [&str; 3] = ["logprobs", "sum_logprob", "score"];
/// Records are written when about this many batches have run.
const BATCHES: usize = 4;

fn run(args: &Args) -> Result<ExitCode> {
    // Everything is read and checked before anything is written.
    let config = args.resolve()?;
    training::check_not_input(&config.output, &config.input)?;
    let device = training::device(&config.device)?;
    let lines = input::read(&config)?;
    let options = LoadOptions { dtype: config.precision()?, ..LoadOptions::new(&device) };
    let pretrained = Pretrained::load(&config.model, &options)?;
    let sequences = input::encode(&lines, &pretrained, &config)?;

    let (mut output, written) = Appended::open(&config.output, &config.settings())?;
    check_written(&written, &lines, &config)?;
    let mut done = written.len();
    if done == lines.len() {
        eprintln!("{} is complete: {done} records", config.output.display());
        return Ok(ExitCode::SUCCESS);
    }

    let options = ScoreOptions { batch_tokens: config.batch_tokens, ..ScoreOptions::default() };
    let mut progress = Progress::new("score", lines.len() as u64, done as u64);
    let (started, mut tokens) = (Instant::now(), 0);
    let interrupt = Interrupt::install();
    while done < lines.len() {
        if interrupt.is_raised() {
            progress.finish();
            eprintln!("stopped after {done} of {} records; the same command goes on", lines.len());
            return Ok(ExitCode::from(130));
        }
        let end = done + part(&sequences[done..], config.batch_tokens * BATCHES);
        let sequences = &sequences[done..end];
        let found = found(&pretrained, sequences, &options)?;
        for (line, found) in lines[done..end].iter().zip(found) {
            let Record { id, rest, .. } = &line.record;
            let mut rest = rest.clone();
            rest.retain(|key, _| !OWN.contains(&key.as_str()));
            output.append(&Out { id, found, rest })?;
        }
        done = end;
        tokens += sequences.iter().map(|sequence| sequence.tokens.len()).sum::<usize>();
        let rate = tokens as f64 / started.elapsed().as_secs_f64().max(1e-9);
        progress.update(done as u64, format!("{rate:.0} tokens/s"));
    }
    progress.finish();
    Ok(ExitCode::SUCCESS)
}

/// How many of the next sequences have about `tokens` tokens; at least one.
fn part(sequences: &[Scored], tokens: usize) -> usize {
    let mut sum = 0;
    let count = sequences.iter().take_while(|sequence| {
        sum += sequence.tokens.len();
        sum <= tokens
    });
    count.count().max(1)
}

fn found<'a>(
    pretrained: &Pretrained,
    sequences: &'a [Scored],
    options: &ScoreOptions,
) -> Result<Vec<Found<'a>>> {
    if pretrained.config.task == Task::Reward {
        let texts: Vec<&[u32]> = sequences.iter().map(|sequence| sequence.tokens.as_slice()).collect();
        let scores = reward(&pretrained.model, &texts, options)?;
        return Ok(scores.into_iter().map(|score| Found::Reward { score }).collect());
    }
    let all = score(&pretrained.model, sequences, options)?;
    let completion = |(sequence, logprobs): (&'a Scored, Vec<f32>)| {
        // With an empty prompt nothing predicts the first token.
        let first = sequence.prompt_length.max(1).min(sequence.tokens.len());
        let sum_logprob = logprobs.iter().map(|logprob| f64::from(*logprob)).sum();
        Found::Completion { token_ids: &sequence.tokens[first..], logprobs, sum_logprob }
    };
    Ok(sequences.iter().zip(all).map(completion).collect())
}

/// What was written before must be the beginning of what is to be written.
fn check_written(written: &[Map<String, Value>], lines: &[Line<Record>], config: &Config) -> Result<()> {
    for (number, record) in written.iter().enumerate() {
        let fits = lines.get(number).is_some_and(|line| {
            record.get("id") == Some(&line.record.id)
                && record.get("sample") == line.record.rest.get("sample")
        });
        ensure!(
            fits,
            "{} line {}: this record is not what {} gives: name another output, or remove this one",
            config.output.display(),
            number + 1,
            config.input.display()
        );
    }
    Ok(())
}
