//! Llama 2 and 3 (and SmolLM, SmolLM2, which say `llama`).

use super::{Keys, base};
use crate::config::Config;
use crate::error::Result;

pub(super) fn read(keys: &Keys) -> Result<Config> {
    let mut config = base(keys, 1e-6, 10_000.0, false)?;
    config.qkv_bias = keys.flag("attention_bias", false)?;
    config.output_bias = config.qkv_bias;
    config.mlp_bias = keys.flag("mlp_bias", false)?;
    Ok(config)
}
