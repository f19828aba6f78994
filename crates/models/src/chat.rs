//! Chat templates: messages to text, with the spans the assistant wrote.

use std::path::Path;

use minijinja::value::{Kwargs, Value as Jinja};
use minijinja::{Environment, ErrorKind};
use serde_json::{Map, Value};

use crate::config::{MAX_JSON, read_bounded};
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;

/// Most characters of a template.
const MAX_TEMPLATE: usize = 1 << 20;
/// Most steps one rendering may take; a real template takes a few hundred per message.
const FUEL: u64 = 50_000_000;
/// Most bytes a rendering may produce beyond 16 times its messages.
const MAX_TEXT: usize = 64 << 20;

/// How the text of a rendering is made.
#[derive(Debug, Clone, Default)]
pub struct ChatOptions {
    /// End with the words that make the model answer.
    pub generation_prompt: bool,
    /// Further variables of the template (`enable_thinking`, `tools`, ...).
    pub variables: Map<String, Value>,
}

impl ChatOptions {
    /// Ends with the words that make the model answer.
    #[must_use]
    pub fn prompt() -> Self {
        Self { generation_prompt: true, variables: Map::new() }
    }
}

/// A text and the byte ranges in it that the assistant wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// Byte ranges, in order, without overlap.
    pub assistant: Vec<std::ops::Range<usize>>,
}

/// Token ids and, for each, whether the assistant wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The ids.
    pub tokens: Vec<u32>,
    /// One entry per id.
    pub assistant: Vec<bool>,
}

/// A chat template of a folder, in Jinja as transformers understands it.
///
/// Templates are untrusted: they reach no files, and their steps and output are bounded.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    source: String,
    /// With `generation` blocks turned into filter blocks that mark what they enclose.
    rewritten: String,
    marks: bool,
    tokens: Map<String, Value>,
}

impl ChatTemplate {
    /// The template of a folder: `chat_template.jinja`, else `chat_template` in `tokenizer_config.json` (a text, or a list
    /// of named templates, of which `default` is taken). `None` where there is none.
    ///
    /// # Errors
    /// If a file cannot be read or the template is malformed.
    pub fn read(dir: &Path, tokenizer: Option<&Tokenizer>) -> Result<Option<Self>> {
        let empty = Map::new();
        let config = tokenizer.map_or(&empty, Tokenizer::config);
        let path = dir.join("chat_template.jinja");
        let source = if path.exists() {
            let bytes = read_bounded(&path, MAX_JSON)?;
            let text = String::from_utf8(bytes)
                .map_err(|e| Error::Malformed { path: path.clone(), reason: e.to_string() })?;
            Some(text)
        } else {
            match config.get("chat_template") {
                None | Some(Value::Null) => None,
                Some(Value::String(text)) => Some(text.clone()),
                Some(Value::Array(list)) => {
                    let named = |name: &str| {
                        list.iter().find(|t| t.get("name").and_then(Value::as_str) == Some(name))
                    };
                    let template = named("default").and_then(|t| t.get("template")).and_then(Value::as_str);
                    match template {
                        Some(text) => Some(text.to_owned()),
                        None => return Err(Error::Template("the list has no template `default`".into())),
                    }
                }
                Some(_) => return Err(Error::Template("expected a text or a list of templates".into())),
            }
        };
        source.map(|source| Self::new(&source, config)).transpose()
    }

    /// A template from its source; `tokenizer_config` supplies `bos_token`, `eos_token` and the like.
    ///
    /// # Errors
    /// If the template is malformed.
    pub fn new(source: &str, tokenizer_config: &Map<String, Value>) -> Result<Self> {
        if source.len() > MAX_TEMPLATE {
            return Err(Error::Template(format!("longer than {MAX_TEMPLATE} bytes")));
        }
        let mut tokens = Map::new();
        for name in
            ["bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token"]
        {
            let text = match tokenizer_config.get(name) {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Object(token)) => match token.get("content") {
                    Some(Value::String(text)) => text.clone(),
                    _ => continue,
                },
                _ => continue,
            };
            tokens.insert(name.into(), Value::String(text));
        }
        let (rewritten, marks) = rewrite_generation(source);
        let template = Self { source: source.into(), rewritten, marks, tokens };
        template.environment()?;
        Ok(template)
    }

    /// The template's source.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Renders messages, each an object with `role`, `content` and whatever else the template reads.
    ///
    /// The assistant's spans are those of the template's `generation` blocks. A template without such blocks is rendered
    /// message by message instead: what an assistant's message adds after a generation prompt is its span.
    ///
    /// # Errors
    /// If the template refuses the messages, or takes too many steps.
    pub fn render(&self, messages: &[Value], options: &ChatOptions) -> Result<Rendered> {
        if self.marks {
            let (open, close) = self.free_marks(messages, options)?;
            let marked = self.text(messages, options, open, close)?;
            return Ok(split_marks(&marked, open, close));
        }
        let text = self.text(messages, options, '\u{F0000}', '\u{F0001}')?;
        let mut assistant = Vec::new();
        for (index, message) in messages.iter().enumerate() {
            if message.get("role").and_then(Value::as_str) != Some("assistant") {
                continue;
            }
            let prompted = ChatOptions { generation_prompt: true, variables: options.variables.clone() };
            let plain = ChatOptions { generation_prompt: false, variables: options.variables.clone() };
            // Where the template will not be cut here, the mask stays empty rather than wrong.
            let Ok(before) = self.text(&messages[..index], &prompted, '\u{F0000}', '\u{F0001}') else {
                continue;
            };
            let after = self.text(&messages[..=index], &plain, '\u{F0000}', '\u{F0001}')?;
            if after.starts_with(&before) && text.starts_with(&after) {
                assistant.push(before.len()..after.len());
            }
        }
        Ok(Rendered { text, assistant })
    }

    /// Renders and encodes messages. No special tokens are added: the template has written them.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`], or if the tokenizer refuses the text.
    pub fn encode(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Value],
        options: &ChatOptions,
    ) -> Result<Encoded> {
        let rendered = self.render(messages, options)?;
        let encoding = tokenizer
            .inner()
            .encode(rendered.text.as_str(), false)
            .map_err(|error| Error::Tokenizer(error.to_string()))?;
        let within = |(start, end): &(usize, usize)| {
            start < end && rendered.assistant.iter().any(|span| *start < span.end && *end > span.start)
        };
        Ok(Encoded {
            tokens: encoding.get_ids().to_vec(),
            assistant: encoding.get_offsets().iter().map(within).collect(),
        })
    }

    fn text(&self, messages: &[Value], options: &ChatOptions, open: char, close: char) -> Result<String> {
        let mut environment = self.environment()?;
        environment.add_filter("__generation", move |text: String| format!("{open}{text}{close}"));
        let mut context = self.tokens.clone();
        context.insert("messages".into(), Value::Array(messages.to_vec()));
        context.insert("add_generation_prompt".into(), Value::Bool(options.generation_prompt));
        for name in ["tools", "documents"] {
            context.insert(name.into(), Value::Null);
        }
        context.extend(options.variables.clone());
        let template = environment.get_template("chat").map_err(refuse)?;
        let mut output = Bounded { bytes: Vec::new(), limit: MAX_TEXT };
        template.render_captured_to(Jinja::from_serialize(&context), &mut output).map_err(refuse)?;
        String::from_utf8(output.bytes).map_err(|error| Error::Template(error.to_string()))
    }

    fn environment(&self) -> Result<Environment<'_>> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_keep_trailing_newline(false);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(200);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.add_function("raise_exception", |message: String| -> Result<String, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", |format: String| today(&format));
        environment.add_filter("tojson", to_json);
        environment.add_filter("__generation", |text: String| text);
        environment.add_template("chat", &self.rewritten).map_err(refuse)?;
        Ok(environment)
    }

    /// Two characters that occur neither in the messages nor in the template.
    fn free_marks(&self, messages: &[Value], options: &ChatOptions) -> Result<(char, char)> {
        let mut texts = vec![self.source.clone()];
        fn gather(value: &Value, texts: &mut Vec<String>) {
            match value {
                Value::String(text) => texts.push(text.clone()),
                Value::Array(list) => list.iter().for_each(|v| gather(v, texts)),
                Value::Object(map) => map.iter().for_each(|(k, v)| {
                    texts.push(k.clone());
                    gather(v, texts);
                }),
                _ => {}
            }
        }
        messages.iter().chain(options.variables.values()).for_each(|v| gather(v, &mut texts));
        let mut free = ('\u{F0000}'..='\u{F00FF}').filter(|c| !texts.iter().any(|text| text.contains(*c)));
        match (free.next(), free.next()) {
            (Some(open), Some(close)) => Ok((open, close)),
            _ => Err(Error::Template("the messages use every private character".into())),
        }
    }
}

fn refuse(error: minijinja::Error) -> Error {
    let detail = error.detail().map(str::to_owned);
    let line = error.line().map_or(String::new(), |line| format!(" (line {line})"));
    Error::Template(format!("{}{line}", detail.unwrap_or_else(|| error.kind().to_string())))
}

/// Output of bounded size.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.limit {
            return Err(std::io::Error::other("the text grew too long"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Turns `{% generation %}` into `{% filter __generation %}` and its end likewise, keeping the signs that trim white space.
/// Says whether there was one.
fn rewrite_generation(source: &str) -> (String, bool) {
    let mut out = String::with_capacity(source.len() + 64);
    let (mut rest, mut found) = (source, false);
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        out.push_str(before);
        let Some(end) = tag.find("%}") else {
            rest = tag;
            break;
        };
        let (inside, after) = (&tag[2..end], &tag[end + 2..]);
        let opening = inside.starts_with(['-', '+']).then(|| &inside[..1]).unwrap_or_default();
        let body = &inside[opening.len()..];
        let closing = body.ends_with(['-', '+']).then(|| &body[body.len() - 1..]).unwrap_or_default();
        let word = body[..body.len() - closing.len()].trim();
        match word {
            "generation" => {
                found = true;
                out.push_str(&format!("{{%{opening} filter __generation {closing}%}}"));
            }
            "endgeneration" => out.push_str(&format!("{{%{opening} endfilter {closing}%}}")),
            _ => out.push_str(&tag[..end + 2]),
        }
        rest = after;
    }
    out.push_str(rest);
    (out, found)
}

/// Takes the marks out of a text and says what they enclosed.
fn split_marks(marked: &str, open: char, close: char) -> Rendered {
    let mut text = String::with_capacity(marked.len());
    let (mut assistant, mut start) = (Vec::new(), None);
    for c in marked.chars() {
        if c == open {
            start.get_or_insert(text.len());
        } else if c == close {
            if let Some(start) = start.take()
                && start < text.len()
            {
                assistant.push(start..text.len());
            }
        } else {
            text.push(c);
        }
    }
    Rendered { text, assistant }
}

/// Python's `json.dumps(value, ensure_ascii=False)`, as transformers' filter writes it.
fn to_json(value: Jinja, kwargs: Kwargs) -> Result<String, minijinja::Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    let _: Option<bool> = kwargs.get("ensure_ascii")?;
    let _: Option<bool> = kwargs.get("sort_keys")?;
    kwargs.assert_all_used()?;
    let value = serde_json::to_value(&value)
        .map_err(|e| minijinja::Error::new(ErrorKind::BadSerialization, e.to_string()))?;
    let mut out = String::new();
    dump(&value, indent.map(|n| n.min(16)), 0, &mut out);
    Ok(out)
}

fn dump(value: &Value, indent: Option<usize>, depth: usize, out: &mut String) {
    let line = |out: &mut String, depth: usize| {
        if let Some(width) = indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', width * depth));
        }
    };
    let comma = if indent.is_some() { "," } else { ", " };
    match value {
        Value::Array(list) if !list.is_empty() => {
            out.push('[');
            for (i, item) in list.iter().enumerate() {
                out.push_str(if i > 0 { comma } else { "" });
                line(out, depth + 1);
                dump(item, indent, depth + 1, out);
            }
            line(out, depth);
            out.push(']');
        }
        Value::Object(map) if !map.is_empty() => {
            out.push('{');
            for (i, (key, item)) in map.iter().enumerate() {
                out.push_str(if i > 0 { comma } else { "" });
                line(out, depth + 1);
                out.push_str(&Value::String(key.clone()).to_string());
                out.push_str(": ");
                dump(item, indent, depth + 1, out);
            }
            line(out, depth);
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

/// Today's date in the few forms templates ask for.
fn today(format: &str) -> String {
    let days = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |elapsed| (elapsed.as_secs() / 86_400) as i64);
    let (year, month, day) = civil(days);
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let name = MONTHS[month as usize - 1];
    let mut out = String::new();
    let mut letters = format.chars();
    while let Some(c) = letters.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match letters.next() {
            Some('Y') => out.push_str(&year.to_string()),
            Some('m') => out.push_str(&format!("{month:02}")),
            Some('d') => out.push_str(&format!("{day:02}")),
            Some('b') => out.push_str(&name[..3]),
            Some('B') => out.push_str(name),
            Some('%') => out.push('%'),
            Some(other) => out.extend(['%', other]),
            None => out.push('%'),
        }
    }
    out
}

/// Year, month and day of a day number since 1970 (Hinnant's algorithm, <https://howardhinnant.github.io/date_algorithms.html>).
fn civil(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = (of_year - (153 * shifted + 2) / 5 + 1) as u32;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}
