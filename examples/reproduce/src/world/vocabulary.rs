//! Every word of the world, and the Hugging Face tokenizer over them.

use tokenizers::models::wordlevel::WordLevel;
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::{AddedToken, Tokenizer};

use super::layout::{FUNCTIONS, PEOPLE, THINGS};
use super::problem::MAX_VALUE;

/// Padding; never learned, never sampled on purpose.
pub const PAD: &str = "<pad>";
/// The end of a document.
pub const EOS: &str = "<eos>";
/// Stands between a question and its solution.
pub const SOLUTION: &str = "solution";

/// Opens a table of differences.
pub const DIFFERENCES: &str = "differences";

/// All words; a word's index is its id.
pub fn words() -> Vec<String> {
    let mut words: Vec<String> = [
        PAD,
        EOS,
        "use",
        ":",
        SOLUTION,
        DIFFERENCES,
        "step",
        "back",
        "meet",
        "equation",
        "end",
        "start",
        "box",
        "so",
        "answer",
    ]
    .map(str::to_string)
    .to_vec();
    words.extend(["=", ";", "?", "+?", "-?", "ans"].map(str::to_string));
    words.extend((0..=MAX_VALUE).map(|n| n.to_string()));
    words.extend((0..MAX_VALUE).map(|n| format!("+{n}")));
    words.extend((1..=MAX_VALUE).map(|n| format!("-{n}")));
    words.extend((2..=5).map(|n| format!("*{n}")));
    for n in 1..=5 {
        words.extend([format!("/{n}"), format!("/-{n}"), format!("{n}?"), format!("-{n}?")]);
    }
    words.extend(["def", "x", "+=", "-=", "*=", ")=="].map(str::to_string));
    words.extend(FUNCTIONS.iter().flat_map(|f| [format!("{f}(x):"), format!("{f}(")]));
    words.extend(
        ["ends", "with", ".", "began", "some", "that-many", ",", "got", "lost", "times"].map(str::to_string),
    );
    words.extend(PEOPLE.iter().chain(&THINGS).map(|w| w.to_string()));
    words
}

/// A word-level tokenizer with the words of the world.
pub fn tokenizer() -> Tokenizer {
    let vocabulary = words().into_iter().enumerate().map(|(id, word)| (word, id as u32)).collect();
    let model =
        WordLevel::builder().vocab(vocabulary).unk_token(PAD.into()).build().expect("words are distinct");
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_pre_tokenizer(Some(WhitespaceSplit));
    tokenizer.add_special_tokens(&[AddedToken::from(PAD, true), AddedToken::from(EOS, true)]);
    tokenizer
}
