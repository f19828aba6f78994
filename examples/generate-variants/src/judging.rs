//! Who judges and who recognises approaches in a run, with caches on disk: what a model has read it never reads again.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use evaluation::local::RewardJudge;
use polya_prompts::client::{BlockingClient, Client, ClientConfig};
use polya_prompts::openai::ServerSampling;
use polya_prompts::rubric::{LikelihoodRatioJudge, RubricJudge};
use polya_prompts::text::stable_hash;
use polya_prompts::{
    Error, Family, Judge, Judged, ModelRecogniser, Recognise, Render, SignJudge, SignRecogniser, Solved,
    Style, Variant, adherence_checked, approaches_checked, judge_fn,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::local::Locals;
use crate::settings::{JudgeKind, RecogniserKind, Resolved};

/// A judge whose scores are kept in a file.
pub struct Cached<'a> {
    judge: Box<dyn Judge + 'a>,
    kind: String,
    known: Known<f64>,
    undecided: usize,
}

/// Answers by key, kept in a JSONL file or, without one, for one batch; `None` is an answer that could not be read.
struct Known<T> {
    answers: HashMap<String, Option<T>>,
    file: Option<(File, PathBuf)>,
}

#[derive(Serialize, Deserialize)]
struct Line<T> {
    key: String,
    #[serde(alias = "adherence")]
    answer: Option<T>,
}

impl<T: Clone + Serialize + DeserializeOwned> Known<T> {
    fn open(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self { answers: HashMap::new(), file: None }) };
        let answers = read(path)?;
        let open = File::options().append(true).create(true).open(path);
        let file = open.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { answers, file: Some((file, path.to_owned())) })
    }

    /// The answers for some keys; `ask` answers those, by their places, that are not known.
    fn get(
        &mut self,
        keys: &[String],
        ask: impl FnOnce(&[usize]) -> polya_prompts::Result<Vec<Option<T>>>,
    ) -> polya_prompts::Result<Vec<Option<T>>> {
        let new: Vec<usize> = (0..keys.len()).filter(|&i| !self.answers.contains_key(&keys[i])).collect();
        let found = if new.is_empty() { Vec::new() } else { ask(&new)? };
        for (i, answer) in new.into_iter().zip(found) {
            if let Some((file, path)) = &mut self.file {
                let line = Line { key: keys[i].clone(), answer: answer.clone() };
                let mut text =
                    serde_json::to_vec(&line).map_err(|e| Error::backend("the judge's cache", e))?;
                text.push(b'\n');
                file.write_all(&text).map_err(|source| Error::Io { path: path.clone(), source })?;
            }
            self.answers.insert(keys[i].clone(), answer);
        }
        let out = keys.iter().map(|key| self.answers[key].clone()).collect();
        if self.file.is_none() {
            // Without a file the memory would only grow.
            self.answers.clear();
        }
        Ok(out)
    }
}

/// Says which approaches the kept solutions use.
pub struct Recogniser<'a> {
    recogniser: Box<dyn Recognise + 'a>,
    kind: String,
    known: Known<Vec<String>>,
}

impl<'a> Recogniser<'a> {
    /// Builds the recogniser that the settings ask for.
    pub fn open(settings: &Resolved, family: &'a Family, path: &Path) -> Result<Self> {
        Ok(match settings.as_written().recognise {
            Some(RecogniserKind::Llm) => {
                // A list of names is longer than a score.
                let config = judge_client(settings, 256)?;
                let kind = format!("{} {}", config.model, family.fingerprint());
                let client = BlockingClient::new(Client::new(config)?)?;
                let reader = ModelRecogniser::new(family, client, Style::Chat, settings.seed());
                Self { recogniser: Box::new(reader), kind, known: Known::open(Some(path))? }
            }
            _ => {
                let signs = Box::new(SignRecogniser::new(family));
                Self { recogniser: signs, kind: String::new(), known: Known::open(None)? }
            }
        })
    }

    /// The approaches of each solution, in order of appearance; `None` where that could not be told.
    pub fn approaches(&mut self, variants: &[Variant]) -> polya_prompts::Result<Vec<Option<Vec<String>>>> {
        let solved: Vec<Solved<'_>> =
            variants.iter().map(|v| Solved { question: &v.question, response: &v.response }).collect();
        let key = |s: &Solved<'_>| format!("{:016x}", stable_hash(&[&self.kind, s.question, s.response]));
        let keys: Vec<String> = solved.iter().map(key).collect();
        let recogniser = &mut self.recogniser;
        self.known.get(&keys, |new| {
            let asked: Vec<Solved<'_>> = new.iter().map(|&i| solved[i]).collect();
            approaches_checked(recogniser, &asked)
        })
    }
}

impl<'a> Cached<'a> {
    /// Builds the judge that the settings ask for.
    pub fn open(
        settings: &Resolved,
        locals: &'a Locals,
        family: &'a Family,
        render: &Render<'a>,
        path: &Path,
    ) -> Result<Self> {
        let written = settings.as_written();
        let kind = written.judge.unwrap_or(JudgeKind::Signs);
        let mut name = format!("{kind:?}");
        let judge: Box<dyn Judge + 'a> = match kind {
            JudgeKind::Signs => Box::new(SignJudge::new(family)),
            JudgeKind::Likelihood => {
                let local = locals.judge()?;
                name = format!("{name} {}", local.identity());
                Box::new(LikelihoodRatioJudge::new(family, local, render.clone()))
            }
            JudgeKind::Reward => {
                let local = locals.judge()?;
                name = format!("{name} {}", local.identity());
                Box::new(RewardJudge::new(local, family, render.clone()))
            }
            JudgeKind::None => Box::new(judge_fn(|_: &Judged<'_>| None)),
            JudgeKind::Llm => {
                let config = judge_client(settings, 128)?;
                name = format!("{name} {} {}", config.model, written.judge_samples.unwrap_or(1));
                let client = BlockingClient::new(Client::new(config)?)?;
                let samples = written.judge_samples.unwrap_or(1);
                Box::new(RubricJudge::new(client, Style::Chat, samples, settings.seed()))
            }
        };
        // Signs cost nothing; a cache would only go stale when a sign is edited.
        let cached = !matches!(kind, JudgeKind::Signs | JudgeKind::None);
        Ok(Self { judge, kind: name, known: Known::open(cached.then_some(path))?, undecided: 0 })
    }

    /// Responses the judge could not decide.
    pub fn undecided(&self) -> usize {
        self.undecided
    }

    fn key(&self, j: &Judged<'_>) -> String {
        let approach = j.approach.map_or("", |a| a.id.as_str());
        let hash =
            stable_hash(&[&self.kind, &j.question.id, &j.question.question, approach, &j.candidate.text]);
        format!("{hash:016x}")
    }
}

/// Whether an LLM that judges or recognises can be asked, before anything is written.
pub fn check(settings: &Resolved) -> Result<()> {
    let written = settings.as_written();
    let judges = matches!(written.judge, Some(JudgeKind::Llm));
    if judges || matches!(written.recognise, Some(RecogniserKind::Llm)) {
        Client::new(judge_client(settings, 1)?)?;
    }
    Ok(())
}

fn judge_client(settings: &Resolved, max_tokens: usize) -> Result<ClientConfig> {
    let written = settings.as_written();
    let base = settings.client.clone();
    let own_key = written.judge_api_key_env.clone();
    // The key of the model's servers is theirs alone.
    let (endpoints, api_key_env) = match (&written.judge_endpoint, &base) {
        (Some(list), _) => (list.0.clone(), own_key),
        (None, Some(client)) => (client.endpoints.clone(), own_key.or(client.api_key_env.clone())),
        (None, None) => {
            anyhow::bail!("an LLM that judges or recognises needs --judge-endpoint or --endpoint")
        }
    };
    let model = written.judge_model_name.clone().or(written.model_name.clone());
    // One sample is decided greedily; several are sampled.
    let temperature = if written.judge_samples.unwrap_or(1) > 1 { 0.7 } else { 0.0 };
    Ok(ClientConfig {
        endpoints,
        api_key_env,
        model: model.context("an LLM that judges or recognises needs --judge-model-name")?,
        sampling: ServerSampling { max_tokens, temperature, ..Default::default() },
        ..base.unwrap_or_default()
    })
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<HashMap<String, Option<T>>> {
    let mut known = HashMap::new();
    if !path.exists() {
        return Ok(known);
    }
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut whole = 0_u64;
    let mut reader = BufReader::new(&file);
    let mut line = String::new();
    for number in 1.. {
        line.clear();
        let read = reader.read_line(&mut line).with_context(|| format!("cannot read {}", path.display()))?;
        if !line.ends_with('\n') {
            break;
        }
        let parsed: Line<T> =
            serde_json::from_str(&line).with_context(|| format!("{} line {number}", path.display()))?;
        known.insert(parsed.key, parsed.answer);
        whole += read as u64;
    }
    // A half-written last line is cut, so that the next one stands alone.
    let open = File::options().write(true).open(path);
    open.and_then(|f| f.set_len(whole)).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(known)
}

impl Judge for Cached<'_> {
    fn adherence(&mut self, batch: &[Judged<'_>]) -> polya_prompts::Result<Vec<Option<f64>>> {
        let keys: Vec<String> = batch.iter().map(|j| self.key(j)).collect();
        let judge = &mut self.judge;
        let out = self.known.get(&keys, |new| {
            let asked: Vec<Judged<'_>> = new.iter().map(|&i| batch[i]).collect();
            adherence_checked(judge, &asked)
        })?;
        self.undecided += out.iter().filter(|s| s.is_none()).count();
        Ok(out)
    }
}
