//! `parity`: does a device compute what the CPU computes, and how fast is it?
//!
//! `parity check` runs every operation of `kernels`, forward and backward, a short supervised run, a GRPO step and greedy
//! sampling on burn's CPU backend and on another device, on the same numbers, and prints the differences.
//! `parity speed` measures prefill, decoding and training steps on one device.
#![forbid(unsafe_code)]

mod check;
mod learning;
mod operations;
mod speed;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Compares a device with the CPU, operation by operation and step by step, and measures its speed.
#[derive(Parser, Debug)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// File that gets one JSON line per result, appended
    #[arg(long, global = true)]
    output: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Compare a device with flex; exit 1 where a difference is beyond its tolerance
    Check(check::Arguments),
    /// Measure prefill, decoding or training steps
    Speed(speed::Arguments),
}

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).without_time().init();
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    let mut lines = Lines::open(arguments.output.as_deref())?;
    match &arguments.command {
        Command::Check(check) => check::run(check, &mut lines),
        Command::Speed(speed) => speed::run(speed, &mut lines).map(|()| true),
    }
}

/// Where JSON lines go, each written at once: what a killed run found is kept.
pub(crate) struct Lines {
    file: Option<std::fs::File>,
}

impl Lines {
    fn open(path: Option<&std::path::Path>) -> Result<Self> {
        let file = match path {
            Some(path) => Some(
                std::fs::OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(path)
                    .with_context(|| format!("cannot write {}", path.display()))?,
            ),
            None => None,
        };
        Ok(Self { file })
    }

    /// Appends one record.
    pub(crate) fn write(&mut self, record: &serde_json::Value) -> Result<()> {
        use std::io::Write;
        match &mut self.file {
            Some(file) => writeln!(file, "{record}").context("cannot write the output"),
            None => Ok(()),
        }
    }
}
