//! A model in this process: it writes candidates, scores texts, rewards them, and embeds them.

use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use models::{
    ChatOptions, ChatTemplate, Flow, LoadOptions, Precision, Pretrained, Request, Sampled, Sampling,
    ScoreOptions, Scored, Tokenizer, Watch, generate, mean_hidden, reward, score,
};
use polya_prompts::openai::ServerSampling;
use polya_prompts::rubric::{Continuation, Likelihood};
use polya_prompts::text::stable_hash;
use polya_prompts::{Candidate, Error, Finish, Generator, Judge, Judged, Message, Prompt, Prompted, Role};

/// Tokens whose text is searched for a stop text after each new token.
const STOP_TAIL: usize = 32;

/// A loaded folder. Cheap to clone.
#[derive(Clone)]
pub struct Loaded(Rc<Inner>);

struct Inner {
    pretrained: Pretrained,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    rows: usize,
    identity: String,
}

/// The device a name stands for: `cpu` and `flex`, `ndarray`, `cuda`, `cuda:N`.
pub fn device(name: &str) -> Result<Device> {
    match name {
        #[cfg(feature = "flex")]
        "cpu" | "flex" => Ok(Device::flex()),
        #[cfg(feature = "ndarray")]
        "ndarray" => Ok(Device::ndarray()),
        #[cfg(feature = "cuda")]
        name if name == "cuda" || name.starts_with("cuda:") => {
            let index = name.strip_prefix("cuda:").unwrap_or("0");
            let index =
                index.parse().with_context(|| format!("--device {name}: the index must be a number"))?;
            let found = Device::enumerate(burn::tensor::DeviceType::Cuda).len();
            if index >= found {
                bail!("--device {name}: this machine has {found} CUDA devices");
            }
            Ok(Device::cuda(index))
        }
        other => bail!("--device `{other}` is not in this build; known are cpu, flex, ndarray, cuda, cuda:N"),
    }
}

impl Loaded {
    /// Loads a folder; `rows` is the most samples run at once.
    pub fn new(dir: &Path, device: &Device, bf16: bool, rows: usize) -> Result<Self> {
        let at = || format!("cannot load the model folder {}", dir.display());
        let mut options = LoadOptions::new(device);
        if bf16 {
            options.dtype = Precision::Bf16;
        }
        let pretrained = Pretrained::load(dir, &options).with_context(at)?;
        let tokenizer =
            pretrained.tokenizer.clone().context("the folder has no tokenizer.json").with_context(at)?;
        let template = ChatTemplate::read(dir, Some(&tokenizer)).with_context(at)?;
        let identity = identity(dir).with_context(at)?;
        Ok(Self(Rc::new(Inner { pretrained, tokenizer, template, rows, identity })))
    }

    /// The folder's name and a hash of what is in it: the weights' lengths, beginnings and ends, and the configuration.
    pub fn identity(&self) -> &str {
        &self.0.identity
    }

    /// A raw prompt is encoded with the tokenizer's special tokens, messages by the template.
    fn encode(&self, prompt: &Prompt, answer: bool) -> models::Result<Vec<u32>> {
        match prompt {
            Prompt::Text(text) => self.0.tokenizer.encode(text, true),
            Prompt::Messages(list) => {
                let Some(template) = &self.0.template else {
                    return Err(models::Error::Request(
                        "the folder has no chat template; use --style base".into(),
                    ));
                };
                let messages: Vec<serde_json::Value> = list.iter().map(|m| serde_json::json!(m)).collect();
                let options = ChatOptions { generation_prompt: answer, ..ChatOptions::prompt() };
                Ok(template.encode(&self.0.tokenizer, &messages, &options)?.tokens)
            }
        }
    }

    /// The mean of the last hidden states of each text.
    pub fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let tokens: Vec<Vec<u32>> =
            texts.iter().map(|t| self.0.tokenizer.encode(t, true)).collect::<models::Result<_>>()?;
        let rows: Vec<&[u32]> = tokens.iter().map(Vec::as_slice).collect();
        Ok(mean_hidden(&self.0.pretrained.model, &rows, &ScoreOptions::default())?)
    }
}

fn identity(dir: &Path) -> Result<String> {
    use std::io::{Read, Seek, SeekFrom};
    let mut names: Vec<_> = std::fs::read_dir(dir)?.map(|e| Ok(e?.path())).collect::<Result<_>>()?;
    names.retain(|p| p.extension().is_some_and(|e| e == "safetensors") || p.ends_with("config.json"));
    names.sort();
    let mut parts = Vec::new();
    for path in names {
        let mut file = std::fs::File::open(&path)?;
        let length = file.metadata()?.len();
        let mut bytes = Vec::new();
        (&mut file).take(1 << 20).read_to_end(&mut bytes)?;
        file.seek(SeekFrom::Start(length.saturating_sub(1 << 20)))?;
        file.take(1 << 20).read_to_end(&mut bytes)?;
        let sum = bytes.iter().fold(length, |h, b| h.wrapping_mul(0x0100_0000_01b3) ^ u64::from(*b));
        parts.push(format!("{} {sum}", path.file_name().unwrap_or_default().to_string_lossy()));
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let name = dir.canonicalize().unwrap_or(dir.to_owned());
    let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(format!("{name} {:016x}", stable_hash(&parts)))
}

fn backend(error: models::Error) -> Error {
    Error::backend("the model", error)
}

/// Writes candidates.
pub struct Writer {
    model: Loaded,
    sampling: Sampling,
    stop: Vec<String>,
    keep_logprobs: bool,
}

impl Writer {
    /// Samples as a server with these settings would.
    pub fn new(model: Loaded, settings: &ServerSampling, seed: u64) -> Self {
        let sampling = Sampling {
            temperature: settings.temperature,
            top_p: settings.top_p,
            max_new_tokens: settings.max_tokens,
            eos: model.0.pretrained.eos().to_vec(),
            seed,
            max_rows: model.0.rows,
            ..Sampling::default()
        };
        Self { model, sampling, stop: settings.stop.clone(), keep_logprobs: settings.logprobs }
    }
}

/// Ends a sample at a stop text.
struct Stops<'a> {
    tokenizer: &'a Tokenizer,
    stop: &'a [String],
}

impl Watch for Stops<'_> {
    fn token(&mut self, sampled: Sampled<'_>) -> Flow {
        if self.stop.is_empty() {
            return Flow::Continue;
        }
        let tail = &sampled.tokens[sampled.tokens.len().saturating_sub(STOP_TAIL)..];
        let text = self.tokenizer.decode(tail, true).unwrap_or_default();
        if self.stop.iter().any(|s| text.contains(s.as_str())) { Flow::Stop } else { Flow::Continue }
    }
}

impl Generator for Writer {
    fn generate(&mut self, batch: &[Prompted]) -> polya_prompts::Result<Vec<Vec<Candidate>>> {
        let inner = &*self.model.0;
        let mut requests = Vec::with_capacity(batch.len());
        for p in batch {
            let prompt = self.model.encode(&p.prompt, true).map_err(backend)?;
            // The stream depends on the request's id, which holds question, approach and first sample.
            requests.push(Request { id: stable_hash(&[&p.id]), prompt, samples: p.samples });
        }
        let mut stops = Stops { tokenizer: &inner.tokenizer, stop: &self.stop };
        let lists =
            generate(&inner.pretrained.model, &requests, &self.sampling, &mut stops).map_err(backend)?;
        lists
            .into_iter()
            .map(|samples| {
                samples
                    .into_iter()
                    .map(|s| {
                        let mut text = inner.tokenizer.decode(&s.tokens, true).map_err(backend)?;
                        let cut = self.stop.iter().filter_map(|stop| text.find(stop.as_str())).min();
                        if let Some(at) = cut {
                            text.truncate(at);
                        }
                        let stopped = cut.is_some() || s.finish == models::Finish::Stop;
                        Ok(Candidate {
                            text,
                            tokens: Some(s.tokens.len()),
                            logprobs: if self.keep_logprobs { s.logprobs } else { Vec::new() },
                            token_ids: if self.keep_logprobs { s.tokens } else { Vec::new() },
                            finish: if stopped { Finish::Stop } else { Finish::Length },
                        })
                    })
                    .collect()
            })
            .collect()
    }
}

/// Scores continuations.
pub struct Scorer(pub Loaded);

impl Likelihood for Scorer {
    fn log_likelihood(&mut self, batch: &[Continuation]) -> polya_prompts::Result<Vec<(f64, usize)>> {
        let inner = &*self.0.0;
        let mut rows = Vec::with_capacity(batch.len());
        for c in batch {
            let mut tokens = self.0.encode(&c.prompt, true).map_err(backend)?;
            let prompt_length = tokens.len();
            tokens.extend(inner.tokenizer.encode(&c.completion, false).map_err(backend)?);
            rows.push(Scored { tokens, prompt_length });
        }
        let scores = score(&inner.pretrained.model, &rows, &ScoreOptions::default()).map_err(backend)?;
        Ok(scores.iter().map(|s| (s.iter().map(|&v| f64::from(v)).sum(), s.len())).collect())
    }
}

/// Judges by a reward model: the logit of the conversation in which the question is asked with the approach's
/// instruction and the response is the answer. This is the paper's judge; how it words the conversation is ours.
pub struct RewardJudge(pub Loaded);

impl Judge for RewardJudge {
    fn adherence(&mut self, batch: &[Judged<'_>]) -> polya_prompts::Result<Vec<Option<f64>>> {
        let inner = &*self.0.0;
        let (mut rows, mut owner) = (Vec::new(), Vec::new());
        for (i, j) in batch.iter().enumerate() {
            let instruction = j.approach.map_or("", |a| a.instruction.trim());
            let asked = format!("{}\n\n{instruction}", j.question.question.trim());
            let turn = |role, content: &str| Message { role, content: content.trim().to_owned() };
            let talk = vec![turn(Role::User, &asked), turn(Role::Assistant, &j.candidate.text)];
            rows.push(self.0.encode(&Prompt::Messages(talk), false).map_err(backend)?);
            owner.push(i);
        }
        let slices: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
        let rewards = reward(&inner.pretrained.model, &slices, &ScoreOptions::default()).map_err(backend)?;
        let mut scores = vec![None; batch.len()];
        for (i, r) in owner.into_iter().zip(rewards) {
            scores[i] = Some(f64::from(r)).filter(|r| r.is_finite());
        }
        Ok(scores)
    }
}
