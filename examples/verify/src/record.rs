//! One line in, one line out.

use anyhow::{Context, Result};
use serde_json::{Map, Value};
use verifier::{Gold, Policy, Response, verify_with};

/// The last gold answer read: the responses of one question usually stand together.
#[derive(Default)]
pub struct Golds {
    last: Option<Gold>,
}

impl Golds {
    /// The gold answer of a text, reused while the text stays the same.
    pub fn get(&mut self, text: &str, policy: &Policy) -> &Gold {
        match &self.last {
            Some(gold) if gold.text() == text => {}
            _ => self.last = None,
        }
        self.last.get_or_insert_with(|| Gold::parse_with(text, policy))
    }
}

/// The verdict line for an input line, with its line feed.
pub fn answer(line: &[u8], policy: &Policy, answer_only: bool, golds: &mut Golds) -> Result<Vec<u8>> {
    anyhow::ensure!(!line.trim_ascii().is_empty(), "the line is empty");
    let mut record = parse(line)?;
    let mut field = |name: &str| -> Result<String> {
        match record.remove(name) {
            Some(Value::String(s)) => Ok(s),
            Some(other) => anyhow::bail!("`{name}` must be a string, found {}", shown(&other)),
            None => anyhow::bail!("`{name}` is missing"),
        }
    };
    let gold = field("gold")?;
    let response = field("response")?;
    let gold = golds.get(&gold, policy);
    let response = if answer_only { Response::answer_only(&response) } else { Response::new(&response) };
    let v = verify_with(gold, &response, policy);
    record.insert("verdict".into(), v.verdict.name().into());
    record.insert("extracted".into(), v.extracted.map_or(Value::Null, Value::String));
    record.insert("reason".into(), v.reason.message().into());
    let mut out = Vec::with_capacity(160);
    serde_json::to_writer(&mut out, &record)?;
    out.push(b'\n');
    Ok(out)
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    text.chars().take(60).collect()
}

/// A line as an object. A lone surrogate escape reads as U+FFFD.
fn parse(line: &[u8]) -> Result<Map<String, Value>> {
    let read = |line: &[u8]| serde_json::from_slice::<Map<String, Value>>(line);
    match read(line) {
        Ok(record) => Ok(record),
        Err(first) => {
            let Some(repaired) = replace_lone_surrogates(line) else {
                return Err(first).context("not a JSON object");
            };
            read(&repaired).context("not a JSON object")
        }
    }
}

/// Replaces `\uD800`-`\uDFFF` escapes that are no pair by `\uFFFD`; none if there is nothing to replace.
pub fn replace_lone_surrogates(line: &[u8]) -> Option<Vec<u8>> {
    let unit = |at: usize| -> Option<u16> {
        let h = line.get(at..at + 6)?;
        if h[0] != b'\\' || h[1] != b'u' {
            return None;
        }
        u16::from_str_radix(std::str::from_utf8(&h[2..]).ok()?, 16).ok()
    };
    let mut out = Vec::with_capacity(line.len());
    let (mut i, mut changed) = (0, false);
    while i < line.len() {
        if line[i] != b'\\' {
            out.push(line[i]);
            i += 1;
            continue;
        }
        match unit(i) {
            Some(0xd800..=0xdbff) if matches!(unit(i + 6), Some(0xdc00..=0xdfff)) => {
                out.extend_from_slice(&line[i..i + 12]);
                i += 12;
            }
            Some(0xd800..=0xdfff) => {
                out.extend_from_slice(b"\\ufffd");
                i += 6;
                changed = true;
            }
            _ => {
                // An escape of two bytes: the second is never the start of another.
                out.extend_from_slice(&line[i..(i + 2).min(line.len())]);
                i += 2;
            }
        }
    }
    changed.then_some(out)
}
