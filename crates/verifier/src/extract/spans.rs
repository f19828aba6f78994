//! Maths spans and bold text: the one that starts a text and the last one.

use std::ops::Range;

use super::text::floor_boundary;

pub(super) struct Span {
    pub(super) inner: Range<usize>,
    pub(super) outer: usize,
}

/// A maths span or bold text that starts a text.
pub(super) fn span_at(text: &str) -> Option<Span> {
    for (open, close) in [("$$", "$$"), ("\\[", "\\]"), ("\\(", "\\)"), ("**", "**"), ("$", "$")] {
        let Some(rest) = text.strip_prefix(open) else { continue };
        let Some(n) = (if open == "$" { dollar(rest) } else { rest.find(close) }) else { continue };
        // "$5 and $7": amounts, not a span.
        if open == "$" && is_currency(&rest[..n]) {
            return None;
        }
        if n == 0 || n > 2000 {
            continue;
        }
        let mut outer = open.len() + n + close.len();
        let mut inner = open.len()..open.len() + n;
        // **$5$**
        if open == "**"
            && let Some(s) = span_at(rest[..n].trim_start())
        {
            let lead = n - rest[..n].trim_start().len();
            inner = open.len() + lead + s.inner.start..open.len() + lead + s.inner.end;
        }
        while text[outer..].starts_with('*') {
            outer += 1;
        }
        return Some(Span { inner, outer });
    }
    None
}

/// The first dollar sign that no backslash makes a currency.
fn dollar(text: &str) -> Option<usize> {
    let mut text_end = 0;
    text.match_indices('$').map(|(at, _)| at).find(|at| {
        // Inside \text{if $n$ is even} the signs belong to the words.
        let window = floor_boundary(text, at.saturating_sub(200)).max(text_end);
        if *at >= text_end
            && let Some(open) = text[window..*at].rfind("\\text{").map(|n| window + n)
            && !text[open..*at].contains('}')
            && let Some(close) = text[*at..floor_boundary(text, at + 200)].find('}')
        {
            text_end = at + close;
        }
        *at >= text_end && !text[..*at].ends_with('\\')
    })
}

/// The last dollar sign that no backslash makes a currency.
fn last_dollar(text: &str) -> Option<usize> {
    text.rmatch_indices('$').map(|(at, _)| at).find(|at| !text[..*at].ends_with('\\'))
}

/// Whether the text between two dollar signs is prose, so that the first sign is a currency.
fn is_currency(between: &str) -> bool {
    between.starts_with(|c: char| c.is_ascii_digit())
        && (between.contains('\n')
            || between.ends_with(' ')
                && between.trim_end().ends_with(|c: char| c.is_ascii_alphabetic())
                && !between.contains('\\')
            || between
                .split_whitespace()
                .filter(|w| w.len() >= 2 && w.chars().all(|c| c.is_ascii_alphabetic()))
                .count()
                >= 1
                && !between.contains('\\'))
}

pub(super) struct LastSpan {
    pub(super) inner: Range<usize>,
    pub(super) outer_end: usize,
}

/// The last maths span or bold text.
pub(super) fn last_span(text: &str) -> Option<LastSpan> {
    let mut best: Option<LastSpan> = None;
    let mut offer = |inner: Range<usize>, outer_end: usize| {
        if best.as_ref().is_none_or(|b| outer_end > b.outer_end) {
            best = Some(LastSpan { inner, outer_end });
        }
    };
    for (open, close) in [("\\[", "\\]"), ("\\(", "\\)"), ("$$", "$$"), ("**", "**")] {
        if let Some(end) = text.rfind(close)
            && let Some(start) = text[..end].rfind(open)
        {
            let mut inner = start + open.len()..end;
            if open == "**"
                && let Some(s) = span_at(text[inner.clone()].trim())
            {
                let lead = text[inner.clone()].len() - text[inner.clone()].trim_start().len();
                let from = inner.start + lead;
                inner = from + s.inner.start..from + s.inner.end;
            }
            offer(inner, end + close.len());
        }
    }
    // `x**2*exp(x)`: code within a line.
    if let Some(end) = text.rfind('`')
        && let Some(start) = text[..end].rfind('`')
        && start + 1 < end
        && !text[..start].ends_with('`')
        && !text[start..end].contains('\n')
    {
        offer(start + 1..end, end + 1);
    }
    // Single dollars: the last pair.
    let signs = |t: &str| t.match_indices('$').filter(|(at, _)| !t[..*at].ends_with('\\')).count();
    if let Some(end) = last_dollar(text)
        && !text[..end].ends_with('$')
        && let Some(start) = last_dollar(&text[..end])
        && !text[..start].ends_with('$')
        && signs(&text[..start]).is_multiple_of(2)
        && !is_currency(&text[start + 1..end])
    {
        offer(start + 1..end, end + 1);
    }
    best
}
