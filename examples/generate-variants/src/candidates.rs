//! Filling the journal with candidates: from a model in this process, from servers, or from a batch file.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use evaluation::local::Writer;
use indicatif::{ProgressBar, ProgressStyle};
use polya_prompts::batch::{read_batch, write_batch};
use polya_prompts::client::{BlockingClient, Client, ClientConfig};
use polya_prompts::{Cost, Family, Plan, Render, Scheduler, manifest, run};
use training::Interrupt;

use crate::Interrupted;
use crate::local::{self, Locals};
use crate::settings::Resolved;

/// Whether there is a source of candidates and it can be asked, before anything is written.
pub fn check(settings: &Resolved, locals: &Locals, journal: &Path) -> Result<()> {
    let written = settings.as_written();
    for path in &settings.merge {
        polya_prompts::journal::read_manifest(path)?;
    }
    if let Some(path) = &written.batch_in {
        std::fs::File::open(path).with_context(|| format!("--batch-in {}", path.display()))?;
    }
    if let Some(client) = &settings.client {
        Client::new(client.clone())?;
    }
    let source = locals.writer().is_some()
        || settings.client.is_some()
        || written.batch_out.is_some()
        || written.batch_in.is_some()
        || !settings.merge.is_empty();
    if !source && !journal.exists() {
        bail!(NO_SOURCE);
    }
    Ok(())
}

const NO_SOURCE: &str =
    "no source of candidates: give --model, --endpoint and --model-name, --batch-out, --batch-in or --merge";

/// Asks what the journal lacks. `None` when a batch file was written and its results are awaited.
pub fn generate(
    settings: &Resolved,
    locals: &Locals,
    family: &Family,
    plan: &Plan,
    render: &Render<'_>,
    journal: &Path,
    interrupt: &Interrupt,
) -> Result<Option<Cost>> {
    let written = settings.as_written();
    let sampling = settings.sampling_for(family);
    let (source, model) = match (locals.writer(), &settings.client) {
        (Some(local), _) => ("in-process", local.identity().to_owned()),
        (None, client) => {
            let source = if client.is_some() { "endpoint" } else { "batch" };
            (source, written.model_name.clone().unwrap_or_default())
        }
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
    let bar = progress(&scheduler);
    let after = |s: &Scheduler<'_>| {
        bar.set_position(s.cost().candidates as u64);
        !interrupt.is_raised()
    };
    if let Some(local) = locals.writer() {
        let mut writer = Writer::new(local, local::sampling(&sampling, settings)?, sampling.stop, false);
        // What a batch holds is lost when the run is killed, so it is no more than runs at once.
        let batch = settings.rows().div_ceil(settings.plan.samples.max(1));
        let result = run(&mut scheduler, &mut writer, batch, after);
        result.context("hint: everything written so far is kept; run the same command again to go on")?;
    } else if let Some(client) = &settings.client {
        let client = BlockingClient::new(Client::new(ClientConfig { sampling, ..client.clone() })?)?;
        let result = client.run(&mut scheduler, after);
        result.context("hint: everything answered so far is kept; run the same command again to go on")?;
    } else if !scheduler.is_done() {
        bail!(NO_SOURCE);
    }
    bar.finish_and_clear();
    let (done, cost) = (scheduler.is_done(), scheduler.finish()?);
    if !done && interrupt.is_raised() {
        bail!(Interrupted(format!("stopped after {} candidates", cost.candidates)));
    }
    Ok(Some(cost))
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
