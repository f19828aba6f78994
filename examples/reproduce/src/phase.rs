//! A phase of the experiment: a folder that is either done or can go on where it stopped.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use models::{CausalLm, LoadOptions, Pretrained, Tokenizer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use training::{AdamW, AdamWConfig, Existing, Interrupt, Progress, RunFolder, read_json};

use crate::world::vocabulary;

const DONE: &str = "done.json";
const MODEL: &str = "model";

/// A running phase.
pub struct Phase {
    /// Its folder: metrics, checkpoints, samples.
    pub folder: RunFolder,
    interrupt: Interrupt,
}

/// Why a run stopped before its end without an error.
#[derive(Debug, thiserror::Error)]
#[error("interrupted; go on with --resume")]
pub struct Interrupted;

/// What a phase leaves, read back if it is already there; otherwise `run` makes it.
///
/// The value is written last, so a phase without it is run again, from its last checkpoint.
pub fn once<T: Serialize + DeserializeOwned>(
    path: &Path,
    interrupt: &Interrupt,
    run: impl FnOnce(&mut Phase) -> Result<T>,
) -> Result<T> {
    let done = path.join(DONE);
    if done.exists() {
        return Ok(read_json(&done)?);
    }
    if interrupt.is_raised() {
        bail!(Interrupted);
    }
    let folder = RunFolder::create(path, Existing::Resume)?;
    let mut phase = Phase { folder, interrupt: interrupt.clone() };
    let value = run(&mut phase)?;
    phase.folder.write_json(DONE, &value)?;
    let checkpoints = phase.folder.file("checkpoints");
    std::fs::remove_dir_all(&checkpoints)
        .with_context(|| format!("cannot remove {}", checkpoints.display()))?;
    Ok(value)
}

impl Phase {
    /// Model, optimiser and step of the last checkpoint, or the given model at step 0.
    pub fn restore(&mut self, model: CausalLm, adamw: AdamWConfig) -> Result<(CausalLm, AdamW, u64)> {
        match self.folder.resume()? {
            None => Ok((model, AdamW::new(adamw), 0)),
            Some(checkpoint) => {
                let loaded = load(&checkpoint.path, &model.device())?;
                let optimizer = AdamW::load(checkpoint.file("optimizer.safetensors"), adamw, &loaded)?;
                Ok((loaded, optimizer, checkpoint.step))
            }
        }
    }

    /// A progress bar for this phase.
    pub fn progress(&self, label: &str, total: u64, done: u64) -> Progress {
        Progress::new(label, total, done)
    }

    /// After a step: writes a checkpoint when one is due, and stops the run when it was interrupted.
    pub fn pause_point(
        &mut self,
        step: u64,
        last: bool,
        every: u64,
        model: &CausalLm,
        optimizer: &AdamW,
    ) -> Result<()> {
        let interrupted = self.interrupt.is_raised() && !last;
        if interrupted || last || step.is_multiple_of(every) {
            self.folder.checkpoint(step, |path| -> Result<()> {
                save(model, path)?;
                Ok(optimizer.save(path.join("optimizer.safetensors"))?)
            })?;
        }
        if interrupted {
            bail!(Interrupted);
        }
        Ok(())
    }

    /// Saves the phase's final model.
    pub fn save_model(&self, model: &CausalLm) -> Result<()> {
        save(model, &self.folder.file(MODEL))
    }
}

/// Where a phase's final model lies.
pub fn model_folder(phase: &Path) -> PathBuf {
    phase.join(MODEL)
}

/// Writes a model with the world's tokenizer as a Hugging Face folder.
pub fn save(model: &CausalLm, path: &Path) -> Result<()> {
    let tokenizer = Tokenizer::new(vocabulary::tokenizer());
    Ok(Pretrained::new(model.clone(), Some(tokenizer)).save(path)?)
}

/// Reads a model folder.
pub fn load(path: &Path, device: &Device) -> Result<CausalLm> {
    Ok(Pretrained::load(path, &LoadOptions::new(device))?.model)
}
