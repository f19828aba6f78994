//! What every training loop shares: optimiser step, clipping, schedules, gradient reduction, run folders, checkpoints, metrics.
#![forbid(unsafe_code)]
