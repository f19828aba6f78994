//! Tokens, and which of them are learned.

/// One sequence: `learn[i]` says whether token `i` is a target, predicted from the tokens before it.
///
/// The first token has nothing before it, so it is never predicted, whatever `learn[0]` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Example {
    /// Token ids.
    pub tokens: Vec<u32>,
    /// As long as `tokens`.
    pub learn: Vec<bool>,
}

impl Example {
    /// Learns the completion, given the prompt.
    ///
    /// ```
    /// let example = sft::Example::prompt_completion(vec![5, 6], vec![7, 2]);
    /// assert_eq!(example.tokens, [5, 6, 7, 2]);
    /// assert_eq!(example.learn, [false, false, true, true]);
    /// assert_eq!(example.targets(), 2);
    /// ```
    pub fn prompt_completion(prompt: Vec<u32>, completion: Vec<u32>) -> Self {
        let mut learn = vec![false; prompt.len()];
        learn.resize(prompt.len() + completion.len(), true);
        let mut tokens = prompt;
        tokens.extend(completion);
        Self { tokens, learn }
    }

    /// Learns every token, as in pre-training.
    pub fn all(tokens: Vec<u32>) -> Self {
        let learn = vec![true; tokens.len()];
        Self { tokens, learn }
    }

    /// Learns to end: appends the end token as a target, or makes the last token one if it is the end token.
    ///
    /// Targets are marked per position and never derived from the padding id, so the end token is learned also
    /// where a tokenizer pads with it.
    #[must_use]
    pub fn with_end(mut self, end: u32) -> Self {
        match (self.tokens.last(), self.learn.last_mut()) {
            (Some(last), Some(learn)) if *last == end => *learn = true,
            _ => {
                self.tokens.push(end);
                self.learn.push(true);
            }
        }
        self
    }

    /// The number of tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The number of predictions that count.
    pub fn targets(&self) -> usize {
        self.learn.iter().skip(1).filter(|learn| **learn).count()
    }

    /// Where the last target is: nothing after it needs to be fed. 0 without a target.
    pub(crate) fn last_target(&self) -> usize {
        self.learn.iter().rposition(|learn| *learn).unwrap_or(0)
    }
}
