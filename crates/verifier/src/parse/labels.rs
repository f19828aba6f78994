//! Words around a value that are no mathematics: labels before it, remarks after it.

use super::{Parsed, Parser, RELATION};
use crate::{
    lex::{Delim, SyntaxError, Tok},
    syntax::{Node, Relation},
    words,
};

impl Parser<'_> {
    /// "where k is an integer", "for all x": the rest is a remark.
    pub(super) fn remark_starts(&self) -> bool {
        self.nested == 0
            && matches!(
                self.word_at(0).as_deref(),
                Some("where" | "for" | "with" | "such" | "because" | "since" | "which" | "as")
            )
    }

    pub(super) fn skip_remark(&mut self) {
        self.pos = self.tokens.len();
    }

    /// Words before a value. Comparing words ("at least 5") give a relation.
    #[inline(never)]
    pub(super) fn label(&mut self) -> Result<Option<Node>, SyntaxError> {
        let mut n = 0;
        let mut words: Vec<String> = Vec::new();
        while let Some(w) = self.word_at(n) {
            words.push(w);
            n += 1;
        }
        if n == 0 {
            return Ok(None);
        }
        let refs: Vec<&str> = words.iter().map(String::as_str).collect();
        if words::number(&refs).is_some() {
            return Ok(None);
        }
        let comparison = match refs[..] {
            [.., "no", "less", "than"] | [.., "no", "fewer", "than"] => Some(Relation::Ge),
            [.., "no", "more", "than"] | [.., "no", "greater", "than"] | [.., "up", "to"] => {
                Some(Relation::Le)
            }
            [.., "at", "least"] | [.., "least"] | [.., "minimum", "of"] => Some(Relation::Ge),
            [.., "at", "most"] | [.., "most"] | [.., "maximum", "of"] => Some(Relation::Le),
            [.., "less" | "fewer" | "smaller" | "lower", "than"]
            | [.., "below"]
            | [.., "under"]
            | [.., "小于"] => Some(Relation::Lt),
            [.., "greater" | "bigger" | "larger" | "higher", "than"]
            | [.., "more", "than"]
            | [.., "over"]
            | [.., "above"]
            | [.., "exceeds"]
            | [.., "大于" | "超过"] => Some(Relation::Gt),
            _ => None,
        };
        let negates = |w: &str| {
            matches!(
                w,
                "not"
                    | "no"
                    | "never"
                    | "except"
                    | "neither"
                    | "without"
                    | "isn"
                    | "cannot"
                    | "none"
                    | "nor"
                    | "excluding"
                    | "reject"
                    | "rejected"
                    | "discard"
                    | "discarded"
                    | "unknown"
                    | "unlike"
                    | "wrong"
                    | "incorrect"
            )
        };
        let bounded = matches!(refs[..], [.., "no", _, "than"]);
        if refs[..n - if bounded { 3 } else { 0 }].iter().any(|w| negates(w) || w.contains('不')) {
            return Err(self.expected("an answer that is not negated"));
        }
        if matches!(
            refs[..],
            [.., "bounded", "by"]
                | ["all" | "any" | "every" | "everything", .., "but"]
                | [.., "anything" | "everything" | "all", "but"]
                | [.., "different" | "far" | "apart", "from"]
                | [.., "other", "than"]
        ) {
            return Err(self.expected("an answer that is not negated"));
        }
        if refs.iter().any(|w| hedges(w)) {
            return Err(self.expected("an answer without doubt"));
        }
        // An operation in words is no label: "the square root of 2", "twice 3".
        if let Some(k) = (0..n).find(|&k| {
            matches!(refs[k..], ["square" | "cube", "root", ..] | ["twice" | "double" | "triple" | "thrice"])
        }) {
            self.pos += k;
            return Ok(None);
        }
        if matches!(
            refs[..],
            [
                ..,
                "square"
                    | "cube"
                    | "reciprocal"
                    | "inverse"
                    | "opposite"
                    | "negative"
                    | "logarithm"
                    | "log"
                    | "factorial"
                    | "sine"
                    | "cosine"
                    | "tangent",
                "of"
            ]
        ) {
            return Err(self.expected("a value"));
        }
        let last = *refs.last().unwrap_or(&"");
        if matches!(last, "minus" | "negative")
            || (matches!(last, "a" | "an")
                && n >= 1
                && words::number(&[last, self.word_at(n).as_deref().unwrap_or("")]).is_some())
        {
            self.pos += n - 1;
            return Ok(None);
        }
        // A number word in the middle: "a total of five apples".
        if let Some(k) =
            (1..n).find(|&k| words::number(&refs[k..]).is_some() && !matches!(refs[k], "a" | "an"))
        {
            self.pos += k - usize::from(matches!(refs[k - 1], "minus" | "negative"));
            return Ok(None);
        }
        match self.peek_at(n) {
            None | Some(Tok::Comma | Tok::And | Tok::Or | Tok::Semicolon | Tok::Close(_)) => {
                // Only words. A capital letter or a word among values is a name of its own.
                if self.nested == 0 || n > 4 {
                    return Err(self.expected("a value"));
                }
                let name = words.join(" ");
                self.pos += n;
                Ok(Some(Node::Var(name)))
            }
            Some(Tok::Colon | Tok::Rel(Relation::Eq | Relation::Approx | Relation::Arrow)) => {
                self.pos += n + 1;
                self.label()
            }
            Some(_) => {
                self.pos += n;
                if let Some(op) = comparison {
                    let value = self.expr(RELATION + 1)?;
                    let value = self.remark(value)?;
                    return Ok(Some(Node::Rel(vec![Node::Var("?".into()), value], vec![op])));
                }
                Ok(None)
            }
        }
    }

    /// Words after a value that are no unit.
    pub(super) fn remark(&mut self, node: Node) -> Parsed {
        if self.remark_starts() {
            return Ok(node);
        }
        // A remark in brackets ends the answer.
        if self.nested == 0
            && self.peek() == Some(&Tok::Open(Delim::Paren))
            && matches!(self.peek_at(1), Some(Tok::Word(_)))
            && self.tokens.last().is_some_and(|t| t.tok == Tok::Close(Delim::Paren))
        {
            self.skip_remark();
            return Ok(node);
        }
        let Some(first) = self.word_at(0) else { return Ok(node) };
        if matches!(first.as_str(), "if" | "when" | "otherwise" | "unless" | "per") && self.nested > 0 {
            return Ok(node);
        }
        if matches!(first.as_str(), "if" | "when" | "unless" | "not") || hedges(&first) {
            return Err(self.expected("a value without a condition"));
        }
        // "12 fails", "12 is wrong", "12 is not the answer"
        let mut at = 0;
        while let Some(word) = self.word_at(at).filter(|_| at < 6) {
            let refused = match word.as_str() {
                "fails" | "wrong" | "incorrect" | "impossible" | "extraneous" | "invalid" | "rejected"
                | "discarded" | "excluded" => true,
                "not" => {
                    at > 0
                        && self.word_at(at - 1).is_some_and(|w| {
                            matches!(
                                w.as_str(),
                                "is" | "are"
                                    | "was"
                                    | "does"
                                    | "do"
                                    | "did"
                                    | "would"
                                    | "could"
                                    | "can"
                                    | "should"
                            )
                        })
                }
                "cannot" => true,
                word => {
                    !word.is_ascii() && ["不", "错", "ない", "아니", "아닙"].iter().any(|w| word.contains(w))
                }
            };
            if refused {
                return Err(self.expected("an answer that is not refused"));
            }
            at += 1;
        }
        // "n is odd" and "n odd" are noted alike.
        let mut note = String::new();
        while matches!(self.peek(), Some(Tok::Word(_) | Tok::Mid))
            || (self.pos + 1 == self.tokens.len() && matches!(self.peek(), Some(Tok::Colon | Tok::Bang)))
        {
            if let Some(word) =
                self.word_at(0).filter(|w| !matches!(w.as_str(), "is" | "are" | "an" | "a" | "the"))
                && note.len() < 80
            {
                if !note.is_empty() {
                    note.push(' ');
                }
                note.push_str(&word);
            }
            self.pos += 1;
        }
        Ok(Node::Noted(Box::new(node), if note.is_empty() { first } else { note }))
    }
}

/// Words that leave an answer open.
fn hedges(word: &str) -> bool {
    matches!(word, "maybe" | "perhaps" | "possibly" | "might" | "unsure")
        || !word.is_ascii() && (word.contains("可能") || word.contains("也许"))
}
