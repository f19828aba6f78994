//! Without a mark: the whole text if it is just an answer, else the last maths span, bold text or number.

use super::{
    Extraction, Found, Source, TURNS, View,
    closing::{assignments_before, before_remark, counted, is_prose, lead_denies, restated},
    found,
    lists::listed_spans,
    names::{bold_line, closing_name, closing_words, concluded, predicate},
    numerals::{group_around, number_around, rich_token},
    relation::closing_relation,
    spans::{LastSpan, last_span},
    text::{PrefixIgnoreCase, Reading, floor_boundary, plain_tail, readable, word_positions},
};
use crate::{
    stance,
    value::{self, Answer, Value},
    verdict::Reason,
};

impl View<'_> {
    /// Without any mark.
    pub(super) fn last(&self) -> Found {
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
        if let Some(range) = bold_line(text).or_else(|| concluded(text)) {
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

    /// The last maths span, bold text, or number; the one that ends last.
    pub(super) fn last_value(&self) -> Option<Found> {
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
        if let Some(range) = closing_relation(text)
            && matches!(readable(&text[range.clone()], self.policy), Reading::Value)
            && lead_denies(&text[..range.start]).is_none()
            && !stance::hedges_before(&plain_tail(&text[..range.start]))
        {
            return Some(found(self.full, self.start + range.start..self.start + range.end, Source::Last));
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
                    || [" are therefore", " are thus", " are then", " are hence"]
                        .iter()
                        .any(|w| lead.ends_with(w))
                    || lead.ends_with(',')
                    || lead.ends_with(" and")
                    || lead.ends_with(" or")
                    || lead.ends_with("are:");
                let triple = *word == "," && (lead.ends_with(" is") || lead.ends_with(" is:")) && joined > 0;
                if triple {
                    start = r.start;
                    break;
                }
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
