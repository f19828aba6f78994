//! Shared by the cross-crate tests: a small model to train.
#![forbid(unsafe_code)]
