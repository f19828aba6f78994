//! Answers in words, and words that mean something mathematical.

use super::{
    Value,
    clean::{normal_words, plain, trim},
    read::read_value,
    sets::to_region,
};
use crate::{
    policy::Policy,
    region::Region,
    scalar::Scalar,
    syntax::{Constant, Relation, SetOp},
    words,
};

/// Text answers: words without broken mathematics.
pub(super) fn wordy(plain: &str, policy: &Policy) -> Option<Value> {
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

/// Answers in words with a mathematical meaning.
pub(super) fn special(plain: &str) -> Option<Value> {
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
pub(super) fn reals_except(text: &str, policy: &Policy) -> Option<Value> {
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

/// Whether a text is a number in words.
pub fn is_number_words(text: &str) -> bool {
    let lower = text.to_lowercase();
    let list: Vec<&str> = lower.split([' ', '-']).filter(|w| !w.is_empty()).collect();
    words::number(&list).is_some_and(|(_, n)| n == list.len())
}
