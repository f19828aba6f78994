//! Supervised fine-tuning from records to a loss: labels, truncation, packing, batches and losses as pure functions.
#![forbid(unsafe_code)]
