//! Decoder language models on burn: Hugging Face folders in and out, sampling, scoring, heads and adapters.
#![forbid(unsafe_code)]
