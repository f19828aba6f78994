//! Reading an answer never panics, and what reads equals itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use verifier::{Gold, Policy, Response, Verdict, value::Answer, verify};

fuzz_target!(|text: &str| {
    if Answer::read(text, &Policy::default()).is_ok() {
        let gold = Gold::parse(text);
        if gold.answer().is_ok() {
            let v = verify(&gold, &Response::answer_only(text));
            assert_ne!(v.verdict, Verdict::UnparsedGold);
        }
    }
});
