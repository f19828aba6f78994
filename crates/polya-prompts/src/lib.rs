//! Polya's problem-solving approaches as prompts, and the pipeline from a question set to verified, diverse solutions.
#![forbid(unsafe_code)]
