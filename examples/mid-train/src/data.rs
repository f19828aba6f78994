//! From lines to examples.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use models::{ChatOptions, ChatTemplate, Pretrained, Tokenizer};
use polya_prompts::{AnswerFormat, Family, Prompt, Render, Role};
use serde_json::{Map, Value, json};
use sft::{ChatEncode, ChatTokens, Example, Message, Record, encode};

use crate::config::Config;

/// A line that can be learned from, and where it stands.
pub struct Line {
    place: String,
    kind: Kind,
}

enum Kind {
    Record(Record),
    /// A question, to be put the way a model will be asked, and its solution.
    Solved {
        question: String,
        solution: String,
    },
}

/// Reads and checks all files; also says how many variants were left out as not correct.
pub fn read(files: &[PathBuf], config: &Config) -> Result<(Vec<Line>, usize)> {
    let mut lines = Vec::new();
    let mut seen = HashSet::new();
    let mut wrong = 0;
    for path in files {
        for training::Line { number, record: object } in training::read_lines::<Map<String, Value>>(path)? {
            let place = format!("{} line {number}", path.display());
            if let Some(id) = object.get("id") {
                let part = |key: &str| object.get(key).cloned().unwrap_or(Value::Null);
                let key = json!([id, part("approach"), part("sample")]).to_string();
                ensure!(seen.insert(key), "{place}: id {id} was given before: make ids unique");
            }
            if config.only_correct && object.get("correct") == Some(&Value::Bool(false)) {
                wrong += 1;
                continue;
            }
            let kind = kind(&object, &config.answer_format).with_context(|| place.clone())?;
            lines.push(Line { place, kind });
        }
    }
    let names = || files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", ");
    let marked = if wrong > 0 { " that is marked as correct (`only_correct`)" } else { "" };
    ensure!(!lines.is_empty(), "no record in {}{marked}: nothing to learn from", names());
    Ok((lines, wrong))
}

fn kind(object: &Map<String, Value>, format: &AnswerFormat) -> Result<Kind> {
    let text = |key: &str| match object.get(key) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => bail!("`{key}` must be a string, found {other}"),
        None => bail!("`{key}` is missing"),
    };
    let has = |key: &str| object.contains_key(key);
    if has("messages") || has("completion") {
        let record: Record = if has("messages") {
            let messages: Vec<Message> =
                serde_json::from_value(object["messages"].clone()).context("`messages`")?;
            let completion = if has("completion") { Some(text("completion")?) } else { None };
            Record::Chat { messages, completion }
        } else {
            Record::Text { prompt: text("prompt")?, completion: text("completion")? }
        };
        return Ok(Kind::Record(record));
    }
    let question = text("question").map_err(|_| {
        anyhow!(
            "expected `prompt` and `completion`, `messages`, or `question` with `response`, `solution` or `answer`"
        )
    })?;
    let solution = if has("response") {
        text("response")?
    } else if has("solution") {
        worked(&text("solution")?, &text("answer")?, format)
    } else {
        let answer = text("answer")?;
        match answer.rsplit_once("####") {
            Some((solution, answer)) => worked(solution, answer, format),
            None => answer,
        }
    };
    ensure!(!solution.trim().is_empty(), "the solution is empty");
    Ok(Kind::Solved { question, solution })
}

/// A solution by a person, without GSM8K's `<<48/2=24>>`, and its answer in the form the models are asked for.
fn worked(solution: &str, answer: &str, format: &AnswerFormat) -> String {
    let mut text = String::new();
    let mut rest = solution.trim();
    while let Some(begin) = rest.find("<<") {
        let Some(end) = rest[begin..].find(">>") else { break };
        text.push_str(&rest[..begin]);
        rest = &rest[begin + end + 2..];
    }
    text.push_str(rest);
    let line = format.line(answer.trim());
    if line.is_empty() { text } else { format!("{text}\n{line}") }
}

/// A folder's tokenizer and chat template, for crate `sft`.
pub struct Encoder {
    tokenizer: Tokenizer,
    chat: Option<ChatTemplate>,
    family: Family,
    end: Option<u32>,
}

impl Encoder {
    /// Reads what lies beside the weights.
    pub fn new(dir: &Path, pretrained: &Pretrained) -> Result<Self> {
        let tokenizer = pretrained.tokenizer.clone();
        let tokenizer = tokenizer.with_context(|| format!("{} has no tokenizer.json", dir.display()))?;
        let (end, chat) = (pretrained.eos().first().copied(), pretrained.chat.clone());
        Ok(Self { tokenizer, chat, family: Family::maths(), end })
    }

    /// Text of tokens, with special ones, for a reader.
    pub fn text(&self, tokens: &[u32]) -> String {
        self.decode(tokens)
    }

    /// A question the way every program of this workspace puts it, without an approach, and its solution.
    fn put(&self, question: &str, solution: &str, config: &Config) -> Result<Record> {
        let answer_format = Some(config.answer_format.clone());
        let render = Render { style: config.style, exemplars: 0, answer_format, ..Render::default() };
        Ok(match self.family.render_plain(question, &render)? {
            Prompt::Text(prompt) => Record::Text { prompt, completion: format!(" {solution}") },
            Prompt::Messages(messages) => {
                let turn =
                    |m: polya_prompts::Message| Message { role: role(m.role).into(), content: m.content };
                let messages = messages.into_iter().map(turn).collect();
                Record::Chat { messages, completion: Some(solution.to_owned()) }
            }
        })
    }

    /// Encodes lines.
    pub fn examples(&self, lines: &[Line], config: &Config) -> Result<Vec<Example>> {
        let one = |line: &Line| -> Result<Example> {
            let record = match &line.kind {
                Kind::Record(record) => record.clone(),
                Kind::Solved { question, solution } => self.put(question, solution, config)?,
            };
            encode(self, &record, config.labels).map_err(|error| explain(error, self, &[]))
        };
        lines.iter().map(|line| one(line).with_context(|| line.place.clone())).collect()
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

/// Says where an example stands, and shows one that teaches nothing. Examples have the places of `lines`.
pub fn explain(error: sft::Error, encoder: &Encoder, lines: &[Line]) -> anyhow::Error {
    let index = match &error {
        sft::Error::NothingToLearn { index, .. }
        | sft::Error::TooLong { index, .. }
        | sft::Error::Vocabulary { index, .. } => Some(*index),
        _ => None,
    };
    let explained = match &error {
        sft::Error::NothingToLearn { tokens, .. } => {
            let text: String = encoder.decode(tokens).chars().take(400).collect();
            anyhow!("{error}; it reads:\n{text}\nRaise `max_length`, or learn other `labels`.")
        }
        _ => error.into(),
    };
    match index.and_then(|index| lines.get(index)) {
        Some(line) => explained.context(line.place.clone()),
        None => explained,
    }
}

impl ChatEncode for Encoder {
    type Error = models::Error;

    fn encode_text(&self, text: &str, special: bool) -> Result<Vec<u32>, models::Error> {
        self.tokenizer.encode(text, special)
    }

    fn encode_chat(
        &self,
        messages: &[Message],
        generation_prompt: bool,
    ) -> Result<ChatTokens, models::Error> {
        let Some(chat) = &self.chat else {
            let reason = "the folder has none: write the conversation out as `prompt` and `completion`";
            return Err(models::Error::Template(reason.to_owned()));
        };
        let options = ChatOptions { generation_prompt, ..ChatOptions::default() };
        let encoded = chat.encode(&self.tokenizer, messages, &options)?;
        Ok(ChatTokens { tokens: encoded.tokens, assistant: encoded.assistant })
    }

    fn end_token(&self) -> Option<u32> {
        self.end
    }

    fn decode(&self, tokens: &[u32]) -> String {
        self.tokenizer.decode(tokens, false).unwrap_or_else(|_| format!("{tokens:?}"))
    }
}
