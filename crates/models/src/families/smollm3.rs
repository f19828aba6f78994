//! SmolLM3: every fourth layer sees no positions.

use super::{Keys, base};
use crate::config::{Config, wrong};
use crate::error::Result;

pub(super) fn read(keys: &Keys) -> Result<Config> {
    let mut config = base(keys, 1e-6, 2_000_000.0, true)?;
    config.qkv_bias = keys.flag("attention_bias", false)?;
    config.output_bias = config.qkv_bias;
    config.mlp_bias = keys.flag("mlp_bias", false)?;
    config.kv_heads = keys.number("num_key_value_heads")?.unwrap_or(4);
    config.rope_layers = match keys.list("no_rope_layers")? {
        // Despite its name, a 1 in this list means that the layer rotates.
        Some(list) => list
            .iter()
            .take(config.windows.len())
            .map(|v| match v.as_u64() {
                Some(0) => Ok(false),
                Some(1) => Ok(true),
                _ => Err(wrong("no_rope_layers", "a list of 0 and 1", v)),
            })
            .collect::<Result<_>>()?,
        None => {
            let interval = keys.number("no_rope_layer_interval")?.unwrap_or(4);
            if interval == 0 {
                return Err(wrong("no_rope_layer_interval", "at least 1", &0));
            }
            (0..config.windows.len()).map(|layer| (layer + 1) % interval != 0).collect()
        }
    };
    let window = match keys.flag("use_sliding_window", false)? {
        true => keys.number("sliding_window")?,
        false => None,
    };
    let rotates = config.rope_layers.clone();
    config.windows = match keys.list("layer_types")? {
        Some(_) => keys.windows(config.layers, keys.number("sliding_window")?, |_, _| Ok(false))?,
        None => rotates.iter().map(|rotates| if *rotates { None } else { window }).collect(),
    };
    Ok(config)
}
