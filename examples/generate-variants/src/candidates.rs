//! Filling the journal with candidates: from servers, from a batch file, or, later, from a model in the process.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use polya_prompts::batch::{read_batch, write_batch};
use polya_prompts::client::{BlockingClient, Client, ClientConfig};
use polya_prompts::{Cost, Family, Plan, Render, Scheduler, manifest};

use crate::settings::Resolved;

/// Asks what the journal lacks. `None` when a batch file was written and its results are awaited.
pub fn generate(
    settings: &Resolved,
    family: &Family,
    plan: &Plan,
    render: &Render<'_>,
    journal: &Path,
) -> Result<Option<Cost>> {
    let written = settings.as_written();
    let sampling = settings.sampling_for(family);
    let model = written.model_name.clone().unwrap_or_default();
    let source = match &settings.client {
        Some(_) => "endpoint",
        None => "batch",
    };
    let manifest = manifest(model.clone(), source, family, plan, render, &sampling)?;
    let mut scheduler =
        Scheduler::open(plan, family, render.clone(), Some(settings.check()), Some((journal, &manifest)))
            .with_context(|| "hint: give the run another --output, or remove its .run folder")?;

    if let Some(path) = &written.batch_out {
        let n = write_batch(&mut scheduler, &model, &sampling, path)?;
        eprintln!("wrote {n} requests to {}; give the results back with --batch-in", path.display());
        return Ok(None);
    }
    if let Some(path) = &written.batch_in {
        let report = read_batch(&mut scheduler, path)?;
        eprintln!(
            "read {} answers; {} failed, {} missing, {} of other requests",
            report.completed, report.failed, report.missing, report.unknown
        );
        return Ok(Some(scheduler.finish()?));
    }
    let Some(client) = &settings.client else {
        if scheduler.is_done() {
            return Ok(Some(scheduler.finish()?));
        }
        bail!(
            "no source of candidates: give --endpoint and --model-name, --batch-out, --batch-in or --merge"
        );
    };
    let client = BlockingClient::new(Client::new(ClientConfig { sampling, ..client.clone() })?)?;
    let bar = progress(&scheduler);
    let result = client.run(&mut scheduler, |s| {
        bar.set_position(s.cost().candidates as u64);
        true
    });
    bar.finish_and_clear();
    result.context("hint: everything answered so far is kept; run the same command again to go on")?;
    Ok(Some(scheduler.finish()?))
}

fn progress(scheduler: &Scheduler<'_>) -> ProgressBar {
    let bar = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} candidates, {per_sec}, {elapsed}") {
        bar.set_style(style);
    }
    bar.set_position(scheduler.cost().candidates as u64);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
