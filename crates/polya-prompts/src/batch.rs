//! Offline batch files: requests as OpenAI batch JSONL, results read back.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::journal::MAX_LINE_BYTES;
use crate::openai::{ServerSampling, body, parse_value, path};
use crate::run::{Request, Scheduler};

/// Writes every request that can be sent now, one line each, and returns them. With
/// [`round`](crate::PlanConfig::round) set, write, send and read back once for each round.
///
/// # Errors
/// What rendering returns, or [`Error::Io`].
pub fn write_batch(
    scheduler: &mut Scheduler<'_>,
    model: &str,
    sampling: &ServerSampling,
    file: &Path,
) -> Result<usize> {
    let out = std::fs::File::create(file).map_err(Error::io(file))?;
    let mut out = std::io::BufWriter::new(out);
    let mut written = 0;
    while let Some(request) = scheduler.next_request()? {
        let line = json!({
            "custom_id": request.prompted.id,
            "method": "POST",
            "url": format!("/v1/{}", path(&request.prompted.prompt)),
            "body": body(&request.prompted, model, sampling),
        });
        serde_json::to_writer(&mut out, &line).map_err(|e| Error::backend("writing a request", e))?;
        out.write_all(b"\n").map_err(Error::io(file))?;
        written += 1;
    }
    out.flush().map_err(Error::io(file))?;
    Ok(written)
}

/// What a results file held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchReport {
    /// Answers taken.
    pub completed: usize,
    /// Requests that the server failed; they are asked again in a later round.
    pub failed: usize,
    /// Lines for requests that are not open: answered before, or of another run.
    pub unknown: usize,
    /// Open requests without a line.
    pub missing: usize,
}

#[derive(Deserialize)]
struct Line {
    custom_id: String,
    #[serde(default)]
    response: Option<Response>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Response {
    status_code: u16,
    #[serde(default)]
    body: Value,
}

/// Reads a results file into the journal. Lines may come in any order; a request answered twice in the file is an error.
///
/// # Errors
/// [`Error::Line`] for a line that is not a result; [`Error::Contract`] for a wrong number of choices.
pub fn read_batch(scheduler: &mut Scheduler<'_>, file: &Path) -> Result<BatchReport> {
    let mut open: HashMap<String, Request> = HashMap::new();
    while let Some(request) = scheduler.next_request()? {
        open.insert(request.prompted.id.clone(), request);
    }
    let mut report = BatchReport::default();
    let mut seen = std::collections::HashSet::new();
    let mut reader = BufReader::new(std::fs::File::open(file).map_err(Error::io(file))?);
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        let taken = (&mut reader).take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut line);
        if taken.map_err(Error::io(file))? == 0 {
            break;
        }
        number += 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let bad = |message: String| Error::Line { path: file.to_owned(), line: number, message };
        let result: Line = serde_json::from_slice(&line).map_err(|e| bad(e.to_string()))?;
        if !seen.insert(result.custom_id.clone()) {
            return Err(bad(format!("`{}` is given twice", result.custom_id)));
        }
        let Some(request) = open.remove(&result.custom_id) else {
            report.unknown += 1;
            continue;
        };
        match (result.response, result.error) {
            (Some(r), None | Some(Value::Null)) if r.status_code == 200 => {
                let answer = parse_value(r.body).map_err(bad)?;
                scheduler.complete(request, answer.candidates)?;
                report.completed += 1;
            }
            (response, error) => {
                let status = response.map_or(0, |r| r.status_code);
                let what = error.map(|e| e.to_string()).unwrap_or_default();
                scheduler.fail(&request, &format!("status {status} {what}"));
                report.failed += 1;
            }
        }
    }
    report.missing = open.len();
    for request in open.into_values() {
        scheduler.fail(&request, &"no line in the results file");
    }
    Ok(report)
}
