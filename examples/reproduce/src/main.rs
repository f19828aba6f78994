//! `reproduce`: the paper's experiment on the built-in world, every arm, from nothing to a report.

#![forbid(unsafe_code)]

mod arms;
mod experiment;
mod grpo;
mod measure;
mod phase;
mod recipe;
mod report;
mod results;
mod rollout;
mod sets;
mod supervised;
mod sweep;
mod threshold;
mod variants;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use training::{Environment, Existing, Interrupt, RunFolder};

use crate::arms::{Arm, CONTROLS};
use crate::experiment::Experiment;
use crate::recipe::Recipe;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Pre-trains a small base model on a built-in world, lets it write solutions by several approaches, mid-trains on them,
/// runs RL, and compares every arm. Writes report.html and results.json.
#[derive(Parser, Debug)]
#[command(version)]
struct Arguments {
    /// Folder of the run [default: runs/reproduce; with --quick runs/quick; with --full runs/full; with --sweep runs/sweep]
    #[arg(long)]
    run_dir: Option<PathBuf>,
    /// First seed; a run with --seeds K uses K seeds from here on
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of seeds, each with its own pre-training [default: 1; with --full 5]
    #[arg(long)]
    seeds: Option<u64>,
    /// Threads [default: all cores]. The result does not depend on it
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// A smoke run of a minute that learns nothing
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Five seeds and all controls: about an hour on two cores
    #[arg(long)]
    full: bool,
    /// Some of the control arms of --full beside the six arms of every run, as in wrong_rl,depth_rl
    #[arg(long, value_name = "ARM", value_delimiter = ',', conflicts_with_all = ["full", "sweep"], value_parser = control)]
    controls: Vec<Arm>,
    /// Try every setting of the recipe's sweep for every arm with RL instead of running the arms
    #[arg(long, conflicts_with = "quick")]
    sweep: bool,
    /// A TOML file that replaces parts of the recipe
    #[arg(long)]
    config: Option<PathBuf>,
    /// Go on with an interrupted run
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// Delete an existing run
    #[arg(long)]
    overwrite: bool,
    /// Where to compute: cpu, flex, ndarray, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter("warn").init();
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<phase::Interrupted>() => {
            eprintln!("{error}");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let recipe = recipe(arguments)?;
    let device = training::device(&arguments.device)?;
    let cores = || std::thread::available_parallelism().map_or(1, |n| n.get());
    let threads = arguments.threads.map_or_else(cores, usize::from);
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .context("cannot start the threads")?;

    let seeds = arguments.seeds.unwrap_or(if arguments.full { 5 } else { 1 });
    if seeds == 0 {
        bail!("--seeds 0: at least one seed is needed");
    }
    let name = if arguments.sweep {
        "sweep"
    } else if arguments.quick {
        "quick"
    } else if arguments.full {
        "full"
    } else {
        "reproduce"
    };
    let path = arguments.run_dir.clone().unwrap_or_else(|| PathBuf::from("runs").join(name));
    let folder = RunFolder::create(&path, Existing::from_flags(arguments.resume, arguments.overwrite))
        .map_err(|error| match error {
            training::Error::Exists { .. } => {
                anyhow::Error::new(error).context("use --resume to go on with it or --overwrite to delete it")
            }
            error => error.into(),
        })?;
    folder.write_config(&recipe, &[])?;
    // More seeds may be added to a run, other ones not.
    let first = training::read_json::<serde_json::Value>(folder.file("environment.json"));
    if let Some(seed) = first.ok().and_then(|e| e["seed"].as_u64()).filter(|seed| *seed != arguments.seed) {
        bail!(
            "`seed` was {seed} when the run in {} started and is {} now: use the first value, or start a new run",
            path.display(),
            arguments.seed
        );
    }
    folder.write_json(
        "environment.json",
        &Environment::capture("reproduce", env!("CARGO_PKG_VERSION"), &arguments.device, arguments.seed),
    )?;

    let experiment = Experiment {
        recipe,
        seeds: (arguments.seed..arguments.seed + seeds).collect(),
        controls: CONTROLS
            .into_iter()
            .filter(|arm| arguments.full || arguments.controls.contains(arm))
            .collect(),
        thresholds: arguments.full,
        threads,
        device,
        folder,
        interrupt: Interrupt::install(),
    };
    if arguments.sweep { experiment.sweep() } else { experiment.run() }
}

/// A control arm by its key.
fn control(key: &str) -> Result<Arm> {
    let found = CONTROLS.into_iter().find(|arm| arm.key == key);
    found.with_context(|| format!("known are {}", CONTROLS.map(|arm| arm.key).join(", ")))
}

fn recipe(arguments: &Arguments) -> Result<Recipe> {
    let recipe = if arguments.quick { Recipe::quick() } else { Recipe::frozen() };
    let Some(path) = &arguments.config else { return Ok(recipe) };
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let place = || format!("in {}", path.display());
    // Read as a whole recipe first: its errors know line and column.
    toml::from_str::<Recipe>(&text).with_context(place)?;
    let mut table = toml::Table::try_from(&recipe)?;
    replace(&mut table, text.parse().with_context(place)?);
    let recipe: Recipe = table.try_into().with_context(place)?;
    recipe.check().with_context(place)?;
    Ok(recipe)
}

/// Puts the values of `with` into `table`; tables within are replaced key by key.
fn replace(table: &mut toml::Table, with: toml::Table) {
    for (key, value) in with {
        match (table.get_mut(&key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(value)) => replace(inner, value),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}
