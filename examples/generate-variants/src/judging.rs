//! The judge of a run, with a cache on disk: a judged response is never judged again.

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
use polya_prompts::{Error, Family, Judge, Judged, Render, SignJudge, Style, adherence_checked, judge_fn};
use serde::{Deserialize, Serialize};

use crate::local::Locals;
use crate::settings::{JudgeKind, Resolved};

/// A judge whose scores are kept in a file.
pub struct Cached<'a> {
    judge: Box<dyn Judge + 'a>,
    kind: String,
    known: HashMap<String, Option<f64>>,
    file: Option<(File, PathBuf)>,
    undecided: usize,
}

#[derive(Serialize, Deserialize)]
struct Line {
    key: String,
    adherence: Option<f64>,
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
                let config = judge_client(settings)?;
                name = format!("{name} {} {}", config.model, written.judge_samples.unwrap_or(1));
                let client = BlockingClient::new(Client::new(config)?)?;
                let samples = written.judge_samples.unwrap_or(1);
                Box::new(RubricJudge::new(client, Style::Chat, samples, settings.seed()))
            }
        };
        // Signs cost nothing; a cache would only go stale when a sign is edited.
        let cached = !matches!(kind, JudgeKind::Signs | JudgeKind::None);
        let (mut known, mut file) = (HashMap::new(), None);
        if cached {
            known = read(path)?;
            let open = File::options().append(true).create(true).open(path);
            file = Some((open.with_context(|| format!("cannot write {}", path.display()))?, path.to_owned()));
        }
        Ok(Self { judge, kind: name, known, file, undecided: 0 })
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

fn judge_client(settings: &Resolved) -> Result<ClientConfig> {
    let written = settings.as_written();
    let base = settings.client.clone();
    let own_key = written.judge_api_key_env.clone();
    // The key of the model's servers is theirs alone.
    let (endpoints, api_key_env) = match (&written.judge_endpoint, &base) {
        (Some(list), _) => (list.0.clone(), own_key),
        (None, Some(client)) => (client.endpoints.clone(), own_key.or(client.api_key_env.clone())),
        (None, None) => anyhow::bail!("--judge llm needs --judge-endpoint or --endpoint"),
    };
    let model = written.judge_model_name.clone().or(written.model_name.clone());
    // One sample is decided greedily; several are sampled.
    let temperature = if written.judge_samples.unwrap_or(1) > 1 { 0.7 } else { 0.0 };
    Ok(ClientConfig {
        endpoints,
        api_key_env,
        model: model.context("--judge llm needs --judge-model-name")?,
        sampling: ServerSampling { max_tokens: 128, temperature, ..Default::default() },
        ..base.unwrap_or_default()
    })
}

fn read(path: &Path) -> Result<HashMap<String, Option<f64>>> {
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
        let parsed: Line =
            serde_json::from_str(&line).with_context(|| format!("{}, line {number}", path.display()))?;
        known.insert(parsed.key, parsed.adherence);
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
        let new: Vec<usize> = (0..batch.len()).filter(|&i| !self.known.contains_key(&keys[i])).collect();
        let asked: Vec<Judged<'_>> = new.iter().map(|&i| batch[i]).collect();
        let scores = if asked.is_empty() { Vec::new() } else { adherence_checked(&mut self.judge, &asked)? };
        for (i, adherence) in new.into_iter().zip(scores) {
            if let Some((file, path)) = &mut self.file {
                let line = Line { key: keys[i].clone(), adherence };
                let mut text =
                    serde_json::to_vec(&line).map_err(|e| Error::backend("the judge's cache", e))?;
                text.push(b'\n');
                file.write_all(&text).map_err(|source| Error::Io { path: path.clone(), source })?;
            }
            self.known.insert(keys[i].clone(), adherence);
        }
        let out: Vec<Option<f64>> = keys.iter().map(|k| self.known[k]).collect();
        self.undecided += out.iter().filter(|s| s.is_none()).count();
        if self.file.is_none() {
            // Without a file the memory would only grow.
            self.known.clear();
        }
        Ok(out)
    }
}
