//! Streams `{"id", "gold", "response"}` lines into `{"id", "verdict", "extracted", "reason"}` lines.
#![forbid(unsafe_code)]

use std::{
    io::{BufRead, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::{Map, Value};
use verifier::{Gold, Policy, Response, verify_with};

/// Decides for each line whether the response's final answer equals the gold answer.
///
/// Reads one JSON object a line from standard input, with "id", "gold" and "response"; writes the object with "verdict",
/// "extracted" and "reason" in place of "gold" and "response". Other fields are carried through. A bad line ends the
/// program with exit code 2, after the verdicts of the lines before it.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// A TOML or JSON file with the policy; its keys are the fields of `verifier::Policy`.
    #[arg(long)]
    policy: Option<PathBuf>,
    /// The response is already just the answer: nothing is extracted.
    #[arg(long)]
    answer_only: bool,
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
    let policy = match &args.policy {
        Some(path) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            toml::from_str(&text).with_context(|| format!("bad policy in {}", path.display()))?
        }
        None => Policy::default(),
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let result = stream(args, &policy, &mut out);
    out.flush()?;
    result
}

fn stream(args: &Args, policy: &Policy, out: &mut impl Write) -> Result<()> {
    for (n, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line?;
        let at = || format!("stdin line {}", n + 1);
        let mut record: Map<String, Value> = serde_json::from_str(&line).with_context(at)?;
        let mut field = |name: &str| -> Result<String> {
            match record.remove(name) {
                Some(Value::String(s)) => Ok(s),
                Some(other) => anyhow::bail!("`{name}` must be a string, found {other}"),
                None => anyhow::bail!("`{name}` is missing"),
            }
        };
        let gold = field("gold").with_context(at)?;
        let response = field("response").with_context(at)?;
        let gold = Gold::parse_with(&gold, policy);
        let response =
            if args.answer_only { Response::answer_only(&response) } else { Response::new(&response) };
        let v = verify_with(&gold, &response, policy);
        record.insert("verdict".into(), v.verdict.name().into());
        record.insert("extracted".into(), v.extracted.map_or(Value::Null, Value::String));
        record.insert("reason".into(), v.reason.message().into());
        serde_json::to_writer(&mut *out, &record)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}
