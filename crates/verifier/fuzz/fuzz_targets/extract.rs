//! Extraction never panics, and its span lies within the response.
#![no_main]

use libfuzzer_sys::fuzz_target;
use verifier::{Policy, extract};

fuzz_target!(|text: &str| {
    for policy in [Policy::default(), Policy::strict()] {
        if let Ok(found) = extract::extract(text, &policy) {
            assert!(found.span.end <= text.len() && text.get(found.span.clone()).is_some());
            assert!(!found.text.trim().is_empty());
        }
    }
});
