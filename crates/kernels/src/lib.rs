//! Fused tensor operations for language models as burn backend extensions, each with a composed default.
#![forbid(unsafe_code)]
