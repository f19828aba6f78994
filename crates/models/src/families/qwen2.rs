//! Qwen2 and Qwen2.5: biases on queries, keys and values; a window on the upper layers where asked for.

use super::{Keys, base};
use crate::config::Config;
use crate::error::Result;

pub(super) fn read(keys: &Keys) -> Result<Config> {
    let mut config = base(keys, 1e-6, 10_000.0, false)?;
    config.qkv_bias = true;
    config.windows = windows(keys, config.layers)?;
    Ok(config)
}

/// The window counts only with `use_sliding_window`, and by default from layer `max_window_layers` on.
pub(super) fn windows(keys: &Keys, layers: usize) -> Result<Vec<Option<usize>>> {
    let window = match keys.flag("use_sliding_window", false)? {
        true => Some(keys.number("sliding_window")?.unwrap_or(4096)),
        false => None,
    };
    keys.windows(layers, window, |layer, keys| Ok(layer >= keys.number("max_window_layers")?.unwrap_or(28)))
}
