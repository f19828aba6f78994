//! Sampling from a Hugging Face folder: configuration, input, model, samples as they end.
#![forbid(unsafe_code)]

mod config;
mod writer;

use std::collections::HashSet;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use config::{Args, Config};
use models::{LoadOptions, Pretrained, Prompt, Request, StopTexts, Task, TemplateValue, generate};
use serde::Deserialize;
use serde_json::{Map, Value};
use training::{Appended, Line, Progress, read_lines};
use writer::Writer;

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

/// A line of the input.
#[derive(Deserialize)]
struct Record {
    id: Value,
    prompt: Option<String>,
    messages: Option<Vec<TemplateValue>>,
    /// Carried through.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

fn run(args: &Args) -> Result<ExitCode> {
    // Everything is read and checked before anything is written.
    let config = args.resolve()?;
    training::check_not_input(&config.output, &config.input)?;
    let device = training::device(&config.device)?;
    let lines = read(&config)?;
    let options = LoadOptions { dtype: config.precision()?, ..LoadOptions::new(&device) };
    let pretrained = Pretrained::load(&config.model, &options)?;
    let folder = config.model.display();
    ensure!(
        pretrained.config.task == Task::CausalLm,
        "{folder} holds a reward model, which writes nothing: use `score`"
    );
    let tokenizer =
        pretrained.tokenizer.as_ref().with_context(|| format!("{folder} has no tokenizer.json"))?;
    let requests = encode(&lines, &pretrained, &config)?;
    let stops = StopTexts::new(tokenizer, &config.stop)?;

    let (output, written) = Appended::open(&config.output, &config.settings())?;
    check_written(&written, &lines, &config)?;
    let total = lines.len() * config.samples;
    if written.len() == total {
        eprintln!("{} is complete: {total} samples", config.output.display());
        return Ok(ExitCode::SUCCESS);
    }

    // Lines that are done are left out; one that is half done is sampled again, which gives the same samples.
    let first = written.len() / config.samples;
    let progress = Progress::new("generate", total as u64, written.len() as u64);
    let (before, half) = (first * config.samples, written.len() % config.samples);
    let lines = &lines[first..];
    let mut writer = Writer::new(output, lines, (before, half), &stops, tokenizer, &config, progress);
    let sampling = config.sampling(pretrained.eos());
    // Results stay in memory until a call ends, so one call takes a part of a long input.
    let part = (64 * sampling.batch_size).div_ceil(config.samples);
    for (index, requests) in requests[first..].chunks(part).enumerate() {
        writer.begin(index * part);
        match generate(&pretrained.model, requests, &sampling, &mut writer) {
            Ok(_) | Err(models::Error::Abandoned) => writer.check()?,
            Err(error) => return Err(error.into()),
        }
        if writer.interrupted() && writer.written() < total {
            writer.finish();
            eprintln!("stopped after {} of {total} samples; the same command goes on", writer.written());
            return Ok(ExitCode::from(130));
        }
    }
    writer.finish();
    Ok(ExitCode::SUCCESS)
}

fn read(config: &Config) -> Result<Vec<Line<Record>>> {
    let lines: Vec<Line<Record>> = read_lines(&config.input)?;
    let mut seen = HashSet::new();
    for Line { number, record } in &lines {
        let place = || format!("{} line {number}", config.input.display());
        let Record { id, prompt, messages, .. } = record;
        ensure!(
            id.is_string() || id.is_number(),
            "{}: `id` must be a string or a number, found {id}",
            place()
        );
        ensure!(seen.insert(id.to_string()), "{}: id {id} was given before: make ids unique", place());
        ensure!(prompt.is_none() || messages.is_none(), "{}: give `prompt` or `messages`, not both", place());
        ensure!(prompt.is_some() || messages.is_some(), "{}: `prompt` or `messages` is missing", place());
    }
    Ok(lines)
}

/// The requests of all lines, with the model's limits checked.
fn encode(lines: &[Line<Record>], pretrained: &Pretrained, config: &Config) -> Result<Vec<Request>> {
    let limit = pretrained.config.max_positions;
    let mut beyond = 0;
    let mut requests = Vec::new();
    for Line { number, record } in lines {
        let place = || format!("{} line {number}", config.input.display());
        let prompt = match (&record.prompt, &record.messages) {
            (Some(text), _) => Prompt::Text(text.clone()),
            (None, messages) => Prompt::Messages(messages.clone().unwrap_or_default()),
        };
        let prompt = pretrained.encode(&prompt, true).with_context(place)?;
        let (length, vocab) = (prompt.len(), pretrained.config.vocab_size);
        if let Some(token) = prompt.iter().find(|token| **token as usize >= vocab) {
            bail!(
                "{}: the tokenizer gives token {token}, and the model knows {vocab}: they do not belong together",
                place()
            );
        }
        if length == 0 {
            bail!("{}: the prompt has no tokens: this tokenizer adds none, so give some text", place());
        }
        ensure!(
            length <= limit,
            "{}: the prompt has {length} tokens and the model takes {limit} (`max_position_embeddings`): shorten it",
            place()
        );
        beyond += usize::from(length + config.sampling(&[]).max_new_tokens > limit);
        let id = stream_key(&record.id);
        requests.push(Request { id, prompt, samples: config.samples });
    }
    if beyond > 0 {
        eprintln!(
            "warning: {beyond} of the prompts may be continued beyond the {limit} positions the model was made for"
        );
    }
    Ok(requests)
}

/// The part of a random stream's key that an id gives: FNV-1a of its JSON text, whatever else the file holds.
fn stream_key(id: &Value) -> u64 {
    id.to_string()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What was written before must be the beginning of what is to be written.
fn check_written(written: &[Map<String, Value>], lines: &[Line<Record>], config: &Config) -> Result<()> {
    let places = |line| (0..config.samples).map(move |sample| (line, sample));
    let mut expected = lines.iter().map(|line| &line.record.id).flat_map(places);
    for (number, record) in written.iter().enumerate() {
        let found = (record.get("id"), record.get("sample").and_then(Value::as_u64));
        let fits = expected.next().is_some_and(|(id, sample)| found == (Some(id), Some(sample as u64)));
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
