//! Benchmarks, pass@k, intervals, composition of approaches, and diversity measures.
#![forbid(unsafe_code)]
