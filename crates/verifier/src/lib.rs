//! Extracts the final answer of a response and decides whether it equals the gold answer.
#![forbid(unsafe_code)]
