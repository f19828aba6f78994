//! A reward endpoint over HTTP.
//!
//! `POST /` (any path) takes what the two common trainers send:
//!
//! - OpenRLHF `--remote_rm_url`: `{"query": [..], "prompts": [..], "labels": [..]}`; each query is prompt and response together.
//! - A TRL reward function: `{"completions": [..], "answer": [..]}`; completions are strings or chat messages.
//!
//! The reply is `{"rewards": [..], "scores": [..], "verdicts": [..]}`: 1 or 0 each; an unreadable gold answer gives null in
//! `rewards` for TRL, which leaves such samples out, and 0 for OpenRLHF, whose tensors cannot hold null.

use std::io::Read;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tiny_http::{Header, Method, Request, Response as Reply, Server};
use verifier::{Gold, Policy, Response, Verification, verify_with};

/// Largest request body.
const BODY: u64 = 256 << 20;

/// Listens and answers until the process ends.
pub fn run(listen: &str, policy: &Policy, threads: usize) -> Result<()> {
    let server = Server::http(listen).map_err(|e| anyhow::anyhow!("cannot listen on {listen}: {e}"))?;
    // The one line on standard output tells a script the port when it asked for port 0.
    println!("listening on http://{}", server.server_addr());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Ok(request) = server.recv() {
                    handle(request, policy);
                }
            });
        }
    });
    Ok(())
}

fn handle(mut request: Request, policy: &Policy) {
    let (status, body) = match respond(&mut request, policy) {
        Ok(value) => (200, value),
        Err(error) => (400, json!({ "error": format!("{error:#}") })),
    };
    let reply = Reply::from_string(body.to_string()).with_status_code(status);
    let reply = match Header::from_bytes("content-type", "application/json") {
        Ok(header) => reply.with_header(header),
        Err(()) => reply,
    };
    // The client may be gone; there is nobody to tell.
    let _ = request.respond(reply);
}

fn respond(request: &mut Request, policy: &Policy) -> Result<Value> {
    if *request.method() == Method::Get {
        return Ok(json!({ "status": "ok" }));
    }
    let mut body = Vec::new();
    request.as_reader().take(BODY + 1).read_to_end(&mut body).context("cannot read the request")?;
    if body.len() as u64 > BODY {
        bail!("the request is larger than {BODY} bytes");
    }
    let body: Value = match serde_json::from_slice(&body) {
        Ok(value) => value,
        Err(error) => {
            let repaired = crate::record::replace_lone_surrogates(&body).ok_or(error).context("not JSON")?;
            serde_json::from_slice(&repaired).context("not JSON")?
        }
    };
    rewards(&body, policy)
}

fn list<'a>(body: &'a Value, names: &[&str]) -> Option<&'a Vec<Value>> {
    names.iter().find_map(|n| body.get(n)).and_then(Value::as_array)
}

/// The reply to a request body.
pub fn rewards(body: &Value, policy: &Policy) -> Result<Value> {
    let openrlhf = body.get("query").is_some();
    let responses = list(body, &["query", "completions", "responses"])
        .context("`query` or `completions` must be a list")?;
    let golds = list(body, &["labels", "answer", "answers", "gold", "solution"])
        .context("`labels` or `answer` must be a list")?;
    if golds.len() != responses.len() {
        bail!("{} gold answers for {} responses", golds.len(), responses.len());
    }
    let prompts = list(body, &["prompts"]);
    let mut golds_read = crate::record::Golds::default();
    let mut checked: Vec<Verification> = Vec::with_capacity(responses.len());
    for (i, (response, gold)) in responses.iter().zip(golds).enumerate() {
        let text = content(response)
            .with_context(|| format!("response {i} is neither a string nor chat messages"))?;
        // OpenRLHF sends prompt and response as one text.
        let prompt =
            prompts.filter(|_| openrlhf).and_then(|p| p.get(i)).and_then(Value::as_str).unwrap_or("");
        let text = text.strip_prefix(prompt).unwrap_or(&text);
        let gold = match gold {
            Value::String(s) => s.clone(),
            Value::Number(n) => n.to_string(),
            other => bail!("gold answer {i} must be a string or a number, found {other}"),
        };
        let gold: &Gold = golds_read.get(&gold, policy);
        checked.push(verify_with(gold, &Response::new(text), policy));
    }
    let scores: Vec<f64> = checked.iter().map(|v| v.reward().unwrap_or(0.0)).collect();
    let rewards: Vec<Value> = checked
        .iter()
        .map(|v| if openrlhf { json!(v.reward().unwrap_or(0.0)) } else { json!(v.reward()) })
        .collect();
    let verdicts: Vec<&str> = checked.iter().map(|v| v.verdict.name()).collect();
    Ok(json!({ "rewards": rewards, "scores": scores, "verdicts": verdicts }))
}

/// The text of a completion: a string, or the last assistant message of a chat.
fn content(value: &Value) -> Option<String> {
    match value {
        Value::String(s) => Some(s.clone()),
        Value::Array(messages) => messages
            .iter()
            .rev()
            .find(|m| m.get("role").and_then(Value::as_str).is_none_or(|r| r == "assistant"))
            .and_then(|m| m.get("content"))
            .and_then(Value::as_str)
            .map(str::to_string),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_trainers_are_understood() {
        let policy = Policy::default();
        let reply = rewards(
            &json!({ "query": ["What is 2+2? 7\\boxed{4}", "Q #### 5"], "prompts": ["What is 2+2? 7", "Q"], "labels": ["4", "6"] }),
            &policy,
        )
        .unwrap();
        assert_eq!(reply["rewards"], json!([1.0, 0.0]));
        let reply = rewards(
            &json!({ "completions": [[{"role": "assistant", "content": "so \\boxed{0.5}"}], "4"], "answer": ["1/2", "\\frac{1}{"] }),
            &policy,
        )
        .unwrap();
        assert_eq!(reply["rewards"], json!([1.0, null]));
        assert_eq!(reply["verdicts"], json!(["correct", "unparsed_gold"]));
        assert!(rewards(&json!({ "completions": ["1"], "answer": [] }), &policy).is_err());
    }
}
