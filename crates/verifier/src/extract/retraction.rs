//! Changes of mind: "15. Actually, it is 16."

use super::{
    Found, TURNS, View,
    text::{PrefixIgnoreCase, Reading, floor_boundary, readable, sentence_end},
};
use crate::verdict::Reason;

impl View<'_> {
    /// The other value that a second thought right after an answer arrives at: "15. Actually, it is 16.",
    /// "15. Correction: 16", "15. Hmm, 3 · 6 = 18. So it's 18."
    pub(super) fn second_thought(&self, end: usize) -> Option<Found> {
        const OPENERS: &[&str] = &[
            "actually",
            "correction",
            "edit",
            "sorry",
            "on second thought",
            "i mean",
            "i meant",
            "hmm",
            "oops",
            "hold on",
            "hang on",
            "wait",
            "oh no",
            "oh",
            "but wait",
            "my mistake",
            "apologies",
            "no",
        ];
        const ANNOUNCERS: &[&str] = &[
            "it is ",
            "it's ",
            "it’s ",
            "it should be ",
            "it must be ",
            "that should be ",
            "this should be ",
            "i mean ",
            "i meant ",
            "make it ",
            "make that ",
        ];
        let sign = |c: char| {
            c.is_whitespace()
                || matches!(
                    c,
                    '$' | '*'
                        | '.'
                        | ','
                        | ';'
                        | ':'
                        | '\\'
                        | ')'
                        | '('
                        | ']'
                        | '}'
                        | '-'
                        | '–'
                        | '—'
                        | '…'
                        | '!'
                )
        };
        let rest = &self.full[end..floor_boundary(self.full, end + 600)];
        let mut t = rest.trim_start_matches(sign);
        let mut opened = false;
        while let Some(w) = OPENERS.iter().find(|w| t.to_ascii_lowercase_prefix(w)) {
            let tail = &t[w.len()..];
            // "no" opens a second thought only with a pause behind it.
            let pause = tail.starts_with([',', ':', '.', '!', ';', '—', '–', '-']);
            if !(pause || *w != "no" && tail.starts_with([' ', '\n'])) {
                break;
            }
            opened = true;
            t = tail.trim_start_matches(sign);
        }
        if !opened || self.turns >= TURNS {
            return None;
        }
        let turned = View { turns: self.turns + 1, ..*self };
        let at = |t: &str| end + (t.as_ptr() as usize - rest.as_ptr() as usize);
        let value = |text: &str| {
            let line = &text[..text.find('\n').unwrap_or(text.len())];
            matches!(readable(&line[..sentence_end(line)], self.policy), Reading::Value)
        };
        if t.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '−')) && value(t) {
            return turned.narrow(at(t), true);
        }
        let lower = t.to_ascii_lowercase();
        let mut sentence = 0;
        let mut first = true;
        let mut places = Vec::new();
        // Sentence by sentence: the first may announce anywhere, later ones only at their beginning.
        while sentence < lower.len() {
            let line = &lower[sentence..];
            let line = &line[..line.find('\n').unwrap_or(line.len())];
            let len = sentence_end(line);
            let said = &line[..len];
            let body = ["so ", "thus ", "hence ", "therefore ", "thus, ", "hence, ", "therefore, "]
                .iter()
                .find_map(|w| said.trim_start().strip_prefix(w));
            let body = if first { said } else { body.unwrap_or("") };
            // "So 26."
            let from = sentence + (body.as_ptr() as usize).saturating_sub(line.as_ptr() as usize);
            if !first && !body.is_empty() && body.len() < 40 && value(&t[from..from + body.len()]) {
                places.push(at(&t[from..]));
            }
            for w in ANNOUNCERS {
                let Some(n) = (if first { body.find(w) } else { body.starts_with(w).then_some(0) }) else {
                    continue;
                };
                let doubtful =
                    ["if ", "that ", "whether ", "check ", "verify "].iter().any(|d| body[..n].ends_with(d));
                let from = sentence + (body.as_ptr() as usize - line.as_ptr() as usize) + n + w.len();
                if !doubtful && t.is_char_boundary(from) {
                    places.push(at(&t[from..]));
                }
            }
            first = false;
            sentence += len + 1;
            while !lower.is_char_boundary(sentence.min(lower.len())) {
                sentence += 1;
            }
        }
        places.iter().rev().find_map(|place| turned.narrow(*place, true))
    }

    /// What counts after "10, no wait, it is 11": the value behind the retraction, or nothing.
    pub(super) fn retracted(&self, end: usize) -> Option<Found> {
        if let Some(f) = self.second_thought(end) {
            return Some(f);
        }
        let rest = &self.full[end..];
        let body = rest.trim_start_matches(|c: char| {
            c.is_whitespace()
                || matches!(c, '$' | '*' | '.' | ',' | ';' | '\\' | ')' | ']' | '-' | '–' | '—' | '…' | '!')
        });
        let head: String = body.chars().take(20).collect::<String>().to_ascii_lowercase();
        let marks = [
            "no wait",
            "no, wait",
            "wait,",
            "wait.",
            "wait no",
            "wait -",
            "wait—",
            "hmm, no",
            "oops",
            "scratch that",
        ];
        if !marks.iter().any(|m| head.starts_with(m)) {
            return None;
        }
        let behind = View { start: end + (rest.len() - body.len()), ..*self };
        Some(behind.last_value().unwrap_or(Err(Reason::Hedged)))
    }
}
