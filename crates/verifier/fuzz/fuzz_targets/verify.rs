//! A verification never panics, and an unreadable gold answer is never a reward. The input is gold and response, cut at the
//! first line feed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use verifier::{Gold, Policy, Response, verify, verify_with};

fuzz_target!(|text: &str| {
    let (gold, response) = text.split_once('\n').unwrap_or((text, text));
    let parsed = Gold::parse(gold);
    let v = verify(&parsed, &Response::new(response));
    assert_eq!(v.reward().is_none(), parsed.answer().is_err());
    let there = verify(&parsed, &Response::answer_only(response));
    let back = verify(&Gold::parse(response), &Response::answer_only(gold));
    if there.reward().is_some() && back.reward().is_some() && !gold.contains("####") && !gold.contains("box") && !response.contains("box") && !response.contains("####") {
        assert_eq!(there.is_correct(), back.is_correct(), "not symmetric");
    }
    let _ = verify_with(&parsed, &Response::new(response), &Policy::lenient());
});
