//! Marked answers: boxes, `<answer>` tags and `####`.

use super::{
    Extraction, Found, Source, View, found,
    lists::{assigned_name, connector, or_value},
    text::{PrefixIgnoreCase, Reading, plain_tail, readable},
};
use crate::{policy::Boxes, stance, value, verdict::Reason};

#[derive(Clone, Copy)]
struct Bx {
    command: usize,
    open: usize,
    close: usize,
    /// The byte after the whole box.
    end: usize,
}

impl View<'_> {
    /// The last box (with the boxes joined to it), and where it begins.
    pub(super) fn boxes(&self) -> Option<(usize, Found)> {
        let b = self.full.as_bytes();
        if !self.full[self.start..].contains("box") {
            return None;
        }
        let mut stack: Vec<Option<usize>> = Vec::new();
        let mut opens: Vec<usize> = Vec::new();
        let mut done: Vec<Bx> = Vec::new();
        let mut pending: Option<usize> = None;
        let mut i = self.start;
        let mut unclosed: Option<usize> = None;
        while i < b.len() {
            match b[i] {
                b'\\' => {
                    let rest = &self.full[i + 1..];
                    let name = ["boxed", "fbox", "framebox"].iter().find(|n| {
                        rest.starts_with(**n)
                            && !rest.as_bytes().get(n.len()).is_some_and(u8::is_ascii_alphabetic)
                    });
                    match name {
                        Some(n) => {
                            let mut j = i + 1 + n.len();
                            while b.get(j).is_some_and(|c| matches!(c, b' ' | b'\n' | b'\t' | b'\r')) {
                                j += 1;
                            }
                            if b.get(j) == Some(&b'{') {
                                pending = Some(i);
                                i = j;
                            } else {
                                // \boxed 5: up to the next blank or dollar sign
                                let end =
                                    self.full[j..].find([' ', '$', '\n', '\\']).map_or(b.len(), |n| j + n);
                                done.push(Bx { command: i, open: j, close: end, end });
                                i = end.max(i + 1);
                            }
                        }
                        None => i += if b.get(i + 1).is_some_and(|c| c.is_ascii()) { 2 } else { 1 },
                    }
                    continue;
                }
                b'{' => {
                    stack.push(pending.take());
                    opens.push(i + 1);
                }
                b'}' => {
                    if let (Some(entry), Some(open)) = (stack.pop(), opens.pop())
                        && let Some(command) = entry
                    {
                        while done.last().is_some_and(|d| d.command > command) {
                            done.pop();
                        }
                        done.push(Bx { command, open, close: i, end: i + 1 });
                    }
                }
                _ => {}
            }
            i += 1;
        }
        for entry in stack.into_iter().flatten() {
            unclosed = Some(unclosed.map_or(entry, |u: usize| u.max(entry)));
        }
        let last = done.last().copied();
        match (last, unclosed) {
            (None, None) => None,
            (Some(last), Some(u)) if u < last.command => Some((last.command, self.join(&done, last))),
            (_, Some(u)) => Some((u, Err(Reason::Unterminated))),
            (Some(last), None) => Some((last.command, self.join(&done, last))),
        }
    }

    /// The last box with those that "and", "or" or a comma joins to it.
    fn join(&self, all: &[Bx], last: Bx) -> Found {
        let mut first = all.len() - 1;
        let mut or = false;
        if self.policy.boxes == Boxes::LastJoined {
            // "... so \boxed{3} also works": what was found before counts too.
            let mut also = self.full[last.end..].trim_start_matches(['$', ' ']).starts_with("also ");
            while first > 0 && all.len() - first < 64 {
                let between = &self.full[all[first - 1].end..all[first].command];
                match connector(between) {
                    Some(is_or) => or |= is_or,
                    None if also && between.len() < 400 => also = false,
                    None => break,
                }
                first -= 1;
            }
        }
        let before = plain_tail(&self.full[self.start..all[first].command]);
        if stance::denies(&before) {
            return Err(Reason::Negated);
        }
        if stance::hedges_before(&before) {
            return Err(Reason::Hedged);
        }
        let after = &self.full[last.end..];
        if let Some(better) = self.second_thought(last.end) {
            return better;
        }
        if let Some(reason) = stance::after(after) {
            return Err(reason);
        }
        let inside = |b: &Bx| self.full[b.open..b.close].trim();
        // x = \boxed{2}, y = \boxed{3}: different names stand before the boxes.
        if all.len() - first > 1 && !or {
            let names: Option<Vec<&str>> =
                all[first..].iter().map(|b| assigned_name(&self.full[self.start..b.command])).collect();
            if let Some(names) = names
                && names.iter().any(|n| *n != names[0])
                && all[first..].iter().all(|b| !inside(b).is_empty())
            {
                let parts: Vec<String> =
                    names.iter().zip(&all[first..]).map(|(n, b)| format!("{n} = {}", inside(b))).collect();
                let span = all[first].open..last.close;
                return Ok(Extraction { text: parts.join(", "), span, source: Source::Boxed });
            }
        }
        let mut parts: Vec<&str> = Vec::new();
        for b in &all[first..] {
            if inside(b).is_empty() {
                return Err(Reason::EmptyAnswer);
            }
            if !parts.iter().any(|p| value::clean(p) == value::clean(inside(b))) {
                parts.push(inside(b));
            }
        }
        // "3" in a box, "or 4" beside it.
        if let Some(more) = or_value(after) {
            return Ok(Extraction {
                text: format!("{} or {more}", parts.join(" or ")),
                span: all[first].open..last.close,
                source: Source::Boxed,
            });
        }
        if parts.len() == 1 {
            let b = all.iter().skip(first).find(|b| inside(b) == parts[0]).copied().unwrap_or(last);
            return found(self.full, b.open..b.close, Source::Boxed);
        }
        let text = parts.join(if or { " or " } else { ", " });
        Ok(Extraction { text, span: all[first].open..last.close, source: Source::Boxed })
    }

    /// The last `<answer>` tag.
    pub(super) fn tag(&self) -> Option<(usize, Found)> {
        let text = &self.full[self.start..];
        let at = text.rfind("<answer>").or_else(|| text.rfind("<ANSWER>"))? + self.start;
        let open = at + "<answer>".len();
        let Some(len) = self.full[open..]
            .find("</")
            .filter(|n| self.full[open + n + 2..].to_ascii_lowercase_prefix("answer>"))
        else {
            return Some((at, Err(Reason::Unterminated)));
        };
        let inner = &self.full[open..open + len];
        if inner.trim().is_empty() {
            return Some((at, Err(Reason::EmptyAnswer)));
        }
        let inside = View { full: &self.full[..open + len], start: open, ..*self };
        if let Some((_, f)) = inside.boxes() {
            return Some((at, f));
        }
        let direct = found(self.full, open..open + len, Source::Tag);
        // Prose inside the tag is searched like a response.
        let result = match readable(inner, self.policy) {
            Reading::Value => direct,
            Reading::Text if inner.len() < 40 => direct,
            _ => match inside.phrase(open, false) {
                Some((_, f)) => f,
                None => inside.last(),
            },
        };
        // A mark that ends later than a box inside the tag must win over that box.
        Some((open + len, result))
    }

    /// The last `####` that is no heading.
    pub(super) fn hashes(&self) -> Option<(usize, Found)> {
        let mut end = self.full.len();
        for _ in 0..64 {
            let at = self.full[self.start..end].rfind("####")? + self.start;
            let mut from = at + 4;
            while self.full.as_bytes().get(from) == Some(&b'#') {
                from += 1;
            }
            let line_end = self.full[from..].find('\n').map_or(self.full.len(), |n| from + n);
            let line = &self.full[from..line_end];
            let content = line.trim_matches(|c: char| c.is_whitespace() || matches!(c, '*' | ':' | '#'));
            if content.is_empty() {
                // "####" on a line of its own: the next line.
                let rest = &self.full[line_end..];
                if rest.trim().is_empty() {
                    return Some((at, Err(Reason::EmptyAnswer)));
                }
                end = at;
                continue;
            }
            let heading = content.len() > 2
                && content.starts_with(|c: char| c.is_alphabetic())
                && content
                    .split_whitespace()
                    .filter(|w| w.len() >= 3 && w.chars().all(char::is_alphabetic))
                    .count()
                    >= 2
                || content.to_ascii_lowercase().starts_with("step")
                || content.ends_with(':') && content.starts_with(|c: char| c.is_alphabetic())
                || line.trim_end().ends_with(':')
                || numbered_heading(content);
            // At the very end a line of words that is an answer in itself: "#### all real numbers".
            let answer = heading
                && self.full[line_end..].trim().is_empty()
                && !content.ends_with(':')
                && matches!(readable(content, self.policy), Reading::Value);
            if heading && !answer || answer_word(content) {
                end = at;
                continue;
            }
            return Some((at, found(self.full, from..line_end, Source::Hashes)));
        }
        None
    }
}

/// "Final Answer" and its like as a heading of its own.
fn answer_word(content: &str) -> bool {
    let t = content.trim_matches(|c: char| !c.is_alphabetic()).to_ascii_lowercase();
    matches!(t.as_str(), "answer" | "final answer" | "solution" | "conclusion" | "the answer" | "result")
}

fn numbered_heading(content: &str) -> bool {
    let rest = content.trim_start_matches(|c: char| c.is_ascii_digit());
    rest.len() < content.len()
        && (rest.starts_with(". ") || rest.starts_with(") "))
        && rest[2..].split_whitespace().any(|w| w.len() >= 3 && w.chars().all(char::is_alphabetic))
}
