//! Notation that is rewritten before parsing: `11 (mod 6)`, `P(X = 2) = 3/8`, `<1, 2, 3>`, `x = kπ (k ∈ Z)`,
//! `3 × 10^8 m/s`.

use crate::{
    lex::{Delim, Tok, Token},
    syntax::Relation,
    units,
};

/// `11 (mod 6)` and `11 (\text{mod } 6)` as `11 \bmod 6`, if there is such a bracket or word.
pub(super) fn moduli(tokens: &[Token]) -> Option<Vec<Token>> {
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
pub(super) fn probability(tokens: &[Token]) -> Option<Vec<Token>> {
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
pub(super) fn angled(tokens: &[Token]) -> Option<Vec<Token>> {
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
pub(super) fn listed_condition(tokens: &[Token]) -> Option<Vec<Token>> {
    let [.., Token { tok: Tok::Close(Delim::Paren), .. }] = tokens else { return None };
    let open = tokens.iter().rposition(|t| t.tok == Tok::Open(Delim::Paren)).filter(|at| *at > 0)?;
    if !matches!((&tokens.get(open + 1)?.tok, &tokens.get(open + 2)?.tok), (Tok::Name(_), Tok::In)) {
        return None;
    }
    let mut listed = tokens[..tokens.len() - 1].to_vec();
    listed[open].tok = Tok::Comma;
    Some(listed)
}

/// `3 × 10^8 m/s`, `1.6e-19 C`: letters behind a blank that end a number in scientific notation are its unit.
pub(super) fn scientific_unit(source: &str, tokens: &[Token]) -> Option<Vec<Token>> {
    let letter = |t: &Token| {
        matches!(&t.tok, Tok::Name(n) if n == "C" || units::canonical(n).is_some())
            || matches!(&t.tok, Tok::Word(w) if w == "C")
    };
    let at = tokens.iter().position(|t| (t.space || t.text) && letter(t)).filter(|at| *at > 0)?;
    let (number, unit) = tokens.split_at(at);
    let before = &number[at - 1];
    let exponent = matches!(before.tok, Tok::Number(_))
        && source[before.start..before.end].bytes().any(|c| matches!(c, b'e' | b'E'));
    let caret = number.iter().rposition(|t| t.tok == Tok::Caret).unwrap_or(0);
    let power = caret > 0
        && matches!(&number[caret - 1].tok, Tok::Number(n) if n.to_i64() == Some(10))
        && number[caret + 1..].iter().all(|t| {
            matches!(t.tok, Tok::Number(_) | Tok::Minus | Tok::Open(Delim::Group) | Tok::Close(Delim::Group))
        });
    let sign = |t: &Token| {
        matches!(
            t.tok,
            Tok::Slash
                | Tok::Times
                | Tok::Caret
                | Tok::Minus
                | Tok::Number(_)
                | Tok::Open(Delim::Group)
                | Tok::Close(Delim::Group)
        )
    };
    if !(exponent || power) || !unit.iter().all(|t| letter(t) || sign(t)) {
        return None;
    }
    let mut out = tokens.to_vec();
    for token in &mut out[at..] {
        if let Tok::Name(name) | Tok::Word(name) = &token.tok {
            // A C behind such a number is a coulomb, no choice and no constant.
            token.tok = Tok::Word(if name == "C" { "coulomb".into() } else { name.clone() });
        }
    }
    Some(out)
}
