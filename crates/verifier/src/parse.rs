//! Tokens to a syntax tree: a Pratt parser with counted depth.
//!
//! From loose to tight: relations, set operations, ratio, sum, product (written or implied), sign, power, postfix.
//! Words after a value are its unit or a remark; words before it are a label.

use num_rational::BigRational;
use num_traits::{One, Zero};

use crate::{
    lex::{Delim, SyntaxError, Tok, Token},
    limits,
    number::Number,
    syntax::{Big, BigParts, Constant, Func, Node, Relation, SetOp},
    units::{self, Unit},
    words,
};

const RELATION: u8 = 10;
const SET: u8 = 20;
const RATIO: u8 = 30;
const CHOOSE: u8 = 35;
const SUM: u8 = 40;
const MOD: u8 = 42;
const SIGN: u8 = 45;
const PRODUCT: u8 = 50;
const IMPLIED: u8 = 51;
const POWER: u8 = 80;
const POSTFIX: u8 = 90;

struct Parser<'a> {
    source: &'a str,
    tokens: &'a [Token],
    pos: usize,
    depth: u32,
    bars: u32,
    /// Whether a bar separates (inside set braces).
    builder: bool,
    /// Whether a comma belongs to an enclosing bracket.
    nested: u32,
}

type Parsed = Result<Node, SyntaxError>;

/// Reads the tokens of `source` as one answer.
pub fn parse(source: &str, tokens: &[Token]) -> Parsed {
    if tokens.is_empty() {
        return Err(SyntaxError::Empty);
    }
    match moduli(tokens) {
        Some(rewritten) => parse_answer(source, &rewritten),
        None => parse_answer(source, tokens),
    }
}

fn parse_answer(source: &str, tokens: &[Token]) -> Parsed {
    if let Some(rewritten) =
        angled(tokens).or_else(|| listed_condition(tokens)).or_else(|| probability(tokens))
    {
        return parse_tokens(source, &rewritten);
    }
    // \ell: 3x - y = 2
    if let [Token { tok: Tok::Name(line), .. }, Token { tok: Tok::Colon, .. }, equation @ ..] = tokens
        && line == "ell"
        && equation.iter().any(|t| t.tok == Tok::Rel(Relation::Eq))
    {
        return parse_tokens(source, equation);
    }
    // f: x \mapsto 2x
    if let Some(at) = tokens.iter().take(16).position(|t| t.tok == Tok::MapsTo)
        && let Some(Tok::Name(x)) = at.checked_sub(1).map(|i| &tokens[i].tok)
    {
        let function = match &tokens[0].tok {
            Tok::Name(f) if at > 1 => f.clone(),
            _ => "f".into(),
        };
        let left = Node::Mul(vec![Node::Var(function), Node::Var(x.clone())]);
        let right = parse_tokens(source, &tokens[at + 1..])?;
        return Ok(Node::Rel(vec![left, right], vec![Relation::Eq]));
    }
    parse_tokens(source, tokens)
}

/// `11 (mod 6)` and `11 (\text{mod } 6)` as `11 \bmod 6`, if there is such a bracket or word.
fn moduli(tokens: &[Token]) -> Option<Vec<Token>> {
    let is_word = |t: &Token| matches!(&t.tok, Tok::Word(w) if w.eq_ignore_ascii_case("mod"));
    let is_mod = |t: Option<&Token>| t.is_some_and(|t| t.tok == Tok::Mod || is_word(t));
    let opens = |k: usize| tokens[k].tok == Tok::Open(Delim::Paren) && is_mod(tokens.get(k + 1));
    if !(1..tokens.len()).any(|k| opens(k) || is_word(&tokens[k])) {
        return None;
    }
    let mut out = Vec::with_capacity(tokens.len());
    // For each open bracket whether it is dropped.
    let mut brackets = Vec::new();
    for (k, token) in tokens.iter().enumerate() {
        match token.tok {
            Tok::Open(_) => {
                let dropped = k > 0 && opens(k);
                brackets.push(dropped);
                if dropped {
                    continue;
                }
            }
            Tok::Close(_) if brackets.pop() == Some(true) => continue,
            _ => {}
        }
        let mut token = token.clone();
        if k > 0 && is_word(&token) {
            token.tok = Tok::Mod;
        }
        out.push(token);
    }
    Some(out)
}

/// `P(X = 2) = 3/8`: what stands in the bracket of a probability or an expectation only names it.
fn probability(tokens: &[Token]) -> Option<Vec<Token>> {
    let [
        Token { tok: Tok::Name(name), .. },
        Token { tok: Tok::Open(Delim::Paren | Delim::Bracket), .. },
        rest @ ..,
    ] = tokens
    else {
        return None;
    };
    if !matches!(name.as_str(), "P" | "E") {
        return None;
    }
    let mut depth = 1;
    let end = rest.iter().position(|t| {
        match t.tok {
            Tok::Open(_) => depth += 1,
            Tok::Close(_) => depth -= 1,
            _ => {}
        }
        depth == 0
    })?;
    let event = |t: &Token| matches!(t.tok, Tok::Rel(_) | Tok::Mid | Tok::Bar | Tok::Cup | Tok::Cap);
    let value = &rest[end + 1..];
    if !rest[..end].iter().any(event)
        || !matches!(value.first()?.tok, Tok::Rel(Relation::Eq | Relation::Approx))
    {
        return None;
    }
    let mut named = vec![tokens[0].clone()];
    named.extend(value.iter().cloned());
    Some(named)
}

/// `<1, 2, 3>`: a vector between relation signs.
fn angled(tokens: &[Token]) -> Option<Vec<Token>> {
    let [Token { tok: Tok::Rel(Relation::Lt), .. }, inner @ .., Token { tok: Tok::Rel(Relation::Gt), .. }] =
        tokens
    else {
        return None;
    };
    if !inner.iter().any(|t| t.tok == Tok::Comma) || inner.iter().any(|t| matches!(t.tok, Tok::Rel(_))) {
        return None;
    }
    let mut angled = tokens.to_vec();
    angled[0].tok = Tok::Open(Delim::Angle);
    angled.last_mut()?.tok = Tok::Close(Delim::Angle);
    Some(angled)
}

/// `x = kπ (k ∈ Z)`: the bracket becomes an item of the list.
fn listed_condition(tokens: &[Token]) -> Option<Vec<Token>> {
    let [.., Token { tok: Tok::Close(Delim::Paren), .. }] = tokens else { return None };
    let open = tokens.iter().rposition(|t| t.tok == Tok::Open(Delim::Paren)).filter(|at| *at > 0)?;
    if !matches!((&tokens.get(open + 1)?.tok, &tokens.get(open + 2)?.tok), (Tok::Name(_), Tok::In)) {
        return None;
    }
    let mut listed = tokens[..tokens.len() - 1].to_vec();
    listed[open].tok = Tok::Comma;
    Some(listed)
}

fn parse_tokens(source: &str, tokens: &[Token]) -> Parsed {
    let mut parser = Parser { source, tokens, pos: 0, depth: 0, bars: 0, builder: false, nested: 0 };
    let node = parser.list()?;
    if parser.pos < tokens.len() {
        return Err(parser.expected("the end of the answer"));
    }
    Ok(node)
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Tok> {
        self.tokens.get(self.pos).map(|t| &t.tok)
    }

    fn peek_at(&self, n: usize) -> Option<&Tok> {
        self.tokens.get(self.pos + n).map(|t| &t.tok)
    }

    fn expected(&self, expected: &'static str) -> SyntaxError {
        let at = self.tokens.get(self.pos).map_or(self.source.len(), |t| t.start);
        SyntaxError::Expected { expected, at }
    }

    fn eat(&mut self, tok: &Tok) -> bool {
        let found = self.peek() == Some(tok);
        self.pos += usize::from(found);
        found
    }

    fn word_at(&self, n: usize) -> Option<String> {
        match self.peek_at(n) {
            Some(Tok::Word(w)) => Some(w.to_ascii_lowercase()),
            _ => None,
        }
    }

    /// A bare list: items between commas, semicolons, "and", "or".
    #[inline(never)]
    fn list(&mut self) -> Parsed {
        let mut items = Vec::new();
        let (mut or, mut and, mut comma) = (false, false, false);
        loop {
            while let Some(tok @ (Tok::Comma | Tok::Semicolon | Tok::NewRow | Tok::And | Tok::Or)) =
                self.peek()
            {
                or |= *tok == Tok::Or;
                and |= *tok == Tok::And;
                comma |= !matches!(tok, Tok::And | Tok::Or);
                self.pos += 1;
            }
            let reversed = self.nested == 0 && self.peek() == Some(&Tok::Close(Delim::Bracket)); // ]1, 2[
            if self.at_end() && !reversed {
                break;
            }
            if !items.is_empty() && self.remark_starts() {
                self.skip_remark();
                break;
            }
            let item = self.item()?;
            items.push(item);
            if self.remark_starts() && self.nested == 0 {
                self.skip_remark();
                break;
            }
            if !matches!(self.peek(), Some(Tok::Comma | Tok::Semicolon | Tok::NewRow | Tok::And | Tok::Or)) {
                break;
            }
        }
        match items.len() {
            0 => Err(self.expected("an answer")),
            1 => Ok(items.remove(0)),
            // n ≡ 1, 5 (mod 6)
            _ if residues(&mut items) => Ok(if or { Node::Or(items) } else { Node::List(items) }),
            // 2 hours and 30 minutes
            _ if !or && mixed_quantity(&items) => Ok(Node::Add(items)),
            // x > 1 and x < 3: both hold.
            _ if and && !or && !comma && bounds_of_one_name(&items) => {
                Ok(Node::Set(SetOp::Intersection, items))
            }
            _ if or => Ok(Node::Or(items)),
            _ => Ok(Node::List(items)),
        }
    }

    fn at_end(&self) -> bool {
        matches!(self.peek(), None | Some(Tok::Close(_) | Tok::End(_) | Tok::Amp))
    }

    /// "where k is an integer", "for all x": the rest is a remark.
    fn remark_starts(&self) -> bool {
        self.nested == 0
            && matches!(
                self.word_at(0).as_deref(),
                Some("where" | "for" | "with" | "such" | "because" | "since" | "which" | "as")
            )
    }

    fn skip_remark(&mut self) {
        self.pos = self.tokens.len();
    }

    /// One item of a list, with a label before it and a remark after it.
    #[inline(never)]
    fn item(&mut self) -> Parsed {
        if let Some(node) = self.label()? {
            return Ok(node);
        }
        let node = self.expr(0)?;
        self.remark(node)
    }

    /// Words before a value. Comparing words ("at least 5") give a relation.
    #[inline(never)]
    fn label(&mut self) -> Result<Option<Node>, SyntaxError> {
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
    fn remark(&mut self, node: Node) -> Parsed {
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

    fn expr(&mut self, min: u8) -> Parsed {
        self.depth += 1;
        if self.depth > limits::DEPTH {
            return Err(SyntaxError::Limit { what: "nesting", limit: limits::DEPTH as usize });
        }
        let left = self.prefix()?;
        let node = self.operators(left, min)?;
        self.depth -= 1;
        Ok(node)
    }

    /// Extends `left` by the operators that bind at least as tightly as `min`. Everything that recurses is called from
    /// here with a small frame, so that deep nesting needs little stack.
    fn operators(&mut self, mut left: Node, min: u8) -> Parsed {
        let mut wraps = 0;
        loop {
            if wraps > limits::WRAPS {
                return Err(SyntaxError::Limit { what: "operators around one value", limit: limits::WRAPS });
            }
            match self.plan(&mut left, min)? {
                Plan::Stop => return Ok(left),
                Plan::Extended => wraps += 1,
                Plan::Operand(bp, join) => {
                    let right = self.expr(bp)?;
                    wraps += usize::from(!join.is_flat(&left));
                    left = joined(left, right, join);
                }
                Plan::Chain => left = self.chain(left)?,
                Plan::Fraction => left = self.fraction_after(left)?,
            }
        }
    }

    /// Decides what the next token does to `left`. Never recurses.
    #[inline(never)]
    fn plan(&mut self, left: &mut Node, min: u8) -> Result<Plan, SyntaxError> {
        let tokens = self.tokens;
        let Some(Token { tok, .. }) = tokens.get(self.pos) else { return Ok(Plan::Stop) };
        let take = |left: &mut Node| std::mem::replace(left, Node::Dots);
        let plan = match tok {
            Tok::Bang if POSTFIX >= min => {
                let mut n = 0;
                while self.eat(&Tok::Bang) {
                    n += 1;
                }
                match n {
                    1 | 3 => {
                        for _ in 0..n {
                            *left = Node::Call(Func::Factorial, vec![take(left)]);
                        }
                    }
                    2 => *left = Node::Call(Func::DoubleFactorial, vec![take(left)]),
                    _ => return Err(self.expected("fewer factorial signs")),
                }
                return Ok(Plan::Extended);
            }
            Tok::Percent if PRODUCT >= min => {
                self.pos += 1;
                *left = Node::Percent(Box::new(take(left)));
                return Ok(Plan::Extended);
            }
            Tok::Degree if POSTFIX >= min => {
                self.pos += 1;
                *left = self.degrees(take(left))?;
                return Ok(Plan::Extended);
            }
            Tok::Currency(c) if SIGN >= min => {
                self.pos += 1;
                *left = Node::Quantity(Box::new(take(left)), Unit::new([(*c, 1)]), false);
                return Ok(Plan::Extended);
            }
            Tok::Prime if POSTFIX >= min => {
                let Node::Var(name) = left else { return Err(self.expected("a name before the prime")) };
                while tokens.get(self.pos).is_some_and(|t| t.tok == Tok::Prime) && name.len() < 64 {
                    self.pos += 1;
                    name.push('\'');
                }
                return if self.peek() == Some(&Tok::Prime) {
                    Err(self.expected("fewer primes"))
                } else {
                    Ok(Plan::Extended)
                };
            }
            Tok::Caret if POWER >= min => {
                // 60^\circ
                let grouped = self.peek_at(1) == Some(&Tok::Open(Delim::Group));
                let mark = self.peek_at(1 + usize::from(grouped));
                if matches!(mark, Some(Tok::Degree))
                    && (!grouped || self.peek_at(3) == Some(&Tok::Close(Delim::Group)))
                {
                    self.pos += if grouped { 4 } else { 2 };
                    *left = self.degrees(take(left))?;
                    return Ok(Plan::Extended);
                }
                // 60^{\text{o}}
                let letter = matches!(mark, Some(Tok::Word(o) | Tok::Name(o)) if o == "o");
                if letter
                    && matches!(left, Node::Num(_))
                    && (!grouped || self.peek_at(3) == Some(&Tok::Close(Delim::Group)))
                {
                    self.pos += if grouped { 4 } else { 2 };
                    *left = self.degrees(take(left))?;
                    return Ok(Plan::Extended);
                }
                self.pos += 1;
                match self.peek() {
                    Some(Tok::Minus) => {
                        self.pos += 1;
                        return Ok(Plan::Operand(POWER - 1, Join::PowerOfNegative));
                    }
                    Some(Tok::Plus) => self.pos += 1,
                    // ^{\text{th}}
                    Some(Tok::Word(_)) => return Err(self.expected("an exponent")),
                    _ => {}
                }
                return Ok(Plan::Operand(POWER - 1, Join::Power));
            }
            Tok::Times if PRODUCT >= min => {
                if self.peek_at(1) == Some(&Tok::Times) {
                    self.pos += 1;
                }
                Plan::Operand(IMPLIED, Join::Multiply)
            }
            Tok::Slash if PRODUCT >= min => Plan::Operand(IMPLIED + 1, Join::Divide),
            // A sign before the residue belongs to it: -1 mod 6 is 5.
            Tok::Mod if MOD >= min => Plan::Operand(SIGN + 1, Join::Mod),
            Tok::Plus if SUM >= min => Plan::Operand(SUM + 1, Join::Add),
            Tok::Minus if SUM >= min => Plan::Operand(SUM + 1, Join::Subtract),
            Tok::PlusMinus | Tok::MinusPlus if SUM >= min => {
                Plan::Operand(SUM + 1, Join::PlusMinus(*tok == Tok::MinusPlus))
            }
            Tok::Over if min == 0 => Plan::Operand(0, Join::Divide),
            Tok::Choose if CHOOSE >= min => Plan::Operand(CHOOSE + 1, Join::Choose),
            Tok::Colon if RATIO >= min && !self.builder && self.pos + 1 < tokens.len() => {
                Plan::Operand(RATIO + 1, Join::Ratio)
            }
            Tok::Cup if SET >= min => Plan::Operand(SET + 1, Join::Set(SetOp::Union)),
            Tok::Cap if SET >= min => Plan::Operand(SET + 1, Join::Set(SetOp::Intersection)),
            Tok::SetMinus if SET >= min => Plan::Operand(SET + 1, Join::Set(SetOp::Difference)),
            Tok::Rel(_) | Tok::In | Tok::NotIn | Tok::Not if RELATION >= min => return Ok(Plan::Chain),
            Tok::Word(_) => return self.after_word(left, min),
            Tok::Vulgar(n) if IMPLIED >= min => {
                let n = Node::Num(n.clone());
                let mixed = self.after_plain_integer();
                self.pos += 1;
                let a = take(left);
                *left = if mixed { add(a, n) } else { multiply(a, n) };
                return Ok(Plan::Extended);
            }
            Tok::Number(_) if IMPLIED >= min => {
                if matches!(tokens[self.pos - 1].tok, Tok::Number(_)) {
                    // A mixed number: 1 1/4.
                    let fraction = match (self.peek(), self.peek_at(1), self.peek_at(2)) {
                        (Some(Tok::Number(n)), Some(Tok::Slash), Some(Tok::Number(d)))
                            if self.after_plain_integer()
                                && n.is_plain_integer()
                                && d.is_plain_integer()
                                && n.value < d.value =>
                        {
                            Node::Num(Number::rational(&n.value / &d.value))
                        }
                        _ => return Err(self.expected("an operator between the numbers")),
                    };
                    self.pos += 3;
                    *left = add(take(left), fraction);
                    return Ok(Plan::Extended);
                }
                let quantity = |n: &Node| matches!(n, Node::Quantity(..));
                if quantity(left) || matches!(left, Node::Add(v) if v.last().is_some_and(quantity)) {
                    // 5 feet 3 inches
                    return Ok(if min > SIGN { Plan::Stop } else { Plan::Operand(SIGN, Join::Add) });
                }
                // "5 dozen 3" is no product.
                if matches!(tokens[self.pos - 1].tok, Tok::Word(_)) {
                    return Err(self.expected("an operator between the numbers"));
                }
                return Ok(Plan::Operand(IMPLIED + 1, Join::Multiply));
            }
            Tok::Frac if IMPLIED >= min => {
                if SIGN >= min
                    && let Some(unit) = self.fraction_unit()
                {
                    *left = Node::Quantity(Box::new(take(left)), unit, false);
                    return Ok(Plan::Extended);
                }
                return Ok(Plan::Fraction);
            }
            Tok::Under => {
                // (2112)_6
                let Some(digits) = self.base_digits(take(left)) else {
                    return Err(self.expected("a numeral before the base"));
                };
                self.pos += 1;
                *left = self.base(digits)?;
                return Ok(Plan::Extended);
            }
            Tok::Bar if self.bars == 0 && !self.builder && IMPLIED >= min => {
                return Ok(Plan::Operand(IMPLIED + 1, Join::Multiply));
            }
            // [1, 2[
            Tok::Open(Delim::Bracket)
                if self.nested > 0
                    && matches!(
                        self.peek_at(1),
                        None | Some(Tok::Cup | Tok::Cap | Tok::Comma | Tok::And | Tok::Or)
                    ) =>
            {
                return Ok(Plan::Stop);
            }
            // 2112 (base 6)
            Tok::Open(Delim::Paren)
                if self.word_at(1).as_deref() == Some("base")
                    || (self.word_at(1).as_deref() == Some("in")
                        && self.word_at(2).as_deref() == Some("base")) =>
            {
                let digits = self.base_digits(take(left));
                let at = if self.word_at(1).as_deref() == Some("in") { 3 } else { 2 };
                let base = match self.peek_at(at) {
                    Some(Tok::Number(n)) => n.to_i64(),
                    Some(Tok::Word(w)) => words::number(&[&w.to_ascii_lowercase()])
                        .and_then(|(n, _)| n.is_integer().then(|| n.to_integer().try_into().ok())?),
                    _ => None,
                };
                let (Some(digits), Some(Tok::Close(Delim::Paren))) = (digits, self.peek_at(at + 1)) else {
                    return Err(self.expected("a base in the brackets"));
                };
                let Some(base) = base.filter(|b| (2..=36).contains(b)) else {
                    return Err(self.expected("a base from 2 to 36"));
                };
                self.pos += at + 2;
                *left = Node::Base(digits, base as u32);
                return Ok(Plan::Extended);
            }
            // 7 (since 3 + 4 = 7)
            Tok::Open(Delim::Paren) if matches!(self.peek_at(1), Some(Tok::Word(_))) => {
                return Ok(Plan::Stop);
            }
            // 1 · 2 · 3 ⋯ n
            Tok::Dots if IMPLIED >= min && matches!(left, Node::Mul(_)) => {
                return Ok(Plan::Operand(IMPLIED + 1, Join::Multiply));
            }
            // ½ times a matrix
            Tok::Begin(env) if IMPLIED >= min && env.ends_with("matrix") => {
                return Ok(Plan::Operand(IMPLIED + 1, Join::Multiply));
            }
            Tok::Open(Delim::Paren | Delim::Bracket)
                if IMPLIED >= min && matches!(self.peek_at(1), Some(Tok::Begin(_))) =>
            {
                return Ok(Plan::Operand(IMPLIED + 1, Join::Multiply));
            }
            Tok::Name(_)
            | Tok::Const(Constant::Pi | Constant::E | Constant::Infinity)
            | Tok::Func(_)
            | Tok::Sqrt
            | Tok::Root(_)
            | Tok::Binom
            | Tok::Sum
            | Tok::Product
            | Tok::Overline
            | Tok::Open(
                Delim::Paren | Delim::Group | Delim::Bracket | Delim::Abs | Delim::Floor | Delim::Ceil,
            ) if IMPLIED >= min => {
                if min <= SIGN
                    && let Some((unit, soft)) = self.soft_unit()
                {
                    *left = Node::Quantity(Box::new(take(left)), unit, soft);
                    return Ok(Plan::Extended);
                }
                return Ok(Plan::Operand(IMPLIED + 1, Join::Multiply));
            }
            _ => return Ok(Plan::Stop),
        };
        self.pos += 1;
        Ok(plan)
    }

    /// A fraction after a value: a mixed number after an integer, a factor otherwise.
    #[inline(never)]
    fn fraction_after(&mut self, left: Node) -> Parsed {
        let after_integer = self.after_plain_integer();
        let fraction = self.expr(POSTFIX + 1)?;
        if after_integer && is_proper(&fraction) && self.peek() != Some(&Tok::Caret) {
            return Ok(add(left, fraction));
        }
        let factor = self.operators(fraction, IMPLIED + 1)?;
        Ok(multiply(left, factor))
    }

    fn after_plain_integer(&self) -> bool {
        self.pos > 0
            && matches!(&self.tokens[self.pos - 1].tok, Tok::Number(n) if n.is_plain_integer())
            && (self.pos < 2
                || !matches!(self.tokens[self.pos - 2].tok, Tok::Caret | Tok::Slash | Tok::Under))
    }

    /// Whether a number of minutes (1) or seconds (2) of arc stands here in words.
    fn arc(&self, part: usize) -> bool {
        matches!(self.peek(), Some(Tok::Number(_)))
            && matches!(
                (part, self.word_at(1).as_deref()),
                (1, Some("minute" | "minutes" | "min")) | (2, Some("second" | "seconds" | "sec"))
            )
    }

    /// Whether a value starts at the `n`-th token from here, in figures or in words.
    fn operand_at(&self, n: usize) -> bool {
        let word = |n| self.word_at(n).unwrap_or_default();
        self.peek_at(n).is_some_and(starts_value) || words::number(&[&word(n), &word(n + 1)]).is_some()
    }

    /// Degrees, with minutes and seconds behind them.
    fn degrees(&mut self, whole: Node) -> Parsed {
        // 25 °C written with \circ
        if let (Some(Tok::Name(c)), Node::Num(_)) = (self.peek(), &whole)
            && matches!(c.as_str(), "C" | "F")
            && self.pos + 1 == self.tokens.len()
        {
            let unit = Unit::new([(if c == "C" { "°C" } else { "°F" }, 1)]);
            self.pos += 1;
            return Ok(Node::Quantity(Box::new(whole), unit, false));
        }
        if let Some(Tok::Word(c)) = self.peek()
            && matches!(c.as_str(), "C" | "F")
        {
            let unit = Unit::new([(if c == "C" { "°C" } else { "°F" }, 1)]);
            self.pos += 1;
            return Ok(Node::Quantity(Box::new(whole), unit, false));
        }
        let mut total = whole;
        let mut scale = BigRational::new(1.into(), 60.into());
        for primes in 1..=2 {
            let Some(Tok::Number(n)) = self.peek() else { break };
            let n = n.value.clone();
            if self.arc(primes) {
                self.pos += 2;
                total = add(total, Node::Num(Number::rational(n * &scale)));
                scale /= BigRational::from_integer(60.into());
                continue;
            }
            let mut at = 1;
            let caret = self.peek_at(at) == Some(&Tok::Caret);
            at += usize::from(caret);
            let grouped = caret && self.peek_at(at) == Some(&Tok::Open(Delim::Group));
            at += usize::from(grouped);
            if (0..primes).any(|k| self.peek_at(at + k) != Some(&Tok::Prime)) {
                break;
            }
            at += primes + usize::from(grouped);
            self.pos += at;
            total = add(total, Node::Num(Number::rational(n * &scale)));
            scale /= BigRational::from_integer(60.into());
        }
        Ok(Node::Degree(Box::new(total)))
    }

    fn exponent(&mut self) -> Parsed {
        match self.peek() {
            Some(Tok::Minus) => {
                self.pos += 1;
                Ok(Node::Neg(Box::new(self.expr(POWER - 1)?)))
            }
            Some(Tok::Plus) => {
                self.pos += 1;
                self.expr(POWER - 1)
            }
            // ^{\text{th}}, ^{*}
            Some(Tok::Word(_)) => Err(self.expected("an exponent")),
            _ => self.expr(POWER - 1),
        }
    }

    /// A chain of relations that starts with `first`.
    #[inline(never)]
    fn chain(&mut self, first: Node) -> Parsed {
        let mut terms = vec![first];
        let mut ops = Vec::new();
        loop {
            let op = match self.peek() {
                Some(Tok::Rel(r)) => *r,
                Some(Tok::In) => Relation::In,
                Some(Tok::NotIn) => Relation::NotIn,
                Some(Tok::Not) => match self.peek_at(1) {
                    Some(Tok::Rel(Relation::Eq)) => {
                        self.pos += 1;
                        Relation::Ne
                    }
                    Some(Tok::In) => {
                        self.pos += 1;
                        Relation::NotIn
                    }
                    _ => return Err(self.expected("a relation")),
                },
                Some(Tok::Word(w))
                    if matches!(w.to_ascii_lowercase().as_str(), "equals" | "is" | "equal")
                        && !terms.is_empty() =>
                {
                    Relation::Eq
                }
                _ => break,
            };
            self.pos += 1;
            if op == Relation::Arrow {
                if ops.is_empty() && terms.iter().any(|t| !t.variables().is_empty()) {
                    return Err(self.expected("a relation before the conclusion"));
                }
                // A conclusion: what follows it counts.
                terms.clear();
                ops.clear();
                terms.push(self.expr(RELATION + 1)?);
                continue;
            }
            // "x = 2, 3" keeps its list; "x in {1, 2}" its set.
            let mut term = self.expr(RELATION + 1)?;
            if matches!(self.peek(), Some(Tok::Word(_))) && !self.remark_starts() && !self.word_is_relation()
            {
                term = self.remark(term)?;
            }
            terms.push(term);
            ops.push(op);
            if terms.len() > 64 {
                return Err(self.expected("fewer relations"));
            }
        }
        if ops.is_empty() {
            terms.pop().ok_or_else(|| self.expected("a value"))
        } else {
            Ok(Node::Rel(terms, ops))
        }
    }

    fn word_is_relation(&self) -> bool {
        matches!(self.word_at(0).as_deref(), Some("equals" | "is"))
    }

    /// A word after an operand: an operation in words or a unit. A remark is left to the caller.
    #[inline(never)]
    fn after_word(&mut self, left: &mut Node, min: u8) -> Result<Plan, SyntaxError> {
        let word = self.word_at(0).unwrap_or_default();
        let take = |left: &mut Node| std::mem::replace(left, Node::Dots);
        let mut used = 1;
        let node = match word.as_str() {
            "percent" | "percents" | "pct" if PRODUCT >= min => Node::Percent(Box::new(take(left))),
            "per" if PRODUCT >= min && self.word_at(1).as_deref() == Some("cent") => {
                used = 2;
                Node::Percent(Box::new(take(left)))
            }
            "squared" => Node::Pow(Box::new((take(left), Node::int(2)))),
            "cubed" => Node::Pow(Box::new((take(left), Node::int(3)))),
            "factorial" => Node::Call(Func::Factorial, vec![take(left)]),
            // 2 thirds; quarters may be coins, and 12 third graders are no 4
            part if let Node::Num(n) = &*left
                && n.is_plain_integer()
                && !part.starts_with("quarter")
                && part != "half"
                && (part.ends_with('s') || n.value.is_one())
                && let Some(d) = words::part(part) =>
            {
                Node::Div(Box::new((take(left), Node::int(d as i64))))
            }
            "hundred" | "thousand" | "million" | "billion" | "trillion" | "dozen"
                if matches!(left, Node::Num(_)) =>
            {
                let scale = match word.as_str() {
                    "hundred" => 100,
                    "thousand" => 1000,
                    "million" => 1_000_000,
                    "billion" => 1_000_000_000,
                    "trillion" => 1_000_000_000_000,
                    _ => 12,
                };
                multiply(take(left), Node::int(scale))
            }
            "times" if PRODUCT >= min && self.operand_at(1) => {
                self.pos += 1;
                return Ok(Plan::Operand(IMPLIED, Join::Multiply));
            }
            "over" if PRODUCT >= min && self.operand_at(1) => {
                self.pos += 1;
                return Ok(Plan::Operand(IMPLIED + 1, Join::Divide));
            }
            // 5 out of 8
            "out" if self.word_at(1).as_deref() == Some("of") && PRODUCT >= min && self.operand_at(2) => {
                self.pos += 2;
                return Ok(Plan::Operand(IMPLIED + 1, Join::Divide));
            }
            "divided" if self.word_at(1).as_deref() == Some("by") && PRODUCT >= min => {
                self.pos += 2;
                return Ok(Plan::Operand(IMPLIED + 1, Join::Divide));
            }
            "minus" | "plus" if SUM >= min && self.operand_at(1) => {
                self.pos += 1;
                return Ok(Plan::Operand(SUM + 1, if word == "minus" { Join::Subtract } else { Join::Add }));
            }
            "base" | "in"
                if (matches!(self.peek_at(usize::from(word == "in") + 1), Some(Tok::Number(_)))
                    || self
                        .word_at(usize::from(word == "in") + 1)
                        .is_some_and(|w| words::number(&[&w]).is_some()))
                    && (word == "base" || self.word_at(1).as_deref() == Some("base")) =>
            {
                self.pos += usize::from(word == "in");
                let Some(digits) = self.base_digits(take(left)) else {
                    return Err(self.expected("a numeral before the base"));
                };
                *left = self.base(digits)?;
                return Ok(Plan::Extended);
            }
            // 2 to the power of 4
            "to" | "raised"
                if POWER >= min && {
                    let at = 1 + usize::from(word == "raised");
                    self.word_at(at).as_deref() == Some("the")
                        && self.word_at(at + 1).as_deref() == Some("power")
                } =>
            {
                self.pos += 3 + usize::from(word == "raised");
                self.pos += usize::from(self.word_at(0).as_deref() == Some("of"));
                return Ok(Plan::Operand(POWER - 1, Join::Power));
            }
            // a quarter of a million
            "of" if PRODUCT >= min
                && self.operand_at(1)
                && matches!(left, Node::Num(n) if !n.value.is_integer() && n.decimal.is_none()) =>
            {
                self.pos += 1;
                return Ok(Plan::Operand(IMPLIED, Join::Multiply));
            }
            // 3 to 4
            "to" if RATIO >= min && self.operand_at(1) && self.nested == 0 => {
                self.pos += 1;
                return Ok(Plan::Operand(RATIO + 1, Join::Ratio));
            }
            "equals" | "is" if RELATION >= min && self.operand_at(1) => return Ok(Plan::Chain),
            _ if SIGN >= min => {
                if let Some(unit) = self.unit() {
                    // 45 degrees 30 minutes
                    if unit.factors == [("°", 1)] && self.arc(1) {
                        *left = self.degrees(take(left))?;
                        return Ok(Plan::Extended);
                    }
                    *left = Node::Quantity(Box::new(take(left)), unit, false);
                    return Ok(Plan::Extended);
                }
                return Ok(Plan::Stop);
            }
            _ => return Ok(Plan::Stop),
        };
        self.pos += used;
        *left = node;
        Ok(Plan::Extended)
    }

    /// A unit at the current word, consumed if there is one.
    fn unit(&mut self) -> Option<Unit> {
        let start = self.pos;
        let mut factors: Vec<(&'static str, i32)> = Vec::new();
        let mut sign = 1;
        let mut power_prefix = 1;
        loop {
            let word = match self.peek() {
                Some(Tok::Word(w)) => w.clone(),
                Some(Tok::Name(n)) if !factors.is_empty() || sign < 0 => n.clone(),
                _ => break,
            };
            match word.to_ascii_lowercase().as_str() {
                "square" | "sq" => {
                    power_prefix = 2;
                    self.pos += 1;
                    continue;
                }
                "cubic" | "cu" => {
                    power_prefix = 3;
                    self.pos += 1;
                    continue;
                }
                "per" => {
                    sign = -1;
                    self.pos += 1;
                    continue;
                }
                _ => {}
            }
            let Some(name) = units::canonical(&word) else { break };
            // "in" is an inch only where nothing follows that it could introduce.
            if word == "in" && matches!(self.peek_at(1), Some(Tok::Word(_))) {
                break;
            }
            self.pos += 1;
            if name == "°"
                && let Some(scale) = match self.word_at(0).as_deref() {
                    Some("celsius" | "centigrade" | "c") => Some("°C"),
                    Some("fahrenheit" | "f") => Some("°F"),
                    _ => None,
                }
            {
                self.pos += 1;
                factors.push((scale, sign));
                continue;
            }
            let mut power = power_prefix;
            power_prefix = 1;
            if self.peek() == Some(&Tok::Caret) {
                let grouped = self.peek_at(1) == Some(&Tok::Open(Delim::Group));
                let at = 1 + usize::from(grouped);
                let minus = self.peek_at(at) == Some(&Tok::Minus);
                if let Some(Tok::Number(n)) = self.peek_at(at + usize::from(minus))
                    && let Some(n) = n.to_i64().filter(|n| (1..=9).contains(n))
                {
                    power = if minus { -(n as i32) } else { n as i32 };
                    self.pos += at + 1 + usize::from(minus) + usize::from(grouped);
                }
            } else if let Some(w @ ("squared" | "cubed")) = self.word_at(0).as_deref() {
                power = if w == "squared" { 2 } else { 3 };
                self.pos += 1;
            }
            factors.push((name, sign * power));
            match self.peek() {
                Some(Tok::Slash) if matches!(self.peek_at(1), Some(Tok::Word(_) | Tok::Name(_))) => {
                    self.pos += 1;
                    sign = -1;
                }
                Some(Tok::Times) if matches!(self.peek_at(1), Some(Tok::Word(_))) => {
                    self.pos += 1;
                }
                _ => {}
            }
        }
        if factors.is_empty() {
            self.pos = start;
            return None;
        }
        Some(Unit::new(factors))
    }

    /// `60 \frac{\text{km}}{\text{h}}`.
    fn fraction_unit(&mut self) -> Option<Unit> {
        // {m}, {m^2}, {m^{2}}: the unit, its power and the place behind it
        let part = |p: &Self, open: usize| {
            // One letter of \mathrm{h} is a name; with a word on the other side it is a unit.
            let (w, word) = match p.peek_at(open + 1) {
                Some(Tok::Word(w)) => (w, true),
                Some(Tok::Name(w)) => (w, false),
                _ => return None,
            };
            let name = units::canonical(w)?;
            let (mut at, mut power) = (open + 2, 1);
            if p.peek_at(at) == Some(&Tok::Caret) {
                let grouped = p.peek_at(at + 1) == Some(&Tok::Open(Delim::Group));
                at += 1 + usize::from(grouped);
                let Some(Tok::Number(n)) = p.peek_at(at) else { return None };
                power = n.to_i64().filter(|n| (1..=9).contains(n))? as i32;
                at += 1;
                if grouped && p.peek_at(at) != Some(&Tok::Close(Delim::Group)) {
                    return None;
                }
                at += usize::from(grouped);
            }
            let braces = p.peek_at(open) == Some(&Tok::Open(Delim::Group))
                && p.peek_at(at) == Some(&Tok::Close(Delim::Group));
            braces.then_some((name, power, at + 1, word))
        };
        let (upper, up, at, above) = part(self, 1)?;
        let (lower, down, end, below) = part(self, at)?;
        if !(above || below) {
            return None;
        }
        self.pos += end;
        Some(Unit::new([(upper, up), (lower, -down)]))
    }

    /// `5 m`: one letter after a numeral and a space, at the end of the value.
    fn soft_unit(&mut self) -> Option<(Unit, bool)> {
        let token = self.tokens.get(self.pos)?;
        let Tok::Name(name) = &token.tok else { return None };
        let spaced = token.space
            && matches!(self.tokens.get(self.pos.wrapping_sub(1)).map(|t| &t.tok), Some(Tok::Number(_)));
        if !matches!(
            name.as_str(),
            "m" | "s" | "g" | "h" | "L" | "l" | "N" | "J" | "W" | "V" | "A" | "K" | "t" | "Omega"
        ) {
            return None;
        }
        let after_number =
            matches!(self.tokens.get(self.pos.wrapping_sub(1)).map(|t| &t.tok), Some(Tok::Number(_)));
        // 2h 30min
        let duration = after_number
            && matches!(name.as_str(), "h" | "m" | "s")
            && matches!(self.peek_at(1), Some(Tok::Number(_)))
            && matches!(self.peek_at(2), Some(Tok::Name(u) | Tok::Word(u)) if units::canonical(u).is_some());
        if duration {
            self.pos += 1;
            let unit = if name == "m" { "min" } else { units::canonical(name)? };
            return Some((Unit::new([(unit, 1)]), false));
        }
        let spaced = spaced || (after_number && name == "Omega");
        let mut factors = vec![(if name == "Omega" { "Ω" } else { units::canonical(name)? }, 1)];
        let mut at = 1;
        let power = |p: &Self, at: &mut usize| -> i32 {
            if p.peek_at(*at) != Some(&Tok::Caret) {
                return 1;
            }
            // m^2, m^{2}, m²
            let grouped = p.peek_at(*at + 1) == Some(&Tok::Open(Delim::Group));
            let end = *at + 2 + 2 * usize::from(grouped);
            if let Some(Tok::Number(n)) = p.peek_at(*at + 1 + usize::from(grouped))
                && (!grouped || p.peek_at(end - 1) == Some(&Tok::Close(Delim::Group)))
                && matches!(p.peek_at(end), None | Some(Tok::Comma | Tok::Slash))
                && let Some(n @ 1..=3) = n.to_i64()
            {
                *at = end;
                return n as i32;
            }
            1
        };
        factors[0].1 = power(self, &mut at);
        let mut compound = false;
        if self.peek_at(at) == Some(&Tok::Slash)
            && let Some(Tok::Name(d) | Tok::Word(d)) = self.peek_at(at + 1)
            && let Some(d) = units::canonical(d)
        {
            at += 2;
            let p = power(self, &mut at);
            factors.push((d, -p));
            compound = true;
        }
        let follows = self.peek_at(at);
        if !(spaced || compound)
            || !matches!(
                follows,
                None | Some(
                    Tok::Comma
                        | Tok::And
                        | Tok::Or
                        | Tok::Close(Delim::Paren | Delim::Bracket | Delim::Brace)
                        | Tok::Word(_)
                )
            )
        {
            return None;
        }
        self.pos += at;
        Some((Unit::new(factors), true))
    }

    /// The digits of a node that can carry a base.
    fn base_digits(&self, node: Node) -> Option<String> {
        match node {
            Node::Num(n) if n.is_plain_integer() => Some(n.value.to_integer().to_string()),
            Node::Group { items, .. } if items.len() == 1 => self.base_digits(items.into_iter().next()?),
            _ => None,
        }
    }

    /// The base after an underscore or the word "base".
    fn base(&mut self, digits: String) -> Parsed {
        let _ = self.word_at(0).as_deref() == Some("base") && {
            self.pos += 1;
            true
        };
        let grouped = self.eat(&Tok::Open(Delim::Group));
        let parens = self.eat(&Tok::Open(Delim::Paren));
        while matches!(self.word_at(0).as_deref(), Some("base")) {
            self.pos += 1;
        }
        let base = match self.peek() {
            Some(Tok::Number(n)) => n.to_i64(),
            Some(Tok::Word(w)) => match w.to_ascii_lowercase().as_str() {
                "binary" => Some(2),
                "octal" => Some(8),
                "hex" => Some(16),
                lower => words::number(&[lower])
                    .and_then(|(n, _)| n.is_integer().then(|| n.to_integer().try_into().ok()).flatten()),
            },
            _ => None,
        };
        let Some(base) = base.filter(|b| (2..=36).contains(b)) else {
            return Err(self.expected("a base from 2 to 36"));
        };
        self.pos += 1;
        if (parens && !self.eat(&Tok::Close(Delim::Paren)))
            || (grouped && !self.eat(&Tok::Close(Delim::Group)))
        {
            return Err(self.expected("a closing bracket after the base"));
        }
        Ok(Node::Base(digits, base as u32))
    }

    fn prefix(&mut self) -> Parsed {
        let tokens = self.tokens;
        let Some(token) = tokens.get(self.pos) else { return Err(self.expected("a value")) };
        self.pos += 1;
        match &token.tok {
            Tok::Plus => self.expr(SIGN),
            Tok::Minus => self.signed(Join::Subtract),
            Tok::PlusMinus => self.signed(Join::PlusMinus(false)),
            Tok::MinusPlus => self.signed(Join::PlusMinus(true)),
            Tok::Currency(c) => self.amount(c),
            Tok::Rel(Relation::Eq | Relation::Approx | Relation::Arrow) | Tok::Colon => self.expr(0),
            Tok::Rel(op) if op.is_order() => self.one_sided(*op),
            Tok::Frac => self.two_arguments(false),
            Tok::Binom => self.two_arguments(true),
            Tok::Sqrt => self.root(),
            Tok::Root(n) => self.root_of(Node::int(i64::from(*n))),
            Tok::Func(f) => self.call(*f),
            Tok::Sum => self.big(Big::Sum),
            Tok::Product => self.big(Big::Product),
            Tok::Overline => self.expr(POSTFIX),
            Tok::Bar => self.bars(),
            Tok::Open(Delim::Abs) => self.enclosed(Delim::Abs, Func::Abs),
            Tok::Open(Delim::Floor) => self.enclosed(Delim::Floor, Func::Floor),
            Tok::Open(Delim::Ceil) => self.enclosed(Delim::Ceil, Func::Ceil),
            Tok::Open(delim) => self.group(*delim),
            Tok::Close(Delim::Bracket) => self.reversed_brackets(),
            // ^3/_4
            Tok::Caret => self.raised_fraction(),
            Tok::Name(det) if det == "det" && matches!(self.peek(), Some(Tok::Begin(_))) => {
                self.determinant()
            }
            Tok::Name(gamma) if gamma == "Gamma" && self.peek() == Some(&Tok::Open(Delim::Paren)) => {
                self.gamma()
            }
            Tok::Under => self.left_subscript(),
            Tok::Begin(env) => self.environment(env),
            Tok::Word(_) => {
                self.pos -= 1;
                self.words()
            }
            _ => self.leaf(token),
        }
    }

    /// A value of one token (with its subscript or base).
    #[inline(never)]
    fn leaf(&mut self, token: &Token) -> Parsed {
        match &token.tok {
            Tok::Number(n) => {
                if self.peek() == Some(&Tok::Under) && n.is_plain_integer() {
                    let digits: String =
                        self.source[token.start..token.end].chars().filter(char::is_ascii_digit).collect();
                    self.pos += 1;
                    return self.base(digits);
                }
                Ok(Node::Num(n.clone()))
            }
            Tok::Vulgar(n) => Ok(Node::Num(n.clone())),
            Tok::Name(name) => self.name(name.clone()),
            Tok::Const(Constant::E) if self.peek() == Some(&Tok::Under) => self.name("e".into()),
            Tok::Const(c @ (Constant::Reals | Constant::Integers)) => Ok(self.signed_set(*c)),
            Tok::Const(c) => Ok(Node::Const(*c)),
            Tok::Dots => Ok(Node::Dots),
            _ => {
                self.pos -= 1;
                Err(self.expected("a value"))
            }
        }
    }

    /// A set of numbers, and those of one sign: `\mathbb{R}^+`, `\mathbb{Z}_{>0}`.
    #[inline(never)]
    fn signed_set(&mut self, set: Constant) -> Node {
        let caret = self.peek() == Some(&Tok::Caret);
        if !caret && self.peek() != Some(&Tok::Under) {
            return Node::Const(set);
        }
        let grouped = self.peek_at(1) == Some(&Tok::Open(Delim::Group));
        let at = 1 + usize::from(grouped);
        let (op, used) = match (self.peek_at(at), self.peek_at(at + 1)) {
            (Some(Tok::Plus), _) => (Relation::Gt, 1),
            (Some(Tok::Minus), _) if caret => (Relation::Lt, 1),
            (Some(Tok::Rel(op)), Some(Tok::Number(n))) if !caret && op.is_order() && n.value.is_zero() => {
                (*op, 2)
            }
            _ => return Node::Const(set),
        };
        let end = at + used + usize::from(grouped);
        if grouped && self.peek_at(end - 1) != Some(&Tok::Close(Delim::Group)) {
            return Node::Const(set);
        }
        match (set, op) {
            (Constant::Reals, _) => {
                self.pos += end;
                Node::Rel(vec![Node::Var("?".into()), Node::int(0)], vec![op])
            }
            (Constant::Integers, Relation::Gt) => {
                self.pos += end;
                Node::Const(Constant::Naturals)
            }
            _ => Node::Const(set),
        }
    }

    #[inline(never)]
    fn signed(&mut self, sign: Join) -> Parsed {
        let x = Box::new(self.expr(SIGN)?);
        Ok(match sign {
            Join::PlusMinus(minus) => Node::PlusMinus(x, minus),
            _ => Node::Neg(x),
        })
    }

    /// A value after a currency sign: $-5, $5 million.
    #[inline(never)]
    fn amount(&mut self, currency: &'static str) -> Parsed {
        Ok(match self.expr(IMPLIED + 1)? {
            value @ Node::Quantity(..) => value,
            // $2k, $1.5M
            value @ Node::Num(_)
                if let Some(Token { tok: Tok::Name(k), space: false, .. }) = self.tokens.get(self.pos)
                    && let Some(scale) = match k.as_str() {
                        "k" | "K" => Some(1000),
                        "M" => Some(1_000_000),
                        "B" => Some(1_000_000_000),
                        _ => None,
                    }
                    && matches!(self.peek_at(1), None | Some(Tok::Word(_) | Tok::Comma | Tok::Close(_))) =>
            {
                self.pos += 1;
                Node::Quantity(Box::new(multiply(value, Node::int(scale))), Unit::new([(currency, 1)]), false)
            }
            value => Node::Quantity(Box::new(value), Unit::new([(currency, 1)]), false),
        })
    }

    /// A bound without its variable: > 5.
    #[inline(never)]
    fn one_sided(&mut self, op: Relation) -> Parsed {
        let right = self.expr(RELATION + 1)?;
        Ok(Node::Rel(vec![Node::Var("?".into()), right], vec![op]))
    }

    #[inline(never)]
    fn two_arguments(&mut self, binomial: bool) -> Parsed {
        let a = self.argument()?;
        let b = self.argument()?;
        Ok(if binomial { Node::Call(Func::Binom, vec![a, b]) } else { Node::Div(Box::new((a, b))) })
    }

    #[inline(never)]
    fn root(&mut self) -> Parsed {
        if self.eat(&Tok::Open(Delim::Bracket)) {
            let n = self.bracketed(|p| p.expr(0))?;
            if !self.eat(&Tok::Close(Delim::Bracket)) {
                return Err(self.expected("`]` after the root's degree"));
            }
            return self.root_of(n);
        }
        Ok(Node::Call(Func::Sqrt, vec![self.argument()?]))
    }

    #[inline(never)]
    fn root_of(&mut self, n: Node) -> Parsed {
        let x = self.argument()?;
        Ok(Node::Call(Func::Root, vec![n, x]))
    }

    #[inline(never)]
    fn bars(&mut self) -> Parsed {
        let (bars, builder) = (self.bars, self.builder);
        self.bars = 1;
        self.builder = false;
        let inner = self.expr(0)?;
        self.bars = bars;
        self.builder = builder;
        if !self.eat(&Tok::Bar) {
            return Err(self.expected("a closing bar"));
        }
        Ok(Node::Call(Func::Abs, vec![inner]))
    }

    /// \det of a written matrix
    #[inline(never)]
    fn determinant(&mut self) -> Parsed {
        let Node::Matrix(rows) = self.expr(POSTFIX + 1)? else { return Err(self.expected("a matrix")) };
        determinant(&rows).ok_or_else(|| self.expected("a square matrix of up to three rows"))
    }

    /// Γ(n) = (n - 1)!
    #[inline(never)]
    fn gamma(&mut self) -> Parsed {
        let x = self.expr(POSTFIX + 1)?;
        Ok(Node::Call(Func::Factorial, vec![add(x, Node::int(-1))]))
    }

    /// {}_5C_2
    #[inline(never)]
    fn left_subscript(&mut self) -> Parsed {
        let n = self.expr(POSTFIX + 1)?;
        let known = matches!(self.peek(), Some(Tok::Name(c)) if c == "C");
        if !known || self.peek_at(1) != Some(&Tok::Under) {
            return Err(self.expected("a combination"));
        }
        self.pos += 2;
        let k = self.expr(POSTFIX + 1)?;
        Ok(Node::Call(Func::Binom, vec![n, k]))
    }

    /// `^7/_{12}`
    #[inline(never)]
    fn raised_fraction(&mut self) -> Parsed {
        let n = self.expr(POSTFIX + 1)?;
        if self.peek() != Some(&Tok::Slash) || self.peek_at(1) != Some(&Tok::Under) {
            return Err(self.expected("a fraction"));
        }
        self.pos += 2;
        let d = self.expr(POSTFIX + 1)?;
        Ok(Node::Div(Box::new((n, d))))
    }

    /// ]1, 2[
    #[inline(never)]
    fn reversed_brackets(&mut self) -> Parsed {
        let items = self.items()?;
        let close = match self.peek() {
            Some(Tok::Open(Delim::Bracket)) => Delim::Paren,
            Some(Tok::Close(Delim::Bracket)) => Delim::Bracket,
            _ => return Err(self.expected("the other end of the interval")),
        };
        self.pos += 1;
        Ok(Node::Group { open: Delim::Paren, close, items })
    }

    /// A value in words: a number word, "negative five", "square root of 2".
    #[inline(never)]
    fn words(&mut self) -> Parsed {
        let mut list: Vec<String> = Vec::new();
        let mut consumed: Vec<usize> = Vec::new();
        let mut n = 0;
        while list.len() < 24 {
            match self.peek_at(n) {
                Some(Tok::Word(w)) => {
                    consumed.push(n + 1);
                    list.push(w.to_ascii_lowercase());
                }
                Some(Tok::And) if !list.is_empty() => {
                    consumed.push(n + 1);
                    list.push("and".into());
                }
                Some(Tok::Minus) if !list.is_empty() && matches!(self.peek_at(n + 1), Some(Tok::Word(_))) => {
                }
                // one thousand, two hundred
                Some(Tok::Comma)
                    if matches!(
                        list.last().map(String::as_str),
                        Some("thousand" | "million" | "billion")
                    ) && self.word_at(n + 1).is_some_and(|w| {
                        words::number(&[&w]).is_some_and(|(v, _)| v < BigRational::from_integer(100.into()))
                    }) => {}
                _ => break,
            }
            n += 1;
        }
        let refs: Vec<&str> = list.iter().map(String::as_str).collect();
        match refs.first() {
            Some(&("minus" | "negative")) => {
                self.pos += 1;
                return Ok(Node::Neg(Box::new(self.expr(SIGN)?)));
            }
            Some(&power @ ("square" | "cube")) if refs.get(1) == Some(&"root") => {
                self.pos += 2 + usize::from(refs.get(2) == Some(&"of"));
                let x = self.expr(PRODUCT)?;
                return Ok(match power {
                    "square" => Node::Call(Func::Sqrt, vec![x]),
                    _ => Node::Call(Func::Root, vec![Node::int(3), x]),
                });
            }
            Some(&times @ ("twice" | "double" | "triple" | "thrice")) => {
                self.pos += 1;
                let factor = if matches!(times, "twice" | "double") { 2 } else { 3 };
                return Ok(multiply(Node::int(factor), self.expr(PRODUCT)?));
            }
            _ => {}
        }
        match words::number(&refs) {
            Some((value, used)) => {
                self.pos += consumed[used - 1];
                // two (2)
                if let (Some(Tok::Open(Delim::Paren)), Some(Tok::Number(n)), Some(Tok::Close(Delim::Paren))) =
                    (self.peek(), self.peek_at(1), self.peek_at(2))
                {
                    if n.value != value {
                        return Err(self.expected("the same number in the brackets"));
                    }
                    self.pos += 3;
                }
                Ok(Node::Num(Number::rational(value)))
            }
            None => Err(self.expected("a value")),
        }
    }

    /// A name with its subscript.
    fn name(&mut self, mut name: String) -> Parsed {
        if self.peek() == Some(&Tok::Under) {
            self.pos += 1;
            name.push('_');
            if self.eat(&Tok::Open(Delim::Group)) {
                let mut depth = 1;
                while depth > 0 {
                    let Some(token) = self.tokens.get(self.pos) else { return Err(self.expected("`}`")) };
                    match token.tok {
                        Tok::Open(Delim::Group) => depth += 1,
                        Tok::Close(Delim::Group) => depth -= 1,
                        _ => {}
                    }
                    if depth > 0 {
                        name.push_str(&self.source[token.start..token.end]);
                    }
                    if name.len() > 128 {
                        return Err(self.expected("a shorter subscript"));
                    }
                    self.pos += 1;
                }
            } else {
                let Some(token) = self.tokens.get(self.pos) else { return Err(self.expected("a subscript")) };
                name.push_str(&self.source[token.start..token.end]);
                self.pos += 1;
            }
        }
        // C_5^2
        if let Some(n) = name.strip_prefix("C_").and_then(|n| n.parse::<i64>().ok())
            && self.peek() == Some(&Tok::Caret)
        {
            let grouped = self.peek_at(1) == Some(&Tok::Open(Delim::Group));
            let at = 1 + usize::from(grouped);
            if let Some(Tok::Number(k)) = self.peek_at(at)
                && k.to_i64().is_some_and(|k| (0..=n).contains(&k))
                && (!grouped || self.peek_at(at + 1) == Some(&Tok::Close(Delim::Group)))
            {
                let k = Node::Num(k.clone());
                self.pos += at + 1 + usize::from(grouped);
                return Ok(Node::Call(Func::Binom, vec![Node::int(n), k]));
            }
        }
        // C(5, 2)
        if name == "C"
            && self.peek() == Some(&Tok::Open(Delim::Paren))
            && let (
                Some(Tok::Number(_) | Tok::Name(_)),
                Some(Tok::Comma),
                Some(Tok::Number(_) | Tok::Name(_)),
                Some(Tok::Close(Delim::Paren)),
            ) = (self.peek_at(1), self.peek_at(2), self.peek_at(3), self.peek_at(4))
        {
            self.pos += 1;
            let items = self.items()?;
            self.pos += 1;
            return Ok(Node::Call(Func::Binom, items));
        }
        Ok(Node::Var(name))
    }

    /// The argument of a command: a group, or the next single value.
    fn argument(&mut self) -> Parsed {
        match self.peek() {
            Some(Tok::Open(Delim::Group)) => self.expr(POSTFIX + 1),
            Some(Tok::Open(Delim::Paren)) => {
                // frac(1)(2), sqrt(2)
                self.expr(POSTFIX + 1)
            }
            Some(Tok::Minus) => {
                self.pos += 1;
                Ok(Node::Neg(Box::new(self.argument_after_minus()?)))
            }
            _ => self.expr(POSTFIX + 1),
        }
    }

    fn argument_after_minus(&mut self) -> Parsed {
        self.expr(POSTFIX + 1)
    }

    fn bracketed(&mut self, f: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        let (bars, builder) = (self.bars, self.builder);
        self.bars = 0;
        self.builder = false;
        self.nested += 1;
        let out = f(self);
        self.nested -= 1;
        self.bars = bars;
        self.builder = builder;
        out
    }

    #[inline(never)]
    fn enclosed(&mut self, delim: Delim, func: Func) -> Parsed {
        let inner = self.bracketed(|p| p.expr(0))?;
        // \lfloor 1.5] is a typing error, not a floor
        if !self.eat(&Tok::Close(delim)) {
            return Err(self.expected("the closing delimiter"));
        }
        Ok(Node::Call(func, vec![inner]))
    }

    /// Comma-separated items up to a closing delimiter, which is not consumed.
    fn items(&mut self) -> Result<Vec<Node>, SyntaxError> {
        let (bars, builder) = (self.bars, self.builder);
        self.bars = 0;
        self.builder = false;
        self.nested += 1;
        let result = self.list();
        self.nested -= 1;
        self.bars = bars;
        self.builder = builder;
        Ok(match result? {
            Node::List(items) | Node::Or(items) => items,
            one => vec![one],
        })
    }

    #[inline(never)]
    fn group(&mut self, delim: Delim) -> Parsed {
        if delim == Delim::Brace || (delim == Delim::Group && self.group_is_set()) {
            return self.set(delim);
        }
        if let Some(Tok::Close(close)) = self.peek() {
            // () and []: empty.
            let close = *close;
            self.pos += 1;
            return Ok(Node::Group { open: delim, close, items: Vec::new() });
        }
        let mut items = self.items()?;
        let close = match self.peek() {
            Some(Tok::Close(close)) => *close,
            // [1, 2[
            Some(Tok::Open(Delim::Bracket)) if delim == Delim::Bracket && items.len() == 2 => Delim::Paren,
            _ => return Err(self.expected("a closing bracket")),
        };
        let fits = match delim {
            Delim::Paren | Delim::Bracket => matches!(close, Delim::Paren | Delim::Bracket),
            other => close == other,
        };
        if !fits {
            return Err(self.expected("the matching bracket"));
        }
        self.pos += 1;
        if items.len() == 1 && (delim == Delim::Group || delim == close) {
            return Ok(items.remove(0));
        }
        let open = if delim == Delim::Group { Delim::Brace } else { delim };
        let close = if close == Delim::Group { Delim::Brace } else { close };
        Ok(Node::Group { open, close, items })
    }

    /// Whether the `{` just passed opens a set in plain notation: it holds a comma, a bar or a colon at its top level.
    fn group_is_set(&self) -> bool {
        if self.nested > 0 || self.pos < 1 {
            return false;
        }
        let before = self.pos.checked_sub(2).map(|i| &self.tokens[i].tok);
        if matches!(before, Some(Tok::Caret | Tok::Under | Tok::Frac | Tok::Sqrt)) {
            return false;
        }
        let mut depth = 0;
        for t in &self.tokens[self.pos..] {
            match t.tok {
                Tok::Open(_) => depth += 1,
                Tok::Close(_) if depth == 0 => return false,
                Tok::Close(_) => depth -= 1,
                Tok::Mid | Tok::Bar | Tok::Colon if depth == 0 => return true,
                _ => {}
            }
        }
        false
    }

    #[inline(never)]
    fn set(&mut self, delim: Delim) -> Parsed {
        if self.eat(&Tok::Close(delim)) {
            return Ok(Node::Const(Constant::Empty));
        }
        let (bars, builder) = (self.bars, self.builder);
        self.bars = 0;
        self.builder = true;
        self.nested += 1;
        let head = self.list()?;
        let node = if matches!(self.peek(), Some(Tok::Mid | Tok::Bar | Tok::Colon)) {
            self.pos += 1;
            self.builder = false;
            let condition = self.list()?;
            Node::Builder(Box::new((head, condition)))
        } else {
            let items = match head {
                Node::List(items) | Node::Or(items) => items,
                one => vec![one],
            };
            Node::Group { open: Delim::Brace, close: Delim::Brace, items }
        };
        self.nested -= 1;
        self.bars = bars;
        self.builder = builder;
        if !self.eat(&Tok::Close(delim)) {
            return Err(self.expected("a closing brace"));
        }
        Ok(node)
    }

    #[inline(never)]
    fn environment(&mut self, env: &str) -> Parsed {
        let lines = matches!(
            env,
            "aligned" | "align" | "gather" | "gathered" | "equation" | "split" | "alignat" | "eqnarray"
        );
        let mut rows: Vec<Vec<Node>> = vec![Vec::new()];
        self.nested += 1;
        loop {
            match self.peek() {
                None => return Err(self.expected("\\end")),
                Some(Tok::End(_)) => break,
                Some(Tok::Amp) => self.pos += 1,
                Some(Tok::NewRow) => {
                    self.pos += 1;
                    rows.push(Vec::new());
                }
                Some(Tok::Comma | Tok::Semicolon) => self.pos += 1,
                Some(_) => {
                    // "otherwise" and "if" introduce conditions.
                    while env == "cases" && matches!(self.word_at(0).as_deref(), Some("if" | "for" | "when"))
                    {
                        self.pos += 1;
                    }
                    let cell = if env == "cases"
                        && matches!(self.word_at(0).as_deref(), Some("otherwise" | "else"))
                    {
                        self.pos += 1;
                        Node::Var("otherwise".into())
                    } else {
                        self.item()?
                    };
                    if let Some(row) = rows.last_mut() {
                        row.push(cell);
                    }
                }
            }
        }
        self.nested -= 1;
        self.pos += 1;
        rows.retain(|r| !r.is_empty());
        if rows.is_empty() {
            return Err(self.expected("entries"));
        }
        if env == "vmatrix"
            && let Some(node) = determinant(&rows)
        {
            return Ok(node);
        }
        Ok(if env == "cases" && rows.iter().all(|r| r.len() == 2) {
            Node::Cases(rows)
        } else if lines || env == "cases" {
            let mut items: Vec<Node> = rows.into_iter().flatten().collect();
            if items.len() == 1 { items.remove(0) } else { Node::List(items) }
        } else {
            Node::Matrix(rows)
        })
    }

    /// A function with its power, subscript and arguments.
    #[inline(never)]
    fn call(&mut self, func: Func) -> Parsed {
        let mut base = None;
        let mut power = None;
        loop {
            match self.peek() {
                Some(Tok::Under)
                    if base.is_none() && matches!(func, Func::Log | Func::Ln | Func::Max | Func::Min) =>
                {
                    self.pos += 1;
                    base = Some(self.expr(POSTFIX + 1)?);
                }
                Some(Tok::Caret) if power.is_none() => {
                    self.pos += 1;
                    power = Some(self.exponent()?);
                }
                _ => break,
            }
        }
        let mut args = match self.peek() {
            Some(Tok::Open(Delim::Paren | Delim::Bracket | Delim::Brace)) => {
                self.pos += 1;
                let items = self.items()?;
                if !matches!(self.peek(), Some(Tok::Close(Delim::Paren | Delim::Bracket | Delim::Brace))) {
                    return Err(self.expected("a closing bracket"));
                }
                self.pos += 1;
                items
            }
            Some(Tok::Open(Delim::Group)) => {
                self.pos += 1;
                let items = self.items()?;
                if !self.eat(&Tok::Close(Delim::Group)) {
                    return Err(self.expected("`}`"));
                }
                if func == Func::Binom && self.peek() == Some(&Tok::Open(Delim::Group)) {
                    let mut items = items;
                    items.push(self.argument()?);
                    items
                } else {
                    items
                }
            }
            _ => vec![self.bare_argument()?],
        };
        // log2(8) and log10(x) in plain text.
        if func == Func::Log
            && base.is_none()
            && let [Node::Mul(parts)] = &args[..]
            && self.source_says_base()
            && let Some((Node::Num(b), rest)) = parts
                .split_first()
                .filter(|(b, _)| matches!(b, Node::Num(n) if matches!(n.to_i64(), Some(2 | 10))))
        {
            base = Some(Node::Num(b.clone()));
            args = vec![rest.iter().cloned().reduce(multiply).unwrap_or(Node::int(1))];
        }
        let arity_ok = match func {
            Func::Binom | Func::Mod => args.len() == 2,
            Func::Max | Func::Min | Func::Gcd | Func::Lcm => !args.is_empty(),
            Func::Log => matches!(args.len(), 1 | 2),
            _ => args.len() == 1,
        };
        if !arity_ok {
            return Err(self.expected("another number of arguments"));
        }
        let node = match (func, base) {
            (Func::Log | Func::Ln, Some(b)) => {
                args.insert(0, b);
                Node::Call(Func::LogBase, args)
            }
            // log(x, b), as computer algebra systems write it
            (Func::Log, None) if args.len() == 2 => {
                args.swap(0, 1);
                Node::Call(Func::LogBase, args)
            }
            _ => Node::Call(func, args),
        };
        Ok(match power {
            None => node,
            // sin^{-1} is the inverse function.
            Some(Node::Neg(one)) if matches!(&*one, Node::Num(n) if n.to_i64() == Some(1)) => {
                let Node::Call(func, args) = node else { return Err(self.expected("a function")) };
                let inverse = match func {
                    Func::Sin => Func::Asin,
                    Func::Cos => Func::Acos,
                    Func::Tan => Func::Atan,
                    Func::Cot => Func::Acot,
                    Func::Sec => Func::Asec,
                    Func::Csc => Func::Acsc,
                    Func::Sinh => Func::Asinh,
                    Func::Cosh => Func::Acosh,
                    Func::Tanh => Func::Atanh,
                    _ => return Ok(Node::Div(Box::new((Node::int(1), Node::Call(func, args))))),
                };
                Node::Call(inverse, args)
            }
            Some(p) => Node::Pow(Box::new((node, p))),
        })
    }

    /// Whether the source has `log2` or `log10` written together.
    fn source_says_base(&self) -> bool {
        self.source.contains("log2") || self.source.contains("log10")
    }

    /// A function's argument without brackets: a product up to the next sign, function or bracket.
    fn bare_argument(&mut self) -> Parsed {
        if self.eat(&Tok::Minus) {
            return Ok(Node::Neg(Box::new(self.bare_argument()?)));
        }
        let mut product = self.expr(POWER - 1)?;
        while let Some(tok) = self.peek() {
            match tok {
                Tok::Number(_)
                | Tok::Name(_)
                | Tok::Const(Constant::Pi | Constant::E)
                | Tok::Frac
                | Tok::Sqrt
                | Tok::Vulgar(_) => {
                    if matches!(self.tokens[self.pos - 1].tok, Tok::Number(_))
                        && matches!(tok, Tok::Number(_))
                    {
                        break;
                    }
                    let factor = self.expr(POWER - 1)?;
                    product = multiply(product, factor);
                }
                Tok::Open(Delim::Paren) if matches!(self.tokens[self.pos - 1].tok, Tok::Number(_)) => {
                    let factor = self.expr(POWER - 1)?;
                    product = multiply(product, factor);
                }
                _ => break,
            }
        }
        // \sin 30^\circ has been taken with its degree sign by the power level; \ln 2/3 stops before the slash, but a
        // constant over a number belongs to a trigonometric argument: \sin \pi/6.
        if self.peek() == Some(&Tok::Slash)
            && matches!(self.peek_at(1), Some(Tok::Number(_)))
            && product.any(&mut |n| matches!(n, Node::Const(Constant::Pi)))
        {
            self.pos += 1;
            let d = self.expr(POWER - 1)?;
            product = Node::Div(Box::new((product, d)));
        }
        Ok(product)
    }

    #[inline(never)]
    fn big(&mut self, kind: Big) -> Parsed {
        let (mut lower, mut upper) = (None, None);
        for _ in 0..2 {
            if self.eat(&Tok::Under) {
                lower = Some(self.expr(POSTFIX + 1)?);
            } else if self.eat(&Tok::Caret) {
                upper = Some(self.expr(POSTFIX + 1)?);
            }
        }
        let (Some(Node::Rel(terms, ops)), Some(to)) = (lower, upper) else {
            return Err(self.expected("the bounds of the sum"));
        };
        let ([Node::Var(var), from], [Relation::Eq]) = (&terms[..], &ops[..]) else {
            return Err(self.expected("a lower bound such as k=1"));
        };
        let body = self.expr(SIGN)?;
        Ok(Node::Big(kind, Box::new(BigParts { var: var.clone(), from: from.clone(), to, body })))
    }
}

/// Gives every residue of a list `n ≡ a, b (mod m)` its name and the modulus that stands once; says whether it was one.
fn residues(items: &mut [Node]) -> bool {
    let [Node::Rel(terms, ops), rest @ .., Node::Call(Func::Mod, last)] = &*items else { return false };
    let ([Node::Var(name), first], [Relation::Congruent], [residue, modulus]) =
        (&terms[..], &ops[..], &last[..])
    else {
        return false;
    };
    let plain = |n: &Node| !matches!(n, Node::Rel(..) | Node::Call(Func::Mod, _) | Node::Dots);
    if !plain(first) || !rest.iter().all(plain) || modulus.size_within(64).is_none() {
        return false;
    }
    let (name, modulus) = (name.clone(), modulus.clone());
    let all: Vec<Node> = [first].into_iter().chain(rest).chain([residue]).cloned().collect();
    for (item, residue) in items.iter_mut().zip(all) {
        let class = Node::Call(Func::Mod, vec![residue, modulus.clone()]);
        *item = Node::Rel(vec![Node::Var(name.clone()), class], vec![Relation::Congruent]);
    }
    true
}

/// Order relations that all bound the same single variable.
fn bounds_of_one_name(items: &[Node]) -> bool {
    let name = |n: &Node| match n {
        Node::Rel(_, ops) if ops.iter().all(|o| o.is_order() || *o == Relation::Ne) => {
            let names = n.variables();
            if let [one] = &names[..] { Some(one.clone()) } else { None }
        }
        _ => None,
    };
    let first = items.first().and_then(name);
    first.is_some() && items.iter().all(|n| name(n) == first)
}

/// Quantities of one dimension in different units, as in "2 hours and 30 minutes".
fn mixed_quantity(items: &[Node]) -> bool {
    let mut seen: Vec<&Unit> = Vec::new();
    items.len() <= 4
        && items.iter().all(|n| match n {
            Node::Quantity(_, u, false) => {
                // 12 dollars and 50 cents
                let cents = u.factors == [("¢", 1)];
                let fits = (!u.is_currency() || seen.is_empty())
                    && (cents || !seen.first().is_some_and(|f| f.is_currency()))
                    && !seen.contains(&u)
                    && seen.first().is_none_or(|f| f.measure().0 == u.measure().0);
                seen.push(u);
                fits
            }
            _ => false,
        })
}

/// The determinant of a matrix of up to three rows, as an expression.
fn determinant(rows: &[Vec<Node>]) -> Option<Node> {
    let n = rows.len();
    if n == 0 || n > 3 || rows.iter().any(|r| r.len() != n) {
        return None;
    }
    if n == 1 {
        return Some(rows[0][0].clone());
    }
    let mut sum = Vec::with_capacity(n);
    for k in 0..n {
        let minor: Vec<Vec<Node>> = rows[1..]
            .iter()
            .map(|r| r.iter().enumerate().filter(|(j, _)| *j != k).map(|(_, x)| x.clone()).collect())
            .collect();
        let term = Node::Mul(vec![rows[0][k].clone(), determinant(&minor)?]);
        sum.push(if k % 2 == 1 { Node::Neg(Box::new(term)) } else { term });
    }
    Some(Node::Add(sum))
}

/// Words that leave an answer open.
fn hedges(word: &str) -> bool {
    matches!(word, "maybe" | "perhaps" | "possibly" | "might" | "unsure")
        || !word.is_ascii() && (word.contains("可能") || word.contains("也许"))
}

/// What the next token does to the value before it.
enum Plan {
    Stop,
    /// The value has been extended in place.
    Extended,
    /// An operand of this tightness follows.
    Operand(u8, Join),
    Chain,
    Fraction,
}

/// How an operand joins the value before it.
#[derive(Clone, Copy)]
enum Join {
    Add,
    Subtract,
    PlusMinus(bool),
    Multiply,
    Divide,
    Power,
    PowerOfNegative,
    Mod,
    Choose,
    Ratio,
    Set(SetOp),
}

impl Join {
    /// Whether joining to `left` makes the tree no deeper than its parts.
    fn is_flat(self, left: &Node) -> bool {
        match self {
            Join::Add | Join::Subtract | Join::PlusMinus(_) => matches!(left, Node::Add(_)),
            Join::Multiply | Join::Divide => matches!(left, Node::Mul(_)),
            Join::Ratio => matches!(left, Node::Ratio(_)),
            Join::Set(op) => matches!(left, Node::Set(o, _) if *o == op),
            Join::Power | Join::PowerOfNegative | Join::Mod | Join::Choose => false,
        }
    }
}

#[inline(never)]
fn joined(a: Node, b: Node, join: Join) -> Node {
    match join {
        Join::Add => add(a, b),
        Join::Subtract => add(a, Node::Neg(Box::new(b))),
        Join::PlusMinus(minus) => add(a, Node::PlusMinus(Box::new(b), minus)),
        Join::Multiply => multiply(a, b),
        // A chain of divisions stays flat: a/b/c is a/b times 1/c.
        Join::Divide if matches!(a, Node::Mul(_) | Node::Div(_)) => {
            multiply(a, Node::Div(Box::new((Node::int(1), b))))
        }
        Join::Divide => Node::Div(Box::new((a, b))),
        // (1, 2)^T: a column is compared like a row
        Join::Power
            if matches!(&b, Node::Var(t) if matches!(t.as_str(), "T" | "top" | "intercal"))
                && matches!(&a, Node::Matrix(_) | Node::Group { .. }) =>
        {
            match a {
                Node::Matrix(rows) if rows.iter().all(|r| r.len() == rows[0].len()) => Node::Matrix(
                    (0..rows[0].len()).map(|j| rows.iter().map(|r| r[j].clone()).collect()).collect(),
                ),
                a => a,
            }
        }
        Join::Power => Node::Pow(Box::new((a, b))),
        Join::PowerOfNegative => Node::Pow(Box::new((a, Node::Neg(Box::new(b))))),
        Join::Mod => Node::Call(Func::Mod, vec![a, b]),
        Join::Choose => Node::Call(Func::Binom, vec![a, b]),
        Join::Ratio => match a {
            Node::Ratio(mut v) => {
                v.push(b);
                Node::Ratio(v)
            }
            a => Node::Ratio(vec![a, b]),
        },
        Join::Set(op) => match a {
            Node::Set(o, mut v) if o == op => {
                v.push(b);
                Node::Set(op, v)
            }
            a => Node::Set(op, vec![a, b]),
        },
    }
}

/// Whether a node is a proper fraction of plain integers.
fn is_proper(node: &Node) -> bool {
    let Node::Div(p) = node else { return false };
    match (&p.0, &p.1) {
        (Node::Num(n), Node::Num(d)) => n.is_plain_integer() && d.is_plain_integer() && n.value < d.value,
        _ => false,
    }
}

fn starts_value(tok: &Tok) -> bool {
    matches!(
        tok,
        Tok::Number(_)
            | Tok::Name(_)
            | Tok::Const(_)
            | Tok::Func(_)
            | Tok::Frac
            | Tok::Sqrt
            | Tok::Open(_)
            | Tok::Minus
            | Tok::Vulgar(_)
            | Tok::Currency(_)
    )
}

/// A flat sum.
pub fn add(a: Node, b: Node) -> Node {
    match a {
        Node::Add(mut v) => {
            v.push(b);
            Node::Add(v)
        }
        a => Node::Add(vec![a, b]),
    }
}

/// A flat product.
pub fn multiply(a: Node, b: Node) -> Node {
    match a {
        Node::Mul(mut v) => {
            v.push(b);
            Node::Mul(v)
        }
        Node::Num(ref n) if n.value.is_zero() && n.decimal.is_none() => Node::Mul(vec![a, b]),
        a => Node::Mul(vec![a, b]),
    }
}
