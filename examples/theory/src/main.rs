//! The gradient argument behind mid-training, computed exactly.
//!
//! Three questions, each answered by exact computation beside the formula: how far does one policy-gradient step
//! move a confident and an N-modal policy; how long does gradient flow need until a rare approach is used; and does
//! a sampled policy gradient take as long as that says?

mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use evaluation::linear_fit;
use evaluation::theory::{
    OneStep, SampledConfig, Task, approximate_time, one_step, sampled_updates_to_threshold, time_to_half,
    time_to_threshold,
};
use serde::{Deserialize, Serialize};

/// Compute the paper's gradient argument exactly; print tables, write theory.json and theory.html.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Folder for theory.json and theory.html.
    #[arg(long)]
    out_dir: Option<PathBuf>,
    /// TOML file of settings; flags override it.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Seed of the sampled policy gradient.
    #[arg(long)]
    seed: Option<u64>,
    /// Runs of the sampled policy gradient per prior; the median is reported.
    #[arg(long)]
    repeats: Option<usize>,
}

/// What is computed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    out_dir: PathBuf,
    seed: u64,
    repeats: usize,
    /// Learning rate times advantage of the one-step table.
    eta_advantage: f64,
    /// Prior masses of each approach that is not the default.
    priors: Vec<f64>,
    /// Success rate of the needed approach, and of any other.
    needed: f64,
    other: f64,
    approaches: usize,
    samples: usize,
    learning_rate: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            out_dir: "runs/theory".into(),
            seed: 0,
            repeats: 5,
            eta_advantage: 0.1,
            priors: vec![0.1, 0.03, 0.01, 0.003, 0.001],
            needed: 0.98,
            other: 0.1,
            approaches: 3,
            samples: 256,
            learning_rate: 0.5,
        }
    }
}

impl Settings {
    fn resolve(arguments: Arguments) -> Result<Self> {
        let mut settings: Self = match &arguments.config {
            None => Self::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                toml::from_str(&text).with_context(|| format!("in {}", path.display()))?
            }
        };
        settings.out_dir = arguments.out_dir.unwrap_or(settings.out_dir);
        settings.seed = arguments.seed.unwrap_or(settings.seed);
        settings.repeats = arguments.repeats.unwrap_or(settings.repeats);
        let most = 1.0 / settings.approaches.max(2) as f64;
        ensure!(settings.approaches >= 2, "`approaches` is {}: at least 2 are needed", settings.approaches);
        ensure!(
            0.0 <= settings.other && settings.other < settings.needed && settings.needed <= 1.0,
            "success rates must satisfy 0 <= other < needed <= 1, found other = {} and needed = {}",
            settings.other,
            settings.needed
        );
        ensure!(!settings.priors.is_empty(), "`priors` is empty: give at least one");
        for prior in &settings.priors {
            ensure!(
                *prior >= 1e-5 && *prior <= most,
                "a prior lies between 1e-5 and 1/approaches, found {prior}"
            );
        }
        ensure!((1..=101).contains(&settings.repeats), "`repeats` is {}: from 1 to 101", settings.repeats);
        ensure!((2..=4096).contains(&settings.samples), "`samples` is {}: from 2 to 4096", settings.samples);
        ensure!(
            settings.learning_rate > 0.0 && settings.learning_rate <= 10.0,
            "`learning_rate` is {}: above 0, at most 10",
            settings.learning_rate
        );
        ensure!(
            settings.eta_advantage > 0.0,
            "`eta_advantage` is {}: it must be positive",
            settings.eta_advantage
        );
        Ok(settings)
    }
}

/// One row of the one-step table.
#[derive(Debug, Serialize)]
struct StepRow {
    policy: String,
    /// Probability of the sampled token.
    probability: f64,
    #[serde(flatten)]
    step: OneStep,
    /// The paper's formula for this kind of policy.
    paper: f64,
}

/// One row of the table of gradient flow with a single part.
#[derive(Debug, Serialize)]
struct FlowRow {
    prior: f64,
    closed_form: f64,
    flow: f64,
    approximation: f64,
}

/// One row of the table with several parts.
#[derive(Debug, Serialize)]
struct PartsRow {
    parts: usize,
    prior: f64,
    flow: f64,
    approximation: f64,
}

/// One row of the table of the sampled policy gradient.
#[derive(Debug, Serialize)]
struct SampledRow {
    prior: f64,
    predicted_updates: f64,
    flow_updates: f64,
    median_updates: Option<usize>,
    updates: Vec<Option<usize>>,
}

/// Everything computed; theory.json.
#[derive(Debug, Serialize)]
struct Results {
    settings: Settings,
    one_step: Vec<StepRow>,
    single_part: Vec<FlowRow>,
    several_parts: Vec<PartsRow>,
    sampled: Vec<SampledRow>,
    /// Slope of log time on log prior for each number of parts: minus one if time goes as one over the prior.
    exponents: Vec<(usize, f64)>,
}

fn compute(settings: Settings) -> Results {
    Results {
        one_step: one_step_rows(settings.eta_advantage),
        single_part: single_part_rows(&settings),
        several_parts: several_parts_rows(&settings),
        sampled: sampled_rows(&settings),
        exponents: exponents(&settings),
        settings,
    }
}

fn one_step_rows(eta_advantage: f64) -> Vec<StepRow> {
    let mut rows = Vec::new();
    for eps in [0.3, 0.1, 0.03, 0.01, 0.001] {
        for (spread, tokens) in [("on one token", 1), ("spread over 1,000", 1000)] {
            let mut policy = vec![eps / tokens as f64; tokens + 1];
            policy[0] = 1.0 - eps;
            rows.push(StepRow {
                policy: format!("confident, eps = {eps}, rest {spread}"),
                probability: policy[0],
                step: one_step(&policy, 0, eta_advantage),
                paper: eta_advantage * eps * eps,
            });
        }
    }
    for modes in [2usize, 4, 8, 16] {
        let p = 1.0 / modes as f64;
        rows.push(StepRow {
            policy: format!("{modes} equal modes"),
            probability: p,
            step: one_step(&vec![p; modes], 0, eta_advantage),
            paper: eta_advantage * p * (1.0 - p),
        });
    }
    rows
}

/// One part, two approaches, the needed one rare: the case with a closed form.
fn single_part_rows(settings: &Settings) -> Vec<FlowRow> {
    let task = Task { parts: 1, approaches: 2, needed: settings.needed, other: settings.other };
    let row = |&prior: &f64| {
        let closed_form = time_to_half(prior, task.gain());
        // Part 0 needs approach 0, so here approach 0 is the rare one.
        let start = vec![vec![prior.ln(), (1.0 - prior).ln()]];
        let flow = time_to_threshold(&task, start, 0.5, 10.0 * closed_form + 10.0)
            .expect("the flow reaches one half");
        FlowRow { prior, closed_form, flow, approximation: 1.0 / (2.0 * task.gain() * prior) }
    };
    settings.priors.iter().map(row).collect()
}

fn task(settings: &Settings, parts: usize) -> Task {
    Task { parts, approaches: settings.approaches, needed: settings.needed, other: settings.other }
}

fn flow_time(task: &Task, prior: f64) -> f64 {
    let most = 20.0 * approximate_time(task, prior) + 1000.0;
    time_to_threshold(task, task.policy(prior), 0.5, most).unwrap_or(f64::INFINITY)
}

fn several_parts_rows(settings: &Settings) -> Vec<PartsRow> {
    let mut rows = Vec::new();
    for parts in [2, 3] {
        let task = task(settings, parts);
        let uniform = 1.0 / settings.approaches as f64;
        for &prior in std::iter::once(&uniform).chain(&settings.priors) {
            let flow = flow_time(&task, prior);
            rows.push(PartsRow { parts, prior, flow, approximation: approximate_time(&task, prior) });
        }
    }
    rows
}

fn sampled_rows(settings: &Settings) -> Vec<SampledRow> {
    let task = task(settings, 3);
    let mut rows = Vec::new();
    for (index, &prior) in settings.priors.iter().enumerate() {
        let predicted_updates = approximate_time(&task, prior) / settings.learning_rate;
        let config = SampledConfig {
            samples: settings.samples,
            learning_rate: settings.learning_rate,
            max_updates: (20.0 * predicted_updates) as usize + 1000,
        };
        let mut updates: Vec<Option<usize>> = (0..settings.repeats)
            .map(|repeat| {
                let stream = settings.seed.wrapping_mul(1 << 20).wrapping_add((index * 1000 + repeat) as u64);
                sampled_updates_to_threshold(&task, task.policy(prior), 0.5, &config, stream)
            })
            .collect();
        // Runs that never arrive come last.
        updates.sort_by_key(|updates| updates.unwrap_or(usize::MAX));
        rows.push(SampledRow {
            prior,
            predicted_updates,
            flow_updates: flow_time(&task, prior) / settings.learning_rate,
            median_updates: updates[settings.repeats / 2],
            updates,
        });
    }
    rows
}

fn exponents(settings: &Settings) -> Vec<(usize, f64)> {
    let rare: Vec<f64> = settings.priors.iter().copied().filter(|&prior| prior <= 0.01).collect();
    let slope = |parts: usize| {
        let task = task(settings, parts);
        let points: Vec<(f64, f64)> =
            rare.iter().map(|&prior| (prior.ln(), flow_time(&task, prior).ln())).collect();
        Some((parts, linear_fit(&points)?.slope))
    };
    [2, 3].into_iter().filter_map(slope).collect()
}

/// Writes to a temporary name, then renames.
fn write(path: &Path, text: &str) -> Result<()> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, text).with_context(|| format!("cannot write {}", partial.display()))?;
    std::fs::rename(&partial, path).with_context(|| format!("cannot write {}", path.display()))
}

fn run() -> Result<()> {
    let settings = Settings::resolve(Arguments::parse())?;
    std::fs::create_dir_all(&settings.out_dir).with_context(|| {
        format!("cannot create {}; choose another with --out-dir", settings.out_dir.display())
    })?;
    let results = compute(settings);
    for (heading, table) in report::tables(&results) {
        println!("{heading}\n\n{}", table.to_text());
    }
    let folder = &results.settings.out_dir;
    write(&folder.join("theory.json"), &(serde_json::to_string_pretty(&results)? + "\n"))?;
    write(&folder.join("theory.html"), &report::page(&results))?;
    println!("wrote {} and theory.json beside it", folder.join("theory.html").display());
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("theory: {error:#}");
            eprintln!("hint: `theory --help` lists the settings");
            ExitCode::from(2)
        }
    }
}
