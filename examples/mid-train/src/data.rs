//! From lines to examples.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use models::{Pretrained, Tokenizer};
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

/// Reads and checks all files.
pub fn read(files: &[PathBuf], config: &Config) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    let mut seen = HashSet::new();
    let mut wrong = 0;
    for path in files {
        for (number, object) in training::read_jsonl::<Map<String, Value>>(path)?.into_iter().enumerate() {
            let place = format!("{} record {}", path.display(), number + 1);
            if let Some(id) = object.get("id") {
                let part = |key: &str| object.get(key).cloned().unwrap_or(Value::Null);
                let key = json!([id, part("approach"), part("sample")]).to_string();
                ensure!(seen.insert(key), "{place}: id {id} was given before: make ids unique");
            }
            if config.only_correct && object.get("correct") == Some(&Value::Bool(false)) {
                wrong += 1;
                continue;
            }
            let kind = kind(&object).with_context(|| place.clone())?;
            lines.push(Line { place, kind });
        }
    }
    if wrong > 0 {
        eprintln!("{wrong} variants marked as not correct are left out (`only_correct`)");
    }
    ensure!(!lines.is_empty(), "no records in {files:?}: nothing to learn from");
    Ok(lines)
}

fn kind(object: &Map<String, Value>) -> Result<Kind> {
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
    let solution = text(if has("response") { "response" } else { "answer" }).map_err(|_| {
        anyhow!("expected `prompt` and `completion`, `messages`, or `question` with `response` or `answer`")
    })?;
    Ok(Kind::Solved { question: text("question")?, solution })
}

/// A folder's tokenizer, for crate `sft`. Questions are put as raw text; chats need `prompt` and `completion` instead.
pub struct Encoder {
    tokenizer: Tokenizer,
    end: Option<u32>,
}

impl Encoder {
    /// Reads what lies beside the weights.
    pub fn new(dir: &Path, pretrained: &Pretrained) -> Result<Self> {
        let tokenizer = pretrained.tokenizer.clone();
        let tokenizer = tokenizer.with_context(|| format!("{} has no tokenizer.json", dir.display()))?;
        Ok(Self { end: pretrained.eos().first().copied(), tokenizer })
    }

    /// Text of tokens, with special ones, for a reader.
    pub fn text(&self, tokens: &[u32]) -> String {
        self.decode(tokens)
    }

    /// A question the way models are asked without naming an approach, and its solution.
    fn put(&self, question: &str, solution: &str, instruction: &str) -> Record {
        let begin = if instruction.is_empty() { String::new() } else { format!("{instruction}\n\n") };
        let prompt = format!("{begin}Question: {question}\nSolution:");
        Record::Text { prompt, completion: format!(" {solution}") }
    }

    /// Encodes lines.
    pub fn examples(&self, lines: &[Line], config: &Config) -> Result<Vec<Example>> {
        let one = |line: &Line| -> Result<Example> {
            let record = match &line.kind {
                Kind::Record(record) => record.clone(),
                Kind::Solved { question, solution } => self.put(question, solution, &config.instruction),
            };
            encode(self, &record, config.labels).map_err(|error| explain(error, self))
        };
        lines.iter().map(|line| one(line).with_context(|| line.place.clone())).collect()
    }
}

/// Shows the example that teaches nothing.
pub fn explain(error: sft::Error, encoder: &Encoder) -> anyhow::Error {
    match &error {
        sft::Error::NothingToLearn { tokens, .. } => {
            let text: String = encoder.decode(tokens).chars().take(400).collect();
            anyhow!("{error}; it reads:\n{text}\nRaise `max_length`, or learn other `labels`.")
        }
        _ => error.into(),
    }
}

impl ChatEncode for Encoder {
    type Error = models::Error;

    fn encode_text(&self, text: &str, special: bool) -> Result<Vec<u32>, models::Error> {
        self.tokenizer.encode(text, special)
    }

    fn encode_chat(
        &self,
        _messages: &[Message],
        _generation_prompt: bool,
    ) -> Result<ChatTokens, models::Error> {
        let reason = "chats cannot be encoded yet: write the conversation out as `prompt` and `completion`";
        Err(models::Error::Request(reason.to_owned()))
    }

    fn end_token(&self) -> Option<u32> {
        self.end
    }

    fn decode(&self, tokens: &[u32]) -> String {
        self.tokenizer.decode(tokens, false).unwrap_or_else(|_| format!("{tokens:?}"))
    }
}
