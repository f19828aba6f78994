//! The template engine, set up as transformers sets up Jinja, within bounds.

use std::ops::Range;

use minijinja::value::{Kwargs, Value};
use minijinja::{AutoEscape, Environment, Error as Refusal, ErrorKind};

use super::{python, time};
use crate::error::Error;

/// The template's name in its environment.
pub(super) const NAME: &str = "chat template";
/// Most steps one rendering may take; a real template takes a few hundred per message.
const FUEL: u64 = 50_000_000;
/// How deep a template's calls may nest.
const DEPTH: usize = 200;
/// The filter that `generation` blocks become.
const FILTER: &str = "__generation";

/// An environment with one template; `marks` are written around what `generation` blocks enclose.
pub(super) fn environment(source: &str, marks: Option<(char, char)>) -> Result<Environment<'_>, Refusal> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(DEPTH);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_formatter(|out, _, value| out.write_str(&python::text(value)).map_err(Refusal::from));
    environment.add_function("raise_exception", |message: String| -> Result<Value, Refusal> {
        Err(Refusal::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", |format: String| time::now(&format));
    environment.add_filter("tojson", to_json);
    environment.add_filter("string", |value: &Value| python::text(value));
    environment.add_filter(FILTER, move |text: String| match marks {
        Some((open, close)) => format!("{open}{text}{close}"),
        None => text,
    });
    environment.add_template(NAME, source)?;
    Ok(environment)
}

/// The engine's refusal in our words.
pub(super) fn refuse(error: Refusal) -> Error {
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let what = if error.kind() == ErrorKind::OutOfFuel { "it takes too many steps".into() } else { what };
    let line = error.line().map_or(String::new(), |line| format!(" (line {line})"));
    Error::Template(format!("{what}{line}"))
}

/// Output of bounded size.
pub(super) struct Bounded {
    pub bytes: Vec<u8>,
    pub full: bool,
    limit: usize,
}

impl Bounded {
    pub fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), full: false, limit }
    }
}

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.limit {
            self.full = true;
            return Err(std::io::Error::other("the text grew too long"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Turns `{% generation %}` into a filter block and its end likewise, keeping the signs that trim white space. Says
/// whether there was one.
pub(super) fn rewrite_generation(source: &str) -> (String, bool) {
    let mut out = String::with_capacity(source.len() + 64);
    let (mut rest, mut found) = (source, false);
    while let Some(start) = rest.find("{%") {
        // A comment may show a block without being one.
        if let Some(comment) = rest.find("{#").filter(|comment| *comment < start) {
            let end = rest[comment..].find("#}").map_or(rest.len(), |end| comment + end + 2);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        let (before, tag) = rest.split_at(start);
        out.push_str(before);
        let Some(end) = tag.find("%}") else {
            rest = tag;
            break;
        };
        let inside = &tag[2..end];
        let word = inside.trim_matches(['-', '+']).trim();
        let sign =
            |c: Option<char>| c.filter(|c| matches!(c, '-' | '+')).map(String::from).unwrap_or_default();
        let (opening, closing) = (sign(inside.chars().next()), sign(inside.chars().last()));
        match word {
            "generation" => {
                found = true;
                out.push_str(&format!("{{%{opening} filter {FILTER} {closing}%}}"));
            }
            "endgeneration" => out.push_str(&format!("{{%{opening} endfilter {closing}%}}")),
            _ => out.push_str(&tag[..end + 2]),
        }
        rest = &tag[end + 2..];
    }
    out.push_str(rest);
    (out, found)
}

/// Takes the marks out of a text and says what they enclosed.
pub(super) fn split_marks(marked: &str, open: char, close: char) -> (String, Vec<Range<usize>>) {
    let mut text = String::with_capacity(marked.len());
    let (mut spans, mut start) = (Vec::new(), None);
    for c in marked.chars() {
        if c == open {
            start.get_or_insert(text.len());
        } else if c == close {
            if let Some(start) = start.take()
                && start < text.len()
            {
                spans.push(start..text.len());
            }
        } else {
            text.push(c);
        }
    }
    (text, spans)
}

/// Python's `json.dumps(value, ensure_ascii=False)`, as the filter of transformers writes it: nothing is escaped for HTML.
fn to_json(value: &Value, kwargs: Kwargs) -> Result<String, Refusal> {
    let indent: Option<usize> = kwargs.get("indent")?;
    let ensure_ascii: Option<bool> = kwargs.get("ensure_ascii")?;
    let sort_keys: Option<bool> = kwargs.get("sort_keys")?;
    let separators: Option<Vec<String>> = kwargs.get("separators")?;
    kwargs.assert_all_used()?;
    let separators = match separators.as_deref() {
        Some([item, key]) => (item.clone(), key.clone()),
        Some(_) => return Err(Refusal::new(ErrorKind::InvalidOperation, "tojson: separators must be two")),
        None if indent.is_some() => (",".into(), ": ".into()),
        None => (", ".into(), ": ".into()),
    };
    let style = python::JsonStyle {
        indent: indent.map(|width| width.min(16)),
        ascii: ensure_ascii.unwrap_or(false),
        sort: sort_keys.unwrap_or(false),
        separators,
    };
    style.text(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_blocks_are_rewritten_and_nothing_else_is() {
        let source =
            "{# {% generation %} #}{%- generation +%}a{%endgeneration -%}{% if x %}{{ y }}{% endif %}{% x";
        let (out, found) = rewrite_generation(source);
        assert!(found);
        assert_eq!(
            out,
            "{# {% generation %} #}{%- filter __generation +%}a{% endfilter -%}{% if x %}{{ y }}{% endif %}{% x"
        );
        assert!(!rewrite_generation("{% if generation %}{% endif %}").1);
    }

    #[test]
    fn marks_are_cut_out() {
        assert_eq!(split_marks("a<bc>d<>e", '<', '>'), ("abcde".to_owned(), vec![1..3]));
    }
}
