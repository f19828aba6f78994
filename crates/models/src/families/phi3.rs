//! Phi-3: Llama with fused projections in its files, partial rotation in its later sizes, and LongRoPE.

use super::{Keys, base};
use crate::config::Config;
use crate::error::Result;

pub(super) fn read(keys: &Keys) -> Result<Config> {
    let mut config = base(keys, 1e-5, 10_000.0, false)?;
    let window = keys.number("sliding_window")?;
    config.windows = vec![window; config.windows.len()];
    Ok(config)
}
