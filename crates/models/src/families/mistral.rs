//! Mistral: a sliding window on every layer, unless `sliding_window` is null.

use super::{Keys, base};
use crate::config::Config;
use crate::error::Result;

pub(super) fn read(keys: &Keys) -> Result<Config> {
    let mut config = base(keys, 1e-6, 10_000.0, false)?;
    let window = match keys.0.get("sliding_window") {
        // Absent means the default of the first release, null means none.
        None => Some(4096),
        Some(_) => keys.number("sliding_window")?,
    };
    config.windows = vec![window; config.windows.len()];
    config.kv_heads = keys.number("num_key_value_heads")?.unwrap_or(8);
    Ok(config)
}
