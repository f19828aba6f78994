//! From text to a value: which reading comes first.

use super::{
    Value,
    choices::{choice, choices},
    clean::plain,
    convert::{convert, is_plain_scalar},
    dates::{date, time},
    lists::is_integer_condition,
    text::{dimensions, reals_except, special, wordy},
};
use crate::{
    lex::{self, SyntaxError, Tok},
    parse,
    policy::Policy,
    region::Region,
    scalar::Scalar,
    syntax::{Constant, Node, Relation},
};

/// The name that a relation bounds, if it is one name.
pub(super) fn subject(node: &Node) -> Option<String> {
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
pub(super) fn constant_in_words(text: &str) -> Option<String> {
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

/// The name in a remark such as "where k is an integer" or "for any integer k".
pub(super) fn integer_in_words(text: &str) -> Option<String> {
    if !text.contains("integer") || text.len() > 400 {
        return None;
    }
    let plain = plain(text);
    let letter =
        |w: &str| (w.len() == 1 && w.bytes().all(|c| c.is_ascii_alphabetic())).then(|| w.to_string());
    let named =
        [" is an integer", " is any integer", " an integer", " any integer", " integer"].iter().find_map(
            |w| plain.find(w).and_then(|at| plain[..at].rsplit([' ', ',', '(']).next()).and_then(letter),
        );
    named.or_else(|| {
        let at = plain.find("integer")?;
        plain[at..].split(|c: char| !c.is_alphanumeric()).nth(1).and_then(letter)
    })
}

/// The name that an item of a list says lies in a set of numbers.
pub(super) fn parameter(node: &Node) -> Option<(String, Option<Constant>)> {
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

pub(super) fn read_value(text: &str, policy: &Policy) -> Result<(Value, Option<Node>), SyntaxError> {
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

/// `{kπ | k ∈ Z}` as the family `kπ, k ∈ Z`; so with several formulas, and with `x ∈` before it.
fn family(node: Node) -> Node {
    let set = match &node {
        Node::Rel(terms, ops) if ops[..] == [Relation::In] => &terms[1],
        set => set,
    };
    let Node::Builder(p) = set else { return node };
    let heads = if let Node::List(heads) = &p.0 { &heads[..] } else { std::slice::from_ref(&p.0) };
    let Node::Rel(t, _) = &p.1 else { return node };
    let Node::Var(k) = &t[0] else { return node };
    // {k | k ∈ Z} is the set of all integers.
    let formulas = (heads.len() > 1 || heads[0] != t[0])
        && heads.iter().all(|head| is_plain_scalar(head) && head.variables().contains(k));
    if !is_integer_condition(&p.1) || !formulas {
        return node;
    }
    let mut items = heads.to_vec();
    items.push(p.1.clone());
    Node::List(items)
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
