//! A relation written out at the end of a text without signs of mathematics: "so f(x) = 4 - x/3", "x ≥ -3".

use std::ops::Range;

use super::text::word_positions;

/// The relation that ends the last sentence, if it says more than one number.
pub(super) fn closing_relation(text: &str) -> Option<Range<usize>> {
    let t = text.trim_end().trim_end_matches('.').trim_end();
    let from = t.rfind('\n').map_or(0, |n| n + 1);
    let from = t[from..].rfind(". ").map_or(from, |n| from + n + 2);
    let sentence = &t[from..];
    let bold = sentence.contains('*') && !sentence.contains(" * ");
    if sentence.len() > 240 || bold || sentence.contains(['$', '\\', '`', '|']) {
        return None;
    }
    let (at, sign) = sentence.char_indices().find(|(_, c)| matches!(c, '=' | '<' | '>' | '≤' | '≥' | '≠'))?;
    let start = name_before(&sentence[..at])?;
    let body = sentence[at + sign.len_utf8()..].trim_start_matches('=').trim();
    let mut names = 0;
    for (at, word) in word_positions(body) {
        let index = body[..at].ends_with('_');
        let known = word.len() == 1
            || matches!(word, "or" | "pi" | "sqrt" | "Z" | "in")
            || crate::lex::function(word).is_some();
        if !known && !index {
            return None;
        }
        names += usize::from(word.len() == 1 || word == "or");
    }
    // "x = 5" is found as the number; a chain of numbers ends in one.
    let chain = body.contains('=');
    let says_more =
        if sign == '=' { names > 0 } else { body.contains(|c: char| c.is_ascii_digit()) && !chain };
    says_more.then_some(from + start..t.len())
}

/// Where the name begins that ends a text: `x`, `a_n`, `f(x)`, at the start or behind a blank.
fn name_before(text: &str) -> Option<usize> {
    let t = text.trim_end();
    let head = match t.strip_suffix(')') {
        Some(inside) => {
            let open = inside.rfind('(')?;
            let argument =
                inside[open + 1..].bytes().all(|c| c.is_ascii_alphabetic() || matches!(c, b',' | b' '));
            if !argument || inside.len() - open > 8 {
                return None;
            }
            &t[..open]
        }
        None => t,
    };
    let start = head.char_indices().rfind(|(_, c)| c.is_whitespace()).map_or(0, |(n, c)| n + c.len_utf8());
    let name = &head[start..];
    let stem = name.split('_').next()?.trim_end_matches('\'');
    let index = &name[stem.len()..];
    let short = stem.len() == 1
        && stem.bytes().all(|c| c.is_ascii_alphabetic())
        && index.len() <= 3
        && index.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'\''));
    // "3 + x = 5" asserts something about a sum.
    let alone = !head[..start].trim_end().ends_with(['+', '-', '−', '*', '/', '×', '·', '^', '=', '(']);
    (short && alone).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<&str> {
        closing_relation(text).map(|r| &text[r])
    }

    #[test]
    fn a_formula_a_bound_and_two_values() {
        assert_eq!(found("b = 4.\nThe function is therefore f(x) = 4 - x/3."), Some("f(x) = 4 - x/3"));
        assert_eq!(found("Thus a_n = 1/(2n-1)."), Some("a_n = 1/(2n-1)"));
        // A blank of two bytes.
        assert_eq!(found("so\u{a0}x = y"), Some("x = y"));
        assert_eq!(found("2x ≥ −6\nx ≥ −3"), Some("x ≥ −3"));
        assert_eq!(found("Yes. Therefore x = 2 or x = 5."), Some("x = 2 or x = 5"));
    }

    #[test]
    fn numbers_sums_and_prose_are_left_alone() {
        for text in
            ["So x = 5.", "x = 10 - 3 = 7", "3 + x = y", "so n = 5 works for a", "total = 5 * x", "2x ≥ 6"]
        {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
