//! Reading the questions.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use polya_prompts::Question;
use serde_json::{Map, Value};

/// The longest line that is read, in bytes.
const MAX_LINE: u64 = 16 << 20;

/// Reads `{"id", "question", "answer"}` lines; other fields are carried through. A number as answer or id is taken as its
/// text.
pub fn read(path: &Path) -> Result<Vec<Question>> {
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut reader = BufReader::new(file);
    let (mut questions, mut line, mut number) = (Vec::new(), Vec::new(), 0);
    loop {
        line.clear();
        let taken = (&mut reader).take(MAX_LINE + 1).read_until(b'\n', &mut line);
        if taken.with_context(|| format!("cannot read {}", path.display()))? == 0 {
            break;
        }
        number += 1;
        if line.len() as u64 > MAX_LINE {
            bail!("{}, line {number}: longer than {MAX_LINE} bytes", path.display());
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        questions.push(one(&line).with_context(|| format!("{}, line {number}", path.display()))?);
    }
    if questions.is_empty() {
        bail!("{} has no questions", path.display());
    }
    Ok(questions)
}

fn one(line: &[u8]) -> Result<Question> {
    let mut record: Map<String, Value> = serde_json::from_slice(line).context("not a JSON object")?;
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
