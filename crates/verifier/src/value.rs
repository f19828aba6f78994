//! What an answer means: scalars, collections, sets of reals, relations, and answers that are no mathematics.

use num_traits::{One, Signed, Zero};

use crate::{
    lex::{self, Delim, SyntaxError, Tok},
    limits,
    number::Number,
    parse,
    policy::{Percent, Policy},
    region::{Interval, Region},
    scalar::{Rounding, Scalar},
    series::{self, dotted},
    syntax::{Big, Constant, Func, Node, Relation, SetOp},
    words,
};

/// A time of day in seconds from midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// Seconds from midnight.
    pub seconds: u32,
    /// Whether it was written with am or pm.
    pub marked: bool,
    /// The hour as written, when nothing else was ("3 pm").
    pub bare_hour: Option<u32>,
}

/// The meaning of an answer.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Value {
    Scalar(Box<Scalar>),
    /// Positive or negative infinity; 0 when the sign is open.
    Infinity(i8),
    /// A bare list: unordered, with repetitions.
    List(Vec<Value>),
    /// A set: unordered, without repetitions.
    Set(Vec<Value>),
    /// Ordered items between delimiters. A pair is also an interval.
    Tuple {
        open: Delim,
        close: Delim,
        items: Vec<Value>,
    },
    Region(Region),
    Matrix(Vec<Vec<Value>>),
    /// `name = value`, with the difference of both sides as an equation.
    Assign {
        name: String,
        /// The variable of a function: `x` in `f(x) = 2x`.
        argument: Option<String>,
        value: Box<Value>,
        difference: Option<Box<Scalar>>,
    },
    /// A list of assignments to different names.
    System(Vec<(String, Value)>),
    /// Left minus right side.
    Equation(Box<Scalar>),
    /// Left minus right side is positive (or not negative).
    Inequality {
        difference: Box<Scalar>,
        strict: bool,
    },
    Congruence {
        name: String,
        residue: Box<Scalar>,
        modulus: Box<Scalar>,
    },
    Ratio(Vec<Scalar>),
    Time(Time, Option<Vec<Scalar>>),
    /// A day of the year, in words: `June 20`.
    Date {
        month: u8,
        day: u8,
        year: Option<u32>,
    },
    Choice(char, Option<Box<Value>>),
    Cases(Vec<(Value, Value)>),
    /// Items with dots between them; none is the dots.
    Sequence(Vec<Option<Value>>),
    /// A standard set.
    Numbers(Constant),
    /// `{x | condition}`.
    Builder(Box<Value>, Box<Value>),
    Undefined,
    Text(String),
}

/// An answer as read: its clean text and its meaning.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The text without blanks and dollar signs, for a quick comparison.
    pub clean: String,
    /// The meaning.
    pub value: Value,
    /// The name that an inequality bounds or that is said to lie in a set.
    pub subject: Option<String>,
    /// The free parameter of a family of solutions and the set it runs through, if that is said: `k` in `π/4 + kπ, k ∈ Z`,
    /// `c` in "c x for any constant c".
    pub parameter: Option<(String, Option<Constant>)>,
}

impl Answer {
    /// Reads an answer.
    pub fn read(text: &str, policy: &Policy) -> Result<Answer, SyntaxError> {
        if text.len() > limits::ANSWER_BYTES {
            return Err(SyntaxError::Limit { what: "answer bytes", limit: limits::ANSWER_BYTES });
        }
        let trimmed = trim(text);
        if trimmed.is_empty() {
            return Err(SyntaxError::Empty);
        }
        let end = |c: char| c.is_whitespace() || matches!(c, '$' | '*' | '}');
        if text.trim_end_matches(end).ends_with(['?', '？']) {
            return Err(SyntaxError::Expected { expected: "an answer that is no question", at: text.len() });
        }
        let (value, node) = read_value(trimmed, policy)?;
        let (subject, parameter) = node.map_or((None, None), |n| (subject(&n), parameter(&n)));
        let parameter = parameter
            .or_else(|| constant_in_words(trimmed).map(|name| (name, None)))
            .filter(|(name, _)| value.mentions(name));
        Ok(Answer { clean: clean(trimmed), value, subject, parameter })
    }
}

impl Value {
    /// The value with a free variable replaced, in scalars and the collections that hold them.
    pub fn substitute(&self, name: &str, by: &Node) -> Value {
        let all = |v: &[Value]| v.iter().map(|x| x.substitute(name, by)).collect();
        match self {
            Value::Scalar(s) => {
                let mut new = Scalar::new(s.node.substitute(name, by));
                new.unit.clone_from(&s.unit);
                Value::Scalar(Box::new(new))
            }
            Value::List(v) => Value::List(all(v)),
            Value::Set(v) => Value::Set(all(v)),
            Value::Tuple { open, close, items } => {
                Value::Tuple { open: *open, close: *close, items: all(items) }
            }
            Value::System(v) => {
                Value::System(v.iter().map(|(n, x)| (n.clone(), x.substitute(name, by))).collect())
            }
            Value::Assign { name: n, argument, value, .. } => Value::Assign {
                name: n.clone(),
                argument: argument.clone(),
                value: Box::new(value.substitute(name, by)),
                difference: None,
            },
            other => other.clone(),
        }
    }

    fn scalars(&self) -> Vec<&Scalar> {
        match self {
            Value::Scalar(s) => vec![s],
            Value::List(v) | Value::Set(v) | Value::Tuple { items: v, .. } => {
                v.iter().flat_map(Value::scalars).collect()
            }
            Value::System(v) => v.iter().flat_map(|(_, x)| x.scalars()).collect(),
            Value::Assign { value, .. } => value.scalars(),
            _ => Vec::new(),
        }
    }

    /// Whether a free variable occurs in it.
    pub fn mentions(&self, name: &str) -> bool {
        self.scalars().iter().any(|s| s.variables().iter().any(|v| v == name))
    }

    /// Its only variable, if that has a name that integers usually have.
    pub fn integer_name(&self) -> Option<String> {
        let mut names: Vec<&String> = self.scalars().into_iter().flat_map(|s| s.variables()).collect();
        names.sort();
        names.dedup();
        match &names[..] {
            [one] if matches!(one.as_str(), "k" | "l" | "m" | "n" | "N" | "K" | "t") => Some((*one).clone()),
            _ => None,
        }
    }
}

impl Answer {
    /// Whether it means something other than words or a choice.
    pub fn is_mathematics(&self) -> bool {
        // f(x) = words are words
        let mut value = &self.value;
        while let Value::Assign { value: inner, .. } = value {
            value = inner;
        }
        !matches!(value, Value::Text(_) | Value::Choice(..) | Value::Undefined)
    }
}

/// The text without dollar signs and needless blanks; one blank stays between letters or digits that it keeps apart.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut blank = false;
    for c in text.chars().filter(|c| *c != '$') {
        if c.is_whitespace() {
            blank = true;
            continue;
        }
        if blank && c.is_alphanumeric() && out.ends_with(char::is_alphanumeric) {
            out.push(' ');
        }
        blank = false;
        out.push(c);
    }
    out
}

/// Removes white space, markdown emphasis, maths delimiters and closing punctuation around an answer.
pub fn trim(text: &str) -> &str {
    let mut t = text.trim();
    loop {
        let before = t;
        // Seconds of arc keep their sign.
        let seconds = t.ends_with('"') && (t.contains('°') || t.contains("\\circ"));
        t = t.trim_matches(|c: char| {
            c.is_whitespace()
                || (c == '"' && !seconds)
                || matches!(c, '*' | '`' | '“' | '”' | '。' | '，' | '\u{feff}' | '\u{200b}')
        });
        t = t.trim_end_matches([',', ';', ':', '?']);
        if !t.ends_with("..") && !t.ends_with("\\.") {
            t = t.strip_suffix('.').unwrap_or(t);
        }
        t = t.strip_suffix("\\").unwrap_or(t);
        t = t.trim_start_matches([':', ',']);
        for (open, close) in [("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")] {
            if let Some(inner) = t.strip_prefix(open).and_then(|t| t.strip_suffix(close))
                && !inner.contains(open)
            {
                t = inner;
            }
        }
        if t == before {
            return t;
        }
    }
}

/// The name that a relation bounds, if it is one name.
fn subject(node: &Node) -> Option<String> {
    match node {
        Node::Rel(terms, ops) if ops[..] == [Relation::In] || ops[..] == [Relation::NotIn] => match &terms[0]
        {
            Node::Var(name) => Some(name.clone()),
            _ => None,
        },
        Node::Rel(terms, ops) if ops.iter().all(|o| o.is_order() || *o == Relation::Ne) => {
            let mut names: Vec<String> = terms.iter().flat_map(Node::variables).collect();
            names.sort();
            names.dedup();
            if let [name] = &names[..] { Some(name.clone()).filter(|n| n != "?") } else { None }
        }
        Node::List(v) | Node::Or(v) | Node::Set(_, v) => {
            let first = subject(v.first()?)?;
            v.iter().all(|n| subject(n).as_ref() == Some(&first)).then_some(first)
        }
        Node::Noted(x, _) => subject(x),
        _ => None,
    }
}

/// The name in a remark such as "for any constant c" or "where c is an arbitrary constant".
fn constant_in_words(text: &str) -> Option<String> {
    if !text.contains("constant") || text.len() > 400 {
        return None;
    }
    let at = [" for ", " where ", "{for ", "{where ", "(where ", "(for "]
        .iter()
        .filter_map(|w| text.find(w))
        .min()?;
    let mut names = plain(&text[at..])
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| w.len() == 1 && *w != "a" && w.starts_with(|c: char| c.is_ascii_alphabetic()))
        .map(str::to_string)
        .collect::<Vec<_>>();
    names.dedup();
    if names.len() == 1 { names.pop() } else { None }
}

/// The name that an item of a list says lies in a set of numbers.
fn parameter(node: &Node) -> Option<(String, Option<Constant>)> {
    let Node::List(items) = node else { return None };
    items.iter().skip(1).find_map(|n| match n {
        Node::Rel(terms, ops) if ops[..] == [Relation::In] => match (&terms[0], &terms[1]) {
            (
                Node::Var(name),
                Node::Const(
                    set @ (Constant::Integers | Constant::Naturals | Constant::Reals | Constant::Rationals),
                ),
            ) => Some((name.clone(), Some(*set))),
            _ => None,
        },
        _ => None,
    })
}

fn read_value(text: &str, policy: &Policy) -> Result<(Value, Option<Node>), SyntaxError> {
    let plain = plain(text);
    if text == "\\mathbf{R}" {
        return Ok((Value::Region(Region::all()), None));
    }
    if policy.choices
        && let Some(choice) = choices(&plain).or_else(|| choice(&plain, policy))
    {
        return Ok((choice, None));
    }
    if let Some(value) = special(&plain) {
        return Ok((value, None));
    }
    if policy.text
        && let Some(size) = dimensions(&plain)
    {
        return Ok((Value::Text(size), None));
    }
    if let Some(value) = reals_except(text, policy) {
        return Ok((value, None));
    }
    if let Some((month, day, year)) = date(&plain) {
        return Ok((Value::Date { month, day, year }, None));
    }
    if let Some(time) = time(&plain) {
        let ratio =
            lex::lex(text, policy.separators).ok().and_then(|tokens| parse::parse(text, &tokens).ok());
        let ratio = match ratio {
            Some(Node::Ratio(v)) => Some(v.into_iter().map(Scalar::new).collect()),
            _ => None,
        };
        return Ok((Value::Time(time, ratio), None));
    }
    if let Some(node) = hex_numeral(&plain) {
        return Ok((Value::Scalar(Box::new(Scalar::new(node))), None));
    }
    let words = || wordy(&plain, policy).map(|v| (v, None));
    let tokens = match lex::lex(text, policy.separators) {
        Ok(tokens) => tokens,
        Err(e) => return words().ok_or(e),
    };
    if tokens.is_empty() {
        return Err(SyntaxError::Empty);
    }
    // Only words: a number in words, or text.
    let only_words = tokens
        .iter()
        .all(|t| matches!(t.tok, Tok::Word(_) | Tok::And | Tok::Or | Tok::Minus | Tok::Comma | Tok::Prime));
    match parse::parse(text, &tokens) {
        Ok(node) => {
            let node = family(node);
            let calculated = match &node {
                Node::Num(_)
                | Node::Neg(_)
                | Node::Noted(..)
                | Node::Quantity(..)
                | Node::Mul(_)
                | Node::Percent(_)
                | Node::Ratio(_) => true,
                Node::Add(v) if v.iter().all(|n| matches!(n, Node::Quantity(..))) => true,
                Node::Add(_) | Node::Pow(_) | Node::Div(_) | Node::Call(..) => node.variables().is_empty(),
                _ => false,
            };
            if only_words && !calculated {
                return words().ok_or(SyntaxError::Expected { expected: "an answer", at: 0 });
            }
            let value = convert(&node, policy, 0)?;
            let kept =
                matches!(node, Node::Rel(..) | Node::List(_) | Node::Or(_) | Node::Set(..) | Node::Noted(..));
            Ok((value, kept.then_some(node)))
        }
        Err(e) => words().ok_or(e),
    }
}

/// `{kπ | k ∈ Z}` as the family `kπ, k ∈ Z`.
fn family(node: Node) -> Node {
    match node {
        Node::Builder(p)
            if is_integer_condition(&p.1)
                && matches!(&p.1, Node::Rel(t, _) if matches!(&t[0], Node::Var(k)
                    if p.0 != t[0] && is_plain_scalar(&p.0) && p.0.variables().contains(k))) =>
        {
            Node::List(vec![p.0, p.1])
        }
        node => node,
    }
}

/// The text without `\text{}` wrappers, dollar signs and braces: what a reader of words sees.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(256));
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '\\' {
            let name: String = rest[1..].chars().take_while(char::is_ascii_alphabetic).collect();
            if matches!(
                name.as_str(),
                "text"
                    | "textbf"
                    | "textit"
                    | "textrm"
                    | "mathrm"
                    | "mathbf"
                    | "mbox"
                    | "bf"
                    | "rm"
                    | "boxed"
                    | "left"
                    | "right"
                    | "displaystyle"
                    | "quad"
            ) {
                rest = &rest[1 + name.len()..];
                continue;
            }
            if rest.len() > 1
                && matches!(rest.as_bytes()[1], b' ' | b',' | b';' | b'!' | b'(' | b')' | b'[' | b']')
            {
                out.push(' ');
                rest = &rest[2..];
                continue;
            }
        }
        match c {
            '$' | '{' | '}' | '*' | '~' => {}
            c => out.push(c),
        }
        rest = &rest[c.len_utf8()..];
        if out.len() > 4096 {
            break;
        }
    }
    out.trim().to_string()
}

/// Text answers: words without broken mathematics.
fn wordy(plain: &str, policy: &Policy) -> Option<Value> {
    if !policy.text || plain.contains(['\\', '^', '=', '<', '>', '{', '}', '_']) || plain.len() > 512 {
        return None;
    }
    let letters = plain.chars().filter(|c| c.is_alphabetic()).count();
    let opens = plain.matches('(').count();
    if letters == 0
        || 2 * letters < plain.chars().filter(|c| !c.is_whitespace()).count()
        || opens != plain.matches(')').count()
    {
        return None;
    }
    // "Yes, it is."
    if let Some((word, rest)) = plain.split_once(',')
        && matches!(word.to_ascii_lowercase().as_str(), "yes" | "no")
        && !rest.contains(|c: char| c.is_ascii_digit())
    {
        return Some(Value::Text(word.to_ascii_lowercase()));
    }
    // "Jack and Jill" is "Jill and Jack".
    let mut parts: Vec<String> = plain
        .split(',')
        .flat_map(|p| p.split(" and "))
        .map(normal_words)
        .map(|w| w.strip_prefix("and ").map(str::to_string).unwrap_or(w))
        // "on Saturday", "in Paris", "it is Monday"
        .map(|w| {
            match ["on ", "in ", "at ", "it is ", "it's ", "it was ", "it will be ", "they are "]
                .iter()
                .find_map(|p| w.strip_prefix(p))
            {
                Some(rest) => rest.to_string(),
                None => w,
            }
        })
        .filter(|w| !w.is_empty())
        .collect();
    parts.sort();
    (!parts.is_empty()).then(|| Value::Text(parts.join(" and ")))
}

/// Lower-case words without articles and punctuation.
pub fn normal_words(text: &str) -> String {
    let mut out = String::new();
    let mut words = text
        .split(|c: char| !(c.is_alphanumeric() || matches!(c, '\'' | '%' | '+' | '/')))
        .filter(|w| !w.is_empty())
        .peekable();
    while let Some(word) = words.next() {
        // A capital A before anything but a word is a name.
        let article = match word {
            "A" => words.peek().is_some_and(|w| w.len() > 1 && w.starts_with(char::is_lowercase)),
            w => matches!(w.to_lowercase().as_str(), "the" | "a" | "an"),
        };
        if article && text.len() > 3 {
            continue;
        }
        let word = word.to_lowercase();
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word.trim_matches('\''));
    }
    out
}

/// `C`, `(C)`, `C.`, `(C) 12`, `Option C`.
fn choice(plain: &str, policy: &Policy) -> Option<Value> {
    let mut t = plain.trim();
    for prefix in ["option", "choice", "answer", "Option", "Choice", "Answer"] {
        if let Some(rest) = t.strip_prefix(prefix)
            && rest.starts_with([' ', ':', '('])
        {
            t = rest.trim_start_matches([':', ' ']);
        }
    }
    let b = t.as_bytes();
    let (letter, parens, rest) = match b {
        [b'(', c, b')', ..] if c.is_ascii_alphabetic() => (*c, true, &t[3..]),
        [b'[', c, b']', ..] if c.is_ascii_uppercase() => (*c, true, &t[3..]),
        [c, ..] if c.is_ascii_uppercase() => (*c, false, &t[1..]),
        // b)
        [c @ b'a'..=b'f', b')', ..] => (*c, false, &t[1..]),
        _ => return None,
    };
    let upper = letter.to_ascii_uppercase() as char;
    let content = rest.trim_start();
    if parens {
        if content.is_empty() || content == "." {
            // (x) alone may be a variable in brackets; small letters beyond the usual choices are.
            if letter.is_ascii_lowercase() && !(b'a'..=b'f').contains(&letter) {
                return None;
            }
            return Some(Value::Choice(upper, None));
        }
        // (A)(B) is a product; (C) 12 and (C). Paris are choices.
        if letter.is_ascii_lowercase() || !rest.starts_with([' ', ':', '.']) {
            return None;
        }
        let content = content.trim_start_matches(['.', ':', ' ']);
        // (C) or (D): no choice
        if ["or ", "and ", "& ", "or(", "and("].iter().any(|w| content.starts_with(w)) {
            return None;
        }
        if content.starts_with(['+', '-', '*', '/', '=', '^', '<', '>']) {
            return None;
        }
        return Some(Value::Choice(upper, read_value(content, policy).ok().map(|(v, _)| Box::new(v))));
    }
    if rest.is_empty() || rest == "." || rest == ")" || rest == ":" {
        return Some(Value::Choice(upper, None));
    }
    // "C. 12", "C) 12", "C: 12"
    let mut chars = rest.chars();
    let mark = chars.next()?;
    let after = chars.as_str();
    if matches!(mark, '.' | ')' | ':')
        && after.starts_with(' ')
        && !after.trim_start().starts_with(['+', '*', '/', '=', '^', '<', '>'])
    {
        return Some(Value::Choice(upper, read_value(after.trim(), policy).ok().map(|(v, _)| Box::new(v))));
    }
    None
}

/// `A, C`, `(A) and (C)`: several letters.
fn choices(plain: &str) -> Option<Value> {
    if plain.len() > 40 || !plain.contains([',', '&', 'd', '、', ';']) {
        return None;
    }
    let mut letters = Vec::new();
    for part in plain.split([',', ' ', '&', '、', ';']).filter(|p| !p.is_empty() && *p != "and") {
        let letter = part.strip_prefix('(').and_then(|p| p.strip_suffix(')')).unwrap_or(part);
        let letter = letter.trim_end_matches(['.', ')']);
        let [c @ b'A'..=b'H'] = letter.as_bytes() else { return None };
        let choice = *c as char;
        if letters.contains(&choice) {
            return None;
        }
        letters.push(choice);
    }
    (letters.len() > 1).then(|| Value::List(letters.into_iter().map(|c| Value::Choice(c, None)).collect()))
}

/// Answers in words with a mathematical meaning.
fn special(plain: &str) -> Option<Value> {
    if plain.len() > 80 || !plain.chars().any(char::is_alphabetic) {
        return None;
    }
    if let Some(rest) = plain.strip_prefix(['-', '−', '–', '+']) {
        return match special(rest) {
            Some(Value::Infinity(s)) if rest.starts_with(char::is_alphabetic) => {
                Some(Value::Infinity(if plain.starts_with('+') { s } else { -s }))
            }
            _ => None,
        };
    }
    if plain.contains(['+', '*', '/', '=', '<', '>', '^', '|', '(', '[', '≠', '≤', '≥', '\\', '_']) {
        return None;
    }
    let words = normal_words(plain);
    let words =
        words.strip_prefix("there are ").or_else(|| words.strip_prefix("there is ")).unwrap_or(&words);
    let words = words.strip_suffix(" exist").or_else(|| words.strip_suffix(" exists")).unwrap_or(words);
    Some(match words {
        "no solution" | "no solutions" | "no real solution" | "no real solutions" | "empty set" | "none"
        | "no such number" | "no such numbers" | "no root" | "no roots" | "no real roots"
        | "no real root" | "no answer" | "no value" | "no values" | "impossible" | "not possible" => {
            Value::Region(Region::empty())
        }
        "undefined" | "does not" | "dne" | "does not exist" | "not defined" | "indeterminate"
        | "limit does not" | "diverges" => Value::Undefined,
        "infinity"
        | "infinite"
        | "positive infinity"
        | "plus infinity"
        | "infinitely many"
        | "infinitely many solutions" => Value::Infinity(1),
        "negative infinity" | "minus infinity" => Value::Infinity(-1),
        "all real numbers" | "all reals" | "real numbers" | "any real number" | "all real" | "r"
            if words != "r" =>
        {
            Value::Region(Region::all())
        }
        "all positive real numbers" | "all positive reals" | "positive real numbers" => {
            Value::Region(Region::relation(Relation::Gt, Scalar::int(0))?)
        }
        "all negative real numbers" | "all negative reals" | "negative real numbers" => {
            Value::Region(Region::relation(Relation::Lt, Scalar::int(0))?)
        }
        "all nonnegative real numbers"
        | "all nonnegative reals"
        | "nonnegative real numbers"
        | "all non negative real numbers" => Value::Region(Region::relation(Relation::Ge, Scalar::int(0))?),
        "all positive integers" | "positive integers" | "all natural numbers" | "natural numbers" => {
            Value::Numbers(Constant::Naturals)
        }
        "all integers" | "integers" | "any integer" => Value::Numbers(Constant::Integers),
        "true" | "false" | "yes" | "no" => Value::Text(words.to_string()),
        _ => return None,
    })
}

/// `2x2 matrix`, `4 by 6`: the size of a thing, which is no product.
pub(crate) fn dimensions(plain: &str) -> Option<String> {
    if plain.len() > 60 || !plain.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let lower = plain.to_ascii_lowercase();
    let mut rest = lower.as_str();
    let mut sizes = Vec::new();
    let mut by = false;
    loop {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return None;
        }
        sizes.push(&rest[..digits]);
        rest = rest[digits..].trim_start_matches([' ', '-']);
        let sign = ["by", "x", "×"].iter().find(|s| rest.starts_with(**s));
        let Some(sign) = sign else { break };
        let tail = rest[sign.len()..].trim_start_matches([' ', '-']);
        if !tail.starts_with(|c: char| c.is_ascii_digit()) {
            break;
        }
        by |= *sign == "by";
        rest = tail;
    }
    const THINGS: &[&str] = &[
        "matrix",
        "matrices",
        "grid",
        "board",
        "chessboard",
        "square",
        "rectangle",
        "table",
        "array",
        "determinant",
        "block",
        "cube",
        "box",
        "garden",
        "rectangular",
        "square",
        "identity",
        "zero",
    ];
    let word = rest.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or("");
    let thing = THINGS.contains(&word);
    (sizes.len() > 1 && (thing || by && (word.is_empty() || crate::units::canonical(word).is_none())))
        .then(|| format!("{} {}", sizes.join(" by "), normal_words(rest)).trim_end().to_string())
}

/// "all real numbers except 2": the words stand before the points that are left out.
fn reals_except(text: &str, policy: &Policy) -> Option<Value> {
    let at = [" except", " other than", " excluding"].iter().filter_map(|w| text.find(w)).min()?;
    if at > 80 || text.len() > 400 {
        return None;
    }
    let head = plain(&text[..at]);
    let head = ["x", "y", "t", "n"]
        .iter()
        .find_map(|x| head.trim_end().strip_suffix(&format!(" {x}")))
        .unwrap_or(&head);
    let Some(Value::Region(region)) = special(head) else { return None };
    let tail = text[at..].trim_start();
    let tail = ["except for", "except when", "except", "other than", "excluding"]
        .iter()
        .find_map(|w| tail.strip_prefix(w))?;
    // The bracket of \text{...} may close on either side.
    let opens = tail.matches('{').count();
    let tail = match tail.matches('}').count().cmp(&opens) {
        std::cmp::Ordering::Greater if text[..at].contains('{') => {
            match tail.trim_start().strip_prefix('}') {
                Some(rest) => rest,
                None => tail.trim_end().strip_suffix('}')?,
            }
        }
        _ => tail,
    };
    fn points(value: Value) -> Option<Vec<Value>> {
        match value {
            Value::Scalar(s) if s.is_constant() => Some(vec![Value::Scalar(s)]),
            Value::Assign { value, .. } => points(*value),
            Value::List(v) | Value::Set(v) => {
                v.into_iter().map(points).collect::<Option<Vec<_>>>().map(|v| v.concat())
            }
            _ => None,
        }
    }
    let left_out = to_region(&Value::Set(points(read_value(trim(tail), policy).ok()?.0)?))?;
    region.combine(SetOp::Difference, &left_out).map(Value::Region)
}

/// Month, day and year of a date in words: `June 20`, `20 June 2024`, `July 4th, 1999`.
fn date(plain: &str) -> Option<(u8, u8, Option<u32>)> {
    const MONTHS: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    const NAMES: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    if !(4..=24).contains(&plain.len()) {
        return None;
    }
    let lower = plain.to_ascii_lowercase();
    let words: Vec<&str> = lower.split([' ', ',']).filter(|w| !w.is_empty() && *w != "of").collect();
    let month = |w: &str| {
        let w = w.trim_end_matches('.');
        MONTHS.iter().position(|m| *m == w).or_else(|| NAMES.iter().position(|m| *m == w))
    };
    let day = |w: &str| {
        let n = ["st", "nd", "rd", "th"].iter().find_map(|s| w.strip_suffix(s)).unwrap_or(w);
        n.parse::<u8>().ok().filter(|d| (1..=31).contains(d) && n.len() <= 2)
    };
    let (m, d) = match words[..] {
        [a, b] | [a, b, _] => match (month(a), month(b)) {
            (Some(m), None) => (m, day(b)?),
            (None, Some(m)) => (m, day(a)?),
            _ => return None,
        },
        _ => return None,
    };
    let year = match words.get(2) {
        Some(y) => Some(y.parse::<u32>().ok().filter(|_| y.len() == 4)?),
        None => None,
    };
    Some((m as u8 + 1, d, year))
}

/// `12:00`, `3 pm`, `3:45:10 p.m.`, `15:45`.
fn time(plain: &str) -> Option<Time> {
    if plain.len() > 40 {
        return None;
    }
    let lower = plain.to_ascii_lowercase();
    let t = lower.trim();
    if matches!(t, "noon" | "12 noon" | "midnight" | "12 midnight") {
        let noon = t.contains("noon");
        return Some(Time { seconds: if noon { 43_200 } else { 0 }, marked: true, bare_hour: None });
    }
    // 20 minutes past 3
    for (mark, past) in [(" minutes past ", true), (" past ", true), (" minutes to ", false)] {
        if !t.contains(' ') {
            break;
        }
        let Some((minute, rest)) = t.split_once(mark) else { continue };
        let Some(minute) = minute.parse::<u32>().ok().filter(|m| (1..60).contains(m)) else { continue };
        let (hour, tail) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
        let hour = hour.parse::<u32>().ok().filter(|h| *h <= 24)?;
        let (hour, minute) = if past { (hour, minute) } else { ((hour + 10) % 12 + 1, 60 - minute) };
        return time(&format!("{hour}:{minute:02}{tail}"));
    }
    // half past four in the afternoon
    for (lead, minute) in [("half past ", 30), ("quarter past ", 15), ("quarter to ", -15)] {
        let Some(rest) = t.strip_prefix("a ").unwrap_or(t).strip_prefix(lead) else { continue };
        let (hour, tail) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
        let hour: u32 = match hour.parse() {
            Ok(h) => h,
            Err(_) => words::number(&[hour]).and_then(|(n, _)| n.to_integer().try_into().ok())?,
        };
        // A quarter to one is 12:45.
        let hour = if minute > 0 { hour } else { (hour.min(24) + 10) % 12 + 1 };
        return time(&format!("{hour}:{:02}{tail}", (minute + 60) % 60));
    }
    let (body, half) = [
        ("am", false),
        ("a.m.", false),
        ("a.m", false),
        ("in the morning", false),
        ("pm", true),
        ("p.m.", true),
        ("p.m", true),
        ("in the afternoon", true),
        ("in the evening", true),
        ("noon", true),
    ]
    .iter()
    .find_map(|(m, pm)| t.strip_suffix(m).map(|b| (b.trim_end(), Some(*pm))))
    .unwrap_or((t, None));
    let body = body.strip_suffix("o'clock").unwrap_or(body).trim_end();
    let parts: Vec<&str> = body.split(':').collect();
    let digits = |s: &str, n: std::ops::RangeInclusive<usize>| {
        n.contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit())
    };
    if !digits(parts[0], 1..=2)
        || parts.len() > 3
        || parts[1..].iter().any(|p| !digits(p, 2..=2))
        || (parts.len() == 1 && half.is_none())
    {
        return None;
    }
    let n: Vec<u32> = parts.iter().filter_map(|p| p.parse().ok()).collect();
    let (h, m, s) = (n[0], n.get(1).copied().unwrap_or(0), n.get(2).copied().unwrap_or(0));
    if m >= 60 || s >= 60 || h > 24 {
        return None;
    }
    let hour = match half {
        Some(pm) if (1..=12).contains(&h) => h % 12 + if pm { 12 } else { 0 },
        Some(_) => return None,
        None => h,
    };
    let bare_hour = (parts.len() == 1).then_some(h);
    Some(Time { seconds: hour * 3600 + m * 60 + s, marked: half.is_some(), bare_hour })
}

/// `1A3_{16}`, `0x1A3`, `0b101`: numerals with letters.
fn hex_numeral(plain: &str) -> Option<Node> {
    let t = plain.trim();
    for (prefix, base) in [("0x", 16), ("0b", 2), ("0o", 8)] {
        if let Some(d) = t.strip_prefix(prefix)
            && !d.is_empty()
            && d.len() < 64
            && d.chars().all(|c| c.is_digit(base))
        {
            return Some(Node::Base(d.to_ascii_uppercase(), base));
        }
    }
    let (digits, base) = t.split_once('_')?;
    let base: u32 = base.parse().ok().filter(|b| (11..=36).contains(b))?;
    let digits = digits.trim().trim_matches(['(', ')']);
    let valid = !digits.is_empty()
        && digits.len() < 64
        && digits.chars().all(|c| c.is_ascii_alphanumeric() && c.is_digit(base))
        && digits.chars().any(|c| c.is_ascii_alphabetic());
    // 2a_{11} is twice a term of a sequence; a last digit has no index, so 2a3_{12} is a numeral. Base 16 says enough.
    let small = digits.chars().any(|c| c.is_ascii_lowercase());
    let valid = valid && (!small || base == 16 || digits.ends_with(|c: char| c.is_ascii_digit()));
    valid.then(|| Node::Base(digits.to_ascii_uppercase(), base))
}

fn is_literal_zero(node: &Node) -> bool {
    matches!(node, Node::Num(n) if n.value.is_zero())
}

/// All readings of the plus-minus signs. Independent, unless a minus-plus ties them together.
fn expand_signs(node: &Node) -> Option<Vec<Node>> {
    let (mut count, mut zeros, mut tied) = (0usize, 0usize, false);
    node.any(&mut |n| {
        match n {
            Node::PlusMinus(x, _) if is_literal_zero(x) => zeros += 1,
            Node::PlusMinus(_, minus) => {
                count += 1;
                tied |= *minus;
            }
            _ => {}
        }
        false
    });
    if count + zeros == 0 {
        return None;
    }
    let readings: usize = if tied && count > 0 { 2 } else { 1 << count.min(8) };
    if readings > limits::SIGNS {
        return None;
    }
    fn replace(node: &Node, signs: usize, next: &mut usize, tied: bool) -> Node {
        if let Node::PlusMinus(x, minus) = node {
            // 7 ± 0 is 7, once.
            if is_literal_zero(x) {
                return (**x).clone();
            }
            let bit = if tied { signs & 1 } else { (signs >> *next) & 1 };
            *next += 1;
            let x = replace(x, signs, next, tied);
            return if (bit == 1) != *minus { Node::Neg(Box::new(x)) } else { x };
        }
        node.map_children(&mut |c| replace(c, signs, next, tied))
    }
    Some((0..readings).map(|signs| replace(node, signs, &mut 0, tied)).collect())
}

fn scalar(node: &Node, policy: &Policy) -> Value {
    let node = match node {
        Node::Percent(x) if policy.percent == Percent::Ignore => (**x).clone(),
        n => n.clone(),
    };
    let node = series::inner_dots(&node).unwrap_or(node);
    let node = series::geometric_series(&node).unwrap_or(node);
    Value::Scalar(Box::new(Scalar::new(node)))
}

fn infinity(node: &Node) -> Option<i8> {
    match node {
        Node::Const(Constant::Infinity) => Some(1),
        Node::Neg(x) => infinity(x).map(|s| -s),
        Node::PlusMinus(x, _) => infinity(x).map(|_| 0),
        _ => None,
    }
}

fn err<T>(expected: &'static str) -> Result<T, SyntaxError> {
    Err(SyntaxError::Expected { expected, at: 0 })
}

/// Gives a syntax tree its meaning.
pub fn convert(node: &Node, policy: &Policy, depth: u32) -> Result<Value, SyntaxError> {
    if depth > limits::DEPTH {
        return Err(SyntaxError::Limit { what: "nesting", limit: limits::DEPTH as usize });
    }
    if let Some(sign) = infinity(node) {
        return Ok(Value::Infinity(sign));
    }
    let each = |v: &[Node]| v.iter().map(|n| convert(n, policy, depth + 1)).collect::<Result<Vec<_>, _>>();
    match node {
        Node::Const(Constant::Empty) => Ok(Value::Region(Region::empty())),
        Node::Const(Constant::Reals) => Ok(Value::Region(Region::all())),
        Node::Const(
            c @ (Constant::Integers | Constant::Naturals | Constant::Rationals | Constant::Complexes),
        ) => Ok(Value::Numbers(*c)),
        Node::List(items) | Node::Or(items) => list(items, matches!(node, Node::Or(_)), policy, depth),
        Node::Noted(x, _) => convert(x, policy, depth + 1),
        Node::Quantity(x, unit, soft) if !is_plain_scalar(x) => match &**x {
            // units on a whole collection: (3, 4) cm
            Node::Group { open, close, items } => {
                let items =
                    items.iter().map(|i| Node::Quantity(Box::new(i.clone()), unit.clone(), *soft)).collect();
                convert(&Node::Group { open: *open, close: *close, items }, policy, depth + 1)
            }
            Node::PlusMinus(..) => {
                let parts = expand_signs(node).unwrap_or_default();
                Ok(Value::List(each(&parts)?))
            }
            _ => Ok(scalar(node, policy)),
        },
        Node::Group { open: Delim::Brace, items, .. } => {
            if items.iter().any(|n| matches!(n, Node::Dots)) {
                return sequence(items, policy, depth);
            }
            let mut out = Vec::new();
            for item in items {
                match expand_signs(item) {
                    Some(parts) => out.extend(each(&parts)?),
                    None => out.push(convert(item, policy, depth + 1)?),
                }
            }
            Ok(Value::Set(out))
        }
        Node::Group { open, close, items } => {
            if items.is_empty() {
                return if *open == Delim::Bracket {
                    Ok(Value::Region(Region::empty()))
                } else {
                    err("items in the brackets")
                };
            }
            if items.iter().any(|n| matches!(n, Node::Dots)) {
                return sequence(items, policy, depth);
            }
            if let Some(parts) = expand_signs(node) {
                return Ok(Value::List(each(&parts)?));
            }
            let values = each(items)?;
            if values.len() == 2 && (open != close || values.iter().any(|v| matches!(v, Value::Infinity(_))))
            {
                return match interval(*open, *close, &values) {
                    Some(region) => Ok(Value::Region(region)),
                    None => err("an interval"),
                };
            }
            if open != close {
                return err("the matching bracket");
            }
            // [[1, 2], [3, 4]]
            if *open == Delim::Bracket
                && values.len() > 1
                && values.iter().all(|v| matches!(v, Value::Tuple { open: Delim::Bracket, .. }))
            {
                let rows: Vec<Vec<Value>> = values
                    .into_iter()
                    .map(|v| if let Value::Tuple { items, .. } = v { items } else { Vec::new() })
                    .collect();
                return Ok(Value::Matrix(rows));
            }
            Ok(Value::Tuple { open: *open, close: *close, items: values })
        }
        Node::Matrix(rows) => Ok(Value::Matrix(rows.iter().map(|r| each(r)).collect::<Result<_, _>>()?)),
        Node::Cases(rows) => {
            let rows = rows
                .iter()
                .map(|r| Ok((convert(&r[0], policy, depth + 1)?, condition(&r[1], policy, depth + 1)?)));
            Ok(Value::Cases(rows.collect::<Result<_, SyntaxError>>()?))
        }
        Node::Ratio(v) => {
            if v.iter().all(is_plain_scalar) {
                Ok(Value::Ratio(v.iter().cloned().map(Scalar::new).collect()))
            } else {
                err("numbers in the ratio")
            }
        }
        Node::Set(op, v) => {
            let mut parts = each(v)?.into_iter();
            let Some(first) = parts.next() else { return err("sets") };
            if let Some(text) = named_sets(*op, v) {
                return Ok(Value::Text(text));
            }
            let Some(mut acc) = to_region(&first) else { return finite_sets(*op, first, parts.collect()) };
            for p in parts {
                let Some(r) = to_region(&p) else { return err("a set of numbers") };
                let Some(combined) = acc.combine(*op, &r) else { return err("comparable bounds") };
                acc = combined;
            }
            Ok(Value::Region(acc))
        }
        Node::Builder(p) => builder(p, policy, depth),
        Node::Rel(terms, ops) => relation(terms, ops, policy, depth),
        Node::Dots => err("a value"),
        Node::Add(v) | Node::Mul(v) if v.iter().any(is_dots) => {
            let kind = if matches!(node, Node::Add(_)) { Big::Sum } else { Big::Product };
            match dotted(v, kind) {
                Some(node) => Ok(scalar(&node, policy)),
                // Without a rule only the same items are equal, joined by the same sign.
                None => match sequence(v, policy, depth)? {
                    Value::Sequence(mut items) => {
                        let sign = if kind == Big::Sum { "sum" } else { "product" };
                        items.insert(0, Some(Value::Text(sign.into())));
                        Ok(Value::Sequence(items))
                    }
                    other => Ok(other),
                },
            }
        }
        // R - {2}
        Node::Add(v) if matches!(v[0], Node::Const(Constant::Reals)) => {
            let mut parts = vec![v[0].clone()];
            for n in &v[1..] {
                let Node::Neg(x) = n else { return err("a difference of sets") };
                parts.push((**x).clone());
            }
            convert(&Node::Set(SetOp::Difference, parts), policy, depth + 1)
        }
        Node::Mul(v) if v.iter().any(|n| matches!(n, Node::Matrix(_))) => match scaled_matrix(v) {
            Some(matrix) => convert(&matrix, policy, depth + 1),
            None => err("a number times a matrix"),
        },
        Node::Div(p) if matches!(p.0, Node::Matrix(_)) => {
            let inverse = Node::Div(Box::new((Node::int(1), p.1.clone())));
            match scaled_matrix(&[inverse, p.0.clone()]) {
                Some(matrix) => convert(&matrix, policy, depth + 1),
                None => err("a matrix over a number"),
            }
        }
        Node::Neg(x) if matches!(&**x, Node::Mul(v) if v.iter().any(|n| matches!(n, Node::Matrix(_)))) => {
            let Node::Mul(v) = &**x else { return err("a product") };
            let mut parts = vec![Node::int(-1)];
            parts.extend(v.iter().cloned());
            convert(&Node::Mul(parts), policy, depth + 1)
        }
        Node::Neg(x) if matches!(**x, Node::Matrix(_)) => {
            match scaled_matrix(&[Node::int(-1), (**x).clone()]) {
                Some(matrix) => convert(&matrix, policy, depth + 1),
                None => err("a matrix"),
            }
        }
        // 1/3 (1, 2, 2): a number times a vector.
        Node::Mul(v)
            if matches!(v.last(), Some(Node::Group { open: Delim::Paren, close: Delim::Paren, items })
                if items.len() >= 2 && items.iter().all(is_plain_scalar) && !items.iter().any(is_dots))
                && v[..v.len() - 1]
                    .iter()
                    .all(|n| is_plain_scalar(n) && constant_part(n) && infinity(n).is_none())
                && !node.any(&mut |n| matches!(n, Node::Var(_) | Node::PlusMinus(..))) =>
        {
            let Some((Node::Group { items, .. }, scale)) = v.split_last() else { return err("a vector") };
            let items = items
                .iter()
                .map(|x| {
                    let mut parts = scale.to_vec();
                    parts.push(x.clone());
                    Node::Mul(parts)
                })
                .collect();
            convert(&Node::Group { open: Delim::Paren, close: Delim::Paren, items }, policy, depth + 1)
        }
        // P(3, 4): a named point.
        Node::Mul(v)
            if matches!(&v[..], [Node::Var(name), Node::Group { open: Delim::Paren, close: Delim::Paren, items }]
                if items.len() >= 2 && name.starts_with(|c: char| c.is_ascii_uppercase())
                    && name.trim_end_matches('\'').split('_').next().is_some_and(|n| n.len() == 1)) =>
        {
            convert(&v[1], policy, depth + 1)
        }
        _ => {
            if let Some(parts) = expand_signs(node) {
                return Ok(Value::List(each(&parts)?));
            }
            let value = scalar(node, policy);
            // 1/0 and its like mean nothing.
            Ok(value)
        }
    }
}

/// The product of numbers with exactly one matrix.
fn scaled_matrix(factors: &[Node]) -> Option<Node> {
    let at = factors.iter().position(|n| matches!(n, Node::Matrix(_)))?;
    let Node::Matrix(rows) = &factors[at] else { return None };
    let mut scale = factors.to_vec();
    scale.remove(at);
    if !scale.iter().all(is_plain_scalar) {
        return None;
    }
    let entry = |x: &Node| {
        let mut parts = scale.clone();
        parts.push(x.clone());
        Node::Mul(parts)
    };
    Some(Node::Matrix(rows.iter().map(|r| r.iter().map(entry).collect()).collect()))
}

/// Whether a node is the dots of a list or sum.
pub fn is_dots(node: &Node) -> bool {
    matches!(node, Node::Dots) || matches!(node, Node::Neg(x) if matches!(**x, Node::Dots))
}

fn is_plain_scalar(node: &Node) -> bool {
    !matches!(
        node,
        Node::Group { .. }
            | Node::List(_)
            | Node::Or(_)
            | Node::Rel(..)
            | Node::Set(..)
            | Node::Matrix(_)
            | Node::Cases(_)
            | Node::Dots
            | Node::Builder(_)
            | Node::PlusMinus(..)
    )
}

/// Unions and intersections of named sets, in one order.
fn named_sets(op: SetOp, v: &[Node]) -> Option<String> {
    let mut names = v
        .iter()
        .map(|n| match n {
            Node::Var(name) => Some(name.clone()),
            Node::Set(op, v) => named_sets(*op, v).map(|s| format!("({s})")),
            _ => None,
        })
        .collect::<Option<Vec<String>>>()?;
    let sign = match op {
        SetOp::Union => " ∪ ",
        SetOp::Intersection => " ∩ ",
        SetOp::Difference => return Some(names.join(" ∖ ")),
    };
    names.sort();
    names.dedup();
    Some(names.join(sign))
}

fn finite_sets(op: SetOp, first: Value, rest: Vec<Value>) -> Result<Value, SyntaxError> {
    // Unions of finite sets of anything.
    let (Value::Set(mut items), SetOp::Union) = (first, op) else { return err("a set of numbers") };
    for v in rest {
        let Value::Set(more) = v else { return err("a set") };
        items.extend(more);
    }
    Ok(Value::Set(items))
}

/// An interval from two bracketed values.
pub fn interval(open: Delim, close: Delim, items: &[Value]) -> Option<Region> {
    let [a, b] = items else { return None };
    let closed = |d| match d {
        Delim::Bracket => Some(true),
        Delim::Paren => Some(false),
        _ => None,
    };
    let (low_closed, high_closed) = (closed(open)?, closed(close)?);
    let low = match a {
        Value::Infinity(s) if *s < 0 => None,
        Value::Scalar(s) => Some(((**s).clone(), low_closed)),
        _ => return None,
    };
    let high = match b {
        Value::Infinity(s) if *s > 0 => None,
        Value::Scalar(s) => Some(((**s).clone(), high_closed)),
        _ => return None,
    };
    // Ends in the wrong order, or one point that does not belong: a pair, no interval.
    if let (Some((x, low_closed)), Some((y, high_closed))) = (&low, &high) {
        match x.order(y) {
            Some(std::cmp::Ordering::Greater) => return None,
            Some(std::cmp::Ordering::Equal) if !(*low_closed && *high_closed) => return None,
            _ => {}
        }
    }
    Some(Region::interval(Interval { low, high }))
}

/// A value as a set of real numbers, if it is one.
pub fn to_region(value: &Value) -> Option<Region> {
    match value {
        Value::Region(r) => Some(r.clone()),
        Value::Tuple { open, close, items } => interval(*open, *close, items),
        Value::Set(items) => {
            let mut acc = Region::empty();
            for item in items.iter().take(64) {
                let Value::Scalar(s) = item else { return None };
                acc = acc.combine(SetOp::Union, &Region::point((**s).clone()))?;
            }
            (items.len() <= 64).then_some(acc)
        }
        Value::List(items)
            if items.len() > 1
                && items.iter().all(|i| matches!(i, Value::Tuple { .. } | Value::Region(_))) =>
        {
            let mut acc = Region::empty();
            for item in items.iter().take(16) {
                acc = acc.combine(SetOp::Union, &to_region(item)?)?;
            }
            Some(acc)
        }
        Value::Builder(..) => None,
        _ => None,
    }
}

fn sequence(items: &[Node], policy: &Policy, depth: u32) -> Result<Value, SyntaxError> {
    let items =
        items.iter().map(|n| if is_dots(n) { Ok(None) } else { convert(n, policy, depth + 1).map(Some) });
    Ok(Value::Sequence(items.collect::<Result<_, _>>()?))
}

/// The condition of a case: a set of numbers, or words such as "n even".
fn condition(node: &Node, policy: &Policy, depth: u32) -> Result<Value, SyntaxError> {
    let word = |n: &Node| match n {
        Node::Var(w) if w.len() > 1 && w != "otherwise" => Some(w.clone()),
        _ => None,
    };
    match node {
        Node::Noted(x, w) => match &**x {
            Node::Var(name) => Ok(Value::Text(format!("{name} {w}"))),
            other => convert(other, policy, depth),
        },
        Node::Rel(terms, ops) if ops[..] == [Relation::Eq] => match (&terms[0], word(&terms[1])) {
            (Node::Var(name), Some(w)) => Ok(Value::Text(format!("{name} {w}"))),
            _ => convert(node, policy, depth),
        },
        _ => convert(node, policy, depth),
    }
}

fn is_integer_condition(node: &Node) -> bool {
    matches!(node, Node::Rel(terms, ops)
        if ops.first() == Some(&Relation::In)
            && matches!(terms.last(), Some(Node::Const(Constant::Integers | Constant::Naturals | Constant::Reals))))
}

fn list(items: &[Node], or: bool, policy: &Policy, depth: u32) -> Result<Value, SyntaxError> {
    if items.iter().any(is_dots) {
        return sequence(items, policy, depth);
    }
    // Conditions are no items; in "a x + b, a, b ∈ R" the name before a condition belongs to it.
    let mut kept: Vec<&Node> = Vec::new();
    let mut condition = false;
    for (k, node) in items.iter().enumerate().rev() {
        condition = is_integer_condition(node) || condition && k > 0 && matches!(node, Node::Var(_));
        if !condition {
            kept.push(node);
        }
    }
    kept.reverse();
    let kept: Vec<&Node> = if kept.is_empty() { items.iter().collect() } else { kept };
    // x ≠ 1, -1
    if let [Node::Rel(terms, ops), rest @ ..] = &kept[..]
        && let ([term @ Node::Var(_), _], [Relation::Ne]) = (&terms[..], &ops[..])
        && !rest.is_empty()
        && rest.len() < 32
    {
        let points: Vec<Node> =
            rest.iter().flat_map(|n| expand_signs(n).unwrap_or_else(|| vec![(*n).clone()])).collect();
        if points.iter().all(|n| is_plain_scalar(n) && constant_part(n) && infinity(n).is_none()) {
            let mut all = vec![kept[0].clone()];
            all.extend(points.into_iter().map(|n| Node::Rel(vec![term.clone(), n], vec![Relation::Ne])));
            return list(&all, false, policy, depth + 1);
        }
    }
    let mut values = Vec::new();
    for node in &kept {
        match expand_signs(node) {
            Some(parts) => {
                for p in &parts {
                    values.push(convert(p, policy, depth + 1)?);
                }
            }
            None => values.push(convert(node, policy, depth + 1)?),
        }
    }
    if values.len() == 1 {
        return Ok(values.remove(0));
    }
    // "3/8 or 37.5%" is one value twice.
    if or && values.len() <= 4 {
        let exact = Rounding { significant: u32::MAX, relative: 0.0 };
        let same = |a: &Value, b: &Value| match (a, b) {
            (Value::Scalar(x), Value::Scalar(y)) => x.unit == y.unit && x.compare(y, exact).equal,
            _ => false,
        };
        if values[1..].iter().all(|v| same(&values[0], v)) {
            return Ok(values.remove(0));
        }
    }
    // Inequalities joined by commas, "and", "or".
    let inequality =
        |n: &Node| matches!(n, Node::Rel(_, ops) if ops.iter().any(|o| o.is_order() || *o == Relation::Ne));
    if kept.iter().any(|n| inequality(n))
        && values.iter().all(|v| matches!(v, Value::Region(_) | Value::Assign { .. }))
    {
        let regions: Option<Vec<Region>> = values
            .iter()
            .map(|v| match v {
                Value::Assign { value, .. } => match &**value {
                    Value::Scalar(s) => Some(Region::point((**s).clone())),
                    other => to_region(other),
                },
                other => to_region(other),
            })
            .collect();
        // Bounds on different variables are no set of numbers.
        let names: Vec<String> = kept.iter().flat_map(|n| relation_names(n)).collect();
        let one_name = names.iter().all(|n| *n == names[0]);
        if let Some(regions) = regions.filter(|_| one_name) {
            let fold = |op| {
                let mut all = regions.iter().cloned();
                let first = all.next()?;
                all.try_fold(first, |acc: Region, r| acc.combine(op, &r))
            };
            let both = if or { None } else { fold(SetOp::Intersection).filter(|r| !r.is_empty()) };
            if let Some(region) = both.or_else(|| fold(SetOp::Union)) {
                return Ok(Value::Region(region));
            }
        }
    }
    // Assignments: a system, or the values of one name.
    let names: Vec<Option<&String>> =
        values.iter().map(|v| if let Value::Assign { name, .. } = v { Some(name) } else { None }).collect();
    if values.len() > 1 && names.iter().all(Option::is_some) {
        let mut distinct: Vec<&String> = names.iter().flatten().copied().collect();
        distinct.sort();
        distinct.dedup();
        if distinct.len() == values.len() {
            return Ok(Value::System(
                values
                    .into_iter()
                    .filter_map(|v| {
                        if let Value::Assign { name, value, .. } = v { Some((name, *value)) } else { None }
                    })
                    .collect(),
            ));
        }
    }
    // x = 1, 2: the name stands for all. x = 1, x = 2 as well.
    let any_name = names.iter().any(Option::is_some);
    if any_name && names.first().is_some_and(Option::is_some) {
        let first = names[0];
        if names.iter().all(|n| n.is_none() || *n == first) {
            let values = values
                .into_iter()
                .flat_map(|v| match v {
                    Value::Assign { value, .. } => match *value {
                        Value::List(items) => items,
                        one => vec![one],
                    },
                    other => vec![other],
                })
                .collect();
            return Ok(Value::List(values));
        }
    }
    Ok(Value::List(values))
}

fn relation_names(node: &Node) -> Vec<String> {
    match node {
        Node::Rel(terms, _) => {
            let mut names: Vec<String> = terms
                .iter()
                .filter_map(|t| if let Node::Var(v) = t { Some(v.clone()) } else { None })
                .collect();
            names.truncate(1);
            names
        }
        _ => Vec::new(),
    }
}

/// The name on the left of an equation, if the left side only names what is equal: `x`, `f(x)`, `AB`, `\angle ABC`.
fn label(node: &Node) -> Option<String> {
    match node {
        Node::Var(v) => Some(v.clone()),
        Node::Mul(parts) => {
            // f^{-1}(x)
            if let [Node::Pow(p), Node::Var(_)] = &parts[..]
                && matches!(&**p, (Node::Var(f), Node::Neg(_)) if matches!(f.as_str(), "f" | "g" | "h"))
            {
                return Some("inverse()".into());
            }
            // \int_0^1 x\,dx and \lim_{x \to 0} f(x): what stands behind the sign of equality is the value.
            let sign = match &parts[0] {
                Node::Pow(p) => &p.0,
                first => first,
            };
            if let Node::Var(name) = sign
                && let "lim" | "int" | "iint" | "iiint" | "oint" = name.split('_').next().unwrap_or(name)
            {
                return Some(format!("{}()", name.split('_').next().unwrap_or(name)));
            }
            let [Node::Var(head), rest @ ..] = &parts[..] else { return None };
            if matches!(head.as_str(), "angle" | "triangle" | "measuredangle" | "Delta" | "overarc") {
                return Some(head.clone());
            }
            // \nabla f, \det A, \dim V
            if matches!(head.as_str(), "nabla" | "det" | "dim" | "deg" | "rank")
                && matches!(rest, [Node::Var(_)])
            {
                return Some(head.clone());
            }
            let capital = |n: &Node| matches!(n, Node::Var(v) if v.len() <= 3 && v.starts_with(|c: char| c.is_ascii_uppercase()));
            // f(x), f(x, y)
            let argument = |n: &Node| {
                matches!(n, Node::Var(_) | Node::Num(_))
                    || matches!(n, Node::Group { open: Delim::Paren, items, .. } if items.iter().all(|i| matches!(i, Node::Var(_) | Node::Num(_))))
            };
            let function = head.trim_end_matches('\'');
            let function = function.split('_').next().unwrap_or(function);
            if let [x] = rest
                && argument(x)
                && matches!(
                    function,
                    "f" | "g"
                        | "h"
                        | "p"
                        | "q"
                        | "F"
                        | "G"
                        | "H"
                        | "P"
                        | "Q"
                        | "R"
                        | "S"
                        | "T"
                        | "V"
                        | "A"
                        | "N"
                        | "u"
                        | "v"
                        | "y"
                        | "r"
                        | "s"
                        | "phi"
                        | "psi"
                        | "a"
                        | "b"
                        | "M"
                        | "L"
                        | "C"
                        | "D"
                )
                && !(matches!(x, Node::Num(_))
                    && function.starts_with(|c: char| !matches!(c, 'f' | 'g' | 'h' | 'F' | 'G' | 'P' | 'p')))
            {
                return Some(format!("{head}()"));
            }
            (capital(&parts[0]) && rest.len() <= 3 && rest.iter().all(capital)).then(|| {
                parts
                    .iter()
                    .filter_map(|n| if let Node::Var(v) = n { Some(v.as_str()) } else { None })
                    .collect()
            })
        }
        Node::Div(p) => derivative(node).or_else(|| {
            // AB/CD: a ratio of segments
            let segment = |n: &Node| {
                matches!(n, Node::Mul(v) if v.len() == 2
                    && v.iter().all(|n| matches!(n, Node::Var(x) if x.starts_with(|c: char| c.is_ascii_uppercase()))))
            };
            (segment(&p.0) && segment(&p.1)).then(|| Some(format!("{}/{}", label(&p.0)?, label(&p.1)?)))?
        }),
        // \cos\theta, \tan A
        Node::Call(f @ (Func::Sin | Func::Cos | Func::Tan), v) => match &v[..] {
            [Node::Var(x)] => Some(format!("{f:?} {x}")),
            [angle] => label(angle).filter(|l| l == "angle").map(|l| format!("{f:?} {l}")),
            _ => None,
        },
        Node::Call(Func::Abs, v) => match &v[0] {
            Node::Mul(_) => label(&v[0]),
            _ => None,
        },
        // f^{-1}(x), and a name of more words
        Node::Noted(x, _) => label(x),
        _ => None,
    }
}

/// `m + n`, `100a + 10b + c`, `abc`, `m/n`: the unknowns of a question put together. Coordinates make an equation instead.
fn combination(node: &Node) -> Option<String> {
    fn sorted(parts: Option<Vec<String>>) -> Option<Vec<String>> {
        let mut parts = parts?;
        parts.sort_unstable();
        Some(parts)
    }
    let unknown = |n: &Node| match n {
        Node::Var(v) if v.len() == 1 && !matches!(v.as_str(), "x" | "y" | "z" | "t" | "i") => Some(v.clone()),
        _ => None,
    };
    let product = |n: &Node| match n {
        Node::Mul(v) => {
            let factor = |n: &Node| match n {
                Node::Num(n) => n.is_plain_integer().then(|| n.value.to_string()),
                n => unknown(n),
            };
            sorted(v.iter().map(factor).collect()).map(|v| v.join("·"))
        }
        n => unknown(n),
    };
    let term = |n: &Node| match n {
        Node::Neg(x) => product(x).map(|name| format!("-{name}")),
        n => product(n),
    };
    let name = match node {
        Node::Add(v) => sorted(v.iter().map(term).collect())?.join("+"),
        Node::Mul(_) => product(node)?,
        Node::Div(p) => format!("{}/{}", unknown(&p.0)?, unknown(&p.1)?),
        _ => return None,
    };
    (node.variables().len() > 1).then_some(name)
}

/// `dy/dx`, `∂z/∂x`, `d²y/dx²` as a name.
fn derivative(node: &Node) -> Option<String> {
    let Node::Div(p) = node else { return None };
    // d y or d^2 y: the sign, the order and the name
    let upper = |n: &Node| match n {
        Node::Mul(v) => match &v[..] {
            [Node::Var(d), Node::Var(y)] => Some((d.clone(), 1, y.clone())),
            [Node::Pow(p), Node::Var(y)] => match &**p {
                (Node::Var(d), Node::Num(n)) => Some((d.clone(), n.to_i64()?, y.clone())),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    };
    let lower = |n: &Node| match n {
        Node::Mul(v) => match &v[..] {
            [Node::Var(d), Node::Var(x)] => Some((d.clone(), 1, x.clone())),
            [Node::Var(d), Node::Pow(p)] => match &**p {
                (Node::Var(x), Node::Num(n)) => Some((d.clone(), n.to_i64()?, x.clone())),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    };
    let ((d, order, y), (e, times, x)) = (upper(&p.0)?, lower(&p.1)?);
    let fits = d == e && order == times && order > 0 && x != y && matches!(d.as_str(), "d" | "partial");
    // dy/dx and y' are one name.
    let primes = d == "d" && x == "x" && order <= 3;
    fits.then(|| match primes {
        true => format!("{y}{}()", "'".repeat(order as usize)),
        false => format!("{d}{order} {y}/{x}()"),
    })
}

/// The variable of a function's label: `x` in `f(x)`.
fn argument(label: &Node) -> Option<String> {
    let Node::Mul(parts) = label else { return None };
    match &parts[..] {
        [_, Node::Var(x)] => Some(x.clone()),
        _ => None,
    }
}

fn constant_part(node: &Node) -> bool {
    node.variables().is_empty()
}

fn relation(terms: &[Node], ops: &[Relation], policy: &Policy, depth: u32) -> Result<Value, SyntaxError> {
    // An approximation after an exact value says nothing new.
    if let Some(k) = ops.iter().position(|o| *o == Relation::Approx) {
        if k > 0 {
            return relation(&terms[..=k], &ops[..k], policy, depth);
        }
        if label(&terms[0]).is_none() && constant_part(&terms[0]) {
            return convert(&terms[0], policy, depth + 1);
        }
        let mut equal = ops.to_vec();
        equal[0] = Relation::Eq;
        return relation(terms, &equal, policy, depth);
    }
    if ops.is_empty() {
        return convert(&terms[0], policy, depth + 1);
    }
    if let ([name, set], [Relation::In]) = (terms, ops) {
        let _ = name;
        return convert(set, policy, depth + 1);
    }
    if let ([_, set], [Relation::NotIn]) = (terms, ops) {
        let set = convert(set, policy, depth + 1)?;
        return match to_region(&set).and_then(|r| Region::all().combine(SetOp::Difference, &r)) {
            Some(r) => Ok(Value::Region(r)),
            None => err("a set of numbers"),
        };
    }
    if let ([Node::Var(name), Node::Call(Func::Mod, v)], [Relation::Congruent | Relation::Eq]) = (terms, ops)
    {
        if let Some(parts) = expand_signs(&v[0]) {
            return Ok(Value::List(
                parts
                    .into_iter()
                    .map(|residue| Value::Congruence {
                        name: name.clone(),
                        residue: Box::new(Scalar::new(residue)),
                        modulus: Box::new(Scalar::new(v[1].clone())),
                    })
                    .collect(),
            ));
        }
        return Ok(Value::Congruence {
            name: name.clone(),
            residue: Box::new(Scalar::new(v[0].clone())),
            modulus: Box::new(Scalar::new(v[1].clone())),
        });
    }
    // f ≡ 0: equal everywhere.
    if ops.contains(&Relation::Congruent)
        && !terms.iter().any(|t| t.any(&mut |n| matches!(n, Node::Call(Func::Mod, _))))
    {
        let equal: Vec<Relation> =
            ops.iter().map(|o| if *o == Relation::Congruent { Relation::Eq } else { *o }).collect();
        return relation(terms, &equal, policy, depth);
    }
    if ops.iter().all(|o| *o == Relation::Eq) {
        let (first, last) = (&terms[0], &terms[terms.len() - 1]);
        let difference = || {
            let ok = is_plain_scalar(first) && is_plain_scalar(last);
            ok.then(|| Box::new(Scalar::new(first.clone()).minus(&Scalar::new(last.clone()))))
                .filter(|s| s.is_evaluable())
        };
        if let Some(name) = label(first) {
            let value = convert(last, policy, depth + 1)?;
            // x = y = 3 names twice; the value is the last.
            return Ok(Value::Assign {
                name,
                argument: argument(first),
                value: Box::new(value),
                difference: difference(),
            });
        }
        // 5 = x
        if let (Node::Var(name), true) = (last, constant_part(first)) {
            let value = convert(first, policy, depth + 1)?;
            return Ok(Value::Assign {
                name: name.clone(),
                argument: None,
                value: Box::new(value),
                difference: difference(),
            });
        }
        if terms.iter().all(constant_part) {
            // 3 + 2 = 5
            return convert(last, policy, depth + 1);
        }
        // m + n = 5: what was asked for, and its value
        if constant_part(last)
            && is_plain_scalar(last)
            && let Some(name) = combination(first)
        {
            return Ok(Value::Assign {
                name,
                argument: None,
                value: Box::new(convert(last, policy, depth + 1)?),
                difference: difference(),
            });
        }
        // (x, y) = (1, 2)
        if let (
            Node::Group { open: Delim::Paren, items, .. },
            Node::Group { open: Delim::Paren, items: values, .. },
        ) = (first, last)
            && items.len() == values.len()
            && !values.iter().any(|v| is_dots(v) || v.any(&mut |n| matches!(n, Node::PlusMinus(..))))
        {
            let names = items.iter().map(|i| if let Node::Var(n) = i { Some(n.clone()) } else { None });
            if let Some(names) = names.collect::<Option<Vec<String>>>() {
                let values =
                    values.iter().map(|v| convert(v, policy, depth + 1)).collect::<Result<Vec<_>, _>>()?;
                return Ok(Value::System(names.into_iter().zip(values).collect()));
            }
        }
        if let (Node::Group { items, .. }, Node::Group { .. }) = (first, last)
            && items.iter().all(|i| matches!(i, Node::Var(_)))
        {
            return convert(last, policy, depth + 1);
        }
        if let Node::Group { open: Delim::Paren, items, .. } = first
            && items.iter().all(|i| matches!(i, Node::Var(_)))
        {
            return convert(last, policy, depth + 1);
        }
        if let Some(parts) = expand_signs(&Node::Rel(terms.to_vec(), ops.to_vec())) {
            let values =
                parts.iter().map(|p| convert(p, policy, depth + 1)).collect::<Result<Vec<_>, _>>()?;
            return Ok(Value::List(values));
        }
        return match difference() {
            // A step of a calculation, true for every value: what stands last is the answer.
            Some(d) if d.is_zero() => convert(last, policy, depth + 1),
            Some(d) => Ok(Value::Equation(d)),
            None => err("an equation between expressions"),
        };
    }
    // Chains of order.
    if ops.iter().all(|o| o.is_order() || matches!(o, Relation::Ne | Relation::Eq)) {
        let open: Vec<usize> = (0..terms.len())
            .filter(|k| !constant_part(&terms[*k]) && infinity(&terms[*k]).is_none())
            .collect();
        if let [k] = open[..]
            && let Some(region) = solve_chain(terms, ops, k)
        {
            return Ok(Value::Region(region));
        }
        if let Some(region) = solve_absolute(terms, ops) {
            return Ok(Value::Region(region));
        }
        // 1 ≤ |x| ≤ 3
        if let ([low, term @ Node::Call(Func::Abs, _), high], [l, r]) = (terms, ops)
            && let Some(a) = solve_absolute(&[low.clone(), term.clone()], &[*l])
            && let Some(b) = solve_absolute(&[term.clone(), high.clone()], &[*r])
            && let Some(region) = a.combine(SetOp::Intersection, &b)
        {
            return Ok(Value::Region(region));
        }
        // x ≠ ±1
        if let ([term, bound], [Relation::Ne]) = (terms, ops)
            && let Some(parts) = expand_signs(bound)
        {
            let all: Vec<Node> =
                parts.into_iter().map(|p| Node::Rel(vec![term.clone(), p], vec![Relation::Ne])).collect();
            return list(&all, false, policy, depth);
        }
        if let ([a, b], [op]) = (terms, ops) {
            // One side is a name, the other has variables of its own: x > a.
            if let Node::Var(_) = a
                && is_plain_scalar(b)
                && op.is_order()
                && let Some(region) = Region::relation(*op, Scalar::new(b.clone()))
                && !b.variables().iter().any(|v| matches!(a, Node::Var(x) if x == v))
                && matches!(region, Region::Symbolic(_))
                && b.variables().len() == 1
                && matches!(a, Node::Var(x) if x.len() == 1 || x == "?")
                && a_is_unknown(a, b)
            {
                return Ok(Value::Region(region));
            }
            if !is_plain_scalar(a) || !is_plain_scalar(b) {
                return err("an inequality between expressions");
            }
            let (a, b) = (Scalar::new(a.clone()), Scalar::new(b.clone()));
            let (difference, strict) = match op {
                Relation::Gt => (a.minus(&b), true),
                Relation::Ge => (a.minus(&b), false),
                Relation::Lt => (b.minus(&a), true),
                Relation::Le => (b.minus(&a), false),
                _ => return err("an inequality"),
            };
            return Ok(Value::Inequality { difference: Box::new(difference), strict });
        }
        // a < x < b with letters.
        if let ([a, Node::Var(_), b], [l, r]) = (terms, ops)
            && l.is_order()
            && r.is_order()
            && is_plain_scalar(a)
            && is_plain_scalar(b)
        {
            let (low, high, lo, ro) = if matches!(l, Relation::Lt | Relation::Le) {
                (a, b, *l, *r)
            } else {
                (b, a, r.flip(), l.flip())
            };
            let low = Some((Scalar::new(low.clone()), lo == Relation::Le));
            let high = Some((Scalar::new(high.clone()), ro == Relation::Le));
            return Ok(Value::Region(Region::Symbolic(vec![Interval { low, high }])));
        }
    }
    err("a relation that can be compared")
}

/// Whether `x > a` reads as a bound on x rather than a relation of two variables.
fn a_is_unknown(a: &Node, b: &Node) -> bool {
    let Node::Var(x) = a else { return false };
    matches!(x.as_str(), "x" | "y" | "z" | "t" | "?")
        && !b.variables().iter().any(|v| matches!(v.as_str(), "x" | "y" | "z"))
}

/// Solves a chain of relations for the one term with variables, if that is linear in a single variable.
fn solve_chain(terms: &[Node], ops: &[Relation], k: usize) -> Option<Region> {
    let term = &terms[k];
    let names = term.variables();
    let [name] = &names[..] else { return None };
    let mut region = Region::all();
    // term = slope × x + offset
    let (slope, offset) = linear(term, name)?;
    for (j, other) in terms.iter().enumerate() {
        if j == k {
            continue;
        }
        // The relation between the term and this bound: all signs in between point one way.
        let (from, to) = if j < k { (j, k) } else { (k, j) };
        let between = &ops[from..to];
        let mut op = between[0];
        for o in &between[1..] {
            op = match (op, *o) {
                (a, Relation::Eq) => a,
                (Relation::Eq, b) => b,
                (Relation::Lt, Relation::Lt | Relation::Le) | (Relation::Le, Relation::Lt) => Relation::Lt,
                (Relation::Le, Relation::Le) => Relation::Le,
                (Relation::Gt, Relation::Gt | Relation::Ge) | (Relation::Ge, Relation::Gt) => Relation::Gt,
                (Relation::Ge, Relation::Ge) => Relation::Ge,
                _ => return None,
            };
        }
        if j < k {
            op = op.flip();
        }
        if let Some(sign) = infinity(other) {
            // x < ∞
            match (sign > 0, op) {
                (true, Relation::Lt | Relation::Le) | (false, Relation::Gt | Relation::Ge) => continue,
                _ => return None,
            }
        }
        let plain = matches!(term, Node::Var(_));
        let bound = if plain {
            Scalar::new(other.clone())
        } else {
            let moved = Node::Add(vec![
                other.clone(),
                Node::Neg(Box::new(Node::Num(Number::rational(offset.clone())))),
            ]);
            Scalar::new(Node::Div(Box::new((moved, Node::Num(Number::rational(slope.clone()))))))
        };
        if slope.is_negative() {
            op = op.flip();
        }
        region = region.combine(SetOp::Intersection, &Region::relation(op, bound)?)?;
    }
    Some(region)
}

/// Solves `|ax + b| < c` and its like.
fn solve_absolute(terms: &[Node], ops: &[Relation]) -> Option<Region> {
    let ([a, b], [op]) = (terms, ops) else { return None };
    let (inner, bound, op) = match (a, b) {
        (Node::Call(Func::Abs, v), c) if constant_part(c) => (&v[0], c, *op),
        (c, Node::Call(Func::Abs, v)) if constant_part(c) => (&v[0], c, op.flip()),
        _ => return None,
    };
    // A negative bound leaves nothing or everything; that is a trap, not an answer.
    if Scalar::new(bound.clone()).order(&Scalar::int(0)) != Some(std::cmp::Ordering::Greater) {
        return None;
    }
    let minus = Node::Neg(Box::new(bound.clone()));
    let chain = |op: Relation, to: &Node| {
        let terms = [inner.clone(), to.clone()];
        solve_chain(&terms, &[op], 0)
    };
    let (upper, lower) = (chain(op, bound)?, chain(op.flip(), &minus)?);
    let set = match op {
        Relation::Lt | Relation::Le => SetOp::Intersection,
        Relation::Gt | Relation::Ge => SetOp::Union,
        _ => return None,
    };
    upper.combine(set, &lower)
}

/// Slope and offset of a term that is linear in a variable with rational coefficients.
pub fn linear(term: &Node, name: &str) -> Option<(num_rational::BigRational, num_rational::BigRational)> {
    if let Node::Var(v) = term {
        return (v == name).then(|| (num_rational::BigRational::one(), num_rational::BigRational::zero()));
    }
    use crate::numeric::{exact::Exact, program::LogReading, program::Program};
    let program = Program::compile(term, LogReading::Natural).ok()?;
    let at = |x: i64| {
        program.run(&mut Exact::default(), &[num_rational::BigRational::from_integer(x.into())]).ok()
    };
    let (f0, f1, f2, f7) = (at(0)?, at(1)?, at(2)?, at(-7)?);
    let slope = &f1 - &f0;
    let seven = num_rational::BigRational::from_integer(7.into());
    let linear = f2 - &f1 == slope && f0.clone() - f7 == &slope * seven;
    // Absolute values and roots are linear on rays only; the sampled points see both sides.
    (linear && !slope.is_zero() && !term.any(&mut |n| matches!(n, Node::Call(..) | Node::Big(..))))
        .then_some((slope, f0))
}

fn builder(p: &(Node, Node), policy: &Policy, depth: u32) -> Result<Value, SyntaxError> {
    let (head, condition) = p;
    // {x | x > 2}, {x ∈ R | x ≠ 0}
    let conditions: Vec<&Node> = match condition {
        Node::List(v) => v.iter().filter(|n| !matches!(n, Node::Rel(t, o) if o.first() == Some(&Relation::In) && matches!(t.last(), Some(Node::Const(Constant::Reals))))).collect(),
        other => vec![other],
    };
    let simple_head = matches!(head, Node::Var(_))
        || matches!(head, Node::Rel(t, o) if o[..] == [Relation::In] && matches!(t[..], [Node::Var(_), Node::Const(Constant::Reals)]));
    if simple_head {
        let node = match conditions.len() {
            1 => conditions[0].clone(),
            _ => Node::List(conditions.into_iter().cloned().collect()),
        };
        let value = convert(&node, policy, depth + 1)?;
        return Ok(match value {
            Value::Assign { value, .. } => match *value {
                Value::Scalar(s) => Value::Set(vec![Value::Scalar(s)]),
                other => other,
            },
            other => other,
        });
    }
    if let Some(items) = enumerated(head, condition, policy, depth) {
        return Ok(Value::Set(items));
    }
    let value = convert(head, policy, depth + 1)?;
    let condition = convert(condition, policy, depth + 1).unwrap_or(Value::Undefined);
    Ok(Value::Builder(Box::new(value), Box::new(condition)))
}

/// `{x ∈ Z | 1 ≤ x ≤ 3}` and `{2k | k = 1, 2, 3}` as the list of their items, if there are few.
fn enumerated(head: &Node, condition: &Node, policy: &Policy, depth: u32) -> Option<Vec<Value>> {
    // The conditions that say in which set the name lies, and the others.
    let conditions: Vec<&Node> = match condition {
        Node::List(v) => v.iter().collect(),
        one => vec![one],
    };
    let integers = |n: &Node| match n {
        Node::Rel(t, o) if o[..] == [Relation::In] => match (&t[0], &t[1]) {
            (Node::Var(name), Node::Const(Constant::Integers)) => Some((name.clone(), false)),
            (Node::Var(name), Node::Const(Constant::Naturals)) => Some((name.clone(), true)),
            _ => None,
        },
        _ => None,
    };
    let (name, natural, item) = match integers(head) {
        Some((name, natural)) => (name.clone(), natural, Node::Var(name)),
        None => match conditions.iter().find_map(|c| integers(c)) {
            Some((name, natural)) => (name, natural, head.clone()),
            None => {
                // k = 1, 2, 3
                let names = head.variables();
                let [name] = &names[..] else { return None };
                let Value::List(values) = convert(condition, policy, depth + 1).ok()? else { return None };
                let bound = conditions.first().is_some_and(
                    |c| matches!(c, Node::Rel(t, o) if o[..] == [Relation::Eq] && t[0] == Node::Var(name.clone())),
                );
                return (bound && values.len() <= 1000).then_some(()).and_then(|()| {
                    values
                        .iter()
                        .map(|v| match v {
                            Value::Scalar(s) => Some(scalar(&head.substitute(name, &s.node), policy)),
                            _ => None,
                        })
                        .collect()
                });
            }
        },
    };
    let rest: Vec<Node> = conditions.into_iter().filter(|c| integers(c).is_none()).cloned().collect();
    let node = match rest.len() {
        0 => return None,
        1 => rest[0].clone(),
        _ => Node::List(rest),
    };
    if subject(&node).as_ref() != Some(&name) {
        return None;
    }
    let mut region = to_region(&convert(&node, policy, depth + 1).ok()?)?;
    if natural {
        region = region.combine(SetOp::Intersection, &Region::relation(Relation::Gt, Scalar::int(0))?)?;
    }
    let Region::Sorted { points, inside } = &region else { return None };
    if inside[0] || *inside.last()? {
        return None;
    }
    let at = |s: &Scalar| s.enclosure::<2>().and_then(|b| b.mid.floor());
    let (low, high) = (at(points.first()?)?, at(points.last()?)?.checked_add(1)?);
    if high.checked_sub(low)? > 1000 || item.size_within(32).is_none() {
        return None;
    }
    let mut items = Vec::new();
    for k in low..=high {
        if region.contains(&Scalar::int(k))? {
            items.push(scalar(&item.substitute(&name, &Node::int(k)), policy));
        }
    }
    Some(items)
}

/// Whether a text is a number in words.
pub fn is_number_words(text: &str) -> bool {
    let lower = text.to_lowercase();
    let list: Vec<&str> = lower.split([' ', '-']).filter(|w| !w.is_empty()).collect();
    words::number(&list).is_some_and(|(_, n)| n == list.len())
}
