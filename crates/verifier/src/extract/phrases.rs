//! Phrases that announce an answer: "the answer is", "Answer:", "答案".

use super::{
    Found, View,
    text::{floor_boundary, sentence_end},
};
use crate::{stance, verdict::Reason};

impl View<'_> {
    /// The last phrase that announces an answer at or after `after`.
    pub(super) fn phrase(&self, after: usize, marked: bool) -> Option<(usize, Found)> {
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
}
