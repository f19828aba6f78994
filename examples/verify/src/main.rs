//! Streams `{"id", "gold", "response"}` lines into `{"id", "verdict", "extracted", "reason"}` lines, and (feature `serve`)
//! answers reward requests over HTTP.
#![forbid(unsafe_code)]

mod record;
#[cfg(feature = "serve")]
mod serve;

use std::{
    io::{BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use rayon::prelude::*;
use verifier::Policy;

/// Decides for each line whether the response's final answer equals the gold answer.
///
/// Reads one JSON object a line from standard input, with the strings "gold" and "response" and any "id". Writes the object
/// with "verdict" (correct, incorrect, unparsed_response, unparsed_gold), "extracted" (a string or null) and "reason" in place of
/// "gold" and "response"; other fields are carried through. A bad line ends the program with exit code 2, after the verdicts
/// of the lines before it.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// A TOML or JSON file with the judgement calls; its keys are the fields of `verifier::Policy`, or the one key
    /// `preset` ("default", "lenient" or "strict") with changes beside it.
    #[arg(long, value_name = "FILE", global = true)]
    policy: Option<PathBuf>,
    /// The response is already just the answer: nothing is extracted from prose.
    #[arg(long)]
    answer_only: bool,
    /// Threads; the output is the same for every number.
    #[arg(long, default_value_t = 1, global = true, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serves rewards over HTTP (only in builds with the feature `serve`).
    Serve {
        /// Address to listen on.
        #[arg(long, default_value = "127.0.0.1:8799")]
        listen: String,
    },
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let policy = args.policy.as_deref().map_or_else(|| Ok(Policy::default()), read_policy)?;
    match &args.command {
        #[cfg(feature = "serve")]
        Some(Command::Serve { listen }) => serve::run(listen, &policy, usize::from(args.threads)),
        #[cfg(not(feature = "serve"))]
        Some(Command::Serve { .. }) => {
            anyhow::bail!(
                "this build cannot serve; build it with `cargo build --release -p verify --features serve`"
            )
        }
        None => {
            let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
            let result = stream(args, &policy, &mut out);
            // The verdicts before a bad line are printed; a reader that went away is no error.
            match out.flush() {
                Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
                Err(e) => Err(e.into()),
                Ok(()) => result,
            }
        }
    }
}

fn read_policy(path: &Path) -> Result<Policy> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the policy {}", path.display()))?;
    let bad = || format!("bad policy in {}", path.display());
    let mut table: toml::Table = if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).with_context(bad)?
    } else {
        toml::from_str(&text).with_context(bad)?
    };
    let base = match table.remove("preset").as_ref().map(|v| v.as_str()) {
        None | Some(Some("default")) => Policy::default(),
        Some(Some("lenient")) => Policy::lenient(),
        Some(Some("strict")) => Policy::strict(),
        Some(other) => anyhow::bail!(
            "bad policy in {}: preset must be default, lenient or strict, found {}",
            path.display(),
            other.unwrap_or("another type")
        ),
    };
    let mut merged = toml::Table::try_from(base).with_context(bad)?;
    merged.extend(table);
    let policy: Policy = toml::Value::Table(merged).try_into().with_context(bad)?;
    policy.check().map_err(anyhow::Error::msg).with_context(bad)?;
    Ok(policy)
}

/// Lines are taken in blocks; a block is verified on all threads and written in order.
fn stream(args: &Args, policy: &Policy, out: &mut impl Write) -> Result<()> {
    let pool = if args.threads > 1 {
        Some(rayon::ThreadPoolBuilder::new().num_threads(usize::from(args.threads)).build()?)
    } else {
        None
    };
    // `buffer` tells whether a further line is here already, without waiting for one.
    let mut input = BufReader::with_capacity(1 << 16, std::io::stdin().lock());
    let mut first_line = 1;
    let mut golds = record::Golds::default();
    loop {
        // With one thread each line is answered as soon as it is read in full; with more, whatever one read brought.
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let mut ended_early = false;
        let limit = if pool.is_some() { 64 * usize::from(args.threads) } else { 1 };
        while lines.len() < limit {
            let mut line = Vec::new();
            if input.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            lines.push(line);
            if !input.buffer().contains(&b'\n') {
                ended_early = true;
                break;
            }
        }
        if lines.is_empty() {
            return Ok(());
        }
        let answers: Vec<Result<Vec<u8>>> = match &pool {
            Some(pool) => pool.install(|| {
                lines
                    .par_iter()
                    .map(|line| record::answer(line, policy, args.answer_only, &mut record::Golds::default()))
                    .collect()
            }),
            None => {
                lines.iter().map(|line| record::answer(line, policy, args.answer_only, &mut golds)).collect()
            }
        };
        for (n, answer) in answers.into_iter().enumerate() {
            let answer = answer.with_context(|| format!("stdin line {}", first_line + n))?;
            match out.write_all(&answer) {
                Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
                other => other?,
            }
        }
        first_line += lines.len();
        // A writer that waits for each verdict gets it: the buffer held no further line.
        if ended_early {
            out.flush()?;
        }
    }
}
