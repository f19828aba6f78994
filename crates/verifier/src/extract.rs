//! Finds the final answer of a response.

use std::ops::Range;

use crate::{policy::Policy, verdict::Reason};

/// The text taken as the final answer and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extraction {
    /// The answer's text.
    pub text: String,
    /// Its bytes in the response.
    pub span: Range<usize>,
}

/// The whole text, trimmed.
pub fn whole(text: &str) -> Result<Extraction, Reason> {
    let t = text.trim();
    if t.is_empty() {
        return Err(Reason::NoAnswer);
    }
    let start = text.len() - text.trim_start().len();
    Ok(Extraction { text: t.to_string(), span: start..start + t.len() })
}

/// The final answer of a response.
pub fn extract(text: &str, _policy: &Policy) -> Result<Extraction, Reason> {
    if let Some(at) = text.rfind("\\boxed{") {
        let start = at + 7;
        let mut depth = 1;
        for (i, c) in text[start..].char_indices() {
            depth += match c {
                '{' => 1,
                '}' => -1,
                _ => 0,
            };
            if depth == 0 {
                let inside = &text[start..start + i];
                return if inside.trim().is_empty() {
                    Err(Reason::EmptyAnswer)
                } else {
                    Ok(Extraction { text: inside.trim().to_string(), span: start..start + i })
                };
            }
        }
        return Err(Reason::Unterminated);
    }
    for marker in ["####", "answer is", "nswer:"] {
        if let Some(at) = text.rfind(marker) {
            let start = at + marker.len();
            let line = text[start..]
                .lines()
                .next()
                .unwrap_or("")
                .trim()
                .trim_end_matches('.')
                .trim_start_matches(':');
            if !line.trim().is_empty() {
                return Ok(Extraction { text: line.trim().to_string(), span: start..start + line.len() });
            }
        }
    }
    let digit = |c: char| c.is_ascii_digit();
    if let Some(end) = text.rfind(digit) {
        let start =
            text[..=end].rfind(|c: char| !digit(c) && !matches!(c, '.' | ',' | '/')).map_or(0, |i| i + 1);
        let start = start.min(end);
        let start = if text.is_char_boundary(start) { start } else { end };
        let t = text[start..=end].trim_start_matches(['.', ',', '/']);
        return Ok(Extraction { text: t.to_string(), span: end + 1 - t.len()..end + 1 });
    }
    whole(text)
}
