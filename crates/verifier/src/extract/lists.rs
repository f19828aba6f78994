//! Several candidates that "and", "or" or a comma joins to one answer.

use std::ops::Range;

use super::text::floor_boundary;

/// Whether the text between two answers only joins them; true inside for "or".
pub(super) fn connector(between: &str) -> Option<bool> {
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
    // "\boxed{7} goats and \boxed{4} helicopters"
    let t = match t.split_once(' ') {
        Some((noun, rest)) if is_plural(noun) && matches!(rest, "and" | "or") => rest,
        _ => t,
    };
    // "and the other solution is"
    if let Some(rest) = t.trim_start_matches(',').trim_start().strip_prefix("and the other ") {
        let names = ["solution", "root", "value", "one", "answer", "zero"];
        let rest = names.iter().find_map(|w| rest.strip_prefix(w))?.trim();
        return matches!(rest, "" | "is" | "=" | "equals").then_some(false);
    }
    // "Second solution: x ="
    let ordinal = ["second ", "third ", "the other ", "another "].iter().find_map(|w| t.strip_prefix(w));
    if let Some(rest) = ordinal {
        let rest =
            ["solution", "root", "value", "case", "answer"].iter().find_map(|w| rest.strip_prefix(w))?;
        return matches!(rest.trim_matches([':', ' ']), "" | "is").then_some(false);
    }
    match t {
        "," | "，" | "and" | ", and" | "、" | "和" | "&" | ";" => Some(false),
        "or" | ", or" | "或" => Some(true),
        _ => None,
    }
}

/// A counted noun; verbs that end alike count nothing.
fn is_plural(word: &str) -> bool {
    let verb = matches!(
        word,
        "is" | "was"
            | "has"
            | "does"
            | "gives"
            | "fails"
            | "yields"
            | "equals"
            | "means"
            | "becomes"
            | "this"
            | "thus"
            | "plus"
            | "minus"
    );
    word.len() >= 3 && word.ends_with('s') && word.bytes().all(|c| c.is_ascii_lowercase()) && !verb
}

/// The name of `... x =` at the end of a text.
pub(super) fn assigned_name(before: &str) -> Option<&str> {
    let t = before.trim_end_matches(['$', ' ', '{', '\\', '(']).strip_suffix('=')?.trim_end();
    let from = t.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map_or(0, |n| n + 1);
    let from = floor_boundary(t, from);
    let name = &t[from..];
    let letter = name.starts_with(|c: char| c.is_ascii_alphabetic());
    (letter && (name.len() == 1 || name.as_bytes()[1] == b'_' && name.len() <= 4)).then_some(name)
}

pub(super) fn connector_is_or(between: &str) -> bool {
    between.contains(" or ") || between.contains("或")
}

/// A second value that "or" adds right after an answer.
pub(super) fn or_value(after: &str) -> Option<String> {
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

/// Whether all spans say something of one name (`k = 4`, `k = 8`; `e(18) = 1`, `e(19) = 2`; `x \ge -1`, `x \ne 0`), or
/// all are points.
fn alike(parts: &[&str]) -> bool {
    let head = |p: &str| -> Option<String> {
        let at = p
            .find(['=', '<', '>', '≤', '≥', '≠'])
            .or_else(|| ["\\ge", "\\le", "\\ne", "\\in"].iter().filter_map(|w| p.find(w)).min())?;
        let name = p[..at].trim().trim_start_matches('\\');
        let stem = name.split(['(', '_']).next().unwrap_or(name).trim();
        let short = !stem.is_empty() && stem.len() <= 5 && stem.bytes().all(|c| c.is_ascii_alphabetic());
        // A name with an index or an argument, nothing calculated from it.
        (short && !name.contains(['+', '^', '/', ' '])).then(|| stem.to_string())
    };
    let first = parts.first().and_then(|p| head(p));
    let named = first.is_some() && parts.iter().all(|p| head(p) == first);
    let point = |p: &&str| p.starts_with('(') && p.ends_with(')') && p.contains(',') && !p[1..].contains('(');
    named || parts.iter().all(point)
}

/// The spans that stand before the last one in a list that a plural verb announces: "the values are $1$, $2$ and $3$".
pub(super) fn listed_spans(text: &str, last: &Range<usize>) -> Option<(String, usize)> {
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
    // One name with several values, or points alone, need no announcement.
    let alike = alike(&parts);
    // Nor does "$x = 5$ and $y = -1$".
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
    let announced = system || or || alike || text[..start].trim_end().trim_end_matches(':').ends_with(" are");
    if parts.len() < 2 || !announced || parts.iter().any(|p| p.is_empty()) {
        return None;
    }
    parts.reverse();
    Some((parts.join(if or { " or " } else { ", " }), start + open.len()))
}
