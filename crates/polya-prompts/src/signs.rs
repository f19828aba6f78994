//! Signs: phrases by which a reader recognises an approach in a solution.
//!
//! A sign is a short pattern over words. Matching ignores case and white space and works on whole words:
//!
//! | pattern | matches |
//! |---|---|
//! | `work backward` | the two words in a row |
//! | `suppose\|assume\|imagine` | any of the words |
//! | `generali*` | a word that begins so |
//! | `start from .. end` | up to [`GAP`] words may stand in the gap, within one sentence |
//! | `x = y` | operators and punctuation are words of their own |
//!
//! Signs are evidence, not proof: a solution can follow an approach and show none of its signs.

use serde::{Deserialize, Serialize};

/// The longest run of words a `..` may skip.
pub const GAP: usize = 5;

/// The most words a pattern may have.
pub const PATTERN_WORDS: usize = 24;

/// One sign, compiled. Serialises as the pattern it was written as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sign {
    source: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Any of these words; `true` marks a prefix.
    Any(Vec<(String, bool)>),
    Gap,
}

impl Sign {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the pattern.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        for chunk in pattern.split_whitespace() {
            if chunk == ".." {
                parts.push(Part::Gap);
                continue;
            }
            if chunk.contains('|') && chunk.len() > 1 {
                let mut any = Vec::new();
                for choice in chunk.split('|') {
                    let (stem, prefix) = split_star(choice);
                    let found = words(stem);
                    let [word] = found.as_slice() else {
                        return Err(format!("sign `{pattern}`: `{choice}` must be one word"));
                    };
                    any.push((word.clone(), prefix));
                }
                parts.push(Part::Any(any));
                continue;
            }
            let (stem, prefix) = split_star(chunk);
            let found = words(stem);
            let last = found.len().saturating_sub(1);
            for (i, word) in found.into_iter().enumerate() {
                parts.push(Part::Any(vec![(word, prefix && i == last)]));
            }
        }
        let literal = parts.iter().filter(|p| matches!(p, Part::Any(_))).count();
        if literal == 0 {
            return Err(format!("sign `{pattern}` has no words"));
        }
        if parts.len() > PATTERN_WORDS {
            return Err(format!("sign `{pattern}` has {} words, at most {PATTERN_WORDS}", parts.len()));
        }
        if parts.iter().filter(|p| matches!(p, Part::Gap)).count() > 3 {
            return Err(format!("sign `{pattern}` has more than 3 gaps"));
        }
        if matches!(parts.first(), Some(Part::Gap)) || matches!(parts.last(), Some(Part::Gap)) {
            return Err(format!("sign `{pattern}` begins or ends with a gap"));
        }
        Ok(Self { source: pattern.to_owned(), parts })
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether the sign occurs in the text.
    pub fn occurs_in(&self, text: &Words) -> bool {
        self.first_in(text).is_some()
    }

    /// The index of the word at which the sign first occurs.
    pub fn first_in(&self, text: &Words) -> Option<usize> {
        (0..text.0.len()).find(|&start| matches(&self.parts, &text.0[start..]))
    }
}

fn split_star(word: &str) -> (&str, bool) {
    match word.strip_suffix('*') {
        Some(stem) if !stem.is_empty() => (stem, true),
        _ => (word, false),
    }
}

fn matches(parts: &[Part], text: &[String]) -> bool {
    match parts.first() {
        None => true,
        Some(Part::Any(choices)) => match text.first() {
            Some(word) if choices.iter().any(|(c, prefix)| word == c || *prefix && word.starts_with(c)) => {
                matches(&parts[1..], &text[1..])
            }
            _ => false,
        },
        Some(Part::Gap) => {
            for skip in 0..=GAP.min(text.len()) {
                if matches(&parts[1..], &text[skip..]) {
                    return true;
                }
                if text.get(skip).is_some_and(|w| matches!(w.as_str(), "." | "!" | "?" | ";")) {
                    return false;
                }
            }
            false
        }
    }
}

impl TryFrom<String> for Sign {
    type Error = String;
    fn try_from(pattern: String) -> Result<Self, String> {
        Self::new(&pattern)
    }
}

impl From<Sign> for String {
    fn from(sign: Sign) -> Self {
        sign.source
    }
}

/// A text cut into words, ready to be searched for many signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(Vec<String>);

impl Words {
    /// Cuts a text into lower-case words; every other visible character is a word of its own.
    pub fn new(text: &str) -> Self {
        Self(words(text))
    }

    /// The words.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

/// Lower-case words: runs of letters and digits (an inner apostrophe is dropped, `1,000` and `0.5` stay whole), and
/// single other characters.
fn words(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut word = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
            continue;
        }
        let next = chars.peek().copied();
        let inside = !word.is_empty() && next.is_some_and(char::is_alphanumeric);
        if inside && matches!(c, '\'' | '\u{2019}') {
            continue;
        }
        let number = word.chars().all(|w| w.is_ascii_digit() || matches!(w, '.' | ','));
        if inside && matches!(c, '.' | ',') && number && next.is_some_and(|n| n.is_ascii_digit()) {
            word.push(c);
            continue;
        }
        if !word.is_empty() {
            out.push(std::mem::take(&mut word));
        }
        if !c.is_whitespace() && !c.is_control() {
            out.push(c.to_string());
        }
    }
    if !word.is_empty() {
        out.push(word);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(sign: &str, text: &str) -> bool {
        Sign::new(sign).unwrap().occurs_in(&Words::new(text))
    }

    #[test]
    fn words_keep_numbers_and_split_operators() {
        assert_eq!(
            words("Let's add +8, 1,000 and 0.5."),
            ["lets", "add", "+", "8", ",", "1,000", "and", "0.5", "."]
        );
    }

    #[test]
    fn phrases_match_whole_words() {
        assert!(hit("work backward", "We WORK\n backward from 12."));
        assert!(!hit("work backward", "We work backwards."));
        assert!(hit("work* backward*", "Working backwards, we see"));
        assert!(!hit("back", "backward"));
        assert!(hit("back", "back 12 +4 16"));
    }

    #[test]
    fn gaps_stay_inside_a_sentence() {
        assert!(hit("start from .. end", "Start from the very end and undo."));
        assert!(!hit("start from .. end", "Start from one. The end."));
        assert!(!hit("start .. end", "start a b c d e f end"));
        assert!(hit("start .. end", "start end"));
    }

    #[test]
    fn choices_and_their_prefixes() {
        assert!(hit("suppose|assum* that", "Assuming that x is odd"));
        assert!(!hit("suppose|assum* that", "suppose x"));
    }

    #[test]
    fn bad_patterns_say_why() {
        assert!(Sign::new("  ").unwrap_err().contains("no words"));
        assert!(Sign::new(".. a").unwrap_err().contains("begins or ends"));
        assert!(Sign::new("a|b-c d").unwrap_err().contains("one word"));
        assert!(Sign::new(&"a ".repeat(30)).unwrap_err().contains("30 words"));
    }
}
