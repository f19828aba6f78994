//! LoRA (arXiv 2106.09685): the folder's weights stay as they are, and small adapters beside them are trained.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use burn::module::Module;
use evaluation::local::identity;
use models::{CausalLm, Family, Pretrained};

use crate::config::Config;

/// The model without adapters. All that carry adapters share its weights.
pub struct Base {
    model: CausalLm,
    identity: String,
}

impl Base {
    /// Attaches fresh adapters where the configuration asks for them, and gives the model as it was.
    pub fn adapt(pretrained: &mut Pretrained, config: &Config) -> Result<Option<Self>> {
        let Some(lora) = config.lora() else { return Ok(None) };
        let folder = config.model.display();
        ensure!(
            pretrained.config.family != Family::Phi3,
            "{folder}: the files of this family fuse the projections, so that adapters have no place in them: leave out `lora_rank`"
        );
        let identity = identity(&config.model).with_context(|| format!("cannot read {folder}"))?;
        let model = pretrained.model.clone();
        pretrained.model = model
            .clone()
            .attach_lora(&lora, config.seed)
            .context("`lora_rank`, `lora_alpha`, `lora_targets`")?;
        Ok(Some(Self { model, identity }))
    }

    /// The model without adapters on the inner device: a reference that takes no memory.
    pub fn reference(&self) -> CausalLm {
        self.model.valid()
    }

    /// A name and a hash, to be kept beside adapters.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The model with the adapters of a checkpoint, whose base had that identity.
    pub fn with(&self, adapter: &Path, identity: &str) -> Result<CausalLm> {
        ensure!(
            self.identity == identity,
            "the adapters in {} were trained on `{identity}`, and the model is `{}` now: give back the folder that the run \
             began with, or start a new run",
            adapter.display(),
            self.identity
        );
        Ok(self.model.clone().attach_peft(adapter)?)
    }
}
