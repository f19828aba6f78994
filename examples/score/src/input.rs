//! The lines to be scored, checked and encoded.

use std::collections::HashSet;

use anyhow::{Context, Result, bail, ensure};
use models::{Pretrained, Prompt, Scored, Task, TemplateValue};
use serde::Deserialize;
use serde_json::{Map, Value};
use training::{Line, read_lines};

use crate::config::Config;

/// A line of the input.
#[derive(Deserialize)]
pub struct Record {
    pub id: Value,
    prompt: Option<String>,
    messages: Option<Vec<TemplateValue>>,
    completion: Option<String>,
    token_ids: Option<Vec<u32>>,
    prompt_length: Option<usize>,
    /// Carried through.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Reads all lines. Lines with a `sample` are told apart by it too.
pub fn read(config: &Config) -> Result<Vec<Line<Record>>> {
    let lines: Vec<Line<Record>> = read_lines(&config.input)?;
    let mut seen = HashSet::new();
    for Line { number, record } in &lines {
        let place = format!("{} line {number}", config.input.display());
        let id = &record.id;
        ensure!(id.is_string() || id.is_number(), "{place}: `id` must be a string or a number, found {id}");
        let sample =
            record.rest.get("sample").map(|sample| format!(" with sample {sample}")).unwrap_or_default();
        let key = format!("id {id}{sample}");
        ensure!(seen.insert(key.clone()), "{place}: {key} was given before: make ids unique");
    }
    Ok(lines)
}

/// The tokens of all lines, with the model's limits checked.
pub fn encode(lines: &[Line<Record>], pretrained: &Pretrained, config: &Config) -> Result<Vec<Scored>> {
    let (limit, vocab) = (pretrained.config.max_positions, pretrained.config.vocab_size);
    let one = |record: &Record| -> Result<Scored> {
        let scored = match pretrained.config.task {
            Task::Reward => whole(record, pretrained)?,
            _ => completion(record, pretrained)?,
        };
        let length = scored.tokens.len();
        ensure!(length > 0, "it has no tokens: give some text");
        ensure!(
            length <= limit,
            "it has {length} tokens and the model takes {limit} (`max_position_embeddings`): shorten it"
        );
        if let Some(token) = scored.tokens.iter().find(|token| **token as usize >= vocab) {
            bail!("token {token} is not below the vocabulary size {vocab}");
        }
        Ok(scored)
    };
    let place = |line: &Line<Record>| format!("{} line {}", config.input.display(), line.number);
    lines.iter().map(|line| one(&line.record).with_context(|| place(line))).collect()
}

/// A text for a reward model.
fn whole(record: &Record, pretrained: &Pretrained) -> Result<Scored> {
    ensure!(
        record.completion.is_none(),
        "a reward model scores `prompt` or `messages`: put `completion` into them, as the assistant's message"
    );
    ensure!(record.prompt_length.is_none(), "a reward model scores `prompt` or `messages`, not `token_ids`");
    let tokens = pretrained.encode(&prompt(record)?, false)?;
    Ok(Scored { tokens, prompt_length: 0 })
}

/// A completion and what stands before it.
fn completion(record: &Record, pretrained: &Pretrained) -> Result<Scored> {
    if record.prompt.is_none() && record.messages.is_none() {
        let Some(tokens) = record.token_ids.clone() else {
            bail!(
                "`prompt` and `completion`, `messages` and `completion`, or `token_ids` and `prompt_length` are missing"
            );
        };
        ensure!(
            record.completion.is_none(),
            "give `completion` with `prompt` or `messages`, not with `token_ids`"
        );
        let prompt_length = record.prompt_length.context("`prompt_length` is missing beside `token_ids`")?;
        let length = tokens.len();
        ensure!(
            prompt_length <= length,
            "`prompt_length` is {prompt_length}, but there are {length} `token_ids`"
        );
        return Ok(Scored { tokens, prompt_length });
    }
    ensure!(record.prompt_length.is_none(), "give `token_ids` and `prompt_length`, or a text, not both");
    let completion = record.completion.as_deref().context("`completion` is missing")?;
    let mut tokens = pretrained.encode(&prompt(record)?, true)?;
    let prompt_length = tokens.len();
    let tokenizer = pretrained.tokenizer.as_ref().context("the folder has no tokenizer.json")?;
    tokens.extend(tokenizer.encode(completion, false)?);
    Ok(Scored { tokens, prompt_length })
}

fn prompt(record: &Record) -> Result<Prompt> {
    match (&record.prompt, &record.messages) {
        (Some(text), None) => Ok(Prompt::Text(text.clone())),
        (None, Some(messages)) => Ok(Prompt::Messages(messages.clone())),
        (Some(_), Some(_)) => bail!("give `prompt` or `messages`, not both"),
        (None, None) => bail!("`prompt` or `messages` is missing"),
    }
}
