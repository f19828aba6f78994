//! Which micro-batches make up each step, what all workers must agree in, and a look at the first batch.

use std::hash::{DefaultHasher, Hash, Hasher};

use anyhow::{Result, ensure};
use sft::{Example, Row, batches, show};

use crate::config::Config;
use crate::data::Encoder;

/// The micro-batches of every step, over all epochs.
pub fn plan(examples: &[Example], config: &Config) -> Result<Vec<Vec<Vec<Row>>>> {
    ensure!(config.accumulate > 0, "`accumulate` must be at least 1, found 0");
    ensure!(config.checkpoint_every > 0, "`checkpoint_every` must be at least 1, found 0");
    ensure!(config.eval_every > 0, "`eval_every` must be at least 1, found 0");
    let alpha = config.neftune_alpha;
    ensure!(
        alpha >= 0.0 && alpha.is_finite(),
        "`neftune_alpha` must be 0 (off) or a positive number, found {alpha}"
    );
    let mut steps = Vec::new();
    let wanted = config.steps.map(|steps| steps as usize);
    for epoch in 0.. {
        if wanted.map_or(epoch >= config.epochs, |wanted| steps.len() >= wanted) {
            break;
        }
        let epoch = batches(examples, &config.batch_plan(), config.seed, epoch)?;
        steps.extend(epoch.chunks(config.accumulate).map(<[Vec<Row>]>::to_vec));
    }
    steps.truncate(wanted.unwrap_or(usize::MAX));
    ensure!(!steps.is_empty(), "there is nothing to do: `steps` or `epochs` is 0");
    Ok(steps)
}

/// What workers must have in common to take the same steps.
pub fn digest(config: &Config, examples: &[&[Example]]) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(config)?.hash(&mut hasher);
    for example in examples.iter().copied().flatten() {
        (&example.tokens, &example.learn).hash(&mut hasher);
    }
    Ok(hasher.finish())
}

/// The first batch with its mask: what stands between the brackets is learned. Of a large batch, the first eight examples.
pub fn show_first(rows: &[Row], examples: &[Example], encoder: &Encoder) {
    eprintln!("the first batch; what is learned stands in ⟦ ⟧:");
    let pieces: Vec<_> = rows.iter().flatten().collect();
    for piece in pieces.iter().take(8) {
        let text = show(&examples[piece.example], |tokens| encoder.text(tokens));
        eprintln!("  {}", text.replace('\n', "\n  "));
    }
    if pieces.len() > 8 {
        eprintln!("  ... and {} more", pieces.len() - 8);
    }
}
