//! What a model is asked, and the texts at which its answer ends.

use crate::chat::{ChatOptions, TemplateValue};
use crate::error::{Error, Result};
use crate::pretrained::Pretrained;
use crate::tokenizer::Tokenizer;

/// What a model is given.
#[derive(Debug, Clone, PartialEq)]
pub enum Prompt {
    /// Raw text; what the tokenizer puts around a text, as a begin token, is added.
    Text(String),
    /// A conversation, through the folder's chat template, which writes all special tokens itself.
    Messages(Vec<TemplateValue>),
}

impl Pretrained {
    /// The token ids of a prompt. A conversation ends with the template's generation prompt if `answer`.
    ///
    /// # Errors
    /// If the folder has no tokenizer or no chat template, or one of them refuses the prompt.
    pub fn encode(&self, prompt: &Prompt, answer: bool) -> Result<Vec<u32>> {
        let missing = || Error::Tokenizer("the folder has no tokenizer.json".into());
        let tokenizer = self.tokenizer.as_ref().ok_or_else(missing)?;
        match prompt {
            Prompt::Text(text) => tokenizer.encode(text, true),
            Prompt::Messages(messages) => {
                let missing = || Error::Template("the folder has none: give a raw `prompt` instead".into());
                let template = self.chat.as_ref().ok_or_else(missing)?;
                let options = ChatOptions { generation_prompt: answer, ..ChatOptions::default() };
                Ok(template.encode(tokenizer, messages, &options)?.tokens)
            }
        }
    }
}

/// Texts that end a sample, for a [`Watch`](crate::Watch) that answers [`Flow::Stop`](crate::Flow) when one is hit.
#[derive(Debug, Clone)]
pub struct StopTexts<'a> {
    tokenizer: &'a Tokenizer,
    texts: Vec<String>,
    /// A stop text lies within this many last tokens when its last character has just been written.
    window: usize,
}

impl<'a> StopTexts<'a> {
    /// Watches for `texts`; none of them may be empty.
    ///
    /// # Errors
    /// If one is empty.
    pub fn new(tokenizer: &'a Tokenizer, texts: &[String]) -> Result<Self> {
        if texts.iter().any(String::is_empty) {
            return Err(Error::Request("a stop text is empty".into()));
        }
        // A token writes at least one byte; the margin is for tokens that write none and for the tokenizer's treatment of
        // what stands first.
        let window = texts.iter().map(String::len).max().unwrap_or(0) + 8;
        Ok(Self { tokenizer, texts: texts.to_vec(), window })
    }

    /// Whether the text of `tokens` holds a stop text. Ask after every token: only the last ones are looked at first.
    #[must_use]
    pub fn hit(&self, tokens: &[u32]) -> bool {
        let holds = |tokens: &[u32]| {
            let text = self.tokenizer.decode(tokens, true).unwrap_or_default();
            self.texts.iter().any(|stop| text.contains(stop))
        };
        if self.texts.is_empty() || !holds(&tokens[tokens.len().saturating_sub(self.window)..]) {
            return false;
        }
        tokens.len() <= self.window || holds(tokens)
    }

    /// `text` up to the first stop text in it.
    #[must_use]
    pub fn cut<'t>(&self, text: &'t str) -> &'t str {
        let first = self.texts.iter().filter_map(|stop| text.find(stop)).min();
        &text[..first.unwrap_or(text.len())]
    }
}
