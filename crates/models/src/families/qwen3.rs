//! Qwen3: RMS norms on queries and keys before rotation; the head size is a key of its own.

use super::{Keys, base, qwen2};
use crate::config::{Config, wrong};
use crate::error::Result;

pub(super) fn read(keys: &Keys) -> Result<Config> {
    if keys.number("head_dim")?.is_none() {
        // transformers assumes 128 whatever the width; a file that says nothing is too likely to be wrong.
        return Err(wrong("head_dim", "a whole number", &"nothing"));
    }
    let mut config = base(keys, 1e-6, 10_000.0, false)?;
    config.qk_norm = true;
    config.qkv_bias = keys.flag("attention_bias", false)?;
    config.output_bias = config.qkv_bias;
    config.windows = qwen2::windows(keys, config.layers)?;
    Ok(config)
}
