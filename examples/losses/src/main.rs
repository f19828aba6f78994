//! Evaluates records of `policy-gradient`'s functions: `{"id", "function", "params", "inputs"}` lines in,
//! `{"id", "outputs", "grads"}` lines out.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use burn::tensor::DType;
use clap::{Parser, ValueEnum};
use losses::{Failure, Record, Table, evaluate, list};

/// Values and gradients of the functions of `policy-gradient`, for comparing with other libraries.
///
/// Reads one JSON object a line: "id", "function", "params" and "inputs" (arrays as {"shape", "data"}). Writes "id", "outputs"
/// and "grads" in the order of the input. `--list` describes every function as JSON. A line that is no record ends the program
/// with exit code 2 and its file and line; values that a function refuses give a line with "error" in place of the outputs.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Where records are read from; standard input if left out.
    file: Option<PathBuf>,
    /// Where results are written; standard output if left out.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Prints every function with its parameters, inputs and outputs, and every preset, as JSON.
    #[arg(long)]
    list: bool,
    /// The type that tensors are in, unless a record says otherwise.
    #[arg(long, value_enum, default_value_t = Type::F32)]
    dtype: Type,
    /// Where to compute: `cpu`, `flex`, `ndarray`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "cpu")]
    device: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Type {
    F32,
    F64,
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
    if args.list {
        let mut out = std::io::stdout().lock();
        return match writeln!(out, "{}", serde_json::to_string_pretty(&list())?) {
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(Into::into),
        };
    }
    let device = training::device(&args.device)?;
    let dtype = match args.dtype {
        Type::F32 => DType::F32,
        Type::F64 => DType::F64,
    };
    let (name, reader): (String, Box<dyn Read>) = match &args.file {
        None => ("standard input".into(), Box::new(std::io::stdin())),
        Some(path) => {
            let file =
                std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
            (path.display().to_string(), Box::new(file))
        }
    };
    if let (Some(input), Some(output)) = (&args.file, &args.output) {
        training::check_not_input(output, input)?;
    }
    let records = read(&name, BufReader::new(reader))?;
    let sink: Box<dyn Write> = match &args.output {
        None => Box::new(std::io::stdout().lock()),
        Some(path) => Box::new(
            std::fs::File::create(path).with_context(|| format!("cannot create {}", path.display()))?,
        ),
    };
    let mut out = BufWriter::new(sink);
    let mut refused = 0;
    for (line, record) in &records {
        let result = match evaluate(record, &device, dtype) {
            Ok(result) => result,
            Err(Failure::Record(problem)) => {
                out.flush()?;
                bail!("{name} line {line}: {problem}");
            }
            Err(Failure::Refused(refusal)) => bail!("{name} line {line}: {refusal}"),
        };
        refused += usize::from(result.get("error").is_some());
        // One order of the keys, whatever the map's own is.
        let parts: Vec<String> = ["id", "outputs", "grads", "error"]
            .iter()
            .filter_map(|key| result.get(*key).map(|value| format!("\"{key}\":{value}")))
            .collect();
        match writeln!(out, "{{{}}}", parts.join(",")) {
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
    }
    out.flush()?;
    if refused > 0 {
        eprintln!(
            "{refused} of {} records were refused by their function; their lines say why",
            records.len()
        );
    }
    Ok(())
}

/// Reads all records before any is evaluated.
fn read(name: &str, reader: impl BufRead) -> Result<Vec<(usize, Record)>> {
    let table = Table::default();
    let (mut records, mut seen) = (Vec::new(), HashSet::new());
    for (i, line) in reader.lines().enumerate() {
        let number = i + 1;
        let line = line.with_context(|| format!("{name} line {number}: cannot read"))?;
        if line.trim().is_empty() {
            continue;
        }
        let record = Record::parse(&line, &table)
            .map_err(|problem| anyhow::anyhow!("{name} line {number}: {problem}"))?;
        if !seen.insert(record.id.to_string()) {
            bail!("{name} line {number}: the id {} was given before", record.id);
        }
        records.push((number, record));
    }
    Ok(records)
}
