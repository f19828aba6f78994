//! From records to examples, through whatever knows the tokenizer.

use serde::{Deserialize, Serialize};

use crate::{Error, Example};

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks: "system", "user", "assistant", or what the template knows.
    pub role: String,
    /// What is said.
    pub content: String,
}

/// A conversation's tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChatTokens {
    /// Token ids.
    pub tokens: Vec<u32>,
    /// Whether an assistant wrote the token; `None` when the template does not tell.
    pub assistant: Option<Vec<bool>>,
}

/// What this crate needs from a tokenizer and its chat template.
pub trait ChatEncode {
    /// The encoder's own error.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Encodes plain text; `special` adds what the tokenizer puts around a text, as a begin token.
    ///
    /// # Errors
    /// When the tokenizer fails.
    fn encode_text(&self, text: &str, special: bool) -> Result<Vec<u32>, Self::Error>;

    /// Encodes a conversation with the chat template; `generation_prompt` appends the header of an answer.
    ///
    /// # Errors
    /// When the template fails or there is none.
    fn encode_chat(&self, messages: &[Message], generation_prompt: bool) -> Result<ChatTokens, Self::Error>;

    /// The token that ends an answer, if there is one.
    fn end_token(&self) -> Option<u32>;

    /// Text of tokens, special ones included, for a reader.
    fn decode(&self, tokens: &[u32]) -> String;
}

/// A training record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Record {
    /// A conversation; with a completion, that is the answer to it.
    Chat {
        /// The turns.
        messages: Vec<Message>,
        /// The answer, if it is not the last turn.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        completion: Option<String>,
    },
    /// Raw text and what follows it.
    Text {
        /// What is given.
        #[serde(default)]
        prompt: String,
        /// What is to be written.
        completion: String,
    },
}

/// Which tokens are learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Labels {
    /// The completion; in a conversation, the last turn, which must be the assistant's.
    #[default]
    Completion,
    /// Every assistant turn; needs a template that marks them.
    Assistant,
    /// Every token.
    All,
}

/// Turns a record into an example. The end token is always learned.
///
/// # Errors
/// When the record does not fit the labels, or the encoder fails.
pub fn encode<E: ChatEncode + ?Sized>(
    encoder: &E,
    record: &Record,
    labels: Labels,
) -> Result<Example, Error> {
    let failed = |error: E::Error| Error::Encode(Box::new(error));
    let example = match record {
        Record::Text { prompt, completion } => {
            let prompt = encoder.encode_text(prompt, true).map_err(failed)?;
            let completion = encoder.encode_text(completion, false).map_err(failed)?;
            Example::prompt_completion(prompt, completion)
        }
        Record::Chat { messages, completion: Some(completion) } => {
            let prompt = encoder.encode_chat(messages, true).map_err(failed)?;
            let completion = encoder.encode_text(completion, false).map_err(failed)?;
            let mut example = Example::prompt_completion(prompt.tokens, completion);
            if labels == Labels::Assistant {
                mark(&mut example, prompt.assistant.as_deref(), encoder.end_token())?;
            }
            example
        }
        Record::Chat { messages, completion: None } => {
            let whole = encoder.encode_chat(messages, false).map_err(failed)?;
            let mut example = Example { learn: vec![false; whole.tokens.len()], tokens: whole.tokens };
            match labels {
                Labels::All => {}
                Labels::Assistant => mark(&mut example, whole.assistant.as_deref(), encoder.end_token())?,
                Labels::Completion => {
                    let Some((last, before)) =
                        messages.split_last().filter(|(last, _)| last.role == "assistant")
                    else {
                        let reason =
                            "the last message must be the assistant's: it is what is learned".to_owned();
                        return Err(Error::Record { reason });
                    };
                    let prompt = encoder.encode_chat(before, true).map_err(failed)?.tokens;
                    if !example.tokens.starts_with(&prompt) {
                        let reason = format!(
                            "the chat template writes the conversation before the answer {:?} differently when the answer follows: \
                             give `messages` and `completion` instead",
                            last.content.chars().take(40).collect::<String>()
                        );
                        return Err(Error::Record { reason });
                    }
                    example.learn[prompt.len()..].fill(true);
                    trim_after_end(&mut example, encoder.end_token());
                }
            }
            example
        }
    };
    let mut example = match encoder.end_token() {
        // A conversation's template ends its turns itself; what follows the last end token is not learned.
        Some(end) if !matches!(record, Record::Chat { completion: None, .. }) => example.with_end(end),
        _ => example,
    };
    if labels == Labels::All {
        example.learn.fill(true);
    }
    if example.targets() == 0 {
        return Err(Error::NothingToLearn { index: 0, tokens: example.tokens });
    }
    Ok(example)
}

/// Templates often write a line break after the end of the last turn; a model that has ended never writes it.
fn trim_after_end(example: &mut Example, end: Option<u32>) {
    let last = end.and_then(|end| example.tokens.iter().rposition(|token| *token == end));
    if let Some(last) = last.filter(|last| example.learn[*last]) {
        example.learn[last + 1..].fill(false);
    }
}

/// Learns what the template marks, and the end token right after it: a template may close its mark before that token.
fn mark(example: &mut Example, assistant: Option<&[bool]>, end: Option<u32>) -> Result<(), Error> {
    let Some(assistant) = assistant else {
        let reason = "the chat template does not mark what the assistant wrote (`{% generation %}`): \
                      learn the completion or all tokens instead";
        return Err(Error::Record { reason: reason.to_owned() });
    };
    for (learn, marked) in example.learn.iter_mut().zip(assistant) {
        *learn |= marked;
    }
    for index in 1..example.len() {
        let [before, token] = [index - 1, index].map(|place| Some(example.tokens[place]));
        if example.learn[index - 1] && before != end && token == end {
            example.learn[index] = true;
        }
    }
    Ok(())
}
