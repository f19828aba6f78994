//! Letters of choices: `C`, `(C) 12`, several letters.

use super::{Value, read::read_value};
use crate::policy::Policy;

/// `C`, `(C)`, `C.`, `(C) 12`, `Option C`.
pub(super) fn choice(plain: &str, policy: &Policy) -> Option<Value> {
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
pub(super) fn choices(plain: &str) -> Option<Value> {
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
