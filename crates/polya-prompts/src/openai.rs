//! The wire format of OpenAI-compatible servers (vLLM, SGLang, llama.cpp server, ...): request bodies and their answers.
//!
//! Everything a server says is untrusted: unknown fields are ignored, wrong shapes are errors, counts are checked by the
//! caller.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::generate::{Candidate, Finish, Prompted};
use crate::render::Prompt;

/// How a server samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerSampling {
    /// Most new tokens of one response.
    pub max_tokens: usize,
    /// Softmax temperature.
    pub temperature: f64,
    /// Nucleus mass.
    pub top_p: f64,
    /// Texts that end a response. A base model needs some: it goes on with the next question otherwise.
    pub stop: Vec<String>,
    /// Whether to ask for the log-probability of each token.
    pub logprobs: bool,
    /// Further keys of the body, such as `top_k` or `min_p`; they replace the ones above.
    pub extra: Map<String, Value>,
}

impl Default for ServerSampling {
    /// Temperature 1 and the whole distribution, so that diversity is not cut; 512 new tokens.
    fn default() -> Self {
        Self {
            max_tokens: 512,
            temperature: 1.0,
            top_p: 1.0,
            stop: Vec::new(),
            logprobs: false,
            extra: Map::new(),
        }
    }
}

/// Path below the base URL for a prompt: raw text goes to completions, messages to chat completions.
pub fn path(prompt: &Prompt) -> &'static str {
    match prompt {
        Prompt::Text(_) => "completions",
        Prompt::Messages(_) => "chat/completions",
    }
}

/// The request body.
pub fn body(request: &Prompted, model: &str, sampling: &ServerSampling) -> Value {
    let mut body = json!({
        "model": model,
        "n": request.samples,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": request.seed,
    });
    match &request.prompt {
        Prompt::Text(text) => {
            body["prompt"] = json!(text);
            if sampling.logprobs {
                body["logprobs"] = json!(0);
            }
        }
        Prompt::Messages(messages) => {
            body["messages"] = json!(messages);
            if sampling.logprobs {
                body["logprobs"] = json!(true);
            }
        }
    }
    if !sampling.stop.is_empty() {
        body["stop"] = json!(sampling.stop);
    }
    if let Value::Object(map) = &mut body {
        for (key, value) in &sampling.extra {
            map.insert(key.clone(), value.clone());
        }
    }
    body
}

/// A server's answer to one request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// The candidates, in the order of their `index`.
    pub candidates: Vec<Candidate>,
    /// Tokens of the prompt, if told.
    pub prompt_tokens: Option<u64>,
    /// Tokens of all responses, if told.
    pub completion_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct WireAnswer {
    choices: Vec<WireChoice>,
    #[serde(default)]
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct WireUsage {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct WireChoice {
    #[serde(default)]
    index: Option<usize>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    message: Option<WireMessage>,
    #[serde(default)]
    finish_reason: Option<Finish>,
    #[serde(default)]
    logprobs: Option<WireLogprobs>,
    #[serde(default)]
    token_ids: Option<Vec<u32>>,
}

#[derive(Deserialize)]
struct WireMessage {
    #[serde(default)]
    content: Option<String>,
}

#[derive(Deserialize)]
struct WireLogprobs {
    #[serde(default)]
    token_logprobs: Option<Vec<Option<f32>>>,
    #[serde(default)]
    content: Option<Vec<WireTokenLogprob>>,
}

#[derive(Deserialize)]
struct WireTokenLogprob {
    logprob: f32,
}

/// Reads an answer.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn parse(bytes: &[u8]) -> Result<Answer, String> {
    let wire: WireAnswer = serde_json::from_slice(bytes).map_err(|e| format!("not a completion: {e}"))?;
    from_wire(wire)
}

/// Reads an answer from a parsed value, as in a batch results file.
///
/// # Errors
/// As [`parse`].
pub fn parse_value(value: Value) -> Result<Answer, String> {
    from_wire(serde_json::from_value(value).map_err(|e| format!("not a completion: {e}"))?)
}

fn from_wire(wire: WireAnswer) -> Result<Answer, String> {
    let mut choices = wire.choices;
    if choices.iter().all(|c| c.index.is_some()) {
        choices.sort_by_key(|c| c.index);
        if let Some(pair) = choices.windows(2).find(|w| w[0].index == w[1].index) {
            return Err(format!("two choices have index {}", pair[0].index.unwrap_or(0)));
        }
    }
    let only = choices.len() == 1;
    let usage = wire.usage;
    let completion_tokens = usage.as_ref().and_then(|u| u.completion_tokens);
    let mut candidates = Vec::with_capacity(choices.len());
    for (i, c) in choices.into_iter().enumerate() {
        let text = c.text.or(c.message.and_then(|m| m.content));
        let text = text.ok_or_else(|| format!("choice {i} has neither `text` nor `message.content`"))?;
        let logprobs: Vec<f32> = match c.logprobs {
            Some(WireLogprobs { content: Some(list), .. }) => list.into_iter().map(|t| t.logprob).collect(),
            // The first position of an echoed prompt has no log-probability; without echo none is missing.
            Some(WireLogprobs { token_logprobs: Some(list), .. }) => list.into_iter().flatten().collect(),
            _ => Vec::new(),
        };
        let tokens = (!logprobs.is_empty())
            .then_some(logprobs.len())
            .or_else(|| c.token_ids.as_ref().map(Vec::len))
            .or_else(|| if only { completion_tokens.and_then(|n| usize::try_from(n).ok()) } else { None });
        candidates.push(Candidate {
            text,
            token_ids: c.token_ids.unwrap_or_default(),
            logprobs,
            tokens,
            finish: c.finish_reason.unwrap_or_else(|| Finish::Other("missing".into())),
        });
    }
    Ok(Answer { candidates, prompt_tokens: usage.and_then(|u| u.prompt_tokens), completion_tokens })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{Message, Role};

    fn request(prompt: Prompt) -> Prompted {
        Prompted { id: "q/a/0".into(), prompt, samples: 2, first_sample: 0, seed: 7 }
    }

    #[test]
    fn bodies_of_both_kinds() {
        let sampling = ServerSampling { stop: vec!["\n\n".into()], logprobs: true, ..Default::default() };
        let b = body(&request(Prompt::Text("hi".into())), "m", &sampling);
        assert_eq!(
            (b["prompt"].as_str(), b["n"].as_u64(), b["seed"].as_u64()),
            (Some("hi"), Some(2), Some(7))
        );
        assert_eq!(b["logprobs"], json!(0));
        let m = vec![Message { role: Role::User, content: "hi".into() }];
        let mut sampling = sampling;
        sampling.extra.insert("top_k".into(), json!(40));
        let b = body(&request(Prompt::Messages(m)), "m", &sampling);
        assert_eq!(b["messages"], json!([{"role": "user", "content": "hi"}]));
        assert_eq!((&b["logprobs"], &b["top_k"]), (&json!(true), &json!(40)));
    }

    #[test]
    fn answers_of_both_kinds_are_read_in_index_order() {
        let a = parse(
            br#"{"choices":[{"index":1,"text":"b","finish_reason":"length"},{"index":0,"text":"a","finish_reason":"stop",
                "logprobs":{"token_logprobs":[-0.5,-1.0]}}],"usage":{"prompt_tokens":3,"completion_tokens":9},"new":1}"#,
        )
        .unwrap();
        assert_eq!(a.candidates[0].text, "a");
        assert_eq!(a.candidates[0].logprobs, [-0.5, -1.0]);
        assert_eq!(a.candidates[1].finish, Finish::Length);
        assert_eq!((a.prompt_tokens, a.completion_tokens), (Some(3), Some(9)));
        let a = parse(br#"{"choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":null}],"usage":{"completion_tokens":4}}"#).unwrap();
        assert_eq!(a.candidates[0].tokens, Some(4));
        assert!(!a.candidates[0].finish.is_finished(), "an unknown end is not a finished response");
    }

    #[test]
    fn broken_answers_say_why() {
        assert!(parse(b"{\"choices\":[{\"text\":\"ha").unwrap_err().contains("not a completion"));
        assert!(parse(b"{\"choices\":[{}]}").unwrap_err().contains("neither"));
        let twice = br#"{"choices":[{"index":0,"text":"a"},{"index":0,"text":"b"}]}"#;
        assert!(parse(twice).unwrap_err().contains("two choices have index 0"));
    }
}
