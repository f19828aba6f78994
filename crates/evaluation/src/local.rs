//! A model in this process: it answers prompts, tells likelihoods, and rewards responses (feature `models`).
//!
//! [`Speech`] is the text side of a folder: prompts to token ids, samples to text. [`Local`] is a whole folder, and lends
//! itself to `polya-prompts` as a [`Generator`], as a [`Likelihood`] and, if it is a reward model, as a [`Judge`].

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use models::{
    CausalLm, ChatOptions, ChatTemplate, Error, Finish, Flow, LoadOptions, Pretrained, Request, Result,
    Sample, Sampled, Sampling, ScoreOptions, Scored, StopTexts, Tokenizer, Watch, generate, mean_hidden,
    reward, score,
};
use polya_prompts::rubric::{Continuation, Likelihood};
use polya_prompts::text::stable_hash;
use polya_prompts::{Candidate, Generator, Judge, Judged, Message, Prompt, Prompted, Role};

/// The text side of a model folder.
#[derive(Debug, Clone)]
pub struct Speech {
    tokenizer: Tokenizer,
    chat: Option<ChatTemplate>,
    eos: Vec<u32>,
    longest: usize,
}

/// A sample as text.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// What was written, without special tokens and without the stop text and what follows it.
    pub text: String,
    /// Whether it ended by itself or at a stop text; otherwise the token limit cut it.
    pub finished: bool,
    /// The raw sample; its tokens include the end token and those of a stop text.
    pub sample: Sample,
}

impl Speech {
    /// The text side of a loaded folder.
    ///
    /// # Errors
    /// If the folder has no tokenizer.
    pub fn new(dir: &Path, pretrained: &Pretrained) -> Result<Self> {
        let Some(tokenizer) = pretrained.tokenizer.clone() else {
            let reason = "there is no tokenizer.json: texts cannot be encoded".to_owned();
            return Err(Error::Malformed { path: dir.to_owned(), reason });
        };
        let (chat, eos) = (pretrained.chat.clone(), pretrained.eos().to_vec());
        Ok(Self { tokenizer, chat, eos, longest: pretrained.config.max_positions })
    }

    /// The tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The most tokens a sequence may have.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// The ids of a prompt: raw text with the tokenizer's special tokens, messages by the folder's chat template with the
    /// header of an answer.
    ///
    /// # Errors
    /// If the tokenizer fails, or messages meet a folder without a chat template.
    pub fn encode(&self, prompt: &Prompt) -> Result<Vec<u32>> {
        match prompt {
            Prompt::Text(text) => self.tokenizer.encode(text, true),
            Prompt::Messages(messages) => self.encode_chat(messages, true),
        }
    }

    fn encode_chat(&self, messages: &[Message], generation_prompt: bool) -> Result<Vec<u32>> {
        let Some(chat) = &self.chat else {
            return Err(Error::Template(
                "the folder has none: ask for raw prompts, `style = \"base\"`".into(),
            ));
        };
        let options = ChatOptions { generation_prompt, ..ChatOptions::default() };
        Ok(chat.encode(&self.tokenizer, messages, &options)?.tokens)
    }

    /// The ids of a prompt and a response to it, as a reward model reads them: raw text joined, messages with the response
    /// as the assistant's turn.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_with(&self, prompt: &Prompt, response: &str) -> Result<Vec<u32>> {
        match prompt {
            Prompt::Text(_) => Ok([self.encode(prompt)?, self.tokenizer.encode(response, false)?].concat()),
            Prompt::Messages(messages) => {
                let mut messages = messages.clone();
                messages.push(Message { role: Role::Assistant, content: response.to_owned() });
                self.encode_chat(&messages, false)
            }
        }
    }

    /// Refuses a prompt that leaves no room for `new_tokens` more.
    ///
    /// # Errors
    /// If prompt and new tokens together are more than the model's positions.
    pub fn fits(&self, what: &str, prompt: usize, new_tokens: usize) -> Result<()> {
        if prompt + new_tokens > self.longest {
            return Err(Error::Request(format!(
                "the prompt of {what} has {prompt} tokens; with {new_tokens} new ones that is more than the model's {} \
                 positions: shorten the prompt (fewer exemplars) or lower max_new_tokens",
                self.longest
            )));
        }
        Ok(())
    }

    /// Samples every request, ends samples at stop texts, and decodes them. End tokens are the folder's unless
    /// `sampling` names some.
    ///
    /// # Errors
    /// As [`generate`]; also if a stop text is empty.
    pub fn sample(
        &self,
        model: &CausalLm,
        requests: &[Request],
        sampling: &Sampling,
        stop: &[String],
    ) -> Result<Vec<Vec<Written>>> {
        let mut sampling = sampling.clone();
        if sampling.eos.is_empty() {
            sampling.eos.clone_from(&self.eos);
        }
        let mut stops = Stops(StopTexts::new(&self.tokenizer, stop)?);
        let samples = generate(model, requests, &sampling, &mut stops)?;
        let write = |sample: Sample| {
            let text = stops.0.cut(&self.tokenizer.decode(&sample.tokens, true)?).to_owned();
            Ok(Written { text, finished: sample.finish == Finish::Stop, sample })
        };
        samples.into_iter().map(|row| row.into_iter().map(write).collect()).collect()
    }
}

/// Ends a sample at a stop text.
struct Stops<'a>(StopTexts<'a>);

impl Watch for Stops<'_> {
    fn token(&mut self, sampled: Sampled<'_>) -> Flow {
        if self.0.hit(sampled.tokens) { Flow::Stop } else { Flow::Continue }
    }
}

/// A loaded folder, ready to write and to score.
#[derive(Debug, Clone)]
pub struct Local {
    model: CausalLm,
    speech: Speech,
    identity: String,
}

impl Local {
    /// Loads a folder. The device must not be an autodiff one: nothing is trained here.
    ///
    /// # Errors
    /// As [`Pretrained::load`]; also if there is no tokenizer.
    pub fn load(dir: &Path, options: &LoadOptions) -> Result<Self> {
        let pretrained = Pretrained::load(dir, options)?;
        let speech = Speech::new(dir, &pretrained)?;
        let identity = identity(dir).map_err(|source| Error::Read { path: dir.to_owned(), source })?;
        Ok(Self { model: pretrained.model, speech, identity })
    }

    /// The folder's [`identity`].
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The text side.
    #[must_use]
    pub fn speech(&self) -> &Speech {
        &self.speech
    }

    /// The mean of the last hidden states of each text, for [`vendi_score_embeddings`](crate::vendi_score_embeddings).
    ///
    /// # Errors
    /// If the tokenizer fails or a text is empty.
    pub fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let tokens =
            texts.iter().map(|text| self.speech.tokenizer.encode(text, true)).collect::<Result<Vec<_>>>()?;
        let rows: Vec<&[u32]> = tokens.iter().map(Vec::as_slice).collect();
        mean_hidden(&self.model, &rows, &ScoreOptions::default())
    }
}

/// A folder's name and a hash of its weights' lengths, beginnings and ends, and of its configuration: another model under
/// the same path has another identity.
///
/// # Errors
/// If the folder or one of its files cannot be read.
pub fn identity(dir: &Path) -> std::io::Result<String> {
    const PART: u64 = 1 << 20;
    let mut paths = std::fs::read_dir(dir)?.map(|e| Ok(e?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.retain(|p| p.extension().is_some_and(|e| e == "safetensors") || p.ends_with("config.json"));
    paths.sort();
    let mut parts = Vec::new();
    for path in paths {
        let mut file = File::open(&path)?;
        let length = file.metadata()?.len();
        let mut bytes = Vec::new();
        (&mut file).take(PART).read_to_end(&mut bytes)?;
        file.seek(SeekFrom::Start(length.saturating_sub(PART)))?;
        file.take(PART).read_to_end(&mut bytes)?;
        let sum = bytes.iter().fold(length, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
        parts.push(format!("{} {sum}", path.file_name().unwrap_or_default().to_string_lossy()));
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let name = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(format!("{name} {:016x}", stable_hash(&parts)))
}

fn backend(error: Error) -> polya_prompts::Error {
    polya_prompts::Error::backend("the model", error)
}

/// Writes candidates with a local model.
#[derive(Debug)]
pub struct Writer<'a> {
    local: &'a Local,
    sampling: Sampling,
    stop: Vec<String>,
    keep_tokens: bool,
}

impl<'a> Writer<'a> {
    /// Samples as told. `keep_tokens` says whether candidates carry token ids and log-probabilities.
    #[must_use]
    pub fn new(local: &'a Local, sampling: Sampling, stop: Vec<String>, keep_tokens: bool) -> Self {
        Self { local, sampling, stop, keep_tokens }
    }
}

impl Generator for Writer<'_> {
    fn generate(&mut self, batch: &[Prompted]) -> polya_prompts::Result<Vec<Vec<Candidate>>> {
        let Local { model, speech, .. } = self.local;
        let mut requests = Vec::with_capacity(batch.len());
        for p in batch {
            let prompt = speech.encode(&p.prompt).map_err(backend)?;
            speech.fits(&p.id, prompt.len(), self.sampling.max_new_tokens).map_err(backend)?;
            // The stream depends on the request's id, which holds question, approach and first sample.
            requests.push(Request { id: stable_hash(&[&p.id]), prompt, samples: p.samples });
        }
        let rows = speech.sample(model, &requests, &self.sampling, &self.stop).map_err(backend)?;
        let candidate = |w: Written| Candidate {
            text: w.text,
            tokens: Some(w.sample.tokens.len()),
            logprobs: if self.keep_tokens { w.sample.logprobs } else { Vec::new() },
            token_ids: if self.keep_tokens { w.sample.tokens } else { Vec::new() },
            finish: if w.finished { polya_prompts::Finish::Stop } else { polya_prompts::Finish::Length },
        };
        Ok(rows.into_iter().map(|row| row.into_iter().map(candidate).collect()).collect())
    }
}

impl Likelihood for &Local {
    fn log_likelihood(&mut self, batch: &[Continuation]) -> polya_prompts::Result<Vec<(f64, usize)>> {
        let mut sequences = Vec::with_capacity(batch.len());
        for c in batch {
            let mut tokens = self.speech.encode(&c.prompt).map_err(backend)?;
            let prompt_length = tokens.len();
            tokens.extend(self.speech.tokenizer.encode(&c.completion, false).map_err(backend)?);
            self.speech.fits("a text to be judged", tokens.len(), 0).map_err(backend)?;
            sequences.push(Scored { tokens, prompt_length });
        }
        let scores = score(&self.model, &sequences, &ScoreOptions::default()).map_err(backend)?;
        Ok(scores.iter().map(|s| (s.iter().map(|v| f64::from(*v)).sum(), s.len())).collect())
    }
}

/// Judges adherence with a reward model, as the paper does: the reward of the approach's question and the response.
///
/// The model sees the question with the approach's instruction, rendered without exemplars in the style given, and the
/// response after it.
#[derive(Debug)]
pub struct RewardJudge<'a> {
    local: &'a Local,
    family: &'a polya_prompts::Family,
    render: polya_prompts::Render<'a>,
}

impl<'a> RewardJudge<'a> {
    /// A judge over a `*ForSequenceClassification` folder.
    #[must_use]
    pub fn new(
        local: &'a Local,
        family: &'a polya_prompts::Family,
        render: polya_prompts::Render<'a>,
    ) -> Self {
        Self { local, family, render: polya_prompts::Render { exemplars: 0, ..render } }
    }
}

impl Judge for RewardJudge<'_> {
    fn adherence(&mut self, batch: &[Judged<'_>]) -> polya_prompts::Result<Vec<Option<f64>>> {
        let Local { model, speech, .. } = self.local;
        let mut sequences = Vec::with_capacity(batch.len());
        for j in batch {
            let approach = j.approach.map(|a| a.id.as_str());
            let prompt =
                self.family.render_detailed(approach, &j.question.question, None, &self.render)?.prompt;
            let tokens = speech.encode_with(&prompt, &j.candidate.text).map_err(backend)?;
            speech.fits(&j.question.id, tokens.len(), 0).map_err(backend)?;
            sequences.push(tokens);
        }
        let rows: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
        let rewards = reward(model, &rows, &ScoreOptions::default()).map_err(backend)?;
        Ok(rewards.into_iter().map(|r| Some(f64::from(r))).collect())
    }
}
