//! Readers of benchmark files: one JSON object a line, every fault named by file and line.
//!
//! The layout is `id`, `question`, `answer` (a string), optionally `solution`, plus what each benchmark adds. Rows
//! exported from the hub work too: field names come from the [`crate::registry`], a missing `id` becomes the file's
//! name and the row's number, numeric answers become text, and GSM8K's `... #### 18` is cut to `18`.
//! Nothing is skipped silently: an empty question or answer, an id given twice and a line that is no object are
//! errors. Lines are bounded at [`MAX_LINE`] bytes.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::registry::{Benchmark, TaskKind};

/// The longest line a reader accepts, in bytes.
pub const MAX_LINE: u64 = 16 << 20;

/// A question with its gold answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// Unique within the file.
    pub id: String,
    /// What is asked, complete: with the story and the choices where there are some.
    pub question: String,
    /// The gold final answer, or the reference code.
    pub answer: String,
    /// Reference reasoning, if the source has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub solution: Option<String>,
    /// What a judge needs beyond the answer.
    #[serde(default)]
    pub details: Details,
}

/// What a benchmark adds to question and answer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Details {
    /// A single mathematical answer.
    #[default]
    Maths,
    /// An OlympiadBench answer.
    Olympiad {
        /// `Numerical`, `Expression`, `Equation`, `Interval` or `Tuple`.
        answer_type: String,
        /// Several answers, joined by ", ".
        multiple: bool,
        /// The unit asked for, if any.
        unit: Option<String>,
        /// The absolute tolerance the benchmark allows, if any.
        tolerance: Option<f64>,
    },
    /// A Python function completed from its signature, tested by `check(function)`.
    HumanEval {
        /// Defines `check(candidate)`.
        test: String,
        /// The function's name.
        entry_point: String,
    },
    /// A Python function from a description, tested by assertions.
    Mbpp {
        /// Imports the assertions need.
        test_imports: Vec<String>,
        /// The assertions.
        test_list: Vec<String>,
    },
    /// One of several choices.
    Choice {
        /// The choices in order; empty where the question text alone lists them.
        choices: Vec<String>,
        /// Index of the right one, where choices are given.
        answer_index: Option<usize>,
        /// The sub-task, such as `murder_mysteries`.
        domain: String,
    },
}

/// GSM8K, training or test: `id`, `question`, `answer`, `solution`; or the hub's `question`, `answer` with `####`.
///
/// # Errors
/// A file that cannot be read, a faulty line, no line at all.
pub fn gsm8k(path: impl AsRef<Path>) -> Result<Vec<Question>> {
    read(path.as_ref(), |row| row.maths(&["question"], &["answer"]))
}

/// SVAMP: as [`gsm8k`].
///
/// # Errors
/// As [`gsm8k`].
pub fn svamp(path: impl AsRef<Path>) -> Result<Vec<Question>> {
    read(path.as_ref(), |row| row.maths(&["question", "question_concat", "Body"], &["answer", "Answer"]))
}

/// OlympiadBench, open-ended English maths: adds `answer_type`, `multiple`, `unit`, `error`.
///
/// # Errors
/// As [`gsm8k`].
pub fn olympiadbench(path: impl AsRef<Path>) -> Result<Vec<Question>> {
    read(path.as_ref(), |row| {
        let tolerance = match row.fields.get("error") {
            None | Some(Value::Null) => None,
            Some(Value::Number(number)) => number.as_f64(),
            Some(Value::String(text)) if text.trim().is_empty() => None,
            Some(Value::String(text)) => {
                Some(text.trim().parse().map_err(|_| format!("`error` should be a number, found {text:?}"))?)
            }
            Some(other) => return Err(format!("`error` should be a number, found {other}")),
        };
        let details = Details::Olympiad {
            answer_type: row.text(&["answer_type"]).unwrap_or_default(),
            multiple: matches!(
                row.fields.get("multiple").or(row.fields.get("is_multiple_answer")),
                Some(Value::Bool(true))
            ),
            unit: row.text(&["unit"]).ok(),
            tolerance,
        };
        Ok(Question { details, ..row.maths(&["question"], &["answer", "final_answer"])? })
    })
}

/// HumanEval: `question` (signature and docstring; the original's `prompt`), `answer`, `test`, `entry_point`.
///
/// # Errors
/// As [`gsm8k`].
pub fn humaneval(path: impl AsRef<Path>) -> Result<Vec<Question>> {
    read(path.as_ref(), |row| {
        let details =
            Details::HumanEval { test: row.text(&["test"])?, entry_point: row.text(&["entry_point"])? };
        Ok(Question { details, ..row.plain(&["question", "prompt"], &["answer", "canonical_solution"])? })
    })
}

/// MBPP, sanitised: `question`, `answer` (reference code), `test_imports`, `test_list`, `split`. Rows of another
/// split than `split` are left out; `None` keeps all, rows without a split are always kept.
///
/// # Errors
/// As [`gsm8k`]; also when the split has no rows.
pub fn mbpp(path: impl AsRef<Path>, split: Option<&str>) -> Result<Vec<Question>> {
    let path = path.as_ref();
    let mut kept = Vec::new();
    for (question, its_split) in read(path, |row| {
        let test_list = row.list("test_list")?;
        if test_list.is_empty() {
            return Err("`test_list` has no assertion".into());
        }
        let details = Details::Mbpp { test_imports: row.list("test_imports").unwrap_or_default(), test_list };
        let question =
            Question { details, ..row.plain(&["question", "prompt", "text"], &["answer", "code"])? };
        Ok((question, row.text(&["split"]).ok()))
    })? {
        if split.is_none() || its_split.is_none() || its_split.as_deref() == split {
            kept.push(question);
        }
    }
    if kept.is_empty() { Err(Error::Empty { path: path.to_owned() }) } else { Ok(kept) }
}

/// MuSR: `narrative`, `question`, `choices`, `answer` (the choice's text), `answer_index`, `domain`. The question
/// becomes story, question and lettered choices.
///
/// # Errors
/// As [`gsm8k`]; also when the answer is none of the choices.
pub fn musr(path: impl AsRef<Path>) -> Result<Vec<Question>> {
    read(path.as_ref(), |row| {
        let choices = match row.list("choices") {
            Ok(choices) => choices,
            Err(_) => python_list(&row.text(&["choices"])?)?,
        };
        let plain = row.plain(&["question"], &["answer", "answer_choice"])?;
        let answer_index = choices.iter().position(|choice| *choice == plain.answer);
        let said = row.fields.get("answer_index").and_then(Value::as_u64).map(|index| index as usize);
        let Some(index) = answer_index else {
            return Err(format!("the answer {:?} is none of the choices", plain.answer));
        };
        if said.is_some_and(|said| choices.get(said) != Some(&plain.answer)) {
            return Err(format!(
                "`answer_index` {} is not the answer {:?}",
                said.unwrap_or_default(),
                plain.answer
            ));
        }
        let lettered: Vec<String> =
            choices.iter().enumerate().map(|(i, choice)| format!("({}) {choice}", letter(i))).collect();
        let story = row.text(&["narrative"]).unwrap_or_default();
        let question =
            format!("{story}\n\n{}\n{}", plain.question, lettered.join("\n")).trim_start().to_owned();
        let domain = row.text(&["domain"]).unwrap_or_default();
        Ok(Question {
            question,
            details: Details::Choice { choices, answer_index: Some(index), domain },
            ..plain
        })
    })
}

/// BIG-Bench Hard: `question`, `answer` such as `(B)` or `valid`, `task`.
///
/// # Errors
/// As [`gsm8k`].
pub fn bbh(path: impl AsRef<Path>) -> Result<Vec<Question>> {
    read(path.as_ref(), |row| {
        let domain = row.text(&["task"]).unwrap_or_default();
        let details = Details::Choice { choices: Vec::new(), answer_index: None, domain };
        Ok(Question { details, ..row.plain(&["question", "input"], &["answer", "target"])? })
    })
}

/// Any file of `question` and `answer`, for sets that the registry does not know. The question may also be called
/// `problem` or `prompt`.
///
/// # Errors
/// As [`gsm8k`].
pub fn questions(path: impl AsRef<Path>) -> Result<Vec<Question>> {
    read(path.as_ref(), |row| row.maths(&["question", "problem", "prompt"], &["answer", "expected_answer"]))
}

/// The file of a registered benchmark, by the reader it needs.
///
/// # Errors
/// As [`gsm8k`].
pub fn load(benchmark: &Benchmark, path: impl AsRef<Path>) -> Result<Vec<Question>> {
    match benchmark.name {
        "olympiadbench" => olympiadbench(path),
        "humaneval" => humaneval(path),
        "mbpp" => mbpp(path, Some("test")),
        "musr" => musr(path),
        "bbh" => bbh(path),
        _ => {
            debug_assert_eq!(benchmark.kind, TaskKind::Maths);
            read(path.as_ref(), |row| row.maths(benchmark.question_fields, benchmark.answer_fields))
        }
    }
}

/// `A`, `B`, ... for the choices of a question; numbers past `Z`.
fn letter(index: usize) -> String {
    u8::try_from(index)
        .ok()
        .filter(|&i| i < 26)
        .map_or_else(|| (index + 1).to_string(), |i| char::from(b'A' + i).to_string())
}

/// A list of strings as Python prints it: `['Mack', "Ana's"]`.
fn python_list(text: &str) -> std::result::Result<Vec<String>, String> {
    let fault = || format!("`choices` should be a list of strings, found {text:?}");
    let inner = text.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or_else(fault)?;
    let mut items = Vec::new();
    let mut characters = inner.chars().peekable();
    loop {
        while characters.next_if(|c| c.is_whitespace() || *c == ',').is_some() {}
        let Some(quote) = characters.next() else { return Ok(items) };
        if quote != '\'' && quote != '"' {
            return Err(fault());
        }
        let mut item = String::new();
        loop {
            match characters.next().ok_or_else(fault)? {
                '\\' => item.push(characters.next().ok_or_else(fault)?),
                c if c == quote => break,
                c => item.push(c),
            }
        }
        items.push(item);
    }
}

/// One parsed line.
struct Row {
    fields: Map<String, Value>,
    fallback_id: String,
}

impl Row {
    /// A non-empty string; numbers are written out; a list of chat messages gives the last one's content.
    fn text(&self, names: &[&str]) -> std::result::Result<String, String> {
        for name in names {
            let mut value = None;
            for (depth, part) in name.split('.').enumerate() {
                value = if depth == 0 {
                    self.fields.get(part)
                } else {
                    value.and_then(|inner: &Value| inner.get(part))
                };
            }
            let found = match value {
                None | Some(Value::Null) => continue,
                Some(Value::String(text)) => text.clone(),
                Some(Value::Number(number)) => match number.as_f64() {
                    // 18.0 is 18.
                    Some(whole) if whole.fract() == 0.0 && whole.abs() < 1e15 => format!("{whole:.0}"),
                    _ => number.to_string(),
                },
                Some(Value::Array(items)) if items.len() == 1 && items[0].is_string() => {
                    items[0].as_str().unwrap_or_default().to_owned()
                }
                Some(Value::Array(items)) => items
                    .last()
                    .and_then(|message| message.get("content")?.as_str())
                    .ok_or_else(|| format!("`{name}` should be a string, found a list"))?
                    .to_owned(),
                Some(other) => return Err(format!("`{name}` should be a string, found {other}")),
            };
            if found.trim().is_empty() {
                return Err(format!("`{name}` is empty"));
            }
            return Ok(found);
        }
        let names = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
        Err(format!("no {names} in this line"))
    }

    fn list(&self, name: &str) -> std::result::Result<Vec<String>, String> {
        let fault = || format!("`{name}` should be a list of strings");
        let items = self.fields.get(name).and_then(Value::as_array).ok_or_else(fault)?;
        items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(fault)).collect()
    }

    fn plain(&self, question: &[&str], answer: &[&str]) -> std::result::Result<Question, String> {
        let id = self.text(&["id", "unique_id", "task_id", "ID"]).or_else(|_| {
            self.text(&["extra_info.index"]).or_else(|_| Ok::<_, String>(self.fallback_id.clone()))
        })?;
        Ok(Question {
            id,
            question: self.text(question)?,
            answer: self.text(answer)?,
            solution: self.text(&["solution"]).ok(),
            details: Details::Maths,
        })
    }

    fn maths(&self, question: &[&str], answer: &[&str]) -> std::result::Result<Question, String> {
        let mut plain = self.plain(question, answer)?;
        if let Some((reasoning, last)) = plain.answer.rsplit_once("####") {
            let last = last.trim().replace(',', "");
            if last.is_empty() {
                return Err("nothing follows `####` in the answer".into());
            }
            plain.solution.get_or_insert_with(|| reasoning.trim_end().to_owned());
            plain.answer = last;
        }
        Ok(plain)
    }
}

/// What a reader makes of a row has an id.
trait HasId {
    fn id(&self) -> &str;
}

impl HasId for Question {
    fn id(&self) -> &str {
        &self.id
    }
}

impl HasId for (Question, Option<String>) {
    fn id(&self) -> &str {
        &self.0.id
    }
}

fn read<T: HasId>(path: &Path, parse: impl Fn(&Row) -> std::result::Result<T, String>) -> Result<Vec<T>> {
    let unreadable = |source| Error::Read { path: path.to_owned(), source };
    let mut reader = BufReader::new(File::open(path).map_err(unreadable)?);
    let stem = path.file_stem().map_or_else(|| "row".into(), |stem| stem.to_string_lossy().into_owned());
    let mut ids = HashSet::new();
    let mut items = Vec::new();
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let fault = |problem: String| Error::Line { path: path.to_owned(), line, problem };
        let read = reader.by_ref().take(MAX_LINE + 1).read_until(b'\n', &mut bytes).map_err(unreadable)?;
        if read == 0 {
            break;
        }
        if read as u64 > MAX_LINE {
            return Err(fault(format!("longer than {MAX_LINE} bytes")));
        }
        let text = std::str::from_utf8(&bytes).map_err(|error| fault(format!("not UTF-8: {error}")))?;
        let text = if line == 1 { text.trim_start_matches('\u{feff}') } else { text };
        if text.trim().is_empty() {
            continue;
        }
        let value: Value = serde_json::from_str(text).map_err(|error| fault(format!("not JSON: {error}")))?;
        let Value::Object(fields) = value else {
            return Err(fault("expected a JSON object".into()));
        };
        let row = Row { fields, fallback_id: format!("{stem}-{}", items.len()) };
        let item = parse(&row).map_err(fault)?;
        if !ids.insert(item.id().to_owned()) {
            return Err(fault(format!("the id {:?} was given before", item.id())));
        }
        items.push(item);
    }
    if items.is_empty() { Err(Error::Empty { path: path.to_owned() }) } else { Ok(items) }
}
