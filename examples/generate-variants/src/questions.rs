//! Reading the questions.

use std::path::Path;

use anyhow::{Context, Result, bail};
use polya_prompts::Question;
use serde_json::{Map, Value};

/// Reads `{"id", "question", "answer"}` lines; other fields are carried through. A number as answer or id is taken as its
/// text.
pub fn read(path: &Path) -> Result<Vec<Question>> {
    let lines = training::read_lines::<Map<String, Value>>(path)?;
    if lines.is_empty() {
        bail!("{} has no questions", path.display());
    }
    let question = |line: training::Line<Map<String, Value>>| {
        one(line.record).with_context(|| format!("{} line {}", path.display(), line.number))
    };
    lines.into_iter().map(question).collect()
}

fn one(mut record: Map<String, Value>) -> Result<Question> {
    let mut text = |key: &str| match record.remove(key) {
        Some(Value::String(text)) => Ok(text),
        Some(Value::Number(number)) => Ok(number.to_string()),
        Some(other) => bail!("`{key}` must be a string, found {other}"),
        None => bail!("`{key}` is missing"),
    };
    let mut question = Question::new(text("id")?, text("question")?, text("answer")?);
    question.rest = record;
    Ok(question)
}
