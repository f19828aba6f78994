//! Finds the final answer of a response. One winner: never "any candidate matches".
//!
//! Every search is a single pass. The order of trust:
//!
//! 1. Only the text after the last `</think>` counts.
//! 2. Marked answers: `\boxed{}` and `\fbox{}`, `<answer>`, `####`, "the answer is", "Answer:", "答案". The last in the text wins;
//!    a phrase after a box must be followed by a value. An empty or unclosed last mark is no answer.
//! 3. Without a mark: the whole response if it is just an answer, else the last maths span, bold text or number.
//!
//! A denied ("not 5", "5 is wrong", "we reject 5") or hedged ("maybe 5", "3 or maybe 4") answer is no answer, nor is the last number
//! of a text that breaks off; "3 or 4" is a list.

use std::ops::Range;

use crate::{
    policy::{Boxes, Policy},
    stance,
    value::{self, Answer, Value},
    verdict::Reason,
};

/// How an answer was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a box.
    Boxed,
    /// In an `<answer>` tag.
    Tag,
    /// After `####`.
    Hashes,
    /// After a phrase such as "the answer is".
    Phrase,
    /// The whole text.
    Whole,
    /// The last maths span, bold text or number.
    Last,
}

/// The text taken as the final answer and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extraction {
    /// The answer's text.
    pub text: String,
    /// Its bytes in the response.
    pub span: Range<usize>,
    /// How it was found.
    pub source: Source,
}

type Found = Result<Extraction, Reason>;

fn found(full: &str, range: Range<usize>, source: Source) -> Found {
    let inner = &full[range.clone()];
    let trimmed = inner.trim();
    if trimmed.is_empty() {
        return Err(Reason::EmptyAnswer);
    }
    let start = range.start + (inner.len() - inner.trim_start().len());
    Ok(Extraction { text: trimmed.to_string(), span: start..start + trimmed.len(), source })
}

/// The whole text as the answer; a box in it still counts as a box.
pub fn answer_only(text: &str, policy: &Policy) -> Found {
    if let Some(found) = boxed(text, policy) {
        return found;
    }
    found(text, 0..text.len(), Source::Whole).map_err(|_| Reason::NoAnswer)
}

/// The final answer of a response.
pub fn extract(full: &str, policy: &Policy) -> Found {
    let mut start = full.len().saturating_sub(policy.max_bytes);
    while !full.is_char_boundary(start) {
        start += 1;
    }
    if policy.after_think {
        if let Some(at) = full[start..].rfind("</think>") {
            start += at + "</think>".len();
        }
        if full[start..].contains("<think>") {
            return Err(Reason::Unterminated);
        }
    }
    let full = &full[..start + turn_end(&full[start..])];
    let full = &full[..start + before_proof_end(&full[start..]).len()];
    let view = View { full, start, policy, turns: 0 };
    let text = &full[start..];
    if text.trim().is_empty() {
        return Err(Reason::NoAnswer);
    }
    // Marks, the last wins.
    let mut best: Option<(usize, Found)> = None;
    let mut offer = |at: Option<(usize, Found)>| {
        if let Some((at, f)) = at
            && best.as_ref().is_none_or(|(b, _)| at > *b)
        {
            best = Some((at, f));
        }
    };
    offer(view.boxes());
    offer(view.tag());
    offer(view.hashes());
    if policy.prose {
        let after = best.as_ref().map_or(start, |(at, _)| *at);
        let marked = best.is_some();
        // Words inside a box that never closes announce nothing.
        let open_box = matches!(&best, Some((_, Err(Reason::Unterminated))));
        if !open_box && let Some((at, f)) = view.phrase(after, marked) {
            best = Some((at, f));
        }
    }
    match best {
        Some((_, f)) => f,
        None if policy.prose => view.last(),
        None => Err(Reason::NoAnswer),
    }
}

/// Where the turn of the model ends: at an end-of-text token, or where a base model goes on to invent the next question.
fn turn_end(text: &str) -> usize {
    let mut end = text.len();
    if text.contains('<') {
        for mark in [
            "<|im_end|>",
            "<|eot_id|>",
            "<|endoftext|>",
            "<|end_of_text|>",
            "<|end|>",
            "<end_of_turn>",
            "</s>",
            "<eos>",
        ] {
            if let Some(at) = text[..end].find(mark).filter(|at| !text[..*at].trim().is_empty()) {
                end = at;
            }
        }
    }
    for mark in ["\nQ:", "\nQuestion:", "\nHuman:", "\nUser:", "\nProblem:"] {
        let Some(at) = text[..end].find(mark) else { continue };
        let before = &text[..at];
        let answered =
            ["####", "boxed{", "answer is", "nswer:", "</answer>"].iter().any(|m| before.contains(m));
        if answered {
            end = at;
        }
    }
    end
}

/// The text without the sign that ends a proof.
fn before_proof_end(text: &str) -> &str {
    let t = text.trim_end().trim_end_matches(['$', '.']);
    ["\\blacksquare", "\\square", "\\Box", "\\qed", "■", "∎", "□", "QED", "Q.E.D"]
        .iter()
        .find_map(|w| t.strip_suffix(w))
        .map(|t| t.trim_end_matches('$'))
        .filter(|t| t.ends_with(char::is_whitespace) && !t.trim().is_empty())
        .unwrap_or(text)
}

/// The last box of a text, if it has any.
pub fn boxed(text: &str, policy: &Policy) -> Option<Found> {
    View { full: text, start: 0, policy, turns: 0 }.boxes().map(|(_, f)| f)
}

/// How many changes of mind are followed; longer chains end where they are.
const TURNS: u8 = 4;

struct View<'a> {
    full: &'a str,
    start: usize,
    policy: &'a Policy,
    /// Changes of mind that have been followed so far.
    turns: u8,
}

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
    fn boxes(&self) -> Option<(usize, Found)> {
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
            while first > 0 && all.len() - first < 64 {
                let between = &self.full[all[first - 1].end..all[first].command];
                match connector(between) {
                    Some(is_or) => or |= is_or,
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
    fn tag(&self) -> Option<(usize, Found)> {
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
    fn hashes(&self) -> Option<(usize, Found)> {
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

    /// The last phrase that announces an answer at or after `after`.
    fn phrase(&self, after: usize, marked: bool) -> Option<(usize, Found)> {
        let floor = after.max(self.start);
        let mut end = self.full.len();
        // "A: 18" as the last line.
        let tail = self.full[floor..].trim_end();
        let line = tail.rfind('\n').map_or(0, |n| n + 1);
        if let Some(content) = tail[line..].strip_prefix("A:")
            && let Some(f) = self.narrow(floor + tail.len() - content.trim_start().len(), true)
        {
            return Some((floor + line, f));
        }
        let mut tries = 0;
        while tries < 64 {
            tries += 1;
            let (at, len) = self.keyword(floor, end)?;
            end = at;
            if let Some(f) = self.announced(at, at + len, marked) {
                return Some((at, f));
            }
        }
        None
    }

    /// The last keyword before `end`: its place and length.
    fn keyword(&self, floor: usize, end: usize) -> Option<(usize, usize)> {
        let b = self.full.as_bytes();
        let mut i = end;
        while i > floor {
            i -= 1;
            let words: &[&str] = match b[i] {
                b'a' | b'A' => &["answer", "ans:", "ans.", "antwort", "antwoord"],
                b's' | b'S' => &["solution"],
                b'r' | b'R' => &["result", "respuesta", "réponse", "risposta", "resposta"],
                b'o' | b'O' => &["odpowied"],
                b'c' | b'C' => &["cevap", "correct choice", "correct option", "correct statement"],
                0xc4 => &["đáp án", "Đáp án", "đáp số", "Đáp số"],
                0xd0 => &["Ответ", "ответ", "ОТВЕТ"],
                0xd8 => &["الجواب", "الإجابة"],
                0xe0 => &["उत्तर"],
                0xe6 => &["故选", "故選"],
                0xe7 => &["答案", "答え", "答：", "答:"],
                0xeb => &["답:", "답은"],
                0xec => &["정답"],
                _ => continue,
            };
            for word in words {
                let len = word.len();
                if i + len > end || !b[i..i + len].eq_ignore_ascii_case(word.as_bytes()) {
                    continue;
                }
                // "ans." inside a longer word is none.
                let inner = i > 0 && b[i - 1].is_ascii_alphabetic();
                if word.starts_with("ans") && len == 4 && inner {
                    continue;
                }
                return Some((i, len));
            }
        }
        None
    }

    /// What a keyword announces, if it does.
    fn announced(&self, at: usize, after: usize, marked: bool) -> Option<Found> {
        let rest = &self.full[after..floor_boundary(self.full, after + 4096)];
        let keyword = &self.full[at..after];
        let weak = ["solution", "result", "correct choice", "correct option", "correct statement"];
        let is_answer = !weak.iter().any(|w| keyword.eq_ignore_ascii_case(w));
        // "The solution is divided into three steps" does not replace a box.
        if marked && !is_answer {
            return None;
        }
        // Keywords that need no verb.
        let direct = keyword.len() == 4 && keyword.is_ascii()
            || ["答", "정답", "답", "故"].iter().any(|k| keyword.starts_with(k));
        let rest_start = rest.trim_start_matches(['s', 'S']);
        let mut pos = after + (rest.len() - rest_start.len());
        let b = self.full.as_bytes();
        // Skip emphasis, then look for a link within the same line.
        let skip = |mut p: usize| {
            while p < b.len() && matches!(b[p], b' ' | b'*' | b'\t' | b'_') {
                p += 1;
            }
            p
        };
        let before = self.full[self.start..at].trim_end_matches(['*', ' ', '#']);
        let final_word = {
            let n = before.len();
            n >= 5 && before.is_char_boundary(n - 5) && before[n - 5..].eq_ignore_ascii_case("final")
        };
        pos = skip(pos);
        let (mut hedge, mut would) = (false, false);
        let mut linked = false;
        if b.get(pos) == Some(&b':') || self.full[pos..].starts_with('：') {
            pos += self.full[pos..].chars().next().map_or(1, char::len_utf8);
            linked = true;
        } else if b.get(pos) == Some(&b'\n') && final_word {
            linked = true;
        } else if direct {
            if let Some(w) =
                ["是", "为", "為", "は", "은", "는"].iter().find(|w| self.full[pos..].starts_with(**w))
            {
                pos += w.len();
            }
            linked = true;
        } else if ["— ", "– ", "-> ", "→ "].iter().any(|w| self.full[pos..].starts_with(w)) {
            pos += self.full[pos..].find(' ').unwrap_or(0);
            linked = true;
        } else {
            // "answer to the question is", "answer would be", "answer ="
            let mut words = 0;
            let mut p = pos;
            while words < 14 && p < b.len() && p < pos + 120 {
                let q = p;
                while p < b.len() && !matches!(b[p], b' ' | b'\n' | b':' | b'=' | b'.' | b',') {
                    p += 1;
                }
                let word = &self.full[q..floor_boundary(self.full, p)];
                let lower = word.trim_matches('*').to_ascii_lowercase();
                match lower.as_str() {
                    "is" | "are" | "was" | "equals" | "be" | "es" | "est" | "ist" | "è" | "é" | "jest"
                    | "to" | "son" | "sont" | "sind" | "sono" | "são"
                        if lower != "to" || keyword.starts_with(['o', 'O']) =>
                    {
                        linked = true;
                        pos = p;
                        break;
                    }
                    "no" if keyword.starts_with(['r', 'R']) => return Some(Err(Reason::Negated)),
                    "might" | "could" | "may" => hedge = true,
                    "only" => hedge = false,
                    "would" => would = true,
                    "isn't" | "isn’t" | "not" | "cannot" | "can't" | "can’t" | "couldn't" | "wouldn't"
                    | "won't" | "doesn't" | "shouldn't" | "never" | "wasn't" | "n'est" | "n’est"
                    | "nicht" | "não" | "non" => {
                        // "cannot be anything but 25"
                        let rest =
                            &self.full[floor_boundary(self.full, p)..floor_boundary(self.full, p + 40)];
                        let double = [" be anything but ", " be anything other than ", " be other than "];
                        if let Some(w) = double.iter().find(|w| rest.starts_with(**w)) {
                            pos = p + w.len();
                            linked = true;
                            break;
                        }
                        let corrected = self.corrected(p);
                        return corrected.or(Some(Err(Reason::Negated))).filter(|_| is_answer && !marked);
                    }
                    _ => {}
                }
                // A digit or a relative clause before the link: this is a sentence about the answer.
                if lower.bytes().any(|c| c.is_ascii_digit())
                    || matches!(
                        lower.as_str(),
                        "as" | "in" | "that" | "which" | "because" | "by" | "and" | "," | "with"
                    )
                {
                    return None;
                }
                if p >= b.len() || matches!(b[p], b'\n' | b'.' | b',') {
                    break;
                }
                if matches!(b[p], b':' | b'=') {
                    linked = words < 8;
                    pos = p + 1;
                    break;
                }
                p += 1;
                words += 1;
            }
        }
        if !linked {
            return None;
        }
        // "Perhaps the answer is", "it is not true that the answer is", "suppose that the answer is"
        let from = floor_boundary(self.full, at.saturating_sub(120)).max(self.start);
        let lead = &self.full[from..at];
        let lead = &lead[lead.rfind(['.', '\n', '!', '?', ';']).map_or(0, |n| n + 1)..];
        let lower = lead.to_ascii_lowercase();
        // "Perhaps the answer is" and "Maybe, the answer is"; "Maybe surprisingly, the answer is" doubts something else.
        let clause = lower.trim_end().trim_end_matches("the").trim_end();
        let clause = match clause.strip_suffix(',') {
            Some(said) if said.trim().contains(' ') => "",
            _ => clause,
        };
        if is_answer && ["perhaps", "maybe", "possibly"].iter().any(|w| clause.contains(w)) {
            return Some(Err(Reason::Hedged));
        }
        // What a sentence supposes or doubts is announced by nobody; the search for the last value judges it again.
        if is_answer && stance::clause_before(lead).is_some() {
            return None;
        }
        // ": ", "is: ", newlines and emphasis before the content.
        let mut p = pos;
        while p < b.len()
            && (b[p].is_ascii_whitespace()
                || matches!(b[p], b':' | b'*' | b'#')
                || self.full[p..].starts_with('：'))
        {
            if !self.full.is_char_boundary(p) {
                break;
            }
            p += self.full[p..].chars().next().map_or(1, char::len_utf8);
        }
        // "none other than 25"
        for w in ["none other than ", "nothing but ", "nothing other than ", "no other than "] {
            if self.full[p..].starts_with(w) {
                p += w.len();
            }
        }
        let content = &self.full[p..];
        if content.trim().is_empty() {
            return if is_answer && !marked { Some(Err(Reason::EmptyAnswer)) } else { None };
        }
        // "If order mattered, the answer would be 50.", "The answer would be 42 if x were positive."
        if would {
            let lower = lower[lower.rfind(':').map_or(0, |n| n + 1)..].trim_start();
            if ["if ", "had ", "were ", "ignoring ", "without ", "otherwise"]
                .iter()
                .any(|w| lower.starts_with(w))
            {
                return None;
            }
            let line = &content[..floor_boundary(content, 200)];
            let line = &line[..line.find('\n').unwrap_or(line.len())];
            if line[..sentence_end(line)].contains(" if ") {
                return if is_answer && !marked { Some(Err(Reason::Hedged)) } else { None };
            }
        }
        let plain = content.chars().filter(|c| !matches!(c, '*' | '_'));
        let lower_start: String = plain.take(24).collect::<String>().to_ascii_lowercase();
        if lower_start.starts_with("not ")
            || lower_start.starts_with("n't ")
            || lower_start.starts_with("never ")
            || ["nicht ", "niet ", "pas ", "не "].iter().any(|w| lower_start.starts_with(w))
            || ["≠", "!=", "\\ne", "$\\ne", "不是", "并非", "不等于"]
                .iter()
                .any(|w| lower_start.starts_with(w))
        {
            // "not 13 but 12"
            let line =
                &content[..content.find('\n').unwrap_or(content.len()).min(floor_boundary(content, 160))];
            let sentence = &line[..sentence_end(line)];
            let turn = [" but ", ", it is ", ", it's ", "; it is ", "; it's ", ", it’s "]
                .iter()
                .filter_map(|w| sentence.find(w).map(|at| (at, w.len())))
                .min();
            if let Some((at, len)) = turn {
                let at = at + len - 5;
                let rest = &sentence[at + 5..];
                let skip = ["rather ", "actually ", "in fact ", "instead "]
                    .iter()
                    .find_map(|w| rest.starts_with(w).then_some(w.len()))
                    .unwrap_or(0);
                return self.narrow(p + at + 5 + skip, true);
            }
            return if is_answer { Some(Err(Reason::Negated)) } else { None };
        }
        const OTHERS: [&str; 8] = [
            "other than",
            "anything but",
            "anything except",
            "anything other",
            "different from",
            "far from",
            "no longer",
            "nowhere near",
        ];
        if OTHERS.iter().any(|w| lower_start.starts_with(w)) {
            return if is_answer { Some(Err(Reason::Negated)) } else { None };
        }
        let hedged = ["maybe", "perhaps", "possibly", "either ", "probably either"]
            .iter()
            .any(|w| lower_start.starts_with(w));
        if (hedge || hedged) && is_answer {
            return Some(Err(Reason::Hedged));
        }
        let narrowed = self.narrow(p, !is_answer || marked)?;
        Some(narrowed)
    }

    /// What the sentence after a denial says: "The answer isn't 16. It's 15."
    fn corrected(&self, from: usize) -> Option<Found> {
        let rest = &self.full[from..floor_boundary(self.full, from + 160)];
        let next = rest.find(['.', ';']).map(|n| n + 1)?;
        let body = rest[next..].trim_start();
        let mark =
            ["It's ", "It’s ", "It is ", "it's ", "it’s ", "it is ", "Instead, it is ", "Rather, it is "]
                .iter()
                .find(|m| body.starts_with(**m))?;
        self.narrow(from + rest.len() - body.len() + mark.len(), true)
    }

    /// The answer at the start of a stretch of prose. With `value_only`, words alone are no answer.
    fn narrow(&self, p: usize, value_only: bool) -> Option<Found> {
        let content = &self.full[p..floor_boundary(self.full, p + 4096)];
        // A maths span or bold text first.
        if let Some(span) = span_at(content) {
            let mut end = span.outer;
            let mut parts = vec![content[span.inner.clone()].trim()];
            // Spans joined by commas, "and", "or".
            while parts.len() < 32 {
                let rest = &content[end..];
                let Some(next) =
                    rest.find(['$', '\\', '*']).filter(|n| *n <= 12 && connector(&rest[..*n]).is_some())
                else {
                    break;
                };
                let Some(more) = span_at(&rest[next..]) else { break };
                parts.push(rest[next..][more.inner.clone()].trim());
                end += next + more.outer;
            }
            let or = connector_is_or(&content[span.outer..end]);
            if let Some(f) = self.retracted(p + end) {
                return Some(f);
            }
            if let Some(reason) = stance::after(&content[end..]) {
                return Some(Err(reason));
            }
            if parts.len() > 1 {
                let text = parts.join(if or { " or " } else { ", " });
                return Some(Ok(Extraction {
                    text,
                    span: p + span.inner.start..p + end,
                    source: Source::Phrase,
                }));
            }
            // A unit after the span belongs to it; a number before a span does too.
            let inner = &content[span.inner.clone()];
            if !inner.trim().is_empty() {
                if let Some(more) = or_value(&content[end..]) {
                    let text = format!("{} or {more}", inner.trim());
                    return Some(Ok(Extraction {
                        text,
                        span: p + span.inner.start..p + end,
                        source: Source::Phrase,
                    }));
                }
                return Some(found(self.full, p + span.inner.start..p + span.inner.end, Source::Phrase));
            }
        }
        // A span that never closes.
        if ["\\(", "\\["].iter().any(|w| content.starts_with(w)) || content.starts_with("$\\") {
            let close = if content.starts_with("\\(") {
                "\\)"
            } else if content.starts_with('$') {
                "$"
            } else {
                "\\]"
            };
            if !content[2..].contains(close) {
                return Some(Err(Reason::Unterminated));
            }
        }
        let line_end = content.find('\n').unwrap_or(content.len());
        let line = &content[..line_end.min(floor_boundary(content, 2000))];
        let sentence = &line[..sentence_end(line)];
        let sentence = &sentence[..next_clause(sentence)];
        let sentence = &sentence[..sentence.find(", i.e.").unwrap_or(sentence.len())];
        if stance::hedge_inside(sentence) || line[sentence.len()..].starts_with('?') {
            return Some(Err(Reason::Hedged));
        }
        // "12 (EDIT: 13)"
        const CHANGES: [&str; 6] = ["(edit", "(correct", "(actually", "(no,", ", i mean ", ", i meant "];
        if self.turns < TURNS && (sentence.contains('(') || sentence.contains(", I mean")) {
            if ["(wrong)", "(incorrect)", "(rejected)", "(extraneous)"].iter().any(|w| sentence.contains(w)) {
                return Some(Err(Reason::Negated));
            }
            let lower = sentence.to_ascii_lowercase();
            if let Some((at, len)) = CHANGES.iter().find_map(|w| lower.find(w).map(|at| (at, w.len()))) {
                let skip = match CHANGES.iter().any(|w| w.ends_with(' ') && lower[at..].starts_with(w)) {
                    true => 0,
                    false => sentence[at + len..].find([' ', ':']).map_or(0, |n| n + 1),
                };
                let behind = View { turns: self.turns + 1, ..*self };
                return Some(behind.narrow(p + at + len + skip, true).unwrap_or(Err(Reason::Negated)));
            }
        }
        match readable(sentence, self.policy) {
            Reading::Value => {
                return Some(self.kept(p..p + sentence.len()));
            }
            Reading::Text if !value_only && !sentence.bytes().any(|c| c.is_ascii_digit()) => {
                // "C because ..." has been cut by the choice rule below.
                let lead = leading_letter(sentence);
                let end = lead.unwrap_or(sentence.len());
                return Some(found(self.full, p..p + end, Source::Phrase));
            }
            _ => {}
        }
        // 2x2 matrix
        if value::dimensions(sentence).is_some() {
            return Some(found(self.full, p..p + sentence.len(), Source::Phrase));
        }
        // A value, then prose.
        if let Some(end) = leading_value(sentence)
            && matches!(readable(&sentence[..end], self.policy), Reading::Value)
        {
            return Some(self.kept(p..p + end));
        }
        if let Some(end) = leading_letter(sentence) {
            return Some(self.kept(p..p + end));
        }
        if value_only {
            return None;
        }
        let inside = View { full: &self.full[..p + sentence.len()], start: p, ..*self };
        match inside.last_value() {
            Some(f) => Some(f),
            None if sentence.trim().is_empty() => None,
            None => Some(found(self.full, p..p + sentence.len(), Source::Phrase)),
        }
    }

    /// An answer unless what follows takes it back.
    fn kept(&self, range: Range<usize>) -> Found {
        if let Some(f) = self.retracted(range.end) {
            return f;
        }
        match stance::after(&self.full[range.end..]) {
            Some(reason) => Err(reason),
            None => found(self.full, range, Source::Phrase),
        }
    }

    /// The other value that a second thought right after an answer arrives at: "15. Actually, it is 16.",
    /// "15. Correction: 16", "15. Hmm, 3 · 6 = 18. So it's 18."
    fn second_thought(&self, end: usize) -> Option<Found> {
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
    fn retracted(&self, end: usize) -> Option<Found> {
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

    /// Without any mark.
    fn last(&self) -> Found {
        let text = &self.full[self.start..];
        if let Some(found) = self.word_answer(text) {
            return found;
        }
        let trimmed = value::trim(text);
        if let Some(range) = closing_words(text) {
            return found(self.full, self.start + range.start..self.start + range.end, Source::Last);
        }
        if let Some(range) = closing_name(text, self.policy.choices) {
            return found(self.full, self.start + range.start..self.start + range.end, Source::Last);
        }
        let set = trimmed.len() <= 80 && trimmed.to_ascii_lowercase_prefix("all ");
        if set && matches!(readable(trimmed, self.policy), Reading::Value) {
            return found(self.full, self.start..self.full.len(), Source::Whole);
        }
        if trimmed.len() <= 400 && !is_prose(trimmed) {
            match readable(trimmed, self.policy) {
                Reading::Value => return found(self.full, self.start..self.full.len(), Source::Whole),
                Reading::Text
                    if !trimmed.bytes().any(|c| c.is_ascii_digit())
                        && trimmed.len() <= 60
                        && !trimmed.contains('$') =>
                {
                    if let Some(words) = predicate(trimmed) {
                        let at = text.find(trimmed).unwrap_or(0) + words.start + self.start;
                        return found(self.full, at..at + words.len(), Source::Last);
                    }
                    return found(self.full, self.start..self.full.len(), Source::Whole);
                }
                _ => {}
            }
        }
        self.last_value().unwrap_or(Err(Reason::NoAnswer))
    }

    /// "Yes" or a choice in prose without numbers.
    fn word_answer(&self, text: &str) -> Option<Found> {
        if text.bytes().any(|c| c.is_ascii_digit()) {
            return None;
        }
        // "Yes, because ...": the word that opens the text.
        let lead = text.trim_start();
        for word in ["Yes", "No", "True", "False", "yes", "no", "true", "false"] {
            if lead.strip_prefix(word).is_some_and(|rest| rest.starts_with([',', '.', ';', ':'])) {
                let at = self.start + text.len() - lead.len();
                return Some(found(self.full, at..at + word.len(), Source::Last));
            }
        }
        let mut text = text;
        for _ in 0..8 {
            let range = last_choice(text)?;
            let head = text[..range.start].trim_end_matches([' ', '*', '$']);
            // "(B), not (C)"
            if let Some(before) =
                ["not", "n't", "not option", "not choice"].iter().find_map(|w| head.strip_suffix(w))
            {
                text = before;
                continue;
            }
            // "(A) or (B)" decides nothing.
            let list = head.strip_suffix("or").map(|h| h.trim_end_matches([' ', ',', '*', '$']));
            if list.is_some_and(|l| choice_in(l).is_some_and(|r| r.end == l.len())) {
                return Some(Err(Reason::Hedged));
            }
            return Some(found(self.full, self.start + range.start..self.start + range.end, Source::Last));
        }
        Some(Err(Reason::Negated))
    }

    /// A number with the unit of measurement behind it.
    fn with_unit(&self, text: &str, number: Range<usize>) -> Range<usize> {
        let tail = &text[number.end..floor_boundary(text, number.end + 40)];
        for word in [" percent", " per cent"] {
            let rest = tail.strip_prefix(word);
            if rest.is_some_and(|r| !r.starts_with(|c: char| c.is_alphabetic())) {
                return number.start..number.end + word.len();
            }
        }
        let Some((at, word)) = word_positions(tail).next() else { return number };
        // 45 dozen
        if at == 1
            && tail.starts_with(' ')
            && matches!(word, "dozen" | "hundred" | "thousand" | "million" | "billion" | "trillion")
        {
            return number.start..number.end + 1 + word.len();
        }
        let unit = match word {
            "in" | "a" | "A" | "t" | "K" | "V" | "W" | "J" | "N" | "l" => false,
            w => crate::units::canonical(w).is_some_and(|u| !crate::units::is_money(u)),
        };
        if !unit || at > 1 || (at == 1 && !tail.starts_with(' ')) {
            return number;
        }
        // The longest reading that is one quantity.
        let ends: Vec<usize> = word_positions(tail)
            .enumerate()
            .take_while(|(k, (_, w))| {
                *k == 0
                    || crate::units::canonical(w).is_some()
                    || matches!(*w, "per" | "square" | "cubic" | "squared" | "cubed" | "and")
            })
            .map(|(_, (at, w))| number.end + at + w.len())
            .take(4)
            .collect();
        for end in ends.into_iter().rev() {
            let squared =
                ["²", "³", "^2", "^3"].iter().find_map(|p| text[end..].starts_with(p).then_some(p.len()));
            let end = end + squared.unwrap_or(0);
            let read = Answer::read(&text[number.start..end], self.policy);
            if let Ok(Answer { value: Value::Scalar(s), .. }) = read
                && s.unit.is_some()
                && !text[number.end..end].contains(['.', ',', ';', '\n', '('])
            {
                return number.start..end;
            }
        }
        number
    }

    /// The last maths span, bold text, or number; the one that ends last.
    fn last_value(&self) -> Option<Found> {
        let text = &self.full[self.start..];
        // A remark at the end says nothing new: "(we discard -3)", "for all x".
        if let Some(head) = before_remark(text) {
            if let Some(reason) = stance::after(&text[head..]) {
                return Some(Err(reason));
            }
            let before = View { full: &self.full[..self.start + head], ..*self };
            if let Some(Ok(f)) = before.last_of_all() {
                return Some(Ok(f));
            }
        }
        self.last_of_all()
    }

    fn last_of_all(&self) -> Option<Found> {
        let text = &self.full[self.start..];
        let b = text.as_bytes();
        if stance::breaks_off(text) {
            return Some(Err(Reason::Unterminated));
        }
        let digit = b.iter().rposition(u8::is_ascii_digit);
        if let Some(d) = digit
            && let Some(at) = counted(text, d)
            && let Some(f @ Ok(_)) = self.narrow(self.start + at, true)
        {
            return Some(f);
        }
        // A number after the span wins, unless it only approximates it.
        let approximates = |s: &LastSpan, d: usize| {
            let between = &text[s.outer_end..d];
            // A sentence of its own states the rounded value, unless it speaks of the span: "This is about 3.6."
            let own = between.trim_start_matches(['.', ' ', '$', '\n']);
            let another = between.contains(". ") || between.contains('\n');
            let speaks = ["This is", "which is", "That is", "i.e.", "Numerically", "≈", "approx"];
            between.len() < 60
                && (!another || speaks.iter().any(|w| own.starts_with(w)))
                && ["approx", "≈", "about", "roughly"].iter().any(|w| between.contains(w))
        };
        let span = last_span(text).filter(|s| digit.is_none_or(|d| d < s.outer_end || approximates(s, d)));
        let span = span.filter(|s| {
            let inner = text[s.inner.clone()].trim();
            !inner.is_empty() && inner.len() < 600 && matches!(readable(inner, self.policy), Reading::Value)
        });
        if let Some(s) = span {
            if let Some(reason) = stance::after(&text[s.outer_end..]) {
                return Some(Err(reason));
            }
            let open = s.inner.start - (s.inner.start > 1 && text[..s.inner.start].ends_with("$$")) as usize;
            if let Some(reason) = lead_denies(&text[..open.saturating_sub(1)]) {
                return Some(Err(reason));
            }
            if let Some((parts, from)) = listed_spans(text, &s.inner) {
                return Some(Ok(Extraction {
                    text: parts,
                    span: self.start + from..self.start + s.inner.end,
                    source: Source::Last,
                }));
            }
            return Some(found(
                self.full,
                self.start + s.inner.start..self.start + s.inner.end,
                Source::Last,
            ));
        }
        if let Some(range) = rich_token(text, digit)
            && matches!(readable(&text[range.clone()], self.policy), Reading::Value)
        {
            return Some(found(self.full, self.start + range.start..self.start + range.end, Source::Last));
        }
        let Some(d) = digit else {
            // No digits at all: a number in words, "yes", "no".
            let tail_start = floor_boundary(text, text.len().saturating_sub(300));
            let words: Vec<(usize, &str)> = word_positions(&text[tail_start..]).collect();
            let (mut k, mut hit) = (words.len(), None);
            while k > 0 {
                k -= 1;
                if value::is_number_words(words[k].1) && !words[k].1.eq_ignore_ascii_case("one") {
                    hit = Some(k);
                    break;
                }
            }
            let k = hit?;
            let mut first = k;
            while first > 0
                && value::is_number_words(
                    &text[tail_start + words[first - 1].0..tail_start + words[k].0 + words[k].1.len()],
                )
            {
                first -= 1;
            }
            let (from, to) = (tail_start + words[first].0, tail_start + words[k].0 + words[k].1.len());
            return Some(found(self.full, self.start + from..self.start + to, Source::Last));
        };
        let range = self.with_unit(text, number_around(text, d));
        // "250 × 4 = 1,000. So they make 1,000 units in 4 weeks."
        if let Some(result) = restated(text, range.start) {
            let result = self.with_unit(text, result);
            return Some(found(self.full, self.start + result.start..self.start + result.end, Source::Last));
        }
        if let Some(group) = group_around(text, &range)
            && matches!(readable(&text[group.clone()], self.policy), Reading::Value)
        {
            return Some(found(self.full, self.start + group.start..self.start + group.end, Source::Last));
        }
        let mut start = range.start;
        // "on June 20"
        let head = text[..start].trim_end();
        let word = head.rfind(|c: char| !c.is_ascii_alphabetic()).map_or(0, |n| n + 1);
        let word = floor_boundary(head, word);
        if (3..=9).contains(&(head.len() - word))
            && let Ok(Answer { value: Value::Date { .. }, .. }) =
                Answer::read(&text[word..range.end], self.policy)
        {
            return Some(found(self.full, self.start + word..self.start + range.end, Source::Last));
        }
        // "a 4 by 6 grid" names no number.
        if let Some(left) = text[..start].trim_end().strip_suffix(" by")
            && left.ends_with(|c: char| c.is_ascii_digit())
        {
            start = number_around(left, left.len() - 1).start;
        }
        // "the ratio is 3 to 5"
        if let Some(left) = text[..start].trim_end().strip_suffix(" to")
            && left.ends_with(|c: char| c.is_ascii_digit())
            && text[text[..start].rfind(['\n', '.']).map_or(0, |n| n + 1)..start].contains("ratio")
        {
            start = number_around(left, left.len() - 1).start;
        }
        // x = 5 and y = -1
        if let Some(first) = assignments_before(text, start) {
            start = first;
        }
        // 5 out of 8
        if let Some(left) = text[..start].trim_end().strip_suffix(" out of")
            && left.ends_with(|c: char| c.is_ascii_digit())
        {
            start = number_around(left, left.len() - 1).start;
        }
        // "3 or 4" is a list; so is "are 3 and 4".
        let mut joined = 0;
        while joined < 16 {
            let head = text[..start].trim_end();
            let Some(word) = [" or", " and", ",", "或", "和"].iter().find(|w| head.ends_with(**w)) else {
                break;
            };
            let left = head[..head.len() - word.len()].trim_end();
            let left = left.strip_suffix(',').unwrap_or(left);
            let previous = left.as_bytes().last().is_some_and(u8::is_ascii_digit);
            if !previous {
                break;
            }
            let r = number_around(left, left.len() - 1);
            if !matches!(*word, " or" | "或" | "和") {
                // Only where a plural verb announces the list.
                let lead = left[..r.start].trim_end();
                let list_before = lead.ends_with(" are")
                    || lead.ends_with(',')
                    || lead.ends_with(" and")
                    || lead.ends_with(" or")
                    || lead.ends_with("are:");
                if !list_before || *word == "," && !lead.ends_with(" are") && !lead.ends_with(',') {
                    break;
                }
            }
            start = r.start;
            joined += 1;
        }
        let sentence_start = text[..start].rfind(['\n', '.']).map_or(0, |n| n + 1);
        let lead = format!(" {}", text[sentence_start..start].trim().to_ascii_lowercase());
        // "36 and not 30", "36 rather than 30": the other number counts.
        let head = text[sentence_start..start].trim_end();
        for join in [" and not", ", not", " but not", " rather than", " instead of"] {
            if self.turns < TURNS
                && let Some(kept) = head.strip_suffix(join)
                && kept.contains(|c: char| c.is_ascii_digit())
            {
                let end = self.start + sentence_start + kept.len();
                return View { full: &self.full[..end], turns: self.turns + 1, ..*self }.last_of_all();
            }
        }
        // "5/16, or about 31%": the value before the rounded one counts.
        for join in [" or about", " or approximately", " or roughly", " ≈", " (approximately", " (about"] {
            if self.turns < TURNS
                && let Some(kept) = head.strip_suffix(join)
                && kept.trim_end_matches([' ', ',', ')', '$']).ends_with(|c: char| c.is_ascii_digit())
            {
                let end = self.start + sentence_start + kept.trim_end_matches([' ', ',']).len();
                return View { full: &self.full[..end], turns: self.turns + 1, ..*self }.last_of_all();
            }
        }
        if let Some(reason) = lead_denies(&text[..start]) {
            return Some(Err(reason));
        }
        // "one less than 6", "exceeds 6": another number.
        const BOUNDS: [&str; 15] = [
            "bigger than",
            "larger than",
            "smaller than",
            "higher than",
            "lower than",
            "there are at least",
            "there are at most",
            "less than",
            "more than",
            "fewer than",
            "exceeds",
            "just below",
            "just above",
            "slightly below",
            "slightly above",
        ];
        let counted_bound = ["no", "is", "not"].iter().any(|w| {
            BOUNDS
                .iter()
                .any(|b| lead.strip_suffix(b).is_some_and(|l| l.trim_end().ends_with(&format!(" {w}"))))
        });
        if BOUNDS.iter().any(|w| lead.ends_with(w)) && !counted_bound {
            return Some(Err(Reason::Hedged));
        }
        // \frac{9}{ and the end
        if text[sentence_start..].matches('{').count() > text[sentence_start..].matches('}').count() {
            return Some(Err(Reason::Unterminated));
        }
        // "we cannot tell whether it is 8" leaves it open.
        const OPEN: [&str; 6] = [
            "whether ",
            "cannot determine",
            "can't determine",
            "cannot be determined",
            "not enough information",
            "unclear if ",
        ];
        if OPEN.iter().any(|w| lead.contains(w)) {
            return Some(Err(Reason::Hedged));
        }
        // "between 9 and 10" is neither.
        let between = lead.strip_suffix(" and").and_then(|l| l.rfind("between ").map(|at| &l[at + 8..]));
        if stance::hedges_before(&lead)
            || between.is_some_and(|l| !l.contains(|c: char| c.is_ascii_alphabetic()))
        {
            return Some(Err(Reason::Hedged));
        }
        if let Some(reason) = stance::after(&text[range.end..]) {
            return Some(Err(reason));
        }
        // "n is greater than 6" bounds n.
        for bound in ["greater than", "less than", "more than", "fewer than"] {
            if lead.ends_with(bound) && lead[..lead.len() - bound.len()].trim_end().ends_with(" is") {
                start = sentence_start + text[sentence_start..start].trim_end().len() - bound.len();
            }
        }
        // 60' is no 60.
        let primes = text[range.end..].bytes().take_while(|c| *c == b'\'').count();
        let end = if !text[..range.end].ends_with(|c: char| c.is_ascii_digit())
            || text[range.end + primes..].starts_with(|c: char| c.is_alphabetic())
            || text[..start].ends_with('\'')
        {
            range.end
        } else {
            range.end + primes
        };
        Some(found(self.full, self.start + start..self.start + end, Source::Last))
    }
}

/// Where the number stands that "there are" announces in the last sentence, if only a phrase follows that ends in another
/// number: "So there are 13 ways to climb 6 stairs".
fn counted(text: &str, last: usize) -> Option<usize> {
    let from = floor_boundary(text, last.saturating_sub(200));
    let sentence = text[from..last].rfind(['\n', '.', '?', '!']).map_or(from, |n| from + n + 1);
    let said = &text[sentence..last];
    if !said.as_bytes().windows(5).any(|w| w == b"here ") {
        return None;
    }
    let at = ["there are ", "there were ", "there will be ", "There are ", "There were "]
        .iter()
        .filter_map(|w| said.rfind(w).map(|at| at + w.len()))
        .max()?;
    let number = said[at..].trim_start_matches('$');
    let digits = number.bytes().take_while(|c| c.is_ascii_digit() || *c == b',').count();
    let rest = number[digits..].trim_start_matches('$');
    let joined = [",", "=", ";", ":", "(", " and ", " or ", " so ", " but ", " not ", " than "];
    let plain = digits > 0
        && rest.strip_prefix(' ').is_some_and(|r| r.starts_with(|c: char| c.is_ascii_alphabetic()))
        && !joined.iter().any(|w| rest.contains(w));
    plain.then_some(sentence + at)
}

/// The result of the calculation right before the last sentence where that sentence repeats it before its last number,
/// which starts at `last`.
fn restated(text: &str, last: usize) -> Option<Range<usize>> {
    let from = floor_boundary(text, last.saturating_sub(300));
    let b = text.as_bytes();
    let start =
        (from..last).rev().find(|&i| b[i] == b'\n' || b[i] == b'.' && b.get(i + 1) == Some(&b' '))? + 1;
    let sentence = &text[start..];
    let conditional = sentence.trim_start().to_ascii_lowercase_prefix("if ");
    if conditional || sentence.bytes().any(|c| matches!(c, b'=' | b'\\')) {
        return None;
    }
    let window = floor_boundary(text, start.saturating_sub(200));
    let before = &text[window..start];
    let result = number_around(before, before.bytes().rposition(|c| c.is_ascii_digit())?);
    if !before[..result.start].trim_end_matches([' ', '$']).ends_with('=') {
        return None;
    }
    let number = &before[result];
    let clear = |at: usize| {
        let part = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b',' | b'/' | b'-' | b'%');
        let b = sentence.as_bytes();
        !(at > 0 && part(&b[at - 1]))
            && b.get(at + number.len()).is_none_or(|c| *c == b' ')
            && start + at + number.len() < last
    };
    let (at, _) = sentence.match_indices(number).find(|(at, _)| clear(*at))?;
    // Numbers that are joined are a list or a ratio, and what is denied is no result.
    let rest = &text[start + at + number.len()..last];
    let joined = [" and ", " or ", ",", ";", ":", " to ", " not ", " than ", " but ", "n't "];
    let lead = &sentence[..at];
    let plain = !joined.iter().any(|w| rest.contains(w)) && lead_denies(lead).is_none();
    plain.then(|| start + at..start + at + number.len())
}

/// Where the first of several assignments begins, the last of which has its value at `start`: "x = 5 and y = -1".
fn assignments_before(text: &str, start: usize) -> Option<usize> {
    let name_before = |end: usize| -> Option<(usize, u8)> {
        let head = text[..end].trim_end().strip_suffix('=')?.trim_end();
        let name = *head.as_bytes().last().filter(|c| c.is_ascii_alphabetic())?;
        let at = head.len() - 1;
        let alone =
            text[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '\\');
        alone.then_some((at, name))
    };
    let (mut at, name) = name_before(start)?;
    let mut names = vec![name];
    while names.len() < 8 {
        let head = text[..at].trim_end();
        let Some(left) = head.strip_suffix(" and").or_else(|| head.strip_suffix(',')) else { break };
        let left = left.strip_suffix(',').unwrap_or(left);
        if !left.ends_with(|c: char| c.is_ascii_digit()) {
            break;
        }
        let Some((first, name)) = name_before(number_around(left, left.len() - 1).start) else { break };
        if names.contains(&name) {
            break;
        }
        names.push(name);
        at = first;
    }
    (names.len() > 1).then_some(at)
}

/// A choice or a day of the week that the last sentence names, if that sentence has no number and the text has some:
/// "Only statement (C) is true.", "it will be **Tuesday**".
fn closing_name(text: &str, choices: bool) -> Option<Range<usize>> {
    let t = text.trim_end().trim_end_matches(['.', '*', '!', ' ']);
    let from = floor_boundary(t, t.len().saturating_sub(160));
    let start = t[from..].rfind(['\n', '.', '?', '!']).map_or(from, |n| from + n + 1);
    let sentence = &t[start..];
    if sentence.bytes().any(|c| matches!(c, b'$' | b'\\'))
        || sentence.trim().len() < 12
        || !text.bytes().any(|c| c.is_ascii_digit())
    {
        return None;
    }
    const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    if let Some(day) = DAYS.iter().find(|d| t.ends_with(**d)) {
        let head = t[start..t.len() - day.len()].trim_end_matches(['*', ' ']);
        let said = [" be", " is", " was"].iter().any(|w| head.ends_with(w));
        return said.then(|| t.len() - day.len()..t.len());
    }
    if !choices || sentence.bytes().any(|c| c.is_ascii_digit()) {
        return None;
    }
    let range = choice_in(sentence)?;
    let head = sentence[..range.start].trim_end_matches([' ', '*']);
    let clear = sentence.matches('(').count() <= 1
        && !stance::denies(&format!(" {}", head.to_ascii_lowercase()))
        && ["option", "choice", "statement", "answer", "is", "pick", "choose", "select"]
            .iter()
            .any(|w| head.ends_with(w))
        && stance::after(&sentence[range.end..]).is_none();
    clear.then_some(start + range.start..start + range.end)
}

/// "no solution" and its like at the very end of a text.
fn closing_words(text: &str) -> Option<Range<usize>> {
    let t = text.trim_end().trim_end_matches(['.', '*', '$', '!', '}']);
    if !["olution", "olutions", "root", "roots", "exist", "ndefined"].iter().any(|w| t.ends_with(w)) {
        return None;
    }
    let tail = t[floor_boundary(t, t.len().saturating_sub(40))..].to_ascii_lowercase();
    const CLOSINGS: [&str; 10] = [
        " no solution",
        " no solutions",
        " no real solution",
        " no real solutions",
        " no real roots",
        " no real root",
        " no roots",
        " infinitely many solutions",
        " does not exist",
        " undefined",
    ];
    let words = CLOSINGS.iter().find(|w| tail.ends_with(**w))?;
    Some(t.len() - words.len() + 1..t.len())
}

/// Whether the sentence so far denies the value that follows.
fn lead_denies(before: &str) -> Option<Reason> {
    let before = &before[floor_boundary(before, before.len().saturating_sub(400))..];
    let lead = &before[before.rfind(['\n', '.']).map_or(0, |n| n + 1)..];
    let plain =
        format!(" {}", lead.trim().trim_end_matches(['$', '*', '(', '\\']).trim_end().to_ascii_lowercase());
    // "12 instead of 13" is left to others.
    let replaced = ["other than", "instead of", "rather than"].iter().any(|w| plain.ends_with(w));
    if stance::denies(&plain) && !replaced {
        return Some(Reason::Negated);
    }
    stance::clause_before(lead)
}

/// The words behind the last "is" or "be" of one sentence, or its bold words: "It will be **Friday**".
fn predicate(sentence: &str) -> Option<Range<usize>> {
    let bold = sentence.rfind("**").and_then(|end| Some(sentence[..end].rfind("**")? + 2..end));
    if let Some(bold) = bold.filter(|r| !r.is_empty()) {
        return Some(bold);
    }
    let (at, len) = [" is ", " are ", " was ", " were ", " be "]
        .iter()
        .filter_map(|w| sentence.rfind(w).map(|at| (at, w.len())))
        .max()?;
    let tail = at + len..sentence.len();
    (1..=4).contains(&sentence[tail.clone()].split_whitespace().count()).then_some(tail)
}

/// Where a closing remark begins: a bracket of words at the end of the text, or a quantifier behind a maths span.
fn before_remark(text: &str) -> Option<usize> {
    let t = text.trim_end().trim_end_matches('.');
    let words = |s: &str| {
        word_positions(s)
            .filter(|(at, w)| w.len() >= 2 && (*at == 0 || s.as_bytes()[at - 1] != b'\\'))
            .count()
    };
    if t.ends_with(')')
        && let Some(open) = t.rfind(" (")
        && !t[open..].contains('\n')
        && (words(&t[open..]) >= 2
            || [" (not ", " (at ", " (when ", " (where ", " (for ", " (since ", " (as ", " (with "]
                .iter()
                .any(|w| t[open..].starts_with(w)))
        && t[t[..open].rfind(['\n', '.']).map_or(0, |n| n + 1)..open]
            .contains(|c: char| c.is_ascii_digit() || c == '$')
    {
        return Some(open);
    }
    let sentence = t.rfind(['\n', '.']).map_or(0, |n| n + 1);
    let tail = &t[sentence..];
    [" for all ", " for every ", " for any ", " for each ", " where "]
        .iter()
        .filter_map(|w| tail.find(w))
        .min()
        .filter(|at| tail[..*at].trim_end().ends_with('$') && tail[..*at].matches('$').count() >= 2)
        .map(|at| sentence + at)
}

/// The last word, if it ends at or after the last digit and is more than a numeral: `2√3`, `4π`, `x^2`. Words that an
/// operator joins to it belong to it.
fn rich_token(text: &str, digit: Option<usize>) -> Option<Range<usize>> {
    const SIGNS: [char; 14] = ['√', 'π', '∞', '²', '³', '⁴', '½', '¼', '¾', '⅓', '⅔', '∛', '^', '°'];
    let sign = text.rfind(SIGNS).max(text.rfind("sqrt(")).max(text.rfind("*pi"));
    let at = sign?.max(digit.unwrap_or(0));
    let blank = |c: char| c.is_whitespace();
    let mut start =
        text[..at].rfind(blank).map_or(0, |n| n + text[n..].chars().next().map_or(1, char::len_utf8));
    let end = text[at..].find(blank).map_or(text.len(), |n| at + n);
    if sign? < start || end - start > 200 {
        return None;
    }
    // Words before an operator.
    for _ in 0..16 {
        let head = text[..start].trim_end();
        let Some(op) =
            head.chars().next_back().filter(|c| matches!(c, '+' | '-' | '−' | '*' | '×' | '·' | '/' | '±'))
        else {
            break;
        };
        let before = head[..head.len() - op.len_utf8()].trim_end();
        let from =
            before.rfind(blank).map_or(0, |n| n + before[n..].chars().next().map_or(1, char::len_utf8));
        let word = &before[from..];
        let mathy = word.chars().any(|c| c.is_ascii_digit() || SIGNS.contains(&c))
            || word.len() == 1 && word.starts_with(|c: char| c.is_ascii_alphabetic());
        if !mathy || word.len() > 60 {
            break;
        }
        start = from;
    }
    let word = &text[start..end];
    let trimmed = word.trim_end_matches(['.', ',', ';', ':', '!', '*', '$', '"']);
    let end = start + trimmed.len();
    let lead = trimmed.len() - trimmed.trim_start_matches(['*', '$', '"', '=', '≈']).len();
    (start + lead < end).then_some(start + lead..end)
}

/// Whether a text is sentences rather than just an answer.
fn is_prose(text: &str) -> bool {
    const OPENERS: &[&str] = &["since", "because", "given", "using", "note"];
    if text.contains('\n') && !text.contains("\\begin") {
        return true;
    }
    const CONCLUSIONS: &[&str] = &[
        ", so ",
        ", giving ",
        ", hence ",
        ", thus ",
        ", therefore ",
        ", we ",
        ", which ",
        ", yielding ",
        ", making ",
    ];
    if CONCLUSIONS.iter().any(|w| text.contains(w)) {
        return true;
    }
    let first = text.split([' ', ',']).next().unwrap_or("");
    if OPENERS.iter().any(|w| first.eq_ignore_ascii_case(w)) {
        return true;
    }
    let mut words = 0;
    let mut rest = 0;
    // Three words before the first sign open a sentence.
    let opening = text.find(|c: char| !(c.is_ascii_alphabetic() || c == ' ')).unwrap_or(0);
    if text[..opening].split(' ').filter(|w| w.len() >= 2).count() >= 3
        && text[opening..].starts_with(|c: char| c.is_ascii_digit() || c == '$')
    {
        return true;
    }
    for (at, word) in word_positions(text) {
        let command = at > 0 && text.as_bytes()[at - 1] == b'\\'
            || text[..at].ends_with("\\begin{")
            || text[..at].ends_with("\\end{");
        if word.len() >= 2
            && !command
            && at >= rest
            && crate::lex::function(word).is_none()
            && !matches!(word, "or" | "and" | "pi" | "sqrt" | "circ")
        {
            words += 1;
        }
        rest = at;
    }
    words > if text.bytes().any(|c| c.is_ascii_digit()) { 3 } else { 8 }
}

trait PrefixIgnoreCase {
    fn to_ascii_lowercase_prefix(&self, prefix: &str) -> bool;
}

impl PrefixIgnoreCase for str {
    fn to_ascii_lowercase_prefix(&self, prefix: &str) -> bool {
        self.len() >= prefix.len() && self.as_bytes()[..prefix.len()].eq_ignore_ascii_case(prefix.as_bytes())
    }
}

fn floor_boundary(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

enum Reading {
    Value,
    Text,
    Nothing,
}

fn readable(text: &str, policy: &Policy) -> Reading {
    if text.len() > 2000 {
        return Reading::Nothing;
    }
    match Answer::read(text, policy) {
        Ok(Answer { value: Value::Text(_), .. }) => Reading::Text,
        Ok(_) => Reading::Value,
        Err(_) => Reading::Nothing,
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

/// Whether the text between two answers only joins them; true inside for "or".
fn connector(between: &str) -> Option<bool> {
    if between.len() > 40 {
        return None;
    }
    let mut t = between
        .replace("\\text", " ")
        .replace("\\quad", " ")
        .replace("\\(", " ")
        .replace("\\)", " ")
        .replace("\\,", " ");
    t.retain(|c| !matches!(c, '$' | '{' | '}' | '\\' | '*' | '(' | ')'));
    let t = t.trim().to_ascii_lowercase();
    // "and x =" before the next box
    let t = match assigned_name(&t) {
        Some(name) => t[..t.rfind(name).unwrap_or(0)].trim_end(),
        None => &t,
    };
    match t {
        "," | "and" | ", and" | "、" | "和" | "&" | ";" => Some(false),
        "or" | ", or" | "或" => Some(true),
        _ => None,
    }
}

/// The name of `... x =` at the end of a text.
fn assigned_name(before: &str) -> Option<&str> {
    let t = before.trim_end_matches(['$', ' ', '{', '\\', '(']).strip_suffix('=')?.trim_end();
    let from = t.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map_or(0, |n| n + 1);
    let from = floor_boundary(t, from);
    let name = &t[from..];
    let letter = name.starts_with(|c: char| c.is_ascii_alphabetic());
    (letter && (name.len() == 1 || name.as_bytes()[1] == b'_' && name.len() <= 4)).then_some(name)
}

fn connector_is_or(between: &str) -> bool {
    between.contains(" or ") || between.contains("或")
}

/// The last few words before an answer, in lower case and without maths signs.
fn plain_tail(text: &str) -> String {
    let from = floor_boundary(text, text.len().saturating_sub(48));
    let mut t: String = text[from..].to_ascii_lowercase();
    t.retain(|c| !matches!(c, '$' | '\\' | '(' | '[' | '*' | '{'));
    format!(" {}", t.trim())
}

/// A second value that "or" adds right after an answer.
fn or_value(after: &str) -> Option<String> {
    let t = after.trim_start_matches(['$', '*', ' ', '\\', ')', ']']);
    let rest = t.strip_prefix("or ")?;
    let rest = rest.trim_start_matches(['$', '*', ' ']);
    let first = rest.chars().next()?;
    if !(first.is_ascii_digit() || matches!(first, '-' | '\\')) {
        return None;
    }
    let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '$' | ',' | ';')).unwrap_or(rest.len());
    let value = rest[..end].trim_end_matches(['.', '*']);
    (!value.is_empty()).then(|| value.to_string())
}

struct Span {
    inner: Range<usize>,
    outer: usize,
}

/// A maths span or bold text that starts a text.
fn span_at(text: &str) -> Option<Span> {
    for (open, close) in [("$$", "$$"), ("\\[", "\\]"), ("\\(", "\\)"), ("**", "**"), ("$", "$")] {
        let Some(rest) = text.strip_prefix(open) else { continue };
        let Some(n) = (if open == "$" { dollar(rest) } else { rest.find(close) }) else { continue };
        // "$5 and $7": amounts, not a span.
        if open == "$" && is_currency(&rest[..n]) {
            return None;
        }
        if n == 0 || n > 2000 {
            continue;
        }
        let mut outer = open.len() + n + close.len();
        let mut inner = open.len()..open.len() + n;
        // **$5$**
        if open == "**"
            && let Some(s) = span_at(rest[..n].trim_start())
        {
            let lead = n - rest[..n].trim_start().len();
            inner = open.len() + lead + s.inner.start..open.len() + lead + s.inner.end;
        }
        while text[outer..].starts_with('*') {
            outer += 1;
        }
        return Some(Span { inner, outer });
    }
    None
}

/// The spans that stand before the last one in a list that a plural verb announces: "the values are $1$, $2$ and $3$".
fn listed_spans(text: &str, last: &Range<usize>) -> Option<(String, usize)> {
    let (open, close) = if text[..last.start].ends_with("\\(") { ("\\(", "\\)") } else { ("$", "$") };
    let mut start = last.start.checked_sub(open.len()).filter(|at| text[*at..].starts_with(open))?;
    let mut parts = vec![text[last.clone()].trim()];
    let mut or = false;
    while parts.len() < 32 {
        let head = &text[..start];
        let Some(end) = head.rfind(close).filter(|end| head.len() - end < 16) else { break };
        let Some(joins) = connector(&head[end + close.len()..]) else { break };
        let Some(previous) = head[..end].rfind(open).filter(|at| end - at < 400) else { break };
        or |= joins;
        parts.push(head[previous + open.len()..end].trim());
        start = previous;
    }
    // "$x = 5$ and $y = -1$" needs no announcement.
    let mut names: Vec<&str> = parts
        .iter()
        .filter_map(|p| p.split_once('=').map(|(name, _)| name.trim()))
        .filter(|n| n.len() == 1 && n.starts_with(|c: char| c.is_ascii_alphabetic()))
        .collect();
    names.sort_unstable();
    names.dedup();
    // "With $T = 11$, $x = 14$" only reminds of T.
    let given =
        text[..start].rsplit(|c: char| !c.is_ascii_alphabetic()).find(|w| !w.is_empty()).is_some_and(|w| {
            ["with", "if", "when", "for", "since", "given", "as", "because", "where", "from", "at", "let"]
                .iter()
                .any(|g| w.eq_ignore_ascii_case(g))
        });
    let system = names.len() == parts.len() && !given;
    let announced = system || text[..start].trim_end().trim_end_matches(':').ends_with(" are");
    if parts.len() < 2 || !announced || parts.iter().any(|p| p.is_empty()) {
        return None;
    }
    parts.reverse();
    Some((parts.join(if or { " or " } else { ", " }), start + open.len()))
}

/// The first dollar sign that no backslash makes a currency.
fn dollar(text: &str) -> Option<usize> {
    let mut text_end = 0;
    text.match_indices('$').map(|(at, _)| at).find(|at| {
        // Inside \text{if $n$ is even} the signs belong to the words.
        let window = floor_boundary(text, at.saturating_sub(200)).max(text_end);
        if *at >= text_end
            && let Some(open) = text[window..*at].rfind("\\text{").map(|n| window + n)
            && !text[open..*at].contains('}')
            && let Some(close) = text[*at..floor_boundary(text, at + 200)].find('}')
        {
            text_end = at + close;
        }
        *at >= text_end && !text[..*at].ends_with('\\')
    })
}

/// The last dollar sign that no backslash makes a currency.
fn last_dollar(text: &str) -> Option<usize> {
    text.rmatch_indices('$').map(|(at, _)| at).find(|at| !text[..*at].ends_with('\\'))
}

/// Whether the text between two dollar signs is prose, so that the first sign is a currency.
fn is_currency(between: &str) -> bool {
    between.starts_with(|c: char| c.is_ascii_digit())
        && (between.contains('\n')
            || between.ends_with(' ')
                && between.trim_end().ends_with(|c: char| c.is_ascii_alphabetic())
                && !between.contains('\\')
            || between
                .split_whitespace()
                .filter(|w| w.len() >= 2 && w.chars().all(|c| c.is_ascii_alphabetic()))
                .count()
                >= 1
                && !between.contains('\\'))
}

struct LastSpan {
    inner: Range<usize>,
    outer_end: usize,
}

/// The last maths span or bold text.
fn last_span(text: &str) -> Option<LastSpan> {
    let mut best: Option<LastSpan> = None;
    let mut offer = |inner: Range<usize>, outer_end: usize| {
        if best.as_ref().is_none_or(|b| outer_end > b.outer_end) {
            best = Some(LastSpan { inner, outer_end });
        }
    };
    for (open, close) in [("\\[", "\\]"), ("\\(", "\\)"), ("$$", "$$"), ("**", "**")] {
        if let Some(end) = text.rfind(close)
            && let Some(start) = text[..end].rfind(open)
        {
            let mut inner = start + open.len()..end;
            if open == "**"
                && let Some(s) = span_at(text[inner.clone()].trim())
            {
                let lead = text[inner.clone()].len() - text[inner.clone()].trim_start().len();
                let from = inner.start + lead;
                inner = from + s.inner.start..from + s.inner.end;
            }
            offer(inner, end + close.len());
        }
    }
    // Single dollars: the last pair.
    let signs = |t: &str| t.match_indices('$').filter(|(at, _)| !t[..*at].ends_with('\\')).count();
    if let Some(end) = last_dollar(text)
        && !text[..end].ends_with('$')
        && let Some(start) = last_dollar(&text[..end])
        && !text[..start].ends_with('$')
        && signs(&text[..start]).is_multiple_of(2)
        && !is_currency(&text[start + 1..end])
    {
        offer(start + 1..end, end + 1);
    }
    best
}

/// The numeral around a digit: sign, currency, thousands, fraction, percent, exponent.
fn number_around(text: &str, digit: usize) -> Range<usize> {
    let b = text.as_bytes();
    let mut end = digit + 1;
    // Forward: the rest of the numeral is behind `digit` only as percent, letters of an exponent or a unit sign.
    while b.get(end).is_some_and(u8::is_ascii_digit) {
        end += 1;
    }
    let mut start = digit;
    let is_part = |i: usize| -> bool {
        let c = b[i];
        c.is_ascii_digit()
            || (matches!(c, b'.' | b',')
                && i > 0
                && b[i - 1].is_ascii_digit()
                && b.get(i + 1).is_some_and(u8::is_ascii_digit))
            || (c == b'.' && b.get(i + 1).is_some_and(u8::is_ascii_digit))
            || (c == b':'
                && i > 0
                && b[i - 1].is_ascii_digit()
                && b.get(i + 1).is_some_and(u8::is_ascii_digit))
            || (c == b'/'
                && i > 0
                && b[i - 1].is_ascii_digit()
                && b.get(i + 1).is_some_and(u8::is_ascii_digit))
    };
    while start > 0 && is_part(start - 1) && digit - start < 4096 {
        start -= 1;
    }
    // A comma list without blanks is not one number: "1,2" stays, the lexer knows.
    // 1 1/4
    if text[start..end].contains('/') && start >= 2 && b[start - 1] == b' ' && b[start - 2].is_ascii_digit() {
        let mut s = start - 2;
        while s > 0 && b[s - 1].is_ascii_digit() {
            s -= 1;
        }
        start = s;
    }
    // Sign and currency.
    let mut head = start;
    if head > 0 && b[head - 1] == b'$' {
        head -= 1;
        if head > 0 && b[head - 1] == b'\\' {
            head -= 1;
        }
    }
    let sign_len = if head > 0 && b[head - 1] == b'-' {
        1
    } else if text[..head].ends_with('−') {
        '−'.len_utf8()
    } else {
        0
    };
    if sign_len > 0 {
        let before = text[..head - sign_len].chars().next_back();
        let touches =
            before.is_none_or(|c| c.is_whitespace() || matches!(c, '(' | '=' | ':' | '[' | '*' | '$'));
        // "8 - 3" has blanks on both sides of its sign; a sign at the number needs a blank or nothing before it.
        if touches {
            start = head - sign_len;
        }
    }
    if text[end..].starts_with('%') || text[end..].starts_with("\\%") {
        end += if text[end..].starts_with('%') { 1 } else { 2 };
    }
    let tail = text[end..].trim_start();
    if text[start..end].contains(':') {
        for m in ["am", "pm", "a.m.", "p.m.", "AM", "PM", "A.M.", "P.M."] {
            if tail.starts_with(m) {
                end = text.len() - tail.len() + m.len();
                break;
            }
        }
    }
    start..end
}

/// The bracketed list that ends right after a number: `(3, 4)`.
fn group_around(text: &str, number: &Range<usize>) -> Option<Range<usize>> {
    let rest = &text[number.end..];
    let end = number.end + (rest.len() - rest.trim_start().len());
    if !text[end..].starts_with([')', ']', '}']) {
        return None;
    }
    let from = floor_boundary(text, number.start.saturating_sub(200));
    let open = text[from..number.start].rfind(['(', '[', '{']).map(|n| from + n)?;
    let open = if text[..open].ends_with('\\') { open - 1 } else { open };
    let inner = &text[open..number.start];
    let plain = inner.contains(',')
        && word_positions(inner).all(|(_, w)| w.len() == 1 || matches!(w, "sqrt" | "pi" | "frac"));
    plain.then_some(open..end + 1)
}

/// The last choice in prose: "option C", "(C)" in a text without numbers.
fn last_choice(text: &str) -> Option<Range<usize>> {
    if text.bytes().any(|c| c.is_ascii_digit()) {
        return None;
    }
    if text.trim().len() < 12 {
        return None; // just an answer, read as a whole
    }
    choice_in(text)
}

fn choice_in(text: &str) -> Option<Range<usize>> {
    let b = text.as_bytes();
    let bracketed = (0..b.len().saturating_sub(2))
        .rev()
        .find(|&i| b[i] == b'(' && b[i + 1].is_ascii_uppercase() && b[i + 2] == b')');
    let named = ["option ", "Option ", "choice ", "Choice "]
        .iter()
        .filter_map(|w| text.rfind(w).map(|at| at + w.len()))
        .filter(|&at| {
            b.get(at).is_some_and(u8::is_ascii_uppercase)
                && !b.get(at + 1).is_some_and(u8::is_ascii_alphanumeric)
        })
        .max();
    match (bracketed, named) {
        (Some(i), Some(j)) if j > i => Some(j..j + 1),
        (Some(i), _) => Some(i..i + 3),
        (None, Some(j)) => Some(j..j + 1),
        (None, None) => None,
    }
}

/// The end of the first sentence: a period before a blank (not after an abbreviation's single letter) or the end.
fn sentence_end(line: &str) -> usize {
    let b = line.as_bytes();
    for i in 0..b.len() {
        if matches!(b[i], b'.' | b'?')
            && b.get(i + 1).is_none_or(|c| c.is_ascii_whitespace() || matches!(c, b'*' | b'"' | b'<'))
        {
            // "C. 12" keeps its content; "3 p.m." its mark
            let letter_mark = i == 1 && b[0].is_ascii_uppercase();
            let from = line[..i].rfind(|c: char| !c.is_ascii_alphabetic()).map_or(0, |n| n + 1);
            let short = i + 2 < b.len()
                && line.is_char_boundary(from)
                && (matches!(&line[from..i], "Rs" | "rs" | "approx" | "vs" | "Mr" | "Mrs" | "Dr" | "St")
                    || line[..i].ends_with("i.e")
                    || line[..i].ends_with("e.g"));
            if short {
                continue;
            }
            let pm = i >= 3 && b[i - 2] == b'.' && b[i - 1].eq_ignore_ascii_case(&b'm');
            if !letter_mark && !pm {
                return i;
            }
        }
        if b[i] == 0xe3 && line.is_char_boundary(i) && line[i..].starts_with('。') {
            return i;
        }
    }
    line.len()
}

/// Where a clause of prose begins behind a semicolon: "36; 35 does not work".
fn next_clause(sentence: &str) -> usize {
    sentence
        .match_indices("; ")
        .map(|(at, _)| at)
        .find(|at| word_positions(&sentence[*at..]).filter(|(_, w)| w.len() >= 3 && *w != "and").count() >= 2)
        .filter(|at| !sentence[*at..].contains(['\\', '$', '=']))
        .unwrap_or(sentence.len())
}

/// How far a value at the start of a sentence reaches before prose begins.
fn leading_value(sentence: &str) -> Option<usize> {
    let first = sentence.chars().next()?;
    if !(first.is_ascii_digit()
        || matches!(first, '-' | '(' | '[' | '{' | '\\' | '$' | '.' | '−' | '√' | 'π' | '∞' | '|')
        || starts_assignment(sentence))
    {
        return None;
    }
    let mut end = sentence.len();
    let mut previous_end = 0;
    for (at, word) in word_positions(sentence) {
        let glued = at > 0 && !sentence.as_bytes()[at - 1].is_ascii_whitespace();
        let keep = glued
            || word.len() == 1
            || matches!(
                word,
                "or" | "and"
                    | "sqrt"
                    | "pi"
                    | "squared"
                    | "cubed"
                    | "factorial"
                    | "dozen"
                    | "hundred"
                    | "thousand"
                    | "million"
                    | "billion"
            )
            || word == "by" && sentence[at + 2..].trim_start().starts_with(|c: char| c.is_ascii_digit())
            || crate::units::canonical(word).is_some() && !matches!(word, "in" | "day");
        if !keep {
            end = at;
            break;
        }
        previous_end = at + word.len();
    }
    let _ = previous_end;
    let t = sentence[..end].trim_end_matches([' ', ',', ';', ':', '(', '-']);
    let t = t.strip_suffix(" and").or_else(|| t.strip_suffix(" or")).unwrap_or(t);
    (!t.is_empty()).then_some(t.len())
}

fn starts_assignment(sentence: &str) -> bool {
    let mut chars = sentence.chars();
    chars.next().is_some_and(char::is_alphabetic) && chars.as_str().trim_start().starts_with('=')
}

/// `C` or `(C)` at the start, followed by prose.
fn leading_letter(sentence: &str) -> Option<usize> {
    let b = sentence.as_bytes();
    match b {
        [b'(', c, b')', ..] if c.is_ascii_uppercase() => Some(3),
        [c, b' ' | b',' | b':' | b')', ..] if c.is_ascii_uppercase() && !matches!(c, b'A' | b'I') => Some(1),
        [b'A', b',' | b':' | b')', ..] => Some(1),
        _ => None,
    }
}

fn word_positions(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &text[at..];
        let skip = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let rest = &rest[skip..];
        let len = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let start = at + skip;
        at = start + len;
        Some((start, &text[start..start + len]))
    })
}
