//! Chat templates: messages to text and tokens, with the spans the assistant wrote.

mod environment;
mod python;
mod time;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use minijinja::value::ValueKind;
use serde::Serialize;
use serde_json::{Map, Value};

pub use minijinja::Value as TemplateValue;

use crate::config::{MAX_JSON, read_bounded, read_json};
use crate::error::{Error, Result};
use crate::tokenizer::{Tokenizer, special_tokens};
use environment::{environment, refuse, rewrite_generation, split_marks};

/// Most bytes of a template.
const MAX_TEMPLATE: usize = 1 << 20;
/// Most templates of a folder.
const MAX_TEMPLATES: usize = 100;
/// Most bytes a rendering may produce.
const MAX_TEXT: usize = 64 << 20;
/// The template that is taken unless the variables ask for another.
const DEFAULT: &str = "default";
/// The template that is taken where `tools` are given.
const TOOL_USE: &str = "tool_use";
/// Names under which a message may carry its reasoning; the first that is there counts.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// How the text of a rendering is made.
#[derive(Debug, Clone, Default)]
pub struct ChatOptions {
    /// End with the words that make the model answer.
    pub generation_prompt: bool,
    /// Further variables of the template (`enable_thinking`, `tools`, ...).
    pub variables: BTreeMap<String, TemplateValue>,
}

impl ChatOptions {
    /// Ends with the words that make the model answer.
    #[must_use]
    pub fn prompt() -> Self {
        Self { generation_prompt: true, ..Self::default() }
    }
}

/// A text and the byte ranges in it that the assistant wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// Byte ranges, in order, without overlap; `None` where the template has no `{% generation %}` blocks to tell.
    pub assistant: Option<Vec<Range<usize>>>,
}

/// Token ids and, where the template tells, whether the assistant wrote each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The ids. What begins a text is the template's to write: the tokenizer adds nothing.
    pub tokens: Vec<u32>,
    /// One entry per id; `None` where the template has no `{% generation %}` blocks.
    pub assistant: Option<Vec<bool>>,
}

/// One template.
#[derive(Debug, Clone)]
struct Source {
    text: String,
    /// With `generation` blocks turned into filter blocks that mark what they enclose.
    rewritten: String,
    marks: bool,
}

/// The chat templates of a folder, in Jinja as transformers understands it.
///
/// Messages are anything that serialises to objects with `role`, `content` and whatever else the template reads. To keep
/// the order of keys that a template prints with `tojson`, give [`TemplateValue`]s, which keep the order of the JSON they
/// were read from.
///
/// ```
/// use models::{ChatOptions, ChatTemplate};
/// use serde_json::json;
///
/// let source = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}\
///               {% if add_generation_prompt %}<assistant>{% endif %}";
/// let template = ChatTemplate::new(source)?;
/// let rendered = template.render(&[json!({"role": "user", "content": "Hi"})], &ChatOptions::prompt())?;
/// assert_eq!(rendered.text, "<user>Hi</><assistant>");
/// # Ok::<(), models::Error>(())
/// ```
///
/// # Untrusted input
///
/// A template reaches no files and no network; its steps, its nesting and its output are bounded. `strftime_now` tells
/// the time in UTC.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    templates: BTreeMap<String, Source>,
    /// `bos_token`, `eos_token` and the like.
    special: BTreeMap<String, TemplateValue>,
    /// The templates are files of their own, not part of `tokenizer_config.json`.
    files: bool,
}

impl ChatTemplate {
    /// The templates of a folder: `chat_template.jinja` with `additional_chat_templates/*.jinja`, else `chat_template` in
    /// `tokenizer_config.json` (a text, or a list of named templates). `None` where there is none.
    ///
    /// # Errors
    /// If a file cannot be read or a template is malformed; the error names the file.
    pub fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join("tokenizer_config.json");
        let config = if path.exists() { object(&path)? } else { Map::new() };
        let mut found: Vec<(String, PathBuf, String)> = Vec::new();
        let main = dir.join("chat_template.jinja");
        if main.exists() {
            found.push((DEFAULT.into(), main.clone(), text(&main)?));
        }
        for path in additional(&dir.join("additional_chat_templates"))? {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let source = text(&path)?;
            found.push((name, path, source));
        }
        let files = !found.is_empty();
        if !files {
            let wrong = |reason: &str| Error::Malformed {
                path: path.clone(),
                reason: format!("`chat_template`: {reason}"),
            };
            match config.get("chat_template") {
                None | Some(Value::Null) => {}
                Some(Value::String(text)) => found.push((DEFAULT.into(), path.clone(), text.clone())),
                Some(Value::Array(list)) if list.len() <= MAX_TEMPLATES => {
                    for entry in list {
                        let part = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
                        let (Some(name), Some(text)) = (part("name"), part("template")) else {
                            return Err(wrong("expected entries with `name` and `template`"));
                        };
                        found.push((name, path.clone(), text));
                    }
                }
                Some(_) => return Err(wrong("expected a text or a list of at most 100 templates")),
            }
        }
        if found.is_empty() {
            return Ok(None);
        }
        let mut templates = BTreeMap::new();
        for (name, path, text) in found {
            let source = Source::new(&text).map_err(|error| in_file(error, &path))?;
            templates.insert(name, source);
        }
        let mut special: BTreeMap<String, TemplateValue> = BTreeMap::new();
        let mut gather = |config: &Map<String, Value>| {
            special.extend(special_tokens(config).map(|(name, token)| (name.to_owned(), token.into())));
        };
        let older = dir.join("special_tokens_map.json");
        if older.exists() {
            gather(&object(&older)?);
        }
        gather(&config);
        Ok(Some(Self { templates, special, files }))
    }

    /// A template from its source, without special tokens.
    ///
    /// # Errors
    /// If the template is malformed.
    pub fn new(source: &str) -> Result<Self> {
        let templates = BTreeMap::from([(DEFAULT.to_owned(), Source::new(source)?)]);
        Ok(Self { templates, special: BTreeMap::new(), files: true })
    }

    /// Lets the template read a special token under its name, as in `with_special("bos_token", "<s>")`.
    #[must_use]
    pub fn with_special(mut self, name: &str, token: &str) -> Self {
        self.special.insert(name.into(), token.into());
        self
    }

    /// The source of the template that is taken when no tools are given; of the first by name where none is `default`.
    #[must_use]
    pub fn source(&self) -> &str {
        let first = self.templates.get(DEFAULT).or_else(|| self.templates.values().next());
        first.map_or("", |source| &source.text)
    }

    /// Whether the template says what the assistant wrote.
    #[must_use]
    pub fn marks_assistant(&self) -> bool {
        self.templates.get(DEFAULT).is_some_and(|source| source.marks)
    }

    /// Renders messages.
    ///
    /// # Errors
    /// If there are no messages, one is not an object, the template refuses them, or it takes too many steps.
    pub fn render<M: Serialize>(&self, messages: &[M], options: &ChatOptions) -> Result<Rendered> {
        let messages = messages.iter().map(normal).collect::<Result<Vec<_>>>()?;
        if messages.is_empty() {
            return Err(Error::Template("there are no messages".into()));
        }
        let source = self.choose(options)?;
        let plain = self.text(source, &messages, options, None)?;
        if !source.marks {
            return Ok(Rendered { text: plain, assistant: None });
        }
        // Two characters that the text does not use show where the spans begin and end.
        let mut free = ('\u{F0000}'..='\u{F00FF}').filter(|c| !plain.contains(*c));
        let (Some(open), Some(close)) = (free.next(), free.next()) else {
            return Err(Error::Template("the messages use every private character".into()));
        };
        let marked = self.text(source, &messages, options, Some((open, close)))?;
        let (text, spans) = split_marks(&marked, open, close);
        if text != plain {
            return Err(Error::Template("it writes another text when its spans are marked".into()));
        }
        Ok(Rendered { text, assistant: Some(spans) })
    }

    /// Renders and encodes messages. No special tokens are added: the template has written them.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`], or if the tokenizer refuses the text.
    pub fn encode<M: Serialize>(
        &self,
        tokenizer: &Tokenizer,
        messages: &[M],
        options: &ChatOptions,
    ) -> Result<Encoded> {
        let Rendered { text, assistant } = self.render(messages, options)?;
        let Some(spans) = assistant else {
            return Ok(Encoded { tokens: tokenizer.encode(&text, false)?, assistant: None });
        };
        let encoding = tokenizer.inner().encode(text, false).map_err(|e| Error::Tokenizer(e.to_string()))?;
        let within = |(start, end): &(usize, usize)| {
            start < end && spans.iter().any(|span| *start < span.end && *end > span.start)
        };
        Ok(Encoded {
            tokens: encoding.get_ids().to_vec(),
            assistant: Some(encoding.get_offsets().iter().map(within).collect()),
        })
    }

    /// Writes `chat_template.jinja` and `additional_chat_templates`, unless the templates came with
    /// `tokenizer_config.json`, which [`Tokenizer::save`] writes.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<()> {
        if !self.files {
            return Ok(());
        }
        let more = dir.join("additional_chat_templates");
        for (name, source) in &self.templates {
            let path = if name == DEFAULT {
                dir.join("chat_template.jinja")
            } else {
                std::fs::create_dir_all(&more)
                    .map_err(|source| Error::Write { path: more.clone(), source })?;
                more.join(format!("{name}.jinja"))
            };
            crate::pretrained::write(&path, source.text.as_bytes())?;
        }
        Ok(())
    }

    fn choose(&self, options: &ChatOptions) -> Result<&Source> {
        let tools = options.variables.get("tools").is_some_and(|t| !t.is_none() && !t.is_undefined());
        let with_tools = self.templates.get(TOOL_USE).filter(|_| tools);
        with_tools.or_else(|| self.templates.get(DEFAULT)).ok_or_else(|| {
            let names: Vec<&str> = self.templates.keys().map(String::as_str).collect();
            Error::Template(format!("none of the templates is called `default`: {}", names.join(", ")))
        })
    }

    fn text(
        &self,
        source: &Source,
        messages: &[TemplateValue],
        options: &ChatOptions,
        marks: Option<(char, char)>,
    ) -> Result<String> {
        let environment = environment(&source.rewritten, marks).map_err(refuse)?;
        let mut context = self.special.clone();
        context.insert("messages".into(), TemplateValue::from(messages.to_vec()));
        context.insert("add_generation_prompt".into(), options.generation_prompt.into());
        for name in ["tools", "documents"] {
            context.insert(name.into(), ().into());
        }
        context.extend(options.variables.iter().map(|(name, value)| (name.clone(), value.clone())));
        let template = environment.get_template(environment::NAME).map_err(refuse)?;
        let mut output = environment::Bounded::new(MAX_TEXT);
        let context: TemplateValue = context.into_iter().collect();
        let rendered = template.render_captured_to(context, &mut output);
        if output.full {
            return Err(Error::Template(format!("its text is longer than {MAX_TEXT} bytes")));
        }
        rendered.map_err(refuse)?;
        String::from_utf8(output.bytes).map_err(|error| Error::Template(error.to_string()))
    }
}

impl Source {
    fn new(text: &str) -> Result<Self> {
        if text.len() > MAX_TEMPLATE {
            return Err(Error::Template(format!("longer than {MAX_TEMPLATE} bytes")));
        }
        let (rewritten, marks) = rewrite_generation(text);
        environment(&rewritten, None).map_err(refuse)?;
        Ok(Self { text: text.into(), rewritten, marks })
    }
}

/// A message as templates see it in transformers: without keys that are null, its reasoning under two names.
fn normal<M: Serialize>(message: &M) -> Result<TemplateValue> {
    let message = TemplateValue::from_serialize(message);
    if message.kind() != ValueKind::Map {
        let shown: String = message.to_string().chars().take(60).collect();
        return Err(Error::Template(format!("a message must be an object, found {shown}")));
    }
    let mut pairs: Vec<(TemplateValue, TemplateValue)> = Vec::new();
    for key in message.try_iter().map_err(refuse)? {
        let value = message.get_item(&key).map_err(refuse)?;
        if !value.is_none() {
            pairs.push((key, value));
        }
    }
    let get =
        |name: &str| pairs.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value.clone());
    let reasoning = REASONING.iter().find_map(|name| get(name));
    if let Some(reasoning) = reasoning {
        if get("thinking").is_none() {
            pairs.insert(0, ("thinking".into(), reasoning.clone()));
        }
        match pairs.iter_mut().find(|(key, _)| key.as_str() == Some("reasoning_content")) {
            Some((_, value)) => *value = reasoning,
            None => pairs.push(("reasoning_content".into(), reasoning)),
        }
    }
    Ok(pairs.into_iter().collect())
}

fn object(path: &Path) -> Result<Map<String, Value>> {
    match read_json(path)? {
        Value::Object(map) => Ok(map),
        _ => Err(Error::Malformed { path: path.into(), reason: "expected a JSON object".into() }),
    }
}

fn text(path: &Path) -> Result<String> {
    let malformed = |reason: String| Error::Malformed { path: path.into(), reason };
    String::from_utf8(read_bounded(path, MAX_JSON)?).map_err(|error| malformed(error.to_string()))
}

/// The `*.jinja` files of a folder, by name; none where there is no such folder.
fn additional(dir: &Path) -> Result<Vec<PathBuf>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let fail = |source| Error::Read { path: dir.into(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.extension().is_some_and(|e| e == "jinja") {
            paths.push(path);
        }
        if paths.len() > MAX_TEMPLATES {
            let reason = format!("more than {MAX_TEMPLATES} chat templates");
            return Err(Error::Malformed { path: dir.into(), reason });
        }
    }
    paths.sort();
    Ok(paths)
}

/// Says in which file a template is wrong.
fn in_file(error: Error, path: &Path) -> Error {
    match error {
        Error::Template(reason) => {
            Error::Malformed { path: path.into(), reason: format!("chat template: {reason}") }
        }
        other => other,
    }
}
